"""Settings that an administrator may change while the program runs (`live` in webapp/settings.py).

What the environment, the file or a flag says stays as it is; else the row counts, else the default. A row holds the
text that would stand in the environment, so one parser and one check judge both. A process believes for a second what
it read: the rows are few, and every task that is started asks for one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from webapp.core import audit
from webapp.core.context import Ctx
from webapp.core.db import Base, UTCDateTime, after_commit, utcnow
from webapp.core.errors import Conflict, Forbidden, Invalid
from webapp.settings import BY_NAME, Option

if TYPE_CHECKING:
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)
FRESH = 1.0  # seconds


class StoredSetting(Base):
    """A setting as an administrator left it. `value` is text as in the environment."""

    __tablename__ = "stored_settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    set_by: Mapped[str] = mapped_column(String(64))
    set_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


@dataclass(frozen=True)
class Shown:
    """A setting for people. fixed: the environment says it, so nobody can change it here. text: as it would be written."""

    option: Option
    value: Any
    text: str
    origin: str
    fixed: bool
    set_by: str = ""
    set_at: datetime | None = None


def value(rt: Runtime, name: str, db: Session | None = None) -> Any:
    """What counts now. db: a session that is open anyway; else one of its own is opened."""
    return rt.settings.values[name] if _fixed(rt, name) else _known(rt, db).get(name, rt.settings.values[name])


def shown(ctx: Ctx, option: Option) -> Shown:
    """With its origin; never from memory."""
    settings = ctx.rt.settings
    row = ctx.db.get(StoredSetting, option.name) if option.live and not _fixed(ctx.rt, option.name) else None
    if row is not None and (found := _parsed(option, row.value)) is not None:
        return Shown(option, found, row.value, "database", False, row.set_by, row.set_at)
    kept = settings.values[option.name]
    return Shown(option, kept, as_text(kept), settings.origins[option.name], _fixed(ctx.rt, option.name))


def change(ctx: Ctx, wanted: Mapping[str, str | None]) -> None:
    """Keep new values by name; None or an empty text goes back to the default. One line in the audit log for all.

    Raises Forbidden, Conflict for what the environment says, Invalid naming the setting for a value that does not fit.
    """
    if not ctx.user.is_admin:
        raise Forbidden("this is for administrators")
    options = {name: checked(ctx.rt, name, text) for name, text in wanted.items()}
    before = {name: shown(ctx, option).text for name, option in options.items()}
    for name, text in wanted.items():
        _change_one(ctx, options[name], text)
    ctx.db.flush()
    after = {name: shown(ctx, option).text for name, option in options.items()}
    changed = {name: [before[name], after[name]] for name in wanted if before[name] != after[name]}
    if changed:
        audit.record(ctx, "settings.change", "settings", None, **changed)
    rt = ctx.rt
    after_commit(ctx.db, lambda: forget(rt))


def checked(rt: Runtime, name: str, text: str | None) -> Option:
    """The setting, if it may be changed here to `text`."""
    option = BY_NAME.get(name)
    if option is None or not option.live:
        raise Invalid(
            f"{name} is no setting that can be changed while the program runs", details=_field(name, "unknown")
        )
    if _fixed(rt, name):
        origin = rt.settings.origins[name]
        raise Conflict(f"{option.env[0]} comes from the {origin}: change it there", code="fixed_by_environment")
    if text and (problem := _problem(option, text)):
        raise Invalid(f"{name}: {problem}", details=_field(name, problem))
    return option


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def forget(rt: Runtime) -> None:
    rt.kept("stored settings", dict).clear()


def _change_one(ctx: Ctx, option: Option, text: str | None) -> None:
    row = ctx.db.get(StoredSetting, option.name)
    if not text:
        if row is not None:
            ctx.db.delete(row)
        return
    if row is None:
        ctx.db.add(StoredSetting(name=option.name, value=text, set_by=ctx.user.username[:64]))
    elif row.value != text:
        row.value, row.set_by, row.set_at = text, ctx.user.username[:64], utcnow()


def _known(rt: Runtime, db: Session | None) -> dict[str, Any]:
    kept: dict[str, tuple[float, dict[str, Any]]] = rt.kept("stored settings", dict)
    have = kept.get("")
    if have is None or time.monotonic() - have[0] > FRESH:
        have = kept[""] = (time.monotonic(), _read(rt, db))
    return have[1]


def _read(rt: Runtime, db: Session | None) -> dict[str, Any]:
    if db is None:
        with rt.unit(write=False) as own:
            return _read(rt, own)
    found = {}
    for name, text in db.execute(select(StoredSetting.name, StoredSetting.value)):
        option = BY_NAME.get(name)
        parsed = _parsed(option, text) if option is not None and option.live else None
        if parsed is None:
            log.warning("the stored setting %s is not used: %r does not fit this version", name, text[:80])
        else:
            found[name] = parsed
    return found


def _fixed(rt: Runtime, name: str) -> bool:
    return rt.settings.origins.get(name, "default") != "default"


def _parsed(option: Option, text: str) -> Any:
    return None if _problem(option, text) else option.parse(text)


def _problem(option: Option, text: str) -> str | None:
    try:
        found = option.parse(text)
    except ValueError:
        return "is no whole number" if isinstance(option.default, int) else "cannot be read"
    return option.check(found) if option.check else None


def _field(name: str, message: str) -> list[dict[str, Any]]:
    return [{"loc": [name], "msg": message, "type": "value_error"}]

"""What operators have set up: servers and defaults, as rows, and how every process comes to know them.

Reading is cheap enough for each call of a model: both tables are small, and a process believes what it read for a
second. The rows are changed by administrators only, each change with its line in the audit log.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import select

from webapp.core import audit
from webapp.core.addresses import check_url, precheck_url
from webapp.core.context import Ctx
from webapp.core.db import after_commit, utcnow
from webapp.core.errors import AppError, BadRequest, Conflict, NotFound
from webapp.core.http import OutboundPolicy
from webapp.core.sealing import Unreadable, seal, unseal
from webapp.engines.models import ModelDefault, ModelServer

if TYPE_CHECKING:
    from webapp.runtime import Runtime

FRESH = 1.0  # seconds
LOOKUP = 3.0  # seconds a name server may take
PURPOSE = "model server keys"
NAME = re.compile(r"[\w.-]{1,40}")
# Kinds of work that may have a default of their own; "" is for all that have none.
TASK_TYPES = {"chat": "Chat", "research": "Research", "summary": "Summaries", "analysis": "Analysis",
              "generation": "Writing"}  # fmt: skip


@dataclass(frozen=True)
class Added:
    """A server as its row says. key: None when it was sealed with another secret of the program."""

    id: str
    name: str
    url: str
    key: str | None
    is_active: bool
    is_private: bool


@dataclass(frozen=True)
class Known:
    servers: tuple[Added, ...]
    defaults: dict[str, str]  # task type -> engine
    at: float


def known(rt: Runtime) -> Known:
    kept: dict[str, Known] = rt.kept("models set up", dict)
    have = kept.get("")
    if have is None or time.monotonic() - have.at > FRESH:
        have = kept[""] = _read(rt)
    return have


def forget(rt: Runtime) -> None:
    rt.kept("models set up", dict).clear()


def _read(rt: Runtime) -> Known:
    with rt.unit(write=False) as db:
        rows = db.scalars(select(ModelServer).order_by(ModelServer.name)).all()
        defaults = {row.task_type: row.model for row in db.scalars(select(ModelDefault))}
    added = tuple(Added(row.id, row.name, row.url, _key(rt, row.key_sealed), row.is_active, row.is_private)
                  for row in rows)  # fmt: skip
    return Known(added, defaults, time.monotonic())


def _key(rt: Runtime, sealed: str | None) -> str | None:
    if not sealed:
        return ""
    try:
        return unseal(rt.secret_key, PURPOSE, sealed)
    except Unreadable:
        return None


# -- servers ---------------------------------------------------------------------------------------------------------


def leads_inside(url: str) -> bool:
    """Whether the server is on a private network. Asks a name server: call it while nothing is open.

    A public name that is approved as one must not lead inside the day its owner points it there.
    """
    try:
        return check_url(url.strip(), _approving(url.strip()), timeout=LOOKUP).private
    except (AppError, ValueError):
        return _inside_by_name(url.strip())


def _inside_by_name(url: str) -> bool:
    """What a name or an address says without asking anybody."""
    try:
        parts = urlsplit(url)
        ports = frozenset({parts.port}) if parts.port else frozenset[int]()
        precheck_url(url, OutboundPolicy(extra_ports=ports))
    except (AppError, ValueError):
        return True
    return False


def add_server(
    ctx: Ctx, name: str, url: str, key: str = "", *, inside: bool | None = None, taken: frozenset[str] = frozenset()
) -> ModelServer:
    """Keep a server; from now on model calls may reach its host and port, also a private one.

    inside: see `leads_inside`. taken: names of the settings. Raises BadRequest naming the field, Conflict when the name
    is in use.
    """
    name, url = name.strip(), url.strip().rstrip("/")
    if not NAME.fullmatch(name):
        raise _wrong("name", "use letters, digits, dots and hyphens, at most 40")
    _check_url(url)
    if not key.isascii() or any(char.isspace() for char in key.strip()):
        raise _wrong("key", "a key has no spaces and no accents")
    if name in taken or ctx.db.scalar(select(ModelServer.id).where(ModelServer.name == name)):
        raise Conflict(f"there is a server called {name} already", code="name_taken",
                       details=[{"loc": ["name"], "msg": "this name is in use", "type": "taken"}])  # fmt: skip
    sealed = seal(ctx.rt.secret_key, PURPOSE, key.strip()) if key.strip() else None
    inside = _inside_by_name(url) if inside is None else inside
    row = ModelServer(name=name, url=url, key_sealed=sealed, is_active=True, is_private=inside)
    ctx.db.add(row)
    ctx.db.flush()
    audit.record(ctx, "models.server_added", "model server", row.id, name=name, host=urlsplit(url).netloc,
                 private=inside)  # fmt: skip
    _changed(ctx)
    return row


def _check_url(url: str) -> None:
    """Judged as the gate will judge it, with its own host approved: metadata services and odd spellings stay out."""
    if "?" in url or "#" in url:
        raise _wrong("url", "leave out everything from ? or # on")
    try:
        precheck_url(url, _approving(url))
    except (AppError, ValueError) as error:
        message = error.message if isinstance(error, AppError) else "this is no address of a server"
        raise _wrong("url", message.rstrip(".")) from None


def _approving(url: str) -> OutboundPolicy:
    return OutboundPolicy(allow_hosts=frozenset({urlsplit(url).netloc}))


def _wrong(field: str, message: str) -> BadRequest:
    return BadRequest(f"{field}: {message}", code="invalid_server",
                      details=[{"loc": [field], "msg": message, "type": "invalid"}])  # fmt: skip


def server(ctx: Ctx, server_id: str) -> ModelServer:
    row = ctx.db.get(ModelServer, server_id[:40])
    if row is None:
        raise NotFound("there is no such model server")
    return row


def switch_server(ctx: Ctx, server_id: str, *, active: bool) -> ModelServer:
    row = server(ctx, server_id)
    row.is_active = active
    audit.record(ctx, "models.server_on" if active else "models.server_off", "model server", row.id, name=row.name)
    _changed(ctx)
    return row


def remove_server(ctx: Ctx, server_id: str) -> str:
    """Its name. Defaults that name its models stay and fall back until somebody chooses anew."""
    row = server(ctx, server_id)
    ctx.db.delete(row)
    audit.record(ctx, "models.server_removed", "model server", row.id, name=row.name)
    _changed(ctx)
    return row.name


# -- defaults --------------------------------------------------------------------------------------------------------


def set_default(ctx: Ctx, task_type: str, model: str) -> None:
    """`model` for this kind of work from now on; "" takes the choice back. Whether it exists is the caller's care."""
    if task_type and task_type not in TASK_TYPES:
        raise BadRequest(f"task_type: use one of {', '.join(TASK_TYPES)}, or leave it empty", code="invalid_value",
                         details=[{"loc": ["task_type"], "msg": "there is no such kind of work", "type": "enum"}])  # fmt: skip
    row = ctx.db.get(ModelDefault, task_type)
    if not model:
        if row is not None:
            ctx.db.delete(row)
    elif row is None:
        ctx.db.add(ModelDefault(task_type=task_type, model=model))
    else:
        row.model, row.updated_at = model, utcnow()
    audit.record(ctx, "models.default_set", "model default", task_type or "all", model=model)
    _changed(ctx)


def _changed(ctx: Ctx) -> None:
    rt = ctx.rt
    after_commit(ctx.db, lambda: forget(rt))

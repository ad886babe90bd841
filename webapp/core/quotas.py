"""How much one person may have open, start in a day, store and let models read and write: so that nobody's flood is
everybody's trouble (A46).

An area counts what is its own and asks `require` before it takes more. The limit is the person's own where an
administrator gave one, none for administrators, else the setting; 0 is no limit. Limits are looked at without a lock:
requests of one person at the very same moment may go a few over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ForeignKey, Integer, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from webapp.core import stored
from webapp.core.context import Actor
from webapp.core.db import Base, Id, UTCDateTime, utcnow
from webapp.core.errors import QuotaExceeded

if TYPE_CHECKING:
    from webapp.runtime import Runtime

FRESH = 1.0  # seconds that a person's limits are believed
OPEN_AGAIN = 30  # seconds after which it is worth trying whether a task has ended


@dataclass(frozen=True)
class Quota:
    """unit: what `scale` of the setting's are (a setting in MB limits bytes). daily: counted from 00:00 UTC."""

    name: str
    label: str
    unit: str
    daily: bool
    setting: str
    scale: int
    help: str


QUOTAS = (
    Quota("open_tasks", "Open tasks", "tasks", False, "quota_open_tasks", 1, "Waiting and running ones."),
    Quota("tasks_per_day", "Tasks today", "tasks", True, "quota_tasks_per_day", 1, "Started since 00:00 UTC."),
    Quota("stored_bytes", "Stored files", "bytes", False, "quota_stored_mb", 2**20, "Uploads that are kept."),
    Quota("tokens_per_day", "Model tokens today", "tokens", True, "quota_tokens_per_day", 1,
          "Read and written by language models since 00:00 UTC."),
)  # fmt: skip
BY_NAME = {quota.name: quota for quota in QUOTAS}


class QuotaGrant(Base):
    """A person's own limit, in the quota's unit. None: without limit."""

    __tablename__ = "quota_grants"

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    most: Mapped[int | None] = mapped_column(BigInteger)
    set_by: Mapped[str] = mapped_column(String(64))
    set_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class RemovedTasks(Base):
    """Tasks of a day that their owner deleted the same day: throwing away gives no new ones."""

    __tablename__ = "removed_tasks"

    owner_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)  # ISO, UTC
    count: Mapped[int] = mapped_column(Integer, default=0)


def counts(user: Actor) -> bool:
    """Whether what `user` does counts for somebody: not what the program does on its own."""
    return user.id is not None and user.via != "system"


def limits_of(rt: Runtime, owner_id: str, db: Session | None = None) -> dict[str, int | None]:
    """quota -> the most in its unit, None without limit. Known for a second."""
    kept: dict[str, tuple[float, dict[str, int | None]]] = rt.kept("quotas of people", dict)
    have = kept.get(owner_id)
    if have is None or time.monotonic() - have[0] > FRESH:
        if len(kept) > 5000:
            kept.clear()
        have = kept[owner_id] = (time.monotonic(), _read(rt, owner_id, db))
    return have[1]


def forget(rt: Runtime) -> None:
    rt.kept("quotas of people", dict).clear()


def default(rt: Runtime, quota: Quota, db: Session | None = None) -> int | None:
    """For whoever has no limit of their own."""
    return int(stored.value(rt, quota.setting, db)) * quota.scale or None


def _read(rt: Runtime, owner_id: str, db: Session | None) -> dict[str, int | None]:
    if db is None:
        with rt.unit(write=False) as own:
            return _read(rt, owner_id, own)
    people = Base.metadata.tables["users"].c
    is_admin = bool(db.scalar(select(people.is_admin).where(people.id == owner_id)))
    grants = {row[0]: row[1] for row in
              db.execute(select(QuotaGrant.name, QuotaGrant.most).where(QuotaGrant.user_id == owner_id))}  # fmt: skip
    return {
        quota.name: grants[quota.name] if quota.name in grants else None if is_admin else default(rt, quota, db)
        for quota in QUOTAS
    }


def require(name: str, limit: int | None, used: int, adding: int = 1, *, frees_at: datetime | None = None) -> None:
    """Raises QuotaExceeded (429), naming the quota and when it frees, where `adding` more would be over the limit."""
    if limit is None or used + adding <= limit:
        return
    quota = BY_NAME[name]
    frees_at = midnight() if quota.daily else frees_at
    wait = max(1, int((frees_at - utcnow()).total_seconds()) + 1) if frees_at else OPEN_AGAIN
    have, most = amount(quota, used), amount(quota, limit)
    says = _says(name, have, most)
    more = f", and this needs {amount(quota, adding)} more" if used < limit else ""
    hint = _hint(name, frees_at)
    detail: dict[str, Any] = {"loc": ["quota", name], "msg": f"{says}{more}. {hint}", "type": "quota_exceeded"}
    raise QuotaExceeded(f"{says}{more}", details=[detail], retry_after=wait, suggestion=hint)


def _says(name: str, have: str, most: str) -> str:
    return {
        "open_tasks": f"{have} of at most {most} tasks of yours are open",
        "tasks_per_day": f"you have started {have} of at most {most} tasks today",
        "stored_bytes": f"your files take {have} of {most}",
        "tokens_per_day": f"models have read and written {have} of at most {most} tokens for you today",
    }[name]


def _hint(name: str, frees_at: datetime | None) -> str:
    if name == "open_tasks":
        return "It frees when one of them ends; cancel what you do not need, or ask an administrator for more."
    if name == "stored_bytes":
        when = f"The oldest of them goes on {frees_at:%d %B}" if frees_at else "They are kept until they are deleted"
        return f"{when}; an administrator can give you more room."
    return "It frees at 00:00 UTC; an administrator can give you more."


def amount(quota: Quota, value: int) -> str:
    """`1,204`, or `12.5 MB` for bytes."""
    if quota.unit != "bytes":
        return f"{value:,}"
    for size, unit in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if value >= size:
            return f"{value / size:.1f} {unit}".replace(".0 ", " ")
    return f"{value} bytes"


def today() -> datetime:
    return utcnow().replace(hour=0, minute=0, second=0, microsecond=0)


def midnight() -> datetime:
    """When what is counted by the day begins anew."""
    return today() + timedelta(days=1)


def first_id(at: datetime) -> str:
    """The smallest id that can have been made at `at`: ids begin with their time (see `core.db.new_id`)."""
    text = f"{int(at.astimezone(UTC).timestamp() * 1000):012x}"
    return f"{text[:8]}-{text[8:12]}-"

"""What all verbs of the room share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import FromClause, select

from webapp.core.context import Actor, Ctx
from webapp.core.db import Base, db_now
from webapp.core.errors import Forbidden

MANY = 500  # how many one call of a bulk verb takes


def admin(ctx: Ctx) -> Ctx:
    """The same caller, who must be an administrator."""
    if not ctx.user.is_admin:
        raise Forbidden("this is for administrators")
    return ctx


def everybody(ctx: Ctx) -> Ctx:
    """A context in which the task area's verbs reach everybody's tasks. The audit entry names the real person."""
    return replace(admin(ctx), user=Actor(None, ctx.user.username, is_admin=True, via="system"))


def people() -> FromClause:
    """The table of accounts, for the one thing this area needs of it: the name beside a task."""
    return Base.metadata.tables["users"]


def clock(ctx: Ctx) -> float:
    """Seconds since 1970 by the database, whose clock leases, beats and due times are written in."""
    return float(ctx.db.scalar(select(db_now())) or 0.0)


def moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def like(words: str) -> str:
    """A LIKE pattern (escape character backslash) for text that contains `words`."""
    plain = words[:200].replace("\0", "").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{plain}%"


def is_id(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 36 and text.isascii() and text.replace("-", "").isalnum()


def words(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h`, `2 d`: how long something has been so."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"

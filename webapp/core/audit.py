"""Who did what, when and from where: one row per action of an administrator, in the action's own transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from webapp.core import ageing
from webapp.core.context import Ctx
from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow


class AuditEntry(Base):
    """Written once, never changed. Names are copied, not referred to: an entry outlives the account and the object."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_action_id", "action", "id"),
        Index("ix_audit_entries_actor_id", "actor", "id"),
        Index("ix_audit_entries_object", "object_kind", "object_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    actor_id: Mapped[str | None] = mapped_column(Id)
    actor: Mapped[str] = mapped_column(String(64))
    via: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(64))
    object_kind: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[str | None] = mapped_column(String(100))
    detail: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    ip: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(64))


def record(ctx: Ctx, action: str, kind: str, id: str | None = None, /, **detail: Any) -> None:
    """Note the action in the caller's transaction: the entry stands exactly when the action stands.

    `detail` is kept for as long as retention_audit_days says (for ever, if nobody says) and shown to every
    administrator: no secret, no content of people's work.
    """
    user = ctx.user
    ctx.db.add(
        AuditEntry(
            actor_id=user.id,
            actor=user.username[:64],
            via=user.via,
            action=action,
            object_kind=kind,
            object_id=id[:100] if id else None,
            detail=detail,
            ip=ctx.ip,
            request_id=ctx.request_id[:64],
        )
    )


def count_older(db: Session, days: int) -> int:
    """How many entries `forget` would delete now; 0 days keep all."""
    return ageing.count_older(db, AuditEntry.at, days)


def forget(db: Session, days: int) -> int:
    return ageing.forget_older(db, AuditEntry.at, days)

"""The audit log, for reading. Entries are written by `webapp.core.audit.record` inside each verb."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, select

from webapp.core.audit import AuditEntry
from webapp.core.context import Ctx
from webapp.core.paging import Page, keyset
from webapp.operations.service.base import admin


def audit_log(
    ctx: Ctx,
    *,
    actor: str | None = None,
    action: str | None = None,
    object: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AuditEntry]:
    """Newest first. `action` may be a whole word (`queue.pause`) or its beginning (`queue`); `object` a kind or an id."""
    stmt = select(AuditEntry)
    if actor:
        stmt = stmt.where(AuditEntry.actor == actor[:64])
    if action:
        stmt = stmt.where(
            or_(AuditEntry.action == action[:64], AuditEntry.action.startswith(f"{action[:63]}.", autoescape=True))
        )
    if object:
        stmt = stmt.where(or_(AuditEntry.object_kind == object[:32], AuditEntry.object_id == object[:100]))
    if since:
        stmt = stmt.where(AuditEntry.at >= since)
    if until:
        stmt = stmt.where(AuditEntry.at < until)
    return keyset(admin(ctx).db, stmt, AuditEntry.id, cursor=cursor, limit=max(1, min(200, limit)))

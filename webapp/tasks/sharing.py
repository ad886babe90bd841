"""A read-only link to the result of a task: unguessable, revocable, and no door to anything else of its owner's."""

from __future__ import annotations

import hmac
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import Conflict, NotFound
from webapp.tasks import service
from webapp.tasks.models import Task, TaskShare

BYTES = 24  # of chance in a link


def share(ctx: Ctx, task_id: str) -> TaskShare:
    """Show the result to whoever has the link; the same link when there is one. Raises Conflict without a result."""
    task = service.get(ctx, task_id)
    if task.result is None:
        raise Conflict("there is no result to share yet", code="not_final")
    row = ctx.db.get(TaskShare, task.id)
    if row is None:
        row = TaskShare(task_id=task.id, token=secrets.token_urlsafe(BYTES), shared_at=utcnow())
        ctx.db.add(row)
        ctx.db.flush()
    return row


def unshare(ctx: Ctx, task_id: str) -> None:
    """The link leads nowhere any more; sharing again makes another one."""
    task = service.get(ctx, task_id)
    row = ctx.db.get(TaskShare, task.id)
    if row is not None:
        ctx.db.delete(row)
        ctx.db.flush()


def of(ctx: Ctx, task: Task) -> TaskShare | None:
    """The link of a task that the caller may see."""
    return ctx.db.get(TaskShare, task.id)


def shared(db: Session, token: str) -> Task:
    """What a link shows. Raises NotFound for any link that is none, or whose task runs again and has no result."""
    stmt = (
        select(Task, TaskShare.token).join(TaskShare, TaskShare.task_id == Task.id).where(TaskShare.token == token[:64])
    )
    found = db.execute(stmt).first() if len(token) >= BYTES else None
    if found is None or not hmac.compare_digest(found[1].encode(), token.encode()) or found[0].result is None:
        raise NotFound("this link leads nowhere", suggestion="Ask whoever gave it to you; a link can be taken back.")
    return found[0]

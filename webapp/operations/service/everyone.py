"""Tasks of all people: list with filters, one with its history, cancel, retry and delete many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, func, not_, or_, select

from webapp.core import audit
from webapp.core.context import Ctx
from webapp.core.db import unindexed
from webapp.core.errors import BadRequest
from webapp.core.paging import Page, keyset
from webapp.operations.service.base import MANY, admin, everybody, is_id, like, people
from webapp.tasks import service as tasks
from webapp.tasks.kinds import kinds
from webapp.tasks.models import STATUSES, DeadLetter, Task, TaskEvent

NOBODY = "system"  # what a task without an owner is listed under


@dataclass(frozen=True)
class OwnedTask:
    task: Task
    owner: str


@dataclass(frozen=True)
class TaskFile:
    """All that is known of one task."""

    task: Task
    owner: str
    events: list[TaskEvent]
    letters: list[DeadLetter]


# Our own periodic work that went well: thousands of rows nobody looks for, shown when its kind or the system is asked for.
_ROUTINE = and_(Task.kind.like("maintenance.%"), Task.status == "completed")


def all_tasks(
    ctx: Ctx,
    *,
    status: str | None = None,
    kind: str | None = None,
    user: str | None = None,
    q: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[OwnedTask]:
    """Newest first, of everybody and of the system itself. Two queries."""
    stmt = _filtered(select(Task).options(*tasks.LIGHT), status, kind, user, q)
    if not (kind or user or q) and status in (None, "", "completed"):
        stmt = stmt.where(not_(_ROUTINE))
    if since:
        stmt = stmt.where(Task.created_at >= since)
    if until:
        stmt = stmt.where(Task.created_at < until)
    page = keyset(admin(ctx).db, stmt, Task.id, cursor=cursor, limit=max(1, min(200, limit)))
    names = _names(ctx, {task.owner_id for task in page.items})
    rows = [OwnedTask(task, names.get(task.owner_id, NOBODY)) for task in page.items]
    return Page(rows, page.next_cursor, page.prev_cursor)


def _filtered(stmt: Select[Any], status: str | None, kind: str | None, user: str | None, q: str | None) -> Select[Any]:
    if status == "active":
        stmt = stmt.where(tasks.going_on())
    elif status:
        if status not in STATUSES:
            raise BadRequest(f"status: use active or one of {', '.join(STATUSES)}", code="invalid_value")
        stmt = stmt.where(Task.status == status)
    if kind:
        stmt = stmt.where(Task.kind == kind[:64])
    if user == NOBODY:
        stmt = stmt.where(Task.owner_id.is_(None))
    elif user:
        names = people().c
        stmt = stmt.where(
            Task.owner_id == select(names.id).where(names.username_key == user[:64].strip().lower()).scalar_subquery()
        )
    if q and is_id(q.strip()):
        return stmt.where(Task.id == q.strip())
    if q:
        words = like(q)
        stmt = stmt.where(or_(Task.title.ilike(words, escape="\\"), Task.message.ilike(words, escape="\\")))
    return stmt


def _names(ctx: Ctx, ids: set[str | None]) -> dict[str | None, str]:
    names = people().c
    return {
        row[0]: row[1] for row in ctx.db.execute(select(names.id, names.username).where(names.id.in_(ids - {None})))
    }


def status_counts(ctx: Ctx) -> dict[str, int]:
    """status -> how many tasks of everybody, without the routine that the list leaves out; read from indexes."""
    db = admin(ctx).db
    found: dict[str, int] = {
        row[0]: row[1] for row in db.execute(select(Task.status, func.count()).group_by(Task.status))
    }
    own = [name for name in kinds.names() if name.startswith("maintenance.")]
    routine = db.scalar(select(func.count()).where(Task.kind.in_(own), unindexed(Task.status) == "completed")) or 0
    return {status: count - routine * (status == "completed") for status, count in found.items()}


def any_task(ctx: Ctx, task_id: str) -> TaskFile:
    """Anybody's task with its history and dead letters. Four queries. Raises NotFound."""
    task = tasks.get(everybody(ctx), task_id)
    letters = select(DeadLetter).where(DeadLetter.task_id == task.id).order_by(DeadLetter.id.desc()).limit(20)
    owner = _names(ctx, {task.owner_id}).get(task.owner_id, NOBODY)
    return TaskFile(task, owner, tasks.events(ctx, task, limit=1000), list(ctx.db.scalars(letters)))


def bulk_tasks(ctx: Ctx, action: str, ids: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """Cancel, retry or delete anybody's tasks; what failed is listed with its reason."""
    chosen = list(dict.fromkeys(ids))[:MANY]
    answer = tasks.bulk(everybody(ctx), action, chosen)
    if answer["done"]:
        done = [one["id"] for one in answer["done"]]
        audit.record(ctx, f"task.{action}", "task", done[0] if len(done) == 1 else None, tasks=done,
                     failed=len(answer["failed"]))  # fmt: skip
    return answer

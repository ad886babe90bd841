"""Whether a person may open another task: their quotas of open tasks and of tasks in a day (core/quotas.py)."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.core import quotas
from webapp.core.context import Ctx
from webapp.tasks import store
from webapp.tasks.models import ACTIVE, STATUSES, Task


def require(ctx: Ctx, *, again: bool = False) -> None:
    """again: a task that is there is opened anew, so it is none of today's."""
    if ctx.user.id is None or not quotas.counts(ctx.user):
        return
    limits = quotas.limits_of(ctx.rt, ctx.user.id, ctx.db)
    if limits["open_tasks"] is None and limits["tasks_per_day"] is None:
        return
    opened, today = usage(ctx.db, ctx.user.id)
    quotas.require("open_tasks", limits["open_tasks"], opened)
    if not again:
        quotas.require("tasks_per_day", limits["tasks_per_day"], today)


def usage(db: Session, owner_id: str) -> tuple[int, int]:
    """(tasks that are not over, tasks started today) of a person, without parts of others and our own housekeeping.

    Read from one index: the rows of tasks are large.
    """
    mine = (Task.owner_id == owner_id, Task.parent_id.is_(None), Task.kind.not_like("maintenance.%"))
    opened = select(func.count()).where(Task.status.in_(ACTIVE), *mine).scalar_subquery()
    since = quotas.first_id(quotas.today())
    today = select(func.count()).where(Task.status.in_(STATUSES), Task.id >= since, *mine).scalar_subquery()
    gone = select(quotas.RemovedTasks.count).where(
        quotas.RemovedTasks.owner_id == owner_id, quotas.RemovedTasks.day == f"{quotas.today():%Y-%m-%d}"
    )
    row = db.execute(select(opened, today, gone.scalar_subquery())).one()
    return int(row[0]), int(row[1]) + int(row[2] or 0)


def note_removed(ctx: Ctx, task: Task) -> None:
    """It counts among today's although it is gone."""
    today = quotas.today()
    if task.owner_id is None or task.parent_id is not None or task.id < quotas.first_id(today):
        return
    store.run_sql(
        ctx.db.connection(),
        "INSERT INTO removed_tasks (owner_id, day, count) VALUES (:owner, :day, 1)"
        " ON CONFLICT (owner_id, day) DO UPDATE SET count = removed_tasks.count + 1",
        {"owner": task.owner_id, "day": f"{today:%Y-%m-%d}"},
    )

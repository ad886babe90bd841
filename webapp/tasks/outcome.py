"""What became of a task, for callers who wait for it: its row once it completed, or the error it ended with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.context import Actor, Ctx
from webapp.core.errors import AppError
from webapp.tasks import service
from webapp.tasks.models import Task, TaskEvent

if TYPE_CHECKING:
    from webapp.runtime import Runtime

# A task keeps the code of what it failed with; the status belongs to the code. What is not here is our own fault.
STATUS = {"no_model": 503, "unavailable": 503, "circuit_open": 503, "model_crashed": 503, "upstream": 502,
          "context_overflow": 400, "invalid": 422, "bad_request": 400, "empty_question": 400, "not_found": 404,
          "blocked_address": 400, "rate_limited": 429, "quota_exceeded": 429, "storage_full": 507,
          "time_limit": 504, "cancelled": 409}  # fmt: skip
COMES_BACK = ("rate_limited", "unavailable", "circuit_open", "model_crashed", "upstream")


def outcome(rt: Runtime, user: Actor, task_id: str) -> Task | None:
    """The caller's completed task, None while it is not over.

    Raises NotFound when it is gone, AppError with a fitting status when it failed, was cancelled or took too long.
    """
    with rt.unit(write=False) as db:
        task = service.get(Ctx(rt, db, user), task_id)
        if not task.is_final:
            return None
        if task.status != "completed":
            raise failure(db, task)
    return task


def failure(db: Session, task: Task) -> AppError:
    """What a task ended with that did not complete, and when to come again where somebody said so (Retry-After)."""
    if task.status == "cancelled":
        return cancelled()
    code = "time_limit" if task.status == "timed_out" else task.error_code or "error"
    wait = _retry_after(db, task) if code in COMES_BACK else None
    return _with_status(AppError(task.error or "the task failed", code=code, retry_after=wait))


def cancelled() -> AppError:
    """Of a task that was stopped, or that is not there any more."""
    return _with_status(AppError("the task was cancelled", code="cancelled"))


def _with_status(error: AppError) -> AppError:
    error.status = STATUS.get(error.code, 500)
    return error


def _retry_after(db: Session, task: Task) -> int | None:
    stmt = select(TaskEvent.data).where(TaskEvent.task_id == task.id, TaskEvent.type == "error")
    said = (db.scalar(stmt.order_by(TaskEvent.seq.desc()).limit(1)) or {}).get("retry_after")
    return said if isinstance(said, int) else None

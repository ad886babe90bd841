"""What became of a task, for callers who wait for it: its row once it completed, or the error it ended with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webapp.core.context import Actor, Ctx
from webapp.core.errors import AppError
from webapp.tasks import service

if TYPE_CHECKING:
    from webapp.runtime import Runtime
    from webapp.tasks.models import Task

# A task keeps the code of what it failed with; the status belongs to the code. What is not here is our own fault.
STATUS = {"no_model": 503, "unavailable": 503, "upstream": 502, "context_overflow": 400, "invalid": 422,
          "bad_request": 400, "not_found": 404, "blocked_address": 400, "rate_limited": 429, "storage_full": 507,
          "time_limit": 504, "cancelled": 409}  # fmt: skip


def outcome(rt: Runtime, user: Actor, task_id: str) -> Task | None:
    """The caller's completed task, None while it is not over.

    Raises NotFound when it is gone, AppError with a fitting status when it failed, was cancelled or took too long.
    """
    with rt.unit(write=False) as db:
        task = service.get(Ctx(rt, db, user), task_id)
    if not task.is_final:
        return None
    if task.status != "completed":
        raise _failure(task)
    return task


def _failure(task: Task) -> AppError:
    code = {"cancelled": "cancelled", "timed_out": "time_limit"}.get(task.status, task.error_code or "error")
    error = AppError("the task was cancelled" if code == "cancelled" else task.error or "the task failed", code=code)
    error.status = STATUS.get(code, 500)
    return error

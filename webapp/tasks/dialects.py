"""How a task looks to each documented system. Thin: one table of statuses, one function per shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from webapp.core.db import iso, utcnow
from webapp.core.errors import AppError
from webapp.tasks.models import Task, TaskEvent

# domain.md section 2; the order of the columns: ECEEE, Agentic and Agent Service, Omeruta.
STATUS = {
    "queued": ("pending", "pending", "processing"),
    "running": ("running", "running", "processing"),
    "retrying": ("running", "running", "processing"),
    "waiting_input": ("running", "running", "processing"),
    "paused": ("running", "running", "processing"),
    "completed": ("completed", "completed", "completed"),
    "failed": ("failed", "failed", "failed"),
    "timed_out": ("failed", "failed", "failed"),
    "cancelled": ("cancelled", "cancelled", "failed"),
}
FROM_ECEEE = {"pending": ("queued",), "running": ("running", "retrying", "waiting_input", "paused"),
              "completed": ("completed",), "failed": ("failed", "timed_out"), "cancelled": ("cancelled",)}  # fmt: skip


def eceee_status(status: str) -> str:
    return STATUS[status][0]


def agentic_status(status: str) -> str:
    return STATUS[status][1]


def eceee_task(task: Task, *, username: str | None = None, brief: bool = False) -> dict[str, Any]:
    """shapes.md section 5. `brief` leaves the result out, for lists."""
    out: dict[str, Any] = {
        "id": task.id,
        "title": task.title,
        "task_type": task.kind,
        "task_config": task.params,
        "status": eceee_status(task.status),
        "progress": task.progress,
        "progress_percentage": task.progress,
        "message": task.message,
        "priority": task.priority,
        "created_by": username or task.owner_id,
        "celery_task_id": task.id,
        "error_message": task.error,
        "retry_count": max(0, task.attempt - 1),
        "created_at": iso(task.created_at),
        "started_at": iso(task.started_at),
        "completed_at": iso(task.finished_at),
        "updated_at": iso(task.updated_at),
    }
    if not brief:
        out["result_data"] = task.result or {}
    return out


class _Stored(SimpleNamespace):
    """The row just stored, without reading it again and without the ORM's bookkeeping."""

    error = result = started_at = finished_at = None
    priority = Task.priority


def eceee_started(values: dict[str, Any], *, username: str | None = None) -> dict[str, Any]:
    """The same of what `service.start` gave back."""
    now = utcnow()
    row: Any = _Stored(**values, seq=1, created_at=now, updated_at=now)
    return eceee_task(row, username=username)


@contextmanager
def within_config() -> Iterator[None]:
    """A kind names its own fields; to the client they lie inside `task_config`."""
    try:
        yield
    except AppError as exc:
        for detail in exc.details or ():
            if not detail["loc"] or detail["loc"][0] not in ("task_type", "priority", "title", "quota", "task_config"):
                detail["loc"] = ["task_config", *detail["loc"]]
        raise


def eceee_update(event: TaskEvent) -> dict[str, Any]:
    """One line of the update history (001:79-83)."""
    return {
        "id": event.seq,
        "task": event.task_id,
        "update_type": event.type,
        "message": event.message,
        "data": event.data or {},
        "progress_percentage": event.progress,
        "status": eceee_status(event.status),
        "created_at": iso(event.at),
    }


def eceee_event(event: TaskEvent) -> dict[str, Any]:
    """A message on `/ws/tasks/` and the ECEEE stream: `progress` and `progress_percentage` are equal (C21)."""
    return {
        "type": event.type,
        "update_type": event.type,
        "task_id": event.task_id,
        "progress": event.progress,
        "progress_percentage": event.progress,
        "status": eceee_status(event.status),
        "message": event.message,
        "data": event.data or {},
        "timestamp": iso(event.at),
    }


def agentic_state(task: Task, event: TaskEvent | None = None) -> dict[str, Any]:
    """`data` of task_status, task_progress and task_complete on `/ws/tasks/{task_id}`."""
    return {
        "task_id": task.id,
        "status": agentic_status(event.status if event else task.status),
        "progress": event.progress if event else task.progress,
        "message": event.message if event else task.message,
        "timestamp": iso(event.at if event else task.updated_at),
    }


def present_state(task: Task) -> dict[str, Any]:
    """Where a task stands, in the shape of an event."""
    kind = {"completed": "result", "failed": "error", "timed_out": "error"}.get(task.status, "status")
    return {
        "type": kind,
        "update_type": kind,
        "task_id": task.id,
        "progress": task.progress,
        "progress_percentage": task.progress,
        "status": eceee_status(task.status),
        "message": task.message,
        "data": {},
        "timestamp": iso(task.updated_at),
    }


def log_entry(event: TaskEvent, task: Task) -> dict[str, Any]:
    """A log line (002:2319-2326)."""
    return {
        "timestamp": iso(event.at),
        "level": event.level,
        "message": event.message,
        "agent_id": task.agent_id,
        "task_id": event.task_id,
        "source": task.kind,
    }

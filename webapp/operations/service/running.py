"""What runs now, and what of it seems stuck."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from webapp.core.context import Ctx
from webapp.core.db import db_now
from webapp.operations.service.base import admin, people, words
from webapp.tasks.models import Task, TaskEvent

SILENT = 300.0  # seconds without an event after which a running task seems stuck
STOPPING = 30.0  # seconds in which a task that was asked to stop should have stopped
SHOWN = 200


@dataclass(frozen=True)
class RunningRow:
    """`troubles` says in words why it seems stuck; empty when all is well."""

    id: str
    title: str
    kind: str
    queue: str
    owner: str | None
    progress: int
    message: str
    attempt: int
    worker_id: str | None
    started_at: datetime | None
    elapsed: float
    silent: float
    time_limit: float
    troubles: tuple[str, ...]


def running(ctx: Ctx) -> list[RunningRow]:
    """Running tasks, the stuck ones first, then by how long they have said nothing. Two queries."""
    names = people().c
    stmt = (
        select(*_COLUMNS, names.username.label("owner"), db_now().label("now"))
        .outerjoin(people(), names.id == Task.owner_id)
        .where(Task.status == "running")
        .order_by(Task.updated_at)
        .limit(SHOWN)
    )
    rows = admin(ctx).db.execute(stmt).all()
    began = _claimed_at(ctx, [row.id for row in rows])
    return sorted(
        (_row(row, began.get(row.id, row.started_at)) for row in rows), key=lambda row: (not row.troubles, -row.silent)
    )


_COLUMNS = (Task.id, Task.title, Task.kind, Task.queue, Task.progress, Task.message, Task.attempt, Task.worker_id,
            Task.started_at, Task.updated_at, Task.time_limit, Task.lease_until, Task.cancel_requested)  # fmt: skip


def _claimed_at(ctx: Ctx, ids: Sequence[str]) -> dict[str, datetime]:
    """When the attempt that runs began; `started_at` is the first one's."""
    if not ids:
        return {}
    stmt = select(TaskEvent.task_id, func.max(TaskEvent.at)).where(
        TaskEvent.task_id.in_(ids), TaskEvent.type == "status", TaskEvent.message == "Started"
    )
    return {row[0]: row[1] for row in ctx.db.execute(stmt.group_by(TaskEvent.task_id))}


def _row(row: Any, began: datetime | None) -> RunningRow:
    elapsed = max(0.0, row.now - began.timestamp()) if began else 0.0
    silent = max(0.0, row.now - row.updated_at.timestamp())
    return RunningRow(
        row.id, row.title, row.kind, row.queue, row.owner, row.progress, row.message, row.attempt, row.worker_id,
        began, elapsed, silent, row.time_limit, tuple(_troubles(row, elapsed, silent)),
    )  # fmt: skip


def _troubles(row: Any, elapsed: float, silent: float) -> list[str]:
    found = []
    late = row.now - (row.lease_until or row.now)
    if late > 0:
        found.append(f"its worker has been gone for {words(late)}; the sweep takes it back")
    if elapsed > row.time_limit:
        found.append(f"past its limit of {words(row.time_limit)}")
    if row.cancel_requested and silent > STOPPING:
        found.append(f"asked to stop {words(silent)} ago")
    elif silent > SILENT:
        found.append(f"no word for {words(silent)}")
    return found

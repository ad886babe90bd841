"""Queues: what waits, how long, how fast it goes, who serves it; pause and resume."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, func, or_, select, text

from webapp.core import audit
from webapp.core.context import Ctx
from webapp.core.db import NOW_SQL, db_now, utcnow
from webapp.core.errors import NotFound
from webapp.core.jobs import QUEUES, ROLES
from webapp.operations.service.base import admin, clock
from webapp.operations.service.workers import WorkerRow, workers
from webapp.tasks import pauses
from webapp.tasks.models import Task
from webapp.tasks.pauses import QueuePause

# Written out: a bound value would hide from the planner that the partial indexes apply.
QUEUED = "status = 'queued'"
UNFINISHED = ("running", "retrying", "paused", "waiting_input")  # beside queued, which has an index of its own


@dataclass(frozen=True)
class QueueRow:
    """`waiting` could start now; `scheduled` waits for its time (retries and later starts)."""

    name: str
    roles: tuple[str, ...]
    waiting: int = 0
    scheduled: int = 0
    running: int = 0
    held: int = 0  # waiting for a person, or for their parts
    oldest_seconds: float | None = None
    per_minute_5: float = 0.0
    per_minute_60: float = 0.0
    failed_60: int = 0
    workers: int = 0
    threads: int = 0
    paused: bool = False
    paused_by: str | None = None
    paused_at: datetime | None = None
    paused_reason: str = ""


@dataclass
class _Counts:
    waiting: dict[str, int] = field(default_factory=dict)
    scheduled: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    firsts: list[str] = field(default_factory=list)  # the first task of each queue and priority


def queues(ctx: Ctx, processes: list[WorkerRow] | None = None) -> list[QueueRow]:
    """Every queue, in the order of `QUEUES`. A fixed number of queries; `processes` saves asking for them again."""
    processes = workers(ctx) if processes is None else processes
    counts = _counts(admin(ctx))
    ages, rates = _oldest(ctx, counts.firsts), _rates(ctx)
    paused = {row.queue: row for row in ctx.db.scalars(select(QueuePause))}
    return [_row(ctx, name, counts, ages, rates, paused.get(name), processes) for name in QUEUES]


def queue(ctx: Ctx, name: str) -> QueueRow:
    for row in queues(ctx):
        if row.name == name:
            return row
    raise NotFound(f"there is no queue called {name[:32]}", suggestion=f"Use one of: {', '.join(QUEUES)}")


def pause_queue(ctx: Ctx, name: str, reason: str = "") -> QueueRow:
    """From this commit on no worker of any process takes from the queue. What runs runs on; what waits says why."""
    waiting = pauses.pause(admin(ctx), name, reason)
    audit.record(ctx, "queue.pause", "queue", name, reason=reason.strip()[:200], waiting=waiting)
    return queue(ctx, name)


def resume_queue(ctx: Ctx, name: str) -> QueueRow:
    """Workers take from the queue again, woken at once."""
    waiting = pauses.resume(admin(ctx), name)
    audit.record(ctx, "queue.resume", "queue", name, waiting=waiting)
    return queue(ctx, name)


# -- counting --------------------------------------------------------------------------------------------------------


def _counts(ctx: Ctx) -> _Counts:
    """Waiting tasks are read from the index that claims use, however many there are: no row is touched."""
    found = _Counts()
    now = NOW_SQL[ctx.rt.engine.dialect.name]
    later = (
        f"SELECT queue, count(*) FROM {_by(ctx, 'ix_tasks_scheduled')} WHERE {QUEUED} AND due_at > {now} GROUP BY queue"
    )
    found.scheduled = {row[0]: row[1] for row in ctx.db.execute(text(later))}
    queued = f"SELECT queue, count(*), min(id) FROM {_by(ctx, 'ix_tasks_ready')} WHERE {QUEUED} GROUP BY queue, rank"
    for name, count, first in ctx.db.execute(text(queued)):
        found.waiting[name] = found.waiting.get(name, 0) + count
        found.firsts.append(first)
    for name, count in found.scheduled.items():
        found.waiting[name] -= count
    rest = select(Task.queue, Task.status, func.count()).where(Task.status.in_(UNFINISHED))
    for name, status, count in ctx.db.execute(rest.group_by(Task.queue, Task.status)):
        kind = {"running": found.running, "retrying": found.scheduled}.get(status, found.held)
        kind[name] = kind.get(name, 0) + count
    return found


def _by(ctx: Ctx, index: str) -> str:
    """SQLite without statistics takes the index of all statuses and then reads each row: 60 ms instead of 4."""
    return f"tasks INDEXED BY {index}" if ctx.rt.engine.dialect.name == "sqlite" else "tasks"


def _oldest(ctx: Ctx, firsts: list[str]) -> dict[str, float]:
    """queue -> seconds its longest waiting task has been waiting, from the first task of each queue and priority."""
    now = clock(ctx)
    ages: dict[str, float] = {}
    unsure: set[str] = set()
    for name, since, due_at in ctx.db.execute(
        select(Task.queue, Task.updated_at, Task.due_at).where(Task.id.in_(firsts))
    ):
        if due_at is not None and due_at > now:
            unsure.add(name)  # one that starts later stands before those who wait
        else:
            ages[name] = max(ages.get(name, 0.0), now - since.timestamp(), 0.0)
    return ages | _oldest_by_row(ctx, unsure, now) if unsure else ages


def _oldest_by_row(ctx: Ctx, names: set[str], now: float) -> dict[str, float]:
    stmt = select(Task.queue, func.min(Task.updated_at)).where(
        Task.status == "queued", Task.queue.in_(names), waiting_now()
    )
    return {name: max(0.0, now - since.timestamp()) for name, since in ctx.db.execute(stmt.group_by(Task.queue))}


def waiting_now() -> ColumnElement[bool]:
    return or_(Task.due_at.is_(None), Task.due_at <= db_now())


def _rates(ctx: Ctx) -> dict[str, Any]:
    """queue -> (queue, ended in 5 minutes, in 60, failed in 60), read from one index."""
    now = utcnow()
    stmt = select(
        Task.queue,
        func.sum(case((Task.finished_at > now - timedelta(minutes=5), 1), else_=0)).label("in_5"),
        func.count().label("in_60"),
        func.sum(case((Task.status.in_(("failed", "timed_out")), 1), else_=0)).label("failed"),
    ).where(Task.finished_at.is_not(None), Task.finished_at > now - timedelta(minutes=60))
    return {row.queue: row for row in ctx.db.execute(stmt.group_by(Task.queue))}


def _row(
    ctx: Ctx,
    name: str,
    counts: _Counts,
    ages: dict[str, float],
    rates: dict[str, Any],
    paused: QueuePause | None,
    processes: list[WorkerRow],
) -> QueueRow:
    serving = sum(name in worker.queues and worker.state != "lost" for worker in processes)
    rate = rates.get(name)
    return QueueRow(
        name=name,
        roles=tuple(role for role in (ctx.rt.roles or ("all",)) if name in ROLES[role]),
        waiting=counts.waiting.get(name, 0),
        scheduled=counts.scheduled.get(name, 0),
        running=counts.running.get(name, 0),
        held=counts.held.get(name, 0),
        oldest_seconds=ages.get(name),
        per_minute_5=round(rate.in_5 / 5, 1) if rate else 0.0,
        per_minute_60=round(rate.in_60 / 60, 1) if rate else 0.0,
        failed_60=int(rate.failed) if rate else 0,
        workers=serving,
        threads=serving * ctx.rt.settings.threads_of(name),
        paused=paused is not None,
        paused_by=paused.paused_by if paused else None,
        paused_at=paused.paused_at if paused else None,
        paused_reason=paused.reason if paused else "",
    )

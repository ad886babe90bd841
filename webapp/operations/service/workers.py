"""Worker processes, as they last said of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from webapp.core.context import Ctx
from webapp.core.db import db_now
from webapp.health.service import lost_after
from webapp.operations.service.base import admin
from webapp.settings import Settings
from webapp.tasks.models import Task, Worker

STATES = ("alive", "late", "lost")


@dataclass(frozen=True)
class WorkerRow:
    """`state`: alive; late (missed beats, may yet come back); lost (its tasks are being taken back)."""

    id: str
    role: str
    queues: tuple[str, ...]
    host: str
    pid: int
    threads: int
    rss_mb: float
    done: int
    running: tuple[tuple[str, str], ...]  # (task id, title): what it holds now, by the tasks and not by its last beat
    started_at: datetime
    beat_age: float
    state: str


def workers(ctx: Ctx) -> list[WorkerRow]:
    """All worker processes, those that need attention first. Two queries."""
    rows = admin(ctx).db.execute(select(Worker, db_now().label("now"))).all()
    held = _held(ctx)
    found = [_row(worker, now - worker.beat_at, held.get(worker.id, []), ctx.rt.settings) for worker, now in rows]
    return sorted(found, key=lambda row: (-STATES.index(row.state), row.role, row.id))


def _held(ctx: Ctx) -> dict[str, list[tuple[str, str]]]:
    """worker -> its running tasks, the longest first. A beat is up to ten seconds old; the tasks say it at once."""
    asked = (
        select(Task.worker_id, Task.id, Task.title)
        .where(Task.status == "running", Task.worker_id.is_not(None))
        .order_by(Task.started_at)
        .limit(1000)
    )
    held: dict[str, list[tuple[str, str]]] = {}
    for worker_id, task_id, title in ctx.db.execute(asked):
        held.setdefault(str(worker_id), []).append((task_id, title))
    return held


def _row(worker: Worker, age: float, held: list[tuple[str, str]], settings: Settings) -> WorkerRow:
    return WorkerRow(
        id=worker.id,
        role=worker.role,
        queues=tuple(worker.queues.split(",")),
        host=worker.host,
        pid=worker.pid,
        threads=worker.threads,
        rss_mb=round(worker.rss_mb, 1),
        done=worker.done,
        running=tuple(held),
        started_at=worker.started_at,
        beat_age=max(0.0, age),
        state=state_of(age, settings),
    )


def state_of(age: float, settings: Settings) -> str:
    """alive up to two beats and a little; lost when health calls it so; late between."""
    if age > lost_after(settings):
        return "lost"
    return "late" if age > settings.beat_seconds * 2 + 2 else "alive"

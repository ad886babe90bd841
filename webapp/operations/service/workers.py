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
    running: tuple[tuple[str, str], ...]  # (task id, title)
    started_at: datetime
    beat_age: float
    state: str


def workers(ctx: Ctx) -> list[WorkerRow]:
    """All worker processes, those that need attention first. Two queries."""
    rows = admin(ctx).db.execute(select(Worker, db_now().label("now"))).all()
    titles = _titles(ctx, [task_id for worker, _ in rows for task_id in worker.running])
    found = [_row(worker, now - worker.beat_at, titles, ctx.rt.settings) for worker, now in rows]
    return sorted(found, key=lambda row: (-STATES.index(row.state), row.role, row.id))


def _titles(ctx: Ctx, ids: list[str]) -> dict[str, str]:
    if not ids:
        return {}
    return {row.id: row.title for row in ctx.db.execute(select(Task.id, Task.title).where(Task.id.in_(ids[:1000])))}


def _row(worker: Worker, age: float, titles: dict[str, str], settings: Settings) -> WorkerRow:
    return WorkerRow(
        id=worker.id,
        role=worker.role,
        queues=tuple(worker.queues.split(",")),
        host=worker.host,
        pid=worker.pid,
        threads=worker.threads,
        rss_mb=round(worker.rss_mb, 1),
        done=worker.done,
        running=tuple((task_id, titles.get(task_id, "(deleted)")) for task_id in worker.running),
        started_at=worker.started_at,
        beat_age=max(0.0, age),
        state=state_of(age, settings),
    )


def state_of(age: float, settings: Settings) -> str:
    """alive up to two beats and a little; lost when health calls it so; late between."""
    if age > lost_after(settings):
        return "lost"
    return "late" if age > settings.beat_seconds * 2 + 2 else "alive"

"""Queues that an operator has paused. The row is the pause: a claim looks at it in its own statement.

So a pause holds for every process from the moment it is committed, needs no bell and survives a restart. Tasks
already running run on; waiting ones stay queued and say why.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, String, select
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.context import Ctx
from webapp.core.db import Base, UTCDateTime, after_commit, utcnow
from webapp.core.errors import Conflict, NotFound
from webapp.core.jobs import QUEUES
from webapp.runtime import Runtime
from webapp.tasks import store

PAUSED = "Waiting: this queue is paused"
GOES_ON = "Waiting for a worker"
WAKE_AT_ONCE = 2000  # the sweep sends what is missing above that


class QueuePause(Base):
    """One row per paused queue."""

    __tablename__ = "queue_pauses"

    queue: Mapped[str] = mapped_column(String(32), primary_key=True)
    reason: Mapped[str] = mapped_column(String(200), default="")
    paused_by: Mapped[str] = mapped_column(String(64))
    paused_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


def pause(ctx: Ctx, queue: str, reason: str = "") -> int:
    """Let no worker take from `queue` any more; how many tasks wait there. Raises Conflict when it is paused already."""
    if ctx.db.get(QueuePause, _known(queue)) is not None:
        raise Conflict(f"{queue} is already paused", code="already_paused")
    ctx.db.add(QueuePause(queue=queue, reason=store.clean_text(reason).strip()[:200], paused_by=ctx.user.username[:64]))
    ctx.db.flush()
    return _say(ctx.db.connection(), queue, PAUSED, waits_anew=False)


def resume(ctx: Ctx, queue: str) -> int:
    """Let workers take from `queue` again and wake them; how many tasks wait. Raises Conflict when it is not paused."""
    row = ctx.db.get(QueuePause, _known(queue))
    if row is None:
        raise Conflict(f"{queue} is not paused", code="not_paused")
    ctx.db.delete(row)
    ctx.db.flush()
    # Their wait starts anew: time spent paused is not time without a worker, after which a task is given up.
    waiting = _say(ctx.db.connection(), queue, GOES_ON, waits_anew=True)
    after_commit(ctx.db, lambda: _wake(ctx.rt, queue, min(waiting, WAKE_AT_ONCE)))
    return waiting


def _wake(rt: Runtime, queue: str, times: int) -> None:
    for _ in range(times):
        rt.wake(queue, "")  # whose turn it is, the claim says


def tell_latecomers(rt: Runtime) -> int:
    """Tasks that came into a paused queue after the pause learn why they wait. The sweep calls this."""
    with rt.unit(write=False) as db:
        paused = list(db.scalars(select(QueuePause.queue)))
    if not paused:
        return 0
    with rt.unit() as db:
        return sum(_say(db.connection(), queue, PAUSED, waits_anew=False) for queue in paused)


def _known(queue: str) -> str:
    if queue not in QUEUES:
        raise NotFound(f"there is no queue called {queue[:32]}", suggestion=f"Use one of: {', '.join(QUEUES)}")
    return queue


def _say(connection: Connection, queue: str, message: str, *, waits_anew: bool) -> int:
    """Give all waiting tasks of `queue` this message, and an event that says so: two statements however many."""
    dialect = connection.dialect.name
    sets = "seq = seq + 1, message = :message" + (", updated_at = :at" if waits_anew else "")
    update = f"UPDATE tasks SET {sets} WHERE queue = :queue AND status = 'queued' AND message <> :message"
    event = (
        "INSERT INTO task_events (task_id, seq, type, level, status, progress, message, data, at)"
        " SELECT id, seq, 'status', 'info', status, progress, :message, NULL, :at FROM"
    )
    params: dict[str, Any] = {"queue": queue, "message": message, "at": store._bind(dialect, utcnow())}
    if dialect == "postgresql":
        event = event.replace(" :message, NULL", " CAST(:message AS TEXT), NULL")
        both = f"WITH moved AS ({update} RETURNING id, seq, status, progress) {event} moved"
        return int(store.run_sql(connection, both, params).rowcount)
    changed = int(store.run_sql(connection, update, params).rowcount)
    if changed:
        lacking = "NOT EXISTS (SELECT 1 FROM task_events AS e WHERE e.task_id = tasks.id AND e.seq = tasks.seq)"
        which = f"tasks WHERE queue = :queue AND status = 'queued' AND message = :message AND {lacking}"
        store.run_sql(connection, f"{event} {which}", params)
    return changed

"""Duration, success rate, error rate and queue length, per kind of task, per agent and in total (M186)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Double, case, cast, extract, func, select
from sqlalchemy.orm import Session

from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.tasks.models import Task


@dataclass(frozen=True)
class KindMetrics:
    """Rates are shares of the tasks that ended by themselves: a cancelled one is neither success nor error."""

    agent_id: str | None
    kind: str
    tasks_total: int
    completed: int
    failed: int
    cancelled: int
    success_rate: float | None
    error_rate: float | None
    avg_duration_ms: float | None
    max_duration_ms: float | None
    queue_length: int


@dataclass(frozen=True)
class Metrics:
    scope: str  # own | all
    window_hours: float
    total: KindMetrics
    agents: list[KindMetrics]


def metrics(ctx: Ctx, hours: float = 24.0) -> Metrics:
    """Of the caller's own tasks; an administrator's are everybody's. Two queries.

    The total is of people's work: our own upkeep, which runs each minute, would drown their errors in its successes.
    """
    mine = () if ctx.user.is_admin else (Task.owner_id == ctx.user.id,)
    taken = _seconds(ctx.rt.engine.dialect.name)
    ended = (
        select(
            Task.kind,
            Task.agent_id,
            func.count().label("count"),
            *(func.sum(case((Task.status.in_(group), 1), else_=0)).label(name) for name, group in _GROUPS),
            func.sum(taken).label("taken"),
            func.count(taken).label("timed"),
            func.max(taken).label("longest"),
        )
        .where(Task.finished_at.is_not(None), Task.finished_at > utcnow() - timedelta(hours=hours), *mine)
        .group_by(Task.kind, Task.agent_id)
    )
    waiting = select(Task.kind, Task.agent_id, func.count()).where(Task.status == "queued", *mine)
    lengths = {(row[0], row[1]): row[2] for row in ctx.db.execute(waiting.group_by(Task.kind, Task.agent_id))}
    rows = {(row.kind, row.agent_id): row._mapping for row in ctx.db.execute(ended)}
    among = sorted({*rows, *lengths}, key=lambda key: (key[0], key[1] or ""))
    agents = [_metrics(key[0], rows.get(key, {}), lengths.get(key, 0), key[1]) for key in among]
    work = {key: row for key, row in rows.items() if not key[0].startswith("maintenance.")}
    queued = {key: count for key, count in lengths.items() if not key[0].startswith("maintenance.")}
    return Metrics("all" if ctx.user.is_admin else "own", hours, _total(work, queued), agents)


_GROUPS = (("completed", ("completed",)), ("failed", ("failed", "timed_out")), ("cancelled", ("cancelled",)))


def _seconds(dialect: str) -> Any:
    """From the first start to the end; NULL for what never started."""
    if dialect == "sqlite":
        return (func.julianday(Task.finished_at) - func.julianday(Task.started_at)) * 86400.0
    return cast(extract("epoch", Task.finished_at - Task.started_at), Double)


def agent_performance(db: Session, agent_id: str, hours: float = 24.0) -> tuple[int, float | None]:
    """(tasks of an agent that completed in the last hours, milliseconds they took on average)."""
    taken = _seconds(db.get_bind().dialect.name)
    ended = (Task.status == "completed", Task.finished_at > utcnow() - timedelta(hours=hours))
    row = db.execute(select(func.count(), func.avg(taken)).where(*ended, Task.agent_id == agent_id)).one()
    return row[0], None if row[1] is None else round(float(row[1]) * 1000, 1)


def _total(rows: dict[Any, Any], lengths: dict[Any, int]) -> KindMetrics:
    sums: dict[str, Any] = {
        name: sum(row[name] or 0 for row in rows.values())
        for name in ("count", "completed", "failed", "cancelled", "taken", "timed")
    }
    sums["longest"] = max((row["longest"] for row in rows.values() if row["longest"] is not None), default=None)
    return _metrics("all", sums, sum(lengths.values()))


def _metrics(kind: str, row: Any, waiting: int, agent: str | None = None) -> KindMetrics:
    completed, failed = int(row.get("completed") or 0), int(row.get("failed") or 0)
    judged, timed, longest = completed + failed, row.get("timed") or 0, row.get("longest")
    return KindMetrics(
        agent_id=agent,
        kind=kind,
        tasks_total=int(row.get("count") or 0),
        completed=completed,
        failed=failed,
        cancelled=int(row.get("cancelled") or 0),
        success_rate=round(completed / judged, 4) if judged else None,
        error_rate=round(failed / judged, 4) if judged else None,
        avg_duration_ms=round(row["taken"] / timed * 1000, 1) if timed else None,
        max_duration_ms=round(longest * 1000, 1) if longest is not None else None,
        queue_length=waiting,
    )

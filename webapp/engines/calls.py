"""Every call of a model as a row, and what these rows say: how often, how fast, how sure (M099, M120).

Numbers are those of the runs. Cancelled calls count as calls, and neither for nor against the model.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from webapp.core.db import iso, utcnow
from webapp.core.errors import AppError, TaskCancelled, TaskTimedOut
from webapp.engines.models import ModelCall

if TYPE_CHECKING:
    from webapp.engines.base import Completion
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

WINDOW = timedelta(days=30)  # the past that statistics look at
CANCELLED = "cancelled"


@dataclass(frozen=True)
class Purpose:
    """What a call is for."""

    task_type: str = ""
    owner_id: str | None = None
    task_id: str | None = None


def completed(rt: Runtime, purpose: Purpose, done: Completion, seconds: float) -> None:
    took = done.seconds
    _write(rt, purpose, model=done.model, ok=done.finish != CANCELLED, finish=done.finish, seconds=seconds,
           prompt_tokens=done.prompt_tokens, completion_tokens=done.completion_tokens, load_seconds=took.get("load"),
           first_token_seconds=took.get("first_token"), prompt_seconds=took.get("prompt"),
           generate_seconds=took.get("generate"), details=done.details)  # fmt: skip


def failed(
    rt: Runtime, purpose: Purpose, model: str, error: BaseException, seconds: float, first: float | None
) -> None:
    finish, message = _why(error)
    _write(rt, purpose, model=model, ok=False, finish=finish, seconds=seconds, first_token_seconds=first,
           details={"error": message[:500]} if message else {})  # fmt: skip


def _why(error: BaseException) -> tuple[str, str]:
    if isinstance(error, TaskCancelled):
        return CANCELLED, ""
    if isinstance(error, TaskTimedOut):
        return "timeout", str(error)
    if isinstance(error, AppError):
        return error.code[:16], error.message
    return "interrupted", type(error).__name__  # the caller's own: its task was lost, its worker shuts down


def _write(rt: Runtime, purpose: Purpose, *, model: str, **measured: Any) -> None:
    """A row that cannot be written costs a measurement, never the answer."""
    row = ModelCall(model=model[:200], family=family(model), task_type=purpose.task_type[:40],
                    owner_id=purpose.owner_id, task_id=purpose.task_id, **measured)  # fmt: skip
    try:
        with rt.unit() as db:
            db.add(row)
    except SQLAlchemyError as error:
        log.warning("a call of %s was not recorded: %s", model, str(getattr(error, "orig", error))[:200])


def family(model: str) -> str:
    return model.partition(":")[0][:16]


# -- statistics ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metrics:
    """Of the calls of one model, and of one kind of work where `task_type` is not None, in the last thirty days.

    success_rate: of those that were not cancelled; None without one. Times are means of calls that succeeded, first
    token without those that had to load the model. tokens_per_second: of all their tokens.
    """

    model: str
    task_type: str | None
    calls: int
    succeeded: int
    cancelled: int
    seconds: float | None
    tokens_per_second: float | None
    first_token_seconds: float | None
    tokens: int
    last_at: datetime | None

    @property
    def failed(self) -> int:
        return self.calls - self.succeeded - self.cancelled

    @property
    def success_rate(self) -> float | None:
        tried = self.calls - self.cancelled
        return self.succeeded / tried if tried else None


def metrics(
    db: Session, *, by_task: bool = False, task_type: str | None = None, model: str | None = None, limit: int = 1000
) -> list[Metrics]:
    """Busiest first."""
    ok = ModelCall.ok.is_(True)
    timed = ok & ModelCall.generate_seconds.is_not(None) & ModelCall.completion_tokens.is_not(None)
    kind = ModelCall.task_type if by_task else None
    columns = [
        ModelCall.model,
        func.count(),
        func.sum(case((ok, 1), else_=0)),
        func.sum(case((ModelCall.finish == CANCELLED, 1), else_=0)),
        func.avg(case((ok, ModelCall.seconds))),
        func.sum(case((timed, ModelCall.completion_tokens))),
        func.sum(case((timed, ModelCall.generate_seconds))),
        func.avg(case((ok & ModelCall.load_seconds.is_(None), ModelCall.first_token_seconds))),
        func.sum(func.coalesce(ModelCall.prompt_tokens, 0) + func.coalesce(ModelCall.completion_tokens, 0)),
        func.max(ModelCall.at),
    ]
    stmt = select(*columns, *([kind] if kind is not None else [])).where(ModelCall.at > utcnow() - WINDOW)
    if task_type is not None:
        stmt = stmt.where(ModelCall.task_type == task_type[:40])
    if model is not None:
        stmt = stmt.where(ModelCall.model == model[:200])
    stmt = stmt.group_by(ModelCall.model, *([kind] if kind is not None else []))
    stmt = stmt.order_by(func.count().desc(), ModelCall.model).limit(max(1, min(limit, 1000)))
    return [_metrics(row, by_task) for row in db.execute(stmt)]


def _metrics(row: Any, by_task: bool) -> Metrics:
    model, calls, good, cancelled, seconds, written, generating, first, tokens, last_at = row[:10]
    speed = float(written) / float(generating) if written and generating else None
    return Metrics(model, row[10] if by_task else None, int(calls), int(good or 0), int(cancelled or 0),
                   _number(seconds), speed, _number(first), int(tokens or 0), last_at)  # fmt: skip


def _number(value: Any) -> float | None:
    return float(value) if value is not None else None


def score(one: Metrics, fastest: float | None) -> float | None:
    """0..1 out of what was measured: seven tenths for succeeding, three for speed beside the fastest model here."""
    if one.success_rate is None:
        return None
    speed = one.tokens_per_second / fastest if fastest and one.tokens_per_second else None
    return round(one.success_rate if speed is None else 0.7 * one.success_rate + 0.3 * min(1.0, speed), 4)


def fastest(found: list[Metrics]) -> float | None:
    return max((one.tokens_per_second for one in found if one.tokens_per_second), default=None)


def last_errors(db: Session, models: list[str]) -> dict[str, ModelCall]:
    """The newest call of each model, where that one failed: what worked since is no trouble any more."""
    newest = (
        select(ModelCall.id, func.row_number().over(partition_by=ModelCall.model, order_by=ModelCall.at.desc()).label("n"))
        .where(ModelCall.model.in_(models), ModelCall.at > utcnow() - WINDOW, ModelCall.finish != CANCELLED)
        .subquery()
    )  # fmt: skip
    rows = db.scalars(select(ModelCall).join(newest, newest.c.id == ModelCall.id).where(newest.c.n == 1))
    return {row.model: row for row in rows if not row.ok}


def recent(db: Session, model: str, limit: int = 20) -> list[ModelCall]:
    stmt = select(ModelCall).where(ModelCall.model == model[:200]).order_by(ModelCall.at.desc())
    return list(db.scalars(stmt.limit(max(1, min(100, limit)))))


def usage(db: Session, task_id: str) -> dict[str, Any] | None:
    """`model_usage` of a task's result (contract shapes 6.2), over all its calls; None when it called no model."""
    rows = list(db.scalars(select(ModelCall).where(ModelCall.task_id == task_id).order_by(ModelCall.at)))
    if not rows:
        return None
    main = max(rows, key=lambda row: row.seconds)
    tokens = [row.prompt_tokens for row in rows] + [row.completion_tokens for row in rows]
    everything = metrics(db)
    mine = next((one for one in everything if one.model == main.model), None)
    return {
        "primary_model": main.model,
        "model_version": main.details.get("version"),
        "processing_time_ms": round(1000 * sum(row.seconds for row in rows)),
        "tokens_used": sum(one for one in tokens if one is not None) if any(one is not None for one in tokens) else None,
        "performance_score": score(mine, fastest(everything)) if mine else None,
    }  # fmt: skip


def tokens_of(db: Session, owner_id: str, since: datetime) -> int:
    """What models have read and written for a person since then."""
    both = func.coalesce(ModelCall.prompt_tokens, 0) + func.coalesce(ModelCall.completion_tokens, 0)
    mine = (ModelCall.owner_id == owner_id, ModelCall.at >= since)
    return int(db.scalar(select(func.coalesce(func.sum(both), 0)).where(*mine)) or 0)


def as_metric(one: Metrics, best: float | None) -> dict[str, Any]:
    """A row of GET /api/v1/models/performance (contract shapes 6.4)."""
    return {
        "model_name": one.model,
        "task_type": one.task_type or "",
        "total_requests": one.calls,
        "success_rate": round(one.success_rate, 4) if one.success_rate is not None else None,
        "average_response_time_ms": round(1000 * one.seconds, 1) if one.seconds is not None else None,
        "average_tokens_per_second": round(one.tokens_per_second, 2) if one.tokens_per_second is not None else None,
        "performance_score": score(one, best),
        "last_updated": iso(one.last_at),
    }


def forget_old(rt: Runtime, days: int, batch: int = 5000) -> int:
    """Delete calls that no statistic looks at any more. `days` 0 keeps them."""
    if days <= 0:
        return 0
    until, removed = utcnow() - max(WINDOW, timedelta(days=days)), 0
    while True:
        with rt.unit() as db:
            ids = list(db.scalars(select(ModelCall.id).where(ModelCall.at < until).limit(batch)))
            db.execute(delete(ModelCall).where(ModelCall.id.in_(ids)))
        removed += len(ids)
        if len(ids) < batch:
            return removed

"""Our own periodic work, as hidden task kinds: so it has rows, events, retries and dead letters like any other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, and_, delete, false, func, not_, or_, select
from sqlalchemy.orm import Session

from webapp.core import stored
from webapp.core.db import NOW_SQL, utcnow
from webapp.core.models import IdempotencyKey
from webapp.core.quotas import RemovedTasks
from webapp.runtime import Runtime
from webapp.tasks import store
from webapp.tasks.kinds import TaskKind, kinds, known
from webapp.tasks.models import FINAL, Task, TaskEvent
from webapp.tasks.run import TaskRun

BATCH = 500


class RetentionParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    only_expired: bool = False


def retention(run: TaskRun) -> dict[str, Any]:
    """Delete old finished tasks (M052) and what has an end of its own, in batches that other writers slip between."""
    rt = run.rt
    counts = _forget_expired(rt)
    counts["tasks"] = _delete_tasks(run, Task.kind.like("maintenance.%"), utcnow() - timedelta(days=1))
    if run.params.get("only_expired"):
        return counts
    for rule in rules(stored.value(rt, "retention_days"), stored.value(rt, "retention_tasks")):
        if rule.days:
            counts["tasks"] += _delete_tasks(run, rule.which, utcnow() - timedelta(days=rule.days))
    counts["logs"] = _delete_logs(run, stored.value(rt, "retention_logs_days"))
    return counts


def _forget_expired(rt: Runtime) -> dict[str, int]:
    now = utcnow()
    with rt.unit() as db:
        keys = db.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now - timedelta(days=1)))
        db.execute(delete(RemovedTasks).where(RemovedTasks.day < f"{now - timedelta(days=1):%Y-%m-%d}"))
        dialect = rt.engine.dialect.name
        dead = store.run_sql(
            db.connection(), f"DELETE FROM workers WHERE beat_at < {NOW_SQL[dialect]} - 3600", {}
        ).rowcount
    return {"idempotency_keys": keys.rowcount, "workers": dead}  # type: ignore[attr-defined]


# -- what is kept how long -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """Finished tasks that go after so many days; 0 keeps them."""

    label: str
    days: int
    which: ColumnElement[bool]


def rules(days: int, others: Iterable[str]) -> list[Rule]:
    """`others`: `failed=90`, `summary=7`, `crawl=14`. Each finished task falls under exactly one rule.

    A kind, or the beginning of kinds before their dot, counts before a status, and a status before `days`.
    """
    given = {name: int(number) for name, _, number in (one.partition("=") for one in others)}
    own = Task.kind.like("maintenance.%")  # ours go after a day
    named = {name: _of_kind(name) for name in sorted(given, key=len, reverse=True) if name not in FINAL}
    found: list[Rule] = []
    before: ColumnElement[bool] = own
    for name, which in named.items():
        found.append(
            Rule(
                f"Tasks of the kind {kind_of.label if (kind_of := known(name)) else name}",
                given[name],
                and_(which, not_(before)),
            )
        )
        before = or_(before, which)
    for name in FINAL:
        if name in given:
            found.append(Rule(f"Tasks that {_ENDED[name]}", given[name], and_(Task.status == name, not_(before))))
    rest = [name for name in FINAL if name not in given]
    label = "Other finished tasks" if given else "Finished tasks"
    found.append(Rule(label, days, and_(Task.status.in_(rest), not_(before)) if rest else false()))
    return found


_ENDED = {"completed": "completed", "failed": "failed", "cancelled": "were cancelled", "timed_out": "took too long"}


def _of_kind(name: str) -> ColumnElement[bool]:
    beginning = any(one.startswith(f"{name}.") for one in kinds.names())
    return or_(Task.kind == name, Task.kind.startswith(f"{name}.", autoescape=True)) if beginning else Task.kind == name


def count(db: Session, rule: Rule) -> int:
    """How many tasks the rule would delete now."""
    if not rule.days:
        return 0
    old = (Task.status.in_(FINAL), Task.finished_at < utcnow() - timedelta(days=rule.days))
    return int(db.scalar(select(func.count()).select_from(Task).where(rule.which, *old)) or 0)


def count_logs(db: Session, days: int) -> int:
    """Of how many finished tasks the log would be deleted now."""
    if not days:
        return 0
    return int(db.scalar(select(func.count()).select_from(_logged(utcnow() - timedelta(days=days)).subquery())) or 0)


def _logged(before: datetime) -> Any:
    """Tasks that ended before a moment and still have a log."""
    has_log = select(TaskEvent.task_id).where(TaskEvent.task_id == Task.id).exists()
    return select(Task.id).where(Task.status.in_(FINAL), Task.finished_at < before, has_log)


def _delete_logs(run: TaskRun, days: int) -> int:
    total = 0
    while days:
        run.check()
        with run.rt.unit() as db:
            ids = list(db.scalars(_logged(utcnow() - timedelta(days=days)).limit(BATCH)))
            db.execute(delete(TaskEvent).where(TaskEvent.task_id.in_(ids)))
        total += len(ids)
        if len(ids) < BATCH:
            break
    return total


def _delete_tasks(run: TaskRun, which: Any, before: Any) -> int:
    total = 0
    while True:
        run.check()
        with run.rt.unit() as db:
            ids = list(
                db.scalars(select(Task.id).where(which, Task.status.in_(FINAL), Task.finished_at < before).limit(BATCH))
            )
            if ids:
                db.execute(delete(Task).where(Task.id.in_(ids)))
        total += len(ids)
        if len(ids) < BATCH:
            return total


RETENTION = TaskKind(
    "maintenance.retention", "Retention", "maintenance", RetentionParams, retention, time_limit=600, hidden=True
)

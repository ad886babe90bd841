"""Our own periodic work, as hidden task kinds: so it has rows, events, retries and dead letters like any other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, select

from webapp.core.db import NOW_SQL, utcnow
from webapp.core.models import IdempotencyKey
from webapp.tasks import store
from webapp.tasks.kinds import TaskKind
from webapp.tasks.models import FINAL, Task
from webapp.tasks.run import TaskRun

BATCH = 500


class RetentionParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    only_expired: bool = False


def retention(run: TaskRun) -> dict[str, Any]:
    """Delete old finished tasks (M052) and what has an end of its own, in batches that other writers slip between."""
    rt = run.rt
    now = utcnow()
    with rt.unit() as db:
        keys = db.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now - timedelta(days=1)))
        dialect = rt.engine.dialect.name
        dead = store.run_sql(
            db.connection(), f"DELETE FROM workers WHERE beat_at < {NOW_SQL[dialect]} - 3600", {}
        ).rowcount
    counts = {"tasks": 0, "idempotency_keys": keys.rowcount, "workers": dead}  # type: ignore[attr-defined]
    counts["tasks"] += _delete_tasks(run, Task.kind.like("maintenance.%"), now - timedelta(days=1))
    if not run.params.get("only_expired") and rt.settings.retention_days:
        counts["tasks"] += _delete_tasks(run, Task.status.in_(FINAL), now - timedelta(days=rt.settings.retention_days))
    return counts


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

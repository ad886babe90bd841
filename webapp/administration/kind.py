"""The daily clean-up of what people searched for and what administrators did, as a hidden task kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.core import audit, stored
from webapp.knowledge.service import search
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _forget(task: TaskRun) -> dict[str, Any]:
    counts = {}
    for name, setting, forget in (("searches", "retention_searches_days", search.forget),
                                  ("audit", "retention_audit_days", audit.forget)):  # fmt: skip
        task.check()
        with task.rt.unit() as db:
            counts[name] = forget(db, stored.value(task.rt, setting, db))
    return counts


FORGET = TaskKind("maintenance.records", "Forget old searches and audit entries", "maintenance", NoParams, _forget, time_limit=300,
                  hidden=True)  # fmt: skip

"""The daily clean-up of ended logins as a hidden task kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.identity import service
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _run(run: TaskRun) -> dict[str, Any]:
    with run.rt.unit() as db:
        service.purge_expired(db)
    return {"status": "done"}


PURGE = TaskKind(
    "maintenance.logins", "Forget ended logins", "maintenance", NoParams, _run, time_limit=300, hidden=True
)

"""The health check of every five minutes (M069) as a hidden task kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.health import service
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _run(run: TaskRun) -> dict[str, Any]:
    return service.report(run.rt)


HEALTH = TaskKind("maintenance.health", "Health check", "maintenance", NoParams, _run, time_limit=60, max_attempts=1,
                  hidden=True)  # fmt: skip

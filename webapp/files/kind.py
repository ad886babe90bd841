"""The daily clean-up of uploads as a hidden task kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.files import service
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _run(run: TaskRun) -> dict[str, Any]:
    return {"removed": service.clean(run.rt)}


CLEAN = TaskKind("maintenance.files", "Clean uploads", "maintenance", NoParams, _run, time_limit=600, hidden=True)

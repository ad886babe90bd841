"""The daily clean-up of what was told and received, as a hidden task kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.deliveries import service as deliveries
from webapp.notifications import service as notifications
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun
from webapp.webhooks import inbound


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _forget(task: TaskRun) -> dict[str, Any]:
    counts = {}
    for name, forget in (("notifications", notifications.forget), ("deliveries", deliveries.forget),
                         ("receipts", inbound.forget)):  # fmt: skip
        task.check()
        with task.rt.unit() as db:
            counts[name] = forget(db)
    return counts


FORGET = TaskKind(
    "maintenance.notifications",
    "Forget old notifications",
    "maintenance",
    NoParams,
    _forget,
    time_limit=300,
    hidden=True,
)

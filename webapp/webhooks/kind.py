"""The daily clean-up of what was told and received, as a hidden task kind."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from webapp.core import stored
from webapp.deliveries import service as deliveries
from webapp.notifications import service as notifications
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun
from webapp.webhooks import inbound


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _forget(task: TaskRun) -> dict[str, Any]:
    counts, days = {}, stored.value(task.rt, "retention_notifications_days")
    for name, forget in (("notifications", notifications.forget), ("deliveries", deliveries.forget),
                         ("receipts", lambda db, _: inbound.forget(db))):  # fmt: skip
        task.check()
        with task.rt.unit() as db:
            counts[name] = forget(db, days)
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

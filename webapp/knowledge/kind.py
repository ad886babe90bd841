"""Task kinds of knowledge."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.knowledge.service import removal
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class CollectionParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    collection_id: str = Field(max_length=40)


def _remove(task: TaskRun) -> dict[str, Any]:
    def told(done: int, total: int) -> None:
        task.progress(100 * done / max(1, total), f"Removed {done:,} of {total:,} documents")

    return {"documents": removal.empty(task.rt, task.params["collection_id"], told)}


REMOVE = TaskKind(
    "knowledge.remove", "Remove a collection", "maintenance", CollectionParams, _remove, time_limit=7200, hidden=True,
    description="Empties a collection that was deleted, a hundred documents at a time.",
)  # fmt: skip

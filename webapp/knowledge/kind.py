"""Task kinds of collections: reading sources, emptying what was removed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.core.context import Ctx
from webapp.knowledge.service import demo, reading, removal, sources
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class CollectionParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    collection_id: str = Field(max_length=40)


class ReadParams(CollectionParams):
    """Sources of one collection, read one after the other."""

    source_ids: list[str] = Field(min_length=1, max_length=sources.BATCH)


def _may_read(ctx: Ctx, params: dict[str, Any]) -> None:
    """A task started by hand reads only what its owner may change."""
    sources.check_ids(ctx, params["collection_id"], params["source_ids"])


def _remove(task: TaskRun) -> dict[str, Any]:
    def told(done: int, total: int) -> None:
        task.progress(100 * done / max(1, total), f"Removed {done:,} of {total:,} documents")

    return {"documents": removal.empty(task.rt, task.params["collection_id"], told)}


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _demo(task: TaskRun) -> dict[str, Any]:
    return dict(demo.load(task.rt, task.log))


READ = TaskKind(
    "knowledge.read", "Read sources", "crawling", ReadParams, reading.run, prepare=_may_read, max_attempts=4, offered=False,
    description="Reads uploads, pasted text and single pages into a collection.",
    examples=[{"collection_id": "0199a1b2-0000-7000-8000-000000000000",
               "source_ids": ["0199a1b2-0000-7000-8000-000000000001"]}],
)  # fmt: skip
REMOVE = TaskKind(
    "knowledge.remove", "Remove a collection", "maintenance", CollectionParams, _remove, time_limit=7200, hidden=True,
    description="Empties a collection that was deleted, a hundred documents at a time.",
)  # fmt: skip
DEMO = TaskKind(demo.KIND, "Load the documentation", "maintenance", NoParams, _demo, hidden=True)

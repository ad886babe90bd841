"""Task kinds of the vector index: embed a collection, embed what was left behind, check and mend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.core.context import Ctx
from webapp.core.errors import NotFound
from webapp.knowledge import consistency, embed
from webapp.knowledge.embed_pending import embed_pending
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class EmbedParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    collection_id: str = Field(max_length=40, title="Collection")


class PendingParams(BaseModel):
    """Contract shapes section 12: at most 50 pages each half hour."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=1000, title="Most documents")


class ReindexParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    collection_id: str | None = Field(None, max_length=40, title="Collection", description="Left out: all of them.")
    full: bool = Field(False, title="Embed everything again")


def run_embed(task: TaskRun) -> dict[str, Any]:
    """Everything of one collection that has no vector yet. What is done is in the rows, so that a kill costs a batch."""
    collection_id = task.params["collection_id"]
    current = embed.plan(task.rt, collection_id)
    if current is None:
        return {"chunks": 0, "removed": 0, "note": "the collection is gone"}
    task.progress(0, f"Starting {current.embedder}")
    total = task.saved("total")
    if total is None:
        total = embed.count_waiting(task.rt, current)
        task.save("total", total)
    return {**embed.embed_collection(task.rt, collection_id, task, total=total), "embedder": current.embedder}


def run_pending(task: TaskRun) -> dict[str, Any]:
    return embed_pending(task.rt, task, task.params["limit"], lambda text: task.log(text, "warning"))


def run_reindex(task: TaskRun) -> dict[str, Any]:
    """Compare each collection with its index, mend it, and have the rest embedded by tasks of their own."""
    wanted = task.params.get("collection_id")
    ids = [wanted] if wanted else consistency.all_collections(task.rt)
    found = []
    for number, collection_id in enumerate(ids):
        task.progress(100 * number / max(1, len(ids)), f"Collection {number + 1} of {len(ids)}")
        found += consistency.reindex(task.rt, [collection_id], full=task.params["full"],
                                     note=lambda text: task.log(text, "warning"))  # fmt: skip
        embed.request(task.rt, collection_id)
    for one in found:
        if not one.sound:
            task.log(f"{one.name}: {one.missing} vectors were missing, {one.stale} had no passage", "warning")
    return {"collections": [one.as_json() for one in found], "mended": sum(not one.sound for one in found)}


def prepare_collection(ctx: Ctx, params: dict[str, Any]) -> None:
    """Only who may change a collection may have it embedded; the system may all."""
    from webapp.knowledge.service import collections

    collection_id = params.get("collection_id")
    if collection_id is not None and ctx.user.via != "system":
        collections.writable(ctx, collection_id)
    elif collection_id is None and not ctx.user.is_admin:
        raise NotFound("name a collection of yours")


EMBED = TaskKind(
    "knowledge.embed", "Embed a collection", "embedding", EmbedParams, run_embed, prepare=prepare_collection,
    time_limit=24 * 3600, max_attempts=8,
    description="Gives every passage its vector, for search by meaning.",
    offered=False, examples=[{"collection_id": "0199a1b2-0000-7000-8000-000000000000"}],
)  # fmt: skip

# The same, started by the program after each reading: upkeep, in nobody's list of tasks and among nobody's news.
UPKEEP = replace(EMBED, name=embed.KIND, hidden=True, examples=[])

PENDING = TaskKind(
    "knowledge.embed_pending", "Embed what waits", "embedding", PendingParams, run_pending, prepare=None,
    time_limit=1800, hidden=True,
    description="Documents without vectors, whatever forgot them, and vectors without documents.",
)  # fmt: skip

REINDEX = TaskKind(
    "knowledge.reindex", "Check and mend the vector index", "embedding", ReindexParams, run_reindex,
    prepare=prepare_collection, time_limit=3600,
    description="Compares the index with the database and makes it follow.",
    offered=False, examples=[{}, {"full": True}],
)  # fmt: skip

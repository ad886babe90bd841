"""Task kinds of quality and freshness, started by the schedules of contract section 12 and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.core.context import Ctx
from webapp.knowledge.service import assessing, collections
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class QualityParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=10_000, title="Most documents")
    collection_id: str | None = Field(None, max_length=40, title="Collection", description="Left out: all of them.")


class FreshnessParams(BaseModel):
    model_config = ConfigDict(extra="forbid")

    days: float = Field(30, ge=0, le=3650, title="Older than, in days")
    limit: int = Field(10, ge=1, le=1000, title="Most pages")


def _mine(ctx: Ctx, params: dict[str, Any]) -> None:
    """Somebody who is no administrator names a collection of their own."""
    from webapp.core.errors import NotFound

    if params.get("collection_id"):
        if ctx.user.via != "system":
            collections.writable(ctx, params["collection_id"])
    elif not ctx.user.is_admin:
        raise NotFound("name a collection of yours")


def run_quality(task: TaskRun) -> dict[str, Any]:
    def told(done: int, total: int) -> None:
        task.check()
        task.progress(100 * done / max(1, total), f"Assessed {done:,} of {total:,} documents")

    results = assessing.measure(task.rt, task.params["limit"], collection_id=task.params.get("collection_id"),
                                told=told, cancelled=task.stopped)  # fmt: skip
    scores = [one["score"] for one in results]
    return {"assessed_count": len(results), "results": results[:1000],
            "average": round(sum(scores) / len(scores), 3) if scores else None}  # fmt: skip


def run_freshness(task: TaskRun) -> dict[str, Any]:
    return assessing.refresh(task.rt, task.params["days"], task.params["limit"],
                             lambda text: task.log(text, "warning"))  # fmt: skip


def _admin(ctx: Ctx, params: dict[str, Any]) -> None:
    from webapp.core.errors import Forbidden

    if not ctx.user.is_admin:
        raise Forbidden("only an administrator has all pages read again")


QUALITY = TaskKind(
    "knowledge.quality", "Assess quality", "maintenance", QualityParams, run_quality, prepare=_mine, time_limit=3600,
    description="Measures how good stored documents are to answer from.", examples=[{"limit": 100}], offered=False,
)  # fmt: skip
# The same, started by the program after each reading: upkeep, in nobody's list of tasks and among nobody's news.
UPKEEP = replace(QUALITY, name="maintenance.quality", hidden=True, examples=[])
FRESHNESS = TaskKind(
    "knowledge.freshness", "Refresh old pages", "maintenance", FreshnessParams, run_freshness, prepare=_admin,
    time_limit=600, description="Has the pages read again that were not compared with their source for long.",
    examples=[{"days": 30, "limit": 10}], offered=False,
)  # fmt: skip

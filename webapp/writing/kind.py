"""The task kind `content_generation`: a topic -> an article, an email, a post and so on, of the length asked for.

With a model: what it is to stand on is read, then an outline, then its sections (`drafting.py`). Without one nothing is
written: the result is an outline with what the stored sources say on each of its points (`digest.py`), and it says so.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from webapp.core.errors import NoModel
from webapp.tasks.kinds import TaskKind, doubling
from webapp.tasks.run import TaskRun
from webapp.writing import material
from webapp.writing.params import USUAL, ContentParams
from webapp.writing.reporting import DOWNLOADS, result

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.engines.base import Engine

EXTRACTIVE = "extractive"


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """A collection that is not the caller's, an address that may not be asked and a model that is not there are refused
    before anything is stored. Pages are kept in the collection, so it must be the caller's to change."""
    from webapp.engines import service as engines
    from webapp.intake import service as intake
    from webapp.knowledge.service import collections

    params["length"] = params.get("length") or USUAL[params["content_type"]].words
    chosen, urls = params.get("collection_id"), params.get("urls") or []
    if chosen:
        (collections.writable if urls else collections.get)(ctx, chosen)
    elif urls:
        params["collection_id"] = collections.default(ctx).id
    if params.get("engine") not in (None, "", EXTRACTIVE):
        engines.choose(ctx.rt, params["engine"])
    intake.check_urls(ctx, urls)


def run(task: TaskRun) -> dict[str, Any]:
    """1. Read the pages it is to stand on. 2. Write it, or gather what the sources say. 3. Keep the citations."""
    from webapp.writing import digest, drafting

    began = task.once("began", time.time)
    where = material.scope(task)
    engine, missing = _engine(task)
    if engine is None:
        made = digest.made(task, where)
    else:
        made = drafting.Draft(task, _composer(task, engine), where).write()
    task.progress(96, "Counting words and keywords")
    return result(task, made, where, engine.id if engine else "", missing, began)


def _composer(task: TaskRun, engine: Engine) -> Any:
    from webapp.answers.composing import Composer

    return Composer(task.rt, engine, "generation", task.owner_id, task.id, task.stopped, task.remaining)


def _engine(task: TaskRun) -> tuple[Engine | None, str]:
    """The model of this task, chosen once however often it runs; or None, and how to get one."""
    from webapp.engines import service as engines

    def choose() -> dict[str, str]:
        wanted = task.params.get("engine") or ""
        if wanted == EXTRACTIVE:
            return {"id": "", "why": "No model was chosen. Choose one to have the text written."}
        try:
            return {"id": engines.choose(task.rt, wanted, "generation").id, "why": ""}
        except NoModel as error:
            if wanted:
                raise
            return {"id": "", "why": f"{error.message} {error.suggestion or ''}".strip()}

    chosen = task.once("engine", choose)
    return engines.choose(task.rt, chosen["id"], "generation") if chosen["id"] else None, chosen["why"]


CONTENT = TaskKind(
    name="content_generation",
    label="Content generation",
    queue="inference",
    params=ContentParams,
    run=run,
    prepare=prepare,
    description="Writes an article, an email, a post and more: outline first, then its sections, length and keywords counted.",
    time_limit=7200,
    max_attempts=4,
    backoff=doubling(30.0),
    view="writing/_result.html",
    live="writing/_live.html",
    downloads=DOWNLOADS,
    examples=[{"topic": "Latest AI Trends", "content_type": "blog_post", "length": 1200, "tone": "professional",
               "keywords": ["AI", "machine learning", "automation"]}],
)  # fmt: skip

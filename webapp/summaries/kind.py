"""The task kind `summary`: pasted text, several URLs, uploaded files -> one summary of all, and one of each.

With a model it is written (`written.py`), and each sentence of it is shown with the words of a source that carry it; one
that none carries is left out. Without a model it is made of the sources' own sentences (`lexrank.py`). Each source and
each call of the model is a checkpoint: a killed run fetches no page and asks no model twice.
A source that cannot be read is listed with its reason; the task fails only when none can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webapp.core.errors import Invalid
from webapp.summaries.params import SummaryParams, each_length
from webapp.summaries.reading import read_all
from webapp.summaries.reporting import DOWNLOADS, result
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.engines.base import Engine

EXTRACTIVE = "extractive"


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """Before anything is stored: URLs that may not be fetched, files that are not the caller's and models that are not
    there are refused."""
    from webapp.engines import service as engines
    from webapp.intake import service as intake

    intake.check(ctx, params)
    if params.get("engine") not in (None, "", EXTRACTIVE):
        engines.choose(ctx.rt, params["engine"])


def run(task: TaskRun) -> dict[str, Any]:
    """1. Read every source. 2. Write, or choose sentences. 3. Tell the place of each sentence."""
    from webapp.summaries import extracting, written

    sources = read_all(task, (5, 40))
    readable = [source for source in sources if not source["error"]]
    if not readable:
        raise Invalid("none of the sources could be read: " + "; ".join(s["error"] for s in sources)[:1500])
    several = len(readable) > 1 and task.params.get("per_source", True)
    limits = (task.params["max_length"], each_length(task.params, len(readable)) if several else 0)
    engine = _engine(task)
    made = written.summarised(task, engine, readable, limits) if engine is not None else None
    if made is None:
        task.progress(70, f"Ranking sentences of {sum(source['words'] for source in readable):,} words")
        made = extracting.summarised(task, readable, limits)
        if engine is not None:
            made["notes"] = [
                f"{task.saved('not written')} So this is made of sentences of the sources.",
                *made["notes"],
            ]
    task.progress(98, "Writing the result")
    return result(made, sources, task.params)


def _engine(task: TaskRun) -> Engine | None:
    """The model of this task, chosen once however often it runs; None for sentences of the sources."""
    from webapp.core.errors import NoModel
    from webapp.engines import service as engines

    def choose() -> str:
        wanted = task.params.get("engine") or ""
        if wanted == EXTRACTIVE:
            return ""
        try:
            return engines.choose(task.rt, wanted, "summary").id
        except NoModel:
            if wanted:
                raise
            return ""

    chosen = task.once("engine", choose)
    return engines.choose(task.rt, chosen, "summary") if chosen else None


SUMMARY = TaskKind(
    name="summary",
    label="Summary",
    queue="inference",
    params=SummaryParams,
    run=run,
    prepare=prepare,
    description="Says in a few words what texts, pages and files say, each sentence with its place in the source.",
    time_limit=3600,
    max_attempts=4,
    examples=[
        {"content": "Text to summarise…", "max_length": 100},
        {"urls": ["https://example.org/article1", "https://example.org/article2"], "max_length": 300},
    ],
    view="summaries/_result.html",
    downloads=DOWNLOADS,
)

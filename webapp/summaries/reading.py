"""Reading the sources of a summary. A page is fetched once, however often the task runs."""

from __future__ import annotations

from functools import partial
from typing import Any

from webapp.intake import service as intake
from webapp.tasks.run import TaskRun


def read_all(task: TaskRun, span: tuple[float, float]) -> list[dict[str, Any]]:
    """Every source as a row of the result, a checkpoint each; what could not be read has its reason as `error`."""
    wanted = intake.wanted(task.params)
    sources = []
    for number, (kind, value) in enumerate(wanted):
        at = span[0] + (span[1] - span[0]) * number / len(wanted)
        task.progress(at, intake.reading(kind, value, number, len(wanted)))
        sources.append(task.once(f"source-{number}", partial(_read, task, kind, value, f"s{number + 1}")))
    return sources


def _read(task: TaskRun, kind: str, value: str, ident: str) -> dict[str, Any]:
    source = intake.read(task, kind, value)
    return {"id": ident, **source, "words": len(source["text"].split())}

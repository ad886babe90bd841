"""A task kind in thirty lines: the most frequent words of a text. docs/adding-a-task-kind.md walks through it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class WordcountParams(BaseModel):
    """What `task_config` may hold; the checks and the API's documentation come from it."""

    model_config = ConfigDict(extra="forbid")

    content: str = Field(title="Text", min_length=1, max_length=1_000_000)
    top: int = Field(10, ge=1, le=100, title="How many words")


def run(task: TaskRun) -> dict[str, Any]:
    """Called by a worker, and again after a crash: so it only reads its parameters and gives back its result."""
    lines = task.params["content"].splitlines()
    counts: Counter[str] = Counter()
    for number, line in enumerate(lines):
        if number % 1000 == 0:
            task.progress(100 * number / len(lines), f"Line {number:,} of {len(lines):,}")  # ends here if cancelled
        counts.update(word.lower() for word in re.findall(r"\w+", line))
    top = counts.most_common(task.params.get("top", 10))
    return {"words": counts.total(), "different": len(counts), "top": [{"word": w, "count": n} for w, n in top]}


KIND = TaskKind(
    name="wordcount",
    label="Count words",
    queue="interactive",
    params=WordcountParams,
    run=run,
    description="The most frequent words of a text.",
    time_limit=60,
    examples=[{"content": "to be or not to be", "top": 2}],
)

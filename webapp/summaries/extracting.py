"""A summary without a model: the sources' own sentences, ranked in a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun

SMALL = 4_000  # characters that are ranked here and now
METHOD = "Extractive (LexRank over TF-IDF)"


def summarised(task: TaskRun, sources: list[dict[str, Any]], limits: tuple[int, int]) -> dict[str, Any]:
    """limits: words of the whole, words of each source (0: the whole only)."""
    found = ranked(task, sources, limits)
    return {**found, "method": METHOD, "engine": "extractive", "left_out": []}


def ranked(task: TaskRun, sources: list[dict[str, Any]], limits: tuple[int, int]) -> dict[str, Any]:
    """Small texts here, larger ones in a child: ranking is CPU-bound Python and would hold up the pages."""
    from webapp.core.sandbox import run_in_child

    given = [{"id": s["id"], "text": s["text"], "title": s["title"], "url": s["url"]} for s in sources]
    focus = task.params.get("focus") or ""
    if sum(len(s["text"]) for s in sources) < SMALL:
        return summarise_sources(given, *limits, focus)
    found: dict[str, Any] = run_in_child(
        "webapp.summaries.extracting:summarise_sources", given, *limits, focus,
        timeout=min(300.0, task.remaining()), cpu_seconds=240, memory_bytes=2 * 2**30, cancelled=task.stopped,
        on_progress=lambda percent, text: task.progress(70 + percent * 0.27, text or "Ranking sentences"),
    )  # fmt: skip
    return found


def summarise_sources(
    sources: list[dict[str, Any]], max_words: int, each_words: int = 0, focus: str = ""
) -> dict[str, Any]:
    """What runs in the child: plain values in, plain values out. `each` maps a source's id to a summary of it alone."""
    from dataclasses import asdict

    from webapp.core import sandbox
    from webapp.core.errors import Invalid
    from webapp.summaries.lexrank import Source, summarise

    told = sandbox.progress if sandbox.in_child else (lambda percent, text: None)
    given = [Source(**source) for source in sources]
    whole = summarise(given, max_words=max_words, focus=focus, progress=lambda percent, text: told(percent // 2, text))
    each = {}
    for number, source in enumerate(given if each_words else ()):
        told(50 + 50 * number // len(given), f"ranking sentences of source {number + 1}")
        try:
            each[source.id] = asdict(summarise([source], max_words=each_words, focus=focus))
        except Invalid:
            continue  # nothing in it looks like a sentence
    return {**asdict(whole), "each": each}

"""Without a model nothing is written: an outline, and what the sources say on each of its points, word for word."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from webapp.answers import plain
from webapp.answers import service as answers
from webapp.core.context import Ctx
from webapp.research.expanding import actor
from webapp.writing import planning
from webapp.writing.material import Scope

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun

LOOKED_AT, SENTENCES = 8, 3  # sentences found for one point; those of them that are quoted
LEAST = 5  # words of a sentence that says something
SILENT = "The sources say nothing about this."
ABOVE = "The sources say no more on this than what stands above."


def made(task: TaskRun, where: Scope | None) -> dict[str, Any]:
    """{title, by, points}: an outline by rules, each point with an extractive answer. where None: all that is stored."""
    outline = planning.by_rules(task.params)
    rows = outline["sections"]
    task.progress(15, f"Outline of {len(rows)} points", data={"outline": [one["heading"] for one in rows]})
    found = []
    for number, row in enumerate(rows):
        task.progress(20 + 70 * number / len(rows), f"What the sources say: {row['question'][:120]}")
        found.append(task.once(f"point {number}", partial(_found, task, where or Scope(), row["question"])))
    return {"title": outline["title"], "by": "rules", "points": points(rows, found)}


def points(rows: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each point with at most SENTENCES of what was found for it, and no sentence under two points."""
    seen: set[str] = set()
    made_of = []
    for row, one in zip(rows, found, strict=True):
        kept = [said for said in one["sentences"] if said["text"] not in seen and _says(said["text"])][:SENTENCES]
        seen |= {said["text"] for said in kept}
        numbers = {number for said in kept for number in said["numbers"]}
        text, sentences = _quoted(kept)
        made_of.append({
            "heading": row["heading"], "brief": row["brief"], "declined": one["declined"], "text": text,
            "sentences": sentences, "sources": [source for source in one["sources"] if source["number"] in numbers],
            "silent": SILENT if one["declined"] else ABOVE,
        })  # fmt: skip
    return made_of


def _says(text: str) -> bool:
    """The cells of a table's row are no sentence."""
    return " · " not in text and len(text.split()) >= LEAST


def _quoted(kept: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    text, sentences = "", []
    for said in kept:
        marks = "".join(f"[{number}]" for number in said["numbers"])
        start = len(text) + (2 if text else 0)
        text += ("\n\n" if text else "") + f"{plain.escaped(said['text'])} {marks}"
        sentences.append({**said, "start": start, "end": len(text)})
    return text, sentences


def _found(task: TaskRun, where: Scope, question: str) -> dict[str, Any]:
    with task.rt.unit(write=False) as db:
        ctx = Ctx(task.rt, db, actor(task), request_id=task.request_id or "-")
        said = answers.answer(
            ctx, question, engine="extractive", collections=where.collections, documents=where.documents,
            max_sentences=LOOKED_AT, task_type="generation", task_id=task.id, cancelled=task.stopped,
            timeout=task.remaining(), record=False,
        )  # fmt: skip
    return {"declined": said.declined, "sentences": [] if said.declined else [one.as_json() for one in said.sentences],
            "sources": [] if said.declined else [asdict(one) for one in said.sources]}  # fmt: skip

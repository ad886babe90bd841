"""Answers before and after, with one numbering of their sources; what changed; where sources contradict each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from webapp.agents import service as agents
from webapp.answers import service as answers
from webapp.answers.base import Answer, Sentence, Source
from webapp.core.context import Ctx
from webapp.core.errors import AppError, NotFound
from webapp.knowledge.service import browse
from webapp.research.expanding import actor

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun

MARK = re.compile(r"(?<!\\)\[(\d{1,3})\]")
COMPARED = 5  # documents whose texts are held against each other
CHANGES = {
    "first": "Answered from what is stored.",
    "given": "Answered from the pages you named.",
    "now": "New: it could not be answered before.",
    "other": "The answer changed with the new sources.",
    "more": "The new sources confirm the answer.",
    "same": "The answer is as before.",
    "open": "Not answered: the sources do not speak of it.",
}


def answered(
    task: TaskRun, tag: str, questions: Sequence[str], span: tuple[int, int], documents: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The answer to each question as JSON, once for a task however often it runs. documents: only from these, if any."""
    found = []
    for number, question in enumerate(questions):
        at = span[0] + (span[1] - span[0]) * number / max(1, len(questions))
        task.progress(at, f"Answering {number + 1} of {len(questions)}: {question[:120]}")
        found.append(task.once(f"{tag} {number}", partial(_answer, task, question, documents)))
    return found


def _answer(task: TaskRun, question: str, documents: Sequence[str]) -> dict[str, Any]:
    with task.rt.unit(write=False) as db:
        ctx = Ctx(task.rt, db, actor(task), request_id=task.request_id or "-")
        agent = agents.get(ctx, "research")
        db.expunge(agent)
        db.commit()  # nothing is open while the answer is looked for and written
        made = answers.answer(
            ctx, question, engine=task.params.get("engine") or "", agent=agent, documents=documents,
            k=agent.config.get("k", 10), max_sentences=3, max_tokens=400, task_type="research", task_id=task.id, cancelled=task.stopped, timeout=task.remaining(),
            record=False,
        )  # fmt: skip
    text = made.text.removesuffix(answers.OFFER)  # nobody can answer it in a report
    return {
        "question": question, "text": text, "declined": made.declined, "reason": made.reason,
        "confidence": made.confidence, "engine": made.engine, "ms": made.ms,
        "sentences": [one.as_json() for one in made.sentences], "sources": [asdict(one) for one in made.sources],
    }  # fmt: skip


# -- one numbering ---------------------------------------------------------------------------------------------------


@dataclass
class Sources:
    """The places all answers of a task stand on, numbered in the order they come."""

    all: list[Source] = field(default_factory=list)
    sentences: list[Sentence] = field(default_factory=list)

    def take(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The answer with the numbers of this list."""
        number = {one["number"]: self._number(one) for one in answer["sources"]}
        sentences = [
            {**one, "numbers": [number[n] for n in one["numbers"] if n in number]} for one in answer["sentences"]
        ]
        self.sentences += [Sentence(**{**one, "numbers": tuple(one["numbers"])}) for one in sentences]
        text = MARK.sub(lambda mark: f"[{number.get(int(mark[1]), mark[1])}]", answer["text"])
        return {**answer, "text": text, "sentences": sentences, "sources": sorted(set(number.values()))}

    def add(self, place: dict[str, Any]) -> int:
        return self._number(place)

    def _number(self, given: dict[str, Any]) -> int:
        for one in self.all:
            if (one.version_id, one.start, one.end) == (given["version_id"], given["start"], given["end"]):
                return one.number
        self.all.append(Source(**{**given, "number": len(self.all) + 1}))
        return len(self.all)

    def store(self, task: TaskRun) -> list[dict[str, Any]]:
        """Their citations, those of an earlier run of the task replaced; rows that only the task's owner can open."""
        whole = Answer("", tuple(self.sentences), tuple(self.all), 0.0, False, "", "")
        with task.unit() as db:
            stored = answers.store_citations(db, task.owner_id, whole, task.id)
        return [one.as_json() for one in stored]


# -- what changed ----------------------------------------------------------------------------------------------------


def both(
    before: dict[str, Any] | None, after: dict[str, Any], new: set[str], sources: Sources, first: str = "first"
) -> dict[str, Any]:
    """A question with both of its answers. new: documents read by this task; first: what an answer is called that has
    none before it."""
    change = _change(before, after, first)
    fresh = sorted({one.number for one in sources.all if one.document_id in new and one.number in after["sources"]})
    shown = {"text": before["text"], "declined": before["declined"], "confidence": before["confidence"],
             "sources": before["sources"]} if before else None  # fmt: skip
    return {
        "question": after["question"], "answer": after["text"], "declined": after["declined"],
        "confidence": after["confidence"], "sentences": after["sentences"], "sources": after["sources"], "before": shown,
        "change": change, "change_text": CHANGES[change], "new_sources": fresh,
    }  # fmt: skip


def _change(before: dict[str, Any] | None, after: dict[str, Any], first: str) -> str:
    if after["declined"]:
        return "open"
    if before is None:
        return first
    if before["declined"]:
        return "now"
    if plain(before["text"]) == plain(after["text"]):
        return "same" if set(after["sources"]) <= set(before["sources"]) else "more"
    return "other"


def plain(text: str) -> str:
    return " ".join(MARK.sub("", text).split())


# -- between sources -------------------------------------------------------------------------------------------------


def texts(task: TaskRun, document_ids: Sequence[str]) -> list[answers.SourceText]:
    """The current texts of documents the owner may read; `key` is the document's id."""
    found = []
    with task.rt.unit(write=False) as db:
        ctx = Ctx(task.rt, db, actor(task))
        for one in document_ids:
            try:
                row = browse.get(ctx, one)
                version = browse.version(ctx, row)
            except NotFound:
                continue
            found.append(answers.SourceText(row.id, row.title, version.text, row.url, row.id, version.id))
    return found


def place(one: answers.Place, score: float) -> dict[str, Any]:
    """A place of a comparison as a source; its words are the source's own."""
    return {"document_id": one.document_id, "version_id": one.version_id, "start": one.start, "end": one.end,
            "quote": one.quote, "title": one.title, "url": one.url, "fetched_at": None, "score": score,
            "collection_id": "", "verdict": "verified", "check_score": 1.0, "method": "exact"}  # fmt: skip


def claim(one: answers.Claim, sources: Sources) -> dict[str, Any]:
    """A claim with the numbers of where it is said."""
    numbers = [sources.add(place(span, one.score)) for span in one.spans]
    return {"text": one.text, "sources": numbers, "documents": [span.key for span in one.spans], "score": one.score,
            "why": one.why, "quotes": [span.quote for span in one.spans]}  # fmt: skip


def conflicts(task: TaskRun, topic: str, sources: Sources, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Where the documents that were cited, and then `more`, say different things about the same."""
    ids = list(dict.fromkeys([*(one.document_id for one in sources.all), *more]))[:COMPARED]
    if len(ids) < 2:
        return []
    found = answers.compare(task.rt, texts(task, ids), topic, cancelled=task.stopped)
    return [claim(one, sources) for one in found.differences]


# -- quality ---------------------------------------------------------------------------------------------------------


def quality(task: TaskRun, document_ids: Sequence[str]) -> dict[str, Any]:
    """`quality_assessment`: the measured quality of each document, and their mean."""
    from webapp.knowledge.service import assessing

    rows = []
    with task.rt.unit(write=False) as db:
        ctx = Ctx(task.rt, db, actor(task))
        for one in dict.fromkeys(document_ids):
            try:
                row, found = assessing.quality_of(ctx, one)
            except AppError:
                continue
            rows.append({"document_id": row.id, "title": row.title, "url": row.url, "score": found["score"],
                         "words": row.words, "published": row.published, "notes": _reasons(found)})  # fmt: skip
    mean = round(sum(one["score"] for one in rows) / len(rows), 3) if rows else None
    return {"overall_score": mean, "documents": rows}


def _reasons(found: dict[str, Any]) -> list[str]:
    """Why a score is not higher; of one that was measured before reasons were kept, its bad signals."""
    kept = found.get("reasons")
    return kept if kept is not None else [one["note"] for one in found.get("signals", []) if one["score"] < 0.5]

"""How good search is, through the product: its passages, its indexes, its fusion, its sentences.

Data: BENCH_DATA (a folder laid out like the developers' half: squad/, ir/<name>/), else shared/data. Each set becomes a
collection by `documents.store_many`, is embedded by `knowledge.embed` and asked by `search()`, ten documents a question.
Measures as in the peers' scripts: SQuAD hit@1, hit@5, MRR@10 over all passages of the folder; nDCG@10 with graded gains;
a best sentence counts when it holds one of the reference answers (lower case, without punctuation and articles).
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
import string
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

GOALS = {"cranfield": 0.405, "cisi": 0.51}
PEERS = {  # of the developers' half: BM25, MiniLM, reciprocal rank fusion of both
    "hit@1": ".770 .625 .746", "hit@5": ".926 .866 .937", "MRR@10": ".837 .728 .828",
    "cranfield": ".369 .361 .401", "cisi": ".432 .472 .522", "sentence": ".631 .585 .659",
}  # fmt: skip

Row = dict[str, Any]


def run(report: Report, quick: bool) -> None:
    data = h.DATA
    if not data.is_dir():
        report.notes.append(f"no data: {data} is not there (set BENCH_DATA)")
        return
    with tempfile.TemporaryDirectory() as folder:
        rt = _runtime(Path(folder))
        try:
            if (data / "squad").is_dir():
                _squad(report, rt, data / "squad", 300 if quick else None)
            for name in sorted(path.name for path in (data / "ir").glob("*") if path.is_dir()):
                _ir(report, rt, data / "ir" / name, quick)
        finally:
            rt.close()


def load(path: Path) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf8") as lines:
        return [json.loads(line) for line in lines]


def _runtime(folder: Path) -> Any:
    from webapp import runtime, settings
    from webapp.core import migrate

    rt = runtime.build(settings.load({"BRAINSTEM_HOME": str(folder / "home")}))
    migrate.upgrade(rt.engine)
    return rt


# -- the product -----------------------------------------------------------------------------------------------------


class Shelf:
    """A collection of the system's own."""

    def __init__(self, rt: Any, name: str, documents: Sequence[tuple[str, str, str]]) -> None:
        from webapp.core.context import SYSTEM, Ctx
        from webapp.knowledge import embed
        from webapp.knowledge.service import collections
        from webapp.knowledge.service import documents as store
        from webapp.knowledge.service.documents import Incoming

        self.rt = rt
        with rt.unit() as db:
            self.id = collections.create(Ctx(rt, db, SYSTEM), name).id
        incoming = [Incoming(key, title, text, "text/plain", keep_duplicates=True) for key, title, text in documents]
        stored = store.store_many(rt, self.id, incoming)
        self.key_of = {one.document_id: key for one, (key, _, _) in zip(stored, documents, strict=True)}
        began = time.perf_counter()
        embed.embed_collection(rt, self.id, _Quiet())
        self.embedding = time.perf_counter() - began
        self.chunks = sum(one.chunks for one in stored)

    def find(self, query: str, k: int = 10) -> Any:
        from webapp.core.context import SYSTEM, Ctx
        from webapp.knowledge.service.search import search

        with self.rt.unit(write=False) as db:
            return search(Ctx(self.rt, db, SYSTEM), query, collections=[self.id], k=k, record=False)

    def keys(self, query: str, k: int = 10) -> list[str]:
        return [self.key_of[hit.document_id] for hit in self.find(query, k).hits]


class _Quiet:
    def progress(self, percent: float, message: str = "", *, data: Any = None) -> None: ...

    def check(self) -> None: ...

    def stopped(self) -> bool:
        return False


# -- SQuAD -----------------------------------------------------------------------------------------------------------


def _squad(report: Report, rt: Any, folder: Path, sample: int | None) -> None:
    passages, questions = load(folder / "passages.jsonl.gz"), load(folder / "questions_v1.jsonl.gz")
    if sample:
        questions = random.Random(5).sample(questions, min(sample, len(questions)))
    shelf = Shelf(rt, "squad", [(one["pid"], one["title"].replace("_", " "), one["text"]) for one in passages])
    places, answered, answers = [], 0, _Answers(rt)
    for one in questions:
        found = shelf.find(one["question"])
        keys = [shelf.key_of[hit.document_id] for hit in found.hits]
        places.append(keys.index(one["pid"]) + 1 if one["pid"] in keys else None)
        answered += answers.right(one, found.hits)
    count = len(questions)
    measures = {
        "hit@1": (sum(place == 1 for place in places) / count, 0.79),
        "hit@5": (sum(place is not None and place <= 5 for place in places) / count, 0.945),
        "MRR@10": (sum(1 / place for place in places if place) / count, 0.855),
    }
    for name, (value, goal) in measures.items():
        _line(report, f"squad passages {name}", value, goal, name)
    _line(report, "squad best sentence holds the answer", answered / count, 0.68, "sentence")
    report.notes.append(f"squad: {len(passages)} passages, {shelf.chunks} chunks, {count} questions")


class _Answers:
    """Whether the best sentence holds an answer. Each sentence is embedded once: the same passages come again."""

    def __init__(self, rt: Any) -> None:
        self.rt = rt
        self.known: dict[str, Any] = {}

    def embed(self, texts: list[str]) -> Any:
        import numpy as np

        from webapp.embedding import service

        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, service.embed(self.rt, service.default(self.rt), new), strict=True))
        return np.stack([self.known[text] for text in texts])

    def right(self, question: Row, hits: Sequence[Any]) -> bool:
        from webapp.knowledge.sentences import best

        chosen = best(question["question"], hits, self.embed, k=1)
        said = f" {normal(chosen[0].text)} " if chosen else ""
        return any(f" {normal(answer)} " in said for answer in question["answers"])


def normal(text: str) -> str:
    """As SQuAD compares answers, but blanks for marks."""
    plain = "".join(" " if character in string.punctuation else character for character in text.lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


# -- Cranfield, CISI -------------------------------------------------------------------------------------------------


def _ir(report: Report, rt: Any, folder: Path, quick: bool) -> None:
    corpus, queries = load(folder / "corpus.jsonl.gz"), load(folder / "queries.jsonl.gz")
    queries = queries[:20] if quick else queries
    shelf = Shelf(rt, folder.name, [(one["id"], one["title"], one["text"] or one["title"]) for one in corpus])
    total = sum(ndcg(shelf.keys(one["text"]), one["rels"]) for one in queries)
    _line(report, f"{folder.name} nDCG@10", total / len(queries), GOALS.get(folder.name), folder.name)
    report.notes.append(f"{folder.name}: {len(corpus)} documents, {shelf.chunks} chunks, {len(queries)} queries")


def ndcg(keys: Sequence[str], gains: dict[str, float], k: int = 10) -> float:
    ideal = sum(gain / math.log2(place + 2) for place, gain in enumerate(sorted(gains.values(), reverse=True)[:k]))
    return sum(gains.get(key, 0) / math.log2(place + 2) for place, key in enumerate(keys[:k])) / ideal if ideal else 0.0


def _line(report: Report, what: str, value: float, goal: float | None, peer: str) -> None:
    report.raw[what] = value
    report.add(what, f"{value:.4f}", PEERS.get(peer, ""), "", f">= {goal}" if goal else "",
               value >= goal if goal else None)  # fmt: skip

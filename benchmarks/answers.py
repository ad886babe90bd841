"""Are answers right, cited and honest? Through `answers.service.answer`, without a language model, on SQuAD.

Each question is asked in all of the data (does the text hold a reference answer, does each citation quote exactly?), and
in two collections of like size, with its article and without it (is it declined?). The articles are dealt into four: coefficients and thresholds of
webapp/answers/confidence.py come from two of them (`--fit`), what is printed from the other two. BENCH_DATA names
another folder laid out like the developers' half (squad/); then all of it is measured.

    python -m benchmarks answers
    python -m benchmarks.answers --fit        prints the constants of webapp/answers/confidence.py
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import harness as h
from benchmarks.citations import _newton, auc
from benchmarks.harness import Report
from benchmarks.retrieval import Shelf, _runtime, load, normal
from webapp.answers import confidence, evidence, extractive, service

DECLINED = 0.025  # of the answerable questions, on the half that is fitted on
MOST, UNANSWERABLE = 1000, 400  # questions; about an article that does not answer them


class Asked(NamedTuple):
    """One question in one place. `there`: its article is in it; `answers` is empty when none is known."""

    question: str
    answers: list[str]
    shelves: tuple[str, ...]
    there: bool


class Library:
    """The data's articles dealt into shelves, and the questions of some of them."""

    def __init__(self, rt: Any, data: Path, measured: Sequence[int], dealt: int) -> None:
        passages = load(data / "squad" / "passages.jsonl.gz")
        articles = sorted({article(one["pid"]) for one in passages})
        self.part = {name: number % dealt for number, name in enumerate(articles)}
        self.rt, self.measured = rt, tuple(measured)
        self.shelves = {}
        for part in range(dealt):
            mine = [one for one in passages if self.part[article(one["pid"])] == part]
            named = [(one["pid"], one["title"].replace("_", " "), one["text"]) for one in mine]
            self.shelves[part] = Shelf(rt, f"part {part}", named)
        self.questions = [one for one in load(data / "squad" / "questions_v1.jsonl.gz") if self._mine(one)]
        self.others = [one for one in load(data / "squad" / "questions_v2.jsonl.gz")
                       if self._mine(one) and not one["answerable"]]  # fmt: skip
        self.passages = len(passages)

    def _mine(self, row: dict[str, Any]) -> bool:
        return self.part[article(row["pid"])] in self.measured

    def ids(self, *parts: int) -> tuple[str, ...]:
        return tuple(self.shelves[part].id for part in parts)

    def asked(self, row: dict[str, Any], *parts: int) -> Asked:
        there = self.part[article(row["pid"])] in parts
        return Asked(row["question"], row["answers"] if there else [], self.ids(*parts), there)

    def without(self, row: dict[str, Any]) -> Asked:
        """Where its article is not, among articles that were treated alike."""
        return self.asked(row, *(part for part in self.measured if part != self.part[article(row["pid"])]))

    def context(self, db: Any) -> Any:
        from webapp.core.context import SYSTEM, Ctx

        return Ctx(self.rt, db, SYSTEM)


def article(pid: str) -> str:
    return pid.partition("#")[0]


def holds(answers: Sequence[str], text: str) -> bool:
    said = f" {normal(text)} "
    return any(f" {normal(answer)} " in said for answer in answers)


@contextmanager
def each_text_embedded_once() -> Iterator[None]:
    """The same passages come again with every question; what they are made of is embedded once."""
    import numpy as np

    from webapp.embedding import service as embedding

    known: dict[str, Any] = {}
    real = embedding.embed

    def embed(rt: Any, name: str, texts: list[str], **how: Any) -> Any:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, real(rt, name, new, **how), strict=True))
        return np.stack([known[text] for text in texts])

    embedding.embed = embed  # type: ignore[assignment]
    try:
        yield
    finally:
        embedding.embed = real


@contextmanager
def library(data: Path, measured: Sequence[int], dealt: int) -> Iterator[Library]:
    with tempfile.TemporaryDirectory() as folder:
        rt = _runtime(Path(folder))
        try:
            with each_text_embedded_once():
                yield Library(rt, data, measured, dealt)
        finally:
            rt.close()


# -- measuring -------------------------------------------------------------------------------------------------------


def run(report: Report, quick: bool) -> None:
    data = h.DATA
    if not (data / "squad").is_dir():
        report.notes.append(f"no data: {data / 'squad'} is not there (set BENCH_DATA)")
        return
    fitted = data.resolve() == h.DEVELOPERS.resolve()
    measured, dealt = ((1, 3), 4) if fitted else ((0, 1), 2)
    with library(data, measured, dealt) as books:
        rows, others = books.questions, books.others
        if quick:
            rows, others = random.Random(5).sample(rows, min(150, len(rows))), others[:50]
        rows = random.Random(5).sample(rows, min(MOST, len(rows)))
        others = random.Random(5).sample(others, min(UNANSWERABLE, len(others)))
        here = [_answered(books, books.asked(row, *books.shelves)) for row in rows]
        alike = [_answered(books, books.asked(row, books.part[article(row["pid"])])) for row in rows]
        absent = [_answered(books, books.without(row)) for row in rows]
        unanswerable = [_answered(books, books.asked(row, *books.shelves)) for row in others]
    report.notes.append(f"{len(rows)} questions of {len(measured)} in {dealt} parts of the articles, {books.passages} "
                        f"passages{'; coefficients come from the other parts' if fitted else ''}")  # fmt: skip
    _report(report, here, alike, absent, unanswerable)


class Outcome(NamedTuple):
    right: bool
    declined: bool
    confidence: float
    present: float
    sentences: int
    cited: int
    exact: int
    ms: dict[str, float]


def _answered(books: Library, asked: Asked) -> Outcome:
    """Ask as the chat does, keep the citations as its task does, and look them up again."""
    with books.rt.unit(write=False) as db:
        made = service.answer(books.context(db), asked.question, engine="extractive", collections=asked.shelves,
                              record=False)  # fmt: skip
    with books.rt.unit() as db:
        stored = service.store_citations(db, None, made, None)
        exact = sum(_stands(db, one) for one in stored)
    return Outcome(not made.declined and holds(asked.answers, made.text), made.declined, made.confidence, made.present,
                   len(made.sentences), len(made.sources), exact, made.ms)  # fmt: skip


def _stands(db: Any, source: Any) -> bool:
    """Whether the row is there and the version's text holds these words at this place, and the answer shows them."""
    from webapp.answers import plain
    from webapp.knowledge.models import Citation, DocumentVersion

    row = db.get(Citation, source.citation_id)
    version = db.get(DocumentVersion, row.version_id) if row is not None else None
    return (
        version is not None and version.text[row.start : row.end] == row.quote and plain.words(row.quote) == row.claim
    )


def _report(
    report: Report, here: list[Outcome], alike: list[Outcome], absent: list[Outcome], unanswerable: list[Outcome]
) -> None:
    held = sum(one.right for one in here) / len(here)
    report.add("answerable: the text holds a reference answer", f"{held:.4f}", goal=">= 0.78", ok=held >= 0.78)
    most = max(one.sentences for one in here)
    mean = sum(one.sentences for one in here) / len(here)
    report.add("  sentences, mean and most", f"{mean:.2f}, {most}", goal="<= 3", ok=most <= 3)
    everywhere = [*here, *alike, *absent]
    cited, exact = sum(one.cited for one in everywhere), sum(one.exact for one in everywhere)
    report.add("citations that exist and quote exactly", f"{exact / max(1, cited):.4f} of {cited}", goal="1.000",
               ok=exact == cited)  # fmt: skip
    area = auc([one.present for one in (*alike, *absent)], [1] * len(alike) + [0] * len(absent))
    report.add("article absent: area under the curve", f"{area:.4f}", ".958 (best cosine)", goal=">= 0.95",
               ok=area >= 0.95)  # fmt: skip
    lost = max(_declined(here), _declined(alike))
    report.add("  answerable questions declined, in all and in a like collection",
               f"{_declined(here):.4f}, {_declined(alike):.4f}", goal="<= 0.05", ok=lost <= 0.05)  # fmt: skip
    report.add("  absent ones declined", f"{_declined(absent):.4f}")
    for what, some in (("alike and absent", [*alike, *absent]), ("answerable ones in all", here)):
        shown = [one for one in some if not one.declined]
        report.add(f"confidence of shown answers: calibration error, {what}", f"{calibration_error(shown):.4f}")
    if unanswerable:
        sure = [one.confidence for one in unanswerable if not one.declined]
        report.add("article there without the answer: declined", f"{_declined(unanswerable):.4f}")
        report.add("  mean confidence of those shown", f"{sum(sure) / max(1, len(sure)):.3f}")
    for step in ("search", "choose", "total"):
        report.add(f"median milliseconds: {step}", f"{h.median(one.ms[step] for one in here):.1f}")
    report.raw |= {"held": held, "auc": area, "declined": lost, "citations": cited, "exact": exact}


def _declined(some: list[Outcome]) -> float:
    return sum(one.declined for one in some) / len(some)


def calibration_error(shown: Sequence[Outcome], bins: int = 10) -> float:
    """Expected: the mean distance of confidence and share of right ones, over ten bins."""
    error = 0.0
    for number in range(bins):
        mine = [one for one in shown if number / bins <= one.confidence < (number + 1) / bins
                or (number == bins - 1 and one.confidence == 1.0)]  # fmt: skip
        if mine:
            error += abs(sum(one.confidence for one in mine) - sum(one.right for one in mine)) / len(shown)
    return error


# -- fitting ---------------------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    features: dict[str, float]
    there: bool
    right: bool


def fit() -> None:
    with library(h.DEVELOPERS, (0, 2), 4) as books:
        rows = [_measured(books, asked) for row in books.questions
                for asked in (books.asked(row, books.part[article(row["pid"])]), books.without(row))]  # fmt: skip
    print_fitted(rows)


def _measured(books: Library, asked: Asked) -> Measured:
    with books.rt.unit(write=False) as db:
        found = evidence.gather(books.context(db), asked.question, collections=asked.shelves, record=False)
    chosen = " ".join(one.text for one in extractive.choose(found.sentences, 3))
    return Measured(found.features, asked.there, asked.there and holds(asked.answers, chosen))


def print_fitted(rows: Sequence[Measured]) -> None:
    """First who is declined; then, of those who are not, whether the sentences hold the answer."""
    fitted: dict[str, dict[str, Any]] = {"PRESENT": {}, "RIGHT": {}, "THRESHOLD": {}}
    rows = [one for one in rows if one.features]
    for kind, whether, how_right in (
        ("full", confidence.PRESENT_IN_FULL, confidence.RIGHT_IN_FULL),
        ("words", confidence.PRESENT_BY_WORDS, confidence.RIGHT_BY_WORDS),
    ):
        model = _model(rows, [one.there for one in rows], whether)
        scores = [confidence._chance(model, one.features) for one in rows]
        there = sorted(score for score, one in zip(scores, rows, strict=True) if one.there)
        threshold = round(there[int(len(there) * DECLINED)], 3)
        shown = [one for score, one in zip(scores, rows, strict=True) if score >= threshold]
        fitted["PRESENT"][kind], fitted["THRESHOLD"][kind] = model, threshold
        fitted["RIGHT"][kind] = _model(shown, [one.right for one in shown], how_right)
        print(f"# {kind}: area {auc(scores, [int(one.there) for one in rows]):.4f}")
    for name, value in fitted.items():
        print(f"{name} = {value}")


def _model(rows: Sequence[Measured], truth: Sequence[bool], columns: tuple[str, ...]) -> dict[str, float]:
    matrix = [[one.features.get(name, 0.0) for name in columns] for one in rows]
    return {name: round(value, 3) for name, value in _newton(matrix, [int(one) for one in truth], columns).items()}


if __name__ == "__main__":
    if "--fit" in sys.argv:
        fit()

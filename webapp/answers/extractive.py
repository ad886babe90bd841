"""An answer in the sources' own words: at most a few sentences, each a quotation with its place. No model writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from webapp.answers import plain
from webapp.answers.base import EXTRACTIVE, Answer, OnText, Sentence, Source
from webapp.answers.evidence import source_of

if TYPE_CHECKING:
    from webapp.answers.evidence import Evidence
    from webapp.knowledge import sentences

REMARK = "These sentences are quoted from your sources; no language model wrote them."
EXACT = "exact"
BEHIND = 0.4  # of a sentence's score: halves what is said beside the point and costs .01 of the answers held


def answer(evidence: Evidence, most: int, on_text: OnText) -> Answer:
    """Quote the best sentences; what is said twice is quoted once."""
    parts: list[Sentence] = []
    sources: list[Source] = []
    text = ""
    for one in choose(evidence.sentences, most):
        said = plain.words(one.text)
        if not said:
            continue
        number = len(sources) + 1
        start = len(text) + (2 if text else 0)
        piece = ("\n\n" if text else "") + f"{plain.escaped(said)} [{number}]"
        text += piece
        on_text(piece)
        parts.append(Sentence(said, (number,), "verified", 1.0, EXACT, start, len(text)))
        source = source_of(number, evidence.hits[one.passage], one.start, one.end)
        sources.append(_checked(source))
    return Answer(text, tuple(parts), tuple(sources), round(evidence.right, 3), False, REMARK, EXTRACTIVE)


def choose(best: Sequence[sentences.Sentence], most: int) -> list[sentences.Sentence]:
    """The best ones, each saying something of its own, none far behind the first."""
    chosen: list[sentences.Sentence] = []
    seen: set[str] = set()
    for one in best:
        if one.score < best[0].score - BEHIND:
            break
        key = plain.words(one.text).casefold()
        if key and key not in seen:
            seen.add(key)
            chosen.append(one)
        if len(chosen) == most:
            break
    return chosen


def _checked(source: Source) -> Source:
    return replace(source, verdict="verified", check_score=1.0, method=EXACT)

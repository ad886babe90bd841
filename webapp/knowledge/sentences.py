"""The sentences that answer a question, out of the passages a search found. Pure but for the vectors it is given.

A sentence is judged by four things: how good its passage is, how near it is to the question in meaning, how many of the
question's words it holds (the rarer among these sentences the more), and whether it holds what is asked for at all: a
question for a time wants a date, one for a number a number, one for a person a name.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from webapp.core import sentences
from webapp.knowledge.keywords import terms
from webapp.knowledge.snippets import WORD, stem

if TYPE_CHECKING:
    from webapp.embedding.base import Vectors

Embed = Callable[[list[str]], "Vectors"]  # texts -> rows of length 1

PASSAGES = 5  # that are read sentence by sentence
COMPARED = 16  # sentences; with all of them the same sentences answer SQuAD
PASSAGE, MEANING, WORDS, FITS = 1.0, 1.0, 0.5, 0.2  # weighed on the developers' half of SQuAD
SHORTEST = 3  # words of a sentence that can answer anything


class Passage(Protocol):
    """A Hit is one."""

    @property
    def text(self) -> str: ...

    @property
    def start(self) -> int: ...

    @property
    def score(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Sentence:
    """`start` and `end` count in the version's text; `passage` is the index of its passage. Parts are 0..1."""

    text: str
    start: int
    end: int
    passage: int
    score: float
    meaning: float
    words: float
    fits: bool


def best(question: str, passages: Sequence[Passage], embed: Embed | None, k: int = 3) -> list[Sentence]:
    """The k best sentences of the first passages, best first. Without `embed` words alone decide.

    Only the COMPARED best by everything else are compared by meaning: vectors cost more than all the rest together.
    """
    found = _read(passages[:PASSAGES])
    if not found:
        return []
    words = _coverage(question, [text for text, *_ in found])
    wanted = asked_for(question)
    rows = []
    for (text, start, end, number), held in zip(found, words, strict=True):
        fits = wanted is not None and wanted.search(text) is not None
        score = PASSAGE * passages[number].score + WORDS * held + FITS * fits
        rows.append(Sentence(text, start, end, number, score, 0.0, held, fits))
    rows.sort(key=_order)
    if embed is not None:
        rows = sorted(_by_meaning(question, rows[: max(COMPARED, k)], embed), key=_order)
    return rows[:k]


def _order(one: Sentence) -> tuple[float, int, int]:
    return -one.score, one.passage, one.start


def _by_meaning(question: str, rows: list[Sentence], embed: Embed) -> list[Sentence]:
    vectors = embed([question, *(one.text for one in rows)])
    near = [max(0.0, float(value)) for value in vectors[1:] @ vectors[0]]
    return [replace(one, meaning=value, score=one.score + MEANING * value)
            for one, value in zip(rows, near, strict=True)]  # fmt: skip


def _read(passages: Sequence[Passage]) -> list[tuple[str, int, int, int]]:
    """(text, start, end, passage) of every sentence, each text once: overlapping documents say things twice."""
    found, seen = [], set()
    for number, passage in enumerate(passages):
        for each in sentences.split(passage.text):
            text = passage.text[each.start : each.end]
            if each.kind == "heading" or text in seen or len(WORD.findall(text)) < SHORTEST:
                continue
            seen.add(text)
            found.append((text, passage.start + each.start, passage.start + each.end, number))
    return found


def _coverage(question: str, texts: list[str]) -> list[float]:
    """The share of the question's words that each sentence holds, weighted by their rarity among the sentences."""
    asked = [stem(word) for word in terms(question)]
    held = [{stem(word) for word in WORD.findall(text)} for text in texts]
    common = Counter(word for words in held for word in set(asked) & words)
    rarity = {word: math.log(1 + (len(texts) - common[word] + 0.5) / (common[word] + 0.5)) for word in asked}
    whole = sum(rarity[word] for word in asked) or 1.0
    return [sum(rarity[word] for word in asked if word in words) / whole for words in held]


# -- what is asked for -----------------------------------------------------------------------------------------------

WHEN = re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b", re.I)
HOW_MANY = re.compile(
    r"\bhow (?:many|much|old|long|far|tall|large|big|high|fast|deep|often)\b"
    r"|\bwhat (?:percent|percentage|number|amount|share|fraction|proportion)\b",
    re.I,
)
WHO = re.compile(r"\bwho(?:m|se)?\b", re.I)
TIME = re.compile(
    r"\b\d{3,4}s?\b|\b\d{1,2}(?:st|nd|rd|th)\b|\bcentury\b"
    r"|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
)
NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|half|third|quarter|hundred|thousand"
    r"|million|billion)s?\b",
    re.I,
)
NAME = re.compile(r"(?<=[\w,;] )[A-Z][\w'-]+")


def asked_for(question: str) -> re.Pattern[str] | None:
    """What an answer must hold, where the question says it (English only): a time, a number, a name."""
    if WHEN.search(question):
        return TIME
    if HOW_MANY.search(question):
        return NUMBER
    return NAME if WHO.search(question) else None

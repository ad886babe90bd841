"""The part of a passage that shows why it was found, and where the question's words are in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from webapp.knowledge import plain
from webapp.knowledge.keywords import terms

LENGTH = 280
WORD = re.compile(r"\w+")
ENDINGS = ("ational", "ization", "fulness", "iveness", "ations", "ation", "ments", "ment", "ness", "ings", "ing", "ies",
           "ied", "ely", "ers", "est", "ed", "er", "es", "ly", "al", "e", "s", "y")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snippet:
    """text: words without Markdown; marks: (start, end) in it, in order. `cut`: it is a part of something longer."""

    text: str
    marks: list[tuple[int, int]]
    cut: bool = False

    def parts(self) -> list[tuple[str, bool]]:
        """The text in pieces with whether each is marked, for a template."""
        found: list[tuple[str, bool]] = []
        at = 0
        for start, end in self.marks:
            found += [(self.text[at:start], False), (self.text[start:end], True)]
            at = end
        return [(text, marked) for text, marked in [*found, (self.text[at:], False)] if text]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """The part of a word that its forms share, roughly: good enough to colour what an index found by real stems."""
    low = word.lower()
    for ending in ENDINGS:
        if low.endswith(ending) and len(low) - len(ending) >= 3:
            return low[: -len(ending)]
    return low


def stems(query: str) -> frozenset[str]:
    return frozenset(stem(word) for word in terms(query))


def marks(text: str, wanted: Iterable[str]) -> list[tuple[int, int]]:
    """Where words of these stems are.

    A word begins with its stem, so only the places where one stands are looked at, not each word of the text.
    """
    wanted = frozenset(wanted)
    low = text.lower()
    if len(low) != len(text) or "Σ" in text:  # a letter that becomes two, or another one at the end of a word
        return [match.span() for match in WORD.finditer(text) if stem(match[0]) in wanted]
    found: set[tuple[int, int]] = set()
    for one in wanted:
        at = low.find(one)
        while at >= 0:
            match = WORD.match(text, at)
            if match is not None and not WORD.match(text, at - 1, at) and stem(match[0]) in wanted:
                found.add(match.span())
            at = low.find(one, at + 1)
    return sorted(found)


def snippet(text: str, query: str, length: int = LENGTH, *, under: str = "") -> Snippet:
    """One line: the stretch of about `length` characters with the most different words of the question.

    text: the passage as it is stored, Markdown; the marks are places in the snippet, not in the passage.
    under: what stands above it anyway, its title or heading: a passage that begins with it is shown without.
    """
    wanted = stems(query)
    line = plain.one_line(text)
    if under and line.startswith(f"{under}: "):
        line = line[len(under) + 2 :]
    places = marks(line, wanted)
    start, end = _stretch(line, places, length)
    shown = ("… " if start else "") + line[start:end] + (" …" if end < len(line) else "")
    shift = start - (2 if start else 0)
    inside = [(a - shift, b - shift) for a, b in places if a >= start and b <= end]
    return Snippet(shown, inside, cut=bool(start) or end < len(line))


def whole(text: str, query: str) -> Snippet:
    """All of a passage, with its lines."""
    shown = plain.text(text)
    return Snippet(shown, marks(shown, stems(query)))


def _stretch(line: str, places: list[tuple[int, int]], length: int) -> tuple[int, int]:
    if len(line) <= length + 40:
        return 0, len(line)
    best, most = 0, 0
    last = 0
    for first, (start, _) in enumerate(places):
        last = max(last, first)
        while last < len(places) and places[last][1] <= start + length:
            last += 1
        different = len({stem(line[a:b]) for a, b in places[first:last]}) * 100 + (last - first)
        if different > most:
            best, most = start, different
    start = max(0, min(best - 40, len(line) - length))
    if start:
        start = line.find(" ", start - 1) + 1 or start
    end = min(len(line), start + length)
    if end < len(line):
        cut = line.rfind(" ", start, end + 1)
        end = cut if cut > start + length // 2 else end
    return start, end

"""Sentences with their exact places in the text. One linear pass, no library.

pysbd finds the same borders in encyclopedic English, but knows one language at a time and does not promise linear
time; here 5 MB in one line take seconds, and `text[start:end]` is always the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["prose", "heading", "item", "row"]

LONGEST = 1500  # characters; what has no full stop for so long is cut at a blank


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text[start:end]`, without blanks around it and without the mark of a heading or list item."""

    start: int
    end: int
    kind: Kind


def split(text: str) -> list[Sentence]:
    """All sentences in order; they never overlap. Blank lines, headings, list items and table rows end one."""
    found = []
    for block in _blocks(text):
        for start, end in _sentences(text, block):
            if any(character.isalnum() for character in text[start:end]):
                found.append(Sentence(start, end, block.kind))
    return found


# --- blocks -----------------------------------------------------------------------------------------------------

LINE = re.compile(r"[^\n\r\f\v\x1c-\x1e\x85\u2028\u2029]+|\r\n|[\n\r\f\v\x1c-\x1e\x85\u2028\u2029]")
MARK = re.compile(r"[ \t]*+(?:(#{1,6})[ \t]|(?:[-*+•‣▪–]|\d{1,3}[.)]|[a-z]\))[ \t]+(?=\S)|(\|))")


def _blocks(text: str) -> Iterator[Sentence]:
    """Runs of lines that belong together, as spans."""
    lines: list[Sentence] = []
    for line in _lines(text):
        if line is None or line.kind != "prose":
            yield from _paragraphs(text, lines)
            lines = []
        if line is None:
            continue
        if line.kind in ("heading", "row"):
            yield line
        else:
            lines.append(line)  # an item takes the prose lines after it along
    yield from _paragraphs(text, lines)


def _lines(text: str) -> Iterator[Sentence | None]:
    """Lines that say something; None for an empty one."""
    empty = True
    for found in LINE.finditer(text):
        line = found[0]
        if not line.strip():
            if "\n" in line or line == "\r":
                if empty:
                    yield None
                empty = True
            continue
        empty = False
        mark = MARK.match(line)
        kind: Kind = "prose" if not mark else "heading" if mark[1] else "row" if mark[2] else "item"
        skipped = mark.end() if mark and kind != "row" else 0
        yield Sentence(found.start() + skipped, found.end(), kind)


def _paragraphs(text: str, lines: list[Sentence]) -> Iterator[Sentence]:
    """One block of the lines, parted where a short line without an end is followed by a new start.

    Text out of PDF has no blank lines around headings; a line that stops early there is one.
    """
    if not lines:
        return
    longest = max(line.end - line.start for line in lines)
    first = lines[0]
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        if following is None or _stops_early(text, line, following, longest):
            yield Sentence(first.start, line.end, first.kind)
            if following is not None:
                first = following


def _stops_early(text: str, line: Sentence, following: Sentence, longest: int) -> bool:
    ending = text[line.start : line.end].rstrip()[-1:]
    beginning = text[following.start : following.end].lstrip()[:1]
    return len(ending) > 0 and line.end - line.start < 0.6 * longest and ending.isalnum() and beginning.isupper()


# --- sentences of a block ---------------------------------------------------------------------------------------

CLOSERS = "\"'”’»)\\]』」）】"
STOP = re.compile(rf"[.!?…‽؟]++[{CLOSERS}]*+(?:\[[\w ]{{1,20}}\])*+|[。！？｡]++[{CLOSERS}]*+")
WIDE_STOPS = "。！？｡"
OPENERS = "\"'“‘«„‚([¿¡"


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


NEVER_END = _words(
    "dr mr mrs ms prof st hon rev gen col sgt capt lt cmdr gov sen rep pres messrs mme mlle sra srta",
    "vs cf viz approx ca circa e.g i.e eg ie fig figs eq sec ch vol pp nos nr eds bzw z.b d.h u.a",
    "hr fr dipl ing str abb bd ggf inkl evtl vgl p.ej núm pág av dept est mt ft op",
    "jan feb apr jun jul aug sep sept oct nov dec mon tue wed thu fri",
)
MAY_END = _words("inc ltd co corp bros u.s u.k u.n e.u a.m p.m b.c a.d d.c sr jr al p ed")
NOT_BEFORE_NUMBERS = _words("no art p al mar sat sun etc usw")
STARTERS = _words(
    "the a an this that these those he she it they we you i in on at by for from with as but and however there when",
    "while after before his her its their our some many most der die das ein eine er sie es wir im am le la les un",
    "une il elle el los las una en",
)
MONTHS = _words(
    "januar februar märz april mai juni juli august september oktober november dezember jahrhundert jahrhunderts"
)


def _sentences(text: str, block: Sentence) -> Iterator[tuple[int, int]]:
    start = block.start
    for stop in STOP.finditer(text, block.start, block.end):
        if _ends(text, stop, block.end):
            yield from _pieces(text, start, stop.end())
            start = stop.end()
    yield from _pieces(text, start, block.end)


def _ends(text: str, stop: re.Match[str], limit: int) -> bool:
    after = text[stop.end() : min(limit, stop.end() + 40)]
    if stop[0][0] in WIDE_STOPS or not after.strip():
        return stop[0][0] in WIDE_STOPS or stop.end() + 40 >= limit
    if not after[0].isspace():
        return False
    following = after.lstrip().lstrip(OPENERS)
    if following[:1].islower():
        return False
    return stop[0][0] != "." or stop[0].startswith("..") or not _abbreviates(text, stop.start(), following)


def _abbreviates(text: str, at: int, following: str) -> bool:
    """Whether the full stop at `at` belongs to the word before it, by that word and the one that follows."""
    before = text[max(0, at - 24) : at].split()
    word = before[-1].lstrip(OPENERS) if before and not text[at - 1].isspace() else ""
    low, next_word = word.lower(), (re.match(r"\w+", following) or [""])[0].lower()
    if word.isdigit():
        return len(word) <= 2 and next_word in MONTHS
    if low in NEVER_END or (low in NOT_BEFORE_NUMBERS and next_word[:1].isdigit()):
        return True
    initials = re.fullmatch(r"(?:\w\.)+\w", word) is not None or (len(word) == 1 and word.isupper())
    return (low in MAY_END or initials) and next_word not in STARTERS


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without blanks around it, cut where it is longer than any sentence."""
    while end - start > LONGEST:
        cut = max(
            text.rfind(" ", start + LONGEST // 2, start + LONGEST),
            text.rfind("\n", start + 1, start + LONGEST),
        )
        cut = cut if cut > start else start + LONGEST
        yield from _trimmed(text, start, cut)
        start = cut
    yield from _trimmed(text, start, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    left, right = len(piece) - len(piece.lstrip()), len(piece.rstrip())
    if left < right:
        yield start + left, start + right

"""Passages of a Markdown text, sized to an embedder's window, each an exact span of the text.

A passage ends where the text does: at a heading, else between paragraphs, list items, rows of a table, lines of code,
else between sentences, and inside a sentence only when that alone is too long. What must be cut is cut into parts of
about the same size, so that no tail of ten words is left over. One linear pass; a 5 MB document takes seconds.
"""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from webapp.core import sentences

Offsets = Callable[[str], list[tuple[int, int]]]  # a text -> where each of its tokens begins and ends, in characters

MARKERS = 2  # tokens an embedder puts around every text
SMALL = 0.25  # a section that fills less of the window than this shares its passage with the next one
WIDEST = 16  # characters that count as a token at least: a tokenizer calls 10,000 letters in a row one unknown word
HEADING_LENGTH = 500
RUN = 20_000  # characters given to the tokenizer at a time


@dataclass(frozen=True, slots=True)
class Piece:
    """`text[start:end]`, how many tokens it has, and the headings above it (" > " between)."""

    start: int
    end: int
    tokens: int
    heading: str = ""


def chunk(markdown: str, offsets: Offsets, max_tokens: int = 256) -> list[Piece]:
    """Cut `markdown` for a window of `max_tokens`, the embedder's own two markers included."""
    ruler = Ruler(markdown, offsets)
    budget = max(8, max_tokens - MARKERS)
    found: list[Piece] = []
    for section in _sections(markdown, ruler, int(budget * SMALL)):
        found += _fill(markdown, ruler, section, budget)
    return found


WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[tuple[int, int]]:
    """Offsets without a tokenizer: words and marks. English has about three of these for four tokens of MiniLM."""
    return [match.span() for match in WORD.finditer(text)]


class Ruler:
    """How many tokens a span of the text has."""

    def __init__(self, text: str, offsets: Offsets) -> None:
        self._starts = array("Q")
        for start, end in _runs(text):
            self._starts.extend(start + first for first, last in offsets(text[start:end]) if first < last)

    def tokens(self, start: int, end: int) -> int:
        return bisect_left(self._starts, end) - bisect_left(self._starts, start)

    def size(self, start: int, end: int) -> int:
        """Tokens, or characters where they are what there is too much of."""
        return max(1, self.tokens(start, end), (end - start) // WIDEST)

    def reach(self, start: int, budget: int) -> int:
        """The last place that a span from `start` with `budget` tokens may end at."""
        index = bisect_left(self._starts, start) + budget
        by_tokens = self._starts[index] if index < len(self._starts) else start + budget * WIDEST
        return min(max(by_tokens, start + 1), start + budget * WIDEST)


def _runs(text: str) -> Iterator[tuple[int, int]]:
    """Spans of about RUN characters that end at white space where there is some: no token crosses it."""
    start = 0
    while start < len(text):
        end = min(len(text), start + RUN)
        if end < len(text):
            cut = max(text.rfind("\n", start, end), text.rfind(" ", start, end))
            end = cut + 1 if cut > start else end
        yield start, end
        start = end


# --- blocks -----------------------------------------------------------------------------------------------------

Kind = Literal["heading", "prose", "item", "table", "code"]

HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]+\S")
ROW = re.compile(r"[ \t]*\|")
LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together. `heading` is the path above it, for a heading its own path."""

    start: int
    end: int
    kind: Kind
    heading: str = ""


def blocks(text: str) -> list[Block]:
    """The blocks in order, without the blank lines between them."""
    found: list[Block] = []
    path: list[tuple[int, str]] = []
    fence, joined = "", False  # the mark an open code block waits for; whether the line before was not blank
    for start, end in _lines(text):
        line = text[start:end]
        if fence:
            found[-1] = replace(found[-1], end=end)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence, joined = "", False
            continue
        if not line.strip():
            joined = False
            continue
        kind, last = _kind(line), found[-1] if found and joined else None
        if last and last.kind == "prose" and UNDERLINE.match(line):
            _enter(path, 1 if "=" in line else 2, text[last.start : last.end])
            found[-1] = Block(last.start, end, "heading", _path(path))
            joined = False
        elif kind == "heading":
            level = len(HEADING.match(line)[1])  # type: ignore[index]  # _kind has matched it
            _enter(path, level, line.strip().strip("#"))
            found.append(Block(start, end, "heading", _path(path)))
            joined = False
        elif last and (last.kind == kind != "item" or (last.kind == "item" and kind == "prose")):
            found[-1] = replace(last, end=end)
        else:
            found.append(Block(start, end, kind, _path(path)))
            joined = True
            fence = FENCE.match(line)[1] if kind == "code" else ""  # type: ignore[index]  # as above
    return found


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield start, end
        start = end


def _kind(line: str) -> Kind:
    if HEADING.match(line):
        return "heading"
    if FENCE.match(line):
        return "code"
    if ROW.match(line):
        return "table"
    return "item" if ITEM.match(line) else "prose"


def _enter(path: list[tuple[int, str]], level: int, title: str) -> None:
    while path and path[-1][0] >= level:
        path.pop()
    path.append((level, plain(title)))


def plain(markdown: str) -> str:
    """A heading's words without links, emphasis and line ends."""
    return " ".join(LINK.sub(r"\1", markdown).replace("**", "").replace("`", "").replace("__", "").split())


def _path(path: list[tuple[int, str]]) -> str:
    return " > ".join(title for _, title in path if title)[:HEADING_LENGTH]


# --- passages ---------------------------------------------------------------------------------------------------


def _sections(text: str, ruler: Ruler, small: int) -> Iterator[list[Block]]:
    """Blocks from heading to heading; what is small goes with what follows."""
    section: list[Block] = []
    size, told = 0, False
    for block in blocks(text):
        if block.kind == "heading" and told and size >= small:
            yield section
            section, size, told = [], 0, False
        section.append(block)
        told = told or block.kind != "heading"
        size += ruler.size(block.start, block.end)
    if section:
        yield section


def _fill(text: str, ruler: Ruler, section: Sequence[Block], budget: int) -> Iterator[Piece]:
    """The section in as few passages as the budget allows, of about the same size. A heading never ends one."""
    units = list(_fitting(text, ruler, section, budget))
    sizes = [ruler.size(unit.start, unit.end) for unit in units]
    left, size, first = sum(sizes), 0, 0
    for index, more in enumerate(sizes):
        aim = left / math.ceil(left / budget)
        closer_without = size + more / 2 > aim and units[index - 1].kind != "heading"
        if index > first and (size + more > budget or closer_without):
            last = max((n + 1 for n in range(first, index) if units[n].kind != "heading"), default=index)
            yield from _piece(text, ruler, units[first:last])
            left -= sum(sizes[first:last])
            first, size = last, sum(sizes[last:index])
        size += more
    yield from _piece(text, ruler, units[first:])


def _fitting(text: str, ruler: Ruler, section: Sequence[Block], budget: int) -> Iterator[Block]:
    """Units that fit into the window together with the headings right above them."""
    above = 0
    for block in section:
        yield from _units(text, ruler, block, max(budget // 2, budget - above))
        above = above + ruler.size(block.start, block.end) if block.kind == "heading" else 0


def _piece(text: str, ruler: Ruler, units: Sequence[Block]) -> Iterator[Piece]:
    if not units:
        return
    span = text[units[0].start : units[-1].end]
    start = units[0].start + len(span) - len(span.lstrip())
    end = units[0].start + len(span.rstrip())
    if any(character.isalnum() for character in span):
        told = next((unit for unit in units if unit.kind != "heading"), units[0])
        yield Piece(start, end, max(1, ruler.tokens(start, end)), told.heading)


def _units(text: str, ruler: Ruler, block: Block, budget: int) -> Iterator[Block]:
    """The block, or where it is too large its sentences or lines, or where these are its words."""
    if ruler.size(block.start, block.end) <= budget:
        yield block
        return
    for start, end in _parts(text, block):
        while ruler.size(start, end) > budget:
            cut = _before(text, start, ruler.reach(start, budget))
            yield replace(block, start=start, end=cut)
            start = cut
        if start < end:
            yield replace(block, start=start, end=end)


def _parts(text: str, block: Block) -> list[tuple[int, int]]:
    """Lines of tables and code, sentences of everything else; together they are the whole block."""
    if block.kind in ("table", "code"):
        return [(block.start + start, block.start + end) for start, end in _lines(text[block.start : block.end])]
    starts = [block.start + each.start for each in sentences.split(text[block.start : block.end])]
    edges = [block.start, *starts[1:], block.end]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _before(text: str, start: int, end: int) -> int:
    """The last white space before `end`, if the half before it is not given up for that."""
    for at in range(end, start + (end - start) // 2, -1):
        if text[at - 1].isspace():
            return at
    return end


# --- chunkers for texts of any kind --------------------------------------------------------------------------------


def fixed(text: str, size: int, overlap: int = 0, offsets: Offsets | None = None) -> list[Piece]:
    """Windows of `size` characters, or tokens with `offsets`; each begins `overlap` before the last one ended."""
    spans = offsets(text) if offsets else None
    count, step = len(spans if spans is not None else text), max(1, size - overlap)
    found = []
    for first in range(0, count, step):
        last = min(count, first + size)
        start, end = (spans[first][0], spans[last - 1][1]) if spans is not None else (first, last)
        found.append(Piece(start, end, last - first))
        if last == count:
            break
    return found


def by_sentences(text: str, size: int, overlap: int = 0, offsets: Offsets | None = None) -> list[Piece]:
    """Whole sentences up to `size` characters or tokens; the last ones within `overlap` are said again in the next.

    A sentence longer than `size` stays whole: its own passage says more than a part of it.
    """
    ruler = Ruler(text, offsets) if offsets else None
    spans = [(each.start, each.end) for each in sentences.split(text)]
    return [_span(ruler, spans[first][0], spans[last - 1][1]) for first, last in _groups(ruler, spans, size, overlap)]


def _groups(ruler: Ruler | None, spans: list[tuple[int, int]], size: int, overlap: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < len(spans):
        last = first + 1
        while last < len(spans) and _length(ruler, spans[first][0], spans[last][1]) <= size:
            last += 1
        yield first, last
        if last == len(spans):
            return
        following = last
        while following - 1 > first and _length(ruler, spans[following - 1][0], spans[last - 1][1]) <= overlap:
            following -= 1
        first = following


def semantic(
    text: str, spans: Sequence[tuple[int, int]], similarity: Sequence[float], size: int, offsets: Offsets | None = None
) -> list[Piece]:
    """Sentences (`spans`) cut where the subject changes, and at `size` at the latest.

    `similarity[i]` compares what is before border i (between sentence i and i + 1) with what is after it. A border's
    depth is how far it lies below the peaks on both sides; deeper than mean + deviation / 2 is a change of subject
    (TextTiling: Hearst 1997, Computational Linguistics 23(1), section 5.4, with embeddings for word counts).
    """
    ruler = Ruler(text, offsets) if offsets else None
    depths = _depths(similarity)
    mean = sum(depths) / len(depths) if depths else 0.0
    deviation = math.sqrt(sum((depth - mean) ** 2 for depth in depths) / len(depths)) if depths else 0.0
    found, first = [], 0
    for index in range(len(spans)):
        last = index == len(spans) - 1
        changes = not last and depths[index] > mean + deviation / 2
        if last or changes or _length(ruler, spans[first][0], spans[index + 1][1]) > size:
            found.append(_span(ruler, spans[first][0], spans[index][1]))
            first = index + 1
    return found


def _depths(similarity: Sequence[float]) -> list[float]:
    """How far each value lies below the nearest peak to its left and right, summed."""

    def climbs(values: Sequence[float]) -> list[float]:
        peaks: list[float] = []
        for index, value in enumerate(values):
            peaks.append(max(value, peaks[-1]) if index and values[index - 1] >= value else value)
        return peaks

    left, right = climbs(similarity), climbs(similarity[::-1])[::-1]
    return [left[i] + right[i] - 2 * similarity[i] for i in range(len(similarity))]


def _length(ruler: Ruler | None, start: int, end: int) -> int:
    return ruler.tokens(start, end) if ruler else end - start


def _span(ruler: Ruler | None, start: int, end: int) -> Piece:
    return Piece(start, end, _length(ruler, start, end))

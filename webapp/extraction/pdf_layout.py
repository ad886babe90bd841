"""What a PDF says about its text besides the letters: headings (its outline, else the sizes of its type) and links.

pypdf tells the size and place of each run of text. A line is a heading when the outline names it on its page, or, in a
document without such an outline, when it is set larger than the body and short. A link is an area of the page; the
runs that begin inside of it are its words.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

LARGER = 1.15  # times the body's size, at least, is a heading
LONGEST = 160  # characters of a heading
SHARE = 0.2  # of all lines; where more are large, size says nothing
OUTLINE = 2000  # entries looked at
LINKS = 200  # of one page
URI = re.compile(r"(?:https?://|mailto:)[^\s<>\"\\^`{|}]{3,2000}$", re.IGNORECASE)


@dataclass
class Line:
    text: str
    size: float = 0.0
    level: int = 0  # of a heading


@dataclass
class Page:
    lines: list[Line]
    links: list[str] = field(default_factory=list)  # without words of their own on the page


@dataclass
class _Run:
    text: str
    size: float
    x: float
    y: float


def read_page(page: PageObject) -> Page:
    """Lines with their sizes, links as Markdown. Raises whatever a broken page raises."""
    runs: list[_Run] = []

    def visit(text: str, cm: Any, tm: Any, font: Any, size: Any) -> None:
        if text:
            scale = math.hypot(tm[2], tm[3]) * math.hypot(cm[2], cm[3])
            x, y = cm[0] * tm[4] + cm[2] * tm[5] + cm[4], cm[1] * tm[4] + cm[3] * tm[5] + cm[5]
            runs.append(_Run(text, float(size or 0) * scale, x, y))

    plain = page.extract_text(visitor_text=visit)
    if "".join(run.text for run in runs).split() != plain.split():  # pypdf put them in another order
        return Page([Line(text) for text in plain.splitlines()])
    left = _mark_links(page, runs, plain)
    return Page(_lines(runs), left)


def _lines(runs: list[_Run]) -> list[Line]:
    found, text, sizes = [], "", Counter[float]()
    for run in runs:
        parts = run.text.split("\n")
        for number, part in enumerate(parts):
            if number:
                found.append(Line(text, max(sizes, key=lambda size: sizes[size], default=0.0)))
                text, sizes = "", Counter()
            text += part
            sizes[round(run.size * 2) / 2] += len(part.strip())
    return [*found, Line(text, max(sizes, key=lambda size: sizes[size], default=0.0))]


# -- links -----------------------------------------------------------------------------------------------------------


def _mark_links(page: PageObject, runs: list[_Run], plain: str) -> list[str]:
    """Put Markdown around the words of links; the addresses of those without words that are not on the page anyway."""
    left = []
    seen = "".join(plain.split())
    for uri, box in _areas(page):
        words = [run for run in runs if run.text.strip() and _inside(run, box)]
        shown = re.sub(r"^(?:https?://|mailto:)|/$", "", uri)
        if words and all("](" not in run.text and "\n" not in run.text.strip("\n") for run in words):
            if shown not in "".join(run.text.strip() for run in words):
                _wrap(words, uri)
        elif shown not in seen and uri not in left:
            left.append(uri)
    return left


def _wrap(words: list[_Run], uri: str) -> None:
    first, last = words[0], words[-1]
    start = len(first.text) - len(first.text.lstrip())
    first.text = first.text[:start] + "[" + first.text[start:].replace("[", "(").replace("]", ")")
    end = len(last.text.rstrip())
    target = uri.replace("(", "%28").replace(")", "%29")
    last.text = last.text[:end] + f"]({target})" + last.text[end:]


def _areas(page: PageObject) -> list[tuple[str, tuple[float, float, float, float]]]:
    found = []
    for given in list(page.get("/Annots") or [])[:LINKS]:
        try:
            one = given.get_object()
            action = one["/A"].get_object()
            uri = str(action["/URI"]).strip()
            x0, y0, x1, y1 = (float(number) for number in one["/Rect"])
        except Exception:
            continue  # no link to an address, or a broken one
        if URI.match(uri):
            found.append((uri, (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))))
    return found


def _inside(run: _Run, box: tuple[float, float, float, float]) -> bool:
    """Where its base line begins; a little below the area counts, for areas are drawn around the letters."""
    slack = 0.3 * run.size + 1
    return box[0] - 2 <= run.x <= box[2] and box[1] - slack <= run.y <= box[3]


# -- headings --------------------------------------------------------------------------------------------------------


def outline(reader: PdfReader) -> dict[int, dict[str, int]]:
    """Page number (from 0) -> title as `_plain` has it -> depth (from 1). Empty where there is none, or a broken one."""
    found: dict[int, dict[str, int]] = {}
    count = 0

    def walk(entries: Any, depth: int) -> None:
        nonlocal count
        for entry in entries:
            count += 1
            if count > OUTLINE or depth > 6:
                return
            if isinstance(entry, list):
                walk(entry, depth + 1)
            elif (number := reader.get_destination_page_number(entry)) is not None:
                found.setdefault(number, {}).setdefault(_plain(str(entry.title)), depth)

    try:
        walk(reader.outline, 1)
    except MemoryError:
        raise
    except Exception:
        return found
    return found


def mark_headings(pages: dict[int, Page], titles: dict[int, dict[str, int]]) -> None:
    """Set the levels. An outline that names at least two lines is believed, and then it alone."""
    named = [
        (line, level)
        for number, page in pages.items()
        for line, level in _named(page.lines, titles.get(number, {}))
    ]  # fmt: skip
    if len(named) >= 2:
        for line, level in named:
            line.level = level
        return
    lines = [line for page in pages.values() for line in page.lines if line.text.strip()]
    for line, level in _large(lines):
        line.level = level


def _named(lines: list[Line], titles: dict[str, int]) -> list[tuple[Line, int]]:
    """Lines that are a title of the outline, with or without its number; each title once."""
    found, left = [], dict(titles)
    for line in lines:
        text = _plain(line.text)
        wanted = next(
            (title for title in left if title and (text == title or _unnumbered(text) == _unnumbered(title))), None
        )
        if wanted is not None and len(line.text) <= LONGEST and "](" not in line.text:
            found.append((line, left.pop(wanted)))
    return found


def _large(lines: list[Line]) -> list[tuple[Line, int]]:
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    if not sizes:
        return []
    body = max(sizes, key=lambda size: sizes[size])
    large = [
        line for line in lines
        if body > 0 and line.size >= LARGER * body and len(line.text) <= LONGEST and "](" not in line.text
        and sum(character.isalpha() for character in line.text) >= 3
    ]  # fmt: skip
    if len(large) > SHARE * len(lines):
        return []
    steps = sorted({line.size for line in large}, reverse=True)
    return [(line, min(4, steps.index(line.size) + 1)) for line in large]


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def _unnumbered(text: str) -> str:
    return re.sub(r"^(?:(?:chapter|section|part|kapitel|abschnitt) )?(?:\d+ )+(?=\D)", "", text)


# -- as Markdown -----------------------------------------------------------------------------------------------------


def render(page: Page) -> str:
    """A heading over several lines is one; links without words end the page."""
    out: list[str] = []
    before: Line | None = None
    for line in page.lines:
        text = line.text.strip()
        if line.level and before is not None and before.level == line.level and before.size == line.size and (
            len(out[-1]) + len(text) <= LONGEST
        ):  # fmt: skip
            out[-1] += " " + text
        elif line.level:
            out += ["", "#" * line.level + " " + text]
        else:
            out += ["", text] if before is not None and before.level else [text]
        before = line
    if page.links:
        out += ["", *(f"- <{uri}>" for uri in page.links)]
    return "\n".join(out)

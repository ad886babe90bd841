"""Stored Markdown as the words a person reads: for snippets, quotes and the command line. Pure.

By patterns and not by the parser of `markup`: passages begin and end anywhere, in the middle of a table or a link,
and twenty of them are shown while somebody types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FENCE = re.compile(r"^\s*(?:```|~~~)")
RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$|^\s*(?:[-*_]\s*){3,}$")
HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$")
ITEM = re.compile(r"^(\s*)[-*+]\s+(?:\[[ xX]\]\s+)?")
QUOTE = re.compile(r"^\s*(?:>\s?)+")
CELL = re.compile(r"(?<!\\)\|")
IMAGE = re.compile(r"!\[([^\[\]]*)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
LINK = re.compile(r"\[([^\[\]]+)\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)")
ADDRESS = re.compile(r"<((?:https?://|mailto:)[^<>\s]+)>")
CODE = re.compile(r"(`+)(.+?)\1(?!`)")
STRONG = re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1")
EMPHASIS = re.compile(
    r"(?<![\w*])\*(?=[^\s*])([^*\n]*?)(?<=[^\s*])\*(?![\w*])|(?<![\w_])_(?=[^\s_])([^_\n]*?)(?<=[^\s_])_(?![\w_])"
)
COMMENT = re.compile(r"<!--.*?-->")
ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>~])")
MARKED = re.compile(r"[`\[<*_~\\\ue002\ue003]")  # what any of these begins with
OPENS = re.compile(r"\s*(?:•|\d{1,9}[.)])\s")  # a line that begins an item
BETWEEN = {"text": " ", "code": "\n"}  # lines that are one paragraph
ENDS = tuple(".:;!?,…")


@dataclass
class Table:
    """rows: the words of each cell. headed: the first row names the columns."""

    rows: list[list[str]] = field(default_factory=list)
    headed: bool = False


def blocks(markdown: str, most: int = 0) -> list[str | Table]:
    """Paragraphs, items and tables in their order, for where a table can be shown as one; also of one cut in two.

    most: characters after which no further row or paragraph is begun.
    """
    found: list[str | Table] = []
    before, room = "", most or len(markdown)
    for line, kind in _marked(markdown):
        if room <= 0 and (kind != "text" or before != "text"):
            return [*found, "…"]
        if kind == "rule":
            if before == "row" and isinstance(found[-1], Table) and len(found[-1].rows) == 1:
                found[-1].headed = True
                continue
        elif kind == "row":
            if before != "row":
                found.append(Table())
            found[-1].rows.append(_cells(line))  # type: ignore[union-attr]
        elif words := line if kind == "code" else _line(line)[0].strip():
            if before == kind != "heading" and not OPENS.match(words):
                words = f"{found.pop()}{BETWEEN[kind]}{words}"
            found.append(words)
        else:
            kind = "blank"
        before, room = kind, room - len(line)
    return found


def lines(markdown: str) -> list[str]:
    """The text line by line; cells of a table are parted by a middle dot, items of a list begin with a bullet."""
    return [text for text, _ in _lines(markdown)]


def text(markdown: str) -> str:
    """The same with its line breaks, for where there is room."""
    return "\n".join(lines(markdown)).strip()


def one_line(markdown: str) -> str:
    """All of it in one line: a semicolon after each row, a colon after a heading."""
    shown = ""
    before = ""
    for words, kind in _lines(markdown):
        words = " ".join(words.split())
        if not words:
            continue
        if shown and before == "heading" and not shown.endswith(ENDS):
            shown += ":"
        elif shown and before == "row" and not shown.endswith(ENDS):
            shown += ";"
        shown += (" " if shown else "") + words
        before = kind
    return shown


def _lines(markdown: str) -> list[tuple[str, str]]:
    """(words, kind) of each line; kind: text, row, heading, code."""
    return [(line, kind) if kind == "code" else _line(line) for line, kind in _marked(markdown) if kind != "rule"]


def _marked(markdown: str) -> Iterator[tuple[str, str]]:
    """(line, kind) as they are written; kind also rule, which is no words. The fences of code are left out."""
    fenced = False
    for line in markdown.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif fenced:
            yield line, "code"
        elif RULE.match(line):
            yield line, "rule"
        else:
            line = QUOTE.sub("", line)
            yield line, "heading" if HEADING.match(line) else "row" if _cells(line) else "text"


def _line(line: str) -> tuple[str, str]:
    heading = HEADING.match(line)
    if heading:
        return _inline(heading[1]), "heading"
    if cells := _cells(line):
        return " · ".join(cell for cell in cells if cell), "row"
    return _inline(ITEM.sub(r"\1• ", line)), "text"


def _cells(line: str) -> list[str]:
    """The cells of a table's row, which may lack its first or last border; none of another line."""
    if "|" not in line:
        return []
    cells = CELL.split(line)
    if len(cells) < 2 or (len(cells) == 2 and not (line.lstrip().startswith("|") or line.rstrip().endswith("|"))):
        return []
    cells = cells[not cells[0].strip() : len(cells) - (not cells[-1].strip())]
    return [_inline(cell).strip() for cell in cells] or [""]


def _inline(words: str) -> str:
    """Without what makes links, pictures, code and emphasis; what is written in code stays as it is."""
    if not MARKED.search(words):
        return words
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[2].strip() or found[2])
        return f"\ue002{len(kept) - 1}\ue003"

    words = CODE.sub(keep, words.replace("\ue002", "").replace("\ue003", ""))
    words = COMMENT.sub("", words)
    for pattern in (IMAGE, LINK, ADDRESS):
        words = pattern.sub(r"\1", words)
    words = STRONG.sub(r"\2", STRONG.sub(r"\2", words))
    words = EMPHASIS.sub(lambda found: found[1] or found[2], words)
    words = ESCAPED.sub(r"\1", words)
    return re.sub("\ue002(\\d+)\ue003", lambda found: kept[int(found[1])], words)

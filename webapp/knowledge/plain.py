"""Stored Markdown as the words a person reads: for snippets, quotes and the command line. Pure.

By patterns and not by the parser of `markup`: passages begin and end anywhere, in the middle of a table or a link,
and twenty of them are shown while somebody types.
"""

from __future__ import annotations

import re

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
ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>~])")
ENDS = tuple(".:;!?,…")


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
    found: list[tuple[str, str]] = []
    fenced = False
    for line in markdown.splitlines():
        if FENCE.match(line):
            fenced = not fenced
        elif fenced:
            found.append((line, "code"))
        elif RULE.match(line):
            continue
        else:
            found.append(_line(line))
    return found


def _line(line: str) -> tuple[str, str]:
    line = QUOTE.sub("", line)
    heading = HEADING.match(line)
    if heading:
        return _inline(heading[1]), "heading"
    cells = CELL.split(line)
    if len(cells) > 2 or (len(cells) == 2 and (line.lstrip().startswith("|") or line.rstrip().endswith("|"))):
        return " · ".join(shown for cell in cells if (shown := _inline(cell).strip())), "row"
    return _inline(ITEM.sub(r"\1• ", line)), "text"


def _inline(words: str) -> str:
    """Without what makes links, pictures, code and emphasis; what is written in code stays as it is."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[2].strip() or found[2])
        return f"\ue002{len(kept) - 1}\ue003"

    words = CODE.sub(keep, words.replace("\ue002", "").replace("\ue003", ""))
    for pattern in (IMAGE, LINK, ADDRESS):
        words = pattern.sub(r"\1", words)
    words = STRONG.sub(r"\2", STRONG.sub(r"\2", words))
    words = EMPHASIS.sub(lambda found: found[1] or found[2], words)
    words = ESCAPED.sub(r"\1", words)
    return re.sub("\ue002(\\d+)\ue003", lambda found: kept[int(found[1])], words)

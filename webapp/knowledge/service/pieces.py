"""Text to passages by the collection's embedder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webapp.runtime import Runtime


@dataclass(frozen=True)
class Piece:
    """`text[start:end]` with its number of tokens and the headings above it."""

    start: int
    end: int
    tokens: int
    heading: str


WORDS = 180


def cut(rt: Runtime, embedder: str, text: str) -> list[Piece]:
    """Paragraphs gathered up to 180 words, spans exact into `text`."""
    pieces: list[Piece] = []
    start, words, heading, path = 0, 0, "", {}  # type: ignore[var-annotated]
    last = 0
    for found in re.finditer(r"[^\n]+(?:\n(?!\n)[^\n]+)*", text):
        block = found[0]
        count = len(block.split())
        title = re.match(r"(#{1,6}) (.+)", block)
        if words and (words + count > WORDS or title):
            pieces.append(Piece(start, last, words, heading))
            words = 0
        if title:
            level = len(title[1])
            path = {k: v for k, v in path.items() if k < level} | {level: title[2].strip()}
        if not words:
            start, heading = found.start(), " > ".join(path.values())
        words, last = words + count, found.end()
        while words > WORDS:
            cut_at = [m.end() for m in re.finditer(r"\S+", text[start:last])][WORDS - 1] + start
            pieces.append(Piece(start, cut_at, WORDS, heading))
            words -= WORDS
            start = cut_at + len(text[cut_at:last]) - len(text[cut_at:last].lstrip())
    if words:
        pieces.append(Piece(start, last, words, heading))
    return pieces

"""Text to passages, by the collection's embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webapp.knowledge.chunking import Piece, chunk, words

if TYPE_CHECKING:
    from webapp.runtime import Runtime

WORDS = 190  # words and marks that fill 256 tokens of MiniLM, when its tokenizer is not to be had


def cut(rt: Runtime, embedder: str, text: str) -> list[Piece]:
    """Passages of `text`, exact spans, in the window of `embedder`."""
    return chunk(text, words, WORDS)


__all__ = ["Piece", "cut"]

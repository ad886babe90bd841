"""Text to passages, by the collection's embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webapp.embedding import service as embedding
from webapp.knowledge.chunking import Piece, chunk

if TYPE_CHECKING:
    from webapp.runtime import Runtime


def cut(rt: Runtime, embedder: str, text: str) -> list[Piece]:
    """Passages of `text`, exact spans, in the window of `embedder`; by a guess while that is not there."""
    window = embedding.info(rt, embedder).max_tokens
    return chunk(text, embedding.offsets(rt, embedder), max_tokens=window)


__all__ = ["Piece", "cut"]

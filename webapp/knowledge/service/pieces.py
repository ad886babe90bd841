"""Text to passages, by the collection's embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webapp.embedding import service as embedding
from webapp.knowledge.chunking import Piece, chunk

if TYPE_CHECKING:
    from webapp.runtime import Runtime


class Cutter:
    """Cuts texts into passages for the window of one embedder; by a guess while that is not there."""

    def __init__(self, rt: Runtime, embedder: str) -> None:
        self._window = embedding.info(rt, embedder).max_tokens
        self._offsets = embedding.offsets(rt, embedder)

    def cut(self, text: str) -> list[Piece]:
        """Exact spans of `text`."""
        return chunk(text, self._offsets, max_tokens=self._window)


__all__ = ["Cutter", "Piece"]

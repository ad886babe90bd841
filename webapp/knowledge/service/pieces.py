"""Text to passages, by the collection's embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webapp.embedding import service as embedding
from webapp.knowledge.chunking import Piece, chunk

if TYPE_CHECKING:
    from webapp.runtime import Runtime

TITLE_ROOM = 16  # tokens


class Cutter:
    """Cuts texts into passages for the window of one embedder; by a guess while that is not there.

    Some of the window is left for the title, which the embedder reads before each passage.
    """

    def __init__(self, rt: Runtime, embedder: str) -> None:
        window = embedding.info(rt, embedder).max_tokens
        self._window = window - min(TITLE_ROOM, window // 8)
        self._offsets = embedding.offsets(rt, embedder)

    def cut(self, text: str) -> list[Piece]:
        """Exact spans of `text`."""
        return chunk(text, self._offsets, max_tokens=self._window)


__all__ = ["Cutter", "Piece"]

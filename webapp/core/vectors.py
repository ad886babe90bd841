"""What a vector index can do, whoever it is. Rows are the truth; an index can be thrown away and made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from webapp.core.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


Near = list[tuple[int, float]]  # (id, cosine), nearest first


class IndexTrouble(Unavailable):
    """The vector index does not answer or is damaged. Search goes on by keywords and says so."""

    code = "vector_index"


class IndexMissing(IndexTrouble):
    """There is no index of that name: not built yet, or its folder was deleted."""

    code = "vector_index_missing"


class IndexHeld(IndexTrouble):
    """Another process, the server, has the index."""

    code = "vector_index_held"


class Vectors(Protocol):
    """Named sets of vectors of one dimension each, compared by cosine. Every method raises IndexTrouble.

    there: whether an index is set up at all, whether it answers or not.
    """

    there: bool

    def add(self, name: str, ids: Sequence[int], vectors: Floats) -> None:
        """Put in or replace; makes the set if it is not there."""

    def remove(self, name: str, ids: Sequence[int]) -> None:
        """Take out; what is not there does not matter."""

    def query(self, name: str, vector: Floats, k: int, ids: Sequence[int] | None = None) -> Near:
        """The `k` nearest as (id, cosine), nearest first; among `ids` only, and exactly, when given.

        Raises IndexMissing when there is no such set.
        """

    def query_each(self, names: Sequence[str], vector: Floats, k: int) -> list[Near | IndexTrouble]:
        """`query` of each set, in order; what it would raise stands in its place. A question to many sets at once."""

    def stored(self, name: str, ids: Sequence[int]) -> dict[int, Floats]:
        """The vectors themselves, of those that are there. Raises IndexMissing when there is no such set."""

    def count(self, name: str) -> int:
        """How many; 0 when there is no such set."""

    def ids(self, name: str) -> set[int]:
        """All of them; none when there is no such set."""

    def drop(self, name: str) -> None:
        """Delete the set, if it is there."""

    def names(self) -> list[str]:
        """Of all sets."""

    def ping(self) -> None:
        """Raises IndexTrouble when it would not answer."""

    def close(self) -> None: ...

"""What an embedder is: an object of a family, made once per process by `family(rt, argument)`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from webapp.core.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from webapp.runtime import Runtime

    Vectors = NDArray[np.float32]

Offsets = Callable[[str], list[tuple[int, int]]]


@dataclass(frozen=True)
class EmbedderInfo:
    """An embedder as people choose it.

    dimension: of its vectors, None until it has said so itself. max_tokens: its window, its own two markers included;
    what is longer is cut off. missing: what keeps it from working here; suggestion: how to mend that.
    """

    id: str
    label: str
    dimension: int | None
    max_tokens: int
    available: bool
    missing: str | None = None
    suggestion: str | None = None


class Embedder(Protocol):
    """One model. `batch`: texts of one call that pay; more only make others wait longer."""

    batch: int

    def info(self) -> EmbedderInfo: ...

    def embed(self, texts: list[str], *, cancelled: Callable[[], bool], urgent: bool) -> Vectors:
        """Float32 (len(texts), dimension). Raises NoModel when it cannot work here, Unavailable or Upstream."""
        ...

    def offsets(self) -> Offsets:
        """A function from a text to the (start, end) of its tokens, in characters, without markers."""
        ...


Family = Callable[["Runtime", str], Embedder]


def unit_length(vectors: Vectors) -> Vectors:
    """Each row divided by its length. Raises Unavailable for a row without one: it has no direction to compare."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise Unavailable("The embedder gave a vector without a length.", retryable=False)
    return np.asarray(vectors / lengths, dtype=np.float32)


def from_bytes(answer: dict[str, Any]) -> Vectors:
    """What a child process sends: {"dimension": d, "vectors": little-endian float32}."""
    import numpy as np

    return np.frombuffer(answer["vectors"], "<f4").reshape(-1, answer["dimension"])


GUESS = re.compile(r"\w{1,4}|[^\w\s]")


def guessed_offsets(text: str) -> list[tuple[int, int]]:
    """For embedders whose tokenizer is somewhere else: four letters a token, which is more than most make of words."""
    return [match.span() for match in GUESS.finditer(text)]

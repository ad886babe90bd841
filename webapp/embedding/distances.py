"""Four ways to say how far two vectors are from each other (contract 002:540-543)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from webapp.embedding.base import Vectors

Metric = Literal["cosine", "euclidean", "dot", "manhattan"]


def between(first: Vectors, second: Vectors, metric: Metric) -> Vectors:
    """(len(first), len(second)). cosine, euclidean and manhattan are distances (0 is the same), dot is the product."""
    import numpy as np

    if metric == "dot":
        return np.asarray(first @ second.T)
    if metric == "cosine":
        lengths = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)[None, :]
        return np.asarray(1.0 - np.clip(first @ second.T / np.maximum(lengths, 1e-12), -1.0, 1.0))
    order = {"euclidean": 2, "manhattan": 1}[metric]
    rows = [np.linalg.norm(second - one, ord=order, axis=1) for one in first]  # row by row: no cube of differences
    return np.array(rows, dtype=np.float32).reshape(len(first), len(second))

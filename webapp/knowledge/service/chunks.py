"""Cutting a text on request, by one of four ways, and comparing it by one of four distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from webapp.core import sentences
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest
from webapp.embedding import distances
from webapp.embedding import service as embedding
from webapp.embedding.distances import Metric
from webapp.knowledge import chunking
from webapp.knowledge.chunking import Piece
from webapp.knowledge.models import Collection
from webapp.knowledge.service.search import Hit
from webapp.knowledge.vectors import index_name

if TYPE_CHECKING:
    from webapp.embedding.base import Vectors

WINDOW = 2  # sentences on each side of a border that are compared
MOST_SENTENCES = 1500  # that a model is asked about while somebody waits


def cut(
    ctx: Ctx, text: str, strategy: str, size: int, overlap: int = 0, *, tokens: bool = False,
    embedder: str | None = None,
) -> list[Piece]:  # fmt: skip
    """strategy: fixed, sentence, semantic or markdown; size and overlap in characters or tokens.

    Ends the caller's transaction before a model is asked. Raises BadRequest for a text with too many sentences for
    the semantic way, NoModel where that has no embedder.
    """
    name = embedding.check(ctx.rt, embedder) if embedder else embedding.default(ctx.rt)
    ctx.db.commit()
    offsets = embedding.offsets(ctx.rt, name) if tokens or strategy == "markdown" else None
    if strategy == "fixed":
        return chunking.fixed(text, size, overlap, offsets)
    if strategy == "sentence":
        return chunking.by_sentences(text, size, overlap, offsets)
    if strategy == "markdown":
        return chunking.chunk(text, offsets or chunking.words, size)
    spans = [(each.start, each.end) for each in sentences.split(text)]
    if len(spans) > MOST_SENTENCES:
        raise BadRequest(
            f"text: semantic cutting takes {MOST_SENTENCES} sentences, this has {len(spans)}",
            suggestion="Send it in parts, or use the sentence strategy.",
        )
    vectors = embedding.embed(ctx.rt, name, [text[start:end] for start, end in spans]) if len(spans) > 1 else None
    return chunking.semantic(text, spans, borders(vectors) if vectors is not None else [], size, offsets)


def borders(vectors: Vectors) -> list[float]:
    """For each border between sentences: the cosine of the mean before it and the mean after it."""
    import numpy as np

    found = []
    for border in range(1, len(vectors)):
        before, after = vectors[max(0, border - WINDOW) : border].mean(0), vectors[border : border + WINDOW].mean(0)
        length = float(np.linalg.norm(before) * np.linalg.norm(after))
        found.append(float(before @ after) / length if length else 0.0)
    return found


def measure(ctx: Ctx, query: str, hits: list[Hit], metric: Metric) -> list[float | None]:
    """The distance of each hit from the question. The index knows cosines; for vectors of length 1 the Euclidean
    distance and the product follow from these, the Manhattan distance needs the stored vectors.

    Raises NoModel, and IndexTrouble when the index went away since it was asked.
    """
    if metric != "manhattan":
        return [_from_cosine(hit.vector, metric) for hit in hits]
    with ctx.rt.unit(write=False) as db:
        of = Collection.id.in_({hit.collection_id for hit in hits})
        shelves = list(db.scalars(select(Collection).where(of)))
    questions = {
        name: embedding.embed(ctx.rt, name, [query], urgent=True) for name in {one.embedder for one in shelves}
    }
    found: dict[int, float] = {}
    for shelf in shelves:
        ids = [hit.chunk_id for hit in hits if hit.collection_id == shelf.id]
        stored = ctx.rt.vectors.stored(index_name(shelf.id, shelf.generation), ids)
        for ident, vector in stored.items():
            found[ident] = float(distances.between(questions[shelf.embedder], vector[None, :], metric)[0][0])
    return [found.get(hit.chunk_id) for hit in hits]


def _from_cosine(cosine: float | None, metric: Metric) -> float | None:
    if cosine is None:
        return None
    if metric == "dot":
        return cosine
    apart = max(0.0, 1.0 - cosine)
    return apart if metric == "cosine" else float((2.0 * apart) ** 0.5)

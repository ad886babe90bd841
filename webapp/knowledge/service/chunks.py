"""Cutting a text on request, by one of four ways, and comparing it by one of four distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from webapp.core.context import Ctx
from webapp.core.errors import BadRequest
from webapp.embedding import distances
from webapp.embedding import service as embedding
from webapp.embedding.distances import Metric
from webapp.knowledge import chunking
from webapp.knowledge.chunking import Piece
from webapp.knowledge.models import Collection
from webapp.knowledge.ranking import embedding_input
from webapp.knowledge.service.search import Hit
from webapp.summaries import sentences

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
    distance and the product follow from these, the Manhattan distance needs the vectors again."""
    if metric != "manhattan":
        return [_from_cosine(hit.vector, metric) for hit in hits]
    with ctx.rt.unit(write=False) as db:
        wanted = select(Collection.id, Collection.embedder).where(
            Collection.id.in_({hit.collection_id for hit in hits})
        )
        embedder_of = {row[0]: row[1] for row in db.execute(wanted)}
    found: dict[int, float] = {}
    for embedder in set(embedder_of.values()):
        group = [hit for hit in hits if embedder_of.get(hit.collection_id) == embedder]
        inputs = [embedding_input(hit.title, hit.text) for hit in group]
        vectors = embedding.embed(ctx.rt, embedder, [query, *inputs], urgent=True)
        row = distances.between(vectors[:1], vectors[1:], metric)[0]
        found.update({hit.chunk_id: float(value) for hit, value in zip(group, row, strict=True)})
    return [found.get(hit.chunk_id) for hit in hits]


def _from_cosine(cosine: float | None, metric: Metric) -> float | None:
    if cosine is None:
        return None
    if metric == "dot":
        return cosine
    apart = max(0.0, 1.0 - cosine)
    return apart if metric == "cosine" else float((2.0 * apart) ** 0.5)

"""Endpoints of search and chunking.

POST /api/v1/knowledge/search      words and meaning, filters, score parts, citations
POST /api/v1/semantic/search       the same by one of four distances
POST /api/v1/semantic/chunk        a text in parts
POST /api/knowledge-base/search/   Omeruta's
"""

from __future__ import annotations

import time
from typing import Any

from webapp.core.context import Ctx
from webapp.core.errors import Unavailable
from webapp.embedding.distances import Metric
from webapp.knowledge import search_views as views
from webapp.knowledge.search_schemas import (
    BaseSearchIn,
    BaseSearchOut,
    ChunkIn,
    ChunksOut,
    SearchIn,
    SearchOut,
    SemanticIn,
    SemanticOut,
)
from webapp.knowledge.service import chunks
from webapp.knowledge.service import search as service
from webapp.knowledge.service.search import Hit
from webapp.web.api import Api

READ = "tasks:read"

search_api = Api("knowledge_search", "/api/v1/knowledge", tag="Knowledge")
semantic_api = Api("semantic", "/api/v1/semantic", tag="Semantic")
base_search_api = Api("knowledge_base_search", "/api/knowledge-base", tag="Knowledge base (Omeruta)", dialect="omeruta")
SEARCH_APIS = (search_api, semantic_api, base_search_api)


@search_api.post("/search", auth=READ, body=SearchIn, returns=SearchOut, write=False, errors=(404,))
def search(ctx: Ctx, body: SearchIn) -> Any:
    """The best passages of what you may read, by words and by meaning, each with its scores and its citation."""
    found = service.search(
        ctx, body.query, collections=body.collection_ids, k=body.k, mode=body.mode, filters=body.filters,
        per_document=body.per_document,
    )  # fmt: skip
    return views.found(found)


@base_search_api.post("/search/", auth=READ, body=BaseSearchIn, returns=BaseSearchOut, write=False)
def base_search(ctx: Ctx, body: BaseSearchIn) -> Any:
    """Passages of everything you may read."""
    found = service.search(ctx, body.query, k=body.limit or body.top_k or 10)
    shown = views.found(found)
    return {"query": shown["query"], "count": shown["count"], "results": shown["results"], "notice": shown["notice"],
            "processing_time": round(found.ms / 1000, 4)}  # fmt: skip


# -- semantic --------------------------------------------------------------------------------------------------------


@semantic_api.post("/search", auth=READ, body=SemanticIn, returns=SemanticOut, write=False, errors=(404,))
def semantic_search(ctx: Ctx, body: SemanticIn) -> Any:
    """Passages by meaning: with words (hybrid, the default), or by vectors alone under one of four distances.

    `score` is what orders: the fused score, or for vectors alone the cosine, the product, or 1 / (1 + distance).
    """
    began = time.perf_counter()
    by_vectors = body.mode == "vector" or body.metric != "cosine" or body.threshold is not None
    mode = "vector" if by_vectors else body.mode
    found = service.search(ctx, body.query, collections=body.collection_ids, k=body.limit, mode=mode)
    notice = found.notice
    try:
        apart = chunks.measure(ctx, found.query, found.hits, body.metric)
    except Unavailable as trouble:  # the model went away between the two questions
        apart = [None] * len(found.hits)
        notice = notice or service.Notice("no_model", trouble.message, trouble.suggestion or "")
    results = [views.semantic(hit, distance) for hit, distance in zip(found.hits, apart, strict=True)]
    if by_vectors:
        results = _by_distance(results, found.hits, body.metric, body.threshold)
    return {"search_id": found.event_id, "query": found.query, "mode": mode, "metric": body.metric,
            "results": results, "notice": views.notice(notice),
            "processing_time_ms": round((time.perf_counter() - began) * 1000, 2)}  # fmt: skip


def _by_distance(
    results: list[dict[str, Any]], hits: list[Hit], metric: Metric, threshold: float | None
) -> list[dict[str, Any]]:
    kept = []
    for result, hit in zip(results, hits, strict=True):
        distance = result["distance"]
        if threshold is not None and (hit.vector is None or hit.vector < threshold):
            continue
        if distance is not None and hit.vector is not None:
            result["score"] = round(_score(distance, hit.vector, metric), 4)
        kept.append(result)
    return sorted(kept, key=lambda one: -one["score"])


def _score(distance: float, cosine: float, metric: Metric) -> float:
    return cosine if metric in ("cosine", "dot") else 1.0 / (1.0 + distance)


@semantic_api.post("/chunk", auth=READ, body=ChunkIn, returns=ChunksOut, write=False, errors=(503,))
def chunk(ctx: Ctx, body: ChunkIn) -> Any:
    """Cut a text: at a fixed size, between sentences, where its subject changes, or along its Markdown."""
    began = time.perf_counter()
    pieces = chunks.cut(ctx, body.text, body.strategy, body.chunk_size, body.overlap, tokens=body.unit == "tokens",
                        embedder=body.embedder)  # fmt: skip
    counted = body.unit == "tokens" or body.strategy == "markdown"
    parts = [
        {"index": number, "text": body.text[piece.start : piece.end], "start": piece.start, "end": piece.end,
         "tokens": piece.tokens if counted else None, "heading": piece.heading}
        for number, piece in enumerate(pieces)
    ]  # fmt: skip
    return {"strategy": body.strategy, "unit": "tokens" if counted else "characters", "count": len(parts),
            "chunks": parts, "processing_time_ms": round((time.perf_counter() - began) * 1000, 2)}  # fmt: skip

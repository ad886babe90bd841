"""A search as the API shows it."""

from __future__ import annotations

from typing import Any

from webapp.core.db import iso
from webapp.knowledge.service.search import Found, Hit, Notice


def found(result: Found) -> dict[str, Any]:
    return {"query": result.query, "mode": result.mode, "count": len(result.hits),
            "results": [hit(one) for one in result.hits], "notice": notice(result.notice),
            "took_ms": round(result.ms, 2),
            "timings": {name: round(ms, 2) for name, ms in result.parts.items()}, "search_id": result.event_id}  # fmt: skip


def notice(given: Notice | None) -> dict[str, Any] | None:
    return vars(given) if given is not None else None


def hit(one: Hit) -> dict[str, Any]:
    return {
        "id": str(one.chunk_id), "document_id": one.document_id, "chunk_id": one.chunk_id,
        "version_id": one.version_id, "collection_id": one.collection_id, "title": one.title, "url": one.url,
        "heading": one.heading, "text": one.text, "start": one.start, "end": one.end, "score": _round(one.score),
        "keyword": _round(one.keyword), "vector": _round(one.vector), "fused": _round(one.fused),
        "snippet": one.snippet.text, "marks": one.snippet.marks, "more": one.more, "language": one.language,
        "content_type": one.content_type, "published": one.published, "fetched_at": iso(one.fetched_at),
        "quality": _round(one.quality), "source_id": one.source_id, "citation": one.citation,
    }  # fmt: skip


def semantic(one: Hit, distance: float | None) -> dict[str, Any]:
    return {
        "id": str(one.chunk_id), "score": _round(one.score), "text": one.text, "title": one.title,
        "document_id": one.document_id, "chunk_id": one.chunk_id, "distance": _round(distance),
        "keyword": _round(one.keyword), "vector": _round(one.vector), "fused": _round(one.fused),
        "citation": one.citation,
        "metadata": {"url": one.url, "heading": one.heading, "collection_id": one.collection_id,
                     "version_id": one.version_id, "start": one.start, "end": one.end, "language": one.language,
                     "content_type": one.content_type, "published": one.published,
                     "fetched_at": iso(one.fetched_at), "quality": _round(one.quality)},
    }  # fmt: skip


def _round(value: float | None) -> float | None:
    return round(value, 4) if value is not None else None

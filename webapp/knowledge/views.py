"""Rows of knowledge as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.knowledge.models import Chunk, Citation, Document, DocumentVersion, Source
from webapp.knowledge.service import sources
from webapp.knowledge.service.citations import Opened
from webapp.knowledge.service.collections import Summary

AROUND = 600  # characters shown before and after a quote


def collection(one: Summary) -> dict[str, Any]:
    row = one.collection
    return {
        "id": row.id, "name": row.name, "description": row.description, "access": one.access, "owner": one.owner,
        "everyone": row.everyone, "bundled": row.bundled, "embedder": row.embedder, "building_embedder": row.building_embedder, "dimension": row.dimension,
        "documents": one.documents, "sources": one.sources, "chunks": one.chunks, "pending_chunks": one.pending,
        "words": one.words, "created_at": iso(row.created_at), "updated_at": iso(row.updated_at),
    }  # fmt: skip


def source_list(ctx: Ctx, rows: Sequence[Source]) -> list[dict[str, Any]]:
    """Two queries however many there are."""
    active = sources.active_tasks(ctx, rows)
    found = sources.documents_of(ctx.db, [row.id for row in rows])
    return [_source(row, *sources.shown_state(row, active), *found.get(row.id, (0, None))) for row in rows]


def _source(row: Source, state: str, error: str | None, count: int, document_id: str | None) -> dict[str, Any]:
    last = row.config.get("last") or {}
    return {
        "id": row.id, "collection_id": row.collection_id, "kind": row.kind, "label": row.label, "url": row.url,
        "state": state, "error": error, "outcome": last.get("outcome") if state == "ready" else None,
        "documents": count, "document_id": document_id or last.get("document_id"), "task_id": row.task_id,
        "read_at": iso(row.read_at), "created_at": iso(row.created_at),
    }  # fmt: skip


def document(row: Document) -> dict[str, Any]:
    return {
        "id": row.id, "collection_id": row.collection_id, "source_id": row.source_id, "key": row.key,
        "title": row.title, "url": row.url, "content_type": row.content_type, "language": row.language,
        "author": row.author, "published": row.published, "words": row.words, "chunks": row.chunk_count,
        "pending_chunks": row.pending_chunks, "version_id": row.version_id, "versions": row.version_count,
        "quality": row.quality, "fetched_at": iso(row.fetched_at), "checked_at": iso(row.checked_at),
        "created_at": iso(row.created_at), "updated_at": iso(row.updated_at),
    }  # fmt: skip


def document_full(row: Document, version: DocumentVersion) -> dict[str, Any]:
    return document(row) | {
        "text": version.text, "warnings": version.warnings, "method": version.method, "metadata": row.meta,
        "quality_signals": row.quality_signals,
    }  # fmt: skip


def version(row: DocumentVersion, current_id: str | None, cited: int) -> dict[str, Any]:
    return {"id": row.id, "number": row.number, "title": row.title, "current": row.id == current_id, "cited": cited,
            "method": row.method, "fetched_at": iso(row.fetched_at)}  # fmt: skip


def chunk(row: Chunk) -> dict[str, Any]:
    return {"id": row.id, "position": row.position, "start": row.start, "end": row.end, "tokens": row.tokens,
            "heading": row.heading, "text": row.text, "embedded": row.generation > 0}  # fmt: skip


def citation(row: Citation) -> dict[str, Any]:
    return {
        "id": row.id, "document_id": row.document_id, "version_id": row.version_id, "start": row.start,
        "end": row.end, "quote": row.quote, "claim": row.claim, "verdict": row.verdict, "score": row.score,
        "method": row.method, "task_id": row.task_id, "created_at": iso(row.created_at),
    }  # fmt: skip


def citation_full(found: Opened) -> dict[str, Any]:
    row, text = found.citation, found.version.text
    return citation(row) | {
        "title": found.version.title, "url": found.document.url, "collection_id": found.document.collection_id,
        "fetched_at": iso(found.version.fetched_at), "current": found.current,
        "before": text[max(0, row.start - AROUND) : row.start], "after": text[row.end : row.end + AROUND],
    }  # fmt: skip


def kb_document(row: Document, text: str | None = None, chunks: Sequence[Chunk] | None = None) -> dict[str, Any]:
    """The Omeruta words for a document."""
    found: dict[str, Any] = {
        "id": row.id, "title": row.title, "url": row.url, "source_type": row.content_type, "word_count": row.words,
        "chunk_count": row.chunk_count, "is_processed_for_embeddings": row.pending_chunks == 0,
        "collection_id": row.collection_id, "metadata": row.meta, "quality_score": row.quality,
        "created_at": iso(row.created_at), "updated_at": iso(row.updated_at),
    }  # fmt: skip
    if text is not None:
        found["content"] = found["clean_markdown"] = text
    if chunks is not None:
        found["chunks"] = [
            {"id": one.id, "chunk_index": one.position, "chunk_text": one.text, "start": one.start, "end": one.end,
             "tokens": one.tokens, "heading": one.heading}
            for one in chunks
        ]  # fmt: skip
    return found

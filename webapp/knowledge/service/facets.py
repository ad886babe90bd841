"""What a search can be narrowed to: the languages and sources there are."""

from __future__ import annotations

from sqlalchemy import select

from webapp.core.context import Ctx
from webapp.core.errors import NotFound
from webapp.knowledge.models import Chunk, Collection, Document, Source
from webapp.knowledge.service.collections import may_read

MOST = 100


def languages(ctx: Ctx) -> list[str]:
    """Codes, by the alphabet, of the documents the caller may read."""
    stmt = select(Document.language).join(Collection, Collection.id == Document.collection_id)
    stmt = stmt.where(may_read(ctx.user), Document.language.is_not(None)).distinct().limit(MOST)
    return sorted(code for code in ctx.db.scalars(stmt) if code)


def sources(ctx: Ctx, collection_id: str) -> list[tuple[str, str]]:
    """(id, label) of one collection's sources, newest first; none without a collection."""
    if not collection_id:
        return []
    stmt = select(Source.id, Source.label).join(Collection, Collection.id == Source.collection_id)
    stmt = stmt.where(may_read(ctx.user), Source.collection_id == collection_id[:40]).order_by(Source.id.desc())
    return [(row[0], row[1]) for row in ctx.db.execute(stmt.limit(MOST))]


def passages(ctx: Ctx) -> bool:
    """Whether there is anything to search."""
    mine = select(Collection.id).where(may_read(ctx.user))
    return ctx.db.scalar(select(Chunk.id).where(Chunk.collection_id.in_(mine)).limit(1)) is not None


def title(ctx: Ctx, document_id: str) -> str | None:
    """Of a document the caller may read; None for none."""
    if not document_id:
        return None
    row = _document(ctx, document_id)
    return row.title if row else None


def readable_document(ctx: Ctx, document_id: str) -> Document:
    """Raises NotFound for a stranger's, exactly as for none."""
    row = _document(ctx, document_id)
    if row is None:
        raise NotFound("there is no such document")
    return row


def _document(ctx: Ctx, document_id: str) -> Document | None:
    stmt = select(Document).join(Collection, Collection.id == Document.collection_id)
    return ctx.db.scalar(stmt.where(Document.id == document_id[:40], may_read(ctx.user)))

"""Looking at documents: lists, one with its versions and passages, parts of long texts, removing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import defer

from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, NotFound
from webapp.core.paging import Page, keyset
from webapp.knowledge.models import Chunk, Citation, Collection, Document, DocumentVersion
from webapp.knowledge.service import collections, removal

PART = 40_000  # characters of a long text shown at once
STATES = ("ready", "pending")


@dataclass(frozen=True)
class Part:
    """A stretch of a version's text: `text` begins at character `start`. number counts from 1."""

    text: str
    start: int
    number: int
    total: int


def get(ctx: Ctx, document_id: str) -> Document:
    """A document of a collection the caller may read. Raises NotFound for a stranger's."""
    stmt = select(Document).join(Collection, Collection.id == Document.collection_id)
    row = ctx.db.scalar(stmt.where(Document.id == document_id[:40], collections.may_read(ctx.user)))
    if row is None:
        raise NotFound("there is no such document")
    return row


def list_(
    ctx: Ctx,
    *,
    collection_id: str | None = None,
    source_id: str | None = None,
    q: str | None = None,
    key: str | None = None,
    language: str | None = None,
    state: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Document]:
    """Newest first; of all collections the caller may read when none is named. q: words of title or address."""
    stmt = filtered(ctx, collection_id=collection_id, source_id=source_id, q=q, key=key, language=language, state=state)
    return keyset(ctx.db, stmt, Document.id, cursor=cursor, limit=max(1, min(1000, limit)))


def filtered(ctx: Ctx, *, collection_id: str | None, source_id: str | None = None, q: str | None = None,
             key: str | None = None, language: str | None = None, state: str | None = None) -> Select[Any]:  # fmt: skip
    stmt = select(Document)
    if collection_id:
        stmt = stmt.where(Document.collection_id == collections.get(ctx, collection_id).id)
    else:
        allowed = select(Collection.id).where(collections.may_read(ctx.user))
        stmt = stmt.where(Document.collection_id.in_(allowed))
    if source_id:
        stmt = stmt.where(Document.source_id == source_id[:40])
    if key:
        stmt = stmt.where(Document.key == key[:700])
    if language:
        stmt = stmt.where(Document.language == language[:8])
    if state:
        if state not in STATES:
            raise BadRequest(f"state: use one of {', '.join(STATES)}")
        stmt = stmt.where(Document.pending_chunks > 0 if state == "pending" else Document.pending_chunks == 0)
    if q:
        like = "%" + q[:200].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("\0", "") + "%"
        stmt = stmt.where(or_(Document.title.ilike(like, escape="\\"), Document.url.ilike(like, escape="\\")))
    return stmt


def versions(ctx: Ctx, document: Document) -> list[DocumentVersion]:
    """Newest first, without their texts."""
    stmt = select(DocumentVersion).where(DocumentVersion.document_id == document.id)
    stmt = stmt.options(defer(DocumentVersion.text), defer(DocumentVersion.minhash))
    return list(ctx.db.scalars(stmt.order_by(DocumentVersion.number.desc()).limit(500)))


def version(ctx: Ctx, document: Document, version_id: str | None = None) -> DocumentVersion:
    """One with its text; the current one when none is named. Raises NotFound."""
    stmt = select(DocumentVersion).where(DocumentVersion.document_id == document.id)
    row = ctx.db.scalar(stmt.where(DocumentVersion.id == (version_id or document.version_id or "")[:40]))
    if row is None:
        raise NotFound("there is no such version", suggestion="Old versions are kept for a while, and while cited.")
    return row


def chunks(ctx: Ctx, document: Document, *, after: int = -1, limit: int = 200) -> list[Chunk]:
    """The passages of the current version in their order, from behind position `after`."""
    stmt = select(Chunk).where(Chunk.document_id == document.id, Chunk.version_id == document.version_id)
    return list(ctx.db.scalars(stmt.where(Chunk.position > after).order_by(Chunk.position).limit(min(1000, limit))))


def chunk(ctx: Ctx, document: Document, chunk_id: int) -> Chunk | None:
    """A passage of the current version, if it is (still) one."""
    stmt = select(Chunk).where(Chunk.id == chunk_id, Chunk.document_id == document.id)
    return ctx.db.scalar(stmt.where(Chunk.version_id == document.version_id))


def cited(ctx: Ctx, document: Document) -> dict[str, int]:
    """version id -> how many citations of the caller point into it."""
    stmt = select(Citation.version_id, func.count()).where(Citation.document_id == document.id)
    if ctx.user.id is not None:
        stmt = stmt.where(Citation.owner_id == ctx.user.id)
    return {row[0]: int(row[1]) for row in ctx.db.execute(stmt.group_by(Citation.version_id))}


def part(text: str, *, number: int = 1, around: int | None = None) -> Part:
    """Cut at blank lines, so that no paragraph is torn: the part of that number, or the one with character `around`."""
    borders = _borders(text)
    if around is not None:
        number = next((n for n, end in enumerate(borders[1:], 1) if around < end), len(borders) - 1)
    number = max(1, min(number, len(borders) - 1))
    start, end = borders[number - 1], borders[number]
    return Part(text[start:end], start, number, len(borders) - 1)


def _borders(text: str) -> list[int]:
    borders = [0]
    while len(text) - borders[-1] > PART * 3 // 2:
        near = borders[-1] + PART
        cut = max(text.rfind("\n\n", borders[-1] + PART // 2, near) + 2, borders[-1] + PART // 2)
        borders.append(cut if cut > borders[-1] + PART // 2 else near)
    borders.append(len(text))
    return borders


def remove(ctx: Ctx, document_id: str) -> None:
    """Delete a document with its versions and the citations into it."""
    row = get(ctx, document_id)
    collections.writable(ctx, row.collection_id)
    removal.remove_documents(ctx.db, [row.id])


def remove_many(ctx: Ctx, collection_id: str, ids: list[str]) -> int:
    """Delete documents of one collection; how many were there."""
    collection = collections.writable(ctx, collection_id)
    wanted = list(dict.fromkeys(one[:40] for one in ids))[: removal.AT_ONCE]
    stmt = select(Document.id).where(Document.collection_id == collection.id, Document.id.in_(wanted))
    found = list(ctx.db.scalars(stmt))
    removal.remove_documents(ctx.db, found)
    return len(found)

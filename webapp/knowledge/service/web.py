"""Documents that are pages of the web, as the crawler needs them: what a conditional request may say, and what was
found unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Select, func, select, update

from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import NotFound
from webapp.knowledge.models import Collection, Document, DocumentVersion, Source
from webapp.knowledge.service import sources
from webapp.knowledge.service.collections import may_read

if TYPE_CHECKING:
    from webapp.runtime import Runtime


class Known(NamedTuple):
    document_id: str
    key: str
    etag: str | None
    last_modified: str | None


def known(rt: Runtime, collection_id: str, limit: int = 50_000) -> list[Known]:
    """The pages a collection has."""
    columns = (Document.id, Document.key, Document.etag, Document.last_modified)
    stmt = select(*columns).where(Document.collection_id == collection_id, Document.url.is_not(None))
    with rt.unit(write=False) as db:
        return [Known(*row) for row in db.execute(stmt.order_by(Document.id).limit(limit))]


def confirm(rt: Runtime, document_ids: Sequence[str]) -> None:
    """Asked, and not changed."""
    if document_ids:
        with rt.unit() as db:
            db.execute(update(Document).where(Document.id.in_(document_ids)).values(checked_at=utcnow()))


def titles(rt: Runtime, document_ids: Sequence[str]) -> dict[str, str]:
    """Document -> its title, of those that are there."""
    with rt.unit(write=False) as db:
        rows = db.execute(select(Document.id, Document.title).where(Document.id.in_(list(document_ids))))
        return {row[0]: row[1] for row in rows}


def read_at(rt: Runtime, version_id: str | None, moment: datetime | None) -> str | None:
    """ "new" or "changed" when that version was made of what was fetched at `moment`, else None."""
    stmt = select(DocumentVersion.fetched_at, DocumentVersion.number).where(DocumentVersion.id == version_id)
    with rt.unit(write=False) as db:
        row = db.execute(stmt).first()
    if row is None or moment is None or abs((row.fetched_at - moment).total_seconds()) > 0.001:
        return None
    return "new" if row.number == 1 else "changed"


def addresses(ctx: Ctx, document_ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """(document id, collection id, url) of pages the caller may read; ids of others are left out."""
    stmt = _readable(ctx).with_only_columns(Document.id, Document.collection_id, Document.url)
    return [(row[0], row[1], row[2] or "") for row in ctx.db.execute(stmt.where(Document.id.in_(document_ids)))]


def pages(ctx: Ctx, start: int, limit: int, *, ids: Any = None, collection_id: str | None = None,
          embedded: bool | None = None) -> tuple[int, list[Document]]:  # fmt: skip
    """(how many, some of them), newest first. ids: a query for the ids wanted. embedded: wholly in the index or not."""
    stmt = _readable(ctx)
    if ids is not None:
        stmt = stmt.where(Document.id.in_(ids))
    if collection_id is not None:
        stmt = stmt.where(Document.collection_id == collection_id)
    if embedded is not None:
        stmt = stmt.where(Document.pending_chunks == 0 if embedded else Document.pending_chunks > 0)
    count = ctx.db.scalar(stmt.with_only_columns(func.count())) or 0
    return count, list(ctx.db.scalars(stmt.order_by(Document.id.desc()).offset(start).limit(limit)))


def known_among(ctx: Ctx, addresses: Sequence[str]) -> set[str]:
    """Those of the addresses that a collection the caller may read has as a page."""
    found: set[str] = set()
    for start in range(0, len(addresses), 500):
        some = addresses[start : start + 500]
        stmt = _readable(ctx).with_only_columns(Document.url, Document.key)
        for url, key in ctx.db.execute(stmt.where(Document.url.in_(some) | Document.key.in_(some))):
            found |= {url or "", key}
    return found


def texts(ctx: Ctx, version_ids: Sequence[str]) -> dict[str, str]:
    """version id -> its text, of documents the caller may read."""
    mine = select(DocumentVersion.id, DocumentVersion.text).join(Document, Document.id == DocumentVersion.document_id)
    of = mine.join(Collection, Collection.id == Document.collection_id).where(DocumentVersion.id.in_(version_ids))
    return {row[0]: row[1] for row in ctx.db.execute(of.where(may_read(ctx.user)))}


def page(ctx: Ctx, document_id: str) -> tuple[Document, DocumentVersion | None]:
    """A page with its current text. Raises NotFound for a stranger's, exactly as for none."""
    row = ctx.db.scalar(_readable(ctx).where(Document.id == document_id[:40]))
    if row is None:
        raise NotFound("there is no such page", code="page_not_found")
    return row, ctx.db.get(DocumentVersion, row.version_id) if row.version_id else None


def _readable(ctx: Ctx) -> Select[Any]:
    mine = select(Document).join(Collection, Collection.id == Document.collection_id)
    return mine.where(Document.url.is_not(None), may_read(ctx.user))


# -- sources that are crawled ----------------------------------------------------------------------------------------


def source(ctx: Ctx, source_id: str) -> Source:
    """A source the caller may read anew. Raises NotFound, Forbidden."""
    return sources.writable(ctx, source_id)

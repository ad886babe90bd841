"""Citations: the exact words something stands on. `quote` is `version.text[start:end]`, for as long as it exists."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, NotFound
from webapp.core.paging import Page, keyset
from webapp.knowledge.models import Citation, Collection, Document, DocumentVersion
from webapp.knowledge.service import collections

LONGEST = 20_000  # characters of a quote


@dataclass(frozen=True)
class Opened:
    """A citation with the copy it points into; `current` says whether the document still reads like that."""

    citation: Citation
    document: Document
    version: DocumentVersion
    collection: Collection

    @property
    def current(self) -> bool:
        return self.document.version_id == self.version.id


def make(
    db: Session,
    owner_id: str | None,
    version_id: str,
    start: int,
    end: int,
    claim: str | None = None,
    task_id: str | None = None,
) -> Citation:
    """Point at `text[start:end]` of a version. The caller has made sure that the owner may read it.

    Raises NotFound when the version is gone, BadRequest for a span that is not inside its text.
    """
    # Pruning locks what it drops: it comes before this look, or waits for the commit and sees the citation.
    version = db.scalar(select(DocumentVersion).where(DocumentVersion.id == version_id[:40]).with_for_update(read=True))
    if version is None:
        raise NotFound("that version of the document is not there any more")
    if not 0 <= start < end <= len(version.text) or end - start > LONGEST:
        raise BadRequest(f"the span must lie inside the text and have at most {LONGEST:,} characters", code="bad_span")
    row = Citation(owner_id=owner_id, document_id=version.document_id, version_id=version.id, start=start, end=end,
                   quote=version.text[start:end], claim=claim[:4000] if claim else None, task_id=task_id)  # fmt: skip
    db.add(row)
    db.flush()
    return row


def cite(ctx: Ctx, document_id: str, start: int, end: int, *, version_id: str | None = None, claim: str | None = None,
         task_id: str | None = None) -> Citation:  # fmt: skip
    """The same by hand: a person or program marks words of a document it may read."""
    from webapp.knowledge.service import browse

    document = browse.get(ctx, document_id)
    version = browse.version(ctx, document, version_id)
    return make(ctx.db, ctx.user.id, version.id, start, end, claim, task_id)


def open_(ctx: Ctx, citation_id: str) -> Opened:
    """The caller's citation with its copy. Raises NotFound for a stranger's, and when they may not read it any more."""
    stmt = (
        select(Citation, Document, DocumentVersion, Collection)
        .join(Document, Document.id == Citation.document_id)
        .join(DocumentVersion, DocumentVersion.id == Citation.version_id)
        .join(Collection, Collection.id == Document.collection_id)
        .where(Citation.id == citation_id[:40], collections.may_read(ctx.user))
    )
    if ctx.user.id is not None or not ctx.user.is_admin:
        mine = Citation.owner_id == ctx.user.id if ctx.user.id is not None else Citation.owner_id.is_(None)
        stmt = stmt.where(mine)
    row = ctx.db.execute(stmt).first()
    if row is None:
        raise NotFound("there is no such citation")
    return Opened(*row)


def list_(
    ctx: Ctx, *, document_id: str | None = None, task_id: str | None = None, cursor: str | None = None, limit: int = 50
) -> Page[Citation]:
    """The caller's, newest first, of what they may still read."""
    allowed = select(Collection.id).where(collections.may_read(ctx.user))
    stmt = select(Citation).join(Document, Document.id == Citation.document_id)
    stmt = stmt.where(Document.collection_id.in_(allowed))
    if ctx.user.id is not None:
        stmt = stmt.where(Citation.owner_id == ctx.user.id)
    elif not ctx.user.is_admin:
        stmt = stmt.where(Citation.owner_id.is_(None))
    if document_id:
        stmt = stmt.where(Citation.document_id == document_id[:40])
    if task_id:
        stmt = stmt.where(Citation.task_id == task_id[:40])
    return keyset(ctx.db, stmt, Citation.id, cursor=cursor, limit=max(1, min(200, limit)))


def of_task(db: Session, owner_id: str | None, task_id: str) -> list[Citation]:
    """What a task of this owner has cited so far, oldest first."""
    mine = Citation.owner_id == owner_id if owner_id is not None else Citation.owner_id.is_(None)
    return list(db.scalars(select(Citation).where(Citation.task_id == task_id, mine).order_by(Citation.id)))


def remove(ctx: Ctx, citation_id: str) -> None:
    ctx.db.delete(open_(ctx, citation_id).citation)
    ctx.db.flush()

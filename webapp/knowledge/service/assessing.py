"""Quality and freshness of stored documents: measured by tasks, kept in the rows, explained to who may read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import utcnow
from webapp.core.errors import AppError, NotFound
from webapp.core.paging import Page, keyset
from webapp.knowledge import freshness as fresh
from webapp.knowledge import minhash
from webapp.knowledge.models import Collection, Document, DocumentVersion
from webapp.knowledge.quality import assess
from webapp.knowledge.service import collections

if TYPE_CHECKING:
    from webapp.core.context import Actor
    from webapp.runtime import Runtime

BATCH = 10  # documents of one child process and one transaction
COMPARED = 2000  # newest documents of a collection that one is compared with
TEXT = 400_000  # characters that are sent to the child


# -- quality: measuring ----------------------------------------------------------------------------------------------


def measure(
    rt: Runtime,
    limit: int,
    *,
    collection_id: str | None = None,
    document_ids: list[str] | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """Assess up to `limit` documents, those never assessed first, then those whose assessment is oldest.

    A row for each: document_id, title, score. Safe to repeat: what a killed run assessed is not the oldest any more.
    """
    with rt.unit(write=False) as db:
        ids = list(db.scalars(_wanted(collection_id, document_ids).limit(limit)))
    found: list[dict[str, Any]] = []
    for start in range(0, len(ids), BATCH):
        told(start, len(ids))
        found += _measure_batch(rt, ids[start : start + BATCH], cancelled)
    return found


def _wanted(collection_id: str | None, document_ids: list[str] | None) -> Any:
    stmt = select(Document.id).join(Collection, Collection.id == Document.collection_id)
    stmt = stmt.where(Document.version_id.is_not(None), Collection.removed_at.is_(None))
    if document_ids is not None:
        return stmt.where(Document.id.in_(document_ids)).order_by(Document.id)
    if collection_id is not None:
        stmt = stmt.where(Document.collection_id == collection_id, Document.assessed_at.is_(None))
    return stmt.order_by(Document.assessed_at.is_not(None), Document.assessed_at, Document.id)


def _measure_batch(rt: Runtime, ids: list[str], cancelled: Callable[[], bool]) -> list[dict[str, Any]]:
    from webapp.core.sandbox import run_in_child

    with rt.unit(write=False) as db:
        given = [_given(db, row, version) for row, version in _rows(db, ids)]
    if not given:
        return []
    scores: list[dict[str, Any]] = run_in_child(
        "webapp.knowledge.service.assessing:in_child", [one["of"] for one in given], timeout=120.0, cpu_seconds=60,
        cancelled=cancelled,
    )  # fmt: skip
    found = []
    with rt.unit() as db:
        for one, score in zip(given, scores, strict=True):
            # Only if the text is still the one that was judged.
            db.execute(
                update(Document)
                .where(Document.id == one["id"], Document.version_id == one["version_id"])
                .values(quality=score["score"], quality_signals=score, assessed_at=utcnow())
            )
            found.append({"document_id": one["id"], "title": one["title"], "score": score["score"]})
    return found


def _rows(db: Session, ids: list[str]) -> list[tuple[Document, DocumentVersion]]:
    stmt = select(Document, DocumentVersion).join(DocumentVersion, DocumentVersion.id == Document.version_id)
    return [(row[0], row[1]) for row in db.execute(stmt.where(Document.id.in_(ids)).order_by(Document.id))]


def _given(db: Session, row: Document, version: DocumentVersion) -> dict[str, Any]:
    other, similarity = _most_similar(db, row, version)
    of = {"text": version.text[:TEXT], "content_type": row.content_type, "language": row.language,
          "published": row.published, "meta": (row.meta or {}) | {"words": row.words}, "warnings": version.warnings,
          "duplicate_of": other, "similarity": similarity}  # fmt: skip
    return {"id": row.id, "version_id": version.id, "title": row.title, "of": of}


def _most_similar(db: Session, row: Document, version: DocumentVersion) -> tuple[str | None, float]:
    """By the signatures that the crawl kept; documents without one are not compared."""
    if not version.minhash:
        return None, 0.0
    stmt = select(Document.title, DocumentVersion.minhash).join(
        DocumentVersion, DocumentVersion.id == Document.version_id
    )
    others = db.execute(
        stmt.where(Document.collection_id == row.collection_id, Document.id != row.id,
                   DocumentVersion.minhash.is_not(None)).order_by(Document.id.desc()).limit(COMPARED)
    )  # fmt: skip
    best: tuple[str | None, float] = (None, 0.0)
    for title, signature in others:
        if signature and (similarity := minhash.similarity(version.minhash, signature)) > best[1]:
            best = (title, round(similarity, 3))
    return best


def in_child(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [assess(**one).as_json() for one in given]


# -- quality: looking ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Overview:
    """How the caller's documents are spread over five classes of quality."""

    documents: int
    assessed: int
    average: float | None
    classes: list[int]


def overview(ctx: Ctx) -> Overview:
    column = Document.quality
    bounds = [(low / 5, (low + 1) / 5 if low < 4 else 1.01) for low in range(5)]
    counts = [func.count().filter(column >= low, column < high) for low, high in bounds]
    row = ctx.db.execute(
        select(func.count(Document.id), func.count(column), func.avg(column), *counts).where(_readable(ctx))
    ).one()
    return Overview(row[0], row[1], round(float(row[2]), 3) if row[2] is not None else None, [int(n) for n in row[3:]])


@dataclass(frozen=True)
class State:
    """How good and how fresh the documents of one collection are. pages: those that have a live page."""

    assessed: int
    average: float | None
    pages: int
    stale: int


def state_of(ctx: Ctx, collection_id: str) -> State:
    old = Document.url.is_not(None) & _old(fresh.HALF)
    pages, stale = func.count(Document.url), func.count().filter(old)
    stmt = select(func.count(Document.quality), func.avg(Document.quality), pages, stale)
    row = ctx.db.execute(stmt.where(Document.collection_id == collection_id, _readable(ctx))).one()
    return State(row[0], float(row[1]) if row[1] is not None else None, row[2], row[3])


def _readable(ctx: Ctx) -> Any:
    return Document.collection_id.in_(select(Collection.id).where(collections.may_read(ctx.user)))


def assessments(ctx: Ctx, *, below: float | None = None, cursor: str | None = None, limit: int = 50) -> Page[Document]:
    """Assessed documents the caller may read, newest first; `below`: only those with a lower score."""
    stmt = select(Document).where(_readable(ctx), Document.assessed_at.is_not(None))
    if below is not None:
        stmt = stmt.where(Document.quality < below)
    return keyset(ctx.db, stmt, Document.id, cursor=cursor, limit=limit)


def quality_of(ctx: Ctx, document_id: str) -> tuple[Document, dict[str, Any]]:
    """The document and its assessment, made now if it has none yet. Raises NotFound for a stranger's."""
    row = ctx.db.scalar(select(Document).where(Document.id == document_id[:40], _readable(ctx)))
    if row is None or row.version_id is None:
        raise NotFound("there is no such document")
    if row.quality_signals is not None:
        return row, row.quality_signals
    version = ctx.db.get(DocumentVersion, row.version_id)
    if version is None:
        raise NotFound("there is no such document")
    return row, in_child([_given(ctx.db, row, version)["of"]])[0]


# -- freshness -------------------------------------------------------------------------------------------------------


def freshness_of(row: Document, now: datetime | None = None) -> fresh.Freshness:
    checked = row.checked_at or row.fetched_at or row.created_at
    return fresh.freshness(now or utcnow(), row.created_at, checked, max(0, row.version_count - 1))


def stale(ctx: Ctx, *, days: float = fresh.HALF, limit: int = 50) -> list[Document]:
    """Pages the caller may read that were not compared with their source for `days`, the longest first."""
    return list(ctx.db.scalars(_stale(days).where(_readable(ctx)).limit(limit)))


def stale_count(ctx: Ctx, days: float = fresh.HALF) -> int:
    stmt = select(func.count()).select_from(_stale(days).where(_readable(ctx)).subquery())
    return int(ctx.db.scalar(stmt) or 0)


def _stale(days: float) -> Any:
    return select(Document).where(Document.url.is_not(None), _old(days)).order_by(Document.checked_at, Document.id)


def _old(days: float) -> Any:
    """Not compared with its source for so many days."""
    return or_(Document.checked_at.is_(None), Document.checked_at < utcnow() - timedelta(days=days))


def refresh(rt: Runtime, days: float, limit: int, note: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Have the `limit` pages that were not compared for longest read again: one crawl for each collection (M031).

    They count as checked from now, so that a second run takes others; the crawl writes the true time.
    Returns stale_count, refresh_queued, task_ids.
    """
    with rt.unit() as db:
        there = Collection.removed_at.is_(None), ~Collection.bundled
        stmt = _stale(days).join(Collection, Collection.id == Document.collection_id).where(*there)
        total = int(db.scalar(select(func.count()).select_from(stmt.subquery())) or 0)
        rows = list(db.scalars(stmt.limit(limit)))
        wanted: dict[str, list[Document]] = {}
        for row in rows:
            wanted.setdefault(row.collection_id, []).append(row)
        owners = {one.id: one.owner_id for one in db.scalars(select(Collection).where(Collection.id.in_(wanted)))}
    tasks, queued = [], 0
    for collection_id, documents in wanted.items():
        try:
            tasks.append(_read_again(rt, owners.get(collection_id), collection_id, documents))
            queued += len(documents)
        except AppError as error:  # an address that is refused by now, a collection that went away
            note(f"{len(documents)} pages were not queued: {error.message}")
    return {"stale_count": total, "refresh_queued": queued, "task_ids": tasks}


def _read_again(rt: Runtime, owner_id: str | None, collection_id: str, documents: list[Document]) -> str:
    from dataclasses import replace

    from webapp.tasks import service as tasks

    urls = [row.url for row in documents if row.url]
    params = {"urls": urls, "collection_id": collection_id, "read_as": "page", "max_depth": 0, "max_pages": len(urls),
              "max_hosts": 100, "name": f"Refresh {len(urls)} pages"}  # fmt: skip
    owner: Actor = replace(SYSTEM, id=owner_id)
    with rt.unit() as db:
        ctx = Ctx(rt, db, owner, request_id="freshness")
        started = tasks.start(ctx, "crawl.site", params, title=f"Refresh {len(urls)} pages")
        db.execute(update(Document).where(Document.id.in_([row.id for row in documents])).values(checked_at=utcnow()))
        return str(started["id"])

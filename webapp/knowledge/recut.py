"""Cutting a collection anew for another embedder, whose window or tokens may be others.

The new passages lie in `chunk_drafts`, with ids of their own from the numbers of `chunks`, while the old ones serve
both sides of the search. When all of them have their vector, the new set serves and the drafts take the places of the
old passages, a few documents at a time: search finds a passage in either table. A citation names a version and a span
of its text, which no cutting touches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, func, insert, literal_column, select, text, update

from webapp.core.errors import NoModel
from webapp.knowledge.models import Chunk, ChunkDraft, Collection, Document, DocumentVersion, VectorRemoval

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from webapp.knowledge.embed import Plan, Told
    from webapp.knowledge.service.pieces import Cutter, Piece
    from webapp.runtime import Runtime

UNIT = 20  # documents of one transaction
COLUMNS = [column.key for column in ChunkDraft.__table__.columns]


def replaced() -> ColumnElement[bool]:
    """A condition on Chunk: drafts of the same version wait to take its place."""
    return select(ChunkDraft.id).where(ChunkDraft.version_id == Chunk.version_id).exists()


def left(db: Session, collection_id: str) -> bool:
    return db.scalar(select(ChunkDraft.id).where(ChunkDraft.collection_id == collection_id).limit(1)) is not None


def discard(db: Session, collection_id: str) -> None:
    """Another embedder was chosen meanwhile; the set with their vectors goes as a whole."""
    db.execute(delete(ChunkDraft).where(ChunkDraft.collection_id == collection_id))


# -- cutting ---------------------------------------------------------------------------------------------------------


def recut(rt: Runtime, plan: Plan, told: Told) -> int:
    """Drafts for each document that `plan.embedder` cuts otherwise; how many documents. Safe to repeat.

    Raises NoModel where that is not there: its window would be a guess.
    """
    from webapp.embedding import service as embedding
    from webapp.knowledge.service.pieces import Cutter

    info = embedding.info(rt, plan.embedder)
    if not info.available:
        raise NoModel(info.missing or f"The embedder {info.label} is not there.", suggestion=info.suggestion)
    cutter = Cutter(rt, plan.embedder)
    number = 0
    for documents in _documents(rt, plan):
        told.check()
        cut = [(row, pieces) for row in documents if (pieces := _otherwise(rt, cutter, row)) is not None]
        if cut and not _keep(rt, plan, cut):
            break
        number += len(cut)
    return number


def _documents(rt: Runtime, plan: Plan) -> Iterator[Sequence[Any]]:
    """Those without drafts, a few at a time."""
    drafted = select(ChunkDraft.id).where(ChunkDraft.document_id == Document.id).exists()
    columns = select(Document.id, Document.version_id, Document.title)
    stmt = columns.where(Document.collection_id == plan.collection_id, Document.version_id.is_not(None), ~drafted)
    last = ""
    while True:
        with rt.unit(write=False) as db:
            rows = db.execute(stmt.where(Document.id > last).order_by(Document.id).limit(UNIT)).all()
        if not rows:
            return
        last = rows[-1].id
        yield rows


def _otherwise(rt: Runtime, cutter: Cutter, row: Any) -> list[tuple[Piece, str]] | None:
    """(piece, its words) of a document, or None when they are the passages it has."""
    spans = select(Chunk.start, Chunk.end).where(Chunk.version_id == row.version_id).order_by(Chunk.position)
    with rt.unit(write=False) as db:
        whole = db.scalar(select(DocumentVersion.text).where(DocumentVersion.id == row.version_id))
        have = [(one[0], one[1]) for one in db.execute(spans)]
    if whole is None:
        return None
    pieces = cutter.cut(whole)
    if have == [(piece.start, piece.end) for piece in pieces]:
        return None
    return [(piece, whole[piece.start : piece.end]) for piece in pieces]


def _keep(rt: Runtime, plan: Plan, cut: list[tuple[Any, list[tuple[Piece, str]]]]) -> bool:
    """Store drafts of what is still as it was read; False when another embedder was chosen meanwhile."""
    from webapp.knowledge.embed import count_pending

    wanted = [row.id for row, _ in cut]
    with rt.unit() as db:
        held = db.scalar(select(Collection).where(Collection.id == plan.collection_id).with_for_update())
        if held is None or held.building != plan.target:
            return False
        stmt = select(Document.id, Document.version_id).where(Document.id.in_(wanted))
        now = {one[0]: one[1] for one in db.execute(stmt)}
        have = set(db.scalars(select(ChunkDraft.document_id).where(ChunkDraft.document_id.in_(wanted))))
        rows = [
            _draft(plan, row, position, piece, words)
            for row, pieces in cut if now.get(row.id) == row.version_id and row.id not in have
            for position, (piece, words) in enumerate(pieces)
        ]  # fmt: skip
        if rows:
            for number, draft in zip(_numbers(db, len(rows)), rows, strict=True):
                draft["id"] = number
            db.execute(insert(ChunkDraft), rows)
            count_pending(db, plan.target, Document.id.in_(wanted))
    return True


def _draft(plan: Plan, row: Any, position: int, piece: Piece, words: str) -> dict[str, Any]:
    return {"collection_id": plan.collection_id, "document_id": row.id, "version_id": row.version_id,
            "position": position, "start": piece.start, "end": piece.end, "tokens": piece.tokens, "title": row.title,
            "heading": piece.heading[:500], "text": words, "generation": 0}  # fmt: skip


def _numbers(db: Session, count: int) -> list[int]:
    """Ids that no passage has had or will have: the vector index knows passages by nothing else."""
    if db.get_bind().dialect.name == "postgresql":
        drawn = "SELECT nextval(pg_get_serial_sequence('chunks', 'id')) FROM generate_series(1, :count)"
        return [int(one) for one in db.scalars(text(drawn), {"count": count})]
    db.execute(text("INSERT INTO sqlite_sequence (name, seq) SELECT 'chunks', 0 WHERE NOT EXISTS"
                    " (SELECT 1 FROM sqlite_sequence WHERE name = 'chunks')"))  # fmt: skip
    db.execute(text("UPDATE sqlite_sequence SET seq = seq + :count WHERE name = 'chunks'"), {"count": count})
    last = int(db.execute(text("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'")).scalar_one())
    return list(range(last - count + 1, last + 1))


# -- changing places -------------------------------------------------------------------------------------------------


def settle(rt: Runtime, collection_id: str) -> None:
    """Put the drafts of a set that serves in the places of the old passages. Safe to repeat and to break off."""
    while True:
        with rt.unit() as db:
            row = db.scalar(select(Collection).where(Collection.id == collection_id).with_for_update())
            if row is None or row.building is not None:
                return
            of = select(ChunkDraft.document_id).where(ChunkDraft.collection_id == collection_id)
            ids = list(db.scalars(of.distinct().order_by(ChunkDraft.document_id).limit(UNIT)))
            if not ids:
                return
            _change_places(db, ids, row.generation)


def _change_places(db: Session, ids: list[str], generation: int) -> None:
    old, new = Chunk.document_id.in_(ids), ChunkDraft.document_id.in_(ids)
    early = select(Chunk.id, Chunk.collection_id).where(old, Chunk.generation >= generation)
    db.execute(insert(VectorRemoval).from_select(["chunk_id", "collection_id"], early))
    db.execute(delete(Chunk).where(old))
    db.execute(insert(Chunk).from_select(COLUMNS, select(*(getattr(ChunkDraft, name) for name in COLUMNS)).where(new)))
    db.execute(delete(ChunkDraft).where(new))
    there = select(func.count(literal_column("*"))).select_from(Chunk).where(Chunk.document_id == Document.id)
    counted = there.correlate(Document).scalar_subquery()
    db.execute(update(Document).where(Document.id.in_(ids)).values(chunk_count=counted)
               .execution_options(synchronize_session=False))  # fmt: skip

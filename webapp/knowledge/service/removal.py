"""Emptying what was deleted, in short units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from webapp.knowledge.models import Collection, Document, VectorRemoval
from webapp.knowledge.service.documents import forget_chunks
from webapp.knowledge.vectors import IndexTrouble, parse_name

if TYPE_CHECKING:
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

UNIT = 100
AT_ONCE = 2000  # documents removed within a request


def empty(rt: Runtime, collection_id: str, told: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Delete a collection marked as removed with all it holds; how many documents that were. Safe to repeat.

    One statement for everything would hold SQLite's only writer for half a minute on 100,000 chunks.
    """
    of = Document.collection_id == collection_id
    with rt.unit(write=False) as db:
        marked = db.scalar(select(Collection.removed_at).where(Collection.id == collection_id)) is not None
        total = int(db.scalar(select(func.count()).where(of)) or 0)
    done = 0
    while marked:
        told(done, total)
        with rt.unit() as db:
            ids = list(db.scalars(select(Document.id).where(of).order_by(Document.id).limit(UNIT)))
            if not ids:
                # Its vectors go with the whole index; there is nobody left to take single ones out of it.
                db.execute(delete(VectorRemoval).where(VectorRemoval.collection_id == collection_id))
                # The row of the bundled one stays, so that the next start does not bring it back.
                db.execute(delete(Collection).where(Collection.id == collection_id, ~Collection.bundled))
                break
            remove_documents(db, ids)
        done += len(ids)
    if marked:
        _drop_vectors(rt, collection_id)
    return done


def _drop_vectors(rt: Runtime, collection_id: str) -> None:
    try:
        for name in rt.vectors.names():
            if (parse_name(name) or ("", 0))[0] == collection_id:
                rt.vectors.drop(name)
    except IndexTrouble as exc:
        log.info("the vectors of a removed collection stay until the next check of the index: %s", exc)


def remove_documents(db: Session, ids: Sequence[str]) -> None:
    """Documents with versions, chunks and citations; their vectors are noted for removal."""
    for start in range(0, len(ids), UNIT):
        some = list(ids[start : start + UNIT])
        forget_chunks(db, some)
        db.execute(delete(Document).where(Document.id.in_(some)))

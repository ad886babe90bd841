"""Emptying what was deleted, in short units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from webapp.knowledge.models import Collection, Document, VectorRemoval
from webapp.knowledge.service.documents import forget_chunks

if TYPE_CHECKING:
    from webapp.runtime import Runtime

UNIT = 100


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
                db.execute(delete(Collection).where(Collection.id == collection_id))
                break
            forget_chunks(db, ids)
            db.execute(delete(Document).where(Document.id.in_(ids)))
        done += len(ids)
    return done

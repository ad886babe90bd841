"""The half-hourly round: documents that nobody embedded, vectors that nobody took out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from webapp.core.errors import Conflict
from webapp.knowledge.embed import Told, drop_orphans, embed_collection
from webapp.knowledge.models import Document, VectorRemoval
from webapp.knowledge.vectors import IndexTrouble

if TYPE_CHECKING:
    from webapp.runtime import Runtime


def embed_pending(rt: Runtime, told: Told, limit: int, warn: Callable[[str], None]) -> dict[str, Any]:
    """The oldest `limit` documents without vectors, whatever forgot them; and what else was left behind.

    A collection that cannot be embedded is told by `warn` and neither stops the others nor takes their places.
    """
    counts = {"documents": 0, "chunks": 0, "removed": 0, "failed": 0, "dropped": 0}
    tried: set[str] = set()
    while round_ := _forgotten(rt, tried, limit - counts["documents"]):
        for collection_id, ids in round_.items():
            told.progress(
                min(99, 100 * counts["documents"] / limit), f"{counts['documents']} of {limit} documents at most"
            )
            tried.add(collection_id)
            try:
                done = embed_collection(rt, collection_id, told, documents=ids)
            except _troubles() as error:
                counts["failed"] += 1
                warn(f"{collection_id}: {error.message}")
                continue
            counts["documents"] += len(ids)
            counts["chunks"] += done["chunks"]
            counts["removed"] += done["removed"]
    try:
        counts["dropped"] = drop_orphans(rt)
    except IndexTrouble as error:
        warn(error.message)
    return counts


def _forgotten(rt: Runtime, tried: set[str], limit: int) -> dict[str, list[str]]:
    """collection -> documents to embed, of collections not tried yet; no documents where only vectors have to go."""
    found: dict[str, list[str]] = {}
    with rt.unit(write=False) as db:
        waiting = select(Document.collection_id, Document.id).where(Document.pending_chunks > 0)
        rest = waiting.where(Document.collection_id.not_in(tried)).order_by(Document.id).limit(max(0, limit))
        for collection_id, document_id in db.execute(rest):
            found.setdefault(collection_id, []).append(document_id)
        removals = select(VectorRemoval.collection_id).where(VectorRemoval.collection_id.not_in(tried)).distinct()
        for collection_id in db.scalars(removals):
            found.setdefault(collection_id, [])
    return found


def _troubles() -> tuple[type[Any], ...]:
    from webapp.core.errors import Unavailable, Upstream

    return Unavailable, Upstream, Conflict

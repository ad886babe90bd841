"""Asking for new chunks to be embedded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from webapp.core.context import SYSTEM, Ctx
from webapp.core.errors import NotFound
from webapp.knowledge.models import Document

if TYPE_CHECKING:
    from webapp.runtime import Runtime

KIND = "knowledge.embed"


def request(rt: Runtime, collection_id: str) -> str | None:
    """Have the collection's new chunks embedded: the id of the task, or None if one waits or there is nothing to do."""
    from webapp.tasks import service as tasks
    from webapp.tasks.kinds import kinds

    try:
        kinds.get(KIND)
    except NotFound:
        return None
    params = {"collection_id": collection_id}
    with rt.unit() as db:
        todo = select(Document.id).where(Document.collection_id == collection_id, Document.pending_chunks > 0)
        if db.scalar(todo.limit(1)) is None or tasks.waits(db, KIND, params):
            return None
        return str(tasks.start(Ctx(rt, db, SYSTEM), KIND, params)["id"])

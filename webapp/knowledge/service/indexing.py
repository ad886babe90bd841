"""What follows when documents were stored, without a further request: embedding, and a look at their quality."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

if TYPE_CHECKING:
    from webapp.runtime import Runtime

QUALITY = "maintenance.quality"


def request(rt: Runtime, collection_id: str) -> str | None:
    """Have the collection's new chunks embedded: the id of the task that does it; None if there is nothing to do."""
    from webapp.knowledge import embed

    return embed.request(rt, collection_id)


def assess(rt: Runtime, collection_id: str) -> str | None:
    """Have the documents measured that were not yet: the id of the task, or None if one waits already."""
    from webapp.core.context import SYSTEM, Ctx
    from webapp.knowledge.models import Collection, Document
    from webapp.tasks import service as tasks

    params = {"collection_id": collection_id, "limit": 1000}
    with rt.unit() as db:
        row = db.get(Collection, collection_id)
        of = select(Document.id).where(Document.collection_id == collection_id, Document.assessed_at.is_(None))
        if row is None or db.scalar(of.limit(1)) is None or tasks.waiting(db, QUALITY, params):
            return None
        owner = replace(SYSTEM, id=row.owner_id)
        ctx = Ctx(rt, db, owner, request_id="quality")
        return str(tasks.start(ctx, QUALITY, params, title=f"Assess {row.name}", priority="low")["id"])

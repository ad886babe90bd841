"""What a text may stand on: pages that are read for it, and passages of a collection. Stored, so that they can be cited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from webapp.answers.base import Source
from webapp.answers.evidence import gather, source_of
from webapp.core.context import Ctx
from webapp.core.errors import Invalid
from webapp.research.expanding import Expansion, actor, embedded, read_given

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun

PASSAGES = 6  # of one section


@dataclass(frozen=True)
class Scope:
    """Where passages are looked for. collections None: all that the owner may read."""

    collections: tuple[str, ...] | None = None
    documents: tuple[str, ...] = ()
    made: Expansion = field(default_factory=Expansion)


def scope(task: TaskRun) -> Scope | None:
    """None when nothing was named to write from; pages that were named are read, and then it is these and nothing else.
    Leaves the worker meanwhile."""
    collection, urls = task.params.get("collection_id"), task.params.get("urls")
    if not urls:
        return Scope((collection,)) if collection else None
    made = read_given(task, (2, 10))
    if not made.read:
        reasons = "; ".join(f"{one['url']}: {one['detail']}" for one in made.unread)
        raise Invalid(f"None of the pages could be read: {reasons[:1500]}")
    if any(one["new"] for one in made.read):
        embedded(task, made, (10, 12))
    return Scope(
        (collection,) if collection else None, tuple(dict.fromkeys(one["document_id"] for one in made.read)), made
    )


def passages(task: TaskRun, where: Scope, *queries: str) -> list[dict[str, Any]]:
    """Sources for the first of the queries that the stored texts speak of, as JSON; [] when they speak of none."""
    for query in queries:
        with task.rt.unit(write=False) as db:
            ctx = Ctx(task.rt, db, actor(task), request_id=task.request_id or "-")
            found = gather(
                ctx, query, collections=where.collections, documents=where.documents, k=PASSAGES, record=False
            )
        if found.enough:
            return [asdict(source_of(number, hit, hit.start, hit.end)) for number, hit in enumerate(found.hits, 1)]
    return []


def sources(rows: Sequence[dict[str, Any]]) -> list[Source]:
    return [Source(**one) for one in rows]

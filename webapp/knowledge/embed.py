"""Embedding a collection: chunks without a vector get one, vectors without a chunk go.

A collection serves from one vector set, named after its `generation`. While `building` is set, a second one is filled
by `building_embedder` until it holds every chunk; then they change places and the old one is dropped. A chunk's own
`generation` is the newest set that holds it, so the rows are the checkpoint: whoever is killed loses at most the batch
in his hands, and putting the same vector in twice changes nothing. What the other embedder cuts otherwise is embedded
from drafts (`recut`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import ColumnElement, delete, func, insert, select, tuple_, update

from webapp.core.db import utcnow
from webapp.core.errors import Conflict, TaskCancelled
from webapp.core.failpoints import failpoint
from webapp.knowledge import recut
from webapp.knowledge.models import Chunk, ChunkDraft, Collection, Document, VectorRemoval
from webapp.knowledge.ranking import embedding_input
from webapp.knowledge.vectors import index_name, parse_name

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from webapp.core.context import Ctx
    from webapp.embedding.base import Vectors as Floats
    from webapp.runtime import Runtime

KIND = "maintenance.embed"  # what the program starts; asked for by somebody it is knowledge.embed
BATCH = 64  # chunks of one checkpoint
REMOVALS = 1000


class Told(Protocol):
    """Who hears how far it is and may end it: a task's run, or the command line."""

    def progress(self, percent: float, message: str = "", *, data: dict[str, Any] | None = None) -> None: ...

    def check(self) -> None: ...

    def stopped(self) -> bool: ...


@dataclass(frozen=True)
class Plan:
    """What is to be done for a collection: fill set `target` with vectors of `embedder`."""

    collection_id: str
    name: str
    embedder: str
    serving: int
    target: int
    dimension: int | None

    @property
    def index(self) -> str:
        return index_name(self.collection_id, self.target)

    @property
    def indexes(self) -> list[str]:
        return [index_name(self.collection_id, number) for number in {self.serving, self.target}]


def plan(rt: Runtime, collection_id: str) -> Plan | None:
    """None when the collection is gone."""
    with rt.unit(write=False) as db:
        row = db.get(Collection, collection_id)
        return _plan(row) if row is not None and row.removed_at is None else None


def _plan(row: Collection) -> Plan:
    if row.building is not None:
        return Plan(row.id, row.name, row.building_embedder or row.embedder, row.generation, row.building, None)
    return Plan(row.id, row.name, row.embedder, row.generation, row.generation, row.dimension)


# -- asking for it ---------------------------------------------------------------------------------------------------


def request(given: Ctx | Runtime, collection_id: str) -> str | None:
    """The task of the collection's owner that embeds it, started unless one waits; None if there is nothing to do.

    Call it after the chunks are stored (or in the same unit). A task that runs may have had its last look, so only one
    that waits counts. Where no index is set up, nothing follows by itself: a task for each document could only fail, and
    its owner would be told. Somebody who asks for it (a Ctx) gets one and hears why.
    """
    from webapp.core.context import SYSTEM, Ctx

    if isinstance(given, Ctx):
        return _request(given, collection_id)
    if not given.vectors.there:
        return None
    with given.unit() as db:
        return _request(Ctx(given, db, SYSTEM, request_id="embedding"), collection_id)


def _request(ctx: Ctx, collection_id: str) -> str | None:
    from webapp.tasks import service as tasks

    row = ctx.db.get(Collection, collection_id)
    params = {"collection_id": collection_id}
    if row is None or row.removed_at is not None or not _has_work(ctx.db, row):
        return None
    if waiting := tasks.waiting(ctx.db, KIND, params):
        return waiting
    # By the program for them, whoever caused it: no quota stands between a document and its vectors.
    owner = replace(ctx, user=replace(ctx.user, id=row.owner_id, via="system"))
    return str(tasks.start(owner, KIND, params, title=f"Embed {row.name}")["id"])


def _has_work(db: Session, row: Collection) -> bool:
    pending = select(Document.id).where(Document.collection_id == row.id, Document.pending_chunks > 0).limit(1)
    removals = select(VectorRemoval.chunk_id).where(VectorRemoval.collection_id == row.id).limit(1)
    return row.building is not None or db.scalar(pending) is not None or db.scalar(removals) is not None


def change(ctx: Ctx, row: Collection, embedder: str | None = None) -> str | None:
    """Embed a collection anew, by another embedder or the same; the old vectors serve until all new ones are there.

    Returns the id of the task. Raises BadRequest for an embedder that cannot be used here, Conflict in the moment when
    the last change comes to its end.
    """
    from webapp.embedding import service as embedding

    wanted = embedding.check(ctx.rt, embedder) if embedder else row.building_embedder or row.embedder
    if row.building is None and recut.left(ctx.db, row.id):
        raise Conflict("its passages are just changing places", code="changing", suggestion="Try again in a minute.")
    recut.discard(ctx.db, row.id)
    row.building = max(row.generation, row.building or 0) + 1
    row.building_embedder, row.updated_at = wanted, utcnow()
    ctx.db.flush()
    everything = update(Document).where(Document.collection_id == row.id)
    ctx.db.execute(everything.values(pending_chunks=Document.chunk_count))
    return request(ctx, row.id)


# -- doing it --------------------------------------------------------------------------------------------------------


def embed_collection(
    rt: Runtime, collection_id: str, told: Told, *, total: int | None = None, documents: Sequence[str] | None = None
) -> dict[str, Any]:
    """Bring the vector set of a collection up to its rows; safe to repeat and to run twice at once.

    total: chunks that were to do when this began, if it began earlier. documents: look at these only.
    Returns {"chunks": embedded now, "removed": vectors taken out, "seconds", "per_second", "swapped": bool}.
    Raises NoModel, IndexTrouble, Upstream, Conflict (another dimension than the set has), and what `told` raises.
    """
    began, embedded, removed, swapped = time.monotonic(), 0, 0, False
    current = plan(rt, collection_id)
    while current is not None:
        drop_stale(rt, current)
        if current.target == current.serving:
            recut.settle(rt, collection_id)  # after a kill in the middle of it
        elif documents is None:
            recut.recut(rt, current, told)
        removed += apply_removals(rt, current)
        work = _Work(rt, current, told, embedded, total, documents)
        embedded = work.run()
        if documents is None and not _finish(rt, current, work.dimension):
            current = plan(rt, collection_id)  # more chunks came, or the embedder was changed meanwhile
            continue
        if documents is None and current.target != current.serving:
            recut.settle(rt, collection_id)
            swapped = True
            rt.vectors.drop(index_name(collection_id, current.serving))
            current = replace(current, serving=current.target)
        removed += apply_removals(rt, current)
        break
    seconds = time.monotonic() - began
    return {"chunks": embedded, "removed": removed, "seconds": round(seconds, 2), "swapped": swapped,
            "per_second": round(embedded / seconds, 1) if embedded else 0.0}  # fmt: skip


def count_waiting(rt: Runtime, plan: Plan, documents: Sequence[str] | None = None) -> int:
    """Chunks that are not in the target set yet."""
    with rt.unit(write=False) as db:
        counts = [select(func.count(model.id)).where(_waiting(model, plan, documents)) for model in BOTH]
        return sum(int(db.scalar(stmt) or 0) for stmt in counts)


BOTH: tuple[type[Chunk | ChunkDraft], ...] = (Chunk, ChunkDraft)


def _waiting(
    model: type[Chunk | ChunkDraft], plan: Plan, documents: Sequence[str] | None = None
) -> ColumnElement[bool]:
    which = (model.collection_id == plan.collection_id) & (model.generation < plan.target)
    if model is Chunk:
        which &= ~recut.replaced()
    return which & model.document_id.in_(documents) if documents is not None else which


class _Work:
    """One pass after the other over the chunks below the target, the next batch at the embedder while one is written."""

    def __init__(
        self, rt: Runtime, plan: Plan, told: Told, done: int, total: int | None, documents: Sequence[str] | None
    ) -> None:
        self.rt, self.plan, self.told, self.documents = rt, plan, told, documents
        self.ended = False
        waiting = count_waiting(rt, plan, documents)
        self.total = max(total or 0, done + waiting)
        self.began, self.done_before, self.done = time.monotonic(), self.total - waiting, self.total - waiting
        self.dimension = plan.dimension

    def run(self) -> int:
        """How many are embedded now, those from before included."""
        with ThreadPoolExecutor(1, thread_name_prefix="embedding") as pool:
            while self._pass(pool):
                pass
        return self.done

    def _pass(self, pool: ThreadPoolExecutor) -> int:
        """The number of chunks found; those that came behind the cursor are for the next pass."""
        found = 0
        before: tuple[Sequence[Any], Future[Floats]] | None = None
        try:
            for rows in self._batches():
                found += len(rows)
                ahead = pool.submit(self._embed, [embedding_input(row.title, row.text) for row in rows])
                if before is not None:
                    self._write(*before)
                before = rows, ahead
            if before is not None:
                self._write(*before)
        except BaseException:
            self.ended = True  # so that the batch at the embedder is given up
            raise
        return found

    def _embed(self, texts: list[str]) -> Floats:
        from webapp.embedding import service as embedding

        return embedding.embed(self.rt, self.plan.embedder, texts, cancelled=self._over, urgent=False)

    def _over(self) -> bool:
        return self.ended or self.told.stopped()

    def _batches(self) -> Iterator[Sequence[Any]]:
        for model in BOTH:
            yield from self._batches_of(model)

    def _batches_of(self, model: type[Chunk | ChunkDraft]) -> Iterator[Sequence[Any]]:
        which, place = _waiting(model, self.plan, self.documents), (-(10**9), 0)
        columns = select(model.id, model.document_id, model.generation, model.title, model.text).where(which)
        ordered = columns.order_by(model.generation, model.id).limit(BATCH)
        while True:
            self.told.check()
            with self.rt.unit(write=False) as db:
                rows = db.execute(ordered.where(tuple_(model.generation, model.id) > place)).all()
            if not rows:
                return
            place = (rows[-1].generation, rows[-1].id)
            yield rows

    def _write(self, rows: Sequence[Any], ahead: Future[Floats]) -> None:
        """First the vectors, then the rows that say so: the other way round a kill would leave chunks without one."""
        try:
            vectors = ahead.result()
        except TaskCancelled:
            self.told.check()  # says why: cancelled, parked, out of time
            raise
        self._fits(int(vectors.shape[1]))
        self.rt.vectors.add(self.plan.index, [row.id for row in rows], vectors)
        failpoint("embed_between_index_and_rows")
        self.told.check()
        with self.rt.unit() as db:
            mark(db, self.plan, rows)
        self.done += len(rows)
        self._tell()

    def _fits(self, dimension: int) -> None:
        if self.dimension is not None and dimension != self.dimension:
            raise Conflict(
                f"The embedder gives {dimension} numbers, the index holds vectors of {self.dimension}.",
                code="dimension",
                suggestion="Embed the collection anew: `brainstem reindex --full`.",
            )
        if self.dimension is None:
            self.dimension = dimension
            self._note_dimension(dimension)

    def _note_dimension(self, dimension: int) -> None:
        if self.plan.target != self.plan.serving:
            return  # the collection's own is that of what serves; it is set when they change places
        with self.rt.unit() as db:
            db.execute(update(Collection).where(Collection.id == self.plan.collection_id).values(dimension=dimension))

    def _tell(self) -> None:
        here = self.done - self.done_before
        rate = here / max(1e-6, time.monotonic() - self.began)
        left = max(0, self.total - self.done)
        self.total = max(self.total, self.done)
        seconds = left / rate if rate else 0.0
        message = f"{self.done:,} of {self.total:,} passages, {rate:.1f} a second" + _left(left, seconds)
        self.told.progress(100 * self.done / max(1, self.total), message,
                           data={"done": self.done, "total": self.total, "per_second": round(rate, 1),
                                 "seconds_left": round(seconds)})  # fmt: skip


def _left(chunks: int, seconds: float) -> str:
    if not chunks:
        return ""
    if seconds < 60:
        return f", about {max(1, round(seconds))} s left"
    minutes = round(seconds / 60)
    return f", about {minutes} min left" if minutes < 90 else f", about {seconds / 3600:.1f} h left"


def mark(db: Session, plan: Plan, rows: Sequence[Any]) -> None:
    """These passages are in the target set now, if they still are what was embedded.

    One that got another title meanwhile has another generation than when it was read; it stays to do. Those deleted
    meanwhile leave the set again.
    """
    ids = [row.id for row in rows]
    there: set[int] = set()
    for model in BOTH:  # a draft may have become a chunk meanwhile
        for seen in {row.generation for row in rows}:
            of = [row.id for row in rows if row.generation == seen]
            same = update(model).where(model.id.in_(of), model.generation == seen)
            db.execute(same.values(generation=plan.target).execution_options(synchronize_session=False))
        there |= set(db.scalars(select(model.id).where(model.id.in_(ids))))
    gone = [{"chunk_id": one, "collection_id": plan.collection_id} for one in ids if one not in there]
    if gone:  # noted when they were deleted, but that note may have been worked off before the vectors came
        db.execute(delete(VectorRemoval).where(VectorRemoval.chunk_id.in_([one["chunk_id"] for one in gone])))
        db.execute(insert(VectorRemoval), gone)
    count_pending(db, plan.target, Document.id.in_({row.document_id for row in rows}))


def count_pending(db: Session, target: int, which: ColumnElement[bool]) -> None:
    counts = []
    for model in BOTH:
        below = (model.document_id == Document.id) & (model.generation < target)
        below = below & ~recut.replaced() if model is Chunk else below
        counts.append(select(func.count(model.id)).where(below).correlate(Document).scalar_subquery())
    all_ = update(Document).where(which).values(pending_chunks=counts[0] + counts[1])
    db.execute(all_.execution_options(synchronize_session=False))


def _finish(rt: Runtime, current: Plan, dimension: int | None) -> bool:
    """Under the collection's lock: False when there is more to do, or something else; else the new set serves."""
    with rt.unit() as db:
        row = db.scalar(select(Collection).where(Collection.id == current.collection_id).with_for_update())
        if row is None or row.removed_at is not None:
            return True
        now = _plan(row)
        more = [select(model.id).where(_waiting(model, now)).limit(1) for model in BOTH]
        if now.target != current.target or any(db.scalar(stmt) is not None for stmt in more):
            return False
        if row.building is not None:
            row.generation, row.embedder = row.building, row.building_embedder or row.embedder
            row.building = row.building_embedder = None
            row.dimension = dimension
            row.updated_at = utcnow()
    return True


# -- tidying up ------------------------------------------------------------------------------------------------------


def apply_removals(rt: Runtime, current: Plan) -> int:
    """Take the vectors of deleted chunks out; the notes go when the vectors have gone."""
    of = VectorRemoval.collection_id == current.collection_id
    total = 0
    while True:
        with rt.unit(write=False) as db:
            ids = list(
                db.scalars(select(VectorRemoval.chunk_id).where(of).order_by(VectorRemoval.chunk_id).limit(REMOVALS))
            )
        if not ids:
            return total
        for name in current.indexes:
            rt.vectors.remove(name, ids)
        with rt.unit() as db:
            db.execute(delete(VectorRemoval).where(VectorRemoval.chunk_id.in_(ids)))
        total += len(ids)


def drop_stale(rt: Runtime, current: Plan) -> None:
    """Sets of this collection that neither serve nor are being built: a kill left them, or a change of mind."""
    for name in rt.vectors.names():
        parsed = parse_name(name)
        if parsed is not None and parsed[0] == current.collection_id and name not in current.indexes:
            rt.vectors.drop(name)


def drop_orphans(rt: Runtime) -> int:
    """Sets of collections that are gone; how many."""
    named = {name: parsed for name in rt.vectors.names() if (parsed := parse_name(name)) is not None}
    with rt.unit(write=False) as db:
        known = set(db.scalars(select(Collection.id).where(Collection.removed_at.is_(None))))
    orphans = [name for name, (collection_id, _) in named.items() if collection_id not in known]
    for name in orphans:
        rt.vectors.drop(name)
    return len(orphans)

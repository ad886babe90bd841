"""Is the vector index what the rows say? And making it so. The keyword index follows its rows inside the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from webapp.knowledge.embed import Plan, count_pending, drop_orphans, plan
from webapp.knowledge.models import Chunk, ChunkDraft, Collection, Document
from webapp.knowledge.vectors import IndexHeld, IndexMissing, IndexTrouble, index_name

if TYPE_CHECKING:
    from webapp.runtime import Runtime

UNIT = 500


@dataclass(frozen=True)
class Found:
    """What a look at one collection gave.

    chunks: rows. indexed: vectors in the serving set. missing: chunks that the rows say are in it and are not.
    stale: vectors without a chunk. waiting: chunks not embedded yet, which is no fault. trouble: the index does not
    answer; nothing is known then.
    """

    collection_id: str
    name: str
    chunks: int = 0
    indexed: int = 0
    missing: int = 0
    stale: int = 0
    waiting: int = 0
    trouble: str | None = None

    @property
    def sound(self) -> bool:
        return not (self.missing or self.stale or self.trouble)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "sound": self.sound}


@dataclass(frozen=True)
class _Difference:
    chunks: int
    indexed: int
    waiting: int
    missing: dict[int, set[int]]  # generation -> chunk ids
    stale: dict[int, set[int]]


def check(rt: Runtime, collection_id: str) -> Found | None:
    """Compare; changes nothing. None when the collection is gone."""
    current = plan(rt, collection_id)
    if current is None:
        return None
    try:
        return _found(current, _compare(rt, current))
    except IndexTrouble as error:
        return Found(collection_id, current.name, trouble=error.message)


def repair(rt: Runtime, collection_id: str) -> Found | None:
    """Compare, take out what is stale, and let what is missing be embedded again. Returns what was found before.

    Raises IndexTrouble when the index cannot be opened.
    """
    current = plan(rt, collection_id)
    if current is None:
        return None
    different = _compare(rt, current)
    for generation, ids in different.stale.items():
        rt.vectors.remove(index_name(collection_id, generation), sorted(ids))
    lost = sorted(set().union(*different.missing.values()))
    for part in _parts(lost):
        with rt.unit() as db:
            for model in (Chunk, ChunkDraft):
                db.execute(update(model).where(model.id.in_(part)).values(generation=0))
                touched = select(model.document_id).where(model.id.in_(part))
                count_pending(db, current.target, Document.id.in_(touched))
    return _found(current, different)


def reindex(
    rt: Runtime,
    collection_ids: Iterable[str],
    *,
    full: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> list[Found]:
    """Repair each; a folder that does not even open is thrown away and made anew (embedded mode).

    full: embed everything again, whatever is there. The embedding itself is the caller's to start.
    """
    from webapp.core.context import SYSTEM, Ctx
    from webapp.knowledge.embed import change

    found: list[Found] = []
    _openable(rt, note)
    for collection_id in collection_ids:
        one = repair(rt, collection_id)
        if one is None:
            continue
        found.append(one)
        if full:
            with rt.unit() as db:
                row = db.get(Collection, collection_id)
                if row is not None:
                    change(Ctx(rt, db, SYSTEM, request_id="reindex"), row)
    drop_orphans(rt)
    return found


def _openable(rt: Runtime, note: Callable[[str], None]) -> None:
    try:
        rt.vectors.names()
    except (IndexMissing, IndexHeld):
        raise
    except IndexTrouble as error:
        erase = getattr(rt.vectors, "erase", None)
        if erase is None:
            raise
        note(f"{error.message} It is thrown away and made anew.")
        erase()


def all_collections(rt: Runtime) -> list[str]:
    with rt.unit(write=False) as db:
        return list(db.scalars(select(Collection.id).where(Collection.removed_at.is_(None)).order_by(Collection.id)))


def _found(current: Plan, different: _Difference) -> Found:
    missing, stale = (len(set().union(*some.values())) for some in (different.missing, different.stale))
    return Found(current.collection_id, current.name, different.chunks, different.indexed, missing, stale,
                 different.waiting)  # fmt: skip


def _compare(rt: Runtime, current: Plan) -> _Difference:
    """The index is asked first: a chunk embedded meanwhile is then a row without a vector only if it really has none."""
    generations = sorted({current.serving, current.target})
    there = {number: rt.vectors.ids(index_name(current.collection_id, number)) for number in generations}
    known = {row.id: row.generation for row in _chunks(rt, current.collection_id)}
    suspects = {number: {one for one, held in known.items() if _belongs(held, number, current)} - there[number]
                for number in generations}  # fmt: skip
    for number in generations:  # look again at what came in between
        if suspects[number]:
            suspects[number] -= rt.vectors.ids(index_name(current.collection_id, number))
    stale = {number: there[number] - known.keys() for number in generations}
    waiting = sum(held < current.target for held in known.values())
    return _Difference(len(known), len(there[current.serving]), waiting, suspects, stale)


def _belongs(held: int, number: int, current: Plan) -> bool:
    """Whether a chunk of generation `held` is said to be in set `number`.

    While a new set is built, chunks that came meanwhile are in the new one only, so the old one cannot be judged by them.
    """
    return held == number if number == current.target else number <= held < current.target


def _chunks(rt: Runtime, collection_id: str) -> Iterator[Any]:
    for model in (Chunk, ChunkDraft):
        yield from _chunks_of(rt, model, collection_id)


def _chunks_of(rt: Runtime, model: type[Chunk | ChunkDraft], collection_id: str) -> Iterator[Any]:
    last = 0
    columns = select(model.id, model.generation).where(model.collection_id == collection_id)
    while True:
        with rt.unit(write=False) as db:
            rows = db.execute(columns.where(model.id > last).order_by(model.id).limit(20_000)).all()
        if not rows:
            return
        yield from rows
        last = rows[-1].id


def _parts(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), UNIT):
        yield ids[start : start + UNIT]

"""Search: passages by words and by meaning, over what the caller may read.

The rows decide what is shown: a vector whose passage is gone, or is in another's collection, never leads anywhere.
Where the vector index or the embedder is missing, words alone answer, and `notice` says so.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy import ColumnElement, bindparam, func, insert, select
from sqlalchemy.orm import Session

from webapp.core import ageing
from webapp.core.context import Ctx
from webapp.core.db import Numbers, among, iso, new_id, utcnow
from webapp.core.errors import BadRequest, NotFound, Unavailable
from webapp.knowledge import keywords, ranking
from webapp.knowledge.models import Chunk, ChunkDraft, Collection, Document, SearchEvent
from webapp.knowledge.ranking import Ranked
from webapp.knowledge.service import collections as shelves
from webapp.knowledge.service.filters import Filters
from webapp.knowledge.snippets import Snippet, snippet
from webapp.knowledge.vectors import IndexMissing, IndexTrouble, Near, index_name
from webapp.runtime import Runtime

if TYPE_CHECKING:
    from webapp.core.vectors import Floats

log = logging.getLogger(__name__)

Mode = Literal["hybrid", "keyword", "vector"]
MODES = ("hybrid", "keyword", "vector")
LONGEST_QUERY = 4000
MOST = 100  # results of one search
EXACT = 2000  # so many passages behind a filter are looked at one by one
TYPING = 30.0  # seconds
WIDE = 1000  # candidates behind a filter that lets more through
REINDEX = "Run `brainstem reindex`, or press Rebuild on the collection's page."


@dataclass(frozen=True)
class Hit:
    """One passage. score: what ordered it, 0..1; keyword: BM25, vector: cosine, None where that side missed it.

    `text` is `version.text[start:end]`. more: further passages of the document among the candidates.
    """

    document_id: str
    chunk_id: int
    version_id: str
    collection_id: str
    title: str
    url: str | None
    heading: str
    text: str
    start: int
    end: int
    position: int
    score: float
    keyword: float | None
    vector: float | None
    fused: float
    snippet: Snippet
    more: int
    language: str | None
    content_type: str
    published: str | None
    fetched_at: datetime | None
    quality: float | None
    source_id: str | None

    @property
    def citation(self) -> dict[str, Any]:
        """What a citation of it needs: the version's own words, wherever the document goes from here."""
        return {"document_id": self.document_id, "version_id": self.version_id, "start": self.start, "end": self.end,
                "quote": self.text, "title": self.title, "url": self.url,
                "fetched_at": iso(self.fetched_at) if self.fetched_at else None}  # fmt: skip


@dataclass(frozen=True)
class Notice:
    """Why the results may be less than they could be. code: no_index, no_model, pending, no_collections."""

    code: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True)
class Found:
    """ms: of the whole search; parts: milliseconds of its steps. event_id: the row for analytics, if recorded."""

    query: str
    mode: str
    hits: list[Hit]
    notice: Notice | None
    ms: float
    parts: dict[str, float] = field(default_factory=dict)
    event_id: str | None = None


@dataclass
class _Scope:
    """The collections that are searched; `everything` when those are all there are."""

    shelves: list[Collection]
    everything: bool

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.shelves]


def search(
    ctx: Ctx,
    query: str,
    *,
    collections: Iterable[str] | None = None,
    k: int = 10,
    mode: str = "hybrid",
    filters: Filters | None = None,
    per_document: int = 1,
    via: str = "api",
    record: bool = True,
) -> Found:
    """The k best passages the caller may read, in all of their collections or in the named ones.

    per_document: passages of one document before the others had their turn (0: no limit).
    Ends the caller's transaction: none is open while a model or the index is asked.
    Raises BadRequest for an empty query or a wrong filter, NotFound for a collection that is not there.
    """
    began = time.perf_counter()
    query = _checked(query, mode)
    filters = filters or Filters()
    where = filters.where()
    scope = _scope(ctx, collections)
    ctx.db.commit()
    k = max(1, min(k, MOST))
    parts: dict[str, float] = {}
    if not scope.shelves:
        nothing = Notice("no_collections", "There is nothing to search yet.", "Add a document first.")
        return Found(query, mode, [], nothing, _ms(began))
    only = _allowed(ctx.rt, scope, where) if where is not None else None
    ranked, notice = _candidates(ctx.rt, scope, query, cast(Mode, mode), only, where is not None, parts)
    hits = _hits(ctx.rt, scope, query, ranked, k, per_document, where, parts)
    ms = _ms(began)
    event = _record(ctx, query, collections, filters, via, hits, ms) if record else None
    return Found(query, mode, hits, notice, ms, parts, event)


def _checked(query: str, mode: str) -> str:
    query = " ".join(query.replace("\0", " ").split())[:LONGEST_QUERY]
    if not query:
        raise BadRequest("query: say what to look for", code="empty_query")
    if mode not in MODES:
        raise BadRequest(f"mode: use one of {', '.join(MODES)}")
    return query


HOW_MANY = select(func.count()).select_from(Collection)


def _scope(ctx: Ctx, wanted: Iterable[str] | None) -> _Scope:
    rows = shelves.readable_rows(ctx, wanted)
    return _Scope(rows, len(rows) == ctx.db.scalar(HOW_MANY))


# -- candidates ------------------------------------------------------------------------------------------------------


def _allowed(rt: Runtime, scope: _Scope, where: ColumnElement[bool]) -> dict[int, str] | None:
    """Passage id -> collection id of all that the filter lets through, or None when these are too many to name."""
    stmt = select(Chunk.id, Chunk.collection_id).join(Document, Document.id == Chunk.document_id)
    with rt.unit(write=False) as db:
        rows = db.execute(stmt.where(Document.collection_id.in_(scope.ids), where).limit(EXACT + 1)).all()
    return {row[0]: row[1] for row in rows} if len(rows) <= EXACT else None


_asking = ThreadPoolExecutor(max_workers=8, thread_name_prefix="search")


def _candidates(
    rt: Runtime,
    scope: _Scope,
    query: str,
    mode: Mode,
    only: dict[int, str] | None,
    filtered: bool,
    parts: dict[str, float],
) -> tuple[list[Ranked], Notice | None]:
    """Both sides at the same time: the model and the index of vectors mostly wait outside of this process's lock."""
    depth = WIDE if filtered and only is None else ranking.DEPTH
    meaning = _asking.submit(_by_meaning, rt, scope, query, depth, only, parts) if mode != "keyword" else None
    words = _by_words(rt, scope, query, depth, only, parts) if mode != "vector" else []
    near, notice = meaning.result() if meaning is not None else ([], None)
    if mode == "vector" and notice is not None and notice.code in ("no_index", "no_model"):
        words = _by_words(rt, scope, query, depth, only, parts)
    if mode == "vector" and near:
        return [Ranked(id, None, cosine, max(0.0, cosine)) for id, cosine in near], notice
    return ranking.fuse(words, near), notice


def _by_words(
    rt: Runtime, scope: _Scope, query: str, depth: int, only: dict[int, str] | None, parts: dict[str, float]
) -> list[tuple[int, float]]:
    began = time.perf_counter()
    with rt.unit(write=False) as db:
        ids = None if scope.everything else scope.ids
        found = keywords.search(db, query, ids, depth, list(only) if only is not None else None)
    parts["keyword"] = _ms(began)
    return found


def _by_meaning(
    rt: Runtime, scope: _Scope, query: str, depth: int, only: dict[int, str] | None, parts: dict[str, float]
) -> tuple[list[tuple[int, float]], Notice | None]:
    """The nearest passages of all indexes; the first trouble becomes the notice, and the other indexes still count."""
    from webapp.embedding import service as embedding

    found: list[tuple[int, float]] = []
    notice: Notice | None = None
    by_embedder: dict[str, list[Collection]] = {}
    for shelf in scope.shelves:
        by_embedder.setdefault(shelf.embedder, []).append(shelf)
    for embedder, group in by_embedder.items():
        began = time.perf_counter()
        try:
            vector = embedding.embed(rt, embedder, [query], urgent=True)[0]
        except Unavailable as trouble:
            message = f"Found by words only: {trouble.message}"
            notice = notice or Notice("no_model", message, trouble.suggestion or "")
            continue
        asked = time.perf_counter()
        for shelf, near in _nearest(rt, group, vector, depth, only):
            if isinstance(near, IndexTrouble):
                notice = notice or _index_notice(rt, shelf, near)
            else:
                found += near
        parts["embed"] = parts.get("embed", 0.0) + (asked - began) * 1000
        parts["vector"] = parts.get("vector", 0.0) + _ms(asked)
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    return found[:depth], notice


def _nearest(
    rt: Runtime, group: list[Collection], vector: Floats, depth: int, only: dict[int, str] | None
) -> Iterator[tuple[Collection, Near | IndexTrouble]]:
    """What each index found, or why it did not; indexes without any of `only` are left out."""
    if only is None:
        names = [index_name(shelf.id, shelf.generation) for shelf in group]
        yield from zip(group, rt.vectors.query_each(names, vector, depth), strict=True)
        return
    for shelf in group:
        if mine := [id for id, owner in only.items() if owner == shelf.id]:
            try:
                yield shelf, rt.vectors.query(index_name(shelf.id, shelf.generation), vector, depth, ids=mine)
            except IndexTrouble as trouble:
                yield shelf, trouble


def _index_notice(rt: Runtime, shelf: Collection, trouble: IndexTrouble) -> Notice | None:
    """An index that is not there is no trouble for a collection that has nothing in it yet."""
    if isinstance(trouble, IndexMissing):
        here = Chunk.collection_id == shelf.id
        with rt.unit(write=False) as db:
            some = db.scalar(select(Chunk.id).where(here).limit(1)) is not None
            embedded = (
                db.scalar(select(Chunk.id).where(here, Chunk.generation >= shelf.generation).limit(1)) is not None
            )
        if not some:
            return None
        if not embedded:
            message = f"{shelf.name} is still being embedded: its passages are found by words only."
            return Notice("pending", message, "Search again in a moment.")
    suggestion = trouble.suggestion or REINDEX
    return Notice("no_index", f"Found by words only: {_sentence(trouble.message)}", suggestion)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


# -- results ---------------------------------------------------------------------------------------------------------

# Built once: making such a statement takes as long as running it. Drafts count in the moment when passages that were
# cut for another embedder change places.
IDS = bindparam("ids", type_=Numbers)
PASSAGES: tuple[type[Chunk] | type[ChunkDraft], ...] = (Chunk, ChunkDraft)
# The collection is looked at afterwards: SQLite would walk through all of it instead of looking 200 passages up.
PLACES = [select(one.id, one.document_id, one.collection_id).where(among(one.id, IDS)) for one in PASSAGES]
SHOWN = [
    select(
        one.id, one.document_id, one.version_id, one.collection_id, one.heading, one.text, one.start, one.end,
        one.position, Document.title, Document.url, Document.language, Document.content_type, Document.published,
        Document.fetched_at, Document.quality, Document.source_id,
    ).join(Document, Document.id == one.document_id).where(among(one.id, IDS))
    for one in PASSAGES
]  # fmt: skip


def _hits(
    rt: Runtime,
    scope: _Scope,
    query: str,
    ranked: Sequence[Ranked],
    k: int,
    per_document: int,
    where: ColumnElement[bool] | None,
    parts: dict[str, float],
) -> list[Hit]:
    began = time.perf_counter()
    with rt.unit(write=False) as db:
        document_of = _documents(db, scope, [one.id for one in ranked], where)
        chosen = ranking.spread(ranked, document_of, k, per_document)
        rows = _rows(db, [one.id for one in chosen])
    chosen = [one for one in chosen if one.id in rows]
    passages = Counter(document_of.values())
    passages.subtract(document_of[one.id] for one in chosen)
    hits = [_hit(one, rows[one.id], query, passages[document_of[one.id]]) for one in chosen]
    parts["rows"] = _ms(began)
    return hits


def _documents(db: Session, scope: _Scope, ids: list[int], where: ColumnElement[bool] | None) -> dict[int, str]:
    """Passage -> document, of those whose row is there and in the scope."""
    found: dict[int, str] = {}
    inside = set(scope.ids)
    read = db.connection().execute  # columns alone need no session, which is most of the cost of a small look-up
    for model, stmt in zip(PASSAGES, PLACES, strict=True):
        if where is not None:
            stmt = stmt.join(Document, Document.id == model.document_id).where(where)
        if missing := [one for one in ids if one not in found]:
            found.update((row[0], row[1]) for row in read(stmt, {"ids": missing}).all() if row[2] in inside)
    return found


def _rows(db: Session, ids: list[int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    read = db.connection().execute
    for stmt in SHOWN:
        if missing := [one for one in ids if one not in found]:
            found.update((row.id, row) for row in read(stmt, {"ids": missing}))
    return found


def _hit(one: Ranked, row: Any, query: str, more: int) -> Hit:
    under = row.heading.rpartition(" > ")[2] or row.title
    return Hit(
        document_id=row.document_id, chunk_id=row.id, version_id=row.version_id, collection_id=row.collection_id,
        title=row.title, url=row.url, heading=row.heading, text=row.text, start=row.start, end=row.end,
        position=row.position, score=one.fused, keyword=one.keyword, vector=one.vector, fused=one.fused,
        snippet=snippet(row.text, query, under=under), more=more, language=row.language,
        content_type=row.content_type, published=row.published, fetched_at=row.fetched_at, quality=row.quality,
        source_id=row.source_id,
    )  # fmt: skip


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000


# -- what was searched ------------------------------------------------------------------------------------------------


NOTE = insert(SearchEvent)


def _record(
    ctx: Ctx, query: str, collections: Iterable[str] | None, filters: Filters, via: str, hits: list[Hit], ms: float
) -> str | None:
    """A row for later analytics. That it cannot be written now is no reason to keep the results back."""
    event = {
        "id": new_id(), "owner_id": ctx.user.id, "query": query[:500], "collections": list(collections or ())[:50],
        "filters": {name: list(value) if isinstance(value, tuple) else value for name, value in filters.given().items()},
        "via": via[:16], "results": len(hits), "top_score": hits[0].score if hits else None, "ms": ms, "at": utcnow(),
    }  # fmt: skip
    try:
        with ctx.rt.unit() as db:
            if via == "page" and (typed := _being_typed(db, ctx.user.id, query)) is not None:
                for name, value in event.items():
                    if name not in ("id", "owner_id", "via"):
                        setattr(typed, name, value)
                return typed.id
            db.connection().execute(NOTE, event)
    except Exception:
        log.warning("a search was not recorded", exc_info=True)
        return None
    return str(event["id"])


def _being_typed(db: Session, owner_id: str | None, query: str) -> SearchEvent | None:
    """The caller's last search on the page, if this is the same one with more or fewer letters a moment later."""
    mine = SearchEvent.owner_id == owner_id if owner_id else SearchEvent.owner_id.is_(None)
    last = db.scalar(select(SearchEvent).where(mine).order_by(SearchEvent.id.desc()).limit(1))
    if last is None or last.via != "page" or last.clicked or (utcnow() - last.at).total_seconds() > TYPING:
        return None
    old, new = last.query.casefold(), query[:500].casefold()
    return last if old.startswith(new) or new.startswith(old) else None


def clicked(ctx: Ctx, event_id: str, document_id: str) -> None:
    """Note which result was opened. Raises NotFound for a search that is not the caller's."""
    row = ctx.db.get(SearchEvent, event_id[:40])
    if row is None or (row.owner_id != ctx.user.id and not (ctx.user.id is None and ctx.user.is_admin)):
        raise NotFound("there is no such search")
    row.clicked = document_id[:36]


def recent(ctx: Ctx, limit: int = 8) -> list[str]:
    """The caller's last searches on the page, newest first, each once."""
    mine = SearchEvent.owner_id == ctx.user.id if ctx.user.id else SearchEvent.owner_id.is_(None)
    stmt = select(SearchEvent.query).where(mine, SearchEvent.via == "page").order_by(SearchEvent.id.desc())
    return list(dict.fromkeys(ctx.db.scalars(stmt.limit(limit * 5))))[:limit]


def count_older(db: Session, days: int) -> int:
    """How many searches `forget` would delete now; 0 days keep all."""
    return ageing.count_older(db, SearchEvent.at, days)


def forget(db: Session, days: int) -> int:
    """Delete what people searched for so many days ago."""
    return ageing.forget_older(db, SearchEvent.at, days)

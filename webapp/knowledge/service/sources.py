"""Sources: what a collection is fed with. Adding one starts its reading; reading it again makes new versions."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.core.addresses import precheck_url
from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import AppError, BadRequest, Conflict, NotFound
from webapp.core.paging import Page, keyset
from webapp.knowledge.models import SOURCE_KINDS, SOURCE_STATES, Collection, Document, Source
from webapp.knowledge.service import collections

if TYPE_CHECKING:
    from webapp.runtime import Runtime

MAX_SOURCES = 20_000  # in one collection
BATCH = 500  # sources read by one task
FEW = 20  # so many are read before crawls that wait
MAX_TEXT = 5_000_000  # characters of pasted text
CRAWLED = ("site", "sitemap", "feed")  # read by crawl.site; the others by knowledge.read
CONNECTED = "connector"  # read by the kind of a package, which its config names
OPEN = ("new", "reading")
EDGES = "#> *-\t "  # what Markdown puts around a line


@dataclass(frozen=True)
class File:
    stream: IO[bytes]
    name: str
    content_type: str | None = None


# -- looking ---------------------------------------------------------------------------------------------------------


def get(ctx: Ctx, source_id: str) -> Source:
    """A source of a collection the caller may read. Raises NotFound for a stranger's."""
    stmt = select(Source).join(Collection, Collection.id == Source.collection_id)
    row = ctx.db.scalar(stmt.where(Source.id == source_id[:40], collections.may_read(ctx.user)))
    if row is None:
        raise NotFound("there is no such source")
    return row


def writable(ctx: Ctx, source_id: str) -> Source:
    row = get(ctx, source_id)
    collections.writable(ctx, row.collection_id)
    return row


def some(ctx: Ctx, ids: Sequence[str]) -> list[Source]:
    """Those of `ids` that the caller may read."""
    stmt = select(Source).join(Collection, Collection.id == Source.collection_id)
    return list(ctx.db.scalars(stmt.where(Source.id.in_(ids), collections.may_read(ctx.user))))


def list_(
    ctx: Ctx,
    collection_id: str,
    *,
    state: str | None = None,
    kind: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Source]:
    """Newest first."""
    stmt = select(Source).where(Source.collection_id == collections.get(ctx, collection_id).id)
    if state:
        stmt = stmt.where(Source.state == _one_of(state, SOURCE_STATES, "state"))
    if kind:
        stmt = stmt.where(Source.kind == _one_of(kind, SOURCE_KINDS, "kind"))
    return keyset(ctx.db, stmt, Source.id, cursor=cursor, limit=max(1, min(200, limit)))


def counts(ctx: Ctx, collection_id: str) -> dict[str, int]:
    """state -> how many sources of a collection are in it."""
    stmt = select(Source.state, func.count()).where(Source.collection_id == collection_id).group_by(Source.state)
    return {row[0]: int(row[1]) for row in ctx.db.execute(stmt)}


def active_tasks(ctx: Ctx, rows: Iterable[Source]) -> set[str]:
    """Ids of the tasks of sources still to be read that are not over."""
    from webapp.tasks import service as tasks

    return tasks.active_of(ctx.db, {row.task_id for row in rows if row.state in OPEN and row.task_id})


def shown_state(row: Source, active: set[str]) -> tuple[str, str | None]:
    """(state, error) as a person should see it: what waits for a task that is over will not come by itself."""
    if row.state in OPEN and row.task_id not in active:
        return "failed", row.error or "its task was stopped before it was read"
    return row.state, row.error


def documents_of(db: Session, source_ids: Sequence[str]) -> dict[str, tuple[int, str | None]]:
    """source id -> (how many documents came from it, the id of one of them)."""
    stmt = select(Document.source_id, func.count(), func.max(Document.id)).where(Document.source_id.in_(source_ids))
    return {row[0]: (int(row[1]), row[2]) for row in db.execute(stmt.group_by(Document.source_id)) if row[0]}


# -- adding ----------------------------------------------------------------------------------------------------------


def add_url(
    ctx: Ctx, collection_id: str, url: str, *, kind: str = "url", label: str = "", config: dict[str, Any] | None = None
) -> Source:
    """One page, a site, a sitemap or a feed. The same address again is the source that is there, read anew.

    Raises BadRequest for an address that may not be fetched.
    """
    from webapp.tasks.service import outbound_policy

    row = _collection(ctx, collection_id)
    if kind not in ("url", *CRAWLED):
        raise _bad("kind", f"use one of {', '.join(('url', *CRAWLED))}")
    url = url.strip()
    if url and "://" not in url:
        url = f"https://{url}"
    try:
        precheck_url(url, outbound_policy(ctx.rt.settings))
    except AppError as exc:
        exc.details = [{"loc": ["url"], "msg": exc.message, "type": exc.code}]
        raise
    have = ctx.db.scalar(
        select(Source).where(Source.collection_id == row.id, Source.kind == kind, Source.url == url).limit(1)
    )
    if have is not None:
        have.config = config if config is not None else have.config
        start_reading(ctx, [have])
        return have
    source = Source(collection_id=row.id, owner_id=ctx.user.id, kind=kind, url=url, config=config or {},
                    label=(_plain(label) or url.split("://", 1)[-1].rstrip("/"))[:300])  # fmt: skip
    _insert(ctx, [source])
    return source


def add_text(ctx: Ctx, collection_id: str, text: str, title: str = "") -> Source:
    """Pasted text, kept like a file so that it can be read again."""
    row = _collection(ctx, collection_id)
    if not any(character.isalnum() for character in text):
        raise _bad("text", "there is nothing to read in it")
    if len(text) > MAX_TEXT:
        raise _bad("text", f"use at most {MAX_TEXT:,} characters, or upload it as a file")
    title = _plain(title) or _first_line(text)
    upload = _keep(ctx, File(io.BytesIO(text.encode("utf-8", "replace")), "Pasted text.md", "text/markdown"))
    source = Source(collection_id=row.id, owner_id=ctx.user.id, kind="text", upload_id=upload.id, label=title[:300],
                    config={"title": title[:300]})  # fmt: skip
    _insert(ctx, [source])
    return source


def add_files(ctx: Ctx, collection_id: str, files: Iterable[File]) -> tuple[list[Source], list[dict[str, str]]]:
    """Each file is a source; one that is refused is named with its reason and stops no other.

    Returns the sources and `[{"name", "error", "code"}]`.
    """
    row = _collection(ctx, collection_id)
    sources: list[Source] = []
    refused: list[dict[str, str]] = []
    for given in files:
        try:
            upload = _keep(ctx, given)
        except AppError as exc:
            if exc.status == 507:
                raise
            refused.append({"name": given.name[:200], "error": exc.message, "code": exc.code})
            continue
        sources.append(Source(collection_id=row.id, owner_id=ctx.user.id, kind="upload", upload_id=upload.id,
                              label=upload.name[:300], config={"bytes": upload.size}))  # fmt: skip
    _insert(ctx, sources)
    return sources, refused


def _keep(ctx: Ctx, given: File) -> Any:
    from webapp.files import service as files

    return files.store(ctx, given.stream, given.name, given.content_type, accepted())


def accepted() -> frozenset[str]:
    """Endings of the files that are read; of recordings what they say about themselves."""
    from webapp.extraction.service import ACCEPTED, RECORDINGS

    return frozenset(ACCEPTED) | RECORDINGS


def _collection(ctx: Ctx, collection_id: str) -> Collection:
    row = collections.writable(ctx, collection_id)
    have = int(ctx.db.scalar(select(func.count()).where(Source.collection_id == row.id)) or 0)
    if have >= MAX_SOURCES:
        raise Conflict(f"a collection can have {MAX_SOURCES:,} sources", code="too_many",
                       suggestion="Make another collection, or add documents through the API.")  # fmt: skip
    return row


def _insert(ctx: Ctx, sources: list[Source]) -> None:
    ctx.db.add_all(sources)
    ctx.db.flush()
    start_reading(ctx, sources)


# -- reading, removing -----------------------------------------------------------------------------------------------


def read_again(ctx: Ctx, source_id: str) -> Source:
    """Read it once more. Raises Conflict while it is being read."""
    row = writable(ctx, source_id)
    if shown_state(row, active_tasks(ctx, [row]))[0] in OPEN:
        raise Conflict("it is being read right now", code="already_reading")
    start_reading(ctx, [row])
    return row


def retry_failed(ctx: Ctx, collection_id: str) -> int:
    """Read everything again that failed; how many that are."""
    row = collections.writable(ctx, collection_id)
    failed = list(ctx.db.scalars(select(Source).where(Source.collection_id == row.id, Source.state == "failed")))
    start_reading(ctx, failed)
    return len(failed)


def start_reading(ctx: Ctx, sources: Sequence[Source]) -> list[str]:
    """Start the tasks that read these sources of one collection; their ids. The rows say which task has them."""
    from webapp.tasks import service as tasks

    plain = [one for one in sources if one.kind not in (*CRAWLED, CONNECTED)]
    started: list[str] = []
    for start in range(0, len(plain), BATCH):
        some = plain[start : start + BATCH]
        wanted = {"collection_id": some[0].collection_id, "source_ids": [one.id for one in some]}
        title = f"Read {some[0].label}" if len(some) == 1 else f"Read {len(some)} sources"
        # A few files are waited for; below everything else a person waits for, because there may be many such tasks.
        few = len(some) <= FEW
        task = tasks.start(ctx, "knowledge.read", wanted, title=title, interactive=few,
                           priority="low" if few else "normal")  # fmt: skip
        started.append(_started(ctx, some, task))
    for one in sources:
        if one.kind in CRAWLED:
            named = {"urls": [one.url], "read_as": one.kind, "name": f"Read {one.label}"[:300]}
            params: dict[str, Any] = {**named, **one.config}
            params |= {"collection_id": one.collection_id, "source_id": one.id}
            params.pop("last", None)
            started.append(_started(ctx, [one], tasks.start(ctx, "crawl.site", params, title=f"Read {one.label}")))
        elif one.kind == CONNECTED:
            task = tasks.start(ctx, one.config["kind"], one.config["params"], title=f"Read {one.label}")
            started.append(_started(ctx, [one], task))
    return started


def _started(ctx: Ctx, sources: Sequence[Source], task: dict[str, Any]) -> str:
    for one in sources:
        one.state, one.error, one.task_id = "new", None, task["id"]
    ctx.db.flush()
    return str(task["id"])


def take_over(rt: Runtime, collection_id: str, source_ids: Sequence[str], task_id: str) -> None:
    """Give those of the sources to a task that no other task has: it was started by its kind's name, or tried again."""
    from webapp.tasks import service as tasks

    of = (Source.id.in_(source_ids), Source.collection_id == collection_id, Source.kind.not_in((*CRAWLED, CONNECTED)))
    with rt.unit() as db:
        others = [row for row in db.scalars(select(Source).where(*of)) if row.task_id != task_id]
        active = tasks.active_of(db, {row.task_id for row in others if row.task_id})
        for row in others:
            if row.task_id not in active:
                row.state, row.error, row.task_id = "new", None, task_id


def check_ids(ctx: Ctx, collection_id: str, source_ids: Sequence[str]) -> None:
    """Raises NotFound, Forbidden for the collection, and NotFound if one of the sources is not in it."""
    row = collections.writable(ctx, collection_id)
    wanted = set(source_ids)
    of = select(func.count()).where(Source.collection_id == row.id, Source.id.in_(wanted))
    if ctx.db.scalar(of) != len(wanted):
        raise NotFound("there is no such source in this collection")


def settle(rt: Runtime, source_id: str, task_id: str, state: str, error: str | None = None,
           outcome: dict[str, Any] | None = None) -> None:  # fmt: skip
    """What became of a source that another area's task has read; nothing if it was removed or read anew since."""
    with rt.unit() as db:
        row = db.scalar(select(Source).where(Source.id == source_id, Source.task_id == task_id))
        if row is None:
            return
        row.state, row.error = state, error[:1000] if error else None
        row.read_at = utcnow() if state not in OPEN else row.read_at
        row.config = {**row.config, "last": outcome} if outcome is not None else row.config


def remove(ctx: Ctx, source_id: str, *, keep_documents: bool = False) -> int:
    """Remove a source and what came from it; how many documents that were. A reading of it stops."""
    from webapp.knowledge.service import removal

    row = writable(ctx, source_id)
    ids = list(ctx.db.scalars(select(Document.id).where(Document.source_id == row.id))) if not keep_documents else []
    if len(ids) > removal.AT_ONCE:
        raise Conflict(f"{len(ids):,} documents came from it: remove them in parts or delete the collection",
                       code="too_many")  # fmt: skip
    removal.remove_documents(ctx.db, ids)
    _stop(ctx, row)
    ctx.db.delete(row)
    ctx.db.flush()
    return len(ids)


def _stop(ctx: Ctx, row: Source) -> None:
    """Cancel the task that is reading it, if it has no other source to read."""
    from webapp.tasks import service as tasks

    if row.state not in OPEN or row.task_id is None:
        return
    others = select(func.count()).where(Source.task_id == row.task_id, Source.id != row.id, Source.state.in_(OPEN))
    if not ctx.db.scalar(others):
        try:
            tasks.cancel(ctx, row.task_id)
        except AppError:
            return  # it is over, or forgotten


# -- small things ----------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    return " ".join(text.replace("\0", "").split())


def _first_line(text: str) -> str:
    line = next((line.strip(EDGES) for line in text.splitlines() if line.strip(EDGES)), "Pasted text")
    return line if len(line) <= 80 else line[:80].rsplit(" ", 1)[0] + "…"


def _bad(name: str, message: str) -> BadRequest:
    return BadRequest(f"{name}: {message}", details=[{"loc": [name], "msg": message, "type": "value"}])


def _one_of(value: str, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        raise _bad(name, f"use one of {', '.join(known)}")
    return value

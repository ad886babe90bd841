"""Connectors: places that a package can list, such as a tracker or a wiki, kept as documents of a collection.

A connector is a task kind whose runner hands what it lists to `sync`; docs/adding-a-connector.md walks through one. The
form, the clock, the progress and the retries are those of any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from webapp.core.db import utcnow
from webapp.core.errors import AppError, TaskInterrupted
from webapp.knowledge.models import Document, Source
from webapp.knowledge.service import collections, documents, indexing, removal, sources
from webapp.knowledge.service.documents import Incoming
from webapp.tasks.kinds import TaskKind, kinds

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.tasks.run import TaskRun

KIND = sources.CONNECTED


@dataclass(frozen=True)
class Item:
    """One thing at the place.

    key: its name there, the same each time. read: its text (Markdown), or the bytes of a file named `filename`; called
    only when it is needed. mark: what changes whenever it changes, such as a version or a time; None: read it each time.
    """

    key: str
    title: str
    read: Callable[[], str | bytes]
    url: str | None = None
    mark: str | None = None
    filename: str = ""
    author: str | None = None
    published: str | None = None  # ISO day


def offered() -> list[TaskKind]:
    """The connectors that are installed: kinds on the page for new tasks that cannot do without a collection."""
    found = []
    for _, kind in kinds.all():
        wanted = kind.params.model_fields.get("collection_id")
        if kind.offered and not kind.hidden and wanted is not None and wanted.is_required():
            found.append(kind)
    return found


def check(ctx: Ctx, params: dict[str, Any]) -> None:
    """`prepare` of a connector's kind: the caller may write to `collection_id`. Raises NotFound, Forbidden."""
    collections.writable(ctx, params["collection_id"])


def sync(task: TaskRun, items: Iterable[Item], *, place: str, label: str) -> dict[str, Any]:
    """Bring the collection `collection_id` of the task's parameters to what the place has now.

    1. Read what is new or has another mark. 2. Remove what is gone, once the whole list was seen. 3. Have it embedded.
    place: an address or a name that says which place this is; the next task for it continues its source.
    Returns counts and what failed. Raises what may pass, and what `items` raises: what was read so far is kept, and
    nothing is removed.
    """
    source_id = _source(task, place, label)
    counts = {"new": 0, "changed": 0, "unchanged": 0, "duplicate": 0, "empty": 0, "failed": 0, "removed": 0}
    failed: list[dict[str, str]] = []
    try:
        known = _known(task, source_id)
        seen: set[str] = set()
        for number, item in enumerate(items):
            task.progress(min(95, 95 * number / max(len(known), number + 1)), f"{number + 1:,}: {item.title[:80]}")
            key = f"{place}#{item.key}"
            seen.add(key)
            outcome = _kept(task, source_id, key, item, known, failed)
            counts[outcome] += 1
        gone = [document_id for key, (document_id, _) in known.items() if key not in seen]
        with task.rt.unit() as db:
            removal.remove_documents(db, gone)
        counts["removed"] = len(gone)
    except Exception as exc:
        if _is_the_end(task, exc):
            sources.settle(task.rt, source_id, task.id, "failed", getattr(exc, "message", type(exc).__name__))
        raise
    finally:
        indexing.request(task.rt, task.params["collection_id"])
    indexing.assess(task.rt, task.params["collection_id"])
    sources.settle(task.rt, source_id, task.id, "partial" if failed else "ready",
                   f"{len(failed)} could not be read" if failed else None, {"outcome": "read", **counts})  # fmt: skip
    return {
        "collection_id": task.params["collection_id"],
        "source_id": source_id,
        "counts": counts,
        "failed": failed[:200],
    }


def _is_the_end(task: TaskRun, exc: Exception) -> bool:
    """Not of a task that is cancelled or handed on, nor of one that is tried again: its source is still being read."""
    if isinstance(exc, TaskInterrupted):
        return False
    return not (isinstance(exc, AppError) and exc.retryable and task.attempt < task.max_attempts)


def _source(task: TaskRun, place: str, label: str) -> str:
    """The source of this place, from now on this task's; made at the first time."""
    collection_id = task.params["collection_id"]
    with task.rt.unit() as db:
        row = db.scalar(
            select(Source).where(Source.collection_id == collection_id, Source.kind == KIND, Source.url == place)
        )
        if row is None:
            row = Source(collection_id=collection_id, owner_id=task.owner_id, kind=KIND, url=place)
            db.add(row)
        row.label, row.state, row.error, row.task_id = label[:300], "reading", None, task.id
        row.config = {"kind": task.kind, "params": task.params}  # to read it again
        db.flush()
        return row.id


def _known(task: TaskRun, source_id: str) -> dict[str, tuple[str, str | None]]:
    """key -> (document, mark) of what came from there before."""
    with task.rt.unit(write=False) as db:
        stmt = select(Document.key, Document.id, Document.etag).where(Document.source_id == source_id)
        return {key: (ident, mark) for key, ident, mark in db.execute(stmt)}


def _kept(
    task: TaskRun, source_id: str, key: str, item: Item, known: dict[str, tuple[str, str | None]],
    failed: list[dict[str, str]],
) -> str:  # fmt: skip
    """What became of one. What only it is to blame for is noted, and stops no other."""
    if item.mark is not None and known.get(key, ("", None))[1] == item.mark:
        with task.rt.unit() as db:
            db.execute(update(Document).where(Document.id == known[key][0]).values(checked_at=utcnow()))
        return documents.UNCHANGED
    try:
        incoming = _incoming(task, key, item)
    except AppError as exc:
        task.check()  # what a stop cut off only echoes it
        if exc.retryable and task.attempt < task.max_attempts:
            raise
        failed.append({"key": item.key[:300], "error": exc.message})
        task.log(f"{item.title[:200]}: {exc.message}", "warning")
        return "failed"
    return documents.store(task.rt, task.params["collection_id"], incoming, source_id).outcome


def _incoming(task: TaskRun, key: str, item: Item) -> Incoming:
    from webapp.extraction.service import extract

    given = item.read()
    if isinstance(given, str):
        text, content_type, method = given, "text/markdown", "plain"
    else:
        found = extract(given, filename=item.filename or item.key, url=item.url, cancelled=task.stopped,
                        timeout=min(60.0, task.remaining()))  # fmt: skip
        text, content_type, method = found.text, found.content_type, found.method
    return Incoming(key, item.title, text, content_type, url=item.url, author=item.author, published=item.published,
                    etag=item.mark, fetched_at=utcnow(), method=method, meta={"key": item.key[:300]},
                    keep_duplicates=True)  # fmt: skip

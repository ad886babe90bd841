"""Reading sources: uploads, pasted text, single pages. What became of each stands in its row, which is the checkpoint.

A run that is killed reads again only the source it was at, and storing that twice changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlalchemy import select, update

from webapp.core.db import utcnow
from webapp.core.errors import AppError, Invalid, NotFound, Upstream
from webapp.core.failpoints import failpoint
from webapp.knowledge.models import Document, Source
from webapp.knowledge.service import documents, indexing, sources
from webapp.knowledge.service.documents import Incoming, Stored

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun

log = logging.getLogger(__name__)

PAGE_BYTES = 20 * 2**20
EMBED_EVERY = 100  # documents after which embedding may begin, while the rest is still being read
SHOWN_ITEMS = 500


class _Unchanged(Exception):
    """The server says that its page is the one we have."""

    def __init__(self, document_id: str) -> None:
        super().__init__(document_id)
        self.document_id = document_id


def run(task: TaskRun) -> dict[str, Any]:
    """1. Read each source that is still open. 2. Ask for the new chunks to be embedded. 3. Tell what became of each.

    Raises what a source failed with if it may pass and there are attempts left; those read so far stay read.
    """
    wanted: list[str] = task.params["source_ids"]
    todo = _open(task, wanted)
    again: AppError | None = None
    for number, source_id in enumerate(todo):
        source = _load(task, source_id)
        if source is None:
            continue
        done = len(wanted) - len(todo) + number
        task.progress(100 * done / len(wanted), f"Reading {source.label[:80]}" + _of(done, len(wanted)))
        trouble = _read_one(task, source)
        again = again or trouble
        if number % EMBED_EVERY == EMBED_EVERY - 1:
            indexing.request(task.rt, task.params["collection_id"])
    indexing.request(task.rt, task.params["collection_id"])
    indexing.assess(task.rt, task.params["collection_id"])
    if again is not None:
        raise again
    return _told(task, wanted)


def _of(done: int, total: int) -> str:
    return f" ({done + 1:,} of {total:,})" if total > 1 else ""


def _open(task: TaskRun, wanted: list[str]) -> list[str]:
    """Sources this task still has to read. One that was given to another task since is that one's.

    At a first attempt also those that failed: then somebody asked for the whole task to be tried again.
    """
    states = ("new", "reading", "failed") if task.attempt == 1 else ("new", "reading")
    if task.attempt == 1:
        sources.take_over(task.rt, task.params["collection_id"], wanted, task.id)
    with task.rt.unit(write=False) as db:
        stmt = select(Source.id).where(Source.id.in_(wanted), Source.task_id == task.id)
        there = set(db.scalars(stmt.where(Source.state.in_(states))))
    return [one for one in wanted if one in there]


def _load(task: TaskRun, source_id: str) -> Source | None:
    with task.rt.unit() as db:
        row = db.scalar(select(Source).where(Source.id == source_id, Source.task_id == task.id))
        if row is not None:
            row.state = "reading"
        return row


def _read_one(task: TaskRun, source: Source) -> AppError | None:
    """Read and keep one; None when that is settled, else the failure that may pass at another attempt."""
    try:
        stored = _stored(task, source)
    except AppError as exc:
        task.check()  # a fetch that was cut off by a signal only echoes it
        if exc.retryable and task.attempt < task.max_attempts:
            _settle(task, source, "new", f"{exc.message} (will be tried again)")
            return exc
        _settle(task, source, "failed", _with_advice(exc))
        task.log(f"{source.label[:200]}: {exc.message}", "warning")
        return None
    except (ArithmeticError, LookupError, TypeError, ValueError, OSError):
        # A reader that trips over one file must not keep the others from being read.
        log.exception("a source could not be read")
        _settle(task, source, "failed", "it could not be read: a fault of this program, which its log describes")
        return None
    failpoint("source_stored")
    outcome = {"outcome": stored.outcome, "document_id": stored.document_id, "chunks": stored.chunks}
    if stored.outcome == documents.EMPTY:
        _settle(task, source, "failed", "no readable text was found in it", outcome)
    else:
        _settle(task, source, "ready", None, outcome)
    return None


def _with_advice(exc: AppError) -> str:
    stop = "" if exc.message.endswith((".", "!", "?")) else "."
    return f"{exc.message}{stop} {exc.suggestion}" if exc.suggestion else exc.message


def _stored(task: TaskRun, source: Source) -> Stored:
    try:
        incoming = _fetched(task, source) if source.kind == "url" else _uploaded(task, source)
    except _Unchanged as same:
        with task.rt.unit() as db:
            db.execute(update(Document).where(Document.id == same.document_id).values(checked_at=utcnow()))
            row = db.get(Document, same.document_id)
            return Stored(same.document_id, row.version_id if row else None, documents.UNCHANGED,
                          row.chunk_count if row else 0)  # fmt: skip
    return documents.store(task.rt, source.collection_id, incoming, source.id)


def _uploaded(task: TaskRun, source: Source) -> Incoming:
    import hashlib

    from webapp.extraction.service import extract
    from webapp.files import service as files

    name, content_type, data = files.load(task.rt, source.owner_id, source.upload_id or "")
    found = extract(data, filename=name, content_type=content_type, recordings=True, cancelled=task.stopped,
                    timeout=min(120.0, task.remaining()))  # fmt: skip
    title = source.config.get("title") or found.title or name
    meta = found.meta | ({"file": name} if source.kind == "upload" else {})
    return replace(_incoming(found, title), key=f"upload:{hashlib.sha256(data).hexdigest()}", meta=meta)


def _fetched(task: TaskRun, source: Source) -> Incoming:
    from webapp.extraction.service import extract

    url = source.url or ""
    known = _known_page(task, source)
    page = task.fetch(url, max_bytes=PAGE_BYTES, on_too_large="truncate", headers=_conditions(known))
    if page.status == 304 and known is not None:
        raise _Unchanged(known.id)
    if page.status >= 400:
        raise _refused(page)
    found = extract(page.body, content_type=page.content_type, charset=page.charset, url=page.url, recordings=True,
                    cancelled=task.stopped, timeout=min(60.0, task.remaining()))  # fmt: skip
    cut = ["The page is very large; only its beginning was read."] if page.truncated else []
    incoming = _incoming(found, found.title or page.url)
    return replace(
        incoming, key=page.url, url=page.url, etag=page.headers.get("etag"),
        last_modified=page.headers.get("last-modified"), warnings=[*incoming.warnings, *cut],
        meta=found.meta | {"status": page.status},
    )  # fmt: skip


def _known_page(task: TaskRun, source: Source) -> Document | None:
    with task.rt.unit(write=False) as db:
        stmt = select(Document).where(Document.source_id == source.id, Document.url.is_not(None))
        return db.scalar(stmt.order_by(Document.id.desc()).limit(1))


def _conditions(known: Document | None) -> dict[str, str]:
    """RFC 9110 13.1: send the page only if it is another one by now."""
    if known is None:
        return {}
    given = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in given.items() if value and value.isascii() and value.isprintable()}


def _refused(page: Any) -> AppError:
    host = urlsplit(page.url).hostname
    if page.status in (404, 410):
        return NotFound(f"{host} has no such page ({page.status})", suggestion="Check the address.")
    wait = page.headers.get("Retry-After", "")
    return Upstream(
        f"{host} answered {page.status}",
        retryable=page.status in (408, 425, 429) or page.status >= 500,
        retry_after=int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else None,
    )


def _incoming(found: Any, title: str) -> Incoming:
    return Incoming(
        key="", title=title, text=found.text, content_type=found.content_type, language=found.language,
        author=found.author, published=found.published, fetched_at=utcnow(), method=found.method,
        warnings=list(found.warnings),
    )  # fmt: skip


def _settle(
    task: TaskRun, source: Source, state: str, error: str | None, outcome: dict[str, Any] | None = None
) -> None:
    sources.settle(task.rt, source.id, task.id, state, error, outcome)


def _told(task: TaskRun, wanted: list[str]) -> dict[str, Any]:
    """What the task's page shows: a line for each source and the sums. Raises Invalid when nothing could be read."""
    with task.rt.unit(write=False) as db:
        of = (Source.id.in_(wanted), Source.collection_id == task.params["collection_id"])
        rows = {row.id: row for row in db.scalars(select(Source).where(*of))}
    items, counts = [], {"new": 0, "changed": 0, "unchanged": 0, "duplicate": 0, "failed": 0, "removed": 0}
    for ident in wanted:
        row = rows.get(ident)
        last = (row.config.get("last") or {}) if row is not None and row.state == "ready" else {}
        outcome = "removed" if row is None else last.get("outcome", "failed")
        counts[outcome] = counts.get(outcome, 0) + 1
        if row is not None:
            items.append({"source_id": ident, "label": row.label, "outcome": outcome, "error": row.error,
                          "document_id": last.get("document_id"), "chunks": last.get("chunks", 0)})  # fmt: skip
    if items and counts["failed"] == len(items):
        reasons = dict.fromkeys(f"{one['label'][:80]}: {one['error']}" for one in items)
        raise Invalid("; ".join(list(reasons)[:5])[:1500], code="nothing_read")
    return {"collection_id": task.params["collection_id"], "counts": counts, "items": items[:SHOWN_ITEMS]}

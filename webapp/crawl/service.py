"""Crawls: start, look at, stop, refresh; and the books a running one keeps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, or_, select, update

from webapp.core.context import Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import AppError, BadRequest, NotFound
from webapp.core.paging import Page, keyset
from webapp.crawl import frontier
from webapp.crawl.models import FATES, Crawl, CrawlUrl
from webapp.crawl.params import CrawlParams
from webapp.crawl.spool import Spool, left_behind

if TYPE_CHECKING:
    from webapp.runtime import Runtime
    from webapp.tasks.run import TaskRun

REFRESH_LIMIT = 1000


# -- starting --------------------------------------------------------------------------------------------------------


def start(ctx: Ctx, params: dict[str, Any]) -> Crawl:
    """Store a crawl and its task. Raises BadRequest naming the field, NotFound or Forbidden for the collection."""
    from webapp.tasks import service as tasks

    values = tasks.start(ctx, "crawl.site", params, title=_title(params))
    row = Crawl(**_columns(values["id"], values["owner_id"], values["params"]))
    ctx.db.add(row)
    ctx.db.flush()
    return row


def _columns(task_id: str, owner_id: str | None, params: dict[str, Any]) -> dict[str, Any]:
    config = {
        name: value for name, value in params.items() if name not in ("urls", "collection_id", "source_id", "name")
    }
    return {"id": new_id(), "task_id": task_id, "owner_id": owner_id, "collection_id": params["collection_id"],
            "source_id": params.get("source_id"), "name": params.get("name") or _title(params),
            "seeds": params["urls"], "config": config, "counts": {}}  # fmt: skip


def _title(params: dict[str, Any]) -> str:
    if params.get("name"):
        return str(params["name"])
    given = params.get("urls") or [""]
    first = str(given[0]).partition("://")[2].rstrip("/")[:80] or str(given[0])[:80]
    return f"Read {first}" + (f" and {len(given) - 1} more" if len(given) > 1 else "")


def refresh(ctx: Ctx, document_ids: Sequence[str]) -> list[Crawl]:
    """Read pages again, by conditional requests: one crawl for each collection. Unknown ids are left out."""
    from webapp.knowledge.service import web

    by_collection: defaultdict[str, list[str]] = defaultdict(list)
    for _, collection_id, url in web.addresses(ctx, list(document_ids)[:REFRESH_LIMIT]):
        by_collection[collection_id].append(url)
    return [
        start(ctx, {"urls": found, "collection_id": collection_id, "read_as": "page", "max_depth": 0,
                    "max_pages": len(found), "max_hosts": 100, "name": f"Refresh {len(found)} pages"})
        for collection_id, found in by_collection.items()
    ]  # fmt: skip


# -- looking ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A crawl with its task and how many addresses met which fate."""

    crawl: Crawl
    task: Any  # None when the task was deleted
    fates: Counter[str]
    lists: int = 0  # of the fetched: sitemaps and feeds, which only name other addresses

    @property
    def total(self) -> int:
        return sum(self.fates.values())

    @property
    def pages(self) -> int:
        return self.fates["fetched"] + self.fates["unchanged"] - self.lists


def _mine(ctx: Ctx) -> ColumnElement[bool]:
    if ctx.user.id is None and ctx.user.is_admin:
        return Crawl.id.is_not(None)
    return Crawl.owner_id == ctx.user.id if ctx.user.id else Crawl.owner_id.is_(None)


def list_(ctx: Ctx, *, cursor: str | None = None, limit: int = 50, collection_id: str | None = None) -> Page[Job]:
    """The caller's crawls, newest first. Four queries however many there are."""
    stmt = select(Crawl).where(_mine(ctx))
    if collection_id:
        stmt = stmt.where(Crawl.collection_id == collection_id[:40])
    page = keyset(ctx.db, stmt, Crawl.id, cursor=cursor, limit=max(1, min(200, limit)))
    return Page(_jobs(ctx, list(page.items)), page.next_cursor, page.prev_cursor)


def numbered(ctx: Ctx, page: int, size: int) -> tuple[int, list[Job]]:
    """(how many there are, those of a page), newest first."""
    count = ctx.db.scalar(select(func.count()).select_from(Crawl).where(_mine(ctx))) or 0
    stmt = select(Crawl).where(_mine(ctx)).order_by(Crawl.id.desc()).offset((page - 1) * size).limit(size)
    return count, _jobs(ctx, list(ctx.db.scalars(stmt)))


def get(ctx: Ctx, crawl_id: str) -> Job:
    """The caller's crawl, by its own id or that of its task. Raises NotFound for a stranger's, exactly as for none."""
    one = crawl_id[:40]
    row = ctx.db.scalar(select(Crawl).where(_mine(ctx), or_(Crawl.id == one, Crawl.task_id == one)))
    if row is None:
        raise NotFound("there is no such crawl")
    return _jobs(ctx, [row])[0]


def _jobs(ctx: Ctx, rows: list[Crawl]) -> list[Job]:
    from webapp.tasks import service as tasks

    counted = frontier.fates(ctx.db, [row.id for row in rows])
    found = tasks.by_ids(ctx, [row.task_id for row in rows if row.task_id])
    lists = frontier.lists(ctx.db, [row.id for row in rows])
    return [Job(row, found.get(row.task_id or ""), counted[row.id], lists.get(row.id, 0)) for row in rows]


def addresses(
    ctx: Ctx, crawl_id: str, *, state: str | None = None, q: str | None = None, cursor: str | None = None,
    limit: int = 100,
) -> Page[CrawlUrl]:  # fmt: skip
    """Each address with its fate, the one found last first."""
    row = get(ctx, crawl_id).crawl
    stmt: Select[Any] = select(CrawlUrl).where(CrawlUrl.crawl_id == row.id)
    if state:
        if state not in FATES:
            raise BadRequest(f"state: use one of {', '.join(FATES)}",
                             details=[{"loc": ["state"], "msg": f"use one of {', '.join(FATES)}", "type": "enum"}])  # fmt: skip
        stmt = stmt.where(CrawlUrl.state == state)
    if q:
        plain = q[:200].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("\0", "")
        stmt = stmt.where(CrawlUrl.url.ilike(f"%{plain}%", escape="\\"))
    return keyset(ctx.db, stmt, CrawlUrl.id, cursor=cursor, limit=max(1, min(500, limit)))


class Fate(NamedTuple):
    """What became of an address a crawl was given, or was led to from it. document_id: of the page, if it was read."""

    url: str
    state: str
    reason: str | None
    detail: str | None
    document_id: str | None
    fetched_at: datetime | None


def fates_of_task(rt: Runtime, task_id: str, limit: int = 1000) -> list[Fate]:
    """Of a crawl that reads single pages: one for each address, in the order they were given."""
    columns = (
        CrawlUrl.url,
        CrawlUrl.state,
        CrawlUrl.reason,
        CrawlUrl.detail,
        CrawlUrl.document_id,
        CrawlUrl.fetched_at,
    )
    stmt = (
        select(*columns).join(Crawl, Crawl.id == CrawlUrl.crawl_id).where(Crawl.task_id == task_id, CrawlUrl.depth == 0)
    )
    with rt.unit(write=False) as db:
        return [Fate(*row) for row in db.execute(stmt.order_by(CrawlUrl.id).limit(limit))]


def latest(ctx: Ctx, crawl: Crawl, limit: int = 12) -> list[CrawlUrl]:
    """What was fetched last, the newest first."""
    stmt = select(CrawlUrl).where(CrawlUrl.crawl_id == crawl.id, CrawlUrl.fetched_at.is_not(None))
    return list(ctx.db.scalars(stmt.order_by(CrawlUrl.fetched_at.desc(), CrawlUrl.id.desc()).limit(limit)))


def reasons(ctx: Ctx, crawl: Crawl) -> list[tuple[str, str, int]]:
    """(state, reason, number) of what was left out or failed, the most frequent first."""
    of = (CrawlUrl.crawl_id == crawl.id, CrawlUrl.state.in_(("skipped", "failed")))
    number = func.count()
    stmt = select(CrawlUrl.state, CrawlUrl.reason, number).where(*of).group_by(CrawlUrl.state, CrawlUrl.reason)
    return [(row[0], row[1] or "", row[2]) for row in ctx.db.execute(stmt.order_by(number.desc()).limit(30))]


def cancel(ctx: Ctx, crawl_id: str) -> Job:
    """Stop it within seconds; what was read stays. Raises Conflict when it is over."""
    from webapp.tasks import service as tasks

    job = get(ctx, crawl_id)
    if job.task is None:
        raise NotFound("the task of this crawl is not there any more")
    tasks.cancel(ctx, job.task.id)
    return get(ctx, job.crawl.id)


# -- pages -----------------------------------------------------------------------------------------------------------


def pages(ctx: Ctx, number: int, size: int, *, job: str | None = None, collection_id: str | None = None,
          embedded: bool | None = None) -> tuple[int, list[Any]]:  # fmt: skip
    """(how many, documents of a page) of the web pages the caller may read; of one crawl with `job`."""
    from webapp.knowledge.service import web

    ids = None
    if job is not None:
        of = (CrawlUrl.crawl_id == get(ctx, job).crawl.id, CrawlUrl.document_id.is_not(None))
        ids = select(CrawlUrl.document_id).where(*of)
    return web.pages(ctx, (number - 1) * size, size, ids=ids, collection_id=collection_id, embedded=embedded)


def page(ctx: Ctx, page_id: str) -> tuple[Any, Any]:
    """(document, its current version). Raises NotFound."""
    from webapp.knowledge.service import web

    return web.page(ctx, page_id)


def process(ctx: Ctx, page_id: str) -> dict[str, Any]:
    """Have a page embedded: `{"status", "page_id", "reason", "task_id"}`. Forbidden for one shared for reading."""
    from webapp.knowledge import embed
    from webapp.knowledge.service import collections

    row, version = page(ctx, page_id)
    collections.writable(ctx, row.collection_id)
    if version is None or not row.chunk_count:
        return {"status": "skipped", "page_id": row.id, "reason": "no_content"}
    if row.pending_chunks == 0:
        return {"status": "skipped", "page_id": row.id, "reason": "already_processed"}
    return {"status": "queued", "page_id": row.id, "task_id": embed.request(ctx, row.collection_id)}


# -- the books of a running one --------------------------------------------------------------------------------------


def begin(task: TaskRun, params: CrawlParams) -> tuple[str, bool]:
    """(crawl id, it was finished before) of a task; made here when the task was started by its kind's name."""
    with task.unit() as db:
        row = db.scalar(select(Crawl).where(Crawl.task_id == task.id))
        if row is None:
            row = Crawl(**_columns(task.id, task.owner_id, params.model_dump(mode="json")))
            db.add(row)
            db.flush()
        return row.id, row.finished_at is not None


def tidy(rt: Runtime) -> None:
    """Remove what crawls that are over or gone left in the spool. A crawl's row is there before its folder."""
    names = left_behind(rt.settings)
    with rt.unit(write=False) as db:
        open_ = set(db.scalars(select(Crawl.id).where(Crawl.id.in_(names[:1000]), Crawl.finished_at.is_(None))))
    for name in names[:1000]:
        if name not in open_:
            Spool(rt.settings, name).clear()


def known_links(rt: Runtime, collection_id: str, but: str) -> dict[str, list[str]]:
    """page -> addresses found on it, from the last finished crawl of a collection: where unchanged pages lead."""
    last = select(Crawl.id).where(Crawl.collection_id == collection_id, Crawl.id != but, Crawl.finished_at.is_not(None))
    found: defaultdict[str, list[str]] = defaultdict(list)
    with rt.unit(write=False) as db:
        crawls = list(db.scalars(last.order_by(Crawl.id.desc()).limit(5)))
        stmt = select(CrawlUrl.found_on, CrawlUrl.url).where(
            CrawlUrl.crawl_id.in_(crawls), CrawlUrl.found_on.is_not(None)
        )
        for page, url in db.execute(stmt.order_by(CrawlUrl.id).limit(100_000)):
            found[page or ""].append(url)
    return found


def finish(task: TaskRun, params: CrawlParams, crawl_id: str) -> dict[str, Any]:
    """Close the books, and have what was read analysed and embedded without a further request (M028)."""
    with task.unit() as db:
        counted = frontier.fates(db, [crawl_id])[crawl_id]
        stmt = select(CrawlUrl.reason, func.count()).where(CrawlUrl.crawl_id == crawl_id, CrawlUrl.state == "fetched")
        made = {row[0]: row[1] for row in db.execute(stmt.group_by(CrawlUrl.reason))}
        finished: datetime = utcnow()
        row = db.get(Crawl, crawl_id)
        seen = row.counts if row else {}
        db.execute(update(Crawl).where(Crawl.id == crawl_id, Crawl.finished_at.is_(None)).values(finished_at=finished))
    followed = _follow_up(task, params, counted["fetched"] + counted["unchanged"])
    _source_was_read(task, params, crawl_id, counted)
    return {
        "crawl_id": crawl_id,
        "collection_id": params.collection_id,
        "pages": counted["fetched"] - made.get("list", 0) + counted["unchanged"],
        "new": made.get("new", 0),
        "changed": made.get("changed", 0),
        "unchanged": counted["unchanged"],
        "skipped": counted["skipped"] + seen.get("not shown", 0),
        "failed": counted["failed"],
        "bytes": seen.get("bytes", 0),
        "next": followed,
    }


def settle_source(task: TaskRun, params: CrawlParams, state: str, error: str | None = None,
                  outcome: dict[str, Any] | None = None) -> None:  # fmt: skip
    """Tell the source, if the crawl is one of a source, what became of it."""
    from webapp.knowledge.service import sources

    if params.source_id is not None:
        sources.settle(task.rt, params.source_id, task.id, state, error, outcome)


def _source_was_read(task: TaskRun, params: CrawlParams, crawl_id: str, counted: Counter[str]) -> None:
    read, failed = counted["fetched"] + counted["unchanged"], counted["failed"]
    state = "ready" if not failed and read else "partial" if read else "failed"
    error = f"{failed:,} of {failed + read:,} pages could not be read" if failed else None
    settle_source(task, params, state, error if read else _why_nothing(task.rt, crawl_id),
                  {"outcome": "crawled", "pages": read, "failed": failed})  # fmt: skip


def _why_nothing(rt: Runtime, crawl_id: str) -> str:
    """A sentence for a crawl that gave no page: what became of its first address."""
    stmt = select(CrawlUrl.detail).where(CrawlUrl.crawl_id == crawl_id, CrawlUrl.detail.is_not(None))
    with rt.unit(write=False) as db:
        return db.scalar(stmt.order_by(CrawlUrl.depth, CrawlUrl.id).limit(1)) or "No page was found."


def _follow_up(task: TaskRun, params: CrawlParams, read: int) -> list[str]:
    """Start what makes the pages findable, if anything is to do: the same words may have come under a new title."""
    from webapp.knowledge import embed
    from webapp.knowledge.service import indexing

    if not read or params.collection_id is None:
        return []
    started = []
    try:  # should one fail, the pages are stored all the same and the schedules will find them
        started.append(embed.request(task.rt, params.collection_id))
        started.append(indexing.assess(task.rt, params.collection_id))
    except AppError as error:
        task.log(f"What follows was not started: {error.message}", "warning")
    return [one for one in started if one]

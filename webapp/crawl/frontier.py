"""The addresses of one crawl: rows that survive a kill, and in memory what decides quickly.

An address enters once. What was committed is never fetched again; what was in flight at a kill still says `queued`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select, update

from webapp.core.db import new_id
from webapp.crawl.models import Crawl, CrawlUrl
from webapp.crawl.urls import host_of

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun

SHOWN_SKIPS = 1_000  # addresses that were never meant to be fetched; more are only counted
DONE = ("fetched", "unchanged", "skipped", "failed")


@dataclass(slots=True)
class Item:
    """An address that waits, or is being fetched or read."""

    id: str
    url: str
    kind: str = "page"
    depth: int = 0
    found_on: str | None = None
    attempts: int = 0
    hops: int = 0  # redirects behind it
    fetched_at: datetime | None = None
    canonical: str | None = None
    bytes: int | None = None
    ms: int | None = None
    status: int | None = None


class Frontier:
    """Used by the loop's thread only; `seen` may be read by others."""

    def __init__(self, task: TaskRun, crawl_id: str) -> None:
        self.task, self.crawl_id = task, crawl_id
        self.seen: set[str] = set()
        self.counts: Counter[str] = Counter()  # fates, and "skipped:<reason>"
        self.bytes = 0
        self._new: list[dict[str, Any]] = []
        self._changes: list[dict[str, Any]] = []
        self._skips = 0

    def load(self) -> tuple[list[Item], list[Item], list[tuple[str, str]]]:
        """(waiting, fetched but not read, signatures of what was read), as the last commit left them."""
        waiting, unread, signs = [], [], []
        with self.task.rt.unit(write=False) as db:
            rows = db.execute(
                select(
                    CrawlUrl.id, CrawlUrl.url, CrawlUrl.kind, CrawlUrl.depth, CrawlUrl.found_on, CrawlUrl.attempts,
                    CrawlUrl.state, CrawlUrl.reason, CrawlUrl.fetched_at, CrawlUrl.canonical, CrawlUrl.bytes,
                    CrawlUrl.minhash, CrawlUrl.ms, CrawlUrl.status,
                ).where(CrawlUrl.crawl_id == self.crawl_id).order_by(CrawlUrl.depth, CrawlUrl.id)
            ).all()  # fmt: skip
            kept = db.scalar(select(Crawl.counts).where(Crawl.id == self.crawl_id)) or {}
        for row in rows:
            self.seen.add(row.url)
            self.counts[row.state] += 1
            self.bytes += row.bytes or 0
            item = Item(row.id, row.url, row.kind, row.depth, row.found_on, row.attempts, fetched_at=row.fetched_at,
                        canonical=row.canonical, bytes=row.bytes, ms=row.ms, status=row.status)  # fmt: skip
            if row.state == "queued":
                waiting.append(item)
            elif row.state == "reading":
                unread.append(item)
            elif row.minhash and row.state in ("fetched", "unchanged"):
                signs.append((row.url, row.minhash))
            self._skips += row.state == "skipped" and row.fetched_at is None
        self.counts["not shown"] = kept.get("not shown", 0)
        return waiting, unread, signs

    def add(self, url: str, kind: str, depth: int, found_on: str | None, hops: int = 0) -> Item | None:
        """A new address to fetch; None when it was met before."""
        if url in self.seen:
            return None
        item = Item(new_id(), url, kind, depth, found_on, hops=hops)
        self._insert(item, "queued", None, None)
        return item

    def skip(self, url: str, depth: int, found_on: str | None, reason: str, detail: str | None = None) -> None:
        """An address that will not be fetched, kept with its reason, up to a number; then only counted."""
        if url in self.seen:
            return
        self._skips += 1
        if self._skips > SHOWN_SKIPS:
            self.seen.add(url)
            self.counts["not shown"] += 1
            return
        self._insert(Item(new_id(), url, "page", depth, found_on), "skipped", reason, detail)

    def _insert(self, item: Item, state: str, reason: str | None, detail: str | None) -> None:
        self.seen.add(item.url)
        self.counts[state] += 1
        self._new.append(
            {"id": item.id, "crawl_id": self.crawl_id, "url": item.url,
             "url_hash": hashlib.sha256(item.url.encode()).hexdigest(), "host": host_of(item.url)[:255],
             "kind": item.kind, "depth": item.depth, "found_on": item.found_on, "state": state, "reason": reason,
             "detail": detail, "attempts": 0}
        )  # fmt: skip

    def settle(self, item: Item, before: str, state: str, reason: str | None = None, detail: str | None = None,
               **more: Any) -> None:  # fmt: skip
        """The fate of an address. before: the state its row has now."""
        self.counts[before] -= 1
        self.counts[state] += 1
        self._changes.append(
            {"row_id": item.id, "state": state, "reason": reason, "detail": detail[:1000] if detail else None,
             "status": item.status, "bytes": item.bytes, "ms": item.ms, "attempts": item.attempts,
             "canonical": item.canonical, "fetched_at": item.fetched_at, "minhash": more.get("minhash"),
             "document_id": more.get("document_id")}
        )  # fmt: skip

    def dirty(self) -> bool:
        return bool(self._new or self._changes)

    def commit(self) -> None:
        """All that happened since the last one, in one short unit that only the owner of the task can write."""
        if not self.dirty():
            return
        new, changes = self._new, self._changes
        with self.task.unit() as db:
            if new:
                db.execute(insert(CrawlUrl), new)
            if changes:
                db.connection().execute(_CHANGE, changes)
            db.execute(update(Crawl).where(Crawl.id == self.crawl_id).values(counts=self.shown_counts()))
        self._new, self._changes = [], []

    def shown_counts(self) -> dict[str, int]:
        return {name: number for name, number in self.counts.items() if number} | {"bytes": self.bytes}

    def close_rest(self, reason: str, detail: str) -> None:
        """What still waits when a cap is reached."""
        self.commit()
        with self.task.unit() as db:
            stmt = update(CrawlUrl).where(CrawlUrl.crawl_id == self.crawl_id, CrawlUrl.state == "queued")
            closed: Any = db.execute(stmt.values(state="skipped", reason=reason, detail=detail))
            self.counts["queued"] -= closed.rowcount
            self.counts["skipped"] += closed.rowcount
            db.execute(update(Crawl).where(Crawl.id == self.crawl_id).values(counts=self.shown_counts()))


_CHANGE = (
    update(CrawlUrl.__table__)  # type: ignore[arg-type]
    .where(CrawlUrl.__table__.c.id == bindparam("row_id"))
    .values({name: bindparam(name) for name in (
        "state", "reason", "detail", "status", "bytes", "ms", "attempts", "canonical", "fetched_at", "minhash",
        "document_id")})
)  # fmt: skip


def fates(db: Any, crawl_ids: Sequence[str]) -> dict[str, Counter[str]]:
    """crawl id -> state -> number, counted from the rows."""
    stmt = select(CrawlUrl.crawl_id, CrawlUrl.state, func.count()).where(CrawlUrl.crawl_id.in_(crawl_ids))
    found: dict[str, Counter[str]] = {one: Counter() for one in crawl_ids}
    for crawl_id, state, number in db.execute(stmt.group_by(CrawlUrl.crawl_id, CrawlUrl.state)):
        found[crawl_id][state] = number
    return found


def lists(db: Any, crawl_ids: Sequence[str]) -> dict[str, int]:
    """crawl id -> how many of what it fetched were sitemaps and feeds."""
    of = (CrawlUrl.crawl_id.in_(crawl_ids), CrawlUrl.state == "fetched", CrawlUrl.reason == "list")
    stmt = select(CrawlUrl.crawl_id, func.count()).where(*of).group_by(CrawlUrl.crawl_id)
    return {row[0]: row[1] for row in db.execute(stmt)}


def by_depth(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: (item.depth, item.id))

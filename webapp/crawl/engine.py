"""The loop of a crawl: hands addresses to fetching threads and answers to reading threads, and alone keeps the books.

Fetching comes first: while it runs at full speed nothing is read, since taking pages apart costs more processor time
than fetching them. Where politeness makes fetching wait, reading fills the gaps.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from webapp.core.errors import TaskCancelled, TaskInterrupted, TaskParked, TaskTimedOut
from webapp.crawl import urls
from webapp.crawl.fetching import Answer, Fetcher
from webapp.crawl.frontier import Frontier, Item
from webapp.crawl.politeness import Host, pace
from webapp.crawl.reading import Reader, Reading
from webapp.crawl.telling import News, told
from webapp.crawl.wanted import Wanted
from webapp.knowledge.service import web

if TYPE_CHECKING:
    from webapp.crawl.params import CrawlParams
    from webapp.tasks.run import TaskRun

FETCHERS, READERS = 16, 2
BUSY = FETCHERS // 2  # so many requests in flight are "at full speed"
BACKLOG = 3_000  # answers that may wait to be read while fetching is busy
MAX_HOPS = 5  # redirects in a row
TICK = 0.25
GATHER = 0.05  # seconds of outcomes that share one commit: what a kill may cost
LIST_PAGES = 50  # sitemaps and feeds of one crawl


@dataclass
class Trouble:
    """What ended a thread."""

    error: BaseException


Outcome = Answer | Reading | Trouble


class Crawler:
    """One run of `crawl.site`. May be made again after a kill: everything that counts is in the rows."""

    def __init__(
        self,
        task: TaskRun,
        params: CrawlParams,
        frontier: Frontier,
        fetcher: Fetcher,
        reader: Reader,
        known_links: Callable[[str], list[str]],
    ) -> None:
        """known_links: where an unchanged page led when it was last read."""
        self.task, self.params, self.frontier = task, params, frontier
        self.fetcher, self.reader, self.known_links = fetcher, reader, known_links
        self.hosts: dict[str, Host] = {}
        self.wanted = Wanted(params, fetcher.policy, self.hosts.keys(), lambda: frontier.counts["queued"])
        self.jobs: queue.SimpleQueue[Callable[[], Outcome] | None] = queue.SimpleQueue()
        self.readings: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self.outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self.in_flight = self.being_read = self.pages = self.requests = self.lists = 0
        self.unread: list[Item] = []
        self.held: defaultdict[str, list[Item]] = defaultdict(list)  # wait for the page they name as their original
        self.settled: set[str] = set()
        self.confirmed: list[str] = []
        self.cap: tuple[str, str] | None = None
        self.committed = 0.0
        self.is_news = News()
        self.ending = threading.Event()
        self.deferred: list[tuple[float, Item]] = []

    # -- the whole -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until nothing is left or a cap is reached. Raises what ends a task early; the rows stay as committed."""
        threads = [
            threading.Thread(target=self._fetching, name=f"crawl-fetch-{n}", daemon=True) for n in range(FETCHERS)
        ]
        threads += [threading.Thread(target=self._reading, name=f"crawl-read-{n}", daemon=True) for n in range(READERS)]
        try:
            self._resume()
            for thread in threads:
                thread.start()
            self._loop()
            if self.cap is not None:
                self.frontier.close_rest(*self.cap)
        except (TaskCancelled, TaskParked, TaskTimedOut):  # it is still ours: what was done stays done
            self.frontier.commit()
            raise
        finally:
            self.ending.set()
            for _ in threads:
                self.jobs.put(None)
                self.readings.put(None)
            for thread in threads:
                if thread.ident is not None:
                    thread.join(5)
            self.fetcher.close()

    def _resume(self) -> None:
        waiting, unread, signs = self.frontier.load()
        for url, sign in signs:
            self.reader.remember(url, sign)
        counts = self.frontier.counts
        self.pages = counts["fetched"] + counts["unchanged"] + counts["reading"]
        self.requests = self.pages + counts["failed"]
        for item in waiting:
            self._queue(item)
        for item in unread:
            self._await_reading(item)
        if not self.frontier.seen:
            kind = {"sitemap": "sitemap", "feed": "feed"}.get(self.params.read_as, "page")
            for url in self.wanted.seeds:
                self._offer(url, kind, 0, None, asked=True)
        self.frontier.commit()

    def _loop(self) -> None:
        while True:
            self.task.check()
            self._step_aside()
            self._hand_out()
            if not (self.in_flight or self.being_read):
                if self._release_held():
                    continue
                if not self._something_waits():
                    self._commit()
                    return
            self._take_in()

    def _step_aside(self) -> None:
        """A person who waits for an answer goes before a crawl."""
        self.task.rt.foreground.wait(self.task.stopped)

    def _something_waits(self) -> bool:
        if self.cap is not None:
            return False
        return bool(self.deferred) or any(host.queue and not host.given_up for host in self.hosts.values())

    def _take_in(self) -> None:
        try:
            outcome = self.outcomes.get(timeout=self._patience())
        except queue.Empty:
            self._commit()
            self._tell()  # what was taken in last, while a slow page is waited for
            return
        for _ in range(200):
            self._apply(outcome)
            self._step_aside()  # a page with many links takes a while
            try:
                outcome = self.outcomes.get_nowait()
            except queue.Empty:
                break
        else:
            self._apply(outcome)
        self._hand_out()  # the threads work on while the books are written
        if time.monotonic() - self.committed >= GATHER:
            self._commit()
            self._tell()

    def _commit(self) -> None:
        self.frontier.commit()
        self.committed = time.monotonic()
        if len(self.confirmed) >= 50:
            self._confirm()

    def _patience(self) -> float:
        """Until the next host may be asked, or a moment."""
        now = time.monotonic()
        times = [host.next_at for host in self.hosts.values() if host.queue and host.in_flight < host.at_once]
        times += [at for at, _ in self.deferred]
        longest = GATHER if self.frontier.dirty() else TICK
        return max(0.002, min([longest, *(at - now for at in times)]))

    def _confirm(self) -> None:
        confirmed, self.confirmed = self.confirmed, []
        web.confirm(self.task.rt, confirmed)

    def _tell(self) -> None:
        percent, message = told(self.frontier.counts, self.params.max_pages - self.pages)
        if self.is_news(message):
            self.task.progress(percent, message)

    # -- threads ---------------------------------------------------------------------------------------------------

    def _fetching(self) -> None:
        while (job := self.jobs.get()) is not None:
            self.outcomes.put(self._safely(job))

    def _reading(self) -> None:
        while (item := self.readings.get()) is not None:
            self.outcomes.put(self._safely(lambda item=item: self.reader.read(item)))  # type: ignore[misc]

    def _safely(self, job: Callable[[], Outcome]) -> Outcome:
        try:
            if self.ending.is_set():
                raise TaskInterrupted("the crawl ends")
            self._step_aside()
            return job()
        except BaseException as error:  # to be raised in the loop
            return Trouble(error)

    # -- handing out -----------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        now = time.monotonic()
        if self.deferred:
            due = [item for at, item in self.deferred if at <= now]
            self.deferred = [(at, item) for at, item in self.deferred if at > now]
            for item in due:
                self._queue(item, front=True)
        if self.cap is None:
            for host in list(self.hosts.values()):
                self._hand_out_of(host, now)
        self._hand_out_readings()

    def _hand_out_of(self, host: Host, now: float) -> None:
        while self.in_flight < FETCHERS * 2 and host.can_start(now):
            if host.given_up is not None:
                self._give_up(host)
                return
            if host.rules is None:
                host.asking = True
                self._start(host, now, lambda item=host.queue[0]: self.fetcher.rules(item, host.name))  # type: ignore[misc]
                return
            item = host.queue.popleft()
            if not host.rules.allows(urls.path_of(item.url)):
                closed = host.rules.closed
                detail = host.notes[-1] if closed and host.notes else "robots.txt does not allow it."
                self._settle(item, "queued", "skipped", "robots", detail)
                continue
            if item.kind == "page" and self._is_full(item):
                host.queue.appendleft(item)
                return
            self._start(host, now, lambda item=item: self.fetcher.page(item, host.name))  # type: ignore[misc]

    def _is_full(self, item: Item) -> bool:
        """Reserves a page of the budget; sets the cap when there is none."""
        params = self.params
        if self.pages >= params.max_pages:
            if not self.in_flight:
                self.cap = ("page_cap", f"The crawl was limited to {params.max_pages:,} pages.")
            return True
        if self.requests >= 4 * params.max_pages + 100:
            self.cap = ("request_cap", f"{self.requests:,} requests gave {self.pages:,} pages; that was enough.")
            return True
        if self.frontier.bytes > params.max_mb * 2**20:
            self.cap = ("byte_cap", f"The crawl was limited to {params.max_mb:,} MB.")
            return True
        self.pages += 1
        self.requests += 1
        return False

    def _start(self, host: Host, now: float, job: Callable[[], Outcome]) -> None:
        host.started(now)
        self.in_flight += 1
        self.jobs.put(job)

    def _give_up(self, host: Host) -> None:
        while host.queue:
            self._settle(host.queue.popleft(), "queued", "failed", "host_down", host.given_up)

    def _hand_out_readings(self) -> None:
        if self.in_flight >= BUSY and len(self.unread) < BACKLOG:
            urgent = [item for item in self.unread if item.kind != "page"]
        else:
            urgent = self.unread
        for item in urgent[: READERS * 2 - self.being_read]:
            self.unread.remove(item)
            self.being_read += 1
            self.readings.put(item)

    # -- taking in -------------------------------------------------------------------------------------------------

    def _apply(self, outcome: Outcome) -> None:
        if isinstance(outcome, Trouble):
            raise outcome.error
        if isinstance(outcome, Reading):
            self.being_read -= 1
            self._read(outcome)
            return
        host = self.hosts[outcome.host]
        self.in_flight -= 1
        host.in_flight -= 1
        if outcome.outcome == "robots":
            self._learned(host, outcome)
            return
        if outcome.spoke:
            host.answered()
        else:
            host.did_not_answer()
        self.frontier.bytes += outcome.item.bytes or 0
        if outcome.item.kind == "page" and outcome.outcome not in ("body", "unchanged"):
            self.pages -= 1  # only what gave a page counts
        self._fetched(host, outcome)

    def _learned(self, host: Host, answer: Answer) -> None:
        assert answer.rules is not None
        host.learned(answer.rules, answer.notes)
        for note in answer.notes:
            self.task.log(f"{host.name}: {note}", "warning")
        if (
            self.params.read_as == "site"
            and self.params.use_sitemaps
            and urls.site_of(answer.item.url) in self.wanted.sites
        ):
            for found in answer.sitemaps[:10]:
                with suppress(ValueError):  # an address whose brackets do not match
                    self._offer_list(urljoin(answer.item.url, found), "sitemap")

    def _fetched(self, host: Host, answer: Answer) -> None:
        item = answer.item
        match answer.outcome:
            case "body":
                self.frontier.settle(item, "queued", "reading")
                self._follow(item, answer.links, answer.more_links)
                self._await_reading(item)
            case "unchanged":
                known = self.fetcher.validators[item.url]
                self.confirmed.append(known.document_id)
                self._settle(item, "queued", "unchanged", answer.reason, answer.detail, document_id=known.document_id)
                self._follow(item, self.known_links(item.url), 0)
            case "redirect":
                self._settle(item, "queued", "skipped", "redirect", answer.detail)
                self._redirect(item, answer.links[0])
            case "again":
                self._again(host, answer)
            case fate:
                self._settle(item, "queued", fate, answer.reason, answer.detail)
                self._follow(item, answer.links, answer.more_links)

    def _again(self, host: Host, answer: Answer) -> None:
        item, wait = answer.item, answer.wait or 1.0
        now = time.monotonic()
        if item.status in (429, 503):
            host.asks_to_wait(now, wait)
        self.deferred.append((now + min(wait, 120.0), item))

    def _redirect(self, item: Item, target: str) -> None:
        if item.hops >= MAX_HOPS:
            self.frontier.skip(target, item.depth, item.url, "redirects", "It is behind too many redirects.")
            return
        if item.depth == 0 and item.found_on is None and self.wanted.refusal_of_seed(target) is None:
            self.wanted.sites.add(urls.site_of(target))  # the address given moved: that is where they meant
        self._offer(
            target, item.kind, item.depth, item.url, hops=item.hops + 1, asked=item.url in self.fetcher.asked_for
        )

    def _await_reading(self, item: Item) -> None:
        """A page that names another as its original waits for that one, if this crawl may read it."""
        original = item.canonical
        if original is not None and original not in self.settled and urls.host_of(original) == urls.host_of(item.url):
            if original not in self.frontier.seen:
                self._offer(original, "page", item.depth, item.url)
            if original in self.frontier.seen:
                self.held[original].append(item)
                return
        self.unread.append(item)

    def _release_held(self) -> bool:
        """Nothing else goes on: originals that wait for each other, or never came."""
        released = [item for items in self.held.values() for item in items]
        self.held.clear()
        self.unread += released
        return bool(released)

    def _read(self, reading: Reading) -> None:
        item = reading.item
        if reading.outcome == "lost":
            self.frontier.settle(item, "reading", "queued")
            self.pages -= item.kind == "page"
            self._queue(item)
            return
        if item.kind == "page" and reading.outcome not in ("fetched", "unchanged"):
            self.pages -= 1
        self._settle(item, "reading", reading.outcome, reading.reason, reading.detail,
                     document_id=reading.document_id, minhash=reading.minhash)  # fmt: skip
        for url in reading.entries:
            self._entry(item, url, reading.index)
        origin = urls.origin_of(item.url)
        self._follow(
            item, [found for href in reading.links if (found := self.fetcher.resolve(href, item.url, origin))], 0
        )

    def _entry(self, item: Item, url: str, index: bool) -> None:
        target = self.fetcher.resolve(url, item.url, urls.origin_of(item.url))
        if target is None:
            return
        if index:
            self._offer_list(target, "sitemap")
        else:
            self._offer(target, "page", 0 if self.params.read_as != "site" else 1, item.url)

    def _settle(self, item: Item, before: str, state: str, reason: str | None, detail: str | None, **more: Any) -> None:
        self.frontier.settle(item, before, state, reason, detail, **more)
        self.settled.add(item.url)
        if item.url in self.held:
            self.unread += self.held.pop(item.url)

    # -- what is wanted --------------------------------------------------------------------------------------------

    def _follow(self, item: Item, found: list[str], more: int) -> None:
        if self.params.read_as in ("page", "feed", "sitemap"):
            return
        if more:
            self.task.log(f"{item.url} has {more:,} links more than are followed.", "warning")
        for url in found:
            if url not in self.frontier.seen:
                self._offer(url, "page", item.depth + 1, item.url)

    def _offer_list(self, url: str, kind: str) -> None:
        try:
            url = urls.normalise(url)
        except urls.BadUrl:
            return
        if url not in self.frontier.seen and self.lists < LIST_PAGES and self.wanted.foreign(url) is None:
            self.lists += 1
            if item := self.frontier.add(url, kind, 0, None):
                self._queue(item, front=True)

    def _offer(
        self, url: str, kind: str, depth: int, found_on: str | None, *, hops: int = 0, asked: bool = False
    ) -> None:
        refusal = self.wanted.refusal_of_seed(url) if asked else self.wanted.refusal(url, depth)
        if refusal is not None:
            self.frontier.skip(url, depth, found_on, *refusal)
        elif item := self.frontier.add(url, kind, depth, found_on, hops):
            self._queue(item)

    def _queue(self, item: Item, *, front: bool = False) -> None:
        name = urls.host_of(item.url)
        host = self.hosts.get(name)
        if host is None:
            at_once, delay = pace(self.wanted.is_own(item.url), self.params.delay)
            host = self.hosts[name] = Host(name, at_once, delay)
        (host.queue.appendleft if front else host.queue.append)(item)

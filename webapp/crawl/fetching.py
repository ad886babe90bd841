"""One request of a crawl and what it says: runs in the fetching threads, knows neither rows nor the loop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from webapp import __version__
from webapp.core.addresses import remembering
from webapp.core.db import utcnow
from webapp.core.errors import AppError, BlockedAddress, TaskCancelled, TooLarge, UnsupportedMedia, Upstream
from webapp.core.http import Fetched, OutboundPolicy, safe_fetch
from webapp.core.keepalive import KeptAlive
from webapp.crawl import links, robots, urls
from webapp.crawl.frontier import Item
from webapp.crawl.robots import Rules
from webapp.crawl.spool import Spool

ROBOT = "Brainstem"
USER_AGENT = f"{ROBOT}/{__version__} (crawler of a private knowledge base; obeys robots.txt)"
TIMEOUT = 30.0  # seconds for a whole fetch (drill A29)
PAGE_BYTES = 10 * 2**20
ACCEPT = "text/html,application/xhtml+xml,application/pdf;q=0.9,text/*;q=0.9,*/*;q=0.5"
READABLE = ("text/", "application/")  # families; what they hold is judged by the reader
REFUSED = re.compile(
    r"application/(?:javascript|x-javascript|wasm|font|x-font|octet-stream$|x-shockwave|zip$|x-msdownload)"
)
REDIRECTS = (301, 302, 303, 307, 308)
TRY_AGAIN = (408, 425, 429, 500, 502, 503, 504)
ATTEMPTS = 3


@dataclass
class Validators:
    """What is known of an address from its last reading: for a conditional request (RFC 9110 13)."""

    document_id: str
    etag: str | None = None
    last_modified: str | None = None


@dataclass
class Answer:
    """outcome: "body" (kept in the spool), "unchanged", "redirect", "skipped", "failed", "again" or "robots".

    links: normalised, not met before when they were found. wait: seconds the host wants to be left alone.
    spoke: the host answered at all.
    """

    item: Item
    host: str
    outcome: str
    reason: str | None = None
    detail: str | None = None
    links: list[str] = field(default_factory=list)
    feeds: list[str] = field(default_factory=list)
    more_links: int = 0
    wait: float | None = None
    spoke: bool = True
    rules: Rules | None = None
    sitemaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Fetcher:
    """Shared by all fetching threads of one crawl."""

    def __init__(
        self,
        policy: OutboundPolicy,
        spool: Spool,
        seen: Container[str],
        *,
        validators: Mapping[str, Validators],
        stopped: Callable[[], bool],
        asked_for: Container[str],
        page_bytes: int = PAGE_BYTES,
        step_aside: Callable[[], None] = lambda: None,
    ) -> None:
        """asked_for: addresses the user named; robots meta tags are for what a robot found by itself.
        step_aside: called when a page has come, before it is looked through."""
        self.policy = remembering(policy)
        self.spool, self.seen, self.validators, self.asked_for = spool, seen, validators, asked_for
        self.stopped, self.page_bytes, self.step_aside = stopped, page_bytes, step_aside
        self.keep = KeptAlive()
        self.resolve = urls.Links().resolve

    def close(self) -> None:
        self.keep.close()

    # -- robots.txt ------------------------------------------------------------------------------------------------

    def rules(self, item: Item, host: str) -> Answer:
        """Rules of the host of `item`, which itself is not fetched yet."""
        found = self._robots_of(urls.origin_of(item.url))
        return Answer(item, host, "robots", rules=found.rules_for(ROBOT), sitemaps=found.sitemaps, notes=found.notes)

    def _robots_of(self, origin: str) -> robots.Robots:
        try:
            page = self._get(origin + "/robots.txt", max_bytes=robots.MAX_BYTES, timeout=15.0)
        except TaskCancelled:
            raise
        except (BlockedAddress, TooLarge, UnsupportedMedia) as error:
            return robots.unreachable(error.message)
        except AppError as error:
            if error.code == "too_many_redirects":  # RFC 9309 2.3.1.2: as if there were none
                return robots.Robots()
            return robots.unreachable(error.message)
        return robots.of_answer(page.status, page.body)

    def _get(self, url: str, *, max_bytes: int, timeout: float, max_redirects: int = 5, **options: Any) -> Fetched:
        return safe_fetch(
            url, policy=self.policy, max_bytes=max_bytes, on_too_large="truncate", timeout=timeout,
            max_redirects=max_redirects, user_agent=USER_AGENT, cancelled=self.stopped, keep=self.keep, **options,
        )  # fmt: skip

    # -- pages -----------------------------------------------------------------------------------------------------

    def page(self, item: Item, host: str) -> Answer:
        """Fetch `item`; its body, if it has one to read, lies in the spool when this returns."""
        item.attempts += 1
        headers = {"Accept": ACCEPT}
        known = self.validators.get(item.url)
        if known is not None:
            headers |= {"If-None-Match": known.etag} if known.etag else {}
            headers |= {"If-Modified-Since": known.last_modified} if known.last_modified else {}
        started = time.monotonic()
        try:
            page = self._get(item.url, max_bytes=self.page_bytes, timeout=TIMEOUT, max_redirects=0, headers=headers,
                             expected=READABLE)  # fmt: skip
        except TaskCancelled:
            raise
        except AppError as error:
            item.ms = round((time.monotonic() - started) * 1000)
            return self._failed(item, host, error)
        item.ms, item.status, item.bytes, item.fetched_at = page.elapsed_ms, page.status, len(page.body), utcnow()
        self.step_aside()
        if page.status == 304 and known is not None:
            return Answer(item, host, "unchanged", "not_modified", "The server says it has not changed.")
        if page.status in REDIRECTS and page.headers.get("location"):
            return self._redirected(item, host, page)
        if not 200 <= page.status < 300:
            return self._refused(item, host, page)
        return self._kept(item, host, page)

    def _failed(self, item: Item, host: str, error: AppError) -> Answer:
        if isinstance(error, UnsupportedMedia):
            return Answer(item, host, "skipped", "type", error.message)
        if isinstance(error, BlockedAddress):
            return Answer(item, host, "failed", "blocked", error.message, spoke=False)
        silent = isinstance(error, Upstream) and error.code in ("connection", "unreachable", "timeout", "dns", "tls")
        outcome = "again" if error.retryable and item.attempts < ATTEMPTS else "failed"
        wait = 2.0**item.attempts if outcome == "again" else None
        return Answer(item, host, outcome, error.code, error.message, wait=wait, spoke=not silent)

    def _refused(self, item: Item, host: str, page: Fetched) -> Answer:
        name = f"http_{page.status}"
        said = f"The server answered {page.status}."
        if page.status not in TRY_AGAIN or item.attempts >= ATTEMPTS:
            return Answer(item, host, "failed", name, said)
        wait = retry_after(page.headers.get("retry-after"))
        return Answer(item, host, "again", name, said, wait=2.0**item.attempts if wait is None else wait)

    def _redirected(self, item: Item, host: str, page: Fetched) -> Answer:
        location = page.headers["location"]
        try:
            location = location.encode("latin-1").decode("utf-8")
        except UnicodeError:
            location = quote(location, safe="".join(map(chr, range(0x20, 0x7F))), encoding="latin-1")
        try:
            target = urls.normalise(location, item.url)
        except urls.BadUrl as error:
            return Answer(item, host, "failed", "redirect", f"It leads to an unusable address: {error}")
        if target == item.url:
            return Answer(item, host, "failed", "redirect_loop", "It leads to itself.")
        return Answer(item, host, "redirect", "redirect", f"It leads to {target}", links=[target])

    def _kept(self, item: Item, host: str, page: Fetched) -> Answer:
        kind = page.content_type
        if REFUSED.match(kind) and item.kind == "page":
            return Answer(item, host, "skipped", "type", f"It is {kind}.")
        if page.truncated and not kind.startswith("text/"):
            return Answer(item, host, "failed", "too_large", f"It is larger than {self.page_bytes // 2**20} MB.")
        answer = Answer(item, host, "body")
        head: dict[str, Any] = {"content_type": kind, "charset": page.charset, "etag": page.headers.get("etag"),
                                "last_modified": page.headers.get("last-modified"), "warnings": []}  # fmt: skip
        if page.truncated:
            head["warnings"].append(f"Only the first {self.page_bytes // 2**20} MB of the page were read.")
        if item.kind == "page" and ("html" in kind or (not kind and b"<" in page.body[:512])):
            self._find_links(item, page, answer, head)
            if answer.outcome != "body":
                return answer
        self.spool.put(item.id, head, page.body)
        return answer

    def _find_links(self, item: Item, page: Fetched, answer: Answer, head: dict[str, Any]) -> None:
        found = links.scan(links.text_of(page.body, page.charset))
        tags = page.headers.get("x-robots-tag", "").lower()
        base = urls.origin_of(item.url)
        origin, context = base, item.url
        if found.base:
            try:
                context = urls.normalise(found.base, item.url)
                origin = urls.origin_of(context)
            except urls.BadUrl:
                pass
        asked = item.url in self.asked_for
        if asked or not (found.nofollow or "nofollow" in tags or "none" in tags):
            hrefs = (self.resolve(href, context, origin) for href in found.hrefs)
            answer.links = list(dict.fromkeys(url for url in hrefs if url and url not in self.seen))
            answer.feeds = [url for href in found.feeds[:5] if (url := self.resolve(href, context, origin))]
        answer.more_links = found.more
        if found.canonical:
            canonical = self.resolve(found.canonical, context, origin)
            item.canonical = canonical if canonical != item.url else None
        head["needs_script"] = found.needs_script
        if not asked and (found.noindex or "noindex" in tags or "none" in tags):
            answer.outcome, answer.reason = "skipped", "noindex"
            answer.detail = "The page asks robots not to keep it."


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, as a number or a date (RFC 9110 10.2.3)."""
    if not value:
        return None
    if re.fullmatch(r"\s*\d{1,9}\s*", value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - utcnow()).total_seconds())
    except (ValueError, TypeError):
        return None

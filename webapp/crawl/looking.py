"""A single polite look at a page, a sitemap or a feed that names others: robots.txt first, nothing is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple

from webapp.core.errors import AppError, Forbidden, Upstream
from webapp.core.http import safe_fetch
from webapp.core.keepalive import KeptAlive
from webapp.core.sandbox import run_in_child
from webapp.crawl import links, robots, urls
from webapp.crawl.fetching import REDIRECTS, ROBOT, USER_AGENT

if TYPE_CHECKING:
    from webapp.core.addresses import OutboundPolicy

HOPS = 3
TIMEOUT = 15.0
MAX_BYTES = 5 * 2**20
SCANNED = 1_000_000  # characters of a page whose links are given their words
ANCHOR = re.compile(
    r"""<a\b[^<>]{0,1000}?\bhref\s{0,9}=\s{0,9}["']?([^"'<>\s]{1,2000})[^<>]{0,1000}>([^<>]{1,300})<""", re.I
)


class Named(NamedTuple):
    """An address with the words it was found with."""

    url: str
    title: str


class Looker:
    """Looks of one run. `may` says whether an address may be asked at all: (address) -> a sentence against it, or None."""

    def __init__(
        self, policy: OutboundPolicy, stopped: Callable[[], bool], may: Callable[[str], str | None] = lambda url: None
    ) -> None:
        self.policy, self.stopped, self.may = policy, stopped, may
        self.keep = KeptAlive()
        self.robots: dict[str, robots.Robots] = {}

    def close(self) -> None:
        self.keep.close()

    def look(self, url: str) -> list[Named]:
        """The addresses it names, in its order. Raises Forbidden (code robots) and what the gate raises."""
        url = urls.normalise(url)
        for _ in range(HOPS + 1):
            self._allowed(url)
            page = self._get(url, MAX_BYTES)
            if page.status not in REDIRECTS or not page.headers.get("location"):
                break
            url = urls.normalise(page.headers["location"], url)
        if not 200 <= page.status < 300:
            raise Upstream(f"The server answered {page.status}.", retryable=False)
        if "html" in page.content_type:
            return _of_page(url, links.text_of(page.body, page.charset))
        found = run_in_child(
            "webapp.crawl.sitemaps:read", page.body, timeout=30.0, cpu_seconds=15, cancelled=self.stopped
        )
        return [one for entry in found["entries"] if (one := _named(entry["url"], entry["title"] or "", url))]

    def _allowed(self, url: str) -> None:
        against = self.may(url)
        if against is not None:
            raise Forbidden(against, code="private_host")
        origin = urls.origin_of(url)
        if origin not in self.robots:
            try:
                page = self._get(origin + "/robots.txt", robots.MAX_BYTES)
                self.robots[origin] = robots.of_answer(page.status, page.body)
            except AppError as error:
                self.robots[origin] = robots.unreachable(error.message)
        if not self.robots[origin].allowed(ROBOT, url):
            raise Forbidden("robots.txt does not allow it.", code="robots")

    def _get(self, url: str, max_bytes: int) -> Any:
        return safe_fetch(url, policy=self.policy, max_bytes=max_bytes, on_too_large="truncate", timeout=TIMEOUT,
                          max_redirects=0, user_agent=USER_AGENT, cancelled=self.stopped, keep=self.keep)  # fmt: skip


def _of_page(base: str, page: str) -> list[Named]:
    """Links with their words, then those that have none (pictures) by address alone."""
    found: dict[str, Named] = {}
    for href, words in ANCHOR.findall(page[:SCANNED]):
        if one := _named(unescape(href), " ".join(unescape(words).split()), base):
            found.setdefault(one.url, one)
    for href in links.scan(page).hrefs:
        if one := _named(href, "", base):
            found.setdefault(one.url, one)
    return list(found.values())


def _named(href: str, title: str, base: str) -> Named | None:
    try:
        return Named(urls.normalise(href, base), title[:300])
    except urls.BadUrl:
        return None

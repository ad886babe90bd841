"""Which of the addresses that are found a crawl should fetch, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from webapp.crawl import urls
from webapp.crawl.patterns import Scope

if TYPE_CHECKING:
    from webapp.core.addresses import OutboundPolicy
    from webapp.crawl.params import CrawlParams

PRIVATE = ("private_host", "A page of the web may not lead to a private host.")
VARIANTS = 100  # addresses of one path that differ in their parameters only


class Wanted:
    """hosts: those the crawl asks already. queued: how many addresses wait."""

    def __init__(
        self, params: CrawlParams, policy: OutboundPolicy, hosts: Collection[str], queued: Callable[[], int]
    ) -> None:
        self.params, self.policy, self.hosts, self.queued = params, policy, hosts, queued
        self.scope = Scope(params.include, params.exclude)
        self.seeds = [urls.normalise(url) for url in params.urls]
        self.sites = {urls.site_of(url) for url in self.seeds if self.refusal_of_seed(url) is None}
        self.variants: Counter[str] = Counter()

    def refusal_of_seed(self, url: str) -> tuple[str, str] | None:
        """The same for an address the crawl begins with: only what a program found can be refused."""
        own = self.params.own_hosts
        if own is None or urls.host_of(url) in own or not self.is_own(url):
            return None
        return PRIVATE

    def refusal(self, url: str, depth: int) -> tuple[str, str] | None:
        """(reason, sentence) against fetching a found address, else None."""
        if (foreign := self.foreign(url)) is not None:
            return foreign
        if depth > self.params.max_depth:
            return "depth", f"It is more than {self.params.max_depth} links away."
        if urls.is_binary(url):
            return "type", "By its ending it is no text."
        if (said := self.scope.refuses(url)) is not None:
            return "pattern", f"It is {said}." if said.startswith("left") else f"It {said}."
        if (said := urls.trap(url)) is not None:
            return "trap", f"It looks endless: {said}."
        path, mark, _ = url.partition("?")
        if mark:
            self.variants[path] += 1
            if self.variants[path] > VARIANTS:
                return "trap", f"There are more than {VARIANTS} variants of {path}"
        if self.queued() > max(2_000, 20 * self.params.max_pages):
            return "frontier_full", "More addresses were found than the crawl could ever read."
        return None

    def foreign(self, url: str) -> tuple[str, str] | None:
        host, site = urls.host_of(url), urls.site_of(url)
        if site in self.sites:
            if self.params.stay == "path" and not self._below_a_seed(url):
                return "off_path", "It is not below the address the crawl began with."
            return None
        if self.params.stay != "anywhere" and not (
            self.params.stay == "subdomains" and any(site.endswith("." + one) for one in self.sites)
        ):
            return "off_site", "It is on another site."
        if self.is_own(url):
            # The operator trusts the person who names a private host, not every page of the web.
            return PRIVATE
        if host not in self.hosts and len(self.hosts) >= self.params.max_hosts:
            return "host_cap", f"The crawl was limited to {self.params.max_hosts} hosts."
        return None

    def _below_a_seed(self, url: str) -> bool:
        return any(url.startswith(seed.partition("?")[0].rpartition("/")[0] + "/") for seed in self.seeds)

    def is_own(self, url: str) -> bool:
        host, _, port = urls.host_of(url).partition(":") if "[" not in url else (urls.host_of(url), "", "")
        secure = url.startswith("https:")
        return self.policy.approves(host, int(port) if port else 443 if secure else 80)

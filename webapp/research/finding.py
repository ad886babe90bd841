"""Where pages about a topic may be: search providers of the settings; else the operator's places and links of stored pages.

Found addresses are links of the web: a private host is read only where the operator's settings or the person named it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

from webapp.core.addresses import precheck_url
from webapp.core.errors import AppError, TaskCancelled, Upstream
from webapp.crawl import urls
from webapp.crawl.expansion import Lead
from webapp.crawl.looking import Looker, Named
from webapp.knowledge.keywords import STOP
from webapp.knowledge.snippets import WORD, stem

if TYPE_CHECKING:
    from webapp.core.addresses import OutboundPolicy
    from webapp.settings import Settings

QUERIES = 3  # searches of one provider
RESULTS = 20  # of one search that are looked at
SPARE = 3  # candidates for each page wanted: some will not be readable
ASKING = re.compile(r"^(?:what|who) (?:is|are|was|were) (?:meant by )?(?:an? |the )?", re.IGNORECASE)
NAME = re.compile(r"(?<!\w)[A-Z][\w'’-]+(?:(?: of| de| von)? [A-Z][\w'’-]+)*")


@dataclass(frozen=True)
class Candidate:
    """A page that may hold something. via: "you", a provider, "pattern", "list" or "link"; where: what named it."""

    url: str
    title: str
    via: str
    where: str
    score: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Unread:
    """A page that was not read, and why."""

    url: str
    title: str
    reason: str
    detail: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Found:
    candidates: list[Candidate]
    unread: list[Unread]
    notes: list[str]


class Finder:
    """Finds once, for one task. known: addresses that are stored already; fetch: `task.fetch`."""

    def __init__(self, settings: Settings, policy: OutboundPolicy, fetch: Callable[..., Any], looker: Looker,
                 known: set[str]) -> None:  # fmt: skip
        self.settings, self.policy, self.fetch, self.looker, self.known = settings, policy, fetch, looker, known
        self.found: dict[str, Candidate] = {}
        self.unread: dict[str, Unread] = {}
        self.notes: list[str] = []
        self.places = {host for one in settings.research_sources if (host := _host(one))}

    def find(self, topic: str, questions: Sequence[str], given: Sequence[str], leads: Callable[[], Sequence[Lead]],
             wanted: int) -> Found:  # fmt: skip
        """At most SPARE candidates for each page wanted, the most promising first.

        given: addresses a person named. leads: links of what is stored, asked for where no provider is.
        """
        for url in given:
            self._keep(url, "", "you", "named by you", 2.0)
        for name, url in providers(self.settings):
            self._ask(name, url, list(dict.fromkeys([topic, *questions]))[:QUERIES])
        if not self.settings.search_providers:
            self._look_around(topic, leads())
        best = sorted(self.found.values(), key=lambda one: -one.score)
        return Found(best[: SPARE * wanted], list(self.unread.values()), self.notes)

    # -- search providers ------------------------------------------------------------------------------------------

    def _ask(self, name: str, url: str, queries: Sequence[str]) -> None:
        keys = dict(one.split("=", 1) for one in self.settings.search_keys if "=" in one)
        for query in queries:
            try:
                rows = search(self.fetch, name, url, query, keys.get(name, ""))
            except TaskCancelled:
                raise
            except AppError as error:
                self.notes.append(f"The search provider {name} did not help: {error.message}")
                return
            for place, (found, title) in enumerate(rows[:RESULTS]):
                self._keep(found, title, name, f"searched for “{query[:80]}”", 1.0 + 0.5 / (1 + place))

    # -- without one -----------------------------------------------------------------------------------------------

    def _look_around(self, topic: str, leads: Sequence[Lead]) -> None:
        wanted = words(topic)
        for one in self.settings.research_sources:
            if "{topic}" in one:
                for place, title in enumerate(titles(topic)):
                    self._keep(one.replace("{topic}", quote(title)), title, "pattern", one, 1.0 - 0.1 * place)
            else:
                self._look_at(one, wanted)
        for lead in leads:
            self._keep(lead.url, "", "link", f"on “{lead.found_on[:80]}”", 0.4 * lead.score)

    def _look_at(self, place: str, wanted: set[str]) -> None:
        try:
            rows: list[Named] = self.looker.look(place)
        except TaskCancelled:
            raise
        except (AppError, urls.BadUrl) as error:
            self.notes.append(f"{place} could not be looked at: {error}")
            return
        for named in rows:
            score = relevance(wanted, named.title, named.url)
            if score > 0:
                self._keep(named.url, named.title, "list", f"named by {place}", 0.8 * score)

    # ------------------------------------------------------------------------------------------------------------------

    def _keep(self, url: str, title: str, via: str, where: str, score: float) -> None:
        try:
            url = urls.normalise(url)
        except urls.BadUrl:
            return
        title = title or _title_of(url)
        against = None if via == "you" else self._against(url, via)
        if against is not None:
            self.unread.setdefault(url, Unread(url, title, *against))
        elif url not in self.found or self.found[url].score < score:
            self.found[url] = Candidate(url, title[:300], via, where, round(score, 3))

    def _against(self, url: str, via: str) -> tuple[str, str] | None:
        if url in self.known:
            return "known", "It is stored already."
        if urls.is_binary(url):
            return "type", "By its ending it is no text."
        # A stored page leads to no private host but its own: that was looked at where its links were found.
        if via != "link" and (said := private(self.policy, url, self.places)) is not None:
            return "private_host", said
        try:
            precheck_url(url, self.policy)
        except AppError as error:
            return error.code, error.message
        return None


def private(policy: OutboundPolicy, url: str, own: Iterable[str]) -> str | None:
    """A sentence against an address on a private host that nobody named, else None."""
    host = _host(url)
    name, _, port = host.partition(":") if "[" not in host else (host, "", "")
    approved = policy.approves(name, int(port) if port else 443 if url.startswith("https:") else 80)
    return "A page of the web may not lead to a private host." if approved and host not in own else None


def providers(settings: Settings) -> list[tuple[str, str]]:
    return [(name, url) for name, _, url in (one.partition("=") for one in settings.search_providers)]


def search(fetch: Callable[..., Any], name: str, url: str, query: str, key: str) -> list[tuple[str, str]]:
    """(address, title) of what a provider finds, best first. Raises what the gate raises, Upstream for no JSON."""
    headers = {"Accept": "application/json"}
    if name == "searxng":
        url += ("&" if "?" in url else "?") + urlencode({"q": query[:400], "format": "json"})
    elif name == "brave":
        url += ("&" if "?" in url else "?") + urlencode({"q": query[:400], "count": RESULTS})
        headers |= {"X-Subscription-Token": key} if key else {}
    else:
        url = url.replace("{query}", quote(query[:400], safe=""))
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
    page = fetch(url, headers=headers, max_bytes=2 * 2**20, max_redirects=0, timeout=15.0)
    if page.status != 200:
        raise Upstream(f"it answered {page.status}", retryable=False)
    try:
        answer = json.loads(page.body)
    except (ValueError, RecursionError):
        raise Upstream("its answer is not JSON", retryable=False) from None
    return [(row["url"], row["title"]) for row in _rows(answer)]


def _rows(answer: Any, depth: int = 0) -> list[dict[str, str]]:
    """The first list of things with an address, wherever it is: SearXNG has results, Brave has web.results."""
    if isinstance(answer, list):
        rows = [{"url": url, "title": str(one.get("title") or one.get("name") or "")[:300]}
                for one in answer if isinstance(one, dict)
                and isinstance(url := one.get("url") or one.get("link") or one.get("href"), str)]  # fmt: skip
        if rows:
            return rows
    if isinstance(answer, dict) and depth < 3:
        best_first = sorted(answer, key=lambda name: name not in ("web", "results", "items", "organic_results", "data"))
        for name in best_first:
            if isinstance(answer[name], (dict, list)) and (rows := _rows(answer[name], depth + 1)):
                return rows
    return []


# -- words -----------------------------------------------------------------------------------------------------------


def words(text: str) -> set[str]:
    return {stem(word) for word in WORD.findall(text.lower()) if word not in STOP and len(word) > 1}


def relevance(wanted: set[str], title: str, url: str) -> float:
    """Share of the topic's words in a link's words and address, 0..1."""
    return len(wanted & (words(title) | words(_title_of(url)))) / len(wanted) if wanted else 0.0


def _title_of(url: str) -> str:
    path = unquote(urls.path_of(url)).rpartition("?")[0] or unquote(urls.path_of(url))
    return " ".join(re.split(r"[\W_]+", re.sub(r"\.\w{2,5}$", "", path))).strip()


def titles(topic: str) -> list[str]:
    """What encyclopedias may call the page about it: Heat_pump for "What is a heat pump?", and names in a longer one."""
    plain = ASKING.sub("", topic.strip(" ?.!"))
    found = [plain] if len(plain.split()) <= 5 else []
    found += [name for name in NAME.findall(topic[1:]) if len(name) > 2][:2]
    made = ["_".join(one.split()) for one in found]
    return list(dict.fromkeys(one[:1].upper() + one[1:] for one in made if one))


def _host(url: str) -> str:
    try:
        return urls.host_of(urls.normalise(url.replace("{topic}", "x")))
    except urls.BadUrl:
        return ""

"""Expansion: find pages about a topic, have them read politely within a budget, and made searchable.

Each step is a checkpoint or a part of its own, so that a killed task finds nothing anew and fetches nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.errors import BadRequest
from webapp.crawl import expansion, urls
from webapp.crawl import service as crawls
from webapp.crawl.looking import Looker
from webapp.knowledge.service import web
from webapp.research.finding import SPARE, Finder, Unread, private
from webapp.tasks.run import SPAN
from webapp.tasks.service import outbound_policy

if TYPE_CHECKING:
    from webapp.tasks.run import TaskRun

READ = ("fetched", "unchanged")


@dataclass
class Expansion:
    """read: pages that were read, {url, title, document_id, new}. unread: those that were not, and why."""

    read: list[dict[str, Any]] = field(default_factory=list)
    unread: list[dict[str, Any]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    most: int = 0
    crawl_task: str | None = None

    @property
    def info(self) -> dict[str, Any]:
        """`expansion_info` of the result (shapes 4.3)."""
        return {"urls_crawled": [one["url"] for one in self.read], "pages": len(self.read), "max_urls": self.most,
                "candidates": len(self.found), "crawl_task_id": self.crawl_task}  # fmt: skip


def actor(task: TaskRun) -> Actor:
    """Whose task it is. Tasks of nobody were started with the operator's key."""
    return Actor(task.owner_id, "research", via="system") if task.owner_id else SYSTEM


def expand(task: TaskRun, questions: Sequence[str], most: int, span: tuple[int, int]) -> Expansion:
    """At most `most` pages, told between the percentages of `span`. Leaves the worker while others read and embed."""
    topic = task.params["topic"]
    task.progress(span[0], f"Looking for sources about “{topic[:80]}”")
    found = task.once("found", partial(_find, task, topic, questions, most))
    made = Expansion(
        [], [*found["unread"]], found["candidates"], [*found["notes"]], most
    )  # the checkpoint stays as it is
    if not made.found:
        made.notes.append(_nothing(task, made))
        return made
    middle = span[0] + (span[1] - span[0]) * 4 // 5
    crawl = crawled(task, made, most, (span[0] + 1, middle))
    made.crawl_task = crawl["id"]
    sort(task, made, crawl)
    if any(one["new"] for one in made.read):
        embedded(task, made, (middle, span[1]))
    return made


def _nothing(task: TaskRun, made: Expansion) -> str:
    settings = task.rt.settings
    if settings.search_providers or settings.research_sources:
        return "No new page about this was found."
    return ("No new page about this was found: no search provider and no place to look is set up. An administrator can set "
            "BRAINSTEM_SEARCH_PROVIDERS or BRAINSTEM_RESEARCH_SOURCES; you can name addresses yourself.")  # fmt: skip


# -- finding ---------------------------------------------------------------------------------------------------------


def _find(task: TaskRun, topic: str, questions: Sequence[str], most: int) -> dict[str, Any]:
    from webapp.research.planning import subject

    policy = outbound_policy(task.rt.settings)
    known = {row.key for row in web.known(task.rt, task.params["collection_id"])}
    looker = Looker(policy, task.stopped)
    finder = Finder(task.rt.settings, policy, task.fetch, looker, known)
    looker.may = lambda url: private(policy, url, finder.places)
    try:
        found = finder.find(subject(topic), questions, task.params["urls"], partial(_leads, task, topic, most), most)
    finally:
        looker.close()
    return {"candidates": [one.as_json() for one in found.candidates],
            "unread": [one.as_json() for one in found.unread][:200], "notes": found.notes}  # fmt: skip


def _leads(task: TaskRun, topic: str, most: int) -> list[expansion.Lead]:
    with task.rt.unit(write=False) as db:
        try:
            return expansion.leads(Ctx(task.rt, db, actor(task)), topic, SPARE * most)
        except BadRequest:
            return []


# -- reading ---------------------------------------------------------------------------------------------------------


def crawled(task: TaskRun, made: Expansion, most: int, span: tuple[int, int]) -> dict[str, Any]:
    """The part that reads them, when it is over: one visit to each host at a time, robots.txt and all."""
    topic = task.params.get("topic")
    name = f"Sources about {topic}" if topic else f"Read {len(made.found)} pages to compare"
    params = {"urls": [one["url"] for one in made.found], "collection_id": task.params["collection_id"],
              "read_as": "page", "stay": "anywhere", "max_depth": 0, "max_pages": most, "max_hosts": 100,
              "use_sitemaps": False, "name": name[:300]}  # fmt: skip
    if any(one["via"] != "you" for one in made.found):
        params["own_hosts"] = _own_hosts(task, made)
    _wait_between(task, span)
    task.start_child("crawl", "crawl.site", params, title=name[:300])
    return task.wait_for_children()["crawl"]


def read_given(task: TaskRun, span: tuple[int, int]) -> Expansion:
    """The pages a person named, read; `unread` says what kept the others. Leaves the worker meanwhile."""
    made = Expansion(found=[{"url": url, "title": "", "via": "you"} for url in task.params["urls"]],
                     most=len(task.params["urls"]))  # fmt: skip
    task.progress(span[0], f"Reading {made.most} page{'' if made.most == 1 else 's'}")
    crawl = crawled(task, made, made.most, span)
    made.crawl_task = crawl["id"]
    sort(task, made, crawl)
    return made


def _own_hosts(task: TaskRun, made: Expansion) -> list[str]:
    """Hosts that may be private: the operator's places, what a person named, and stored pages that lead to themselves."""
    places = (one.replace("{topic}", "x") for one in task.rt.settings.research_sources)
    named = (one["url"] for one in made.found if one["via"] in ("you", "link"))
    return sorted({urls.host_of(urls.normalise(one)) for one in (*places, *named)})


def _wait_between(task: TaskRun, span: tuple[int, int]) -> None:
    if task.saved(SPAN) != list(span):
        task.save(SPAN, list(span))


def sort(task: TaskRun, made: Expansion, crawl: dict[str, Any]) -> None:
    """Which of the candidates were read, and what kept the others."""
    if crawl["status"] != "completed":
        made.notes.append(f"Reading the sources did not end well: {crawl['error'] or crawl['status']}")
    about = {one["url"]: one for one in made.found}
    for fate in crawls.fates_of_task(task.rt, crawl["id"]):
        title = about.get(fate.url, {}).get("title", "")
        if fate.state in READ and fate.document_id:
            made.read.append({"url": fate.url, "title": title, "document_id": fate.document_id,
                              "new": fate.state == "fetched"})  # fmt: skip
        elif fate.reason == "duplicate" and fate.document_id:  # its words are here, under another address
            made.read.append({"url": fate.url, "title": title, "document_id": fate.document_id, "new": False})
            made.notes.append(
                f"{fate.url} has exactly the text of a document that is stored already; that one is cited."
            )
        elif fate.reason != "redirect":
            detail = fate.detail or "It was not reached."
            made.unread.append(asdict(Unread(fate.url, title, fate.reason or fate.state, detail)))
    own = web.titles(task.rt, [one["document_id"] for one in made.read])
    for one in made.read:  # what a page calls itself, not what led to it
        one["title"] = own.get(one["document_id"]) or one["title"]


def embedded(task: TaskRun, made: Expansion, span: tuple[int, int]) -> None:
    """Words find a new page at once; what it means only when its passages have vectors."""
    _wait_between(task, span)
    task.start_child(
        "embed", "knowledge.embed", {"collection_id": task.params["collection_id"]}, title="Embed new pages"
    )
    part = task.wait_for_children()["embed"]
    if part["status"] != "completed":
        made.notes.append("New pages are found by words only: they could not be embedded.")

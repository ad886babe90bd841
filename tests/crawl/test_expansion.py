"""Knowledge expansion: leads out of what is stored, at most so many pages, found by search afterwards (M024)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.crawl.conftest import Yard
from tests.fakes.small_site import SmallSite
from webapp.core.context import Actor, Ctx
from webapp.core.errors import BadRequest, NotFound
from webapp.crawl import expansion
from webapp.crawl.models import CrawlUrl
from webapp.knowledge.models import Document
from webapp.knowledge.service import documents
from webapp.knowledge.service.search import search
from webapp.tasks.models import Task

WORDS = "The keeper of the light wrote down every ship that passed, its sails and the hour. " * 6


def page(title: str, links: str = "", words: str = WORDS) -> bytes:
    return (f"<!doctype html><html lang=en><head><title>{title}</title></head><body><main><article><h1>{title}</h1>"
            f"<p>{title}. {words}</p><p>{links}</p></article></main></body></html>").encode()  # fmt: skip


@pytest.fixture
def coast(yard: Yard, site: SmallSite) -> Yard:
    """One page is known; it names six others, and the crawl that found it went no further."""
    names = ["fog-bell", "fog-horn", "fog-gun", "fog-siren", "anchors", "fog-signals.zip"]
    links = " ".join(f'See also <a href="/{name}">the {name.replace("-", " ")} of the coast</a>.' for name in names)
    site.pages["/signals"] = page("Fog signals of the coast", links)
    for name in names[:-1]:
        site.pages[f"/{name}"] = page(f"The {name.replace('-', ' ')}")
    site.pages["/fog-horn"] = (404, {}, b"gone")
    yard.crawl("/signals", read_as="page", max_depth=0)
    return yard


def expand(yard: Yard, topic: str = "fog signals", who: Actor | None = None, **more: Any) -> Any:
    started = yard.lab.do("start", who or yard.cast.alice, "knowledge.expand",
                          {"topic": topic, "collection_id": yard.collection_id, **more}, asked=True)  # fmt: skip
    work(yard)
    return yard.lab.row(started["id"])


def work(yard: Yard) -> None:
    while sum(yard.lab.run_all(queue) for queue in ("crawling", "embedding")):
        continue


def test_it_reads_at_most_so_many_pages_and_they_are_found(coast: Yard, site: SmallSite) -> None:
    task = expand(coast, max_urls=2)
    assert (task.status, task.error) == ("completed", None)
    read = task.result["expansion_info"]["urls_crawled"]
    assert len(read) == task.result["expansion_info"]["pages"] == 2  # the one that is gone was replaced by another
    assert all("/fog-" in url for url in read)
    assert len(coast.rows(Document)) == 3
    assert "/fog-signals.zip" not in site.asked()
    with coast.rt.unit(write=False) as db:
        found = search(Ctx(coast.rt, db, coast.cast.alice), "fog", mode="keyword")
    assert set(read) <= {hit.url for hit in found.hits}
    waiting = {row.kind for row in coast.rows(Task, Task.status == "queued")}
    assert waiting == {"maintenance.quality"}  # embedded already, without a further request


def test_what_is_known_is_not_read_again_and_at_last_nothing_is_left(coast: Yard, site: SmallSite) -> None:
    first = expand(coast, max_urls=50)
    assert {url.rpartition("/")[2] for url in first.result["expansion_info"]["urls_crawled"]} == {
        "fog-bell",
        "fog-gun",
        "fog-siren",
        "anchors",
    }
    asked = site.asked()["/signals"]
    again = expand(coast, topic="siren of the coast", max_urls=50)
    assert {one["url"] for one in again.result["found"]} <= {site.url("/fog-horn")}
    assert site.asked()["/signals"] == asked
    nothing = expand(coast, topic="zeppelin")
    assert (nothing.status, nothing.result["expansion_info"]["urls_crawled"]) == ("completed", [])


def test_addresses_that_a_crawl_left_are_leads(yard: Yard, site: SmallSite) -> None:
    site.pages["/"] = page("Front", '<a href="/harbour/tides">x</a> <a href="/harbour/fees">x</a>')
    site.pages["/harbour/tides"] = page("The tides")
    yard.crawl("/", max_depth=0)
    assert [row.reason for row in yard.rows(CrawlUrl, CrawlUrl.state == "skipped")] == ["depth", "depth"]
    with yard.rt.unit(write=False) as db:
        found = expansion.leads(Ctx(yard.rt, db, yard.cast.alice), "tides", 10)
        assert found[0].url == site.url("/harbour/tides")
        strangers = expansion.leads(Ctx(yard.rt, db, yard.cast.charlie), "tides", 10)
    assert strangers == []


def test_a_page_of_the_web_leads_to_no_private_host(yard: Yard, site: SmallSite) -> None:
    """The operator approved the host for people, not for whatever a stored page links to."""
    text = (
        f"Fog. [fog signals]({site.url('/admin')}) [fog](http://169.254.169.254/latest) [fog](https://fog.example/bell)"
    )
    for key, url in (("a", "https://evil.example/page"), ("b", None)):
        given = documents.Incoming(key, "Fog", text + f" {key}", "text/html", url=url)
        documents.store(yard.rt, yard.collection_id, given)
    with yard.rt.unit(write=False) as db:
        found = expansion.leads(Ctx(yard.rt, db, yard.cast.alice), "fog signals", 10)
    assert [one.url for one in found] == ["https://fog.example/bell"]


def test_pages_that_ask_not_to_be_kept_are_not(coast: Yard, site: SmallSite) -> None:
    site.pages["/fog-bell"] = page("The fog bell").replace(b"<head>", b"<head><meta name=robots content=noindex>")
    task = expand(coast, max_urls=50)
    assert not any("fog-bell" in url for url in task.result["expansion_info"]["urls_crawled"])


def test_only_into_ones_own_and_with_a_topic(coast: Yard) -> None:
    with pytest.raises(NotFound):
        expand(coast, who=coast.cast.charlie)
    for wrong in ({"topic": " . "}, {"max_urls": 0}, {"max_urls": 51}):
        with pytest.raises(BadRequest):
            expand(coast, **wrong)


def test_running_it_twice_changes_nothing(coast: Yard) -> None:
    task = expand(coast, max_urls=3)
    before = coast.texts()
    with coast.rt.unit() as db:
        db.execute(_again(task.id))
    work(coast)
    row = coast.lab.row(task.id)
    assert (row.status, row.result["expansion_info"]["urls_crawled"]) == (
        "completed",
        task.result["expansion_info"]["urls_crawled"],
    )
    assert coast.texts() == before


def _again(task_id: str) -> Any:
    from sqlalchemy import update

    from webapp.tasks.models import Task

    return update(Task).where(Task.id == task_id).values(status="queued", finished_at=None)

"""`knowledge.expand`: finds pages, reads at most as many as it may, politely, and says what it did not read and why."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.kinds import Killed
from tests.research.conftest import Den, page
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, BlockedAddress, Forbidden, NotFound
from webapp.crawl import engine
from webapp.knowledge.service.search import search
from webapp.research import finding
from webapp.tasks import service as tasks


def found(den: Den, query: str) -> list[str]:
    with den.rt.unit(write=False) as db:
        return [hit.title for hit in search(Ctx(den.rt, db, den.cast.alice), query, record=False).hits]


def test_pages_about_the_topic_are_read_and_searchable(den: Den) -> None:
    result = den.result("knowledge.expand", topic="Research mason bees", max_urls=5)
    assert set(result["expansion_info"]["urls_crawled"]) == {
        den.site.url("/wiki/mason_bees".replace("mason", "Mason")), den.site.url("/bees/nesting.html"),
        den.site.url("/bees/enemies.html")}  # fmt: skip
    assert result["knowledge_expanded"] is True
    assert den.paths() == {"/wiki/Mason_bees", "/list.html", "/bees/nesting.html", "/bees/enemies.html"}
    assert "Enemies of mason bees" in found(den, "which wasps attack mason bees")
    assert "quality_assessment" not in result
    assert result["processing_time"] > 0


def test_the_budget_is_never_exceeded(den: Den) -> None:
    result = den.result("knowledge.expand", topic="mason bees", max_urls=1)
    assert len(result["expansion_info"]["urls_crawled"]) == result["expansion_info"]["pages"] == 1
    assert len(den.paths() - {"/list.html"}) == 1
    assert {one["reason"] for one in result["unread"]} >= {"page_cap"}


def test_robots_are_obeyed_and_what_was_not_read_is_listed(den: Den) -> None:
    result = den.result("knowledge.expand", topic="mason bees")
    unread = {one["url"]: one for one in result["unread"]}
    assert unread[den.site.url("/bees/mason-hidden.html")]["reason"] == "robots"
    assert "/bees/mason-hidden.html" not in den.paths()
    assert len(unread) == len(result["unread"]), "each once, however often the task ran"


def test_a_place_whose_robots_forbid_it_is_not_looked_at(den: Den) -> None:
    den.site.pages["/robots.txt"] = (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /\n")
    result = den.result("knowledge.expand", topic="mason bees")
    assert den.paths() == set()
    assert any("robots.txt does not allow it" in note for note in result["notes"])
    assert result["knowledge_expanded"] is False


def test_a_page_may_ask_not_to_be_kept(den: Den) -> None:
    den.site.pages["/wiki/Mason_bees"] = page("Mason bees", "Nobody keeps this.").replace(
        b"<head>", b'<head><meta name="robots" content="noindex">'
    )
    result = den.result("knowledge.expand", topic="mason bees")
    assert {one["reason"] for one in result["unread"] if one["url"].endswith("Mason_bees")} == {"noindex"}


def test_a_second_time_nothing_is_read_again(den: Den) -> None:
    den.result("knowledge.expand", topic="mason bees")
    before = den.site.asked()
    result = den.result("knowledge.expand", topic="mason bees")
    assert result["expansion_info"]["urls_crawled"] == []
    again = den.site.asked() - before
    assert set(again) == {"/robots.txt", "/list.html"}
    assert {one["reason"] for one in result["unread"]} == {"known", "robots"} or {
        one["reason"] for one in result["unread"]
    } == {"known"}


def test_links_of_stored_pages_lead_on(den_of: Any) -> None:
    den = den_of()
    den.put("Bees of the garden", f"Read more in [Nesting of mason bees]({den.site.url('/bees/nesting.html')}). "
            "Mason bees like reed.", den.site.url("/old.html"))  # fmt: skip
    result = den.result("knowledge.expand", topic="mason bees")
    assert result["expansion_info"]["urls_crawled"] == [den.site.url("/bees/nesting.html")]


def test_without_any_place_to_look_it_says_what_to_do(den_of: Any) -> None:
    result = den_of().result("knowledge.expand", topic="mason bees")
    assert result["knowledge_expanded"] is False
    assert "BRAINSTEM_SEARCH_PROVIDERS" in result["response"]


# -- private hosts ---------------------------------------------------------------------------------------------------


def test_found_links_never_lead_to_a_private_host(den_of: Any, web: Any) -> None:
    """The operator approved 127.0.0.1 for people who name it, not for whatever a provider's answer holds (A19)."""
    rows = [{"url": web.url("/bees/enemies.html"), "title": "Enemies of mason bees"},
            {"url": "http://169.254.169.254/latest/meta-data/mason-bees", "title": "mason bees"},
            {"url": "http://10.0.0.1/mason-bees", "title": "mason bees"},
            {"url": "file:///etc/passwd", "title": "mason bees"}]  # fmt: skip
    import json

    web.pages["/search?q=mason+bees&format=json"] = (
        200,
        {"Content-Type": "application/json"},
        json.dumps({"results": rows}).encode(),
    )
    den = den_of(BRAINSTEM_SEARCH_PROVIDERS=f"searxng={web.url('/search')}")
    result = den.result("knowledge.expand", topic="mason bees")
    assert result["expansion_info"]["urls_crawled"] == []
    assert den.paths() == {"/search?q=mason+bees&format=json"}
    reasons = {one["url"]: one["reason"] for one in result["unread"]}
    assert reasons[web.url("/bees/enemies.html")] == "private_host"
    assert reasons["http://169.254.169.254/latest/meta-data/mason-bees"] == "blocked_address"
    assert reasons["http://10.0.0.1/mason-bees"] == "blocked_address"


def test_a_found_page_that_redirects_to_a_private_host_is_left(den_of: Any, web: Any) -> None:
    """What a person did not name may not move on to a host of the house: `localhost` is approved, but only named here."""
    other = web.url("/bees/enemies.html").replace("127.0.0.1", "localhost")
    web.pages["/bees/nesting.html"] = (302, {"Location": other}, b"")
    den = den_of(BRAINSTEM_ALLOW_HOSTS="127.0.0.1,localhost", BRAINSTEM_RESEARCH_SOURCES=web.url("/list.html"))
    result = den.result("knowledge.expand", topic="nesting of mason bees", max_urls=1)
    assert other not in result["expansion_info"]["urls_crawled"]
    assert {one["reason"] for one in result["unread"] if one["url"] == other} == {"private_host"}


@pytest.mark.parametrize("url", ["http://169.254.169.254/", "http://10.1.2.3/x", "http://[::1]/"])
def test_a_named_address_that_may_not_be_asked_is_refused_at_once(den: Den, url: str) -> None:
    with pytest.raises((BlockedAddress, BadRequest)) as refused:
        den.start("knowledge.expand", topic="x", urls=[url])
    assert refused.value.details[0]["loc"] == ["urls"]


def test_nobody_expands_somebody_elses_collection(den: Den) -> None:
    for kind, more in (("knowledge.expand", {"topic": "x"}), ("research.run", {"topic": "x"}),
                       ("content.analyze", {"urls": ["https://example.org/"]})):  # fmt: skip
        with pytest.raises((NotFound, Forbidden)), den.lab.as_(den.cast.charlie) as ctx:
            tasks.start(ctx, kind, {"collection_id": den.collection_id, **more})


# -- providers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "answer"), [
    ("searxng", {"results": [{"url": "URL", "title": "Enemies"}]}),
    ("brave", {"type": "search", "web": {"results": [{"url": "URL", "title": "Enemies"}]}}),
    ("json", {"hits": {"items": [{"link": "URL", "name": "Enemies"}]}}),
])  # fmt: skip
def test_each_kind_of_provider(den_of: Any, web: Any, name: str, answer: Any) -> None:
    import json

    wanted = {
        "searxng": "/s?q=mason+bees&format=json",
        "brave": "/s?q=mason+bees&count=20",
        "json": "/s?q=mason%20bees",
    }
    target = web.url("/bees/enemies.html")
    seen: list[dict[str, str]] = []

    def reply(headers: dict[str, str]) -> Any:
        seen.append(headers)
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).replace("URL", target).encode()

    web.pages[wanted[name]] = reply
    given = web.url("/s?q={query}" if name == "json" else "/s")
    den = den_of(BRAINSTEM_SEARCH_PROVIDERS=f"{name}={given}", BRAINSTEM_SEARCH_KEYS=f"{name}=secret",
                 BRAINSTEM_RESEARCH_SOURCES=web.url("/other"))  # fmt: skip
    result = den.result("knowledge.expand", topic="mason bees")
    assert result["expansion_info"]["urls_crawled"] == [target]
    sent = seen[0].get("x-subscription-token") or seen[0].get("authorization")
    assert sent == {"brave": "secret", "json": "Bearer secret"}.get(name)


@pytest.mark.parametrize("reply", [(500, {}, b"{}"), (200, {}, b"<html>"), (200, {}, b'{"a": {"b": {"c": {"d": []}}}}'),
                                   (200, {}, b"[" * 5000), (302, {"Location": "/bees/enemies.html"}, b"")])  # fmt: skip
def test_a_provider_that_does_not_help_is_named(den_of: Any, web: Any, reply: Any) -> None:
    web.pages["/search?q=mason+bees&format=json"] = reply
    result = den_of(BRAINSTEM_SEARCH_PROVIDERS=f"searxng={web.url('/search')}").result(
        "knowledge.expand", topic="mason bees"
    )
    assert result["knowledge_expanded"] is False
    assert result["notes"]
    assert "secret" not in str(result)


# -- kills -----------------------------------------------------------------------------------------------------------


def test_killed_at_any_step_nothing_is_fetched_twice(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = den.start("knowledge.expand", topic="mason bees")
    original = engine.Crawler._commit
    died: list[int] = []
    kept: set[str] = set()

    def dies(self: Any) -> None:
        original(self)
        if not died and self.frontier.counts["fetched"] + self.frontier.counts["reading"] >= 1:
            died.append(1)
            done = den.lab.sql("SELECT url FROM crawl_urls WHERE state IN ('fetched', 'reading')")
            kept.update(urlsplit(row[0]).path for row in done.rows)
            raise Killed

    monkeypatch.setattr(engine.Crawler, "_commit", dies)
    den.lab.run("crawling")  # finds; waits for the crawl
    assert den.lab.status(task_id) == "paused"
    with pytest.raises(Killed):
        den.lab.run("crawling")
    from webapp.tasks.sweep import sweep

    den.lab.sql("UPDATE tasks SET lease_until = 1 WHERE status = 'running'")
    sweep(den.rt)
    den.work()
    row = den.lab.row(task_id)
    assert row.status == "completed"
    assert row.result is not None
    assert row.result["expansion_info"]["pages"] == 3
    asked = den.site.asked()
    assert kept
    assert {path: count for path, count in asked.items() if path in kept and count > 1} == {}
    assert asked.pop("/robots.txt") <= 3  # by who looked for sources, and by the crawl in each of its lives
    assert max(asked.values()) <= 2  # what was under way when it died


def test_what_the_crawl_says_is_told_for_the_whole(den: Den) -> None:
    task_id = den.start("knowledge.expand", topic="mason bees")
    den.work()
    said = [(event.progress, event.message or "") for event in den.lab.events(task_id)]
    assert any("Looking for sources" in text for _, text in said)
    assert any("read" in text and 5 <= percent < 95 for percent, text in said if "page" in text)
    assert [percent for percent, _ in said] == sorted(percent for percent, _ in said)


# -- a question ------------------------------------------------------------------------------------------------------


def test_a_question_is_answered_again_and_both_answers_are_kept(den: Den) -> None:
    result = den.result("knowledge.expand", topic="mason bees", question="Which enemies do mason bees have?")
    one = result["questions"][0]
    assert one["before"]["declined"] is True
    assert one["declined"] is False
    assert one["change"] == "now"
    assert "wasps" in one["answer"]
    assert one["new_sources"] == one["sources"] != []
    assert "wasps" in result["response"]


def test_a_question_alone_is_its_own_topic(den: Den) -> None:
    """As a conversation asks when it does not know."""
    result = den.result("knowledge.expand", question="What are Mason bees?")
    assert result["topic"] == "What are Mason bees?"
    assert den.site.url("/wiki/Mason_bees") in result["expansion_info"]["urls_crawled"]
    assert result["questions"][0]["change"] == "now"


@pytest.mark.parametrize(("topic", "names"), [
    ("What is a heat pump?", ["Heat_pump"]),
    ("mason bees", ["Mason_bees"]),
    ("How old is the Great Barrier Reef off Australia today?", ["Great_Barrier_Reef", "Australia"]),
    ("who painted the ceiling of that chapel in a city down south?", []),
])  # fmt: skip
def test_what_an_encyclopedia_may_call_it(topic: str, names: list[str]) -> None:
    assert finding.titles(topic) == names

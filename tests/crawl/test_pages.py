"""The pages of crawls: the form, the live page, whose is whose."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.site import OPEN_LIMITS, Site
from tests.fakes.small_site import SmallSite


@pytest.fixture
def desk(make_rt: Any) -> Any:
    from tests.conftest import make_cast

    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_ALLOW_HOSTS="127.0.0.1", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def test_from_the_form_to_each_address(desk: Site, site: SmallSite) -> None:
    site.linked(5)
    site.pages["/0"] += b'<a href="/gone">x</a><a href="http://other.example/">y</a>'  # type: ignore[operator]
    alice, charlie = desk.program(desk.cast.alice), desk.program(desk.cast.charlie)
    assert "No crawls yet" in alice.get("/knowledge/crawls").text
    assert alice.get("/knowledge/crawls/new").status_code == 200
    made = alice.post("/knowledge/crawls", data={"urls": site.url(), "max_pages": "9", "exclude": "/x/**\n"})
    assert made.status_code == 303, made.text
    page = made.headers["Location"]
    waiting = alice.get(page).text
    assert 'hx-trigger="every 1s"' in waiting
    assert alice.get(page + "/live").status_code == 200
    desk.lab.run_all("crawling")
    html = alice.get(page).text
    assert "answered 404" in html or "The server answered 404." in html
    assert "another site" in html
    assert "every 1s" not in html
    assert alice.get(page + "/live").status_code == 286
    assert "/gone" in alice.get(page + "?state=failed").text
    assert "Nothing matches" in alice.get(page + "?q=nosuchthing").text
    assert alice.get("/knowledge/crawls").text.count('data-label="Crawl"') == 1
    for path in (page, page + "/live"):
        assert charlie.get(path).status_code == 404
    assert charlie.post(page + "/again").status_code == 404
    assert alice.post(page + "/again").status_code == 303
    desk.lab.run_all("crawling")
    assert alice.get("/knowledge/crawls").text.count('data-label="Crawl"') == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("urls", ""), ("urls", "ftp://x.example"), ("urls", "http://10.0.0.1/"), ("include", "re:("), ("max_pages", "-1"),
     ("delay", "soon"), ("read_as", "novel"), ("collection_id", "0" * 36)],
)  # fmt: skip
def test_mistakes_come_back_beside_their_field(desk: Site, field: str, value: str) -> None:
    data = {"urls": "https://example.org/", field: value}
    answer = desk.program(desk.cast.alice).post("/knowledge/crawls", data=data)
    assert answer.status_code == 422
    assert "field-error" in answer.text


def test_from_a_search_to_more_pages_about_it(desk: Site, site: SmallSite) -> None:
    site.linked(3)
    alice = desk.program(desk.cast.alice)
    alice.post("/knowledge/crawls", data={"urls": site.url(), "read_as": "page", "max_depth": "0"})
    desk.lab.run_all("crawling")
    html = alice.get("/knowledge/search?q=queue+worker&mode=keyword").text
    assert 'action="/knowledge/expand"' in html
    made = alice.post("/knowledge/expand", data={"topic": "queue worker"})
    assert made.status_code == 303
    assert made.headers["Location"].startswith("/tasks/")
    desk.lab.run_all("interactive")
    assert "More about queue worker" in alice.get(made.headers["Location"]).text
    refused = alice.post("/knowledge/expand", data={"topic": " "}, follow_redirects=True)
    assert refused.status_code == 200
    assert "topic" in refused.text

"""The documentation inside the application, and the link to its fitting part on every page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.conftest import ROOT
from tests.fakes.site import Site
from tests.web.test_pages import Browser
from webapp.core.errors import NotFound
from webapp.help import service
from webapp.knowledge.service import demo
from webapp.web.api import ROUTES


def test_every_document_is_a_page(site: Site) -> None:
    browser = Browser(site, site.cast.alice)
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} == set(service.names())
    for name in service.names():
        page = browser.open(f"/help/{name}")
        written = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
        assert page.h1.text == re.match(r"# (.*)", written)[1].replace("`", "")  # type: ignore[index]
        assert page.select_one(".help-text").text.strip(), name
        assert page.select_one(".help-text h1") is None
    assert browser.open("/help/").h1.text == "Documentation"


def test_links_lead_to_other_pages_of_help_and_out_of_nothing(site: Site) -> None:
    browser = Browser(site, site.cast.alice)
    known = {name: service.page(name) for name in service.names()}
    followed = 0
    for name in known:
        for link in browser.open(f"/help/{name}").select(".help-text a[href], .help-toc a[href]"):
            target = link["href"]
            if target.startswith("http"):
                assert link["rel"] == ["noopener", "noreferrer"]
                continue
            to, _, anchor = target.removeprefix("./").partition("#")
            assert not anchor or anchor in known[to or name].anchors, f"{name}: {target}"
            assert (to or name) in known, f"{name}: {target}"
            followed += 1
    assert followed > 40


def test_each_page_has_its_help(site: Site) -> None:
    """Of the URL map: a new area without a place is told to get one, and each place is a section that is there."""
    areas = {route.endpoint.partition(".")[0] for route in ROUTES if route.page and route.method == "GET"}
    assert areas - {"ui_pages", "probe_pages"} <= {name.partition(".")[0] for name in service.PLACES}
    endpoints = {route.endpoint for route in ROUTES}
    for where, place in service.PLACES.items():
        assert "." not in where or where in endpoints, where
        name, _, anchor = place.partition("#")
        assert not anchor or anchor in service.page(name).anchors, place
    browser = Browser(site, site.cast.root)
    for path, place in (("/", "user-guide#first-steps"), ("/tasks/new", "user-guide#new-task"), ("/tasks", "user-guide#tasks"),
                        ("/models", "user-guide#models"), ("/monitor/", "operations")):  # fmt: skip
        found = browser.open(path).select("a[data-help]")
        assert [link["href"] for link in found] == [f"/help/{place}"], path


@pytest.mark.parametrize("name", ["nothing", "..%2fREADME", "settings.md", "x" * 200, "README%0a"])
def test_what_is_no_document_is_not_there(site: Site, name: str) -> None:
    assert site.browser(site.cast.alice).get(f"/help/{name}").status_code == 404


def test_what_a_document_says_is_made_harmless(monkeypatch: Any, tmp_path: Any) -> None:
    (tmp_path / "evil.md").write_text(
        "# Evil <b>\n\n## Same\n\n## Same\n\n<script>alert(1)</script> [a](javascript:alert(1)) [b](../secret.txt) "
        '[c](evil.md#same-1) ![d](x" onerror="alert(1)) `<img src=x>`\n\n```html\n<script>1</script>\n```\n'
    )
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    page = service.page("evil")
    html = BeautifulSoup(page.html, "lxml")
    assert not html.select("script, img, [onerror]")
    assert [link.get("href") for link in html.select("a")] == [None, "./evil#same-1"]
    assert [one.id for one in page.sections] == ["same", "same-1"]
    assert "<script>1</script>" in html.pre.text
    with pytest.raises(NotFound):
        service.page("other")

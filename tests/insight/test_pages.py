"""The page of statistics and its twin in JSON."""

from __future__ import annotations

import pytest

from tests.fakes.site import Site


@pytest.fixture
def busy(site: Site) -> Site:
    for number in range(3):
        site.lab.start(site.cast.alice, value=number)
    site.lab.start(site.cast.bob, script="missing")
    site.lab.run_all()
    return site


def test_the_page_of_ones_own(busy: Site) -> None:
    html = busy.browser(busy.cast.alice).get("/insight?range=24h").text
    assert "Tasks that ended" in html
    assert "3 of 3" in html
    assert html.count('class="chart-table"') + html.count("chart-table") >= 2, "each chart has its numbers behind it"
    assert "Whose tasks" not in html


def test_an_administrator_sees_everybodys(busy: Site) -> None:
    root = busy.browser(busy.cast.root)
    assert "3 of 4" in root.get("/insight").text
    assert "Nothing ended in this time" in root.get("/insight?whose=mine").text
    assert "3 of 3" in busy.browser(busy.cast.alice).get("/insight?whose=").text


def test_nothing_yet(site: Site) -> None:
    html = site.browser(site.cast.charlie).get("/insight").text
    assert "Nothing ended in this time" in html


def test_the_same_as_json(busy: Site) -> None:
    client = busy.program(busy.cast.alice)
    told = client.get("/api/v1/insight/tasks?range=24h").json
    assert (told["scope"], told["total"]["ended"], told["total"]["success_rate"]) == ("own", 3, 1.0)
    assert told["kinds"][0]["name"] == "test.script"
    assert len(told["over_time"]) == 24
    assert sum(slot["completed"] for slot in told["over_time"]) == 3
    everyone = client.get("/api/v1/insight/tasks?everyone=true").json
    assert everyone["scope"] == "own"
    root = busy.program(busy.cast.root).get("/api/v1/insight/tasks?everyone=true").json
    assert (root["scope"], root["total"]["ended"]) == ("all", 4)
    assert client.get("/api/v1/insight/tasks?range=1y").status_code == 400
    assert client.get("/api/v1/insight/tasks?first=2020-01-01").status_code == 400


def test_the_menu_leads_there(site: Site) -> None:
    html = site.browser(site.cast.alice).get("/tasks").text
    for path in ("/insight", "/templates"):
        assert f'href="{path}"' in html

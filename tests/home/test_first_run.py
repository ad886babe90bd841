"""The first page of somebody who has done nothing yet: three things to try, each with a real result; what is set up."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest
from sqlalchemy import select

from tests.conftest import ROOT
from tests.fakes.site import Site
from tests.web.test_pages import Browser
from webapp.core.context import Ctx
from webapp.home import service
from webapp.knowledge.service import collections, demo
from webapp.tasks.models import Task


def task(site: Site, answer: Any) -> Task:
    assert answer.status_code == 303
    ident = answer.location.rpartition("/")[2]
    site.lab.run_all("inference")
    site.lab.run_all("interactive")
    with site.rt.unit(write=False) as db:
        return db.scalars(select(Task).where(Task.id == ident)).one()


def test_the_documentation_is_asked_as_soon_as_it_is_there(both_site: Site) -> None:
    site = both_site
    browser = Browser(site, site.cast.alice)
    page = browser.open("/")
    welcome = page.select_one("#welcome")
    assert welcome is not None
    assert welcome["hx-get"] == "/welcome", "it looks again until the documentation was read"
    assert "Being read" in welcome.text
    assert not page.select("button[name=example]")
    demo.load(site.rt)
    page = browser.open("/")
    question = page.select_one("button[name=example]")["value"]
    assert question in page.select_one("#welcome").text
    answer = browser.send(page, "form:has(button[name=example])", example=question)
    assert answer.status_code == 303
    assert answer.location.startswith("/chat/")
    assert browser.open("/").select_one("#welcome") is None, "a conversation was begun"
    assert browser.open("/welcome").select_one("#welcome") is not None


def test_a_text_is_summarised(site: Site) -> None:
    browser = Browser(site, site.cast.alice)
    row = task(site, browser.send(browser.open("/"), "form[action='/welcome/summary']"))
    assert (row.status, row.owner_id, row.kind) == ("completed", site.cast.alice.id, "summary")
    text = (ROOT / "docs" / service.TEXT).read_text("utf-8")
    assert row.result["sentences"]
    assert row.result["words"] <= service.WORDS
    plain = re.sub(r"\W+", " ", text)
    for sentence in row.result["sentences"]:
        assert re.sub(r"\W+", " ", sentence["text"]).strip() in plain, "word for word"


def test_a_table_is_analysed(site: Site) -> None:
    browser = Browser(site, site.cast.alice)
    page = browser.open("/welcome")
    rows = list(csv.DictReader(service.TABLE.read_text("utf-8").splitlines()))
    assert f"{len(rows)} summaries" in page.text
    row = task(site, browser.send(page, "form[action='/welcome/table']"))
    assert (row.status, row.kind) == ("completed", "data_analysis"), row.error
    seconds = [float(one["seconds"]) for one in rows]
    described = next(one for one in row.result["columns"] if one["name"] == "seconds")
    assert described["mean"] == pytest.approx(sum(seconds) / len(seconds), rel=1e-6)


def test_what_is_set_up(site: Site) -> None:
    browser = Browser(site, site.cast.alice)
    setup = browser.open("/").select_one(".setup")
    assert "No language model" in setup.text
    assert setup.select_one("a[href='/models']").text == "Add a model"
    assert "MiniLM" in setup.text
    with site.rt.unit() as db:
        collections.create(Ctx(site.rt, db, site.cast.alice), "Tides & times")
        collections.create(Ctx(site.rt, db, site.cast.bob), "Bob's own")
    setup = browser.open("/").select_one(".setup")
    assert "Tides & times" in setup.text
    assert "Bob's own" not in setup.text


def test_without_the_documentation_it_offers_no_question(make_rt: Any) -> None:
    from tests.conftest import make_cast

    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_DEMO="0")
    site = Site(rt, make_cast(rt))
    page = Browser(site, site.cast.alice).open("/")
    assert not page.select("button[name=example]")
    assert "hx-get" not in page.select_one("#welcome").attrs
    assert page.select_one("#welcome a[href='/knowledge']") is not None
    site.close()


def test_others_work_makes_nobody_an_old_hand(site: Site) -> None:
    site.lab.start(site.cast.bob)
    assert Browser(site, site.cast.alice).open("/").select_one("#welcome") is not None
    assert Browser(site, site.cast.bob).open("/").select_one("#welcome") is None


def test_an_example_that_is_none(site: Site) -> None:
    browser = Browser(site, site.cast.alice)
    token = browser.open("/").select_one("[name=csrf_token]")["value"]
    assert browser.client.post("/welcome/nothing", data={"csrf_token": token}).status_code == 404
    assert browser.client.post("/welcome/summary").status_code in (400, 403), "without the page's token"

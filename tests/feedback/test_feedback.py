"""Thumbs, reasons and corrections: by page, by API, counted; one's own answers only."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.fakes.messages import answer_of, question_of
from tests.fakes.site import Site
from webapp.core.errors import Invalid, NotFound, TooManyRequests
from webapp.feedback import service

SUBMIT, STATS = "/api/v1/feedback/submit", "/api/v1/feedback/stats"
DOCUMENTED = {
    "content_id": "content_123", "feedback_type": "correction", "original_prediction": "The cat is sleeping",
    "user_correction": "The cat is playing with yarn", "confidence_rating": 0.9,
    "additional_context": "Image shows cat with yarn ball",
}  # fmt: skip


def rows(site: Site) -> list[Any]:
    from webapp.feedback.models import Feedback

    with site.rt.unit(write=False) as db:
        return list(db.query(Feedback).order_by(Feedback.id))


# -- the verb --------------------------------------------------------------------------------------------------------


def test_saying_it_again_replaces_what_was_said(both_site: Site) -> None:
    site, alice = both_site, both_site.cast.alice
    answer = answer_of(site.rt, alice)
    with site.lab.as_(alice) as ctx:
        service.rate(ctx, answer, 1)
        service.rate(ctx, answer, -1, "out of date", "It closed in 1931.")
    [row] = rows(site)
    assert (row.rating, row.reason, row.user_correction) == (-1, "out of date", "It closed in 1931.")
    assert (row.feedback_type, row.original_prediction) == ("correction", "The answer of somebody.")
    with site.lab.as_(alice) as ctx:
        service.undo(ctx, answer)
        service.undo(ctx, answer)
    assert rows(site) == []


def test_only_an_answer_of_ones_own_can_be_rated(site: Site) -> None:
    answer = answer_of(site.rt, site.cast.alice)
    for who, what in ((site.cast.bob, answer), (site.cast.root, answer), (site.cast.alice, "nothing"),
                      (site.cast.alice, question_of(site.rt, answer))):  # fmt: skip
        with site.lab.as_(who) as ctx:
            with pytest.raises(NotFound):
                service.rate(ctx, what, 1)
            with pytest.raises(NotFound):
                service.undo(ctx, what)
    with site.lab.as_(site.cast.alice) as ctx, pytest.raises(Invalid):
        service.rate(ctx, answer, 2)
    assert rows(site) == []


def test_two_clicks_at_once_are_one_row(both_site: Site) -> None:
    site, alice = both_site, both_site.cast.alice
    answer = answer_of(site.rt, alice)
    together, failed = threading.Barrier(6), list[Exception]()

    def click(score: int) -> None:
        together.wait()
        try:
            with site.lab.as_(alice) as ctx:
                service.rate(ctx, answer, score)
        except Exception as exc:
            failed.append(exc)

    clicks = [threading.Thread(target=click, args=(1 if number % 2 else -1,)) for number in range(6)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join()
    assert failed == []
    assert len(rows(site)) == 1


def test_nobody_fills_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A46"""
    monkeypatch.setattr(service, "PER_DAY", "3/day")
    with site.lab.as_(site.cast.alice) as ctx:
        for number in range(3):
            service.submit(ctx, f"thing {number}", "rating")
        with pytest.raises(TooManyRequests) as told:
            service.submit(ctx, "one more", "rating")
    assert told.value.retry_after
    with site.lab.as_(site.cast.bob) as ctx:
        service.submit(ctx, "thing", "rating")


# -- the API ---------------------------------------------------------------------------------------------------------


def test_the_documented_request(site: Site) -> None:
    answer = site.program(site.cast.alice).post(SUBMIT, json=DOCUMENTED)
    assert answer.status_code == 201
    assert answer.json["status"] == "stored"
    [row] = rows(site)
    assert row.id == answer.json["feedback_id"]
    assert {name: getattr(row, name) for name in DOCUMENTED} == DOCUMENTED
    assert row.message_id is None


def test_an_answer_by_its_id_is_rated_once(site: Site) -> None:
    message_id, client = answer_of(site.rt, site.cast.alice), site.program(site.cast.alice)
    first = client.post(SUBMIT, json={"content_id": message_id, "rating": 1})
    again = client.post(SUBMIT, json={"content_id": message_id, "rating": -1, "reason": "wrong"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json["status"], again.json["message_id"]) == ("updated", message_id)
    assert [row.rating for row in rows(site)] == [-1]


def test_a_strangers_answer_is_a_name_like_any_other(site: Site) -> None:
    """A06: nothing tells that it exists."""
    message_id = answer_of(site.rt, site.cast.alice)
    told = site.program(site.cast.bob).post(SUBMIT, json={"content_id": message_id, "rating": -1}).json
    assert (told["status"], told["message_id"]) == ("stored", None)
    with site.lab.as_(site.cast.alice) as ctx:
        assert service.of_messages(ctx, [message_id]) == {}


@pytest.mark.parametrize("wrong", [
    {"content_id": ""}, {"content_id": "x" * 201}, {"confidence_rating": 1.1}, {"confidence_rating": -0.1},
    {"rating": 0}, {"rating": 5}, {"feedback_type": "a b"}, {"feedback_type": ""}, {"reason": "x" * 501},
    {"user_correction": "x" * 20_001}, {"additional_context": {"deep": ["x" * 20_001]}}, {"comment": "x" * 20_001},
], ids=lambda wrong: next(iter(wrong)))  # fmt: skip
def test_what_does_not_fit_is_named(site: Site, wrong: dict[str, Any]) -> None:
    answer = site.program(site.cast.alice).post(SUBMIT, json={**DOCUMENTED, **wrong})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["loc"] == list(wrong)
    assert rows(site) == []


def test_statistics_count_what_one_said(both_site: Site) -> None:
    site, alice = both_site, both_site.cast.alice
    client = site.program(alice)
    empty = client.get(STATS).json
    assert (empty["total_feedback"], empty["satisfaction"], empty["average_confidence"]) == (0, None, None)
    for score, reason in ((1, ""), (1, ""), (-1, "wrong")):
        with site.lab.as_(alice) as ctx:
            service.rate(ctx, answer_of(site.rt, alice), score, reason)
    client.post(SUBMIT, json=DOCUMENTED)
    site.program(site.cast.bob).post(SUBMIT, json={**DOCUMENTED, "feedback_type": "rating", "confidence_rating": 0.1})
    told = client.get(STATS).json
    assert told["total_feedback"] == told["last_7_days"] == told["last_30_days"] == 4
    assert told["by_type"] == {"thumbs": 3, "correction": 1}
    assert (told["ratings"], told["satisfaction"]) == ({"up": 2, "down": 1}, 0.6667)
    assert told["reasons"] == [{"reason": "wrong", "count": 1}]
    assert told["agents"] == [{"agent": "qa", "up": 2, "down": 1}]
    assert (told["corrections"], told["average_confidence"]) == (1, 0.9)
    assert told["last_at"].endswith("Z")
    assert client.get(STATS, query_string={"everyone": "1"}).status_code == 403
    everyone = site.program(site.cast.root).get(STATS, query_string={"everyone": "1"}).json
    assert (everyone["total_feedback"], everyone["average_confidence"]) == (5, 0.5)


# -- the page --------------------------------------------------------------------------------------------------------


def thumbs(html: str) -> dict[str, str]:
    """title -> aria-pressed"""
    buttons = BeautifulSoup(html, "lxml").select(".feedback-thumbs button")
    return {str(one["title"]): str(one["aria-pressed"]) for one in buttons}


def test_a_click_answers_with_the_fragment(site: Site) -> None:
    browser, message_id = site.browser(site.cast.alice), answer_of(site.rt, site.cast.alice)
    headers = {"HX-Request": "true", "X-CSRFToken": token(browser)}
    down = browser.post(f"/feedback/{message_id}", data={"rating": "down"}, headers=headers)
    assert thumbs(down.text) == {"Good answer": "false", "Take back": "true"}
    page = BeautifulSoup(down.text, "lxml")
    assert page.select_one(f"#feedback-{message_id} details[open]"), "a bad answer is asked why"
    said = {"rating": "down", "reason": "<b>wrong", "correction": "Not so."}
    why = browser.post(f"/feedback/{message_id}", data=said, headers=headers)
    assert "<b>wrong" not in why.text
    assert "correction kept" in why.text
    back = browser.post(f"/feedback/{message_id}", data={"rating": "none"}, headers=headers)
    assert thumbs(back.text) == {"Good answer": "false", "Bad answer": "false"}
    assert rows(site) == []


def test_without_scripts_it_leads_back(site: Site) -> None:
    browser, message_id = site.browser(site.cast.alice), answer_of(site.rt, site.cast.alice)
    data = {"rating": "up", "next": "/chat/7", "csrf_token": token(browser)}
    answer = browser.post(f"/feedback/{message_id}", data=data)
    assert (answer.status_code, answer.location) == (303, f"/chat/7#feedback-{message_id}")
    away = browser.post(f"/feedback/{message_id}", data={**data, "next": "//evil.example"})
    assert away.location.startswith("/#"), "A47"
    assert [row.rating for row in rows(site)] == [1]


def test_a_page_asks_once_for_all_its_answers(site: Site) -> None:
    from flask import g, render_template_string
    from sqlalchemy import event

    alice = site.cast.alice
    ids = [answer_of(site.rt, alice) for _ in range(5)]
    with site.lab.as_(alice) as ctx:
        service.rate(ctx, ids[3], 1)
    asked: list[str] = []
    event.listen(site.rt.engine, "before_cursor_execute", lambda c, cu, statement, *_: asked.append(statement))
    with site.app.test_request_context("/chat"):
        g.actor = alice
        html = render_template_string(
            "{% set _ = feedback_given(ids[0], ids) %}{% for message_id in ids %}"
            "{% include 'feedback/_feedback.html' %}{% endfor %}", ids=ids)  # fmt: skip
    assert len([one for one in asked if "feedback" in one]) == 1
    pressed = BeautifulSoup(html, "lxml").select('[aria-pressed="true"]')
    assert [one.find_parent("div")["id"] for one in pressed] == [f"feedback-{ids[3]}"]


def token(browser: Any) -> str:
    page = BeautifulSoup(browser.get("/tasks").text, "lxml")
    return str(page.select_one('meta[name="csrf-token"]')["content"])  # type: ignore[index]

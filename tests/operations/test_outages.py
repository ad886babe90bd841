"""The pages while something is down: they say what, within two seconds, and never break."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.conftest import free_port
from tests.operations.conftest import Browser, Room
from webapp.app import create_app
from webapp.operations import pages, service
from webapp.operations.service import probe
from webapp.operations.service.probe import Look, look
from webapp.runtime import Runtime

PAGES = ["/monitor/", "/monitor/workers", "/monitor/dead-letters", "/monitor/schedules", "/monitor/audit",
         "/monitor/database/", "/monitor/database/tasks", "/admin/", "/admin/tasks/018f0000-none"]  # fmt: skip


def pretend(monkeypatch: pytest.MonkeyPatch, seen: Look) -> None:
    monkeypatch.setattr(service, "look", lambda rt: seen)


@pytest.mark.parametrize("path", PAGES)
def test_without_a_database_each_page_says_so(root: Browser, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    pretend(monkeypatch, Look("no answer within 1 s", 1.0))
    page = root.get(path)
    assert page.status_code == 503
    assert page.headers["Retry-After"] == "5"
    html = page.get_data(as_text=True)
    assert "The database does not answer" in html
    assert 'http-equiv="refresh"' in html, "it opens by itself when the database is back"


def test_an_open_page_keeps_what_it_knew(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, Look("no answer within 1 s", 1.0))
    poll = root.get("/monitor/", poll=True)
    assert (poll.status_code, poll.headers["HX-Retarget"]) == (200, "#ops-alerts")
    html = poll.get_data(as_text=True)
    assert html.lstrip().startswith('<div class="ops-alerts" id="ops-alerts"')
    assert "what was last known" in html


def test_an_outage_tells_a_stranger_no_more_than_the_ready_check(
    stranger: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, Look("no answer within 1 s", 1.0))
    html = stranger.get("/monitor/").get_data(as_text=True)
    assert "The database does not answer" in html
    assert "queue-" not in html
    assert "<nav" not in html


def test_nothing_is_done_while_nobody_can_be_asked_who_asks(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, Look("no answer within 1 s", 1.0))
    assert root.post("/monitor/queues/inference/pause").status_code == 503


def test_a_slow_database_is_a_line_and_a_very_slow_one_is_not_waited_for(
    root: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, Look(None, probe.SLOW))
    page = root.get("/monitor/")
    assert page.status_code == 200
    assert "The database is slow" in page.get_data(as_text=True)
    pretend(monkeypatch, Look(None, probe.TOO_SLOW))
    assert root.get("/monitor/").status_code == 503


def test_a_page_gives_up_when_its_time_is_over(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def long(ctx: Any, _look: Any) -> None:
        time.sleep(0.35)
        service.queues(ctx)

    monkeypatch.setattr(pages, "BUDGET", 0.3)
    monkeypatch.setattr(service, "overview", long)
    page = root.get("/monitor/")
    assert page.status_code == 503
    assert "The database is slow" in page.get_data(as_text=True)


def test_a_connection_that_breaks_midway_is_no_bug_report(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OperationalError("SELECT 1", None, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(service, "overview", broken)
    assert root.get("/monitor/").status_code == 503
    assert root.get("/monitor/", poll=True).headers["HX-Retarget"] == "#ops-alerts"


def test_without_redis_everything_shows_and_says_so(root: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, Look(None, 0.001, {"redis": "TimeoutError"}))
    page = root.get("/monitor/")
    assert page.status_code == 200
    assert "Redis does not answer" in page.get_data(as_text=True)


def test_a_lost_worker_shows(site_room: Room, root: Browser) -> None:
    site_room.add_worker("gone", queues="embedding", age=500)
    site_room.add_worker("here", queues="inference,interactive,crawling,workflows,maintenance")
    html = root.get("/monitor/").get_data(as_text=True)
    assert "No worker for embedding" in html
    assert "1 lost" in html


# -- the probe -------------------------------------------------------------------------------------------------------


def asked(check: Callable[[], Any], patience: float = 0.2) -> tuple[Any, float]:
    question = probe._Question(check)
    began = time.monotonic()
    question.ask(began + patience)
    return question, time.monotonic() - began


def test_what_hangs_is_not_waited_for_and_asked_once() -> None:
    gate, count = threading.Event(), []

    def hang() -> None:
        count.append(1)
        gate.wait(10)

    question, took = asked(hang)
    assert took < 0.5
    assert question.trouble == "no answer within 1 s"
    for _ in range(3):
        began = time.monotonic()
        question.ask(began + 5)
        assert time.monotonic() - began < 0.5, "hardly waited for the second time"
    assert len(count) == 1, "one question at a time"
    gate.set()
    question._done.wait(5)
    question.ask(time.monotonic() + 1)
    assert question.trouble is None


def test_what_fails_says_how() -> None:
    question, _ = asked(lambda: 1 / 0)
    assert question.trouble == "ZeroDivisionError"


def test_a_database_that_answers(both_rt: Runtime) -> None:
    seen = look(both_rt)
    assert (seen.database, seen.others, seen.usable) == (None, {}, True)


@pytest.mark.services
def test_servers_that_are_not_there(make_rt: Callable[..., Runtime]) -> None:
    rt = make_rt(
        DATABASE_URL=f"postgresql://x@127.0.0.1:{free_port()}/x", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"
    )
    app = create_app(rt)
    began = time.monotonic()
    page = app.test_client().get("/monitor/")
    assert time.monotonic() - began < 2.0
    assert page.status_code == 503
    assert "The database does not answer" in page.get_data(as_text=True)
    app.extensions["hub"].stop(0.2)


@pytest.mark.services
def test_only_redis_is_away(make_rt: Callable[..., Runtime], swept_services: Any) -> None:
    rt = make_rt(DATABASE_URL=swept_services.database_url, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    seen = look(rt)
    assert seen.database is None
    assert set(seen.others) == {"redis"}

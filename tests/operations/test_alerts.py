"""Alerts go out: what is bad is told once while it lasts, a task that failed for good once, and nothing is missed."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.conftest import free_port, make_cast
from tests.operations.conftest import Browser, Room
from webapp.operations import service
from webapp.operations.kind import NAME
from webapp.runtime import Runtime
from webapp.settings import SettingsError, load


class Webhook:
    """A chat service's end: keeps what it was sent; `status` is what it answers."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.status = 204
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status < 300:
                    hook.heard.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def titles(self) -> list[list[str]]:
        return [[one["title"] for one in message["alerts"]] for message in self.heard]


@pytest.fixture
def hook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def told(make_rt: Callable[..., Runtime], hook: Webhook) -> Room:
    """A room whose alerts go to the webhook; a worker serves every queue."""
    rt = make_rt(BRAINSTEM_ALERT_URL=f"http://{hook.address}/hook", BRAINSTEM_ALLOW_HOSTS=hook.address,
                 BRAINSTEM_PUBLIC_URL="https://brain.example")  # fmt: skip
    room = Room(rt, make_cast(rt))
    room.add_worker("one", queues="interactive,inference,crawling,embedding,workflows,maintenance")
    return room


def minute(room: Room) -> dict[str, Any]:
    """The run of a minute; its result."""
    task_id = room.start_kind(NAME, {})
    assert room.run("maintenance") == task_id
    row = room.row(task_id)
    assert row.status == "completed", row.error
    return row.result or {}


def fail_for_good(room: Room) -> None:
    room.start(room.cast.alice, "missing")
    room.run_all()


def test_a_task_that_failed_for_good_is_told_once(told: Room, hook: Webhook) -> None:
    assert minute(told) == {"told": [], "here": [], "sent": 0, "problem": "", "outages": {}, "since": {}}
    fail_for_good(told)
    assert minute(told)["sent"] == 1
    assert minute(told)["sent"] == 0
    fail_for_good(told)
    assert minute(told)["sent"] == 1
    assert hook.titles == [["A task failed for good: test.script on inference"]] * 2
    assert hook.heard[0]["url"] == "https://brain.example/monitor/"
    assert hook.heard[0]["text"].startswith("Brainstem: A task failed for good")


def test_what_is_bad_is_told_once_while_it_lasts_and_again_when_it_comes_back(told: Room, hook: Webhook) -> None:
    told.sql("UPDATE workers SET queues = 'interactive,inference,crawling,workflows,maintenance'")
    minute(told)
    minute(told)
    assert hook.titles == [["No worker for embedding"]]
    told.sql("UPDATE workers SET queues = 'interactive,inference,crawling,embedding,workflows,maintenance'")
    minute(told)
    told.sql("UPDATE workers SET queues = 'interactive,inference,crawling,workflows,maintenance'")
    minute(told)
    assert hook.titles == [["No worker for embedding"], ["Over: No worker for embedding"], ["No worker for embedding"]]
    assert hook.heard[1]["alerts"][0]["level"] == "ok"
    assert "It lasted" in hook.heard[1]["text"]


ALL = "interactive,inference,crawling,embedding,workflows,maintenance"


def inbox(room: Room) -> list[tuple[str, str]]:
    """(level, title) of what root's centre holds, oldest first."""
    from webapp.notifications import service as notifications

    return [(one.level, one.title) for one in room.ask(notifications.list_).items][::-1]


def outage(room: Room, key: str) -> service.Alert | None:
    return next((one for one in room.ask(service.alerts) if one.key == key), None)


def test_administrators_hear_of_an_outage_once_and_of_its_end(told: Room) -> None:
    """A worker that died, a queue that waits too long: one line when it begins, one when it is over, none between."""
    told.add_worker("dead", role="crawling", queues="crawling", age=100.0)
    task_id = told.start(told.cast.alice, kind="test.crawl")
    told.sql(f"UPDATE tasks SET updated_at = '2020-01-01 00:00:00' WHERE id = '{task_id}'")
    for _ in range(3):
        minute(told)
    begun = inbox(told)
    assert sorted(level for level, _ in begun) == ["bad", "warn"]
    assert begun[0][1].startswith("1 task waits on crawling")
    assert begun[1] == ("warn", "1 worker lost")
    told.add_worker("next", role="crawling", queues="crawling")
    told.sql(f"UPDATE tasks SET status = 'cancelled', finished_at = '2026-01-01 00:00:00' WHERE id = '{task_id}'")
    for _ in range(3):
        minute(told)
    assert [level for level, _ in inbox(told)[2:]] == ["ok", "ok"]
    assert all(title.startswith("Over: ") for _, title in inbox(told)[2:])


def test_the_page_says_since_when(told: Room) -> None:
    """What has no beginning of its own has that of the check which first saw it, also while its numbers change."""
    told.sql("UPDATE workers SET queues = 'interactive,inference,crawling,workflows,maintenance'")
    assert outage(told, "no-worker:embedding").since is None  # type: ignore[union-attr]
    first = minute(told)["since"]["no-worker:embedding"]
    told.start_kind("knowledge.embed_pending", {})
    assert minute(told)["since"]["no-worker:embedding"] == first
    found = outage(told, "no-worker:embedding")
    assert found is not None
    assert found.since is not None
    assert found.title + ", for " in found.sentence
    told.sql(f"UPDATE workers SET queues = '{ALL}'")
    assert "no-worker:embedding" not in minute(told)["since"]


def test_an_end_that_did_not_arrive_is_sent_again(told: Room, hook: Webhook) -> None:
    told.sql("UPDATE workers SET queues = 'interactive,inference,crawling,workflows,maintenance'")
    minute(told)
    told.sql(f"UPDATE workers SET queues = '{ALL}'")
    hook.status = 500
    assert minute(told)["problem"]
    hook.status = 204
    minute(told)
    minute(told)
    assert hook.titles == [["No worker for embedding"], ["Over: No worker for embedding"]]
    assert [level for level, _ in inbox(told)] == ["bad", "ok"], "administrators do not wait for the webhook"


@pytest.mark.parametrize(("free", "level"), [(10**8, "bad"), (10**9, "warn"), (10**11, None)])
def test_a_disk_that_fills_up_is_told(
    told: Room, monkeypatch: pytest.MonkeyPatch, free: int, level: str | None
) -> None:
    module = importlib.import_module("webapp.operations.service.overview")
    monkeypatch.setattr(module, "disk_space", lambda rt: (free, 10**12))
    minute(told)
    found = outage(told, "disk")
    assert (found.level if found else None) == level
    assert [one for one, _ in inbox(told)] == ([level] if level else [])


def test_the_sentence_on_top(site_room: Room, root: Browser) -> None:
    """All is well, or what is wrong, since when and what to do; the rest stands below."""
    site_room.add_worker("one", queues=ALL)
    page = root.get("/monitor/").get_data(as_text=True)
    assert "All is well: every queue is served" in page
    assert "ops-state tone-ok" in page
    site_room.sql("UPDATE workers SET beat_at = beat_at - 600")
    page = root.get("/monitor/").get_data(as_text=True)
    assert "All is well" not in page
    state = page[page.index('id="ops-state"') :][:1200]
    assert "No worker runs" in state
    assert "since" in state
    assert "10 min ago" in state
    assert "Start Brainstem again" in state
    assert root.get("/monitor/workers").get_data(as_text=True).count('id="ops-state"') == 0


@pytest.mark.parametrize("status", [500, 302, 404])
def test_what_did_not_arrive_is_sent_again_and_said_on_the_page(told: Room, hook: Webhook, status: int) -> None:
    fail_for_good(told)
    hook.status = status
    assert f"{status}" in minute(told)["problem"]
    (alert,) = [one for one in told.ask(service.alerts) if one.title == "Alerts do not go out"]
    assert "BRAINSTEM_ALERT_URL" in alert.text
    hook.status = 204
    assert minute(told)["sent"] == 1
    assert len(hook.heard) == 1
    assert "Alerts do not go out" not in [one.title for one in told.ask(service.alerts)]
    assert told.count("dead_letters") == 1, "an alert that fails makes no alert"


def test_nobody_listens(make_rt: Callable[..., Runtime]) -> None:
    port = free_port()
    rt = make_rt(BRAINSTEM_ALERT_URL=f"http://127.0.0.1:{port}/", BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{port}")
    room = Room(rt, make_cast(rt))
    assert minute(room)["problem"]


def test_a_private_address_must_be_allowed(told: Room, hook: Webhook) -> None:
    told.rt.settings = replace(told.rt.settings, values={**told.rt.settings.values, "allow_hosts": ()})
    fail_for_good(told)
    assert minute(told)["problem"]
    assert hook.heard == []


def test_without_an_address_it_goes_to_the_log(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.add_worker("one", queues="interactive,inference,crawling,embedding,workflows,maintenance")
    fail_for_good(room)
    with caplog.at_level("ERROR", logger="brainstem.alerts"):
        minute(room)
    assert "A task failed for good" in caplog.text


@pytest.mark.parametrize("address", ["ftp://x.example", "x.example", "https://", "javascript:alert(1)"])
def test_an_address_that_is_none_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(SettingsError):
        load({"BRAINSTEM_ALERT_URL": address})


def test_the_routine_that_went_well_is_not_in_the_way(told: Room) -> None:
    minute(told)
    task_id = told.start(told.cast.alice)
    told.run_all()
    assert [row.task.id for row in told.ask(service.all_tasks).items] == [task_id]
    assert told.ask(service.status_counts) == {"completed": 1}
    assert [row.task.kind for row in told.ask(service.all_tasks, kind=NAME).items] == [NAME]
    assert NAME in {row.task.kind for row in told.ask(service.all_tasks, user="system").items}


def test_administrators_are_told_once_though_the_webhook_is_away(told: Room, hook: Webhook) -> None:
    hook.status = 500
    fail_for_good(told)
    for _ in range(3):
        assert minute(told)["problem"]
    assert told.sql("SELECT count(*) FROM notifications WHERE title LIKE 'A task failed%'").scalar() == 1
    hook.status = 204
    assert minute(told)["sent"] == 1
    assert told.sql("SELECT count(*) FROM notifications WHERE title LIKE 'A task failed%'").scalar() == 1

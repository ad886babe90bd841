"""Alerts go out: what is bad is told once while it lasts, a task that failed for good once, and nothing is missed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.conftest import free_port, make_cast
from tests.operations.conftest import Room
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
    assert minute(told) == {"told": [], "here": [], "sent": 0, "problem": ""}
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
    assert hook.titles == [["No worker for embedding"]] * 2


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

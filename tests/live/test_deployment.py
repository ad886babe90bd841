"""The core of it again where pages, live connections and work are processes of their own, over Postgres and Redis."""

from __future__ import annotations

import time

import pytest

from tests.live.client import SSE, WS
from tests.live.conftest import Site

pytestmark = pytest.mark.services


def test_everything_reaches_the_live_process(deployment: Site) -> None:
    alice, bob = deployment.person("alice"), deployment.person("bob")
    with alice.ws("/ws/tasks/") as mine, bob.ws("/ws/tasks/") as theirs:
        assert mine.next()["type"] == theirs.next()["type"] == "connected"
        task_id = alice.start(steps=5, pause=0.02)
        mine.expect(10, type="result", task_id=task_id)
        other = bob.start(steps=5)
        told = []
        while not told or told[-1]["type"] != "result":
            told.append(theirs.next(10))
        assert {m["task_id"] for m in told} == {other}
        kept = [(u["update_type"], u["progress_percentage"], u["message"]) for u in bob.updates(other)]
        assert [(m["type"], m["progress"], m["message"]) for m in told] == kept


def test_one_task_by_socket_and_stream(deployment: Site) -> None:
    alice = deployment.person("alice")
    task_id = alice.start(steps=10, pause=0.1)
    with alice.ws(f"/ws/tasks/{task_id}/") as ws, alice.sse(f"/api/v1/utils/tasks/{task_id}/stream/") as stream:
        ids = [ident for ident, _ in stream.events()]
        assert ws.expect(type="task_complete")["data"]["progress"] == 100
    assert ids == list(range(ids[0] or 0, (ids[-1] or 0) + 1))
    with alice.ws(f"/ws/tasks/{task_id}?after=3") as ws:
        ws.next()
        assert [m["seq"] for m in ws.all(0.4)] == [u["id"] for u in alice.updates(task_id, after=3)]
    with alice.sse(f"/api/v1/utils/tasks/{task_id}/stream/", **{"Last-Event-ID": str(ids[-1])}) as stream:
        assert stream.status == 204


def test_logs_and_a_cancel(deployment: Site) -> None:
    alice = deployment.person("alice")
    with alice.ws("/ws/logs?level=warning") as ws:
        ws.next()
        task_id = alice.start(steps=100, pause=0.1, levels=True)
        assert ws.expect(10, type="log_entry")["data"]["level"] == "warning"
        alice.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/")
        until = time.monotonic() + 10
        while alice.task(task_id)["status"] != "cancelled":
            assert time.monotonic() < until
            time.sleep(0.1)


def test_seats_hold_across_processes(deployment: Site) -> None:
    """Six per person here, however they are spread over the web and the live process."""
    alice = deployment.person("alice")
    sides = [deployment.url.replace("http:", "ws:"), deployment.ws_url]
    opened = [WS(sides[number % 2] + "/ws/tasks/", alice.headers) for number in range(6)]
    assert all(ws.next()["type"] == "connected" for ws in opened)
    for side in sides:
        assert WS(side + "/ws/tasks/", alice.headers).wait_closed()[0] == 1008
        with SSE(side.replace("ws:", "http:") + "/live/stream", alice.headers) as stream:
            assert stream.status == 429
    opened[0].close()
    opened[1].vanish()
    until = time.monotonic() + 3
    for side in (sides[1], sides[0]):  # the room made by the one is the other's
        while True:
            ws = WS(side + "/ws/tasks/", alice.headers)
            if ws.next() is not None:
                break
            assert time.monotonic() < until
        opened.append(ws)
    for ws in opened[2:]:
        ws.close()


def test_a_revoked_key_closes_sockets_of_the_other_process(deployment: Site) -> None:
    import requests

    alice = deployment.person("alice")
    key_id, key = alice.key(["events:read"])
    ws = WS(f"{deployment.ws_url}/ws/tasks/?token={key}")
    assert ws.next()["type"] == "connected"
    requests.delete(f"{deployment.url}/api/auth/api-keys/{key_id}/", headers=alice.headers, timeout=15)
    assert ws.wait_closed(11)[0] == 1008

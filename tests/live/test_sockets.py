"""The documented WebSockets against a real server: /ws/tasks/, /ws/tasks/{id}, /ws/logs (contract sections 9.2, 9.3)."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from tests.live.client import WS, Refused
from tests.live.conftest import Person, Site, embedded

# -- /ws/tasks/: all of mine -----------------------------------------------------------------------------------------


def test_all_events_of_all_my_tasks_in_order(alice: Person, bob: Person) -> None:
    with alice.ws("/ws/tasks/") as ws:
        assert ws.next() == {"type": "connected", "message": "Connected to task updates"}
        others = bob.start(steps=3)
        mine = [alice.start(steps=5), alice.start(steps=5)]
        for one in (*mine,):
            alice.finished(one)
        bob.finished(others)
        got = ws.all()
    for task_id in mine:
        told = [(m["type"], m["progress"], m["message"], m["data"]) for m in got if m["task_id"] == task_id]
        kept = [(u["update_type"], u["progress_percentage"], u["message"], u["data"]) for u in alice.updates(task_id)]
        assert told == kept
    assert {m["task_id"] for m in got} == set(mine), "a stranger's task was told"


def test_fields_of_a_message(alice: Person) -> None:
    with alice.ws("/ws/tasks/") as ws:
        ws.next()
        task_id = alice.start(steps=2)
        progress = ws.expect(type="progress", progress=50)
        last = ws.expect(type="result")
    assert progress["progress"] == progress["progress_percentage"] == 50  # C21
    assert progress["task_id"] == task_id
    assert progress["status"] == "running"
    assert progress["data"] == {"step": 1}
    assert progress["message"] == "step 1 of 2"
    assert progress["timestamp"].endswith("Z")
    assert (last["status"], last["progress"]) == ("completed", 100)
    assert set(progress) == {"type", "update_type", "task_id", "progress", "progress_percentage", "status", "message",
                             "data", "timestamp"}  # fmt: skip


def test_running_tasks_are_told_at_the_start(alice: Person) -> None:
    task_id = alice.start(steps=100, pause=0.1)
    with alice.ws("/ws/tasks/") as ws:
        assert ws.next()["type"] == "connected"
        assert ws.next()["task_id"] == task_id
        alice.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/")
        ws.expect(status="cancelled", task_id=task_id)


def test_failure_is_an_error(alice: Person) -> None:
    with alice.ws("/ws/tasks/") as ws:
        ws.next()
        alice.start(steps=1, fail="it broke")
        told = ws.expect(type="error")
    assert told["status"] == "failed"
    assert "it broke" in told["message"]


def test_subscribe_narrows_and_widens(alice: Person) -> None:
    with alice.ws("/ws/tasks/") as ws:
        ws.next()
        wanted = alice.start(steps=40, pause=0.05)
        ws.send({"type": "subscribe", "task_ids": [wanted]})
        assert ws.expect(type="subscribed")["task_ids"] == [wanted]
        alice.finished(alice.start(steps=3))
        assert {m["task_id"] for m in ws.all(0.3)[:20]} == {wanted}
        ws.send({"type": "subscribe", "task_ids": []})
        ws.expect(type="subscribed")
        other = alice.start(steps=1)
        ws.expect(task_id=other, type="result")
        alice.post(f"/api/v1/utils/ai-tasks/{wanted}/cancel/")


def test_a_task_tried_again_goes_on(alice: Person) -> None:
    with alice.ws("/ws/tasks/") as ws:
        ws.next()
        task_id = alice.start(steps=1, fail="once more")
        ws.expect(type="error")
        alice.post(f"/api/v1/utils/ai-tasks/{task_id}/retry/")
        ws.expect(status="pending", task_id=task_id)
        ws.expect(type="error", task_id=task_id)


# -- /ws/tasks/{id}: one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_one_task_from_start_to_end(alice: Person, slash: str) -> None:
    task_id = alice.start(steps=6, pause=0.1)
    with alice.ws(f"/ws/tasks/{task_id}{slash}") as ws:
        assert ws.next()["type"] == "connected"
        assert ws.next()["type"] == "task_status"
        seen = []
        while not seen or seen[-1]["type"] != "task_complete":
            message = ws.next(10)
            assert message is not None, (ws.closed, seen)
            seen.append(message)
        assert "task_progress" in {m["type"] for m in seen}
        progress = [m["data"]["progress"] for m in seen]
        assert progress == sorted(progress)
        assert progress[-1] == 100
        assert seen[-1]["data"]["status"] == "completed"
        assert set(seen[-1]["data"]) == {"task_id", "status", "progress", "message", "timestamp"}
        assert [m["seq"] for m in seen] == sorted({m["seq"] for m in seen}), "each once, in order"
        assert ws.ping_json()["timestamp"].endswith("Z"), "the client closes, not the server"


def test_opened_after_the_end(alice: Person) -> None:
    task_id = alice.start(steps=1)
    alice.finished(task_id)
    with alice.ws(f"/ws/tasks/{task_id}") as ws:
        kinds = [ws.next()["type"] for _ in range(3)]
    assert kinds == ["connected", "task_status", "task_complete"]


def test_after_gives_exactly_what_was_missed(alice: Person) -> None:
    task_id = alice.start(steps=20, pause=0.02)
    alice.finished(task_id)
    kept = [u["id"] for u in alice.updates(task_id)]
    for after in (0, 3, kept[-2], kept[-1]):
        with alice.ws(f"/ws/tasks/{task_id}?after={after}") as ws:
            assert ws.next()["type"] == "connected"
            assert [m["seq"] for m in ws.all(0.25)] == [seq for seq in kept if seq > after]
    with alice.ws(f"/ws/tasks/{task_id}?after={kept[-1] + 5}") as ws:
        assert [m["type"] for m in ws.all(0.25)] == ["connected", "task_status", "task_complete"]


def test_after_in_the_middle_repeats_nothing(alice: Person) -> None:
    """A reader that had everything gets the next event and not all of them again."""
    task_id = alice.start(steps=30, pause=0.1)
    with alice.ws(f"/ws/tasks/{task_id}") as first:
        first.expect(type="task_progress")
        seen = first.expect(type="task_progress")["seq"]
        with alice.ws(f"/ws/tasks/{task_id}?after={seen}") as ws:
            assert ws.next()["type"] == "connected"
            got = [ws.next()["seq"] for _ in range(5)]
    assert got == list(range(seen + 1, seen + 6))
    alice.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/")


def test_resume_on_an_open_socket(alice: Person) -> None:
    task_id = alice.start(steps=4)
    alice.finished(task_id)
    kept = [u["id"] for u in alice.updates(task_id)]
    with alice.ws(f"/ws/tasks/{task_id}") as ws:
        ws.expect(type="task_complete")
        ws.send({"type": "resume", "after": 2})
        assert [m["seq"] for m in ws.all(0.3)] == [seq for seq in kept if seq > 2]
        for bad in ({"type": "resume"}, {"type": "resume", "after": "2"}, {"type": "resume", "after": True}):
            ws.send(bad)
            assert ws.next()["type"] == "error"
        ws.send({"type": "resume", "after": 10**30})
        ws.send({"type": "resume", "after": -5})
        assert [m["seq"] for m in ws.all(0.3)] == kept
        ws.ping_json()


def test_more_events_than_one_read_takes(alice: Person) -> None:
    task_id = alice.start(steps=1, burst=2600)
    alice.finished(task_id, 60)
    with alice.ws(f"/ws/tasks/{task_id}?after=0") as ws:
        got = [m["seq"] for m in ws.all(1.0) if "seq" in m]
    assert got == list(range(1, len(got) + 1))
    assert len(got) > 2600


def test_a_strangers_task_is_closed_like_none(alice: Person, bob: Person) -> None:
    task_id = alice.start(steps=1)
    reasons = set()
    for path in (f"/ws/tasks/{task_id}", "/ws/tasks/00000000-0000-7000-8000-000000000000", "/ws/tasks/nonsense",
                 f"/ws/logs?task_id={task_id}"):  # fmt: skip
        ws = bob.ws(path)
        assert ws.next() is None
        assert ws.closed is not None
        assert ws.closed[0] == 1008
        reasons.add(ws.closed[1])
    assert reasons == {"there is no such task"}


# -- /ws/logs --------------------------------------------------------------------------------------------------------


def _lines(messages: list[Any]) -> list[tuple[str, str]]:
    return [(m["data"]["level"], m["data"]["message"]) for m in messages if m["type"] == "log_entry"]


def test_logs_of_all_my_tasks(alice: Person, bob: Person) -> None:
    with alice.ws("/ws/logs") as ws:
        assert ws.next()["type"] == "connected"
        bobs = bob.start(levels=True)
        task_id = alice.start(levels=True)
        alice.finished(task_id)
        bob.finished(bobs)
        got = ws.all()
    assert {m["data"]["task_id"] for m in got} == {task_id}
    entry = next(m["data"] for m in got if m["data"]["message"] == "a line of level warning")
    assert set(entry) == {"timestamp", "level", "message", "agent_id", "task_id", "source"}
    assert entry["level"] == "warning"
    assert entry["source"] == "live_steps"
    assert [level for level, text in _lines(got) if text.startswith("a line")] == ["debug", "info", "warning", "error"]
    assert "task_update" in {m["type"] for m in got}


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_means_it_and_above(alice: Person, level: str, shown: int) -> None:
    with alice.ws(f"/ws/logs?level={level}") as ws:
        ws.next()
        alice.finished(alice.start(levels=True))
        lines = [text for _, text in _lines(ws.all(0.3)) if text.startswith("a line")]
    assert len(lines) == shown


def test_logs_of_one_task(alice: Person) -> None:
    task_id = alice.start(steps=20, pause=0.1)
    with alice.ws(f"/ws/logs?task_id={task_id}") as ws:
        ws.next()
        alice.finished(alice.start(levels=True))
        alice.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/")
        alice.finished(task_id)
        assert {m["data"]["task_id"] for m in ws.all(0.3)} == {task_id}


def test_filters_can_be_changed(alice: Person) -> None:
    with alice.ws("/ws/logs") as ws:
        ws.next()
        ws.send({"type": "update_filters", "filters": {"level": "error"}})
        assert ws.expect(type="filters_updated")["filters"]["level"] == "error"
        alice.finished(alice.start(levels=True))
        assert {level for level, _ in _lines(ws.all(0.3))} == {"error"}
        ws.send({"type": "update_filters", "filters": {"level": None}})
        ws.expect(type="filters_updated")
        task_id = alice.start(steps=2)
        ws.send({"type": "update_filters", "filters": {"task_id": task_id}})
        ws.expect(type="filters_updated")
        alice.finished(alice.start(levels=True))
        assert {m["data"]["task_id"] for m in ws.all(0.3)} <= {task_id}
        ws.send({"type": "update_filters", "filters": {"agent_id": "nobody"}})
        ws.expect(type="filters_updated")
        alice.finished(alice.start(levels=True))
        assert ws.all(0.3) == []
        ws.send({"type": "update_filters", "filters": {"level": "loud"}})
        assert "level" in ws.expect(type="error")["message"]
        ws.send({"type": "update_filters", "filters": {"task_id": 5}})
        ws.expect(type="error")


def test_filters_open_nobody_elses_logs(alice: Person, bob: Person) -> None:
    with bob.ws("/ws/logs") as ws:
        ws.next()
        task_id = alice.start(steps=10, pause=0.05)
        ws.send({"type": "update_filters", "filters": {"task_id": task_id}})
        ws.expect(type="filters_updated")
        alice.finished(task_id)
        assert ws.all(0.3) == []


def test_a_wrong_level_is_refused(alice: Person) -> None:
    ws = alice.ws("/ws/logs?level=loud")
    assert ws.wait_closed()[0] == 1008


# -- who may ---------------------------------------------------------------------------------------------------------


def test_every_way_to_show_who_one_is(site: Site, signed_in: tuple[Person, str]) -> None:
    alice, cookie = signed_in
    _, key = alice.key(["events:read"])
    ways: list[tuple[str, dict[str, str]]] = [
        (f"?token={alice.token}", {}),
        (f"?token={key}", {}),
        ("", {"Authorization": f"Bearer {key}"}),
        ("", {"X-API-Key": key}),
        ("", {"Cookie": cookie, "Origin": site.live_url}),
        (f"?token={alice.token}", {"Origin": site.live_url}),
    ]
    for query, headers in ways:
        with WS(f"{site.ws_url}/ws/tasks/{query}", headers) as ws:
            assert ws.next()["type"] == "connected", (query[:10], list(headers))


def test_wrong_credentials_are_accepted_then_1008(site: Site, alice: Person) -> None:
    """A refused upgrade would show browsers 1006 and no reason (C01)."""
    head, body, sign = alice.token.split(".")
    old_key_id, old_key = alice.key(["events:read"])
    requests.delete(f"{site.url}/api/auth/api-keys/{old_key_id}/", headers=alice.headers, timeout=15)
    shown = ["", "?token=", "?token=nonsense", f"?token={head}.{body}.{sign[::-1]}", f"?token={old_key}"]
    for query in shown:
        for path in ("/ws/tasks/", "/ws/tasks/x"):
            ws = WS(site.ws_url + path + query)
            assert "101" in ws.head.splitlines()[0]
            assert ws.wait_closed()[0] == 1008, query[:12]


def test_a_key_without_the_scope_hears_nothing(site: Site, alice: Person) -> None:
    """The same answer on every path (A03): streams ask for events:read, so do sockets."""
    _, key = alice.key(["tasks:read", "tasks:write"])
    task_id = alice.start(steps=1)
    for path in ("/ws/tasks/", f"/ws/tasks/{task_id}", "/ws/logs", f"/ws/live?topics=task:{task_id}@status@0"):
        ws = WS(site.ws_url + path, {"X-API-Key": key})
        code, reason = ws.wait_closed()
        assert code == 1008, path
        assert "events:read" in reason, path
    stream = requests.get(f"{site.url}/api/v1/utils/tasks/{task_id}/stream/", headers={"X-API-Key": key}, timeout=10)
    assert stream.status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "https://127.0.0.1.evil.example",
                                    "file://", "http://["])  # fmt: skip
def test_a_foreign_origin_is_403_before_101(site: Site, signed_in: tuple[Person, str], origin: str) -> None:
    for headers in ({"Cookie": signed_in[1]}, {}, signed_in[0].headers):
        with pytest.raises(Refused) as refused:
            WS(f"{site.ws_url}/ws/tasks/", {**headers, "Origin": origin})
        assert refused.value.status == 403
        assert not refused.value.head.startswith("HTTP/1.1 101")


def test_a_cookie_without_an_origin_is_403(site: Site, signed_in: tuple[Person, str]) -> None:
    with pytest.raises(Refused) as refused:
        WS(f"{site.ws_url}/ws/tasks/", {"Cookie": signed_in[1]})
    assert refused.value.status == 403


def test_broken_handshakes_are_400_and_take_no_seat(site: Site) -> None:
    person = site.person()
    for number in range(60):  # more than one may have open
        wrong = {"Sec-WebSocket-Version": "8"} if number % 2 else {"Sec-WebSocket-Key": ""}
        with pytest.raises((Refused, ConnectionError)) as refused:
            WS(f"{site.ws_url}/ws/tasks/", {**person.headers, **wrong})
        if isinstance(refused.value, Refused):
            assert 400 <= refused.value.status < 500
    with person.ws("/ws/tasks/") as ws:
        assert ws.next()["type"] == "connected"


def test_a_revoked_key_closes_its_sockets(site: Site, alice: Person) -> None:
    """A03: within ten seconds; sockets of other credentials of the same person stay."""
    key_id, key = alice.key(["events:read"])
    by_key, by_query = WS(f"{site.ws_url}/ws/tasks/", {"X-API-Key": key}), WS(f"{site.ws_url}/ws/logs?token={key}")
    stays = alice.ws("/ws/tasks/")
    for ws in (by_key, by_query, stays):
        assert ws.next()["type"] == "connected"
    began = time.monotonic()
    requests.delete(f"{site.url}/api/auth/api-keys/{key_id}/", headers=alice.headers, timeout=15)
    for ws in (by_key, by_query):
        assert ws.wait_closed(11)[0] == 1008
    assert time.monotonic() - began <= 10
    stays.ping_json()
    stays.close()


def test_a_suspended_persons_sockets_and_streams_end(site: Site) -> None:
    person = site.person("suspended")
    me = person.get("/api/auth/me/").json()
    task_id = person.start(steps=200, pause=0.1)
    ws = person.ws("/ws/tasks/")
    ws.next()
    stream = person.sse(f"/api/v1/utils/tasks/{task_id}/stream/")
    began = time.monotonic()
    answer = requests.patch(f"{site.url}/api/auth/users/{me['id']}/", json={"is_active": False},
                            headers=site.root.headers, timeout=15)  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert ws.wait_closed(11)[0] == 1008
    for _ in stream.events():
        assert time.monotonic() - began < 12
    assert time.monotonic() - began <= 11


# -- limits ----------------------------------------------------------------------------------------------------------


def test_100_messages_a_minute_then_the_documented_error(alice: Person) -> None:
    with alice.ws("/ws/tasks/") as ws:
        ws.next()
        for _ in range(105):
            ws.send({"type": "ping"})
        got = ws.all(0.5)
        assert sum(m["type"] == "pong" for m in got) == 100
        assert [m for m in got if m["type"] != "pong"] == [
            {"type": "error", "message": "Rate limit exceeded. Please wait before sending more messages.",
             "retry_after": 60}]  # fmt: skip
        assert ws.closed is None
        task_id = alice.start(steps=1)  # what the server sends is not limited (C42)
        ws.expect(task_id=task_id, type="result")


def test_unknown_and_broken_messages_are_told_and_survived(alice: Person) -> None:
    with alice.ws("/ws/tasks/") as ws:
        ws.next()
        for text in ("{", "", "nonsense", "[" * 60_000, "1" * 6000):
            ws.send(text)
            assert ws.next()["message"] in ("Invalid JSON", "Unknown message type None")
        for message in ({"type": "nobody"}, {"type": 5}, {"type": None}, {}, [], 7, {"type": "subscribe"},
                        {"type": "subscribe", "task_ids": [1]}):  # fmt: skip
            ws.send(message)
            assert "Unknown message type" in ws.expect(type="error")["message"]
        ws.send('{"type": "\\ud800"}')  # half a character: legal JSON, no legal UTF-8
        ws.expect(type="error")
        ws.send('{"type": "subscribe", "task_ids": ["\\udfff"]}')
        ws.expect(type="subscribed")
        ws.ping_json()


def test_seats_per_user_and_in_all(make_server: Any) -> None:
    """50 and 200 by default; here 3 and 5. What is closed in any way makes room at once."""
    server = make_server({"BRAINSTEM_WS_PER_USER": "3", "BRAINSTEM_WS_TOTAL": "5", "AUTH_REQUIRED": "1"})
    site = embedded(server)
    alice, bob, charlie = (site.person(name) for name in ("alice", "bob", "charlie"))
    mine = [alice.ws("/ws/tasks/") for _ in range(3)]
    assert all(ws.next()["type"] == "connected" for ws in mine)
    assert alice.ws("/ws/tasks/").wait_closed() == (1008, "too many connections of yours")
    theirs = [bob.ws("/ws/tasks/") for _ in range(2)]
    assert all(ws.next()["type"] == "connected" for ws in theirs)
    assert charlie.ws("/ws/logs").wait_closed()[0] == 1013
    stream = requests.get(f"{site.url}/live/stream", headers=charlie.headers, timeout=10)
    assert stream.status_code == 503
    assert int(stream.headers["Retry-After"]) > 0
    assert requests.get(f"{site.url}/live/stream", headers=alice.headers, timeout=10).status_code == 429
    mine[0].close()
    mine[1].vanish()
    opened = [_connected(charlie), _connected(charlie)]
    assert charlie.ws("/ws/logs").wait_closed()[0] == 1013
    # Refusing never took a seat: the room that is made is the room there is.
    opened[0].close()
    _connected(alice).close()
    site.rt.close()


def _connected(person: Person, patience: float = 3.0) -> WS:
    until = time.monotonic() + patience
    while True:
        ws = person.ws("/ws/tasks/")
        if ws.next() is not None:
            return ws
        assert time.monotonic() < until, ws.closed
        time.sleep(0.05)


def test_the_documented_numbers_are_the_defaults() -> None:
    from webapp.settings import BY_NAME
    from webapp.web.live import LiveSock

    assert [BY_NAME[name].default for name in ("ws_per_user", "ws_total", "ws_messages_per_minute")] == [50, 200, 100]
    asked: dict[str, Any] = {}

    class Noted(LiveSock):
        def __init__(self) -> None: ...

        def live(self, path: str, make: Any, *, app_ping: float | None = None, **_: Any) -> None:
            asked[path] = app_ping

    from webapp.tasks.pages import sockets

    sockets(Noted())
    assert asked["/ws/tasks/<task_id>"] == asked["/ws/logs"] == 90
    assert asked["/ws/tasks/"] is None, "the page's own client sends no pings there"

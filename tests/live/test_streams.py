"""Server-sent events against a real server (contract section 10), and the fragments that pages poll."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from tests.live.client import SSE
from tests.live.conftest import CLUSTER, Person, Site

STREAM = "/api/v1/utils/tasks/{}/stream/"
LOGS = "/api/v1/logs/stream/{}"


def test_a_stream_from_the_present_state_to_the_end(alice: Person) -> None:
    task_id = alice.start(steps=5, pause=0.1)
    with alice.sse(STREAM.format(task_id)) as stream:
        got = list(stream.events())  # ends, so the server closed
        assert stream.retry == 3000
        assert set(stream.fields) <= {"id", "data", "retry"}, "with `event:` no onmessage would hear it"
        headers = stream.headers
    kept = alice.updates(task_id)
    ids = [ident for ident, _ in got]
    assert ids[0] is not None
    assert ids[1:] == [u["id"] for u in kept if u["id"] > ids[0]]
    assert got[-1][1]["type"] == "result"
    assert got[-1][1]["status"] == "completed"
    for _, data in got:
        assert data["progress"] == data["progress_percentage"]
        assert "message" in data
        assert data["task_id"] == task_id
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "no-cache" in headers["Cache-Control"]
    if not CLUSTER:  # said to the proxy, which keeps it to itself
        assert headers["X-Accel-Buffering"] == "no"


def test_resume_gives_exactly_what_was_missed(alice: Person) -> None:
    task_id = alice.start(steps=30, pause=0.05)
    got: list[int | None] = []
    last = None
    for _ in range(4):  # dropped after every third event, as by a bad network
        headers = {"Last-Event-ID": str(last)} if last is not None else {}
        with alice.sse(STREAM.format(task_id), **headers) as stream:
            for number, (ident, _) in enumerate(stream.events()):
                got.append(ident)
                last = ident
                if number == 2:
                    break
    with alice.sse(STREAM.format(task_id), **{"Last-Event-ID": str(last)}) as stream:
        got += [ident for ident, _ in stream.events()]
    kept = [u["id"] for u in alice.updates(task_id)]
    assert got == [seq for seq in kept if seq >= (got[0] or 0)]


def test_after_the_end(alice: Person) -> None:
    task_id = alice.start(steps=3)
    alice.finished(task_id)
    last = alice.updates(task_id)[-1]["id"]
    with alice.sse(STREAM.format(task_id)) as stream:
        assert [(ident, data["type"]) for ident, data in stream.events()] == [(last, "result")]
    with alice.sse(STREAM.format(task_id), **{"Last-Event-ID": str(last)}) as stream:
        assert stream.status == 204, "or EventSource would come back for ever"
    with alice.sse(STREAM.format(task_id), **{"Last-Event-ID": "1"}) as stream:
        assert [ident for ident, _ in stream.events()] == list(range(2, last + 1))
    with alice.sse(LOGS.format(task_id), **{"Last-Event-ID": str(last)}) as stream:
        assert stream.status == 204


def test_an_id_beyond_the_end_starts_again(alice: Person) -> None:
    """As after a restore from a backup: told by `reset`, then the present state."""
    task_id = alice.start(steps=100, pause=0.1)
    with alice.sse(STREAM.format(task_id), **{"Last-Event-ID": "5000"}) as stream:
        events = stream.events()
        first, second, third = next(events), next(events), next(events)
    assert first[1]["type"] == "reset"
    assert second[1]["status"] in ("pending", "running")
    assert second[0] is not None
    assert third[0] == second[0] + 1
    with alice.sse(LOGS.format(task_id), **{"Last-Event-ID": "5000"}) as stream:
        events = stream.events()
        assert next(events)[1]["type"] == "reset"
        assert next(events)[0] == 1, "log lines have no state, they start again from the first"
    alice.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/")


@pytest.mark.parametrize("given", ["x", "-1", "\u00b2", "9" * 30, "1.5", "0"])
def test_a_strange_last_event_id_starts_from_the_beginning(alice: Person, given: str) -> None:
    task_id = alice.start(steps=1)
    alice.finished(task_id)
    with alice.sse(STREAM.format(task_id), **{"Last-Event-ID": given.encode("latin-1")}) as stream:  # type: ignore[arg-type]
        assert next(stream.events())[0] == 1


def test_log_lines_as_a_stream(alice: Person) -> None:
    task_id = alice.start(steps=2, levels=True)
    with alice.sse(LOGS.format(task_id)) as stream:
        got = list(stream.events())
        assert "no-cache" in stream.headers["Cache-Control"]
    assert [ident for ident, _ in got] == list(range(1, len(got) + 1)), "from the first line on"
    assert {"timestamp", "level", "message", "agent_id", "task_id", "source"} == set(got[0][1])
    assert [d["level"] for _, d in got if d["message"].startswith("a line")] == ["debug", "info", "warning", "error"]


def test_who_may_read_a_stream(site: Site, signed_in: tuple[Person, str], bob: Person) -> None:
    alice, cookie = signed_in
    task_id = alice.start(steps=1)
    alice.finished(task_id)
    _, key = alice.key(["events:read"])
    good: list[tuple[str, dict[str, str]]] = [
        ("", alice.headers), (f"?token={alice.token}", {}), (f"?token={key}", {}), ("", {"X-API-Key": key}),
        ("", {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}),
    ]  # fmt: skip
    for path in (STREAM.format(task_id), LOGS.format(task_id)):
        for query, headers in good:
            with SSE(site.url + path + query, headers) as stream:
                assert stream.status == 200
                assert next(stream.events())[1]
        for query, headers, status in (("", bob.headers, 404), ("?token=bad", {}, 401)):
            assert requests.get(site.url + path + query, headers=headers, timeout=10).status_code == status
    assert requests.get(site.url + STREAM.format(task_id), timeout=10).status_code == 401
    assert requests.get(site.url + LOGS.format(task_id), timeout=10).status_code == 404  # reads are open, theirs empty


def test_head_asks_for_no_stream(alice: Person) -> None:
    task_id = alice.start(steps=50, pause=0.1)
    began = time.monotonic()
    answer = requests.head(alice.site.url + STREAM.format(task_id), headers=alice.headers, timeout=5)
    assert answer.status_code == 200
    assert time.monotonic() - began < 2
    alice.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/")


def test_the_streams_end_with_a_cancel(alice: Person) -> None:
    task_id = alice.start(steps=100, pause=0.1)
    with alice.sse(STREAM.format(task_id)) as stream:
        events = stream.events()
        next(events)
        alice.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/")
        assert [data["status"] for _, data in events][-1] == "cancelled"


def test_a_stream_of_more_than_one_read(alice: Person) -> None:
    """2600 events: sent to the last, with as many reconnects as it takes."""
    task_id = alice.start(steps=1, burst=2600)
    alice.finished(task_id, 60)
    got: list[int | None] = [0]
    for _ in range(10):
        with alice.sse(STREAM.format(task_id), **{"Last-Event-ID": str(got[-1])}) as stream:
            if stream.status == 204:
                break
            got += [ident for ident, _ in stream.events()]
    assert got == list(range(len(got)))
    assert len(got) > 2600


# -- pages -----------------------------------------------------------------------------------------------------------


def _page_frames(events: Any) -> Any:
    return [data for _, data in events]


def test_a_pages_stream_and_socket_say_the_same(alice: Person) -> None:
    task_id = alice.start(steps=8, pause=0.1)
    topics = f"?topics=task:{task_id}@status@0,task:{task_id}@row@0"
    with alice.ws("/ws/live" + topics) as ws, alice.sse("/live/stream" + topics) as stream:
        events = stream.events()
        assert ws.next() == {"type": "hello", "transport": "websocket"}
        assert next(events)[1] == {"type": "hello", "transport": "sse"}
        by_socket: list[Any] = []
        while not any('data-final="true"' in m["html"] for m in by_socket):
            by_socket.append(ws.next())
        by_stream: list[Any] = []
        while not any('data-final="true"' in m["html"] for m in by_stream):
            by_stream.append(next(events)[1])
    assert {m["view"] for m in by_socket} == {"status", "row"}
    for got in (by_socket, by_stream):
        assert {m["id"] for m in got} == {f"task-{task_id}-status", f"task-{task_id}-row"}
        seqs = [m["seq"] for m in got]
        assert seqs == sorted(seqs)
        assert all("csrf_token" not in m["html"] or 'name="csrf_token" value=""' in m["html"] for m in got)


def test_a_page_may_change_what_it_watches(alice: Person, bob: Person) -> None:
    first, second, theirs = alice.start(steps=3), alice.start(steps=60, pause=0.05), bob.start(steps=60, pause=0.05)
    alice.finished(first)
    with alice.ws(f"/ws/live?topics=task:{first}@row@0") as ws:
        assert ws.next()["type"] == "hello"
        assert ws.next()["topic"] == f"task:{first}"
        ws.send({"type": "topics", "topics": [f"task:{second}@status@0", f"task:{theirs}@status@0", 7, "task:x@status@\u00b2",
                                              "nothing", f"task:{second}@secret@0"]})  # fmt: skip
        got = [ws.next() for _ in range(6)]
        assert {"type": "gone", "topic": f"task:{theirs}"} in got, "a stranger's task looks like none"
        assert {m["topic"] for m in got if m["type"] == "fragment"} == {f"task:{second}"}
        alice.post(f"/api/v1/utils/ai-tasks/{second}/cancel/")
        alice.finished(second)
        assert requests.delete(f"{alice.site.url}/api/v1/utils/ai-tasks/{second}/", headers=alice.headers,
                               timeout=10).status_code == 204  # fmt: skip
        ws.expect(type="gone", topic=f"task:{second}")
    bob.post(f"/api/v1/utils/ai-tasks/{theirs}/cancel/")


def test_strange_topics_are_survived(alice: Person) -> None:
    for topics in ("task:x@status@\u00b2", "task:x@status@" + "9" * 5000, "@@@", ",,,", "task:@status@1"):
        with alice.ws("/ws/live?topics=" + requests.utils.quote(topics)) as ws:
            assert ws.next()["type"] == "hello"
            ws.ping_json()


@pytest.mark.parametrize("view", ["status", "row"])
def test_polling_ends_with_286(alice: Person, view: str) -> None:
    task_id = alice.start(steps=8, pause=0.1)
    path = f"/tasks/{task_id}/{view}"
    seen = []
    until = time.monotonic() + 15
    while not seen or (seen[-1][0] != 286 and time.monotonic() < until):
        answer = alice.get(path, allow_redirects=False)
        seen.append((answer.status_code, 'data-final="true"' in answer.text, int(_attribute(answer.text, "live-seq"))))
        assert f'id="task-{task_id}-{view}"' in answer.text
        assert "<html" not in answer.text
        time.sleep(0.05)
    assert seen[0][0] == 200
    assert {(status, final) for status, final, _ in seen} == {(200, False), (286, True)}
    assert [seq for *_, seq in seen] == sorted(seq for *_, seq in seen)


def _attribute(html: str, name: str) -> str:
    return html.split(f'data-{name}="')[1].split('"')[0]


def test_a_strangers_fragment_is_404(alice: Person, bob: Person) -> None:
    task_id = alice.start(steps=1)
    assert bob.get(f"/tasks/{task_id}/status").status_code == 404

"""F27-F30: live readers that come and go, that never read, and that are very many."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests

from tests.drills.clients import CLOSE_WAIT, CLOSED, Crowd, Sse, Ws, state_of
from tests.drills.harness import Cluster, Stack, load, percentile, scaled, tell, until, within
from webapp.runtime import Runtime
from webapp.web.hub import Client, Hub

pytestmark = [pytest.mark.drill, pytest.mark.spine]


def _talker(stack: Stack, count: int, seconds: float, size: int = 10) -> str:
    """A task that says `count` things in about so many seconds."""
    task = stack.run("events", {"count": count, "every": seconds / count * 0.6, "bytes": size})
    until(lambda: stack.row(task)["seq"] >= 2, 15, "it talks")
    return task


def _read_stream(
    url: str, path: str, rng: random.Random, stops: int, total: int, seen: list[int], gaps: list[float]
) -> int:
    """Read until the stream is over, leaving `stops` times at random places; how often it left."""
    left, after, deadline = 0, 0, time.monotonic() + 300
    while time.monotonic() < deadline:
        until_more = rng.randint(1, max(2, 2 * total // (stops + 1))) if left < stops else None
        began = time.monotonic()
        stream = Sse(url, path, after)
        if stream.status == 204:
            return left
        assert stream.status == 200, stream.status
        got = 0
        with contextlib.suppress(ConnectionError):
            for ident, data in stream.events():
                assert ident is not None
                assert data.get("type") != "reset"
                gaps += [time.monotonic() - began] if got == 0 else []
                seen.append(ident)
                after, got = ident, got + 1
                if until_more is not None and got >= until_more:
                    break
        left += until_more is not None
        stream.close()
    raise AssertionError("the stream did not end")


def test_f27_streams_with_random_disconnects(stack: Stack, rng: random.Random) -> None:
    """Clients leave at random and come back with Last-Event-ID: each event once and in order, for every client."""
    total, readers, stops = scaled(10_000, 600), scaled(8, 4), scaled(32, 6)
    task = _talker(stack, total, scaled(60, 4))
    paths = [f"/api/v1/logs/stream/{task}", f"/api/v1/utils/tasks/{task}/stream/"]
    seen: list[list[int]] = [[] for _ in range(readers)]
    gaps: list[float] = []
    left = _in_threads(
        [
            lambda n=n, r=random.Random(rng.random()): _read_stream(
                stack.live_url, paths[n % 2], r, stops, total, seen[n], gaps
            )
            for n in range(readers)
        ]
    )
    row = stack.check([task], patience=120)[task]
    wrong = [n for n, got in enumerate(seen) if got != list(range(1, row["seq"] + 1))]
    tell("F27", stack.mode, events=row["seq"], clients=readers, disconnects=sum(left), wrong=len(wrong),
         first_after_return_p99=percentile(gaps, 0.99))  # fmt: skip
    assert wrong == [], _difference(seen[wrong[0]], row["seq"])
    assert sum(left) >= scaled(200, 12), "too few left for the drill to mean anything"


def _difference(got: list[int], total: int) -> str:
    missing = sorted(set(range(1, total + 1)) - set(got))
    return f"{len(got)} of {total}: {len(missing)} missing ({missing[:5]}), {len(got) - len(set(got))} twice, sorted: {got == sorted(got)}"


def _in_threads(jobs: list[Callable[[], Any]]) -> list[Any]:
    results: list[Any] = [None] * len(jobs)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            results[number] = jobs[number]()
        except BaseException as exc:
            errors.append(exc)

    crew = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(len(jobs))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(400)
    assert not errors, errors[:2]
    return results


def test_f27_an_id_from_the_future_starts_again(stack: Stack) -> None:
    """A Last-Event-ID that this server never gave: `reset`, then the present state."""
    task = stack.run("steps", {"steps": 3, "pause": 2.0})
    stack.wait_status(task, "running")
    stream = Sse(stack.live_url, f"/api/v1/utils/tasks/{task}/stream/", 10_000)
    events = stream.events()
    assert next(events)[1]["type"] == "reset"
    ident, state = next(events)
    assert ident is not None
    assert state["status"] == "running"
    stream.close()
    stack.check([task])


@pytest.mark.variant
def test_f27_all_of_a_long_history(stack: Stack) -> None:
    """Whoever asks for more events than one push holds gets them all, also when the task is over."""
    total = scaled(10_000, 2_500)
    task = stack.run("events", {"count": total})
    stack.check([task], patience=120)
    want = list(range(1, stack.row(task)["seq"] + 1))
    seen: list[int] = []
    _read_stream(stack.live_url, f"/api/v1/logs/stream/{task}", random.Random(0), 0, total, seen, [])
    tell("F27-history", stack.mode, events=len(want), got=len(seen))
    assert seen == want, _difference(seen, len(want))


def test_f17_a_last_event_whose_read_failed(make_rt: Callable[..., Runtime]) -> None:
    """The database is away at the very moment the end of a task is to be read for its readers: they get it later."""
    rt = make_rt()
    task = SimpleNamespace(id="t", seq=7, owner_id=None, created_at=datetime.now(UTC))
    calls: list[int] = []

    def read(_rt: Runtime, wanted: list[tuple[str, int]]) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the database is away")
        return [(task, [SimpleNamespace(seq=n, task_id="t") for n in range(wanted[0][1] + 1, 8)])]

    hub = Hub(rt, read, lambda *_: [("t", 7, None)])
    client = Client("queue", None, _Numbers(), seats=[], member="")  # type: ignore[arg-type]
    hub.adopt(client)
    try:
        until(lambda: hub._topics["task:t"], 5, "it watches")
        rt.ring("task", "t", 7)
        assert client.queue.get(timeout=5) == b"id: 7\ndata: 7\n\n"
    finally:
        hub.stop(0.5)


class _Numbers:
    key = "numbers"

    def topics(self) -> list[str]:
        return ["task:t"]

    def join(self, rt: Runtime, client: Client) -> None:
        client.moved("t", 6)

    def wants(self, event: Any) -> bool:
        return True

    def render(self, rt: Runtime, task: Any, events: list[Any]) -> list[tuple[int, str]]:
        return [(event.seq, str(event.seq)) for event in events]

    def is_over(self, task: Any) -> bool:
        return False


@pytest.mark.variant
def test_f28_all_of_a_long_history(stack: Stack) -> None:
    """The same by WebSocket: more missed events than one push holds, and no new one that would bring the rest."""
    total = scaled(10_000, 2_500)
    task = stack.run("events", {"count": total})
    stack.check([task], patience=120)
    want = list(range(1, stack.row(task)["seq"] + 1))
    seen: list[int] = []
    _read_ws([stack.live_url], task, random.Random(0), 0, total, seen, [])
    tell("F28-history", stack.mode, events=len(want), got=len(seen))
    assert seen == want, _difference(seen, len(want))


def test_f28_websockets_with_random_disconnects(mode: str, own: Callable[..., Any], rng: random.Random) -> None:
    """The same by WebSocket with `after`, each return to another web process; what was missed comes within 2 s."""
    stack: Stack = own(mode)
    if isinstance(stack, Cluster):
        second = stack.add("live2", ["web", "--live"], BRAINSTEM_LIVE_PORT=str(_free_port()))
    stack.start()
    urls = [stack.live_url]
    if isinstance(stack, Cluster):
        urls.append(f"http://127.0.0.1:{second.env['BRAINSTEM_LIVE_PORT']}")
        until(lambda: stack._serves(urls[1]), 30, "the second live process serves")
    total, readers, stops = scaled(10_000, 600), scaled(8, 4), scaled(32, 6)
    task = _talker(stack, total, scaled(60, 4))
    seen: list[list[int]] = [[] for _ in range(readers)]
    gaps: list[float] = []
    left = _in_threads(
        [
            lambda n=n, r=random.Random(rng.random()): _read_ws(urls, task, r, stops, total, seen[n], gaps)
            for n in range(readers)
        ]
    )
    row = stack.check([task], patience=120)[task]
    wrong = [n for n, got in enumerate(seen) if got != list(range(1, row["seq"] + 1))]
    tell("F28", mode, events=row["seq"], clients=readers, web_processes=len(urls), disconnects=sum(left), wrong=len(wrong),
         worst_gap=max(gaps))  # fmt: skip
    assert wrong == [], _difference(seen[wrong[0]], row["seq"])
    assert sum(left) >= scaled(200, 12), "too few left for the drill to mean anything"
    within(max(gaps), 2.0, "F28 gap")


def _free_port() -> int:
    from tests.conftest import free_port

    return free_port()


def _read_ws(
    urls: list[str], task: str, rng: random.Random, stops: int, total: int, seen: list[int], gaps: list[float]
) -> int:
    left, after, deadline = 0, 0, time.monotonic() + 300
    while time.monotonic() < deadline:
        until_more = rng.randint(1, max(2, 2 * total // (stops + 1))) if left < stops else None
        began, got = time.monotonic(), 0
        socket_ = Ws(urls[left % len(urls)], f"/ws/tasks/{task}?after={after}")
        socket_.sock.settimeout(20)
        for message in socket_.messages():
            if message["type"] == "connected":
                continue
            if message["type"] == "error":
                raise AssertionError(message)
            gaps += [time.monotonic() - began] if got == 0 else []
            seen.append(message["seq"])
            after, got = message["seq"], got + 1
            if message["type"] == "task_complete":
                socket_.close()
                return left
            if until_more is not None and got >= until_more:
                break
        left += until_more is not None
        socket_.close()
    raise AssertionError("no end was told")


def test_f29_clients_that_never_read(stack: Stack) -> None:
    """Who never reads is dropped within 10 s of standing still; the others get their events as quickly as before."""
    seconds = scaled(40, 14)
    task = stack.run("events", {"count": 100_000, "every": 0.004, "bytes": 1900})
    until(lambda: stack.row(task)["seq"] >= 2, 15, "it talks")
    delays: list[tuple[float, float]] = []
    stop = threading.Event()

    def healthy() -> None:
        reader = Ws(stack.live_url, f"/ws/tasks/{task}")
        for message in reader.messages():
            if stop.is_set():
                break
            if message["type"] not in ("connected", "error"):
                at = datetime.fromisoformat(message["data"]["timestamp"]).timestamp()
                delays.append((time.monotonic(), time.time() - at))
        reader.close()

    crew = [threading.Thread(target=healthy, daemon=True) for _ in range(3)]
    for thread in crew:
        thread.start()
    until(lambda: len(delays) > 50, 15, "healthy clients are served")
    calm_from = time.monotonic()
    until(lambda: time.monotonic() - calm_from > 4, 10, "a calm while")
    rude = [Ws(stack.live_url, f"/ws/tasks/{task}", receive_buffer=4096).sock for _ in range(4)]
    rude += [Sse(stack.live_url, f"/api/v1/utils/tasks/{task}/stream/", receive_buffer=4096).sock for _ in range(4)]
    rude_from = time.monotonic()
    waits = _until_dropped(rude, seconds + 30)
    rude_until = time.monotonic()
    stop.set()
    for sock in rude:
        sock.close()
    assert stack.cancel(task) == 200
    for thread in crew:
        thread.join(10)
    stack.check([task])
    calm = percentile([d for at, d in delays if calm_from <= at < rude_from], 0.95)
    meanwhile = percentile([d for at, d in delays if rude_from <= at < rude_until], 0.95)
    tell("F29", stack.mode, rude=len(rude), dropped=len(waits), worst=max(waits), calm_p95_ms=calm * 1000,
         meanwhile_p95_ms=meanwhile * 1000)  # fmt: skip
    within(max(waits), 10.0, "F29 dropped")
    within(meanwhile, max(calm * 1.1, calm + 0.02), "F29 the others' p95")  # 10 % of 10 ms is noise


def _until_dropped(socks: list[socket.socket], seconds: float) -> list[float]:
    """For each: seconds from the moment the server could not write another byte until it let go of the connection."""
    queued: dict[int, tuple[int, float]] = {}
    found: dict[int, float] = {}

    def look() -> bool:
        table = _server_sides()
        for number, sock in enumerate(socks):
            if number in found:
                continue
            size, held = table.get((sock.getpeername()[1], sock.getsockname()[1]), (0, False))
            if not held or state_of(sock) in (CLOSE_WAIT, CLOSED):
                found[number] = time.monotonic() - queued[number][1]
            elif size != queued.get(number, (-1, 0.0))[0]:
                queued[number] = size, time.monotonic()
        return len(found) == len(socks)

    until(look, seconds, "all clients that never read are dropped")
    return [found[number] for number in range(len(socks))]


def _server_sides() -> dict[tuple[int, int], tuple[int, bool]]:
    """(server's port, client's port) -> bytes the server's kernel holds for it, and whether a process holds the socket.

    The close itself waits behind unread bytes, so the client cannot see it; the kernel's table can.
    """
    found = {}
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in list(table)[1:]:
            parts = line.split()
            local, remote = (int(part.split(":")[1], 16) for part in parts[1:3])
            found[local, remote] = (int(parts[4].split(":")[0], 16), parts[9] != "0")
    return found


def test_f30_two_hundred_sockets_and_requests(mode: str, own: Callable[..., Any]) -> None:
    """100 streams, 100 WebSockets, 50 requests a second; the 201st is refused; all closed within 5 s at the end."""
    stack: Stack = own(mode)
    stack.start()
    seconds = scaled(60, 6)
    task = stack.run("events", {"count": 100_000, "every": 0.1, "bytes": 200})
    until(lambda: stack.row(task)["seq"] >= 2, 15, "it talks")
    if isinstance(stack, Cluster):
        processes = [psutil.Process(stack.named("live")[0].pid)]
    else:
        processes = [psutil.Process(pid) for pid in stack.worker_pids()]
    before = _memory(processes)
    crowd = Crowd()
    sockets = [Ws(stack.live_url, f"/ws/tasks/{task}") for _ in range(100)]
    for one in sockets:
        crowd.add(one.sock)
        crowd.add(Sse(stack.live_url, f"/api/v1/utils/tasks/{task}/stream/").sock)
    with load(
        stack, 50, lambda: stack.http.get(stack.url + "/api/v1/utils/ai-tasks/recent/?limit=5", timeout=20)
    ) as seen:
        for part in range(1, 7):  # a client that says nothing for 90 s is closed, and a slow machine takes longer
            until(partial(_as_many, seen, 50 * seconds * 0.9 * part / 6), seconds, "requests")
            for one in sockets:
                one.send({"type": "ping"})
        refused_ws = _refused_ws(stack)
        refused_sse = requests.get(stack.live_url + f"/api/v1/utils/tasks/{task}/stream/", stream=True, timeout=10)
    grown = _memory(processes) - before
    open_still = crowd.size - len(crowd.closed)
    began = time.monotonic()
    if isinstance(stack, Cluster):
        process = stack.named("live")[0]
        process.keep = False
        process.popen.terminate()  # type: ignore[union-attr]
    else:
        stack.server.process.terminate()  # type: ignore[attr-defined]
    until(lambda: len(crowd.closed) == crowd.size, 30, "all are closed")
    closing = max(crowd.closed.values()) - began
    crowd.close()
    took = [one[0] for one in seen]
    tell("F30", mode, sockets=crowd.size, http_p95_ms=percentile(took, 0.95) * 1000, requests=len(took),
         rss_growth_mb=grown / 2**20, ws_201=refused_ws, sse_201=refused_sse.status_code, closed_in=closing)  # fmt: skip
    assert {one[1] for one in seen} == {200}
    assert open_still == crowd.size, "nobody well-behaved was dropped"
    assert refused_ws == 1013
    assert refused_sse.status_code == 503
    assert "Retry-After" in refused_sse.headers
    within(percentile(took, 0.95), 0.3, "F30 HTTP p95")
    assert grown <= 100 * 2**20
    within(closing, 5.0, "F30 closed")


def _as_many(seen: list[Any], wanted: float) -> bool:
    return len(seen) >= wanted


def _refused_ws(stack: Stack) -> int | None:
    one_more = Ws(stack.live_url, "/ws/tasks/")
    one_more.sock.settimeout(10)  # one that is let in would be read for ever
    list(one_more.messages())
    one_more.close()
    return one_more.close_code


def _memory(processes: list[psutil.Process]) -> int:
    return sum(one.memory_info().rss for parent in processes for one in [parent, *parent.children(recursive=True)])

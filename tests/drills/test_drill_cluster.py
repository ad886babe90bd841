"""The whole set of docker-compose.yml, as `make cluster` starts it: it is what it says, and faults and crowds in front of it.

The drills of Redis (F05-F12) and Postgres (F17, F18) run against the same set with `make cluster ARGS=drill`.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import selectors
import socket
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import requests
from requests.adapters import HTTPAdapter

from scripts.rehearsal import copies
from tests.drills.clients import Sse, Ws
from tests.drills.deployment import COMPOSE, Deployment
from tests.drills.harness import FULL, load, percentile, scaled, tell, until, within

pytestmark = [pytest.mark.drill, pytest.mark.services, pytest.mark.slow]
LIST = "/api/v1/utils/ai-tasks/recent/?limit=5"


@pytest.fixture(scope="module")
def deployment(_stacks: Any) -> Iterator[Deployment]:
    made = _stacks.deployment()
    made.start()
    yield made
    made.close()


@pytest.fixture(autouse=True, scope="module")
def _many_files() -> None:
    """This process is a thousand clients."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# -- that it is the set ----------------------------------------------------------------------------------------------


def runs_what_compose_describes(deployment: Deployment) -> None:
    rehearsal = deployment.set
    running = {name: sum(process.alive for process in some) for name, some in rehearsal.processes.items()}
    assert running == {name: copies(service) for name, service in rehearsal.services.items()} | {"migrate": 0}
    for process in deployment.processes:
        told = psutil.Process(process.pid).cmdline()
        service = rehearsal.services[re.sub(r"-\d+$", "", process.name)]
        assert told[-len(service["command"]) :][1:] == service["command"][1:]
    assert all(process.starts == 1 for process in rehearsal.all()), "none had to be started again"


def workers_live_in_a_network_of_their_own(deployment: Deployment) -> None:
    """They see the services by address and password only; their work is done all the same."""
    network = deployment.set.network
    if not network.spaces:
        warnings.warn(f"no network namespaces here: {network.why_not}", stacklevel=1)
        return
    here = os.readlink("/proc/self/ns/net")
    spaces = {p.name: os.readlink(f"/proc/{p.pid}/ns/net") for p in deployment.processes}
    apart = {name for name, space in spaces.items() if space != here}
    assert apart == {"worker-fast", "worker-embedding"}
    assert len({spaces[name] for name in apart}) == 2
    for process in deployment.workers:
        url = process.env["DATABASE_URL"]
        assert f"@{network.address}:" in url
        assert not {"127.0.0.1", "localhost"} & set(re.split(r"[@:/]", url))
    task = deployment.run("steps", {"steps": 2})
    deployment.check([task])
    assert deployment.executions([task])[0].pid == deployment.named("worker-fast")[0].pid


def each_role_works_and_nobody_is_let_in_without_a_key(deployment: Deployment) -> None:
    kinds = {"worker-fast": "steps", "worker-inference": "steps_inference", "worker-crawling": "steps_crawling"}
    ids = {name: deployment.run(kind, {"steps": 1}) for name, kind in kinds.items()}
    deployment.check(ids.values())
    ran = {line.task_id: line.pid for line in deployment.executions(ids.values())}
    assert {name: ran[task] for name, task in ids.items()} == {name: deployment.named(name)[0].pid for name in kinds}
    assert requests.get(deployment.url + LIST, timeout=10).status_code == 401
    checks = deployment.http.get(deployment.url + "/api/v1/health", timeout=10).json()
    assert "unhealthy" not in str(checks), checks


def one_web_process_is_enough(deployment: Deployment) -> None:
    """One is gone: the proxy asks the other, and people see nothing."""
    first = deployment.named("web-1")[0]
    with load(deployment, 30, lambda: deployment.http.get(deployment.url + LIST, timeout=20)) as seen:
        until(lambda: len(seen) > 15, 20, "requests flow")
        starts = first.starts
        os.kill(first.pid, 15)
        until(lambda: first.starts > starts, 40, "it is started again")
        places = [f"http://{address}:{port}" for address, port in deployment.set.places["web"]]
        until(lambda: all(map(deployment._serves, places)), 40, "both serve")
    assert {one[1] for one in seen} == {200}, Counter(one[1] for one in seen)


# -- slow clients ----------------------------------------------------------------------------------------------------


class Slow:
    """Many clients that drip or stall; when the server cut each."""

    def __init__(self, url: str, heads: int, bodies: int, drips: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.began: dict[socket.socket, float] = {}
        self.kind: dict[socket.socket, str] = {}
        self.cut: dict[str, list[float]] = {"head": [], "body": [], "drip": []}
        port = int(url.rsplit(":", 1)[1])
        body = b"POST /api/v1/utils/ai-tasks/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{"
        for kind, count, opening in (("head", heads, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "),
                                     ("body", bodies, body), ("drip", drips, body)):  # fmt: skip
            for number in range(count):
                sock = socket.socket()
                sock.bind((f"127.0.1.{1 + number % 8}", 0))  # the proxy lets one address hold 200
                sock.connect(("127.0.0.1", port))
                sock.sendall(opening)
                sock.setblocking(False)
                self.began[sock], self.kind[sock] = time.monotonic(), kind
                self.selector.register(sock, selectors.EVENT_READ)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic() + 1.0
        while not self._stop.wait(0.01):
            for key, _ in self.selector.select(0.05):
                sock: Any = key.fileobj
                data = b""
                with contextlib.suppress(OSError):
                    data = sock.recv(4096)
                if not data:
                    self._gone(sock)
            if time.monotonic() >= due:  # a byte each second
                due += 1.0
                for sock in [one for one, kind in self.kind.items() if kind != "body" and one in self.began]:
                    with contextlib.suppress(OSError):
                        sock.send(b"x")

    def _gone(self, sock: socket.socket) -> None:
        self.selector.unregister(sock)
        self.cut[self.kind[sock]].append(time.monotonic() - self.began.pop(sock))
        sock.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        for sock in self.began:
            sock.close()


def f31_slow_clients(deployment: Deployment) -> None:
    """Slow heads and bodies by the hundred: pages stay quick, the slow ones are cut and never hold a thread of ours."""
    count = scaled(200, 60)
    get = lambda: deployment.http.get(deployment.url + LIST, timeout=20)  # noqa: E731
    slow = Slow(deployment.url, count, count * 3 // 4, count // 4)
    try:
        with load(deployment, 20, get) as seen:
            until(
                lambda: len(slow.cut["head"]) == count and len(slow.cut["body"]) == count * 3 // 4,
                40,
                "the slow are cut",
            )
        took = [one[0] for one in seen]
        dripping = len(slow.cut["drip"])
    finally:
        slow.close()
    tell("F31", "distributed", slow_heads=count, slow_bodies=count, requests=len(took), p95=percentile(took, 0.95),
         worst=max(took), heads_cut=max(slow.cut["head"]), stalled_cut=max(slow.cut["body"]), dripping_cut=dripping)  # fmt: skip
    assert {one[1] for one in seen} == {200}
    within(percentile(took, 0.95), 1.0, "F31 p95")
    within(max(slow.cut["head"]), 15.0 + 1.0, "F31 heads cut")
    within(max(slow.cut["body"]), 15.0 + 1.0, "F31 bodies cut")


# -- a thousand clients ----------------------------------------------------------------------------------------------


class Readers:
    """Streams and sockets read by one thread that keeps the bytes: what each heard is counted afterwards."""

    NUMBER = {"sse": re.compile(rb"^id: (\d+)$", re.MULTILINE), "ws": re.compile(rb'"seq": ?(\d+)')}

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.heard: dict[socket.socket, bytearray] = {}
        self.kind: dict[socket.socket, str] = {}
        self.lost = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, kind: str, sock: socket.socket, already: bytes) -> None:
        sock.setblocking(False)
        self.heard[sock], self.kind[sock] = bytearray(already), kind
        self.selector.register(sock, selectors.EVENT_READ)

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self.selector.select(0.05):
                sock: Any = key.fileobj
                try:
                    data = sock.recv(262144)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                self.heard[sock] += data
                if not data:
                    self.selector.unregister(sock)
                    self.lost += 1

    def numbers(self) -> dict[socket.socket, list[int]]:
        return {s: [int(n) for n in self.NUMBER[self.kind[s]].findall(heard)] for s, heard in list(self.heard.items())}

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        for sock in self.heard:
            sock.close()


def source(number: int) -> str:
    """Each hundred clients are a machine of their own: the proxy lets one address hold 200."""
    return f"127.0.2.{1 + number // 100}"


def f30_a_thousand_clients(deployment: Deployment) -> None:
    """500 streams, 200 sockets and 300 that poll, 50 requests a second: quick, no memory kept, every event with everyone."""
    streams, sockets, pollers = scaled(500, 50), scaled(200, 20), scaled(300, 30)
    seconds, rate = scaled(60, 6), 50
    calm = deployment.run("events", {"count": 20, "every": 0.01})  # every process has served once
    deployment.check([calm])
    until(lambda: deployment.http.get(deployment.url + LIST, timeout=20).ok, 10, "warm")
    task = deployment.run("events", {"count": 100_000, "every": 0.5, "bytes": 200})
    until(lambda: deployment.row(task)["seq"] >= 2, 15, "it talks")
    before, readers, talkers = deployment.memory(), Readers(), []
    for number in range(streams):
        one = Sse(
            deployment.url, f"/api/v1/utils/tasks/{task}/stream/", headers=deployment.headers, source=source(number)
        )
        assert one.status == 200
        readers.add("sse", one.sock, one._rest)
    for number in range(sockets):
        talkers.append(Ws(deployment.url, f"/ws/tasks/{task}?after=0", headers=deployment.headers,
                          source=source(streams + number)))  # fmt: skip
        readers.add("ws", talkers[-1].sock, bytes(talkers[-1]._buffer))
    with polling(deployment, task, pollers, rate) as seen:
        for part in range(1, 4):
            until(lambda part=part: len(seen) >= rate * seconds * 0.95 * part / 3, seconds, "requests")  # type: ignore[misc]
            for talker in talkers:  # who says nothing for 90 s is closed
                talker.send({"type": "ping"})
    grown = deployment.memory() - before
    open_still = streams + sockets - readers.lost
    assert deployment.cancel(task) == 200
    last = deployment.check([task])[task]["seq"]
    until(
        lambda: all(got and got[-1] == last for got in readers.numbers().values()),
        30,
        "everybody heard the end",
        every=1.0,
    )
    wrong = [got for got in readers.numbers().values() if got != list(range(got[0], last + 1))]
    readers.close()
    took = [one[0] for one in seen]
    tell("F30-crowd", "distributed", streams=streams, sockets=sockets, polling=pollers, seconds=seconds, requests=len(took),
         http_p50_ms=percentile(took, 0.5) * 1000, http_p95_ms=percentile(took, 0.95) * 1000, worst=max(took),
         rss_growth_mb=grown / 2**20, events=last, dropped=streams + sockets - open_still, wrong=len(wrong))  # fmt: skip
    assert Counter(one[1] for one in seen).keys() == {200}, Counter(one[1] for one in seen)
    assert open_still == streams + sockets, "nobody was dropped"
    assert not wrong, wrong[:2]
    assert grown <= 100 * 2**20
    within(percentile(took, 0.95), 0.3, "F30 p95")


@contextlib.contextmanager
def polling(deployment: Deployment, task: str, clients: int, per_second: float) -> Iterator[list[tuple[float, Any]]]:
    """So many clients with a connection each take turns in asking for the task, or for the list every fifth time."""
    seen: list[tuple[float, Any]] = []
    paths = [f"/api/v1/utils/ai-tasks/{task}/"] * 4 + [LIST]
    stop = threading.Event()
    crowd = [poller(deployment, 700 + number) for number in range(clients)]

    def work(first: int, each: int) -> None:
        turn, next_at = first, time.monotonic() + first / per_second
        while not stop.wait(max(0.0, next_at - time.monotonic())):
            seen.append(ask(crowd[turn % clients], deployment.url + paths[turn % 5]))
            turn, next_at = turn + each, next_at + each / per_second

    # As many threads as divide the clients: each client is one thread's.
    crew = [threading.Thread(target=work, args=(n, 10), daemon=True) for n in range(10)]
    for thread in crew:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in crew:
            thread.join(30)
        for one in crowd:
            one.close()


def ask(client: requests.Session, url: str) -> tuple[float, Any]:
    began = time.monotonic()
    try:
        status: Any = client.get(url, timeout=20).status_code
    except requests.RequestException as error:
        status = type(error).__name__
    return time.monotonic() - began, status


class FromAddress(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more, source_address=(self.address, 0))


def poller(deployment: Deployment, number: int) -> requests.Session:
    """One client with one connection that it keeps."""
    session = requests.Session()
    session.trust_env = False
    session.headers.update(deployment.headers)
    session.mount("http://", FromAddress(source(number)))
    return session


# -- what it stands on goes away -------------------------------------------------------------------------------------


def redis_and_postgres_restart_under_load(deployment: Deployment) -> None:
    """A short one of F05 and F17 through the proxy; in full: `make cluster ARGS=drill`."""
    accepted: list[str] = []

    def make() -> Any:
        answer = deployment.post(
            "/api/v1/utils/ai-tasks/", {"title": "c", "task_type": "drill_steps", "task_config": {}}
        )
        if answer.status_code == 201:
            accepted.append(answer.json()["id"])
        return answer

    with load(deployment, 15, make) as seen:
        _after(accepted, 15)
        deployment.redis.kill()
        _after(accepted, 15)
        deployment.redis.start()
        _after(accepted, 5)
        deployment.postgres.restart()
        _after(accepted, 15)
    deployment.engine.dispose()
    rows = deployment.check(accepted, patience=60)
    ran = Counter(line.task_id for line in deployment.executions(accepted))
    codes = Counter(one[1] for one in seen)
    tell("cluster", "distributed", requests=len(seen), codes=dict(codes), accepted=len(accepted), run=len(ran))
    assert set(codes) <= {201, 503}
    assert all(row["status"] == "completed" for row in rows.values())
    assert set(ran.values()) == {1}


def _after(accepted: list[str], more: int) -> None:
    had = len(accepted)
    until(lambda: len(accepted) >= had + more, 30, "requests are accepted")


# -- all of it, on one set: bringing one up is what takes longest -----------------------------------------------------

PARTS: list[Callable[[Deployment], None]] = [
    runs_what_compose_describes, workers_live_in_a_network_of_their_own, each_role_works_and_nobody_is_let_in_without_a_key,
    one_web_process_is_enough, f30_a_thousand_clients, f31_slow_clients, redis_and_postgres_restart_under_load,
]  # fmt: skip


@pytest.mark.parametrize(
    "parts", [[part] for part in PARTS] if FULL or COMPOSE else [PARTS],
    ids=[part.__name__ for part in PARTS] if FULL or COMPOSE else ["in short"],
)  # fmt: skip
def test_cluster(deployment: Deployment, parts: list[Callable[[Deployment], None]]) -> None:
    for part in parts:
        part(deployment)

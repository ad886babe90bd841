"""A46: one person floods a shared server; they are told 429, and the others wait hardly longer than on a busy day."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.drills.harness import FULL, Stack, percentile, scaled, tell, until, within

pytestmark = pytest.mark.drill
OTHERS = 8
SHORT, A_WHILE, LONG = 0.1, 1.0, 120.0  # seconds
API = "/api/v1/utils/ai-tasks/"


class Person:
    """Somebody with a key of their own."""

    def __init__(self, stack: Stack, rt: Any, name: str) -> None:
        from webapp.core.context import SYSTEM, Actor, Ctx
        from webapp.identity import people, service

        with rt.unit() as db:
            user, _ = people.create(Ctx(rt, db, SYSTEM), name)
            who = Actor(user.id, name, via="session")
            _, secret = service.create_api_key(Ctx(rt, db, who), "drill", ["tasks:read", "tasks:write"])
        self.stack, self.id, self.headers = stack, str(user.id), {"Authorization": f"Bearer {secret}"}
        self.http = requests.Session()
        self.http.trust_env = False

    def post(self, kind: str, **config: Any) -> requests.Response:
        body = {"title": kind, "task_type": f"drill_{kind}", "task_config": {"effects": False, "tell": False, **config}}
        return self.http.post(self.stack.url + API, json=body, headers=self.headers, timeout=30)

    def upload(self, size: int) -> requests.Response:
        files = {"file": ("a.txt", io.BytesIO(b"x" * size), "text/plain")}
        return self.http.post(self.stack.url + "/api/v1/files/", files=files, headers=self.headers, timeout=30)

    def one_after_the_other(self, kind: str, until: float) -> list[str]:
        """A task, and the next when it is over, as people work."""
        made: list[str] = []
        while time.monotonic() < until:
            made.append(str(self.post(kind, pause=SHORT).json()["id"]))
            self.stack.wait_final(made[-1:], 60)
        return made


def waits(stack: Stack, people: list[Person], kind: str, seconds: float) -> list[float]:
    """How long tasks of these people waited for a worker, while each of them works for so long."""
    made: dict[int, list[str]] = {}

    def work(number: int) -> None:
        made[number] = people[number].one_after_the_other(kind, time.monotonic() + seconds)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(people))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 120)
    ids = [one for some in made.values() for one in some]
    assert len(made) == len(people)
    return [_waited(row) for row in _rows(stack, ids)]


def _rows(stack: Stack, ids: list[str]) -> list[dict[str, Any]]:
    quoted = ", ".join(f"'{one}'" for one in ids)
    return stack.sql(f"SELECT created_at, started_at FROM tasks WHERE id IN ({quoted})")


def _waited(row: dict[str, Any]) -> float:
    from datetime import datetime

    def at(value: Any) -> datetime:
        return datetime.fromisoformat(value) if isinstance(value, str) else value

    return float((at(row["started_at"]) - at(row["created_at"])).total_seconds())


@contextmanager
def meanwhile(act: Callable[[threading.Event], None]) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=act, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


def test_a46_one_persons_flood(mode: str, own: Callable[..., Any]) -> None:
    more: dict[str, Any] = {"workers": ("all",), "live": False} if mode == "distributed" else {}
    stack: Stack = own(mode, AUTH_REQUIRED="1", BRAINSTEM_QUOTA_STORED_MB="20", **more)
    stack.start()
    rt = stack.runtime()
    people = [Person(stack, rt, f"person{number}") for number in range(OTHERS)]
    flooder = Person(stack, rt, "flooder")
    rt.close()
    seconds, told = float(scaled(20, 4)), Counter[int]()
    calm = {kind: waits(stack, people, kind, seconds) for kind in ("steps_inference", "steps_crawling")}

    def flood(stop: threading.Event) -> None:
        """Tasks as fast as they are answered, up to 10,000, on two queues."""
        for number in range(scaled(10_000, 1_500)):
            if stop.is_set() and number > scaled(10_000, 300):
                return
            one("steps_crawling" if number % 2 else "steps_inference", SHORT)

    def one(kind: str, pause: float) -> None:
        answer = flooder.post(kind, pause=pause)
        told[answer.status_code] += 1
        if answer.status_code == 429:
            assert answer.json()["code"] == "quota_exceeded"
            assert int(answer.headers["Retry-After"]) > 0

    with meanwhile(flood):
        time.sleep(1.0)
        busy = {kind: waits(stack, people, kind, seconds) for kind in calm}
    while not told[429] and told.total() < 2_000:  # a slow machine sent no faster than its workers worked
        one("steps_inference", A_WHILE)
    uploads = Counter(flooder.upload(2**20).status_code for _ in range(100))
    prompt = {"model": "brainstem/extractive", "messages": [{"role": "user", "content": "word " * 1_000_000}]}
    huge = flooder.http.post(stack.url + "/v1/chat/completions", json=prompt, headers=flooder.headers, timeout=30)
    opened = stack.sql("SELECT count(*) AS n FROM tasks WHERE owner_id = :id", id=flooder.id)[0]["n"]
    figures = {
        f"{kind}_{name}": percentile(found[kind], 0.95)
        for name, found in (("calm", calm), ("flood", busy))
        for kind in calm
    }
    tell("A46", mode, **figures, accepted=told[201], refused=told[429], uploads=uploads[201], prompt=huge.status_code)
    assert set(told) == {201, 429}, told
    assert opened == told[201]
    assert uploads == {201: 20, 429: 80}
    assert huge.status_code == 413
    for kind in calm:
        allowed = 2 * percentile(calm[kind], 0.95)
        within(percentile(busy[kind], 0.95), allowed if FULL else allowed + 0.2, f"A46 {kind}")


def test_a46_a_hundred_long_crawls_leave_a_thread_to_others(mode: str, own: Callable[..., Any]) -> None:
    """Turns share short work out; of long work one person may not hold every thread."""
    more: dict[str, Any] = {"workers": ("all",), "live": False} if mode == "distributed" else {}
    stack: Stack = own(mode, AUTH_REQUIRED="1", BRAINSTEM_QUOTA_OPEN_TASKS="80", **more)
    stack.start()
    rt = stack.runtime()
    flooder, other = Person(stack, rt, "flooder"), Person(stack, rt, "other")
    rt.close()
    told = Counter(flooder.post("steps_crawling", pause=LONG).status_code for _ in range(100))
    assert told == {201: 80, 429: 20}
    running = "SELECT count(*) AS n FROM tasks WHERE status = 'running' AND owner_id = :id"
    until(lambda: stack.sql(running, id=flooder.id)[0]["n"] == 3, 20, "three of four threads are theirs")
    took = []
    for _ in range(scaled(20, 5)):
        ident = str(other.post("steps_crawling").json()["id"])
        stack.wait_final([ident], 30)
        took += [_waited(row) for row in _rows(stack, [ident])]
    tell("A46 crawls", mode, waited_p95=percentile(took, 0.95), flooder_runs=stack.sql(running, id=flooder.id)[0]["n"])
    assert stack.sql(running, id=flooder.id)[0]["n"] == 3
    within(percentile(took, 0.95), 0.5, "A46 a crawl beside a hundred long ones")

"""F35: mixed work for a long while, a random fault every few seconds."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.drills.harness import DEFAULTS, FULL, QUICK, Cluster, Embedded, Stack, kill9, scaled, tell, until
from webapp.tasks.models import FINAL

pytestmark = [pytest.mark.drill, pytest.mark.spine]
CREATE = "/api/v1/utils/ai-tasks/"
MIX: list[tuple[int, str, dict[str, Any]]] = [
    (50, "steps", {"steps": 3, "pause": 0.05}),
    (10, "steps_inference", {"steps": 5, "pause": 0.1}),
    (10, "steps_interactive", {"steps": 1}),
    (10, "fail", {"times": 1}),
    (5, "fail", {"how": "permanent"}),
    (5, "generate", {"seconds": 0.5}),
    (5, "fan", {"children": 5, "pause": 0.05}),
    (5, "stuck", {"how": "child", "seconds": 0.2}),
]


class Feeder:
    """Keeps a number of tasks in the system, mixed by chance; cancels a few."""

    def __init__(self, stack: Stack, rng: random.Random, open_tasks: int = 40) -> None:
        self.stack, self.rng, self.open_tasks = stack, rng, open_tasks
        self.made = 0
        self.failed_requests = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                open_now = self.stack.sql(
                    "SELECT count(*) AS n FROM tasks WHERE title LIKE 'soak-%' AND parent_id IS NULL"
                    " AND status NOT IN ('completed', 'failed', 'cancelled', 'timed_out')"
                )[0]["n"]
                for _ in range(self.open_tasks - open_now):
                    self._one()
            except Exception:
                self.failed_requests += 1
            self.stop.wait(0.05)

    def _one(self) -> None:
        _, kind, config = self.rng.choices(MIX, [weight for weight, *_ in MIX])[0]
        cancel = self.rng.random() < 0.05
        body = {"title": f"soak-{self.made}", "task_type": f"drill_{kind}", "task_config": config}
        try:
            answer = requests.post(self.stack.url + CREATE, json=body, timeout=10)
            self.made += 1
            if answer.status_code != 201:
                self.failed_requests += 1
            elif cancel:
                self.stack.cancel(answer.json()["id"])
        except requests.RequestException:
            self.failed_requests += 1


def _faults(stack: Stack) -> dict[str, Callable[[random.Random], None]]:
    nap = stack.pace.lease * 1.2
    if isinstance(stack, Embedded):
        return {
            "f01_kill_process": lambda rng: _kill(stack.worker_pids(), rng),
            "f13_sleep": lambda rng: _sleep(stack.worker_pids(), 2.0, rng),
            "f20_kill_all": lambda rng: (stack.kill_all(), stack.heal())[0],  # type: ignore[func-returns-value]
        }
    assert isinstance(stack, Cluster)
    return {
        "f01_kill_worker": lambda rng: _kill(stack.worker_pids(), rng),
        "f02_kill_scheduler": lambda rng: _kill([stack.named("scheduler")[0].pid], rng),
        "f04_kill_web": lambda rng: stack.named("web")[0].signal(signal.SIGKILL),
        "f06_redis_freezes": lambda rng: _freeze(stack, 2.0),
        "f07_flushall": lambda rng: stack.redis.client().flushall() and None,
        "f08_redis_restarts": lambda rng: _restart_redis(stack),
        "f13_zombie": lambda rng: _sleep(stack.worker_pids(), nap, rng),
        "f15_sigterm": lambda rng: os.kill(rng.choice(stack.worker_pids()), signal.SIGTERM),
        "f17_connections_cut": lambda rng: _cut(stack),
    }


def _kill(pids: list[int], rng: random.Random) -> None:
    if pids:
        kill9(rng.choice(pids))


def _sleep(pids: list[int], seconds: float, rng: random.Random) -> None:
    if not pids:
        return
    pid = rng.choice(pids)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)

        def wake() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        threading.Timer(seconds, wake).start()


def _freeze(stack: Cluster, seconds: float) -> None:
    stack.redis.signal(signal.SIGSTOP)
    threading.Timer(seconds, lambda: stack.redis.signal(signal.SIGCONT)).start()


def _restart_redis(stack: Cluster) -> None:
    stack.redis.kill()
    time.sleep(1.0)  # the length of the fault
    stack.redis.start()


def _cut(stack: Cluster) -> None:
    stack.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


def _ended(stack: Stack) -> int:
    names = ", ".join(f"'{one}'" for one in FINAL)
    return int(stack.sql(f"SELECT count(*) AS n FROM tasks WHERE title LIKE 'soak-%' AND status IN ({names})")[0]["n"])


def test_f35_soak(mode: str, own: Callable[..., Any], rng: random.Random) -> None:
    """Whatever happens, every task ends once, events have no gaps; throughput stays at half of the calm one."""
    stack: Stack = own(mode, DEFAULTS if FULL else QUICK, live=False, BRAINSTEM_MAX_CRASHES="1000",
                       BRAINSTEM_WORKER_THREADS="workflows=6,inference=3,crawling=4,interactive=2,embedding=1,maintenance=1",
                       BRAINSTEM_POOL_SIZE="20")  # fmt: skip
    stack.start()
    calm_seconds, seconds, pause = scaled(60, 4), scaled(600, 9), 5.0 if FULL else 3.0
    feeder = Feeder(stack, random.Random(rng.random()))
    feeder.thread.start()
    until(lambda: _ended(stack) > 20, 30, "work flows")
    first, began = _ended(stack), time.monotonic()
    until(lambda: time.monotonic() - began > calm_seconds, calm_seconds + 5, "a calm while", every=0.2)
    calm = (_ended(stack) - first) / (time.monotonic() - began)
    faults, done = _faults(stack), list[str]()
    first, began = _ended(stack), time.monotonic()
    while time.monotonic() - began < seconds:
        name = rng.choice(sorted(faults))
        done.append(name)
        faults[name](rng)
        time.sleep(pause)  # the rhythm of faults
    hurt = (_retry(lambda: _ended(stack)) - first) / (time.monotonic() - began)
    feeder.stop.set()
    feeder.thread.join(30)
    stack.heal()
    ids = [row["id"] for row in stack.sql("SELECT id FROM tasks WHERE title LIKE 'soak-%' AND parent_id IS NULL")]
    rows = stack.check(ids, patience=stack.pace.takeover * 2 + 120)
    parents = [one for one in ids if rows[one]["kind"] == "drill_fan" and rows[one]["status"] == "completed"]
    joins = Counter(line.task_id for line in stack.executions(parents) if line.what == "join")
    tell("F35", mode, faults=len(done), kinds=dict(Counter(done)), tasks=len(ids), statuses=dict(Counter(r["status"] for r in rows.values())),
         calm_per_s=calm, hurt_per_s=hurt, share=hurt / calm, refused=feeder.failed_requests)  # fmt: skip
    for one in ids:
        row = rows[one]
        wanted = {"cancelled"} | ({"failed"} if row["error_code"] == "drill_permanent" else {"completed"})
        assert row["status"] in wanted, row
    assert all(stack.effects(parents)[one] == 1 for one in parents), "each join's effect once"
    assert set(joins.values()) <= {1, 2, 3}
    if FULL:  # a short run is one restart more or less
        assert hurt >= calm * 0.5


def _retry(look: Callable[[], int]) -> int:
    found: list[int] = []

    def once() -> bool:
        with contextlib.suppress(Exception):
            found.append(look())
        return bool(found)

    until(once, 15, "the database answers")
    return found[0]

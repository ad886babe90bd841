"""F01-F04, F22: processes die at any moment."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.drills.harness import (
    DEFAULTS,
    FULL,
    QUICK,
    Cluster,
    Embedded,
    Stack,
    kill9,
    median,
    scaled,
    tell,
    until,
    within,
)

pytestmark = [pytest.mark.drill, pytest.mark.spine]

# So that a storm of kills is not itself taken for poison (F22 drills that limit).
STORM = {"BRAINSTEM_MAX_CRASHES": "1000"}


def test_f01_kill_worker_mid_task(mode: str, own: Callable[..., Any], rng: random.Random) -> None:
    """kill -9 a worker at a random moment: all tasks end once; the next attempt starts in LEASE + 3 x SWEEP."""
    pace = DEFAULTS if FULL else QUICK
    stack: Stack = own(mode, pace, live=False, **STORM, BRAINSTEM_WORKER_THREADS="workflows=16",
                       BRAINSTEM_POOL_SIZE="20").start()  # fmt: skip
    kills, flying = scaled(100, 3), 12
    work = {"steps": 20, "pause": 0.1}
    ids = stack.run_many(flying, "steps", work)
    lost: list[tuple[str, int, float]] = []
    with stack.watching():
        killed = 0
        while killed < kills:
            stack.wait_workers()
            # What a dead one held waits for its lease to end; the next kill must meet work too, or it would be none.
            if _under_way(stack, ids) < flying // 2:
                ids += stack.run_many(flying // 2, "steps", work)
            until(lambda: _held(stack), 30, "somebody works")
            time.sleep(rng.uniform(0.0, 1.0))  # the random moment of the kill, not a wait for anything
            taken = _kill_one_worker(stack, rng)
            killed += bool(taken)
            lost += taken
        rows = stack.check(ids, patience=pace.takeover + 120)
    gaps = _restarts(stack, lost)
    assert all(row["status"] == "completed" for row in rows.values()), Counter(r["status"] for r in rows.values())
    assert all(stack.effects(ids)[one] == 20 for one in ids), "each step's effect exactly once"
    tell("F01", mode, kills=killed, tasks=len(ids), taken_over=len(gaps), p50=median(gaps), worst=max(gaps),
         allowed=pace.takeover)  # fmt: skip
    within(max(gaps), pace.takeover, "F01 next attempt")
    within(median(gaps), pace.lease + pace.sweep, "F01 next attempt, median")


def _under_way(stack: Stack, ids: list[str]) -> int:
    """Queued, or in a living worker's hands."""
    queued = sum(row["status"] == "queued" for row in stack.rows(ids).values())
    return queued + sum(len(tasks) for tasks in _held(stack).values())


def _held(stack: Stack) -> dict[int, list[tuple[str, int]]]:
    """Living worker process -> (task, fence) of what it runs."""
    running = stack.sql("SELECT id, fence, worker_id FROM tasks WHERE status = 'running' AND kind LIKE 'drill%'")
    held = {
        pid: [(row["id"], row["fence"]) for row in running if f"-{pid}-" in row["worker_id"]]
        for pid in stack.worker_pids()
    }
    return {pid: tasks for pid, tasks in held.items() if tasks}


def _kill_one_worker(stack: Stack, rng: random.Random) -> list[tuple[str, int, float]]:
    """Kill a worker process that runs something; (task, fence, when) of every task it held."""
    held = _held(stack)
    if not held:
        return []
    pid = rng.choice(sorted(held))
    at = kill9(pid)
    return [(task_id, fence, at) for task_id, fence in held[pid]]


def _restarts(stack: Stack, lost: list[tuple[str, int, float]]) -> list[float]:
    """Seconds from each kill until the task was claimed again."""
    claims = stack.claims([task_id for task_id, _, _ in lost])
    later = [[at - killed for at in claims[task_id] if at > killed] for task_id, _, killed in lost]
    return [min(gaps) for gaps in later if gaps]


@pytest.mark.services
def test_f02_kill_one_of_each_role(own: Callable[..., Any]) -> None:
    """Under our supervisor a killed role comes back in 5 s and no other role notices."""
    cluster: Cluster = own("distributed", workers=())
    cluster.processes.clear()
    up = cluster.add("up", ["up"])
    cluster.start()
    roles = {
        "fast": "steps",
        "inference": "steps_inference",
        "crawling": "steps_crawling",
        "embedding": "steps_embedding",
    }
    until(lambda: len(_workers(cluster)) == len(roles), 60, "four roles beat", every=0.1)
    back: dict[str, float] = {}
    ids: list[str] = []
    for role in list(roles)[: scaled(len(roles), 2)]:
        # Five seconds of work: on a full machine the last of them begins a second or two after the first.
        others = [cluster.run(kind, {"steps": 50, "pause": 0.1}) for name, kind in roles.items() if name != role]
        until(lambda others=others: all(cluster.status(one) == "running" for one in others), 15, "siblings run")
        before = _workers(cluster)
        at = time.monotonic()
        kill9(before[role])
        until(
            lambda role=role, before=before: _workers(cluster).get(role) not in (None, before[role]),
            30, f"{role} beats again", every=0.05,
        )  # fmt: skip
        back[role] = time.monotonic() - at
        rows = cluster.check(others)
        assert all(row["status"] == "completed" and row["crashes"] == 0 for row in rows.values()), "siblings unharmed"
        assert {r: p for r, p in _workers(cluster).items() if r != role} == {
            r: p for r, p in before.items() if r != role
        }
        ids += others
    code = up.stop()
    tell("F02", "distributed", roles=len(back), worst_back=max(back.values()), failed=0, exit_code=code)
    within(max(back.values()), 5.0, "F02 role back")


def _workers(stack: Stack) -> dict[str, int]:
    rows = stack.sql("SELECT role, pid FROM workers ORDER BY beat_at")
    return {row["role"]: row["pid"] for row in rows if _alive(row["pid"])}


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_f03_kill_between_result_and_ack(mode: str, own: Callable[..., Any]) -> None:
    """The worker dies after the result is committed and before the ack: nothing runs a second time."""
    times = scaled(50, 3)
    point = {"BRAINSTEM_FAILPOINT": "before_ack:kill", "BRAINSTEM_WORKER_THREADS": "workflows=1", **STORM}
    stack: Stack = own(mode, live=False, **point).start()
    ids = stack.store_many(times, "steps", {"steps": 1})
    rows = stack.check(ids, patience=30 + times * 10)
    assert all(row["status"] == "completed" for row in rows.values())
    ran = Counter(line.task_id for line in stack.executions(ids))
    tell("F03", mode, kills=times, executions=sum(ran.values()), second_executions=sum(n - 1 for n in ran.values()))
    assert all(ran[one] == 1 for one in ids), ran
    assert all(row["attempt"] == 1 for row in rows.values())


def test_f04_kill_web_between_commit_and_send(mode: str, own: Callable[..., Any]) -> None:
    """The web process dies after the row is committed and before the wake-up is sent: the sweep starts the task."""
    times = scaled(50, 3)
    stack: Stack = own(mode, live=False, **STORM)
    point = {"BRAINSTEM_FAILPOINT": "after_commit_before_send:kill"}
    if isinstance(stack, Cluster):
        stack.named("web")[0].env.update(point)
    else:
        stack.server.env.update(point)  # type: ignore[attr-defined]
    stack.start()
    waits = []
    for number in range(times):
        at = time.time()
        _request_that_kills(stack, {"title": f"f04-{number}", "task_type": "drill_steps", "task_config": {}})
        found = stack.sql("SELECT id FROM tasks WHERE title = :title", title=f"f04-{number}")
        assert len(found) == 1, "committed once"
        task_id = found[0]["id"]
        until(lambda task_id=task_id: stack.executions([task_id]), 30, "the task starts")
        waits.append(stack.executions([task_id])[0].at - at)
    ids = [row["id"] for row in stack.sql("SELECT id FROM tasks WHERE title LIKE 'f04-%'")]
    assert len(ids) == times
    stack.check(ids)
    tell("F04", mode, kills=times, started=len(waits), worst=max(waits))
    within(max(waits), 10.0, "F04 start")


def _request_that_kills(stack: Stack, body: dict[str, Any]) -> None:
    """Post until the connection breaks by the kill and not because the server is not back yet."""

    def try_once() -> bool:
        try:
            answer = requests.post(stack.url + "/api/v1/utils/ai-tasks/", json=body, timeout=10)
            raise AssertionError(f"answered {answer.status_code}: the failpoint did not kill")
        except requests.ConnectionError:
            return bool(stack.sql("SELECT id FROM tasks WHERE title = :title", title=body["title"]))

    until(try_once, 30, "the request reached the failpoint", every=0.1)


def test_f20_kill_everything_while_writing(own: Callable[..., Any], rng: random.Random) -> None:
    """Embedded: kill -9 all of it while it writes: the file is whole, it is back in 5 s, every task is resumed."""
    kills = scaled(50, 3)
    stack: Embedded = own("embedded", **STORM)
    stack.start()
    ids: list[str] = []
    starts, writes = [], 0
    for number in range(kills):
        ids += stack.run_many(4, "steps", {"steps": 12, "pause": 0.05, "result_kb": 20})
        before = sum(row["seq"] for row in stack.rows(ids).values())
        until(
            lambda b=before, i=ids: sum(r["seq"] for r in stack.rows(i).values()) > b + 6, 20, "it writes", every=0.01
        )
        time.sleep(rng.uniform(0.0, 0.3))  # the random moment
        if number % 2:
            stack.kill_all()
        else:  # the worker process alone; gunicorn's arbiter starts another
            kill9(rng.choice(stack.worker_pids()))
        writes += 1
        found = stack.sql("PRAGMA integrity_check")
        assert [list(row.values()) for row in found] == [["ok"]], found
        began = time.monotonic()
        stack.heal()
        starts.append(time.monotonic() - began)
    rows = stack.check(ids, patience=120)
    assert all(row["status"] == "completed" for row in rows.values())
    assert all(stack.effects(ids)[one] == 12 for one in ids)
    tell(
        "F20",
        "embedded",
        kills=kills,
        integrity_ok=writes,
        tasks=len(ids),
        start_p50=median(starts),
        start_worst=max(starts),
    )
    within(max(starts), 5.0, "F20 start")


def test_f22_poison_task(mode: str, own: Callable[..., Any]) -> None:
    """A task that kills its worker each time is put aside after three; the others of its queue are held up shortly."""
    stack: Stack = own(mode, live=False)
    stack.start()
    others = stack.run_many(scaled(20, 6), "steps_crawling", {"steps": 4, "pause": 0.2})
    poison = stack.run("crash", {"how": "grow"})
    others += stack.run_many(scaled(40, 10), "steps_crawling", {"steps": 4, "pause": 0.2})
    calm = len(others) * 0.8 / 4  # seconds of work, four threads
    began = time.monotonic()
    rows = stack.check([poison, *others], patience=180)
    took = time.monotonic() - began
    dead = stack.sql("SELECT reason FROM dead_letters WHERE task_id = :id", id=poison)
    tell("F22", mode, crashes=rows[poison]["crashes"], reason=dead[0]["reason"] if dead else None, others=len(others),
         others_completed=sum(rows[o]["status"] == "completed" for o in others), delay=max(0.0, took - calm))  # fmt: skip
    assert (rows[poison]["status"], rows[poison]["error_code"]) == ("failed", "crash")
    assert [row["reason"] for row in dead] == ["crash"]
    assert len(stack.executions([poison])) == 3
    assert all(rows[one]["status"] == "completed" for one in others), Counter(rows[o]["status"] for o in others)
    assert all(stack.effects(others)[one] == 4 for one in others)
    assert took - calm <= 60.0


@pytest.mark.variant
def test_f22_long_work_beside_poison(mode: str, own: Callable[..., Any]) -> None:
    """What happens to run beside poison each time is not put aside with it."""
    stack: Stack = own(mode, live=False, **({"workers": ("all",)} if mode == "distributed" else {}))
    stack.start()
    innocent = stack.run("steps_inference", {"steps": 60, "pause": 0.1})
    stack.wait_status(innocent, "running")
    poison = stack.run("crash", {"after": 0.5})
    rows = stack.check([poison, innocent], patience=120)
    tell("F22-beside", mode, poison=rows[poison]["error_code"], innocent=rows[innocent]["status"],
         innocent_crashes=rows[innocent]["crashes"])  # fmt: skip
    assert rows[poison]["error_code"] == "crash"
    assert rows[innocent]["status"] == "completed"


@pytest.mark.variant
def test_f22_oom_in_a_child(stack: Stack) -> None:
    """A child that outgrows its memory limit is an error of the task, not the worker's death."""
    before = set(stack.worker_pids())
    task = stack.run("crash", {"how": "child"})
    rows = stack.check([task])
    assert (rows[task]["status"], rows[task]["error_code"]) == ("failed", "too_large"), rows[task]
    assert set(stack.worker_pids()) == before
    tell("F22-child", stack.mode, code=rows[task]["error_code"])

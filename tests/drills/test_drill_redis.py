"""F05-F12: Redis stops, freezes, forgets, repeats. Rows are the tasks, so nothing may be lost."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.drills.harness import Cluster, load, percentile, scaled, tell, until, within

pytestmark = [pytest.mark.drill, pytest.mark.spine, pytest.mark.services]
CREATE = "/api/v1/utils/ai-tasks/"


def test_f05_requests_while_redis_is_down(wide: Cluster) -> None:
    """Each request is answered within a second: stored and accepted, or refused with no row; accepted ones run."""
    count = scaled(500, 100)
    wide.redis.kill()

    def ask(number: int) -> tuple[float, int, str | None, bool]:
        began = time.monotonic()
        answer = wide.post(CREATE, {"title": f"f05-{number}", "task_type": "drill_steps", "task_config": {}})
        took = time.monotonic() - began
        return took, answer.status_code, answer.json().get("id"), "Retry-After" in answer.headers

    with ThreadPoolExecutor(4) as crew:
        answers = list(crew.map(ask, range(count)))
    took = [one[0] for one in answers]
    accepted = [one[2] for one in answers if one[1] == 201]
    refused = [one for one in answers if one[1] == 503]
    assert len(accepted) + len(refused) == count, Counter(one[1] for one in answers)
    assert all(hint for *_, hint in refused), "503 says when to come back"
    stored = {row["id"] for row in wide.sql("SELECT id FROM tasks WHERE title LIKE 'f05-%'")}
    assert stored == set(accepted), "no half-made task"
    wide.redis.start()
    rows = wide.check([str(one) for one in accepted], patience=90)
    ran = Counter(line.task_id for line in wide.executions(rows))
    tell("F05", "distributed", requests=count, accepted=len(accepted), refused=len(refused),
         p50=percentile(took, 0.5), p99=percentile(took, 0.99), run=len(ran))  # fmt: skip
    assert all(row["status"] == "completed" for row in rows.values())
    assert set(ran.values()) == {1}
    within(percentile(took, 0.99), 1.0, "F05 p99")


def test_f06_redis_frozen_under_load(wide: Cluster) -> None:
    """Redis stops answering for a while: no request waits longer than a second; nothing is stuck afterwards."""
    frozen = scaled(30, 5)
    ids: list[str] = []
    lock = threading.Lock()

    def make() -> requests.Response:
        answer = wide.post(CREATE, {"title": "f06", "task_type": "drill_steps", "task_config": {"steps": 2}})
        if answer.status_code == 201:
            with lock:
                ids.append(answer.json()["id"])
        return answer

    with load(wide, 20, make) as seen:
        until(lambda: len(ids) > 20, 20, "load flows")
        wide.redis.signal(signal.SIGSTOP)
        time.sleep(frozen)  # the fault's length
        wide.redis.signal(signal.SIGCONT)
    thawed = time.monotonic()
    rows = wide.check(ids, patience=60)
    settled = time.monotonic() - thawed
    ran = Counter((line.task_id, line.what) for line in wide.executions(rows))
    took = [one[0] for one in seen]
    tell("F06", "distributed", frozen=frozen, requests=len(seen), p99=percentile(took, 0.99), worst=max(took),
         refused=sum(one[1] != 201 for one in seen), settled=settled, doubles=sum(n - 1 for n in ran.values()))  # fmt: skip
    assert Counter(one[1] for one in seen).keys() <= {201, 503}
    assert all(row["status"] == "completed" for row in rows.values())
    assert max(ran.values()) == 1
    within(settled, 30.0, "F06 settled")
    within(max(took), 1.0, "F06 slowest request")


@pytest.mark.parametrize("fault", ["f07_flushall", "f08_restart_empty_twice"])
def test_f07_f08_redis_forgets(wide: Cluster, fault: str) -> None:
    """Everything in Redis is lost with work pending, scheduled and running: all of it ends, running work once."""
    pending, scheduled = scaled(1000, 120), scaled(200, 24)
    # As many as there are threads, for longer than it takes to ask for the pending ones.
    busy = [wide.run("steps", {"steps": scaled(24, 8), "pause": 1.0}) for _ in range(16)]
    until(lambda: all(row["status"] == "running" for row in wide.rows(busy).values()), 30, "all threads are busy")
    with ThreadPoolExecutor(4) as crew:
        waiting = list(crew.map(lambda _: wide.run("steps"), range(pending)))
    later = wide.store_many(scheduled, "steps", due_at=time.time() + scaled(20, 6))
    assert {row["status"] for row in wide.rows(waiting).values()} == {"queued"}, "they wait"
    before = wide.worker_pids()
    if fault == "f07_flushall":
        wide.redis.client().flushall()
    else:
        for _ in range(2):
            wide.redis.kill()
            time.sleep(1.0)  # the length of the fault
            wide.redis.start()
            time.sleep(2.0)  # up for a moment only, empty both times
    wall = time.time()
    wide.wait_final(waiting, 180)
    ended = time.time()
    last_steps = {line.task_id: line.at for line in wide.executions(busy)}
    free_at = max(wall, min(last_steps.values()) + 1.0)  # until then every thread is busy
    first = min(line.at for line in wide.executions(waiting)) - free_at
    rewoken = ended - free_at
    rows = wide.check(busy + waiting + later, patience=90)
    ran = Counter((line.task_id, line.what) for line in wide.executions(rows))
    tell("F07" if "f07" in fault else "F08", "distributed", pending=pending, scheduled=scheduled, running=len(busy),
         final=len(rows), first_start=first, all_ended=rewoken, second_executions=sum(n - 1 for n in ran.values()))  # fmt: skip
    assert all(row["status"] == "completed" for row in rows.values())
    assert max(ran.values()) == 1
    assert wide.worker_pids() == before, "no worker needed a restart"
    within(first, 15.0, "F07 first start")
    within(rewoken, 60.0, "F07 all ended")


def test_f09_redis_restarts_while_retries_wait(wide: Cluster) -> None:
    """Retries start within 10 s of their time though Redis was away for a second in between."""
    count = scaled(100, 40)
    ids = wide.store_many(count, "fail_later", {"times": 1})
    until(lambda: all(row["attempt"] == 1 for row in wide.rows(ids).values()), 60, "all have failed once")
    wide.redis.kill()
    time.sleep(1.0)  # the length of the fault
    wide.redis.start()
    rows = wide.check(ids, patience=60)
    late = [second - first - 3.0 for first, second in (claims[:2] for claims in wide.claims(ids).values())]
    tell("F09", "distributed", retries=count, p50_late=percentile(late, 0.5), worst_late=max(late))
    assert all(row["status"] == "completed" for row in rows.values())
    within(max(late), 10.0, "retry after its time")


def test_f10_redis_down_when_retries_fall_due(wide: Cluster) -> None:
    """Retries and new delayed work fall due while Redis is down: they run when it is back; readiness tells meanwhile."""
    count = scaled(100, 30)
    ids = wide.store_many(count, "fail_later", {"times": 1})
    until(lambda: all(row["attempt"] == 1 for row in wide.rows(ids).values()), 60, "all have failed once")
    wide.redis.kill()
    down = time.monotonic()
    delayed = wide.store_many(count, "steps", due_at=time.time() + 1.0)
    told = until(lambda: wide.http.get(wide.url + "/api/v1/ready", timeout=10).status_code == 503, 30, "not ready")
    until(lambda: time.monotonic() - down > 5.0, 10, "all due times have passed")
    wide.redis.start()
    back = time.time()
    rows = wide.check(ids + delayed, patience=60)
    late = [claims[-1] - back for claims in wide.claims(ids + delayed).values()]
    until(lambda: wide.http.get(wide.url + "/api/v1/ready", timeout=10).status_code == 200, 30, "ready again")
    tell("F10", "distributed", retries=count, delayed=count, worst_after_return=max(late), not_ready_after=told)
    assert all(row["status"] == "completed" for row in rows.values())
    within(max(late), 10.0, "retry after its time")


def test_f11_actors_raise_while_redis_is_down(wide: Cluster) -> None:
    """Work that fails while Redis is away is in its row: waiting for its retry or failed, never gone."""
    count = scaled(50, 24)
    with ThreadPoolExecutor(4) as crew:
        ids = list(
            crew.map(lambda n: wide.run("fail", {"times": 1 + n % 2 * 9, "pause": 2.5, "how": "bug"}), range(count))
        )
    most = min(count, 32)
    until(lambda: sum(row["status"] == "running" for row in wide.rows(ids).values()) >= most, 30, "they run")
    wide.redis.kill()
    until(lambda: sum(row["error"] is not None for row in wide.rows(ids).values()) >= most, 30, "they have failed")
    kept = Counter(row["status"] for row in wide.rows(ids).values())
    assert sum(kept.values()) == count
    wide.redis.start()
    rows = wide.check(ids, patience=120)
    ended = Counter(row["status"] for row in rows.values())
    letters = wide.sql("SELECT count(*) AS n FROM dead_letters WHERE kind = 'drill_fail' AND reason = 'attempts'")[0][
        "n"
    ]
    tell(
        "F11",
        "distributed",
        raised=count,
        kept=sum(kept.values()),
        completed=ended["completed"],
        failed=ended["failed"],
    )
    assert ended["completed"] == count - count // 2
    assert ended["failed"] == count // 2
    assert letters >= count // 2


def test_f12_every_message_twice_and_again_later(wide: Cluster, rng: random.Random) -> None:
    """Doubled and late wake-ups, at once: each task runs once."""
    count, later = scaled(500, 80), scaled(10, 3)
    rt = wide.runtime()
    try:
        with ThreadPoolExecutor(4) as crew:
            ids = list(crew.map(lambda _: wide.run("steps", {"steps": 1, "pause": 0.02}), range(count)))
            for one in crew.map(lambda task_id: rt.wake("workflows", task_id), ids):
                assert one is None
        wide.wait_final(ids, 90)
        time.sleep(later)  # "once more, later"
        rng.shuffle(ids)
        for task_id in ids:
            rt.wake("workflows", task_id)
        until(lambda: rt.depth("workflows") == 0, 60, "the late messages are used up")
        rows = wide.check(ids)
    finally:
        rt.close()
    ran = Counter(line.task_id for line in wide.executions(ids))
    tell("F12", "distributed", tasks=count, messages=3 * count, executions=sum(ran.values()))
    assert all(row["status"] == "completed" for row in rows.values())
    assert set(ran.values()) == {1}
    assert sum(wide.effects(ids).values()) == count

"""F13, F14: processes that sleep through their lease, and clocks that are wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.drills.harness import DEFAULTS, FULL, QUICK, Cluster, Embedded, scaled, tell, until
from webapp.core.db import NOW_SQL

pytestmark = [pytest.mark.drill, pytest.mark.spine]


@pytest.mark.services
def test_f13_zombie_worker(own: Callable[..., Any]) -> None:
    """A worker sleeps for 2 x LEASE, its tasks are taken over, it wakes: everything it still writes is refused."""
    pace = DEFAULTS if FULL else QUICK
    stack: Cluster = own("distributed", pace, live=False)
    stack.start()
    length = pace.lease * 2 + pace.takeover + 5
    talkers = stack.run_many(2, "generate", {"seconds": length, "every": 0.05})
    steppers = stack.run_many(2, "steps", {"steps": int(length * 5), "pause": 0.2})
    ids = talkers + steppers
    until(lambda: all(stack.rows(ids)[one]["seq"] > 4 for one in ids), 30, "all write")
    holder = stack.sql("SELECT worker_id FROM tasks WHERE id = :id", id=talkers[0])[0]["worker_id"]
    zombie = next(process for process in stack.workers if f"-{process.pid}-" in holder)
    held = {row["id"]: row["fence"] for row in stack.sql("SELECT id, fence FROM tasks WHERE worker_id = :w", w=holder)}
    zombie.signal(signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: all(row["fence"] > held[one] + 1 for one, row in stack.rows(held).items()), pace.takeover + 2,
          "taken over")  # fmt: skip
    taken = time.monotonic() - began
    until(lambda: time.monotonic() - began >= 2 * pace.lease, 3 * pace.lease, "it slept for two leases")
    zombie.signal(signal.SIGCONT)
    rows = stack.check(ids, patience=length + 30)
    assert all(row["status"] == "completed" for row in rows.values()), rows
    late = 0
    for task_id in talkers:
        fences = [row["data"]["fence"] for row in stack.events([task_id])[task_id] if "token" in row["message"]]
        late += sum(later < earlier for earlier, later in zip(fences, fences[1:], strict=False))
    tell("F13", stack.mode, slept=2 * pace.lease, held=len(held), taken_over_after=taken, zombie_writes=late)
    assert late == 0
    assert zombie.starts == 1, "the zombie went on living"


def test_f13_whole_process_sleeps(own: Callable[..., Any]) -> None:
    """Embedded: the machine sleeps for two leases. Its tasks go on; nothing is counted as a crash, nothing runs twice."""
    stack: Embedded = own("embedded")
    stack.start()
    work = {"steps": scaled(60, 30), "pause": 0.1}
    ids = stack.run_many(2, "steps", work) + stack.run_many(2, "steps_crawling", work)
    until(lambda: all(row["seq"] > 4 for row in stack.rows(ids).values()), 15, "all write")
    sleeps = scaled(4, 2)
    for _ in range(sleeps):
        pids = stack.worker_pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(stack.pace.lease + 1.0)  # the length of the fault
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        seqs = {one: row["seq"] for one, row in stack.rows(ids).items()}
        until(
            lambda s=seqs: all(r["seq"] > s[i] or r["status"] == "completed" for i, r in stack.rows(ids).items()),
            10,
            "goes on",
        )
    rows = stack.check(ids, patience=60)
    doubles = len(stack.executions(ids)) - work["steps"] * len(ids)
    tell("F13", "embedded", sleeps=sleeps, crashes=sum(row["crashes"] for row in rows.values()), repeated_steps=doubles)
    assert all(row["status"] == "completed" for row in rows.values()), rows
    assert all(row["crashes"] == 0 for row in rows.values())
    assert doubles == 0


@pytest.mark.services
def test_f14_clocks(own: Callable[..., Any], tmp_path: Path) -> None:
    """One worker's clock is 120 s ahead, then 120 s behind, then jumps during a run: no double run, no early end.

    A machine that lets a worker stand still for longer than its lease loses tasks with right clocks too (F13). So the
    beats are watched by the database's clock: while they come in time nothing may be lost; whatever the machine does,
    a task that was taken away is begun by its old worker for one step at the most.
    """
    library = _libfaketime()
    offset = tmp_path / "offset"
    offset.write_text("+120\n")
    tmp_path.chmod(0o755)
    faked = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
             "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}  # fmt: skip
    stack: Cluster = own("distributed", workers=("all",), live=False)
    stack.add("worker9-faked", ["worker", "all"], **faked)
    stack.start()
    ids: list[str] = []
    with _slowest_beat(stack) as silent:
        for number, shift in enumerate(("+120", "-120", "+120", "-120")):
            ids += stack.run_many(6, "steps", {"steps": 12, "pause": 0.1})
            ids += stack.run_many(2, "fail_later", {"times": 1})
            until(lambda i=ids, n=number: len(stack.executions(i)) > n * 40 + 10, 30, "they run")
            offset.write_text(shift + "\n")  # a jump while they run
        rows = stack.check(ids, patience=60)
    steps = [one for one in ids if rows[one]["kind"] == "drill_steps"]
    ran = stack.executions(steps)
    by_faked = sum(line.pid == stack.named("worker9")[0].pid for line in ran)
    losses = sum(row["crashes"] for row in rows.values())
    tell("F14", "distributed", tasks=len(ids), by_skewed_clock=by_faked, second_executions=len(ran) - 12 * len(steps),
         crashes=losses, slowest_beat=silent[0])  # fmt: skip
    assert by_faked > 0, "the worker with the wrong clock took part"
    assert all(row["status"] == "completed" for row in rows.values())
    for one in steps:
        mine = [line for line in ran if line.task_id == one]
        assert len(mine) - 12 <= rows[one]["crashes"], f"more than one step for each loss: {mine}"
        late = sum(later.fence < earlier.fence for earlier, later in zip(mine, mine[1:], strict=False))
        assert late <= rows[one]["crashes"], f"its old worker went on: {mine}"
    if silent[0] < stack.pace.lease:
        assert losses == 0, "a lease ended although its worker beat in time"
        assert all(len(claims) == 1 for claims in stack.claims(steps).values())


@contextmanager
def _slowest_beat(stack: Cluster) -> Iterator[list[float]]:
    """The longest time, by the database's clock, for which a worker did not beat while the block ran."""
    stop, worst = threading.Event(), [0.0]
    sql = f"SELECT max({NOW_SQL['postgresql']} - beat_at) AS silent FROM workers"

    def look() -> None:
        while not stop.wait(0.05):
            worst[0] = max(worst[0], stack.sql(sql)[0]["silent"] or 0.0)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield worst
    finally:
        stop.set()
        thread.join(5)


def _libfaketime() -> str:
    for place in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for found in sorted(Path(place).glob("**/faketime/libfaketime.so.1")):
            return str(found)
    missing("libfaketime (package faketime)")
    raise AssertionError

"""A second worker group on the same queue: does it take its share, and does a task cost more?

Two cores cannot do twice the computing, so the work is of the kind that waits (a page, a model server): each task
sleeps for a quarter of a second in one of 8 threads. Tasks are queued before the groups get them. A group is a
`brainstem worker fast` of its own, as an operator would start one on a second machine; Postgres, a Redis of this run's own.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

PAUSE = 0.25  # seconds a task waits
THREADS = 8
QUEUE = "brainstem:interactive"


def run(report: Report, quick: bool) -> None:
    tasks, repeats = (64, 1) if quick else (480, 3)
    report.notes.append(f"{tasks} tasks of {PAUSE} s, {THREADS} threads a group, medians of {repeats}")
    with ExitStack() as stack:
        folder = stack.enter_context(h.scratch())
        port = stack.enter_context(h.private_redis())
        found = {groups: [one_run(folder / f"{groups}-{n}", port, groups, tasks) for n in range(repeats)]
                 for groups in (1, 2)}  # fmt: skip
    report.raw["runs"] = found
    rate, cost = (
        {groups: h.median(one[key] for one in runs) for groups, runs in found.items()} for key in ("rate", "cpu_ms")
    )
    ratio = rate[2] / rate[1]
    report.add(
        "tasks a second, two groups beside one",
        f"{rate[2]:.1f}",
        f"{rate[1]:.1f}",
        f"{ratio:.2f}",
        ">= 1.8",
        ratio >= 1.8,
    )
    report.add("  worker CPU a task", f"{cost[2]:.1f} ms", f"{cost[1]:.1f} ms", f"{cost[2] / cost[1]:.2f}")
    share = h.median(one["share"] for one in found[2])
    report.add("  share of the group that did less", f"{share:.2f}")


def one_run(home: Path, port: int, groups: int, tasks: int) -> dict[str, float]:
    """rate: tasks a second from the first start to the last row that says completed; cpu_ms: of the groups, a task."""
    home.mkdir()
    h.redis_client(port, 0).flushdb()
    with ExitStack() as stack:
        url = stack.enter_context(h.private_postgres())
        threads = f"interactive={THREADS},inference=1,crawling=1,embedding=1,workflows=1,maintenance=1"
        env = h.distributed_env(home, url, port, BRAINSTEM_WORKER_THREADS=threads)
        rt = h.open_runtime(env)
        stack.callback(rt.close)
        for _ in range(tasks):
            _start(rt)
        h.wait_for(lambda: rt.depth("interactive") == tasks, 10)
        hold = h.redis_client(port, 0)
        hold.rename(QUEUE, "held")
        made = [stack.enter_context(h.brainstem(["worker", "fast"], env, home)) for _ in range(groups)]
        h.wait_for(lambda: h.workers(rt) == groups, 60)
        time.sleep(1.0)
        before = sum(h.cpu_seconds(one.pid) for one in made)
        hold.rename("held", QUEUE)
        h.wait_for(lambda: _done(rt) == tasks, 300, 0.05)
        cpu = sum(h.cpu_seconds(one.pid) for one in made) - before
        return {**_told(rt), "cpu_ms": cpu / tasks * 1e3}


def _start(rt: Any) -> None:
    from webapp.tasks import service

    with rt.unit() as db:
        service.start(h.local_ctx(rt, db), "bench.pause", {"seconds": PAUSE})


def _done(rt: Any) -> int:
    with rt.engine.connect() as connection:
        sql = "SELECT count(*) FROM tasks WHERE kind = 'bench.pause' AND status = 'completed'"
        return int(connection.exec_driver_sql(sql).scalar())


def _told(rt: Any) -> dict[str, float]:
    from collections import Counter

    from sqlalchemy import select

    from webapp.tasks.models import Task

    with rt.unit(write=False) as db:
        rows = db.execute(
            select(Task.started_at, Task.finished_at, Task.result).where(Task.kind == "bench.pause")
        ).all()
    took = max(row.finished_at for row in rows) - min(row.started_at for row in rows)
    by_group = Counter(row.result["pid"] for row in rows)
    return {"rate": len(rows) / took.total_seconds(), "share": min(by_group.values()) / len(rows)}

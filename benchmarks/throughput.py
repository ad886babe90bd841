"""No-op jobs a second over the whole path, jobs queued before the workers get them.

Ours: claim, lease, run, events, finish, acknowledgement, bells, all with rows; from the first claim to the last row
that says completed. Celery: threads 16, late acknowledgement, three plain row writes (queued, running, done); from
the first start to the last end. The job itself is one Redis INCR on both sides. Our two processes are let at the queue
when both have started: a process that is still importing would take the cores from the one that works.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import embedded
from benchmarks import harness as h
from benchmarks.harness import Report

THREADS = "interactive=8,inference=1,crawling=1,embedding=1,workflows=1,maintenance=1"


def run(report: Report, quick: bool) -> None:
    jobs, repeats = (300, 1) if quick else (2000, 3)
    report.notes.append(f"{jobs} jobs, medians of {repeats}; ours with 8 threads on the queue; never replaced workers")
    with ExitStack() as stack:
        folder = stack.enter_context(h.scratch())
        port = stack.enter_context(h.private_redis())
        url = stack.enter_context(h.private_postgres())
        b1 = h.load_peer("b1_queue.py", {"B1_PORT": str(port), "B1_TMP": str(folder), "B1_PG": url,
                                         "B1_SQLITE": str(folder / "b1.sqlite3")})  # fmt: skip
        compare(report, "SQLite, one embedded process", 1.5, repeats,
                lambda n: sqlite_ours(folder / f"home{n}", port, jobs),
                lambda n: celery(b1, "sqlite", jobs))  # fmt: skip
        compare(report, "Postgres, two worker processes", 1.0, repeats,
                lambda n: postgres_ours(folder / f"pg{n}", port, jobs),
                lambda n: celery(b1, "pg", jobs))  # fmt: skip


def compare(report: Report, what: str, goal: float, repeats: int, ours: Callable[[int], dict[str, float]],
            peer: Callable[[int], dict[str, float]]) -> None:  # fmt: skip
    sides: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for n in range(repeats):
        sides[0].append(ours(n))
        sides[1].append(peer(n))
    report.raw[what] = sides
    mine, theirs = (h.median(one["jobs_per_second"] for one in side) for side in sides)
    report.add(what, f"{mine:.0f} jobs/s", f"{theirs:.0f} jobs/s", f"{mine / theirs:.2f}", f">= {goal:g}",
               mine / theirs >= goal)  # fmt: skip
    for key, label, unit in (("enqueue_us", "  storing and sending one", "us"), ("cpu_us", "  worker CPU a job", "us")):
        mine, theirs = (h.median(one[key] for one in side) for side in sides)
        report.add(label, f"{mine:.0f} {unit}", f"{theirs:.0f} {unit}", f"{mine / theirs:.2f}")


def sqlite_ours(home: Path, port: int, jobs: int) -> dict[str, float]:
    home.mkdir()
    h.redis_client(port, 6).flushdb()
    env = h.our_env(home, port, BRAINSTEM_WORKER_THREADS=THREADS)
    command = [sys.executable, "-m", "benchmarks.embedded", "throughput", str(jobs)]
    done = subprocess.run(command, env=env, cwd=h.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "cpu_us": found.pop("cpu") / jobs * 1e6}


def postgres_ours(home: Path, port: int, jobs: int) -> dict[str, float]:
    home.mkdir()
    for number in (0, 6):
        h.redis_client(port, number).flushdb()
    with h.private_postgres() as url:
        env = h.distributed_env(home, url, port, BRAINSTEM_WORKER_THREADS=THREADS)
        os.environ["BENCH_REDIS"] = str(port)
        rt = h.open_runtime(env)
        try:
            began = time.perf_counter()
            for _ in range(jobs):
                embedded.start(rt, {"n": jobs})
            enqueue = (time.perf_counter() - began) / jobs
            h.wait_for(lambda: rt.depth("interactive") == jobs, 10)
            hold = h.redis_client(port, 0)
            hold.rename("brainstem:interactive", "held")
            with h.brainstem(["worker", "fast", "-p", "2"], env, home) as child:
                h.wait_for(lambda: h.workers(rt) == 2, 30)
                time.sleep(1.0)
                before = h.cpu_seconds(child.pid)
                hold.rename("held", "brainstem:interactive")
                found = embedded.finish(rt, jobs, h.redis_client(port, 6))
                cpu = h.cpu_seconds(child.pid) - before
        finally:
            rt.close()
    return {**found, "enqueue_us": enqueue * 1e6, "cpu_us": cpu / jobs * 1e6}


def celery(b1: Any, row: str, jobs: int) -> dict[str, float]:
    for number in (1, 6):
        h.redis_client(b1.PORT, number).flushdb()
    if row == "sqlite":
        for end in ("", "-wal", "-shm"):
            Path(b1.SQL + end).unlink(missing_ok=True)
    connection = b1.db(row)
    if row == "pg":
        connection.execute("drop table if exists job")
        connection.execute("create table job(id serial primary key, st text, t double precision, payload text)")
    sender, command = b1.sender("celery")
    seconds, _, _ = command(jobs, 0, row, jobs)
    sender.kill()
    sender.wait()
    b1._tl.__dict__.clear()
    worker = b1.start("celery-threads-16")
    try:
        h.wait_for(lambda: b1.M.get("k"), 60, 0.002)
        before = h.cpu_seconds(worker.pid)  # without what starting took
        if b1.M.blpop("fin", 180) is None:
            raise TimeoutError("Celery did not end")
        end = time.time()
        return {"jobs_per_second": jobs / (end - float(b1.M.get("t0"))), "enqueue_us": seconds / jobs * 1e6,
                "cpu_us": (h.cpu_seconds(worker.pid) - before) / jobs * 1e6}  # fmt: skip
    finally:
        b1.stop(worker)

"""Idle enqueue -> start.

Ours: `tasks.service.start` in this process, which stands for a web process; a real `brainstem worker` of shipped
settings runs the task. The row is committed, then the clock runs through wake-up and claim (a durable write) to the
runner's first line. Celery: prefork 2, the clock from before `delay()` to the body's first line, no rows at all.
The whole call, row and event included, is shown beside Celery with the one row it would need.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

HAND_OFF = """
import sys, redis
c = redis.Redis(port=int(sys.argv[1]), db=7, socket_timeout=300)
while (v := c.brpop("ping", 0)[1]) != b"stop": c.lpush("pong", v)
"""


def run(report: Report, quick: bool) -> None:
    rounds, blocks = (8, 1) if quick else (40, 3)
    with ExitStack() as stack:
        folder = stack.enter_context(h.scratch())
        port = stack.enter_context(h.private_redis())
        url = stack.enter_context(h.private_postgres())
        distributed(report, folder, port, url, rounds, blocks)
        embedded(report, folder, port, rounds * blocks)


def distributed(report: Report, folder: Any, port: int, url: str, rounds: int, blocks: int) -> None:
    b1 = h.load_peer("b1_queue.py", {"B1_PORT": str(port), "B1_TMP": str(folder), "B1_PG": url})
    env = h.distributed_env(folder, url, port)
    os.environ["BENCH_REDIS"] = str(port)
    rt = h.open_runtime(env)
    b1.db("pg").execute("create table job(id serial primary key, st text, t double precision, payload text)")
    celery = b1.start("celery-prefork-2")
    sender, command = b1.sender("celery")
    figures: dict[str, list[float]] = {name: [] for name in (
        "ours", "ours with rows", "celery", "celery with rows", "hand-off", "hand-off idle")}  # fmt: skip
    pong = subprocess.Popen([sys.executable, "-c", HAND_OFF, str(port)])
    echo = h.redis_client(port, 7)
    try:
        with h.brainstem(["worker", "fast"], env, folder):
            time.sleep(6)
            figures["hand-off"] += [_hand_off(echo) * 1000 for _ in range(300 if rounds < 20 else 2000)]
            for n in range(rounds * blocks + 2):
                keep = n >= 2
                for what in random.sample(("ours", "celery", "celery with rows", "hand-off idle"), 4):
                    time.sleep(random.uniform(0.02, 0.25))
                    found = _one(what, rt, b1, command, echo)
                    if keep:
                        for name, value in found.items():
                            figures[name].append(value * 1000)
    finally:
        echo.lpush("ping", "stop")
        pong.wait(5)
        sender.kill()
        b1.stop(celery)
        rt.close()
    p50 = {name: h.pct(values, 0.5) for name, values in figures.items()}
    shown = {name: f"{p50[name]:.2f} ms (p95 {h.pct(values, 0.95):.1f})" for name, values in figures.items()}
    report.raw.update(figures)
    ours, plain, hand = p50["ours"], p50["celery"], p50["hand-off"]
    report.add("distributed, against Celery prefork 2", shown["ours"], shown["celery"], f"{ours / plain:.2f}", "<= 0.6",
               ours / plain <= 0.6)  # fmt: skip
    report.add("distributed, against a bare Redis hand-off", shown["ours"], f"{hand:.3f} ms", f"{ours / hand:.1f}",
               "<= 15", ours / hand <= 15)  # fmt: skip
    idle = p50["hand-off idle"]
    report.add("  the same hand-off, idle between two", shown["ours"], f"{idle:.3f} ms", f"{ours / idle:.1f}")
    report.add("  with the row's own insert and commit", shown["ours with rows"], shown["celery with rows"],
               f"{p50['ours with rows'] / p50['celery with rows']:.2f}")  # fmt: skip


def _hand_off(echo: Any) -> float:
    began = time.perf_counter()
    echo.lpush("ping", "y" * 300)
    echo.brpop("pong")
    return (time.perf_counter() - began) / 2


def _one(what: str, rt: Any, b1: Any, command: Any, echo: Any) -> dict[str, float]:
    from benchmarks.kinds import measure
    from webapp.tasks import service

    if what == "hand-off idle":
        return {what: _hand_off(echo)}
    b1.M.delete("lat")
    if what.startswith("celery"):
        began = time.perf_counter()
        if "rows" in what:
            b1.insert("pg")
        inserted = time.perf_counter() - began
        command(1)
        return {what: inserted + float(b1.M.blpop("lat", 20)[1])}
    began, marks = time.time(), []
    with rt.unit() as db:
        service.start(h.local_ctx(rt, db), "bench.stamp", {"t": began})
        # The clock of "ours" starts when the row is committed, before the wake-up is sent.
        db.info["after_commit"].insert(0, lambda: marks.append(time.time()))
    whole, started = (float(part) for part in measure().blpop("lat", 20)[1].split())
    return {"ours with rows": whole, "ours": started - marks[0]}


def embedded(report: Report, folder: Any, port: int, rounds: int) -> None:
    home = folder / "embedded"
    home.mkdir()
    env = h.our_env(home, port)
    command = [sys.executable, "-m", "benchmarks.embedded", "latency", str(rounds)]
    done = subprocess.run(command, env=env, cwd=h.ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    values = [value * 1000 for value in json.loads(done.stdout.splitlines()[-1])]
    report.raw["embedded"] = values
    p50 = h.pct(values, 0.5)
    report.add("embedded", f"{p50:.2f} ms (p95 {h.pct(values, 0.95):.1f})", "", "", "<= 2 ms", p50 <= 2)

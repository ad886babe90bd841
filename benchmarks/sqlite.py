"""Eight writers asking for 100 transactions a second each, on one SQLite file.

Ours: `store.advance` with an event, through SQLAlchemy's pool, as every progress of a runner does. Peers: the same
shape (read, update, insert) by the bare driver, with our settings of the database and with the driver's own.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

WRITERS, PACE = 8, 100.0


def run(report: Report, quick: bool) -> None:
    seconds, repeats = (2.0, 1) if quick else (6.0, 3)
    report.notes.append(f"{WRITERS} threads x {PACE:g}/s, {seconds:g} s, medians of {repeats}")
    with h.scratch() as folder:
        b4 = h.load_peer("b4_sqlite.py", {})
        b4.PACE = PACE
        rt = h.open_runtime(h.our_env(folder))
        ids = rows(rt, WRITERS)
        sides: dict[str, list[dict[str, float]]] = {"ours": [], "wal": [], "naive": []}
        for _ in range(repeats):
            sides["ours"].append(figures(ours(rt, ids, seconds), seconds))
            for config in ("wal", "naive"):
                fresh(b4, folder / f"{config}.sqlite3", config)
                found = b4.threads(str(folder / f"{config}.sqlite3"), config, WRITERS, time.time() + seconds)
                sides[config].append(figures(found, seconds))
        rt.close()
    report.raw.update(sides)
    mine, plain, naive = ({key: h.median(one[key] for one in sides[name]) for key in sides[name][0]} for name in sides)
    lost = sum(one["failed"] for one in sides["ours"])
    report.add("failed writes", f"{lost:.0f}", f"{plain['failed']:.0f}; driver's defaults {naive['failed']:.0f}", "",
               "0", lost == 0)  # fmt: skip
    report.add("p99", f"{mine['p99']:.2f} ms", f"{plain['p99']:.2f} ms; defaults {naive['p99']:.1f} ms",
               f"{mine['p99'] / plain['p99']:.1f}", "<= 20 ms", mine["p99"] <= 20)  # fmt: skip
    report.add("p50", f"{mine['p50']:.2f} ms", f"{plain['p50']:.2f} ms", f"{mine['p50'] / plain['p50']:.1f}")
    report.add("longest", f"{mine['max']:.1f} ms", f"{plain['max']:.1f} ms")
    report.add("done of what was asked", f"{mine['share']:.0%}", f"{plain['share']:.0%}")


def rows(rt: Any, count: int) -> list[str]:
    from webapp.core.db import new_id
    from webapp.tasks import store
    from webapp.tasks.store import Event

    ids = [new_id() for _ in range(count)]
    with rt.unit() as db:
        for id in ids:
            values = {"id": id, "kind": "bench.stamp", "title": "t", "status": "running", "queue": "interactive",
                      "rank": 2, "progress": 0, "message": "", "params": {}, "attempt": 1, "max_attempts": 1,
                      "crashes": 0, "fence": 1, "time_limit": 7200.0, "cancel_requested": False}  # fmt: skip
            store.start(db.connection(), values, Event("status", "Queued"))
    return ids


def ours(rt: Any, ids: list[str], seconds: float) -> list[tuple[list[float], int]]:
    from webapp.tasks import store
    from webapp.tasks.store import Event

    out: list[tuple[list[float], int]] = []
    until = time.time() + seconds

    def write(id: str) -> None:
        took, failed = [], 0
        while time.time() < until:
            time.sleep(random.expovariate(PACE))
            began = time.perf_counter()
            try:
                sets = {"progress": 50, "message": "x" * 100}
                failed += store.advance(rt, id, sets, Event("progress", "x" * 200), fence=1) is None
                took.append(time.perf_counter() - began)
            except Exception:
                failed += 1
        out.append((took, failed))

    threads = [threading.Thread(target=write, args=(id,)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


def figures(found: list[tuple[list[float], int]], seconds: float) -> dict[str, float]:
    took = [value * 1000 for values, _ in found for value in values]
    return {"p50": h.pct(took, 0.5), "p99": h.pct(took, 0.99), "max": max(took, default=0.0),
            "failed": float(sum(failed for _, failed in found)),
            "share": len(took) / (WRITERS * PACE * seconds)}  # fmt: skip


def fresh(b4: Any, path: Path, config: str) -> None:
    import sqlite3

    for end in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    if config != "naive":
        connection.execute("pragma journal_mode=wal")
    for statement in b4.SCHEMA:
        connection.execute(statement)
    connection.executemany("insert into job(st) values(?)", [("queued",)] * 64)
    connection.commit()
    connection.close()

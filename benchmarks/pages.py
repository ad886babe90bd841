"""First pages of long lists: 100,000 tasks of one person, on SQLite and on Postgres, and what a page weighs.

Ours as the product runs it (`brainstem up`; `brainstem web` beside Postgres and Redis), asked one request after the
other over one connection with an administrator's key. The questions of a page to the database are counted in this
process on a short and on the long list: they must be as many. There is no peer: the goals are absolute.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from benchmarks import harness as h
from benchmarks.harness import Report

LISTS = {
    "/tasks": "tasks, first page",
    "/tasks?status=failed": "tasks, failed ones",
    "/tasks?status=active": "tasks, those not over",
    "/": "home",
    "/admin/": "everybody's tasks",
    "/monitor/": "operations",
    "/api/v1/utils/ai-tasks/recent/?limit=50": "API, 50 newest",
}
DAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
FIGURES = {  # sums over all those rows; an administrator's filters over them
    "/admin/?status=failed": "everybody's, failed ones",
    "/admin/?status=active": "everybody's, those not over",
    "/admin/?kind=summary": "everybody's, of a kind",
    "/admin/?user=local": "everybody's, of a person",
    "/admin/?user=nobody&status=failed": "everybody's, of a person who has none",
    f"/admin/?from={DAY}&to={DAY}": "everybody's, of a day",
    "/admin/?q=Report+77": "everybody's, by frequent words",
    "/admin/?q=nothing+like+it": "everybody's, by words that nobody wrote",
    f"/admin/?status=failed&kind=summary&user=local&from={DAY}&q=harbour": "everybody's, by all of these",
    "/insight?range=30d": "statistics of everybody's, 30 days",
    "/insight?range=30d&whose=mine": "statistics of one's own, 30 days",
    "/api/v1/utils/task-statistics/": "API, statistics",
}
GOAL_MS, FIGURES_MS = 100.0, 300.0
FIRST_KB, LATER_KB = 150.0, 20.0
STATES = ("completed",) * 90 + ("failed",) * 5 + ("cancelled",) * 3 + ("timed_out",) * 2


def run(report: Report, quick: bool) -> None:
    rows, rounds = (2_000, 20) if quick else (100_000, 300)
    report.notes.append(f"{rows:,} tasks with texts and results of 2 kB each, one connection, {rounds} requests a page")
    with ExitStack() as stack:
        folder = stack.enter_context(h.scratch())
        (folder / "lite").mkdir()
        measure(report, "SQLite", h.our_env(folder / "lite", AUTH_REQUIRED="1"), folder / "lite", "up", rows, rounds)
        url, port = stack.enter_context(h.private_postgres()), stack.enter_context(h.private_redis())
        (folder / "pg").mkdir()
        env = h.distributed_env(folder / "pg", url, port, AUTH_REQUIRED="1")
        measure(report, "Postgres", env, folder / "pg", "web", rows, rounds)


def measure(report: Report, name: str, env: dict[str, str], home: Path, verb: str, rows: int, rounds: int) -> None:
    rt = h.open_runtime(env)
    key = admin_key(rt)
    counts = {}
    fill(rt, 100)
    counts["short"] = questions(rt, key)
    fill(rt, rows)
    counts["long"] = questions(rt, key)
    settle(rt)
    rt.close()
    report.raw[f"{name}, questions"] = counts
    with h.server(env, home, verb) as (_child, port):
        base = f"http://127.0.0.1:{port}"
        with requests.Session() as http:
            http.headers.update({"Authorization": f"Bearer {key}", "Accept-Encoding": "gzip"})
            for path, what in (LISTS | FIGURES).items():
                many = rounds if path in LISTS else max(20, rounds // 10)
                took = [ask(http, base + path) for _ in range(many + 10)][10:]
                p50, p95 = h.pct(took, 0.5), h.pct(took, 0.95)
                report.raw[f"{name} {path}"] = {"p50": p50, "p95": p95, "max": max(took)}
                asked = counts["long"][path]
                same = asked == counts["short"][path]
                goal = GOAL_MS if path in LISTS else FIGURES_MS
                report.add(
                    f"{name}, {what}: p95",
                    f"{p95:.1f} ms (p50 {p50:.1f})",
                    goal=f"<= {goal:g} ms",
                    ok=p95 <= goal,
                )
                report.add("  questions, 100 and all rows", f"{counts['short'][path]}, {asked}", goal="equal", ok=same)
            if verb == "up":
                weigh(report, http, base)


def ask(http: requests.Session, url: str) -> float:
    began = time.perf_counter()
    answer = http.get(url, timeout=30)
    answer.raise_for_status()
    return (time.perf_counter() - began) * 1000


def weigh(report: Report, http: requests.Session, base: str) -> None:
    """Bytes of the first visit (the page, its styles, scripts and icons) and of each one after it, headers included."""
    for path, what in LISTS.items():
        if path.startswith("/api"):
            continue
        later, html = size(http, base + path)
        assets = set(re.findall(r'(?:href|src)="(/static/[^"#]+)', html))
        first = later + sum(size(http, base + one)[0] for one in assets)
        report.add(f"{what}: transferred first, later", f"{first:.0f}, {later:.0f} kB",
                   goal=f"<= {FIRST_KB:g}, {LATER_KB:g} kB", ok=first <= FIRST_KB and later <= LATER_KB)  # fmt: skip


def size(http: requests.Session, url: str) -> tuple[float, str]:
    answer = http.get(url, timeout=30, stream=True)
    answer.raise_for_status()
    raw = answer.raw.read(decode_content=False)
    head = sum(len(name) + len(value) + 4 for name, value in answer.headers.items())
    text = ""
    if "html" in answer.headers.get("Content-Type", ""):
        import gzip

        text = (gzip.decompress(raw) if answer.headers.get("Content-Encoding") == "gzip" else raw).decode()
    return (len(raw) + head) / 1000, text


# -- what is in the database -----------------------------------------------------------------------------------------


def admin_key(rt: Any) -> str:
    from webapp.identity import service

    service.local_account(rt)
    with rt.unit() as db:
        made = service.create_api_key(h.local_ctx(rt, db), name="bench", scopes=["admin", "tasks:read", "events:read"])
    return str(made[1])


def fill(rt: Any, rows: int) -> None:
    """Tasks of the local person in usual proportions, each with a text and a result."""
    from sqlalchemy import insert

    from webapp.core.db import new_id, utcnow
    from webapp.identity import service
    from webapp.tasks.models import Task

    owner, now = service.local_account(rt)[0], utcnow()
    words = random.Random(1).choices([f"{n:x}" for n in range(4000, 9000)], k=60_000)
    for start in range(0, rows, 2000):
        batch: list[dict[str, Any]] = []
        for n in range(start, min(rows, start + 2000)):
            at, text = now - timedelta(seconds=(rows - n) * 7), " ".join(words[n % 59_000 : n % 59_000 + 400])
            batch.append({"id": new_id(), "owner_id": owner, "kind": "summary", "title": f"Report {n} of the harbour",
                          "status": STATES[n % 100], "queue": "inference", "progress": 100, "message": "Done", "seq": 5,
                          "params": {"content": text}, "result": {"summary": text}, "created_at": at, "updated_at": at,
                          "started_at": at, "finished_at": at + timedelta(milliseconds=n % 90_000), "attempt": 1})  # fmt: skip
        with rt.unit() as db:
            db.execute(insert(Task), batch)


def settle(rt: Any) -> None:
    """What autovacuum and the daily upkeep do while a real list grows to this length."""
    with rt.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if rt.engine.dialect.name == "postgresql" else "PRAGMA optimize")


def questions(rt: Any, key: str) -> dict[str, int]:
    """How many statements each page sends, the look at who asks included; the second visit is counted."""
    from webapp.app import create_app

    app = create_app(rt)
    client, found = app.test_client(), {}
    headers = {"Authorization": f"Bearer {key}"}
    for path in LISTS | FIGURES:
        client.get(path, headers=headers)
        with counted(rt.engine) as seen:
            answer = client.get(path, headers=headers)
        if answer.status_code != 200:
            raise RuntimeError(f"{path} answers {answer.status_code}")
        found[path] = seen[0]
    app.extensions["hub"].stop(0.2)
    return found


@contextmanager
def counted(engine: Any) -> Iterator[list[int]]:
    from sqlalchemy import event

    seen = [0]

    def count(*_: Any) -> None:
        seen[0] += 1

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", count)

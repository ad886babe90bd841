"""Event commit -> client: WebSocket `/ws/tasks/{id}` and the SSE stream, embedded and through Redis.

A task in a worker writes 20 progress events a second over min(n, 50) rows of tasks, by the call every runner's
progress makes; each event carries the time before its write, so the commit is included. Clients of one other process
read the clock. Beside them, four clients ask `.../updates/` every 2 s, as the seeds' pages did. Then 1,000 clients on
one process, beside a FastAPI hub under uvicorn whose events are published straight to Redis (no row, no login).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

RATE = 20.0
WS, SSE = "/ws/tasks/{id}", "/api/v1/utils/tasks/{id}/stream/"
POLL = "/api/v1/utils/ai-tasks/{id}/updates/?limit=200"


def run(report: Report, quick: bool) -> None:
    seconds, repeats, many = (3.0, 1, 200) if quick else (6.0, 3, 1000)
    report.notes.append(f"{RATE:g} events/s, {seconds:g} s a run, medians of {repeats}; connection limits lifted")
    with ExitStack() as stack:
        folder = stack.enter_context(h.scratch())
        port = stack.enter_context(h.private_redis())
        url = stack.enter_context(h.private_postgres())
        hub_rows(report, folder, port, seconds, repeats, many)
        for mode in ("embedded", "distributed"):
            with ours(mode, folder / mode, url, port) as side:
                for kind, path in (("ws", WS), ("sse", SSE)):
                    for clients in (1, 200):
                        latency_rows(report, side, mode, kind, path, clients, seconds, repeats)
            with ours(mode, folder / f"{mode}-many", url, port) as side:
                many_rows(report, side, mode, many, seconds, repeats)


@contextmanager
def ours(mode: str, home: Path, url: str, redis_port: int) -> Any:
    home.mkdir(parents=True)
    make = h.our_env if mode == "embedded" else lambda home, port, **more: h.distributed_env(home, url, port, **more)
    env = make(home, redis_port, AUTH_REQUIRED="1")
    rt = h.open_runtime(env)
    key = h.api_key(rt)
    rt.close()
    with ExitStack() as stack:
        args = ("up",) if mode == "embedded" else ("web", "--live")
        child, port = stack.enter_context(h.server(env, home, *args))
        if mode == "distributed":
            stack.enter_context(h.brainstem(["worker", "fast"], env, home))
            time.sleep(3)
        serving = max(h.tree(child.pid), key=lambda one: one.num_threads())
        yield {"port": port, "key": key, "process": serving, "emit": emit_task}


def latency_rows(report: Report, side: dict[str, Any], mode: str, kind: str, path: str, clients: int, seconds: float,
                 repeats: int) -> None:  # fmt: skip
    runs = [watch(side, kind, path, clients, seconds, polling=4) for _ in range(repeats)]
    what = f"{mode}, {kind}, {clients} client{'s'[: clients > 1]}"
    report.raw[what] = runs
    p50, p95, polled = (h.median(run[key] for run in runs) for key in ("p50", "p95", "polled"))
    missing = sum(run["missing"] for run in runs)
    report.add(what, f"{p50:.2f} ms (p95 {p95:.1f})", "", "", "<= 5 ms", p50 <= 5)
    report.add("  against asking every 2 s", f"{p50:.2f} ms", f"{polled:.0f} ms", f"1/{polled / p50:.0f}", "<= 1/300",
               polled / p50 >= 300)  # fmt: skip
    if missing:
        report.add("  events that did not arrive", f"{missing:.0f}", goal="0", ok=False)


def many_rows(report: Report, side: dict[str, Any], mode: str, clients: int, seconds: float, repeats: int) -> None:
    runs = [watch(side, "ws", WS, clients, seconds) for _ in range(repeats)]
    what = f"{mode}, ws, {clients:,} clients"
    report.raw[what] = runs
    show_many(report, what, runs, report.raw["hub"])


def show_many(report: Report, what: str, runs: list[dict[str, float]], peer: list[dict[str, float]]) -> None:
    # Memory of the first run: later ones reuse what it left.
    mine, theirs = ({key: h.median(one[key] for one in side) for key in side[0]} for side in (runs, peer))
    missing = sum(one["missing"] + one["refused"] for one in runs)
    report.add(what, f"{mine['p50']:.2f} ms (p95 {mine['p95']:.1f})", f"{theirs['p50']:.2f} ms (p95 {theirs['p95']:.1f})",
               f"{mine['p50'] / theirs['p50']:.2f}", "<= 5 ms", mine["p50"] <= 5)  # fmt: skip
    report.add("  connections or events lost", f"{missing:.0f}", f"{sum(o['missing'] + o['refused'] for o in peer):.0f}",
               "", "0", missing == 0)  # fmt: skip
    memory, other = runs[0]["kib"], peer[0]["kib"]
    report.add("  memory a connection", f"{memory:.1f} KiB", f"{other:.1f} KiB", f"{memory / other:.2f}")
    report.add("  threads", f"{mine['threads']:.0f}", f"{theirs['threads']:.0f}")
    report.add("  CPU of a core", f"{mine['cpu']:.1%}", f"{theirs['cpu']:.1%}", f"{mine['cpu'] / theirs['cpu']:.2f}")


def watch(
    side: dict[str, Any], kind: str, path: str, clients: int, seconds: float, polling: int = 0
) -> dict[str, float]:
    """Connect, emit, count: what arrived, when, and what it cost the serving process."""
    process = side["process"]
    ids = side["ids"](min(clients, 50)) if "ids" in side else make_targets(side, min(clients, 50))
    resident, threads = process.memory_info().rss, process.num_threads()
    with ExitStack() as stack:
        watchers = stack.enter_context(crowd(side, kind, path, ids, clients))
        polled = stack.enter_context(crowd(side, "poll", POLL, ids, polling)) if polling else None
        time.sleep(1.0)
        grown, now_threads = process.memory_info().rss - resident, process.num_threads()
        before, began = sum(process.cpu_times()[:2]), time.time()
        events = side["emit"](side, ids, seconds)
        cpu = (sum(process.cpu_times()[:2]) - before) / (time.time() - began)
        time.sleep(2.2 if polling else 0.5)
        found = finish(watchers)
        asked = finish(polled) if polled else {"latency": []}
    expected = [len(range(n % len(ids), events, len(ids))) for n in range(clients)]
    missing = sum(want - got for want, got in zip(expected, found["counts"], strict=True))
    return {"p50": h.pct(found["latency"], 0.5), "p95": h.pct(found["latency"], 0.95), "missing": missing,
            "refused": clients - watchers[1] + found["lost"], "polled": h.pct(asked["latency"], 0.5), "cpu": cpu,
            "kib": grown / 1024 / clients, "threads": now_threads, "threads_before": threads, "events": events}  # fmt: skip


@contextmanager
def crowd(side: dict[str, Any], kind: str, path: str, ids: list[str], clients: int) -> Any:
    config = {"port": side["port"], "kind": kind, "path": path, "ids": ids, "clients": clients, "key": side.get("key")}
    command = [sys.executable, str(Path(__file__).with_name("live_client.py")), json.dumps(config)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        up = clients if kind == "poll" else json.loads(child.stdout.readline())["up"]  # type: ignore[union-attr]
        yield child, up, kind
    finally:
        child.kill()
        child.wait()


def finish(watchers: Any) -> Any:
    child, _, kind = watchers
    child.stdin.write("end\n")
    child.stdin.flush()
    if kind == "poll":
        child.stdout.readline()
    return json.loads(child.stdout.readline())


# -- our side --------------------------------------------------------------------------------------------------------


def call(side: dict[str, Any], path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{side['port']}/api/v1/utils/ai-tasks/{path}",
        json.dumps(body).encode() if body is not None else None,
        {"Authorization": f"Bearer {side['key']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def result_of(side: dict[str, Any], kind: str, config: dict[str, Any], patience: float) -> Any:
    task = call(side, "", {"task_type": kind, "task_config": config})["id"]
    time.sleep(max(0.0, patience - 30))
    found = h.wait_for(
        lambda: (t := call(side, f"{task}/")) and t["status"] in ("completed", "failed") and t, 30 + patience, 0.1
    )
    if found["status"] == "failed":
        raise RuntimeError(found["error_message"])
    return found["result_data"]


def make_targets(side: dict[str, Any], count: int) -> list[str]:
    return list(result_of(side, "bench.targets", {"count": count}, 10)["ids"])


def emit_task(side: dict[str, Any], ids: list[str], seconds: float) -> int:
    config = {"ids": ids, "rate": RATE, "seconds": seconds}
    return int(result_of(side, "bench.emit", config, seconds + 30)["events"])


# -- the peer --------------------------------------------------------------------------------------------------------


def hub_rows(report: Report, folder: Path, redis_port: int, seconds: float, repeats: int, many: int) -> None:
    script, port = h.peer_script("b2_progress.py"), h.free_port()
    env = {**os.environ, "B2_ROLE": "asgi", "B2_REDIS": str(redis_port), "PYTHONPATH": str(script.parent)}
    command = [sys.executable, "-m", "uvicorn", "b2_progress:asgi", "--port", str(port), "--log-level", "error"]
    with h.process(command, env, folder / "hub.log") as child:
        h.wait_http(f"http://127.0.0.1:{port}/ping", child, folder)
        serving = h.tree(child.pid)[-1]
        side = {"port": port, "process": serving, "ids": lambda n: list(range(n)), "emit": publish, "redis": redis_port}
        for n in (1, 200):
            runs = [watch(side, "ws", "/ws/hub/{id}", n, seconds) for _ in range(repeats)]
            report.raw[f"hub {n}"] = runs
            report.add(f"FastAPI hub, ws, {n} client{'s'[: n > 1]}", "", f"{h.median(r['p50'] for r in runs):.2f} ms")
        report.raw["hub"] = [watch(side, "ws", "/ws/hub/{id}", many, seconds) for _ in range(repeats)]


def publish(side: dict[str, Any], ids: list[Any], seconds: float) -> int:
    import redis

    client = redis.Redis(port=side["redis"], db=9)
    due, number = time.time(), 0
    end = due + seconds
    while time.time() < end:
        due += random.expovariate(RATE)
        time.sleep(max(0.0, due - time.time()))
        index = number % len(ids)
        client.publish(f"ev:{index}", f"@{index}:{number}:{time.time():.6f}#" + "x" * 150)
        number += 1
    return number

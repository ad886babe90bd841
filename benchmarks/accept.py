"""POST /api/v1/utils/ai-tasks/ with an API key at 16 connections: look-up, validation, row, event, wake-up, 201.

Ours as the product runs it: `brainstem up` (one process with pages, workers and scheduler) on SQLite, and
`brainstem web` (2 x 8) on Postgres and Redis. Peer: `peers/accept_api.py` under uvicorn with as many processes, on the
same tables. Nobody works the tasks off (two long ones keep our embedded workers busy), so that accepting is measured;
one more line shows ours with the work done in the same process.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

CONNECTIONS = 16
ROUTE = "/api/v1/utils/ai-tasks/"
DONE = """
done = function(s, l, r)
  io.write(string.format("RES %.1f %.3f %.3f %.3f %d %d\\n", s.requests / s.duration * 1e6, l:percentile(50) / 1e3,
    l:percentile(95) / 1e3, l:percentile(99) / 1e3,
    s.errors.status + s.errors.read + s.errors.timeout + s.errors.connect, s.requests))
end
"""


def run(report: Report, quick: bool) -> None:
    seconds, repeats = (2, 1) if quick else (6, 3)
    report.notes.append(f"wrk, {CONNECTIONS} connections, {seconds} s, medians of {repeats}; rate limit lifted")
    with ExitStack() as stack:
        folder = stack.enter_context(h.scratch())
        port = stack.enter_context(h.private_redis())
        with embedded(folder / "embedded") as sides:
            compare(report, "SQLite, one process", sides, seconds, repeats)
        with embedded(folder / "working") as sides:
            sides["ours"]["kind"] = "bench.noop"
            found = [shoot(sides["ours"], folder, seconds) for _ in range(repeats)]
            report.raw["working"] = found
            rate, p95 = (h.median(one[key] for one in found) for key in ("rate", "p95"))
            report.add("  with the tasks also run in it", f"{rate:.0f}/s, p95 {p95:.1f} ms")
        url = stack.enter_context(h.private_postgres())
        with distributed(folder / "distributed", url, port) as sides:
            compare(report, "Postgres and Redis, two processes", sides, seconds, repeats)


def compare(report: Report, what: str, sides: dict[str, Any], seconds: int, repeats: int) -> None:
    folder = sides["folder"]
    found: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
    for side in found:
        shoot(sides[side], folder, 1)  # warm
    for _ in range(repeats):
        for side, runs in found.items():
            runs.append(shoot(sides[side], folder, seconds))
    report.raw[what] = found
    mine, peer = ({key: h.median(one[key] for one in found[side]) for key in found[side][0]} for side in found)
    ratio = mine["rate"] / peer["rate"]
    report.add(what, f"{mine['rate']:.0f}/s", f"{peer['rate']:.0f}/s", f"{ratio:.2f}", ">= 0.8", ratio >= 0.8)
    report.add("  p95", f"{mine['p95']:.1f} ms", f"{peer['p95']:.1f} ms", f"{mine['p95'] / peer['p95']:.2f}",
               "<= 50 ms", mine["p95"] <= 50)  # fmt: skip
    report.add("  p50", f"{mine['p50']:.1f} ms", f"{peer['p50']:.1f} ms", f"{mine['p50'] / peer['p50']:.2f}")
    report.add("  CPU a request", f"{mine['cpu_us']:.0f} us", f"{peer['cpu_us']:.0f} us",
               f"{mine['cpu_us'] / peer['cpu_us']:.2f}")  # fmt: skip
    wrong = sum(one["errors"] for one in found["ours"])
    report.add("  answers that were not 201", f"{wrong:.0f}", f"{sum(one['errors'] for one in found['peer']):.0f}", "",
               "0", wrong == 0)  # fmt: skip


def shoot(side: dict[str, Any], folder: Path, seconds: int) -> dict[str, float]:
    body = json.dumps({"title": "bench", "task_type": side["kind"], "priority": "normal",
                       "task_config": {"prompt": "x" * 300, "n": 3}})  # fmt: skip
    script = folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = [[{body}]]\nwrk.headers['Content-Type'] = 'application/json'\n"
        f"wrk.headers['Authorization'] = 'Bearer {side['key']}'\n{DONE}"
    )
    before = h.cpu_seconds(side["pid"])
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script),
               f"http://127.0.0.1:{side['port']}{ROUTE}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    match = re.search(r"RES (.*)", done.stdout)
    if match is None:
        raise RuntimeError(f"wrk said {done.stdout[-300:]} {done.stderr[-300:]}")
    rate, p50, p95, p99, errors, requests = (float(part) for part in match[1].split())
    return {"rate": rate, "p50": p50, "p95": p95, "p99": p99, "errors": errors, "requests": requests,
            "cpu_us": (h.cpu_seconds(side["pid"]) - before) / max(1, requests) * 1e6}  # fmt: skip


@contextmanager
def embedded(folder: Path) -> Any:
    homes = [folder / "ours", folder / "peer"]
    secrets = []
    for home in homes:
        home.mkdir(parents=True)
        rt = h.open_runtime(h.our_env(home))
        secrets.append(h.api_key(rt))
        rt.close()
    peer_env = {"ACCEPT_DB": f"sqlite:///{homes[1] / 'brainstem.db'}"}
    env = h.our_env(homes[0], AUTH_REQUIRED="1")
    with h.server(env, homes[0]) as (child, port), uvicorn(peer_env, homes[1], 1) as (peer, peer_port):
        yield {
            "folder": folder,
            "ours": side(child.pid, port, secrets[0]),
            "peer": side(peer.pid, peer_port, secrets[1]),
        }


@contextmanager
def distributed(folder: Path, url: str, redis_port: int) -> Any:
    homes = [folder / "ours", folder / "peer"]
    with h.private_postgres() as peer_url:
        secrets = []
        for home, database in zip(homes, (url, peer_url), strict=True):
            home.mkdir(parents=True)
            rt = h.open_runtime(h.distributed_env(home, database, redis_port))
            secrets.append(h.api_key(rt))
            rt.close()
        env = h.distributed_env(homes[0], url, redis_port, AUTH_REQUIRED="1")
        peer_env = {"ACCEPT_DB": peer_url.replace("postgresql://", "postgresql+psycopg://"),
                    "ACCEPT_REDIS": str(redis_port)}  # fmt: skip
        with h.server(env, homes[0], "web") as (child, port), uvicorn(peer_env, homes[1], 2) as (peer, peer_port):
            yield {"folder": folder, "ours": side(child.pid, port, secrets[0]),
                   "peer": side(peer.pid, peer_port, secrets[1])}  # fmt: skip


def side(pid: int, port: int, key: str) -> dict[str, Any]:
    return {"pid": pid, "port": port, "key": key, "kind": "bench.hold"}


@contextmanager
def uvicorn(env: dict[str, str], folder: Path, workers: int) -> Any:
    port = h.free_port()
    command = [sys.executable, "-m", "uvicorn", "benchmarks.peers.accept_api:app", "--port", str(port), "--log-level",
               "error", "--no-access-log", "--workers", str(workers)]  # fmt: skip
    with h.process(command, {**h.our_env(folder), **env}, folder / "uvicorn.log") as child:
        h.wait_http(f"http://127.0.0.1:{port}/api/v1/ready", child, folder)
        yield child, port

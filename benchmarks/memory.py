"""Memory of the idle embedded server: the serving process, and the whole tree of processes (shared pages once)."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path

from benchmarks import harness as h
from benchmarks.harness import Report


def run(report: Report, quick: bool) -> None:
    found = [once(3.0 if quick else 8.0) for _ in range(1 if quick else 3)]
    report.raw["runs"] = found
    rss, pss, threads = (h.median(one[key] for one in found) for key in ("rss", "pss", "threads"))
    report.add("serving process, resident", f"{rss:.0f} MB", goal="<= 120 MB", ok=rss <= 120)
    report.add("whole tree, shared pages counted once", f"{pss:.0f} MB")
    report.add("threads", f"{threads:.0f}")
    report.notes.append("after one page and one API request; MB is 2^20 bytes")


def once(idle: float) -> dict[str, float]:
    with h.scratch() as folder, h.server(h.our_env(folder), folder) as (child, port):
        for path in ("/", "/api/v1/task-kinds"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).read()
        time.sleep(idle)
        everyone = h.tree(child.pid)
        serving = max(everyone, key=lambda one: one.num_threads())
        return {"rss": serving.memory_info().rss / 2**20, "threads": serving.num_threads(),
                "pss": sum(_pss(one.pid) for one in everyone) / 1024, "processes": len(everyone)}  # fmt: skip


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0

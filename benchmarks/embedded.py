"""The embedded process of a bench: everything `brainstem up` holds besides the pages, driven from inside.

python -m benchmarks.embedded latency ROUNDS | throughput JOBS
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
from typing import Any

from benchmarks import harness as h


def main() -> None:
    rt = h.open_runtime(dict(os.environ))
    from webapp import serve

    beside = serve.Embedded(rt)
    answer = {"latency": latency, "throughput": throughput}[sys.argv[1]](rt, beside, int(sys.argv[2]))
    print(json.dumps(answer), flush=True)
    os._exit(0)


def latency(rt: Any, beside: Any, rounds: int) -> list[float]:
    from benchmarks.kinds import measure

    beside.start()
    time.sleep(2)
    out = []
    for n in range(rounds + 3):
        time.sleep(random.uniform(0.02, 0.2))
        measure().delete("lat")
        start(rt, {"t": time.time()})
        found = float(measure().blpop("lat", 20)[1].split()[0])
        if n >= 3:
            out.append(found)
    return out


def throughput(rt: Any, beside: Any, jobs: int) -> dict[str, float]:
    """`jobs` are queued before the workers start, as on the peers' side."""
    from benchmarks.kinds import measure

    began = time.perf_counter()
    for _ in range(jobs):
        start(rt, {"n": jobs})
    enqueue = (time.perf_counter() - began) / jobs
    used = resource.getrusage(resource.RUSAGE_SELF)
    beside.start()
    return {**finish(rt, jobs, measure()), "enqueue_us": enqueue * 1e6, "cpu": _cpu_since(used)}


def finish(rt: Any, jobs: int, channel: Any) -> dict[str, float]:
    """Wait for the last job and for its row; jobs a second from the first claim to the last row that says done."""
    if channel.blpop("fin", 180) is None:
        raise TimeoutError("the jobs did not end")
    sql = "SELECT count(*) FROM tasks WHERE kind = 'bench.stamp' AND status = 'completed'"
    while True:
        with rt.engine.connect().execution_options(readonly=True) as connection:
            if connection.exec_driver_sql(sql).scalar() >= jobs:
                break
        time.sleep(0.001)
    end = time.time()
    return {"jobs_per_second": jobs / (end - first_start(rt))}


def first_start(rt: Any) -> float:
    from sqlalchemy import func, select

    from webapp.tasks.models import Task

    with rt.unit(write=False) as db:
        found = db.scalar(select(func.min(Task.started_at)).where(Task.kind == "bench.stamp"))
    return float(found.timestamp())


def start(rt: Any, params: dict[str, Any]) -> None:
    from webapp.tasks import service

    with rt.unit() as db:
        service.start(h.local_ctx(rt, db), "bench.stamp", params)


def _cpu_since(before: resource.struct_rusage) -> float:
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()

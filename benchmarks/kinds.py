"""Task kinds of the benches, loaded as an operator's plugins (BRAINSTEM_PLUGINS)."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from webapp.core.db import NOW_SQL, new_id
from webapp.tasks import store
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun
from webapp.tasks.store import Event


@lru_cache(maxsize=1)
def measure() -> Any:
    """The measuring channel, the same as the peers': one Redis database that nothing else uses."""
    import redis

    return redis.Redis(port=int(os.environ["BENCH_REDIS"]), db=6, socket_timeout=300)


class StampParams(BaseModel):
    t: float = 0.0
    n: int = 0


def stamp(run: TaskRun) -> dict[str, Any]:
    """The peers' job body: one INCR in a throughput run, else the time from enqueue to now."""
    now = time.time()
    count = run.params.get("n", 0)
    if count:
        k = measure().incr("k")
        if k == 1:
            measure().set("t0", now)
        if k == count:
            measure().rpush("fin", time.time())
    else:
        measure().rpush("lat", f"{now - run.params['t']:.7f} {now:.7f}")
    return {}


STAMP = TaskKind("bench.stamp", "Stamp", "interactive", StampParams, stamp, max_attempts=1)


class HoldParams(BaseModel):
    prompt: str = ""
    n: int = 0


def hold(run: TaskRun) -> dict[str, Any]:
    """Keeps a worker's thread busy, so that accepting is measured without the work itself."""
    while not run.stopped():
        time.sleep(0.2)
    run.check()
    return {}


HOLD = TaskKind("bench.hold", "Hold", "interactive", HoldParams, hold, max_attempts=1)


NOOP = TaskKind("bench.noop", "No-op", "interactive", HoldParams, lambda run: {}, max_attempts=1)


class PauseParams(BaseModel):
    seconds: float = 0.25


def pause(run: TaskRun) -> dict[str, Any]:
    """Work that waits for somebody else, as a page or a model server: hardly any processor."""
    time.sleep(run.params["seconds"])
    return {"pid": os.getpid()}


PAUSE = TaskKind("bench.pause", "Pause", "interactive", PauseParams, pause, max_attempts=1)


class TargetParams(BaseModel):
    count: int = 1


def targets(run: TaskRun) -> dict[str, Any]:
    """Rows of running tasks of the same owner that nobody runs: what `emit` writes to."""
    now = NOW_SQL[run.rt.engine.dialect.name]
    ids = []
    for _ in range(run.params["count"]):
        values = {"id": new_id(), "kind": "bench.targets", "title": "target", "status": "running", "queue": "workflows",
                  "rank": 2, "progress": 0, "message": "Started", "params": {}, "attempt": 1, "max_attempts": 1,
                  "crashes": 0, "fence": 1, "time_limit": 7200.0, "cancel_requested": False,
                  "owner_id": run.owner_id}  # fmt: skip
        with run.rt.unit() as db:
            connection = db.connection()
            store.start(connection, values, Event("status", "Started"))
            store.run_sql(
                connection, f"UPDATE tasks SET lease_until = {now} + 7200 WHERE id = :id", {"id": values["id"]}
            )
        ids.append(values["id"])
    return {"ids": ids}


TARGETS = TaskKind("bench.targets", "Targets", "interactive", TargetParams, targets, max_attempts=1)


class EmitParams(BaseModel):
    ids: list[str]
    rate: float = 20.0
    seconds: float = 5.0


def emit(run: TaskRun) -> dict[str, Any]:
    """Progress events at `rate` a second over the tasks `ids`, by the call a runner's own progress makes.

    The message carries `@task:number:time#`, stamped before the row is written.
    """
    import random

    ids, due, number = run.params["ids"], time.time(), 0
    end = due + run.params["seconds"]
    late = 0.0
    while time.time() < end and not run.stopped():
        due += random.expovariate(run.params["rate"])
        time.sleep(max(0.0, due - time.time()))
        late = max(late, time.time() - due)
        index = number % len(ids)
        text = f"@{index}:{number}:{time.time():.6f}#" + "x" * 150
        row = store.advance(
            run.rt, ids[index], {"progress": number % 100, "message": text}, Event("progress", text), fence=1
        )
        if row is None:
            raise RuntimeError("a target is gone")
        run.rt.ring("task", row.id, row.seq, row.owner_id)
        number += 1
    return {"events": number, "late": late}


EMIT = TaskKind("bench.emit", "Emit", "interactive", EmitParams, emit, max_attempts=1)

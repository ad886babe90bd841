"""Task kinds that only drills start: work that counts its effects, sleeps, loops, crashes, drips.

Registered in the drilled processes by BRAINSTEM_PLUGINS. Two records of what really happened:

- `DRILL_LOG`, a file with one appended line for each *execution* of a unit (so doubles are visible), and
- the table `drill_effects`, keyed by (task, step), as a well-made runner writes its effects (design rule 9).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from webapp.core.errors import AppError, Unavailable
from webapp.core.sandbox import run_in_child
from webapp.tasks import store
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

PREFIX = "drill_"


def did(run: TaskRun, what: str) -> None:
    """Append a line to the log of executions; one write of a few bytes is atomic."""
    path = os.environ.get("DRILL_LOG")
    if path:
        line = f"{run.id} {what} {run.attempt} {run.fence} {os.getpid()} {time.time():.6f}\n"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def effect(run: TaskRun, step: str) -> None:
    """An effect that can be had once: its key is (task, step)."""
    sql = "INSERT INTO drill_effects (task_id, step) VALUES (:task_id, :step) ON CONFLICT DO NOTHING"
    with run.rt.engine.begin() as connection:
        store.run_sql(connection, sql, {"task_id": run.id, "step": step})


# -- well-made work --------------------------------------------------------------------------------------------------


class Steps(BaseModel):
    steps: int = 1
    pause: float = 0.0  # seconds of each step
    effects: bool = True
    checkpoints: bool = True
    tell: bool = True
    result_kb: int = 0


def steps(run: TaskRun) -> dict[str, Any]:
    """Steps with progress, effects and a checkpoint after each, as a crawl or an embedding run is made."""
    params = Steps(**run.params)
    done = run.saved("done", 0)
    for step in range(done, params.steps):
        did(run, f"step{step}")
        _sleep(run, params.pause)
        if params.effects:
            effect(run, f"step{step}")
        if params.tell:
            run.progress(100.0 * (step + 1) / params.steps, f"step {step + 1} of {params.steps}")
        if params.checkpoints:
            run.save("done", step + 1)
    run.check()
    return {"steps": params.steps, "text": "x" * (params.result_kb * 1024)}


def _sleep(run: TaskRun, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        run.check()
        select.select((), (), (), min(0.02, left))  # libfaketime breaks time.sleep when it turns a clock back


class Generate(BaseModel):
    seconds: float = 60.0
    every: float = 0.02


def generate(run: TaskRun) -> dict[str, Any]:
    """Tokens: a line of the log for each, until the time is over."""
    params = Generate(**run.params)
    until, number = time.monotonic() + params.seconds, 0
    did(run, "generate")
    while time.monotonic() < until:
        run.check()
        run.log(f"token {number}", fence=run.fence)
        number += 1
        time.sleep(params.every)
    return {"tokens": number}


class Events(BaseModel):
    count: int = 100
    every: float = 0.0
    bytes: int = 10


def events(run: TaskRun) -> dict[str, Any]:
    """So many events, each with its number."""
    params = Events(**run.params)
    for number in range(run.saved("sent", 0), params.count):
        run.log(f"event {number} " + "x" * params.bytes)
        if params.every:
            time.sleep(params.every)
        run.check()
    return {"events": params.count}


# -- work that fails -------------------------------------------------------------------------------------------------


class Fail(BaseModel):
    times: int = 1000  # attempts that fail
    how: str = "bug"  # bug | permanent | retryable
    pause: float = 0.0
    retry_after: int | None = None


def fail(run: TaskRun) -> dict[str, Any]:
    params = Fail(**run.params)
    did(run, "try")
    _sleep(run, params.pause)
    if run.attempt <= params.times:
        if params.how == "bug":
            raise RuntimeError(f"drill: attempt {run.attempt} fails")
        if params.how == "retryable":
            raise Unavailable("drill: not now", retry_after=params.retry_after)
        raise AppError("drill: never", code="drill_permanent")
    effect(run, "try")
    return {"attempt": run.attempt}


class Crash(BaseModel):
    how: str = "kill"  # kill | grow | child
    after: float = 0.05


def crash(run: TaskRun) -> dict[str, Any]:
    """Poison: the process that runs it dies (as the kernel's OOM killer does it), or only a child of it."""
    params = Crash(**run.params)
    did(run, "crash")
    if params.how == "child":
        return {"grown": run_in_child("tests.drills.kinds:grow", 4096, timeout=30.0, memory_bytes=512 * 2**20)}
    if params.how == "grow":
        grow(256)
    _sleep(run, params.after)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def grow(megabytes: int) -> int:
    held = [bytearray(2**20) for _ in range(megabytes)]
    return len(held)


# -- work that does not stop -----------------------------------------------------------------------------------------


class Stuck(BaseModel):
    seconds: float = 60.0
    how: str = "loop"  # loop | cthread | cgil | child | sleep


def stuck(run: TaskRun) -> dict[str, Any]:
    params = Stuck(**run.params)
    did(run, params.how)
    if params.how == "loop":
        python_loop(params.seconds)
    elif params.how == "cthread":
        c_sleep(params.seconds)
    elif params.how == "cgil":
        ctypes.PyDLL(None).usleep(int(params.seconds * 1e6))
    elif params.how == "child":
        run_in_child(
            "tests.drills.kinds:c_sleep", params.seconds, timeout=max(0.1, run.remaining()), cancelled=run.stopped
        )
    return {"how": params.how}


def python_loop(seconds: float) -> int:
    """Pure Python that never looks at its signals."""
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        number += 1
    return number


def c_sleep(seconds: float) -> float:
    """One C call that nothing in Python can interrupt (it lets go of the GIL)."""
    libc = ctypes.CDLL(None)
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        libc.usleep(min(int(left * 1e6) + 1, 60_000_000))
    return seconds


class Drip(BaseModel):
    url: str
    timeout: float = 600.0


def drip(run: TaskRun) -> dict[str, Any]:
    """A fetch from a server that sends a byte now and then."""
    params = Drip(**run.params)
    did(run, "fetch")
    got = run.fetch(params.url, timeout=params.timeout)
    return {"bytes": len(got.body)}


# -- families --------------------------------------------------------------------------------------------------------


class Fan(BaseModel):
    children: int = 100
    pause: float = 0.0
    kind: str = "drill_steps"
    slow_start: float = 0.0  # seconds between two children


def fan(run: TaskRun) -> dict[str, Any]:
    """Starts children, leaves the worker, and adds up their results when all are over."""
    params = Fan(**run.params)
    for number in range(params.children):
        run.start_child(f"part{number:03d}", params.kind, {"steps": 1, "pause": params.pause})
        if params.slow_start:
            _sleep(run, params.slow_start)
    children = run.wait_for_children()
    did(run, "join")
    effect(run, "join")
    return {"completed": sum(child["status"] == "completed" for child in children.values()), "of": len(children)}


def _kind(
    name: str, queue: str, params: type[BaseModel], run: Callable[[TaskRun], dict[str, Any]], **more: Any
) -> TaskKind:
    return TaskKind(PREFIX + name, f"Drill: {name}", queue, params, run, **more)


def _soon(attempt: int) -> float:
    return 1.0


def _in_three(attempt: int) -> float:
    return 3.0


KINDS = {
    kind.name: kind
    for kind in (
        _kind("steps", "workflows", Steps, steps),
        _kind("steps_inference", "inference", Steps, steps),
        _kind("steps_crawling", "crawling", Steps, steps),
        _kind("steps_embedding", "embedding", Steps, steps),
        _kind("steps_interactive", "interactive", Steps, steps),
        _kind("generate", "inference", Generate, generate),
        _kind("events", "workflows", Events, events),
        _kind("fail", "crawling", Fail, fail, backoff=_soon),
        _kind("fail_later", "crawling", Fail, fail, backoff=_in_three),
        _kind("crash", "crawling", Crash, crash),
        _kind("stuck", "inference", Stuck, stuck),
        _kind("stuck_2s", "inference", Stuck, stuck, time_limit=2.0),
        _kind("drip", "crawling", Drip, drip),
        _kind("drip_2s", "crawling", Drip, drip, time_limit=2.0),
        _kind("fan", "workflows", Fan, fan),
    )
}
globals().update({name.upper(): kind for name, kind in KINDS.items()})
PLUGINS = ",".join(f"{name}=tests.drills.kinds:{name.upper()}" for name in KINDS)

"""Kinds of work that the tests of live connections and pages start; known to the server by BRAINSTEM_PLUGINS."""

from __future__ import annotations

import time
from typing import Any

from pydantic import BaseModel

from webapp.core.errors import AppError
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class Params(BaseModel):
    steps: int = 3
    pause: float = 0.0  # seconds between two steps
    burst: int = 0  # log lines at once
    levels: bool = False  # a line of each level
    fail: str = ""
    size: int = 0  # characters of each log line


def run(task: TaskRun) -> dict[str, Any]:
    params = Params(**task.params)
    for level in ("debug", "info", "warning", "error") if params.levels else ():
        task.log(f"a line of level {level}", level)
    for number in range(params.burst):
        task.log(f"line {number} " + "x" * params.size)
    for step in range(task.saved("done", 0), params.steps):
        until = time.monotonic() + params.pause
        while time.monotonic() < until:
            task.check()
            time.sleep(0.02)
        # With data it is written at once: each step is an event.
        task.progress(100 * (step + 1) / params.steps, f"step {step + 1} of {params.steps}", data={"step": step + 1})
        task.save("done", step + 1)
    if params.fail:
        raise AppError(params.fail, code="test_failure")
    return {"steps": params.steps}


STEPS = TaskKind("live_steps", "Steps", "workflows", Params, run)
PLUGINS = "live_steps=tests.live.kinds:STEPS"

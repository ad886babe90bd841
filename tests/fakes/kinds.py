"""Small task kinds for tests. What a task does is a function that the test puts into `scripts`.

scripts["twice"] = lambda run: {"value": run.params["value"] * 2}
lab.start(alice, script="twice", value=3)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.core.errors import Forbidden
from webapp.tasks.kinds import TaskKind, kinds
from webapp.tasks.run import TaskRun

scripts: dict[str, Callable[[TaskRun], Any]] = {}


class Killed(BaseException):
    """Ends a run as SIGKILL would: nothing catches it, nothing is recorded."""


class Params(BaseModel):
    model_config = ConfigDict(extra="forbid")
    script: str = "ok"
    value: Any = None
    note: str | None = Field(None, max_length=20)


def _run(run: TaskRun) -> Any:
    return scripts[run.params["script"]](run)


def _prepare(ctx: Any, params: dict[str, Any]) -> None:
    if params.get("note") == "refuse":
        raise Forbidden("not this one")


def _kind(name: str, **options: Any) -> TaskKind:
    given = {"max_attempts": 3, "backoff": lambda attempt: 0.0, "prepare": _prepare, "queue": "inference", **options}
    return TaskKind(name=f"test.{name}", label=name.title(), params=Params, run=_run, **given)


SCRIPT = _kind("script", examples=[{"script": "ok"}])
JITTER = _kind("jitter", backoff=None)
SLOWLY = _kind("slowly", backoff=lambda attempt: 30.0 * attempt)
BRIEF = _kind("brief", time_limit=0.25)
CRAWL = _kind("crawl", queue="crawling")


def register() -> None:
    """Make them known, the way an operator adds a plugin."""
    names = ("script", "jitter", "slowly", "brief", "crawl")
    kinds.add_setting(tuple(f"test.{name}=tests.fakes.kinds:{name.upper()}" for name in names))
    scripts.clear()
    scripts["ok"] = lambda run: {"value": run.params.get("value")}

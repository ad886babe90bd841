"""A task as templates see it, and its fragments: one function for first paint, poll and push."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from flask import Flask, g, has_request_context
from sqlalchemy import inspect

from webapp.core.db import utcnow
from webapp.core.errors import NotFound
from webapp.tasks.kinds import AS_JSON, kinds, known
from webapp.tasks.models import Task

STALLED_AFTER = 30.0  # seconds; app.js keeps the same promise between two pushes


@dataclass(frozen=True)
class TaskView:
    """Everything a template may read of a task; nothing of it asks the database."""

    id: str
    kind: str
    kind_label: str
    title: str
    status: str
    progress: int
    message: str
    priority: str
    queue: str
    attempt: int
    max_attempts: int
    error: str | None
    error_code: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None
    updated_at: datetime
    elapsed_seconds: float | None
    seq: int
    is_final: bool
    can_cancel: bool
    can_retry: bool
    can_delete: bool
    cancel_requested: bool
    params: dict[str, Any]
    owner_name: str | None = None
    silent_seconds: float | None = None  # running: since it last said anything
    worker_alive: bool = True  # running: its worker renews the lease in time
    result_view: str = ""  # the template of its result; without one it is shown as JSON
    live_view: str = ""  # the template of what comes of it while it runs
    downloads: tuple[tuple[str, str], ...] = ()  # (format, label)

    @property
    def is_stalled(self) -> bool:
        """Running, and longer without a word than a reader should be left to believe in it."""
        return self.silent_seconds is not None and self.silent_seconds >= STALLED_AFTER

    @property
    def seconds_left(self) -> float | None:
        """What is left at the pace so far; None while that would be a guess."""
        if self.status != "running" or self.progress < 5 or not self.elapsed_seconds or self.is_stalled:
            return None
        return self.elapsed_seconds * (100 - self.progress) / self.progress


def view(task: Task, owner_name: str | None = None) -> TaskView:
    loaded = isinstance(task, Task) and "params" not in inspect(task).unloaded  # a push reads no large columns
    return TaskView(
        id=task.id,
        kind=task.kind,
        kind_label=kind_label(task.kind),
        title=task.title,
        status=task.status,
        progress=task.progress,
        message=task.message,
        priority=task.priority,
        queue=task.queue,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        error=task.error,
        error_code=task.error_code,
        created_at=task.created_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        retry_at=datetime.fromtimestamp(task.due_at, UTC) if task.due_at else None,
        updated_at=task.updated_at,
        elapsed_seconds=_elapsed(task),
        seq=task.seq,
        is_final=task.is_final,
        can_cancel=task.can_cancel,
        can_retry=task.can_retry,
        can_delete=task.can_delete,
        cancel_requested=task.cancel_requested,
        params=task.params if loaded else {},
        owner_name=owner_name,
        silent_seconds=_silent(task),
        worker_alive=task.lease_until is None or task.lease_until > time.time(),
        result_view=_shown_by(task.kind)[0],
        downloads=_shown_by(task.kind)[1],
        live_view=_shown_by(task.kind)[2],
    )


def _silent(task: Task) -> float | None:
    return max(0.0, (utcnow() - task.updated_at).total_seconds()) if task.status == "running" else None


def _elapsed(task: Task) -> float | None:
    if task.started_at is None:
        return None
    return max(0.0, ((task.finished_at or utcnow()) - task.started_at).total_seconds())


@lru_cache(maxsize=256)
def kind_label(name: str) -> str:
    try:
        return kinds.get(name).label
    except NotFound:
        return name


@lru_cache(maxsize=256)
def _shown_by(name: str) -> tuple[str, tuple[tuple[str, str], ...], str]:
    kind = known(name)
    if kind is None:
        return "", (("json", AS_JSON.label),), ""
    return kind.view, tuple((fmt, made.label or fmt.upper()) for fmt, made in kind.ways_out().items()), kind.live


Drawn = tuple[str, str, dict[str, Any]]  # element id, template, its context


def fragment_drawer(app: Flask) -> Callable[[Task, str], tuple[str, str]]:
    """`draw(task, view) -> (element id, html)`, usable by the pump thread, which has no request.

    Areas add views of theirs to `app.extensions["fragments"]`: name -> `make(rt, task) -> Drawn`.
    The token of forms is left empty there: htmx sends the page's own in a header.
    """
    more: dict[str, Callable[[Any, Task], Drawn]] = app.extensions.setdefault("fragments", {})

    def draw(task: Task, name: str) -> tuple[str, str]:
        if has_request_context():
            return _drawn(task, name, {})
        with app.test_request_context("/"):
            g.pushed = True
            context: dict[str, Any] = {}
            app.update_template_context(context)
            return _drawn(task, name, context | {"csrf_token": lambda: ""})

    def _drawn(task: Task, name: str, around: dict[str, Any]) -> tuple[str, str]:
        rt = app.extensions["runtime"]
        ident, file, shown = more[name](rt, task) if name in more else _own(task, name)
        return ident, app.jinja_env.get_template(file).render(around | shown)

    return draw


def _own(task: Task, name: str) -> Drawn:
    return f"task-{task.id}-{name}", f"tasks/_{name}.html", {"task": view(task)}

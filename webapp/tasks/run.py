"""What a runner holds in its hands: progress, log, checkpoints, deadline, cancellation, children, fetches.

Every write carries the fence of this claim. When it changed, TaskLost is raised and nothing was written.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.errors import TaskCancelled, TaskInterrupted, TaskLost, TaskParked, TaskTimedOut
from webapp.core.failpoints import failpoint
from webapp.tasks import store
from webapp.tasks.models import Task
from webapp.tasks.store import Event, Row

if TYPE_CHECKING:
    from webapp.core.http import Fetched
    from webapp.runtime import Runtime

log = logging.getLogger(__name__)

# Progress rows closer together than this are gathered; people cannot see more and the log need not hold it.
PROGRESS_EVERY = 0.1
TELL_PARENT_EVERY = 0.5
SPAN = "span"  # checkpoint of a whole: [from, to], the percent its parts stand for


class WaitForChildren(TaskInterrupted):
    """The runner leaves; it is started again when the last child is final."""


class TaskRun:
    """One claim of one task. Thread-safe flags, single-threaded writes."""

    def __init__(self, rt: Runtime, row: Row, time_limit: float) -> None:
        self.rt = rt
        self.id: str = row.id
        self.kind: str = row.kind
        self.title: str = row.title
        self.owner_id: str | None = row.owner_id
        self.params: dict[str, Any] = row.params or {}
        self.attempt: int = row.attempt
        self.max_attempts: int = row.max_attempts
        self.crashes: int = row.crashes
        self.fence: int = row.fence
        self.queue: str = row.queue
        self.request_id: str | None = row.request_id
        self.parent_id: str | None = row.parent_id
        self.time_limit = self.soft_limit = time_limit
        self.started = time.monotonic()
        self.thread_id = threading.get_ident()
        self._checkpoint: dict[str, Any] = row.checkpoint or {}
        self._progress: int = row.progress
        self._written_at = 0.0
        self._pending: tuple[int, str, dict[str, Any] | None] | None = None
        self._told_parent_at = 0.0
        # Set by other threads.
        self.cancel_requested = bool(row.cancel_requested)
        self.cancel_seen: float | None = None  # monotonic; the watchdog counts from here
        self.lost = False
        self.park_requested = False

    # -- signals -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Call between units of work. Raises what ends the run: cancelled, timed out, lost, parked."""
        if self.lost:
            raise TaskLost("another worker owns this task")
        if self.cancel_requested:
            raise TaskCancelled("cancelled")
        if self.remaining() <= 0:
            raise TaskTimedOut(f"took longer than {self.soft_limit:g} s")
        if self.park_requested:
            raise TaskParked("the worker is shutting down")

    def ask_to_stop(self) -> None:
        """Somebody wants it cancelled (called by other threads)."""
        self.cancel_requested = True
        if self.cancel_seen is None:
            self.cancel_seen = time.monotonic()

    def check_lost_only(self) -> None:
        """At the end of a run: finished work is recorded even if somebody just asked to cancel it."""
        if self.lost:
            raise TaskLost("another worker owns this task")

    def stopped(self) -> bool:
        """For code that polls: True when `check()` would raise."""
        return self.lost or self.cancel_requested or self.park_requested or self.remaining() <= 0

    def remaining(self) -> float:
        """Seconds left until `check()` ends the run: the soft limit, before the hard one that needs no looking."""
        return self.soft_limit - (time.monotonic() - self.started)

    def overtime(self) -> float:
        """Seconds past the hard limit; negative before it."""
        return time.monotonic() - self.started - self.time_limit

    # -- telling -------------------------------------------------------------------------------------------------

    def progress(self, percent: float, message: str = "", *, data: dict[str, Any] | None = None) -> None:
        """Say how far (0-100, never backwards) and what is being done; checks the signals too."""
        self.check()
        value = max(self._progress, min(99, int(percent)))
        if time.monotonic() - self._written_at < PROGRESS_EVERY and data is None:
            self._pending = (value, message, data)
            return
        self._write_progress(value, message, data)

    def quiet_for(self) -> float:
        """Seconds since readers were last told anything."""
        return time.monotonic() - self._written_at

    def log(self, message: str, level: str = "info", **data: Any) -> None:
        """A line in the task's log."""
        self._advance({}, Event("info", store.clean_text(message)[:2000], level, data or None))

    def flush(self) -> None:
        if self._pending is not None:
            self._write_progress(*self._pending)

    def _write_progress(self, value: int, message: str, data: dict[str, Any] | None) -> None:
        self._pending = None
        self._written_at = time.monotonic()
        self._progress = value
        message = store.clean_text(message)[:500]
        sets: dict[str, Any] = {"progress": value}
        if message:
            sets["message"] = message
        self._advance(sets, Event("progress", message or None, data=data))
        if self.parent_id and message and self._written_at - self._told_parent_at >= TELL_PARENT_EVERY:
            self._told_parent_at = self._written_at
            tell_waiting(self.rt, self.parent_id, value, message)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def saved(self, key: str, default: Any = None) -> Any:
        """What `save` kept under `key`, also from an earlier claim of this task."""
        return self._checkpoint.get(key, default)

    def save(self, key: str, value: Any) -> None:
        """Keep a JSON value with the task, so that a killed run repeats this unit and not the whole."""
        self._checkpoint[key] = value
        self._advance({"checkpoint": self._checkpoint}, None)

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """The saved value of `key`, or `work()` saved under it."""
        if key not in self._checkpoint:
            self.check()
            self.save(key, work())
        return self._checkpoint[key]

    @contextmanager
    def unit(self) -> Iterator[Session]:
        """A short transaction for rows of an area that only the owner of this task can commit (rule 4: fencing)."""
        with self.rt.unit() as db:
            mine = select(Task.id).where(Task.id == self.id, Task.fence == self.fence, Task.status == "running")
            if db.scalar(mine.with_for_update(read=True)) is None:
                self.lost = True
                raise TaskLost("another worker owns this task")
            yield db

    # -- children ------------------------------------------------------------------------------------------------

    def start_child(self, step: str, kind: str, params: dict[str, Any], title: str = "") -> str:
        """Start (once, however often this runs) a child task for `step`; its id."""
        from webapp.tasks import service

        return service.start_child(self, step, kind, params, title)

    def wait_for_children(self) -> dict[str, dict[str, Any]]:
        """step -> {id, status, result, error} when all are final; else leaves the worker until they are."""
        from webapp.tasks import service

        children = service.children_of(self.rt, self.id)
        if any(not child["final"] for child in children.values()):
            left = sum(not child["final"] for child in children.values())
            raise WaitForChildren(f"waiting for {left} {'part' if left == 1 else 'parts'}")
        return children

    # -- the way out ---------------------------------------------------------------------------------------------

    def fetch(self, url: str, *, timeout: float = 30.0, **options: Any) -> Fetched:
        """`safe_fetch` under this task's deadline and cancellation."""
        from webapp.core.http import safe_fetch
        from webapp.tasks.service import outbound_policy

        limit = max(0.1, min(timeout, self.remaining()))
        return safe_fetch(
            url, policy=outbound_policy(self.rt.settings), timeout=limit, cancelled=self.stopped, **options
        )

    # ------------------------------------------------------------------------------------------------------------

    def _advance(self, sets: dict[str, Any], event: Event | None) -> None:
        row = persist(lambda: store.advance(self.rt, self.id, sets, event, fence=self.fence))
        if row is None:
            self.lost = True
            raise TaskLost("another worker owns this task")
        failpoint(f"wrote_{self.kind}")
        if row.cancel_requested:
            self.ask_to_stop()
        if event is not None:
            self.rt.ring("task", self.id, row.seq, self.owner_id)


def tell_waiting(rt: Runtime, task_id: str, percent: float, message: str) -> None:
    """What a part says, told for the whole that waits for it, if the whole saved which percent its parts stand for.

    A whole that is itself a part tells it on.
    """
    with rt.unit(write=False) as db:
        row = db.execute(
            select(Task.checkpoint, Task.progress).where(Task.id == task_id, Task.status == "paused")
        ).first()
    span = (row.checkpoint or {}).get(SPAN) if row else None
    if row is None or not span:
        return
    value = max(row.progress, min(99, int(span[0] + (span[1] - span[0]) * percent / 100)))
    sets = {"progress": value, "message": message}
    told = persist(lambda: store.advance(rt, task_id, sets, Event("progress", message), statuses=("paused",)))
    if told is not None:
        rt.ring("task", told.id, told.seq, told.owner_id)
        if told.parent_id:
            tell_waiting(rt, told.parent_id, value, message)


def persist(write: Callable[[], Any], patience: float = 60.0) -> Any:
    """Do a worker's write, waiting out a database that restarts (F17). Raises what the last try raised."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    deadline = time.monotonic() + patience
    pause = 0.1
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError, PoolTimeout) as exc:
            if time.monotonic() > deadline:
                raise
            log.warning("database did not take a write (%s); trying again", type(exc).__name__)
        except DBAPIError as exc:
            if not exc.connection_invalidated or time.monotonic() > deadline:
                raise
        time.sleep(pause)
        pause = min(2.0, pause * 2)

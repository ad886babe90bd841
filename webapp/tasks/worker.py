"""The worker process's own life: which tasks it holds, its beat, its watchdog, its shutdown.

One `WorkerHost` per process. Its beat thread renews leases with the database's clock, hears cancel bells, and
enforces the second and third layer of time limits (the first is `TaskRun.check()`): an exception raised in the
task's thread, and, when that does not help because the thread sits in C code, the end of the process. Siblings are
parked first, so only the guilty task pays.
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from webapp.core.bus import Bell
from webapp.core.db import NOW_SQL, new_id
from webapp.core.errors import TaskCancelled, TaskInterrupted, TaskTimedOut
from webapp.runtime import Runtime
from webapp.tasks import execute, store
from webapp.tasks.run import TaskRun
from webapp.tasks.store import Row

log = logging.getLogger(__name__)

RAISE_AFTER = 1.0  # seconds past the limit until an exception is raised in the task's thread
CANCEL_LOOK = 2.0  # how long a cancel can go unnoticed when its bell is lost
KILL_AFTER = 6.0  # seconds past the limit (or past a cancel) until the process gives itself up
EXIT_STUCK = 70  # our exit code then; the supervisor starts us again


class SuspectSeat:
    """A process runs one task at a time whose next lost worker would be its last (F22).

    Else what happened to run beside a task that kills its worker would be put aside with it. Who holds no seat claims
    only tasks with fewer lost workers than `limit`.
    """

    def __init__(self, lock: threading.Lock, limit: int) -> None:
        self._lock, self.limit = lock, limit
        self.taken = lock.acquire(blocking=False)

    def leave(self) -> None:
        if self.taken:
            self.taken = False
            self._lock.release()


class Shares:
    """One person's tasks may run on all threads of a queue here but one, from three threads up.

    Taking turns shares short work out. A hundred crawls of one person would still hold every thread for as long as a
    crawl takes; so the last one is left to others. Where nobody logs in there is one person, and no such limit.
    """

    def __init__(self, rt: Runtime) -> None:
        self._rt, self._shared = rt, bool(rt.settings.auth_required or rt.settings.api_key)
        self._running: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def claim(self, queue: str, take: Callable[[str | None], Row | None]) -> Row | None:
        """`take(owner to leave out)`; one thread after the other, or four would begin with four of the same person."""
        most = self._rt.settings.threads_of(queue) - 1
        if not self._shared or most < 2:
            return take(None)
        with self._lock:
            full = next((owner for (name, owner), n in self._running.items() if name == queue and n >= most), None)
            row = take(full)
            if row is not None and row.owner_id:
                self._running[queue, row.owner_id] += 1
        return row

    def done(self, queue: str, owner_id: str | None, task_id: str) -> None:
        """A task of theirs ended; what they have waiting is looked for anew."""
        key = (queue, owner_id or "")
        with self._lock:
            running = self._running.pop(key, 0)
            if running > 1:
                self._running[key] = running - 1
        if running and running >= self._rt.settings.threads_of(queue) - 1:
            self._rt.wake(queue, task_id)  # those that came while they had their share found nothing to do


class WorkerHost:
    def __init__(self, rt: Runtime, role: str, queues: tuple[str, ...], threads: int = 0) -> None:
        self.rt = rt
        self.id = f"{socket.gethostname()[:32]}-{os.getpid()}-{new_id()[-8:]}"
        self.role, self.queues, self.threads = role, queues, threads
        self.done = 0
        self.draining = threading.Event()
        self._runs: dict[str, TaskRun] = {}
        self._raised: dict[str, int] = {}
        self._lock = threading.Lock()
        self._suspects = threading.Lock()
        self.shares = Shares(rt)
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._wake_beat = threading.Event()
        self._unlisten: Callable[[], None] = lambda: None
        self.on_stuck: Callable[[], None] = lambda: os._exit(EXIT_STUCK)
        self.on_enough: Callable[[], None] | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._unlisten = self.rt.bus.listen(self._hear)
        self._write_beat()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)
        self._thread.start()

    def may_claim(self) -> bool:
        """False once this process is leaving. (Whether a queue is paused is asked by the claim itself.)"""
        return not self.draining.is_set()

    @contextmanager
    def suspect_seat(self) -> Iterator[SuspectSeat]:
        """The seat, taken if it was free; given back at the end at the latest."""
        seat = SuspectSeat(self._suspects, max(1, self.rt.settings.max_crashes - 1))
        try:
            yield seat
        finally:
            seat.leave()

    @contextmanager
    def running(self, run: TaskRun) -> Iterator[None]:
        with self._lock:
            self._runs[run.id] = run
        try:
            try:
                yield
            finally:
                with self._changed:
                    # A lost run may end after this same process took its task again; that one stays.
                    if self._runs.get(run.id) is run:
                        del self._runs[run.id]
                        self._raised.pop(run.id, None)
                    self.done += 1
                    self._changed.notify_all()
        except TaskInterrupted:
            # The watchdog's exception may land just after the run recorded its end.
            log.debug("late signal in task %s", run.id)
        self._maybe_enough()

    def drain(self, grace: float) -> bool:
        """Claim nothing more; let running tasks finish for `grace` seconds, then park them. True when all ended."""
        self.draining.set()
        deadline = time.monotonic() + grace
        park_at = time.monotonic() + grace * 0.6
        with self._changed:
            while self._runs and time.monotonic() < deadline:
                if time.monotonic() >= park_at:
                    for run in self._runs.values():
                        run.park_requested = True
                self._changed.wait(0.1)
            left = list(self._runs.values())
        for run in left:
            # Stuck in something that does not look: take the task from ourselves, its thread dies with us.
            run.lost = True
            execute.park(self.rt, run)
        return not left

    def stop(self) -> None:
        self._stop.set()
        self._wake_beat.set()
        self._unlisten()
        if self._thread is not None:
            self._thread.join(3)
        try:
            with self.rt.engine.begin() as connection:
                store.run_sql(connection, "DELETE FROM workers WHERE id = :id", {"id": self.id})
        except Exception as exc:
            log.info("could not take the worker's row away (%s)", type(exc).__name__)

    def _maybe_enough(self) -> None:
        limit = self.rt.settings.worker_max_tasks
        if self.on_enough is not None and limit and self.done >= limit and not self.draining.is_set():
            self.draining.set()
            self.on_enough()

    # -- beat ----------------------------------------------------------------------------------------------------

    def _hear(self, bell: Bell) -> None:
        if bell.kind == "cancel":
            run = self._runs.get(bell.id)
            if run is not None:
                run.ask_to_stop()
                self._wake_beat.set()

    def _run(self) -> None:
        next_beat = time.monotonic() + self.rt.settings.beat_seconds
        next_look = time.monotonic() + CANCEL_LOOK
        while not self._stop.is_set():
            self._wake_beat.wait(min(0.5, max(0.05, next_beat - time.monotonic())))
            self._wake_beat.clear()
            try:
                self._watch()
                if time.monotonic() >= next_beat:
                    next_beat = time.monotonic() + self.rt.settings.beat_seconds
                    self._beat()
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + CANCEL_LOOK
                    self._look_for_cancels()
            except Exception as exc:
                log.warning("beat failed (%s); leases hold for a while yet", type(exc).__name__)

    def _beat(self) -> None:
        self.renew()
        self._write_beat()

    def renew(self) -> None:
        """Prolong the leases of what runs here, and see which runs were taken away or asked to stop."""
        with self._lock:
            runs = list(self._runs.values())
        ours = store.renew(self.rt, [(run.id, run.fence) for run in runs], self.rt.settings.lease_seconds)
        for run in runs:
            if run.id not in ours:
                with self._lock:
                    still_here = self._runs.get(run.id) is run
                if still_here:
                    run.lost = True
            elif ours[run.id]:
                run.ask_to_stop()

    def _look_for_cancels(self) -> None:
        """Bells may be lost; the flag is in the row."""
        with self._lock:
            runs = [run for run in self._runs.values() if not run.cancel_requested]
        if not runs:
            return
        slots = ", ".join(f":i{n}" for n in range(len(runs)))
        with self.rt.engine.connect().execution_options(readonly=True) as connection:
            sql = f"SELECT id FROM tasks WHERE cancel_requested AND id IN ({slots})"
            asked = {row[0] for row in store.run_sql(connection, sql, {f"i{n}": run.id for n, run in enumerate(runs)})}
        for run in runs:
            if run.id in asked:
                run.ask_to_stop()

    def _write_beat(self) -> None:
        import psutil

        dialect = self.rt.engine.dialect.name
        with self._lock:
            running = list(self._runs)
        now = NOW_SQL[dialect]
        values = {
            "id": self.id,
            "role": self.role,
            "queues": ",".join(self.queues)[:200],
            "host": socket.gethostname()[:200],
            "pid": os.getpid(),
            "threads": self.threads,
            "rss": psutil.Process().memory_info().rss / 2**20,
            "running": store._json(running),
            "done": self.done,
            "at": store._bind(dialect, _utcnow()),
        }
        running_slot = "CAST(:running AS JSONB)" if dialect == "postgresql" else ":running"
        sql = (
            "INSERT INTO workers (id, role, queues, host, pid, threads, rss_mb, running, done, started_at, beat_at)"
            f" VALUES (:id, :role, :queues, :host, :pid, :threads, :rss, {running_slot}, :done, :at, {now})"
            " ON CONFLICT (id) DO UPDATE SET rss_mb = excluded.rss_mb, running = excluded.running,"
            " done = excluded.done, beat_at = excluded.beat_at"
        )
        with self.rt.engine.begin() as connection:
            store.run_sql(connection, sql, values)

    # -- watchdog ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            over = run.overtime()
            cancelled_for = time.monotonic() - run.cancel_seen if run.cancel_seen is not None else 0.0
            if over > KILL_AFTER or cancelled_for > KILL_AFTER:
                self._give_up(run, timed_out=over > KILL_AFTER)
            elif over > RAISE_AFTER:
                self._raise_in(run, TaskTimedOut)
            elif cancelled_for > RAISE_AFTER:
                self._raise_in(run, TaskCancelled)

    def _raise_in(self, run: TaskRun, signal: type[TaskInterrupted]) -> None:
        """Layer two: helps in Python code that does not look, not in C code. At most three times."""
        with self._lock:
            if self._runs.get(run.id) is not run or self._raised.get(run.id, 0) >= 3:
                return
            self._raised[run.id] = self._raised.get(run.id, 0) + 1
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(run.thread_id), ctypes.py_object(signal))

    def _give_up(self, run: TaskRun, *, timed_out: bool) -> None:
        """Layer three: the thread cannot be stopped, so the process ends; its other tasks go back to the queue."""
        log.error("task %s does not stop; ending this process", run.id)
        self.draining.set()
        run.lost = True
        if timed_out:
            execute._timed_out(self.rt, run, f"took longer than {run.time_limit:g} s")
        else:
            execute._cancelled(self.rt, run)
        with self._lock:
            others = [other for other in self._runs.values() if other is not run]
        for other in others:
            other.lost = True
            execute.park(self.rt, other)
        self.on_stuck()


def _utcnow() -> Any:
    from webapp.core.db import utcnow

    return utcnow()


_host: WorkerHost | None = None


def current_host() -> WorkerHost:
    """This process's host; actors reach it here."""
    if _host is None:
        raise RuntimeError("no worker runs in this process")
    return _host


def set_host(host: WorkerHost | None) -> None:
    global _host
    _host = host

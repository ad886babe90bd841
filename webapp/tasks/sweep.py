"""The reconciler: the only place that brings lost, due and unsent tasks back. Runs where the scheduler leads.

Every `sweep_seconds`, and at once when a due time comes:
1. running rows whose lease ended: back to the queue (a crash is counted), after `max_crashes` a dead letter;
2. retries that are due: back to the queue;
3. what waited for a worker longer than a task may take at all (M051);
4. paused parents whose children are all final;
5. queues with fewer wake-ups than waiting tasks: the difference is sent. Wake-ups are interchangeable, so this alone
   repairs a flushed Redis, a web process killed between commit and send, and a message lost anywhere.
What waits in a paused queue says so, and is neither given up nor woken.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timedelta

from webapp.core.bus import Bell
from webapp.core.db import NOW_SQL, utcnow
from webapp.runtime import Runtime
from webapp.tasks import execute, pauses, store
from webapp.tasks.store import Event, Row

log = logging.getLogger(__name__)
BATCH = 500
NOT_PAUSED = "queue NOT IN (SELECT queue FROM queue_pauses)"


def sweep(rt: Runtime) -> dict[str, int]:
    """One pass; what was done, by name."""
    pauses.tell_latecomers(rt)
    done = {
        "expired": _expired(rt),
        "due": _due(rt),
        "overdue": _overdue(rt),
        "joined": _parents(rt),
        "woken": _wake(rt),
    }
    if any(done.values()):
        log.info("sweep %s", done)
    return done


def bring_back_orphans(rt: Runtime) -> int:
    """Where one process owns the database alone, before its workers start: what runs has no worker any more.

    Once they claim tasks it is too late to ask, since theirs run too.
    """
    count = 0
    while found := _bring_back(rt, "status = 'running'"):
        count += found
    return count


def _expired(rt: Runtime) -> int:
    return _bring_back(rt, f"status = 'running' AND lease_until < {NOW_SQL[rt.engine.dialect.name]}")


def _bring_back(rt: Runtime, late: str) -> int:
    with rt.engine.begin() as connection:
        rows = store.run_sql(
            connection, f"SELECT id, fence, crashes, attempt FROM tasks WHERE {late} LIMIT {BATCH}", {}
        ).fetchall()
    count = 0
    for task_id, fence, crashes, attempt in rows:
        still = late.removeprefix("status = 'running'").removeprefix(" AND ")
        if crashes + 1 >= rt.settings.max_crashes:
            row = _quarantine(rt, task_id, fence, crashes + 1, still)
        else:
            row = _requeue(rt, task_id, fence, crashes + 1, attempt - 1, still)
        if row is not None:
            count += 1
    return count


def _requeue(rt: Runtime, task_id: str, fence: int, crashes: int, attempt: int, still: str) -> Row | None:
    message = f"The worker was lost; starting again (loss {crashes} of {rt.settings.max_crashes})"
    # Crashes are counted apart from attempts; the fence moves so that a worker who only slept can write nothing.
    sets = {"status": "queued", "message": message, "crashes": crashes, "attempt": max(0, attempt),
            "fence": fence + 1, "lease_until": None}  # fmt: skip
    row = store.advance(rt, task_id, sets, Event("status", message, "warning"), fence=fence, where=still)
    if row is not None:
        rt.ring("task", row.id, row.seq, row.owner_id)
        rt.wake(row.queue, row.id)
    return row


def _quarantine(rt: Runtime, task_id: str, fence: int, crashes: int, still: str) -> Row | None:
    error = (
        f"Its worker was lost {crashes} times; the task was put aside. Try it again; if that happens anew, its dead"
        " letter says more."
    )
    sets = {"status": "failed", "message": error, "error": error, "error_code": "crash", "crashes": crashes,
            "fence": fence + 1, "lease_until": None, "finished_at": utcnow()}  # fmt: skip
    event = Event("error", error, "error", {"code": "crash"})
    row = execute.end_row(rt, task_id, sets, event, fence=fence, where=still, dead=("crash", error, None))
    if row is not None:
        execute.announce_end(rt, row)
    return row


def _due(rt: Runtime) -> int:
    dialect = rt.engine.dialect.name
    due = f"due_at <= {NOW_SQL[dialect]}"
    with rt.engine.begin() as connection:
        sql = f"SELECT id FROM tasks WHERE status = 'retrying' AND {due} ORDER BY due_at LIMIT {BATCH}"
        ids = [row[0] for row in store.run_sql(connection, sql, {})]
    count = 0
    for task_id in ids:
        sets = {"status": "queued", "message": "Trying again", "due_at": None}
        row = store.advance(rt, task_id, sets, Event("status", "Trying again"), statuses=("retrying",), where=due)
        if row is not None:
            count += 1
            rt.ring("task", row.id, row.seq, row.owner_id)
            rt.wake(row.queue, row.id)
    return count


def _overdue(rt: Runtime) -> int:
    """What nobody picked up for as long as a task may take at all. (Running ones are their worker's business.)"""
    limit = rt.settings.task_limit_seconds
    dialect = rt.engine.dialect.name
    with rt.engine.begin() as connection:
        sql = (
            "SELECT id, status, fence FROM tasks WHERE status IN ('queued', 'retrying') AND due_at IS NULL"
            f" AND updated_at < :before AND {NOT_PAUSED} LIMIT {BATCH}"
        )
        before = store._bind(dialect, _ago(utcnow(), limit))
        rows = store.run_sql(connection, sql, {"before": before}).fetchall()
    count = 0
    for task_id, status, fence in rows:
        error = f"No worker took it within {limit / 3600:g} hours"
        sets = {"status": "timed_out", "message": error, "error": error, "error_code": "time_limit",
                "fence": fence + 1, "lease_until": None, "finished_at": utcnow()}  # fmt: skip
        row = execute.end_row(
            rt, task_id, sets, Event("error", error, "error"), fence=fence, statuses=(status,),
            dead=("time_limit", error, None),
        )  # fmt: skip
        if row is not None:
            count += 1
            execute.announce_end(rt, row)
    return count


def _parents(rt: Runtime) -> int:
    with rt.engine.begin() as connection:
        sql = (
            "SELECT id FROM tasks WHERE status = 'paused' AND EXISTS (SELECT 1 FROM tasks AS c WHERE c.parent_id ="
            " tasks.id) AND NOT EXISTS (SELECT 1 FROM tasks AS c WHERE c.parent_id = tasks.id AND c.status NOT IN"
            f" ('completed', 'failed', 'cancelled', 'timed_out')) LIMIT {BATCH}"
        )
        ids = [row[0] for row in store.run_sql(connection, sql, {})]
    for parent_id in ids:
        execute.wake_parent(rt, parent_id)
    return len(ids)


def _wake(rt: Runtime) -> int:
    dialect = rt.engine.dialect.name
    # Younger than a second: their own message is still on its way.
    sql = (
        "SELECT queue, count(*), min(id) FROM tasks WHERE status = 'queued' AND updated_at < :before"
        f" AND (due_at IS NULL OR due_at <= {NOW_SQL[dialect]}) AND {NOT_PAUSED} GROUP BY queue"
    )
    with rt.engine.begin() as connection:
        rows = store.run_sql(connection, sql, {"before": store._bind(dialect, _ago(utcnow(), 1.0))}).fetchall()
    sent = 0
    for queue, waiting, task_id in rows:
        try:
            missing = waiting - rt.depth(queue)
        except Exception as exc:
            log.info("cannot see the queue %s (%s)", queue, type(exc).__name__)
            continue
        for _ in range(min(missing, 2000)):
            rt.wake(queue, task_id)
            sent += 1
    return sent


def seconds_to_next_due(rt: Runtime) -> float | None:
    """Until the earliest retry or scheduled start; None when nothing waits for a time."""
    dialect = rt.engine.dialect.name
    sql = f"SELECT min(due_at) - {NOW_SQL[dialect]} FROM tasks WHERE status IN ('retrying', 'queued') AND due_at > 0"
    with rt.engine.connect().execution_options(readonly=True) as connection:
        left = store.run_sql(connection, sql, {}).scalar()
    return None if left is None else float(left)


def _ago(now: datetime, seconds: float) -> datetime:
    return now - timedelta(seconds=seconds)


class Sweeper:
    """Calls `sweep` in time: each `sweep_seconds`, sooner when something falls due, and when a `due` bell rings."""

    def __init__(self, rt: Runtime) -> None:
        self.rt = rt
        self._bell = threading.Event()
        self._unlisten = rt.bus.listen(self._hear)

    def _hear(self, bell: Bell) -> None:
        if bell.kind == "due":
            self._bell.set()

    def pass_once(self) -> None:
        try:
            sweep(self.rt)
        except Exception as exc:
            log.warning("sweep failed (%s: %s); trying again", type(exc).__name__, str(exc)[:200])

    def wait(self, stop: threading.Event) -> None:
        """Sleep until the next pass is due."""
        end = time.monotonic() + self._pause()
        while not stop.is_set() and time.monotonic() < end:
            if self._bell.wait(min(0.5, max(0.01, end - time.monotonic()))):
                self._bell.clear()
                end = min(end, time.monotonic() + self._pause())

    def _pause(self) -> float:
        try:
            due = seconds_to_next_due(self.rt)
        except Exception:
            due = None
        limit = self.rt.settings.sweep_seconds
        return limit if due is None else min(limit, max(0.05, due + 0.02))

    def close(self) -> None:
        self._unlisten()

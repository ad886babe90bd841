"""Claim, run, record: what every actor does with a wake-up."""

from __future__ import annotations

import logging
import random
import traceback
from typing import TYPE_CHECKING, Any

from webapp.core import logs
from webapp.core.db import NOW_SQL, utcnow
from webapp.core.errors import AppError, QuotaExceeded, TaskCancelled, TaskLost, TaskParked, TaskTimedOut
from webapp.core.failpoints import failpoint
from webapp.tasks import store
from webapp.tasks.kinds import TaskKind, kinds
from webapp.tasks.run import TaskRun, WaitForChildren, persist
from webapp.tasks.store import Event, Row

if TYPE_CHECKING:
    from webapp.runtime import Runtime
    from webapp.tasks.worker import WorkerHost

log = logging.getLogger(__name__)
UNKNOWN = "This worker does not know its kind; waiting for one that does"


def run_next(rt: Runtime, host: WorkerHost, queue: str) -> str | None:
    """Run the most urgent due task of `queue` to its end; its id, or None when there was nothing to do.

    1. Claim it (one transaction). 2. Run without any transaction, the lease renewed by the host's own thread.
    3. Record the end (one transaction, refused if the fence changed), then ring the bell.
    Which message woke us does not matter: wake-ups are interchangeable, so a doubled or late one is harmless.
    """
    if not host.may_claim():
        return None
    with host.suspect_seat() as seat:
        below = None if seat.taken else seat.limit
        row = host.shares.claim(queue, lambda full: _claim(rt, host, queue, below, full))
        if row is None:
            return None
        try:
            if row.crashes < seat.limit:
                seat.leave()
            _run_claimed(rt, host, row)
        finally:
            host.shares.done(queue, row.owner_id, row.id)
    failpoint("before_ack")
    return str(row.id)


def _run_claimed(rt: Runtime, host: WorkerHost, row: Row) -> None:
    rt.ring("task", row.id, row.seq, row.owner_id)
    failpoint("after_claim")
    logs.bind(task_id=row.id, kind=row.kind, attempt=row.attempt, request_id=row.request_id)
    run = TaskRun(rt, row, row.time_limit)
    with host.running(run):
        _run_and_record(rt, run)


def _claim(rt: Runtime, host: WorkerHost, queue: str, crashes_below: int | None, not_of: str | None) -> Row | None:
    lease = rt.settings.lease_seconds
    return persist(lambda: store.claim(rt, queue, host.id, lease, crashes_below, not_of), patience=5.0)


def _run_and_record(rt: Runtime, run: TaskRun) -> None:
    try:
        kind = kinds.get(run.kind)
    except AppError as exc:
        if not _left_to_others(rt, run):
            _fail(rt, run, exc, retry=False, reason="unknown_kind")
        return
    run.params = kind.with_new_defaults(run.params)
    run.soft_limit = min(run.time_limit, kind.soft_limit or run.time_limit)
    try:
        run.check()
        result = kind.run(run)
        run.flush()
        run.check_lost_only()
        _finish(rt, run, result)
    except TaskLost:
        log.warning("task %s was taken over; nothing written", run.id)
    except TaskCancelled as exc:
        # Fetches and child processes stop for any signal and call it this: which one was it?
        _fail_or_signal(rt, run, exc, kind, retry=True)
    except TaskTimedOut as exc:
        _timed_out(rt, run, str(exc) or f"took longer than {run.soft_limit:g} s")
    except TaskParked:
        park(rt, run)
    except WaitForChildren as exc:
        _wait(rt, run, str(exc))
    except AppError as exc:
        _fail_or_signal(rt, run, exc, kind, retry=exc.retryable)
    except Exception as exc:
        log.exception("task failed")
        _fail_or_signal(rt, run, exc, kind, retry=True)


def _fail_or_signal(rt: Runtime, run: TaskRun, exc: Exception, kind: TaskKind, *, retry: bool) -> None:
    """An error may only be the echo of a signal (a fetch that was cut off because the task was cancelled)."""
    if run.lost:
        return
    if run.cancel_requested:
        _cancelled(rt, run)
    elif run.remaining() <= 0:
        _timed_out(rt, run, f"took longer than {run.soft_limit:g} s")
    elif run.park_requested:
        park(rt, run)
    else:
        _fail(rt, run, exc, retry=retry, reason="attempts" if retry else "permanent", kind=kind)


def _finish(rt: Runtime, run: TaskRun, result: dict[str, Any]) -> None:
    failpoint("before_finish")
    sets = {
        "status": "completed",
        "progress": 100,
        "message": "Done",
        "result": result if isinstance(result, dict) else {"value": result},
        "checkpoint": None,
        "error": None,
        "error_code": None,
        "lease_until": None,
        "finished_at": utcnow(),
    }
    _end(rt, run, sets, Event("result", "Done"))
    failpoint("after_finish")


def _cancelled(rt: Runtime, run: TaskRun) -> None:
    sets = {"status": "cancelled", "message": "Cancelled", "lease_until": None, "finished_at": utcnow()}
    _end(rt, run, sets, Event("status", "Cancelled", "warning"))


def _timed_out(rt: Runtime, run: TaskRun, why: str) -> None:
    message = f"Stopped: {why}"
    sets = {
        "status": "timed_out",
        "message": message[:500],
        "error": message,
        "error_code": "time_limit",
        "lease_until": None,
        "finished_at": utcnow(),
    }
    _end(rt, run, sets, Event("error", message, "error"), dead=("time_limit", message, None))


def park(rt: Runtime, run: TaskRun) -> None:
    """Back to the queue with no attempt charged: the worker is going away, the task is not at fault."""
    sql_sets = {"status": "queued", "message": "Waiting for a worker", "lease_until": None, "attempt": run.attempt - 1}
    row = persist(
        lambda: store.advance(
            rt, run.id, sql_sets, Event("status", "Parked: the worker is restarting"), fence=run.fence
        )
    )
    if row is not None:
        rt.ring("task", row.id, row.seq, row.owner_id)
        rt.wake(row.queue, row.id)


def _left_to_others(rt: Runtime, run: TaskRun) -> bool:
    """During an upgrade a worker of before meets kinds of later: back to the queue, no attempt charged, for one who knows it.

    Each time for a little longer, at most for a lease. False when it has waited so for long enough: nobody will come.
    """
    since, times = store.said(rt, run.id, UNKNOWN)
    if since >= rt.settings.unknown_kind_seconds:
        return False
    sets = {"status": "queued", "message": UNKNOWN, "lease_until": None, "attempt": run.attempt - 1}
    event = Event("status", UNKNOWN, "warning")
    row = persist(lambda: _retry_row(rt, run, sets, event, min(rt.settings.lease_seconds, 2.0**times)))
    if row is not None:
        log.warning("task %s is of the kind %s, which this worker does not know; left to others", run.id, run.kind)
        rt.ring("task", row.id, row.seq, row.owner_id)
        rt.ring("due", row.id)
    return True


def _wait(rt: Runtime, run: TaskRun, why: str) -> None:
    sets = {"status": "paused", "message": why[:500], "lease_until": None, "attempt": run.attempt - 1}
    row = persist(lambda: store.advance(rt, run.id, sets, Event("status", why), fence=run.fence))
    if row is not None:
        rt.ring("task", row.id, row.seq, row.owner_id)
        wake_parent(rt, run.id)  # the last child may have ended between our look and this write


def _fail(rt: Runtime, run: TaskRun, exc: Exception, *, retry: bool, reason: str, kind: TaskKind | None = None) -> None:
    code = exc.code if isinstance(exc, AppError) else "error"
    text = store.clean_text(exc.message if isinstance(exc, AppError) else f"{type(exc).__name__}: {exc}")[:2000]
    if isinstance(exc, AppError) and exc.suggestion:
        text = f"{text} {exc.suggestion}"
    if retry and run.attempt < run.max_attempts:
        _retry_later(rt, run, exc, text, code, kind)
        return
    sets = {
        "status": "failed",
        "message": text[:500],
        "error": text,
        "error_code": code,
        "lease_until": None,
        "finished_at": utcnow(),
    }
    if code == QuotaExceeded.code:  # its owner's to mend, not an operator's
        _end(rt, run, sets, Event("error", text, "error", {"code": code}))
        return
    trace = "".join(traceback.format_exception(exc))[-20_000:]
    wait = exc.retry_after if isinstance(exc, AppError) else None
    about = {"code": code} if wait is None else {"code": code, "retry_after": wait}
    _end(rt, run, sets, Event("error", text, "error", about), dead=(reason, text, trace))


def _retry_later(rt: Runtime, run: TaskRun, exc: Exception, text: str, code: str, kind: TaskKind | None) -> None:
    delay = retry_delay(run.attempt, exc, kind)
    message = f"Retrying ({run.attempt}/{run.max_attempts - 1}) in {delay:.0f} s: {text}"
    sets = {"status": "retrying", "message": message[:500], "error": text, "error_code": code, "lease_until": None}
    event = Event("status", message, "warning", {"retry_in": round(delay, 1), "code": code, "attempt": run.attempt})
    row = persist(lambda: _retry_row(rt, run, sets, event, delay))
    if row is not None:
        rt.ring("task", row.id, row.seq, row.owner_id)
        rt.ring("due", row.id)


def _retry_row(rt: Runtime, run: TaskRun, sets: dict[str, Any], event: Event, delay: float) -> Row | None:
    with rt.engine.begin() as connection:
        row = store.advance(rt, run.id, sets, event, fence=run.fence, connection=connection)
        if row is not None:
            now = NOW_SQL[connection.dialect.name]
            store.run_sql(
                connection, f"UPDATE tasks SET due_at = {now} + :delay WHERE id = :id", {"id": run.id, "delay": delay}
            )
    return row


def retry_delay(attempt: int, exc: Exception, kind: TaskKind | None) -> float:
    """Seconds until the next try: the other side's Retry-After, the kind's own rule, or full jitter (max 300)."""
    if isinstance(exc, AppError) and exc.retry_after:
        return float(min(3600, exc.retry_after))
    if kind is not None and kind.backoff is not None:
        return kind.backoff(attempt)
    return random.uniform(0.2, 1.0) * min(300.0, 2.0**attempt)


def _end(
    rt: Runtime,
    run: TaskRun,
    sets: dict[str, Any],
    event: Event,
    *,
    dead: tuple[str, str, str | None] | None = None,
) -> None:
    row = persist(lambda: end_row(rt, run.id, sets, event, fence=run.fence, dead=dead))
    if row is None:
        run.lost = True
        log.warning("task %s was taken over; its end is not ours to write", run.id)
        return
    announce_end(rt, row)


def end_row(
    rt: Runtime,
    task_id: str,
    sets: dict[str, Any],
    event: Event,
    *,
    fence: int | None = None,
    statuses: tuple[str, ...] = ("running",),
    where: str = "",
    dead: tuple[str, str, str | None] | None = None,
) -> Row | None:
    """Write a final state, and its dead letter in the same transaction."""
    if dead is None:
        return store.advance(rt, task_id, sets, event, fence=fence, statuses=statuses, where=where)
    from webapp.tasks.models import DeadLetter

    with rt.unit() as db:
        row = store.advance(
            rt, task_id, sets, event, fence=fence, statuses=statuses, where=where, connection=db.connection(),
            reason=dead[0],
        )  # fmt: skip
        if row is not None:
            reason, error, trace = dead
            db.add(
                DeadLetter(
                    task_id=row.id,
                    kind=row.kind,
                    queue=row.queue,
                    reason=reason,
                    error=error,
                    traceback=trace,
                    attempt=row.attempt,
                )
            )
    if row is not None:  # one line that an operator's log alarm can wait for
        log.error("Task failed: %s - %s", row.id, error[:500], extra={"kind": row.kind, "reason": reason})
    return row


def announce_end(rt: Runtime, row: Row) -> None:
    rt.ring("task", row.id, row.seq, row.owner_id)
    if row.parent_id:
        wake_parent(rt, row.parent_id)


def wake_parent(rt: Runtime, parent_id: str) -> None:
    """Queue a parent that waits, once no child of it is unfinished. Safe to call any number of times."""
    done = (
        "NOT EXISTS (SELECT 1 FROM tasks AS child WHERE child.parent_id = tasks.id"
        " AND child.status NOT IN ('completed', 'failed', 'cancelled', 'timed_out'))"
    )
    row = persist(
        lambda: store.advance(
            rt,
            parent_id,
            {"status": "queued", "message": "Waiting for a worker"},
            Event("status", "All parts are done"),
            statuses=("paused",),
            where=done,
        )
    )
    if row is not None:
        rt.ring("task", row.id, row.seq, row.owner_id)
        rt.wake(row.queue, row.id)

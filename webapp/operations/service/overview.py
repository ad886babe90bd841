"""Everything at a glance, and what of it needs a person: alerts in words that a tired one understands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from webapp.core.context import Ctx
from webapp.core.db import unindexed, utcnow
from webapp.operations.service import probe
from webapp.operations.service.base import admin, clock, words
from webapp.operations.service.letters import LetterRow, letters, open_letters
from webapp.operations.service.probe import Look
from webapp.operations.service.queues import QueueRow, queues
from webapp.operations.service.running import RunningRow, running
from webapp.operations.service.schedules import ScheduleRow, schedules
from webapp.operations.service.workers import WorkerRow, workers
from webapp.tasks.models import Lease, Task
from webapp.tasks.scheduler import LEASE

WAITS_LONG = 300.0  # seconds
LEVELS = ("bad", "warn", "info")


@dataclass(frozen=True)
class Alert:
    """`page` names the page that shows more, or is empty."""

    level: str
    title: str
    text: str = ""
    page: str = ""


@dataclass(frozen=True)
class Overview:
    queues: list[QueueRow]
    workers: list[WorkerRow]
    running: list[RunningRow]
    schedules: list[ScheduleRow]
    letters: list[LetterRow]  # the newest
    open_letters: int
    health: str | None  # what the last periodic check said
    alerts: list[Alert] = field(default_factory=list)

    @property
    def stuck(self) -> list[RunningRow]:
        return [row for row in self.running if row.troubles]


def overview(ctx: Ctx, look: Look | None = None) -> Overview:
    """A fixed number of queries, whatever is in the tables. `look` saves asking the servers again."""
    processes = workers(admin(ctx))
    found = Overview(
        queues=queues(ctx, processes),
        workers=processes,
        running=running(ctx),
        schedules=schedules(ctx),
        letters=letters(ctx, limit=5).items,
        open_letters=open_letters(ctx),
        health=_last_health(ctx),
    )
    found.alerts.extend([*server_alerts(look or probe.look(ctx.rt)), *_alerts(ctx, found)])
    found.alerts.sort(key=lambda alert: LEVELS.index(alert.level))
    return found


def _last_health(ctx: Ctx) -> str | None:
    return last_result(ctx, "maintenance.health").get("status")


def last_result(ctx: Ctx, kind: str, but: str = "") -> dict[str, Any]:
    """What the newest completed task of `kind` came to, leaving out the one with the id `but`; empty when there is none."""
    ended = select(Task.result).where(Task.kind == kind, unindexed(Task.status) == "completed", Task.id != but)
    return ctx.db.scalar(ended.order_by(Task.id.desc()).limit(1)) or {}


def _alert_problem(ctx: Ctx) -> str:
    """Why the last alert did not arrive; nothing when it did or nobody is to be told."""
    if not ctx.rt.settings.alert_url:
        return ""
    return str(last_result(ctx, "maintenance.alerts").get("problem") or "")


def alerts(ctx: Ctx) -> list[Alert]:
    """Only what needs a person, the worst first."""
    return overview(ctx).alerts


def server_alerts(look: Look) -> Iterator[Alert]:
    """What can be said without asking the database."""
    if look.database is not None:
        yield Alert("bad", "The database does not answer", f"Nothing can be started, shown or finished until it is back ({look.database}). "
                    "Workers hold on to what they run and write it down then.")  # fmt: skip
    elif look.seconds >= probe.SLOW:
        yield Alert("warn", "The database is slow", f"A question that takes a millisecond took {look.seconds:.1f} s. "
                    "Everything waits for it: pages, workers and the starting of tasks.")  # fmt: skip
    for name, trouble in look.others.items():
        yield Alert("bad", f"{name.capitalize()} does not answer", "New tasks are stored and start when it is back; "
                    f"running ones go on. Pages follow by asking instead of being told ({trouble}).")  # fmt: skip


def _alerts(ctx: Ctx, found: Overview) -> Iterator[Alert]:
    yield from _scheduler_alerts(ctx, found)
    if any(worker.state != "lost" for worker in found.workers):
        for queue in found.queues:
            yield from _queue_alerts(queue)
    else:
        waiting = sum(queue.waiting for queue in found.queues)
        yield Alert("bad", "No worker runs", f"{_many(waiting, 'task')} wait, and nothing is being done. "
                    "Start Brainstem again, or its workers: brainstem worker.", "workers")  # fmt: skip
    lost = [worker for worker in found.workers if worker.state == "lost" and worker.running]
    if lost:
        count = sum(len(worker.running) for worker in lost)
        yield Alert("warn", f"{_many(len(lost), 'worker')} lost with {_many(count, 'task')} in hand",
                    "Their leases end within the minute; then other workers start them again.", "workers")  # fmt: skip
    if found.stuck:
        first = found.stuck[0]
        yield Alert("warn", f"{_many(len(found.stuck), 'running task')} seem{'s' if len(found.stuck) == 1 else ''} stuck",
                    f"“{first.title[:80]}”: {first.troubles[0]}.", "running")  # fmt: skip
    problem = _alert_problem(ctx)
    if problem:
        yield Alert("warn", "Alerts do not go out", f"The webhook of BRAINSTEM_ALERT_URL: {problem}. It is asked again each minute.", "schedules")  # fmt: skip
    if found.open_letters:
        newest = (utcnow() - found.letters[0].failed_at).total_seconds() if found.letters else 0.0
        yield Alert("warn" if newest < 3600 else "info", f"{_many(found.open_letters, 'task')} failed for good",
                    f"The last one {words(newest)} ago. Look why, then try again or throw away.", "dead_letters")  # fmt: skip


def _queue_alerts(queue: QueueRow) -> Iterator[Alert]:
    waiting = f"{_many(queue.waiting, 'task')} wait{'s' if queue.waiting == 1 else ''}"
    if queue.paused:
        yield Alert("info", f"{queue.name} is paused", f"By {queue.paused_by}{_because(queue)}; {waiting} there.")
    elif not queue.workers:
        start = (
            f"Start one: brainstem worker {queue.roles[0]}." if queue.roles != ("all",) else "Start Brainstem again."
        )
        yield Alert("bad", f"No worker for {queue.name}", f"{waiting.capitalize() if queue.waiting else 'Nothing waits there yet'}. {start}", "workers")  # fmt: skip
    elif queue.oldest_seconds is not None and queue.oldest_seconds > WAITS_LONG:
        title = f"{waiting.capitalize()} on {queue.name}, the oldest for {words(queue.oldest_seconds)}"
        yield Alert("warn", title, _why_waiting(queue), "workers")


def _why_waiting(queue: QueueRow) -> str:
    rate = f"{queue.per_minute_5:g} a minute end"
    if queue.running >= queue.threads:
        return f"All {queue.threads} threads of its workers are busy; {rate}. {_more(queue)} would help."
    return f"Its workers have free threads; {rate}. Look whether one of them hangs."


def _more(queue: QueueRow) -> str:
    return (
        f"More processes of the role {queue.roles[0]}"
        if queue.roles != ("all",)
        else "More threads (BRAINSTEM_WORKER_THREADS)"
    )


def _because(queue: QueueRow) -> str:
    return f" ({queue.paused_reason})" if queue.paused_reason else ""


def _scheduler_alerts(ctx: Ctx, found: Overview) -> Iterator[Alert]:
    if ctx.rt.roles and not _somebody_leads(ctx):
        yield Alert("bad", "No scheduler runs", "Lost tasks are not brought back, retries and schedules do not start. "
                    "Start one: brainstem scheduler.")  # fmt: skip
    late = [row for row in found.schedules if row.late is not None]
    if late:
        names = ", ".join(row.name for row in late[:5])
        yield Alert("warn", f"{_many(len(late), 'schedule')} late", f"{names}: should have started {words(late[0].late or 0)} ago.", "schedules")  # fmt: skip
    for row in found.schedules:
        if row.enabled and row.last_status in ("failed", "timed_out"):
            yield Alert(
                "warn", f"The schedule {row.name} failed last time", (row.last_message or "")[:200], "schedules"
            )


def _somebody_leads(ctx: Ctx) -> bool:
    """In a deployment a lease says so; the one process of embedded mode sweeps by itself."""
    until = ctx.db.scalar(select(Lease.until).where(Lease.name == LEASE))
    return until is not None and until > clock(ctx)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

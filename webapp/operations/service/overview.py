"""Everything at a glance, and what of it needs a person: alerts in words that a tired one understands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from webapp.core.context import Ctx
from webapp.core.db import unindexed, utcnow
from webapp.health.service import LITTLE_DISK, LOW_DISK, disk_space
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

WAITS_LONG, WAITS_TOO_LONG = 300.0, 1800.0  # seconds of the oldest task of a queue: worth a line; somebody is told
ALERTS = "maintenance.alerts"
LEVELS = ("bad", "warn", "info")


@dataclass(frozen=True)
class Alert:
    """`page` names the page that shows more, or is empty.

    key: the same for as long as the same thing is wrong, whatever the numbers in the title. since: when it began, where
    that is known. text: what it means and what to do. told: administrators hear of it, and of its end.
    """

    level: str
    title: str
    text: str = ""
    page: str = ""
    key: str = ""
    since: datetime | None = None
    told: bool = False

    @property
    def sentence(self) -> str:
        """Title, since when, what to do: what a person needs who was woken by it."""
        ending = f", for {words((utcnow() - self.since).total_seconds())}" if self.since else ""
        return f"{self.title}{ending}. {self.text}".strip()


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
    def wrong(self) -> list[Alert]:
        """What is more than news, the worst first; empty when all is well."""
        return [alert for alert in self.alerts if alert.level != "info"]

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
    began = beginnings(ctx)
    found.alerts[:] = [_since(alert, began) for alert in found.alerts]
    found.alerts.sort(key=lambda alert: LEVELS.index(alert.level))
    return found


def beginnings(ctx: Ctx) -> dict[str, datetime]:
    """key -> when the check of each minute first saw what is wrong now."""
    seen: dict[str, str] = last_result(ctx, ALERTS).get("since") or {}
    return {key: datetime.fromisoformat(at) for key, at in seen.items()}


def _since(alert: Alert, began: dict[str, datetime]) -> Alert:
    if alert.key == "dead-letters":  # it says when the last one failed
        return alert
    return alert if alert.since or alert.key not in began else replace(alert, since=began[alert.key])


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
    return str(last_result(ctx, ALERTS).get("problem") or "")


def alerts(ctx: Ctx) -> list[Alert]:
    """Only what needs a person, the worst first."""
    return overview(ctx).alerts


def server_alerts(look: Look) -> Iterator[Alert]:
    """What can be said without asking the database."""
    if look.database is not None:
        yield Alert("bad", "The database does not answer", f"Nothing can be started, shown or finished until it is back ({look.database}). "
                    "Workers hold on to what they run and write it down then. Start the database again; brainstem doctor says more.",
                    key="database", told=True)  # fmt: skip
    elif look.seconds >= probe.SLOW:
        yield Alert("warn", "The database is slow", f"A question that takes a millisecond took {look.seconds:.1f} s. "
                    "Everything waits for it: pages, workers and the starting of tasks. Look at the load of its machine and disk.",
                    key="database-slow")  # fmt: skip
    for name, trouble in look.others.items():
        yield Alert("bad", f"{name.capitalize()} does not answer", "New tasks are stored and start when it is back; "
                    f"running ones go on. Pages follow by asking instead of being told ({trouble}). Start it again.",
                    key=name, told=True)  # fmt: skip


def _alerts(ctx: Ctx, found: Overview) -> Iterator[Alert]:
    yield from _scheduler_alerts(ctx, found)
    if any(worker.state != "lost" for worker in found.workers):
        for queue in found.queues:
            yield from _queue_alerts(queue)
    else:
        waiting = sum(queue.waiting for queue in found.queues)
        yield Alert("bad", "No worker runs", f"{_many(waiting, 'task')} wait{'s' if waiting == 1 else ''}, and nothing is being done. "
                    "Start Brainstem again, or its workers: brainstem worker.", "workers", "no-worker", _last_beat(ctx, found), True)  # fmt: skip
    yield from _loss(found)
    yield from _disk(ctx)
    if found.stuck:
        first = found.stuck[0]
        yield Alert("warn", f"{_many(len(found.stuck), 'running task')} seem{'s' if len(found.stuck) == 1 else ''} stuck",
                    f"“{first.title[:80]}”: {first.troubles[0]}. Look at it; it can be cancelled and tried again.", "running", "stuck")  # fmt: skip
    problem = _alert_problem(ctx)
    if problem:
        yield Alert("warn", "Alerts do not go out", f"The webhook of BRAINSTEM_ALERT_URL: {problem}. It is asked again each minute.", "schedules", "alert-url")  # fmt: skip
    if found.open_letters:
        newest = (utcnow() - found.letters[0].failed_at).total_seconds() if found.letters else 0.0
        yield Alert("warn" if newest < 3600 else "info", f"{_many(found.open_letters, 'task')} failed for good",
                    f"The last one {words(newest)} ago. Look why, then try again or throw away.", "dead_letters", "dead-letters")  # fmt: skip


def _last_beat(ctx: Ctx, found: Overview) -> datetime | None:
    """Since when nobody works: as far as somebody was there lately."""
    ages = [worker.beat_age for worker in found.workers]
    return utcnow() - timedelta(seconds=min(ages)) if ages else None


def _loss(found: Overview) -> Iterator[Alert]:
    """Workers that fell silent with tasks in hand, or whom nobody has replaced."""
    silent = [worker for worker in found.workers if worker.state == "lost"]
    lost = [worker for worker in silent if worker.running or not _replaced(worker, found.workers)]
    if not lost:
        return
    since = utcnow() - timedelta(seconds=max(worker.beat_age for worker in lost))
    tasks = sum(len(worker.running) for worker in lost)
    names = sorted({f"{worker.role} on {worker.host}" for worker in lost})
    who = " and ".join(names) if len(names) < 3 else f"{names[0]}, {names[1]} and others"
    title = f"{_many(len(lost), 'worker')} lost" + (f" with {_many(tasks, 'task')} in hand" if tasks else "")
    its = "Its" if len(lost) == 1 else "Their"
    text = f"{its} {'task is' if tasks == 1 else 'tasks are'} taken over by another worker. " if tasks else ""
    machine = (
        ("its machine", "See that machine’s log.") if len(names) == 1 else ("the machine", "See these machines’ logs.")
    )
    text += f"{_first_up(who)} stopped without an error; most often {machine[0]} ran out of memory. {machine[1]}"
    yield Alert("warn", title, text, "workers", "workers-lost", since, True)


def _replaced(lost: WorkerRow, among: list[WorkerRow]) -> bool:
    """Somebody of its role was started since it was last heard of."""
    last = utcnow() - timedelta(seconds=lost.beat_age + 2)
    return any(one.role == lost.role and one.state != "lost" and one.started_at >= last for one in among)


def _disk(ctx: Ctx) -> Iterator[Alert]:
    free, whole = disk_space(ctx.rt)
    if free < LITTLE_DISK:
        bad = free < LOW_DISK
        what = "Uploads are refused when it is full" if not bad else "Uploads and results fail soon"
        yield Alert("bad" if bad else "warn", "The disk is nearly full", f"{free / 2**30:.1f} of {whole / 2**30:.0f} GB are free. {what}: "
                    "make room, or keep things for a shorter time (Retention).", key="disk", told=True)  # fmt: skip


def _queue_alerts(queue: QueueRow) -> Iterator[Alert]:
    waiting = (
        f"{_many(queue.waiting, 'task')} wait{'s' if queue.waiting == 1 else ''}" if queue.waiting else "nothing waits"
    )
    if queue.paused:
        yield Alert("info", f"The queue {queue.name} is paused", f"By {queue.paused_by}{_because(queue)}; {waiting} there.", key=f"paused:{queue.name}",
                    since=queue.paused_at)  # fmt: skip
    elif not queue.workers:
        start = (
            f"Start one: brainstem worker {queue.roles[0]}." if queue.roles != ("all",) else "Start Brainstem again."
        )
        yield Alert("bad", f"No worker for {queue.name}", f"{_first_up(waiting)}{' there yet' if not queue.waiting else ''}. {start}", "workers",
                    f"no-worker:{queue.name}", told=True)  # fmt: skip
    elif queue.oldest_seconds is not None and queue.oldest_seconds > WAITS_LONG:
        title = f"{_first_up(waiting)} on {queue.name}, the oldest for {words(queue.oldest_seconds)}"
        too_long = queue.oldest_seconds > WAITS_TOO_LONG
        yield Alert(
            "bad" if too_long else "warn", title, _why_waiting(queue), "workers", f"waits:{queue.name}", told=too_long
        )


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
                    "Start one: brainstem scheduler.", key="scheduler", told=True)  # fmt: skip
    late = [row for row in found.schedules if row.late is not None]
    if late:
        names = ", ".join(row.name for row in late[:5])
        yield Alert("warn", f"{_many(len(late), 'schedule')} late", f"{names}: should have started {words(late[0].late or 0)} ago.", "schedules",
                    "late")  # fmt: skip
    for row in found.schedules:
        if row.enabled and row.last_status in ("failed", "timed_out"):
            yield Alert(
                "warn", f"The schedule {row.name} failed last time", (row.last_message or "")[:200], "schedules",
                f"schedule:{row.name}",
            )  # fmt: skip


def _somebody_leads(ctx: Ctx) -> bool:
    """In a deployment a lease says so; the one process of embedded mode sweeps by itself."""
    until = ctx.db.scalar(select(Lease.until).where(Lease.name == LEASE))
    return until is not None and until > clock(ctx)


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"

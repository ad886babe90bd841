"""What the clock starts: look, run now, pause, change the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from webapp.core import audit
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.operations.service.base import admin, clock, moment
from webapp.tasks.kinds import kind_or_400
from webapp.tasks.models import Schedule, Task
from webapp.tasks.scheduler import next_time
from webapp.tasks.schedules import in_words, start_task, title_of

LATE = 60.0  # seconds past its time after which a schedule counts as missed
SHORTEST = 10.0  # seconds between two runs of an interval
PREVIEW = 5


@dataclass(frozen=True)
class ScheduleRow:
    """`late` is how many seconds ago it should have run; None when it is in time or paused."""

    name: str
    title: str
    kind: str
    cron: str | None
    interval: float | None
    when: str
    enabled: bool
    next_at: datetime | None
    last_at: datetime | None
    late: float | None
    last_task_id: str | None
    last_status: str | None
    last_message: str | None


def schedules(ctx: Ctx) -> list[ScheduleRow]:
    """All of them by name, with what their last run came to. Two queries."""
    last = (Task.status.label("last_status"), Task.message.label("last_message"), Task.error.label("last_error"))
    stmt = select(Schedule, *last).outerjoin(Task, Task.id == Schedule.last_task_id).order_by(Schedule.name)
    now = clock(admin(ctx))
    return [_row(row[0], row, now) for row in ctx.db.execute(stmt)]


def _row(schedule: Schedule, last: Any, now: float) -> ScheduleRow:
    late = now - schedule.next_at if schedule.enabled and schedule.next_at else 0.0
    return ScheduleRow(
        name=schedule.name,
        title=title_of(schedule),
        kind=schedule.kind,
        cron=schedule.cron,
        interval=schedule.interval,
        when=every(schedule.interval) if schedule.interval else in_words(schedule.cron or "once"),
        enabled=schedule.enabled,
        next_at=moment(schedule.next_at) if schedule.enabled else None,
        last_at=moment(schedule.last_at),
        late=late if late > LATE else None,
        last_task_id=schedule.last_task_id if last.last_status else None,  # retention may have deleted it
        last_status=last.last_status,
        last_message=last.last_error or last.last_message,
    )


def every(seconds: float) -> str:
    """`every minute`, `every 5 minutes`, `every 90 seconds`."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            return f"every {unit}" if seconds == size else f"every {seconds / size:g} {unit}s"
    return f"every {seconds:g} seconds"


def schedule(ctx: Ctx, name: str) -> ScheduleRow:
    for row in schedules(ctx):
        if row.name == name:
            return row
    raise NotFound("there is no such schedule")


def run_schedule(ctx: Ctx, name: str) -> str:
    """Start it now, beside its times; the task's id."""
    row = _get(ctx, name)
    row.last_task_id = start_task(ctx, row, " (by hand)")
    row.last_at = clock(ctx)
    audit.record(ctx, "schedule.run", "schedule", name, task=row.last_task_id)
    return row.last_task_id


def pause_schedule(ctx: Ctx, name: str) -> ScheduleRow:
    row = _get(ctx, name)
    if not row.enabled:
        raise Conflict(f"{name} is already paused", code="already_paused")
    row.enabled = False
    audit.record(ctx, "schedule.pause", "schedule", name)
    ctx.db.flush()
    return schedule(ctx, name)


def resume_schedule(ctx: Ctx, name: str) -> ScheduleRow:
    """Its next run is the next time from now on: what was missed while it was paused is not made up."""
    row = _get(ctx, name)
    if row.enabled:
        raise Conflict(f"{name} is not paused", code="not_paused")
    if row.cron is None and row.interval is None and (row.next_at is None or row.next_at <= clock(ctx)):
        raise Conflict("it was to run once, and that time is over", code="over")
    row.enabled = True
    if row.cron or row.interval:
        row.next_at = next_time(row.cron, row.interval, clock(ctx))
    audit.record(ctx, "schedule.resume", "schedule", name)
    ctx.db.flush()
    return schedule(ctx, name)


def edit_schedule(ctx: Ctx, name: str, *, cron: str | None = None, interval: float | None = None) -> ScheduleRow:
    """Give it another time: a cron line (UTC) or a number of seconds. Raises BadRequest for what is neither."""
    row = _get(ctx, name)
    upcoming(ctx, cron=cron, interval=interval)
    before = {"cron": row.cron, "interval": row.interval}
    row.cron, row.interval = (cron.strip() if cron else None), interval
    row.next_at = next_time(row.cron, row.interval, clock(ctx))
    audit.record(ctx, "schedule.edit", "schedule", name, before=before, after={"cron": row.cron, "interval": interval})
    ctx.db.flush()
    return schedule(ctx, name)


def upcoming(
    ctx: Ctx, *, cron: str | None = None, interval: float | None = None, begins: datetime | None = None
) -> list[datetime]:
    """The next five times, so that a person sees what they wrote before it holds. begins: the first, where it is set."""
    if bool(cron and cron.strip()) == (interval is not None):
        raise BadRequest("give either a cron line or a number of seconds", code="invalid_schedule")
    if interval is not None and not SHORTEST <= interval <= 366 * 86400:
        raise BadRequest(f"interval: from {SHORTEST:g} seconds to a year", code="invalid_schedule")
    now = clock(admin(ctx))
    line = cron.strip()[:100] if cron else None
    times = [max(now, begins.timestamp()) if begins else next_time(line, interval, now)]
    while len(times) < PREVIEW:
        times.append(next_time(line, interval, times[-1]))
    return [datetime.fromtimestamp(time, UTC) for time in times]


def _get(ctx: Ctx, name: str) -> Schedule:
    row = admin(ctx).db.scalar(select(Schedule).where(Schedule.name == name[:100]).with_for_update())
    if row is None:
        raise NotFound("there is no such schedule")
    kind_or_400(row.kind)
    return row

"""Tasks that a person's clock starts: once at a time, or again and again by a cron line (UTC)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select

from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.db import db_now, new_id
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.core.text import clean
from webapp.tasks import notices, service
from webapp.tasks.kinds import kind_or_400, known
from webapp.tasks.models import PRIORITIES, Schedule, Task
from webapp.tasks.scheduler import SYSTEM_SCHEDULES, SYSTEM_TITLES, next_time

MOST = 100  # of one person
SHORTEST = 300.0  # seconds between two runs of a cron line of theirs
FARTHEST = timedelta(days=366 * 2)
PREVIEW = 5
DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")  # cron counts from Sunday
# How people say it -> the last three fields of a cron line; the first two come from the time of day.
REPEATS = {day: f"* * {number}" for number, day in enumerate(DAYS)}
REPEATS |= {"daily": "* * *", "weekdays": "* * 1-5", "monthly": "1 * *"}


@dataclass(frozen=True)
class When:
    """Either `at` (once, UTC) or `cron` (five fields, UTC)."""

    at: datetime | None = None
    cron: str | None = None

    @property
    def words(self) -> str:
        if self.at is not None:
            return f"once at {self.at:%d %b %Y %H:%M} UTC"
        return in_words(self.cron or "")


@dataclass(frozen=True)
class ScheduleView:
    """A schedule as its owner sees it, with what its last run came to."""

    id: str
    title: str
    kind: str
    priority: str
    params: dict[str, Any]
    cron: str | None
    when: str
    enabled: bool
    notify: bool
    next_at: datetime | None
    at: datetime | None  # the time as it is kept, also while paused
    last_at: datetime | None
    last_task_id: str | None
    last_status: str | None
    error: str | None

    @property
    def is_once(self) -> bool:
        return self.cron is None

    @property
    def is_over(self) -> bool:
        """Once, and that time has come."""
        return self.is_once and not self.enabled and self.at is None


# -- looking ---------------------------------------------------------------------------------------------------------


def list_(ctx: Ctx) -> list[ScheduleView]:
    """The caller's, those that run next first. One query."""
    stmt = _joined(ctx).order_by(Schedule.next_at.is_(None), Schedule.next_at, Schedule.id)
    return [_view(row) for row in ctx.db.execute(stmt)]


def get(ctx: Ctx, schedule_id: str) -> ScheduleView:
    row = ctx.db.execute(_joined(ctx).where(Schedule.id == schedule_id[:40])).first()
    if row is None:
        raise NotFound("there is no such schedule")
    return _view(row)


def _joined(ctx: Ctx) -> Select[Schedule, str]:
    stmt = select(Schedule, Task.status.label("last_status"))
    return stmt.outerjoin(Task, Task.id == Schedule.last_task_id).where(_mine(ctx))


def _mine(ctx: Ctx) -> Any:
    """Nobody's schedules are ours: the system's own are the operator's business."""
    return Schedule.owner_id == ctx.user.id


def _view(row: Any) -> ScheduleView:
    one: Schedule = row[0]
    at = _moment(one.next_at)
    when = in_words(one.cron) if one.cron else When(at=at).words if at else "once"
    return ScheduleView(
        id=one.id, title=one.title, kind=one.kind, priority=PRIORITIES[one.rank], params=one.params, cron=one.cron,
        when=when, enabled=one.enabled, notify=one.notify, next_at=at if one.enabled else None,
        at=at, last_at=_moment(one.last_at), last_task_id=one.last_task_id if row.last_status else None,
        last_status=row.last_status, error=one.error,
    )  # fmt: skip


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


def upcoming(ctx: Ctx, when: When) -> list[datetime]:
    """The next times, so that a person sees what they wrote before it holds. Raises BadRequest with the field named."""
    now = _now(ctx)
    if when.at is not None:
        return [_moment_of(when, now)]
    times, at = [], now
    for _ in range(PREVIEW):
        try:
            at = next_time(when.cron, None, at)
        except BadRequest as exc:
            raise _wrong("cron", exc.message) from None
        times.append(datetime.fromtimestamp(at, UTC))
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    if min(gaps).total_seconds() < SHORTEST:
        raise _wrong("cron", f"a task may start every {SHORTEST / 60:g} minutes at most")
    return times


def _moment_of(when: When, now: float) -> datetime:
    at = when.at.astimezone(UTC) if when.at is not None else datetime.fromtimestamp(0, UTC)
    if at.timestamp() <= now:
        raise _wrong("at", "this time has passed; times are UTC")
    if at.timestamp() > now + FARTHEST.total_seconds():
        raise _wrong("at", "this is more than two years away")
    return at


def _wrong(field: str, message: str) -> BadRequest:
    return BadRequest(f"{field}: {message}", code="invalid_schedule",
                      details=[{"loc": [field], "msg": message, "type": "invalid_schedule"}])  # fmt: skip


def _now(ctx: Ctx) -> float:
    return float(ctx.db.scalar(select(db_now())) or 0)


# -- making ----------------------------------------------------------------------------------------------------------


def add(
    ctx: Ctx, kind_name: str, params: dict[str, Any], when: When, *, title: str = "", priority: str = "normal",
    notify: bool = False,
) -> ScheduleView:  # fmt: skip
    """Keep what is to be started and when. The parameters are checked now, as when a task is started.

    Raises BadRequest with the field named, Conflict past the limit.
    """
    if (ctx.db.scalar(select(func.count()).select_from(Schedule).where(_mine(ctx))) or 0) >= MOST:
        raise Conflict(f"there are {MOST} schedules already", code="too_many", suggestion="Delete one first.")
    row = Schedule(id=new_id(), owner_id=ctx.user.id)
    _set(ctx, row, kind_name, params, when, title, priority, notify)
    row.name = _unique_name(row.title)
    ctx.db.add(row)
    ctx.db.flush()
    return get(ctx, row.id)


def change(
    ctx: Ctx, schedule_id: str, kind_name: str, params: dict[str, Any], when: When | None, *, title: str = "",
    priority: str = "normal", notify: bool = False,
) -> ScheduleView:  # fmt: skip
    """Put all of this in the place of what the schedule said; `when` None keeps its time. A paused one stays paused."""
    row = _locked(ctx, schedule_id)
    was_over = row.cron is None and row.next_at is None
    enabled = row.enabled or (was_over and when is not None)
    _set(ctx, row, kind_name, params, when, title, priority, notify)
    row.enabled, row.error = enabled, None
    ctx.db.flush()
    return get(ctx, row.id)


def _set(
    ctx: Ctx, row: Schedule, kind_name: str, params: dict[str, Any], when: When | None, title: str, priority: str,
    notify: bool,
) -> None:  # fmt: skip
    kind = kind_or_400(kind_name, hidden=False)
    if priority not in PRIORITIES:
        raise _wrong("priority", f"use one of {', '.join(PRIORITIES)}")
    checked = kind.check(params)
    if kind.prepare is not None:
        kind.prepare(ctx, checked)
    if when is not None:
        row.next_at = upcoming(ctx, when)[0].timestamp()
        row.cron, row.interval = when.cron, None
    row.kind, row.params, row.notify = kind.name, checked, notify
    row.title, row.rank = (clean(title).strip() or kind.label)[:300], PRIORITIES.index(priority)


def _unique_name(title: str) -> str:
    """The operator's name for it: names of schedules are unique and part of addresses."""
    plain = re.sub(r"[^\w]+", "-", title.lower()).strip("-")[:60] or "task"
    return f"{plain}-{secrets.token_hex(4)}"


# -- steering --------------------------------------------------------------------------------------------------------


def pause(ctx: Ctx, schedule_id: str) -> ScheduleView:
    row = _locked(ctx, schedule_id)
    if not row.enabled:
        raise Conflict("the schedule is not active", code="already_paused")
    row.enabled = False
    ctx.db.flush()
    return get(ctx, row.id)


def resume(ctx: Ctx, schedule_id: str) -> ScheduleView:
    """Its next run is the next time from now on; what was missed is not made up. Raises Conflict when there is none."""
    row = _locked(ctx, schedule_id)
    if row.enabled:
        raise Conflict("the schedule is not paused", code="not_paused")
    if row.cron is None and (row.next_at is None or row.next_at <= _now(ctx)):
        raise Conflict("its time has passed", code="over", suggestion="Change it to another time.")
    row.enabled, row.error = True, None
    if row.cron is not None:
        row.next_at = next_time(row.cron, None, _now(ctx))
    ctx.db.flush()
    return get(ctx, row.id)


def run(ctx: Ctx, schedule_id: str) -> str:
    """Start it now, beside its times; the task's id."""
    row = _locked(ctx, schedule_id)
    row.last_task_id, row.last_at = start_task(ctx, row), _now(ctx)
    ctx.db.flush()
    return row.last_task_id


def remove(ctx: Ctx, schedule_id: str) -> None:
    """Its tasks stay."""
    ctx.db.delete(_locked(ctx, schedule_id))
    ctx.db.flush()


def _locked(ctx: Ctx, schedule_id: str) -> Schedule:
    row = ctx.db.scalar(select(Schedule).where(Schedule.id == schedule_id[:40], _mine(ctx)).with_for_update())
    if row is None:
        raise NotFound("there is no such schedule")
    return row


def start_task(ctx: Ctx, row: Schedule, note: str = "") -> str:
    """Start what a schedule says, as its owner's; the task's id."""
    owner = Actor(row.owner_id, "schedule", via="schedule") if row.owner_id else SYSTEM
    theirs = Ctx(ctx.rt, ctx.db, owner, request_id=ctx.request_id)
    title = row.title or f"{title_of(row)}{note}"
    values = service.start(theirs, row.kind, row.params, title=title, priority=PRIORITIES[row.rank])
    if row.notify and row.owner_id:
        notices.want(theirs, values["id"])
    return str(values["id"])


# -- words -----------------------------------------------------------------------------------------------------------


def title_of(row: Schedule) -> str:
    """What people read: the owner's words, or for one of ours what its kind is called. `name` is for programs."""
    own = any(name == row.name and kind == row.kind for name, kind, *_ in SYSTEM_SCHEDULES)
    kind = known(row.kind) if own else None
    return row.title or SYSTEM_TITLES.get(row.name if own else "") or (kind.label if kind else row.name)


def cron_of(repeat: str, time: str, cron: str) -> str:
    """The cron line of what a form says. Raises BadRequest with the field named."""
    if repeat == "cron":
        line = " ".join(cron.replace("\0", "").split())
        if not line:
            raise _wrong("cron", "give a cron line, such as 0 9 * * 1")
        return line[:100]
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", time.strip() or "09:00")
    if match is None:
        raise _wrong("time", "write the time as 09:30")
    hour, minute = int(match[1]), int(match[2])
    if repeat == "hourly":
        return f"{minute} * * * *"
    if repeat not in REPEATS:
        raise _wrong("repeat", "use one of hourly, daily, weekdays, monthly, a day of the week, cron")
    return f"{minute} {hour} {REPEATS[repeat]}"


def parts_of(cron: str) -> dict[str, str]:
    """The form's fields for a cron line: the inverse of `cron_of`."""
    match = re.fullmatch(r"(\d{1,2}) (\d{1,2}|\*) (.+)", cron)
    if match and match[2] == "*" and match[3] == "* * *":
        return {"repeat": "hourly", "time": f"00:{int(match[1]):02}"}
    repeat = next((name for name, rest in REPEATS.items() if match and rest == match[3] and match[2] != "*"), None)
    if match and repeat:
        return {"repeat": repeat, "time": f"{int(match[2]):02}:{int(match[1]):02}"}
    return {"repeat": "cron", "cron": cron}


def in_words(cron: str) -> str:
    """`every Monday at 09:00 UTC`; a line that is not one of ours stays itself."""
    parts = parts_of(cron)
    repeat, time = parts["repeat"], parts.get("time", "")
    if minutes := re.fullmatch(r"\*/(\d{1,2}) \* \* \* \*", cron):
        return f"every {minutes[1]} minutes" if int(minutes[1]) > 1 and 60 % int(minutes[1]) == 0 else cron
    if repeat == "cron":
        return cron
    if repeat == "hourly":
        return "every hour" if time[3:] == "00" else f"every hour at :{time[3:]}"
    words = {"daily": "every day", "weekdays": "every weekday", "monthly": "on the first of each month"}
    return f"{words.get(repeat) or 'every ' + repeat.capitalize()} at {time} UTC"

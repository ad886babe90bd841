"""The scheduler: one leader among all processes (a database lease), which sweeps and starts what the clock asks for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import column, or_, select, table, true
from sqlalchemy.orm import Session

from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import NOW_SQL, new_id
from webapp.core.errors import AppError, BadRequest
from webapp.runtime import Runtime
from webapp.tasks import store
from webapp.tasks.models import Schedule, Task
from webapp.tasks.notices import Announcer
from webapp.tasks.sweep import Sweeper

log = logging.getLogger(__name__)
LEASE = "scheduler"

# name, kind, cron (UTC), interval in seconds, parameters (contract shapes section 12)
SYSTEM_SCHEDULES: tuple[tuple[str, str, str | None, float | None, dict[str, Any]], ...] = (
    ("retention", "maintenance.retention", "0 4 * * *", None, {}),
    ("cleanup", "maintenance.retention", "0 * * * *", None, {"only_expired": True}),
    ("logins", "maintenance.logins", "15 4 * * *", None, {}),
    ("uploads", "maintenance.files", "30 4 * * *", None, {}),
    ("records", "maintenance.records", "40 4 * * *", None, {}),
    ("conversations", "maintenance.conversations", "45 4 * * *", None, {}),
    ("model calls", "maintenance.model_calls", "50 4 * * *", None, {}),
    ("notifications", "maintenance.notifications", "55 4 * * *", None, {}),
    ("embeddings", "knowledge.embed_pending", "*/30 * * * *", None, {}),
    ("freshness", "knowledge.freshness", "0 2 * * *", None, {"days": 30, "limit": 10}),
    ("quality", "knowledge.quality", "0 3 * * 1", None, {"limit": 100}),
    ("health", "maintenance.health", None, 300.0, {}),
    ("alerts", "maintenance.alerts", None, 60.0, {}),
)
# Where the name of the kind does not say what this one does.
SYSTEM_TITLES = {"cleanup": "Remove what has expired"}


class Scheduler:
    def __init__(self, rt: Runtime, *, sole: bool = False, renew: Callable[[], None] = lambda: None) -> None:
        """`sole`: this process owns the database alone (embedded), so nobody else can lead.

        renew: prolongs the leases of what this process runs, before each sweep. After the machine slept, the sweep
        might else be awake before the beat and take the process for lost.
        """
        self.rt, self.sole, self.renew = rt, sole, renew
        self.holder = new_id()
        self.leading = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, name="scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(3)
        if self.leading:
            _quietly(lambda: _release(self.rt, self.holder))

    def run(self) -> None:
        sweeper, announcer = Sweeper(self.rt), Announcer(self.rt, lambda: self.leading)
        announcer.start()
        while not self._stop.is_set():
            self.leading = self.sole or _quietly(lambda: _lead(self.rt, self.holder)) is True
            if self.leading:
                _quietly(self.renew)
                sweeper.pass_once()
                _quietly(lambda: start_due(self.rt))
            sweeper.wait(self._stop)
        announcer.stop()
        sweeper.close()


def ensure_system_schedules(rt: Runtime) -> None:
    """Rows for our own periodic jobs, made once; a paused one stays paused."""
    with rt.unit() as db:
        have = set(db.scalars(select(Schedule.name)))
        for name, kind, cron, interval, params in SYSTEM_SCHEDULES:
            if name not in have:
                db.add(Schedule(name=name, kind=kind, cron=cron, interval=interval, params=params,
                                next_at=next_time(cron, interval, _now(rt))))  # fmt: skip


def next_time(cron: str | None, interval: float | None, after: float) -> float:
    """Seconds since 1970 of the next run after `after`. Raises BadRequest for a cron line that is none."""
    if interval:
        return after + interval
    from cronsim import CronSim, CronSimError

    try:
        return float(next(CronSim(cron or "", datetime.fromtimestamp(after, UTC))).timestamp())
    except (CronSimError, StopIteration) as exc:
        raise BadRequest(f"{cron!r} is not a cron line: {exc}", suggestion="Five fields, such as 0 4 * * *") from None


def start_due(rt: Runtime) -> int:
    """Start a task for each schedule whose time has come. A time missed while down is made up once."""
    now = _now(rt)
    with rt.unit(write=False) as db:
        due = list(db.scalars(select(Schedule.id).where(Schedule.enabled, Schedule.next_at <= now, _may_start())))
    for schedule_id in due:
        try:
            _start_one(rt, schedule_id, now)
        except Exception as exc:
            log.error("schedule %s starts nothing: %s: %s", schedule_id, type(exc).__name__, str(exc)[:200])
            _skip_one(rt, schedule_id, now, exc)  # it must not stand before the others each time
    return len(due)


def _may_start() -> Any:
    """Schedules of suspended people wait. (Their rows are the identity area's; here only whether they may.)"""
    people = table("users", column("id"), column("is_active"))
    active = select(people.c.id).where(people.c.id == Schedule.owner_id, people.c.is_active == true())
    return or_(Schedule.owner_id.is_(None), active.exists())


def _skip_one(rt: Runtime, schedule_id: str, now: float, exc: Exception) -> None:
    with rt.unit() as db:
        row = db.scalar(select(Schedule).where(Schedule.id == schedule_id).with_for_update())
        if row is None:
            return
        row.error = (exc.message if isinstance(exc, AppError) else "the program failed; its log says why")[:500]
        try:
            _set_next(row, now)
        except BadRequest:
            row.enabled = False


def _set_next(row: Schedule, now: float) -> None:
    """The time after this one; what was to run once is over."""
    if row.cron is None and row.interval is None:
        row.next_at, row.enabled = None, False
    else:
        row.next_at = next_time(row.cron, row.interval, now)


def _start_one(rt: Runtime, schedule_id: str, now: float) -> None:
    from webapp.tasks import schedules

    with rt.unit() as db:
        row = db.scalar(select(Schedule).where(Schedule.id == schedule_id).with_for_update())
        if row is None or not row.enabled or row.next_at is None or row.next_at > now:
            return
        repeats = bool(row.cron or row.interval)
        _set_next(row, now)
        if repeats and _still_waits(db, row.last_task_id):
            return
        row.last_at, row.error = now, None
        ctx = Ctx(rt, db, SYSTEM, request_id=f"schedule-{row.name}"[:64])
        row.last_task_id = schedules.start_task(ctx, row, " (scheduled)")


def _still_waits(db: Session, task_id: str | None) -> bool:
    """Its last run has not begun: the queue is paused or nobody serves it. A second one would only stand behind it."""
    return task_id is not None and db.scalar(select(Task.status).where(Task.id == task_id)) == "queued"


def _lead(rt: Runtime, holder: str) -> bool:
    dialect = rt.engine.dialect.name
    ttl = max(15.0, rt.settings.sweep_seconds * 3)
    sql = (
        f"INSERT INTO leases (name, holder, until) VALUES (:name, :holder, {NOW_SQL[dialect]} + :ttl)"
        " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
        f" WHERE leases.holder = :holder OR leases.until < {NOW_SQL[dialect]}"
    )
    with rt.engine.begin() as connection:
        return bool(store.run_sql(connection, sql, {"name": LEASE, "holder": holder, "ttl": ttl}).rowcount == 1)


def _release(rt: Runtime, holder: str) -> None:
    with rt.engine.begin() as connection:
        store.run_sql(connection, "DELETE FROM leases WHERE name = :n AND holder = :h", {"n": LEASE, "h": holder})


def _now(rt: Runtime) -> float:
    with rt.engine.connect().execution_options(readonly=True) as connection:
        return float(store.run_sql(connection, f"SELECT {NOW_SQL[rt.engine.dialect.name]}", {}).scalar())


def _quietly(action: Any) -> Any:
    try:
        return action()
    except Exception as exc:
        log.warning("scheduler: %s: %s", type(exc).__name__, str(exc)[:200])
        return None

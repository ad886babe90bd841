"""How tasks went: outcomes, durations and waits by kind, by agent and over time. SQL adds up, nothing is read row by row.

Times are put into drawers (1,234 ms lies in that of 1,200, 98,765 ms in that of 98,500), so percentiles come from a few
hundred counts instead of a sorted list of all tasks; they are at most a twentieth too small, mostly far less.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    String,
    case,
    cast,
    extract,
    func,
    literal,
    null,
    select,
    type_coerce,
    union_all,
)

from webapp.core.context import Ctx
from webapp.core.db import unindexed, utcnow
from webapp.core.errors import BadRequest
from webapp.tasks.dialects import eceee_status
from webapp.tasks.models import ACTIVE, Task

LONGEST = timedelta(days=400)
HOURLY = timedelta(days=3)  # a range up to this is cut into hours, a longer one into days
JUDGED = ("completed", "failed", "timed_out")  # a cancelled task is neither success nor error
FAILED = ("failed", "timed_out")
KEPT = 64  # ranges whose sums one process keeps


@dataclass
class Figures:
    """Of one kind, one agent or all together. Times in seconds; None where nothing was measured."""

    name: str
    by_status: Counter[str] = field(default_factory=Counter)  # of those that ended in the range
    took: Counter[int] = field(default_factory=Counter)  # milliseconds -> how many, of those that ended by themselves
    took_ms: int = 0  # sum over `took`, not rounded
    began: int = 0
    waited_ms: int = 0  # of all that began
    waiting: int = 0  # now
    running: int = 0  # now

    def add(self, status: str, drawer: int | None, number: int, took: int, began: int, waited: int) -> None:
        self.by_status[status] += number
        self.began += began
        self.waited_ms += waited
        if drawer is not None and status in JUDGED:
            self.took[drawer] += number
            self.took_ms += took

    @property
    def ended(self) -> int:
        return self.by_status.total()

    @property
    def completed(self) -> int:
        return self.by_status["completed"]

    @property
    def failed(self) -> int:
        return sum(self.by_status[status] for status in FAILED)

    @property
    def cancelled(self) -> int:
        return self.by_status["cancelled"]

    @property
    def success_rate(self) -> float | None:
        judged = self.completed + self.failed
        return self.completed / judged if judged else None

    @property
    def error_rate(self) -> float | None:
        judged = self.completed + self.failed
        return self.failed / judged if judged else None

    @property
    def average(self) -> float | None:
        timed = self.took.total()
        return self.took_ms / timed / 1000 if timed else None

    @property
    def average_wait(self) -> float | None:
        return self.waited_ms / self.began / 1000 if self.began else None

    def duration(self, percent: int) -> float | None:
        return percentile(self.took, percent)


@dataclass
class Slot:
    """One hour or day. Averages in seconds."""

    at: datetime
    by_status: Counter[str] = field(default_factory=Counter)
    took_ms: int = 0
    timed: int = 0
    waited_ms: int = 0
    began: int = 0

    def add(self, status: str, number: int, took: int, began: int, waited: int) -> None:
        self.by_status[status] += number
        self.began += began
        self.waited_ms += waited
        if status in JUDGED:
            self.took_ms += took
            self.timed += began

    @property
    def failed(self) -> int:
        return sum(self.by_status[status] for status in FAILED)

    @property
    def average(self) -> float | None:
        return self.took_ms / self.timed / 1000 if self.timed else None

    @property
    def average_wait(self) -> float | None:
        return self.waited_ms / self.began / 1000 if self.began else None


@dataclass
class Report:
    """Tasks that ended in `since` <= t < `until`, and what waits and runs now. Without parts of tasks and upkeep."""

    everyone: bool
    since: datetime
    until: datetime
    hourly: bool
    total: Figures
    waited: Counter[int]  # milliseconds in the queue -> how many of all that began
    kinds: list[Figures]  # those with most tasks first
    agents: list[Figures]
    slots: list[Slot]

    def wait(self, percent: int) -> float | None:
        return percentile(self.waited, percent)


def report(ctx: Ctx, since: datetime, until: datetime, *, everyone: bool = False, kind: str | None = None) -> Report:
    """Five queries at most, whatever is in the tables. `everyone` is for administrators and means nothing for others.

    Raises BadRequest for a range that ends before it begins or is longer than LONGEST.
    """
    if not since < until:
        raise BadRequest("the range ends before it begins", details=[_field("until", "comes after since")])
    if until - since > LONGEST:
        raise BadRequest(f"at most {LONGEST.days} days", details=[_field("since", f"at most {LONGEST.days} days")])
    all_ = everyone and ctx.user.is_admin
    hourly = until - since <= HOURLY
    found = Report(all_, since, until, hourly, Figures("all"), Counter(), [], [], _slots(since, until, hourly))
    kinds: dict[str, Figures] = {}
    agents: dict[str, Figures] = {}
    slots = {_slot_name(slot.at, hourly): slot for slot in found.slots}
    for part, name, status, drawer, number, took, began, waited in _sums(ctx, since, until, hourly, all_, kind):
        if part == "slot":
            if name in slots:
                slots[name].add(status, number, took or 0, began, waited or 0)
        elif part == "wait":
            found.waited[drawer] += number
        else:
            whose = kinds if part == "kind" else agents
            if name not in whose:
                whose[name] = Figures(name)
            whose[name].add(status, drawer, number, took or 0, began, waited or 0)
    _add_present(ctx, all_, kind, kinds, agents)
    for one in kinds.values():
        _join(found.total, one)
    found.kinds = sorted(kinds.values(), key=lambda one: (-one.ended - one.waiting - one.running, one.name))
    found.agents = sorted(agents.values(), key=lambda one: (-one.ended - one.waiting - one.running, one.name))
    return found


def percentile(drawers: Counter[int], percent: int) -> float | None:
    """The smallest time, in seconds, that `percent` of all do not pass."""
    need = drawers.total() * percent / 100
    for value in sorted(drawers):
        need -= drawers[value]
        if need <= 1e-9:
            return value / 1000
    return None


def _join(total: Figures, one: Figures) -> None:
    total.by_status += one.by_status
    total.took += one.took
    total.took_ms += one.took_ms
    total.began += one.began
    total.waited_ms += one.waited_ms
    total.waiting += one.waiting
    total.running += one.running


# -- sums of what is over --------------------------------------------------------------------------------------------


def _sums(
    ctx: Ctx, since: datetime, until: datetime, hourly: bool, everyone: bool, kind: str | None
) -> Iterable[Sequence[Any]]:
    """Rows of `_ended`. Adding up 100,000 tasks takes a third of a second, and almost all of them ended before this hour
    or day began: their sums are kept, and asked for again only when some of these tasks came or went."""
    cut = min(until, max(since, _begin(utcnow(), hourly)))
    over = _kept_sums(ctx, since, cut, hourly, everyone, kind) if since < cut else ()
    return chain(over, ctx.db.execute(_ended(ctx, cut, until, hourly, everyone, kind)) if cut < until else ())


def _kept_sums(
    ctx: Ctx, since: datetime, until: datetime, hourly: bool, everyone: bool, kind: str | None
) -> Sequence[Any]:
    kept: _Kept = ctx.rt.kept("sums of tasks", _Kept)
    # Whoever retries a task or deletes it changes the number, and whatever ends late is the last.
    seen = tuple(ctx.db.execute(_traces(ctx, since, until, everyone, kind)).one())
    key = (None if everyone else ctx.user.id or "", everyone, since, until, hourly, kind)
    rows = kept.get(key, seen)
    if rows is None:
        rows = [tuple(row) for row in ctx.db.execute(_ended(ctx, since, until, hourly, everyone, kind))]
        kept.put(key, seen, rows)
    return rows


class _Kept:
    """Sums by what was asked for, with the traces of the tasks they are of; those used last stay."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: OrderedDict[Any, tuple[Any, Sequence[Any]]] = OrderedDict()

    def get(self, key: Any, seen: Any) -> Sequence[Any] | None:
        with self._lock:
            before, rows = self._rows.get(key, (None, ()))
            if before != seen:
                return None
            self._rows.move_to_end(key)
            return rows

    def put(self, key: Any, seen: Any, rows: Sequence[Any]) -> None:
        with self._lock:
            self._rows[key] = seen, rows
            self._rows.move_to_end(key)
            while len(self._rows) > KEPT:
                self._rows.popitem(last=False)


# -- SQL -------------------------------------------------------------------------------------------------------------


def _counted(ctx: Ctx, everyone: bool, kind: str | None = None, *, by_rest: bool = False) -> list[ColumnElement[bool]]:
    """The caller's tasks, or everybody's, as lists show them: no parts of tasks, none of our own upkeep.

    by_rest: come by the index of the other conditions, which holds all that is asked; SQLite left to itself would
    walk through the owner's rows.
    """
    owner, parent = (
        (unindexed(Task.owner_id), unindexed(Task.parent_id)) if by_rest else (Task.owner_id, Task.parent_id)
    )
    found = [parent.is_(None), Task.kind.not_like("maintenance.%")]
    if not everyone and ctx.user.id is not None:
        found.append(owner == ctx.user.id)
    elif not everyone and not ctx.user.is_admin:
        found.append(owner.is_(None))
    if kind:
        found.append((unindexed(Task.kind) if by_rest else Task.kind) == kind[:64])
    return found


def _ended(ctx: Ctx, since: datetime, until: datetime, hourly: bool, everyone: bool, kind: str | None) -> Any:
    """Four groupings of the same rows in one statement: the rows are read, and their times computed, once."""
    dialect = ctx.rt.engine.dialect.name
    stmt = select(
        Task.kind,
        Task.status,
        Task.agent_id,
        _slot_of(dialect, hourly).label("slot"),
        _milliseconds(dialect, Task.started_at, Task.finished_at).label("took"),
        _milliseconds(dialect, Task.created_at, Task.started_at).label("waited"),
    ).where(*_counted(ctx, everyone, kind, by_rest=True), Task.finished_at >= since, Task.finished_at < until)
    rows = stmt.cte("ended").c
    # Each expression once: Postgres knows what is selected again in GROUP BY only with the very same parameters.
    took, waited = _drawer(rows.took), _drawer(rows.waited)
    of_agents = select(*_columns("agent", rows.agent_id, rows.status, took, rows)).where(rows.agent_id.is_not(None))
    waits = select(*_columns("wait", None, None, waited, rows)).where(rows.waited.is_not(None))
    return union_all(  # numbers first: SQLite groups by sorting, and these decide at the first look
        select(*_columns("slot", rows.slot, rows.status, None, rows)).group_by(rows.slot, rows.status),
        select(*_columns("kind", rows.kind, rows.status, took, rows)).group_by(took, rows.status, rows.kind),
        of_agents.group_by(took, rows.status, rows.agent_id),
        waits.group_by(waited),
    )


def _traces(ctx: Ctx, since: datetime, until: datetime, everyone: bool, kind: str | None) -> Any:
    """What differs when any of these tasks came or went: a tenth of the work of adding them up."""
    completed = func.count().filter(Task.status == "completed")
    traces = select(func.count(), completed, func.min(Task.finished_at), func.max(Task.finished_at))
    return traces.where(*_counted(ctx, everyone, kind, by_rest=True), Task.finished_at >= since,
                        Task.finished_at < until)  # fmt: skip


def _columns(part: str, name: Any, status: Any, drawer: Any, rows: Any) -> list[Any]:
    """part, name, status, drawer, number, took, began, waited: what began has a time it waited, and then took one."""
    return [
        literal(part, String).label("part"),
        (name if name is not None else cast(null(), String)).label("name"),
        (status if status is not None else cast(null(), String)).label("status"),
        (drawer if drawer is not None else cast(null(), BigInteger)).label("drawer"),
        func.count().label("number"),
        cast(func.sum(rows.took), BigInteger).label("took"),
        func.count(rows.waited).label("began"),
        cast(func.sum(rows.waited), BigInteger).label("waited"),
    ]


def _milliseconds(dialect: str, start: Any, end: Any) -> Any:
    """NULL where one of the two is: what never began neither waited to its end nor took any time."""
    if dialect == "sqlite":
        return cast(func.round((func.julianday(end) - func.julianday(start)) * 86_400_000.0), Integer)
    return cast(func.round(extract("epoch", end - start) * 1000), BigInteger)


def _drawer(ms: Any) -> Any:
    """Down to the next 5 of three digits: 1,234 -> 1,200, 98,765 -> 98,500; below a second the 5 ms."""
    steps = [(ms < 200 * step, ms // step * step) for step in (5, 50, 500, 5_000, 50_000)]
    return case(*steps, else_=ms // 500_000 * 500_000)


def _slot_of(dialect: str, hourly: bool) -> Any:
    if dialect == "sqlite":
        return func.substr(type_coerce(Task.finished_at, String), 1, 13 if hourly else 10)
    return func.to_char(Task.finished_at, "YYYY-MM-DD HH24" if hourly else "YYYY-MM-DD")


def _slot_name(at: datetime, hourly: bool) -> str:
    return at.strftime("%Y-%m-%d %H" if hourly else "%Y-%m-%d")


def _begin(at: datetime, hourly: bool) -> datetime:
    """Of the hour or day it lies in."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return at if hourly else at.replace(hour=0)


def _slots(since: datetime, until: datetime, hourly: bool) -> list[Slot]:
    step = timedelta(hours=1) if hourly else timedelta(days=1)
    at = _begin(since, hourly)
    found = []
    while at < until:
        found.append(Slot(at))
        at += step
    return found


def _add_present(
    ctx: Ctx, everyone: bool, kind: str | None, kinds: dict[str, Figures], agents: dict[str, Figures]
) -> None:
    """What waits and runs at this moment, per kind and per agent."""
    active = Task.status.in_(ACTIVE)
    by_kind = select(Task.kind, Task.status, func.count()).where(*_counted(ctx, everyone, kind), active)
    by_kind = by_kind.group_by(Task.kind, Task.status)
    by_agent = select(Task.agent_id, Task.status, func.count()).where(*_counted(ctx, everyone, kind, by_rest=True))
    by_agent = by_agent.where(Task.agent_id.is_not(None), Task.finished_at.is_(None))
    by_agent = by_agent.group_by(Task.agent_id, Task.status)
    for stmt, found in ((by_kind, kinds), (by_agent, agents)):
        for name, status, number in ctx.db.execute(stmt):
            figures = found.setdefault(str(name), Figures(str(name)))
            if status in ("queued", "retrying"):
                figures.waiting += number
            else:
                figures.running += number


def _field(name: str, message: str) -> dict[str, Any]:
    return {"loc": [name], "msg": message, "type": "value_error"}


# -- ECEEE -----------------------------------------------------------------------------------------------------------


def summary(ctx: Ctx) -> dict[str, Any]:
    """Of all the caller's tasks, in ECEEE's words: counts by status and type, success rate, seconds on average.

    Two queries. The rate and the seconds are of tasks that ended by themselves, None while there is none.
    """
    # Ids begin with the time they were made at, so that the index which counts also knows what is of today.
    today = utcnow().replace(hour=0, minute=0, second=0, microsecond=0)
    of_today = func.count().filter(Task.id >= first_id(today))
    counted = select(Task.kind, Task.status, func.count(), of_today).where(*_counted(ctx, False))
    rows: Sequence[Any] = ctx.db.execute(counted.group_by(Task.kind, Task.status)).all()
    took = _milliseconds(ctx.rt.engine.dialect.name, Task.started_at, Task.finished_at)
    ended = select(func.avg(took)).where(*_counted(ctx, False, by_rest=True), Task.finished_at.is_not(None),
                                         unindexed(Task.status).in_(JUDGED))  # fmt: skip
    average = ctx.db.scalar(ended)
    by_status = dict.fromkeys(("pending", "running", "completed", "failed", "cancelled"), 0)
    by_type: Counter[str] = Counter()
    for kind, status, number, _ in rows:
        by_status[eceee_status(status)] += number
        by_type[kind] += number
    judged = by_status["completed"] + by_status["failed"]
    return {
        "total_tasks": sum(by_status.values()),
        "by_status": by_status,
        "by_type": dict(by_type.most_common()),
        "success_rate": round(by_status["completed"] / judged, 4) if judged else None,
        "average_duration_seconds": round(float(average) / 1000, 3) if average is not None else None,
        "tasks_today": sum(row[3] for row in rows),
        "active_tasks": by_status["pending"] + by_status["running"],
    }


def first_id(at: datetime) -> str:
    """What every id made at or after this moment sorts behind."""
    text = f"{int(at.timestamp() * 1000):012x}"
    return f"{text[:8]}-{text[8:]}"

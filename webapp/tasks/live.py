"""Feeds of the task area: what each live reader is sent. The hub (webapp/web/hub.py) does the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import defer

from webapp.core.context import Ctx
from webapp.core.db import iso, utcnow
from webapp.core.errors import BadRequest, NotFound, Unauthorized
from webapp.runtime import Runtime
from webapp.tasks import dialects, service
from webapp.tasks.models import ACTIVE, FINAL, Task, TaskEvent

LEVELS = ("debug", "info", "warning", "error")
READ_LIMIT = 2000  # events of one task that one push reads
BEYOND = 2**62  # no sequence number comes to it


# -- what the hub asks for -------------------------------------------------------------------------------------------


def read(rt: Runtime, wanted: list[tuple[str, int]]) -> list[tuple[Task, list[TaskEvent]]]:
    """Tasks (without their large columns) with their events after a sequence number."""
    found: list[tuple[Task, list[TaskEvent]]] = []
    for start in range(0, len(wanted), 50):
        found += _read_some(rt, wanted[start : start + 50])
    return found


# Reading for one push takes longer than all the rest of it, so columns are read and no objects are tracked.
_COLUMNS = [column for column in Task.__table__.c if column.name not in ("result", "checkpoint", "params")]
_ONE = select(*_COLUMNS).where(Task.id == bindparam("id"))
_ITS_EVENTS = (
    select(TaskEvent.__table__)
    .where(TaskEvent.task_id == bindparam("id"), TaskEvent.seq > bindparam("after"))
    .order_by(TaskEvent.seq)
    .limit(READ_LIMIT)
)
# A task's columns with its properties (`is_final`, `priority`): what feeds and templates ask of it.
_TaskRow = type("_TaskRow", (SimpleNamespace,), {k: v for k, v in vars(Task).items() if isinstance(v, property)})


def _read_some(rt: Runtime, wanted: list[tuple[str, int]]) -> list[tuple[Task, list[TaskEvent]]]:
    with rt.unit(write=False) as db:
        connection = db.connection()
        if len(wanted) == 1:
            one = {"id": wanted[0][0], "after": wanted[0][1]}
            rows, events = connection.execute(_ONE, one).all(), connection.execute(_ITS_EVENTS, one).all()
        else:
            rows = connection.execute(select(*_COLUMNS).where(Task.id.in_([id for id, _ in wanted]))).all()
            after = or_(*(and_(TaskEvent.task_id == id, TaskEvent.seq > seq) for id, seq in wanted))
            stmt = select(TaskEvent.__table__).where(after).order_by(TaskEvent.task_id, TaskEvent.seq)
            events = connection.execute(stmt.limit(READ_LIMIT * len(wanted))).all()
    tasks: list[Any] = [_TaskRow(**row._mapping) for row in rows]
    # Two reads see two moments: what happened between them comes with its own bell. The other way round a task would
    # be over (and its streams closed) before its last event was read.
    stands = {task.id: task.seq for task in tasks}
    by_task: dict[str, list[Any]] = {}
    for event in events:
        if event.seq <= stands.get(event.task_id, 0):
            by_task.setdefault(event.task_id, []).append(event)
    return [(task, by_task.get(task.id, [])) for task in tasks]


def _light() -> Any:
    return select(Task).options(defer(Task.result, raiseload=True), defer(Task.checkpoint), defer(Task.params))


def moved(rt: Runtime, task_ids: list[str], owners: list[str]) -> list[tuple[str, int, str | None]]:
    """Where watched tasks stand, for the tick that makes up for lost bells."""
    rows: list[Any] = []
    with rt.unit(write=False) as db:
        columns = select(Task.id, Task.seq, Task.owner_id)
        for start in range(0, len(task_ids), 500):
            rows += db.execute(columns.where(Task.id.in_(task_ids[start : start + 500]))).all()
        for start in range(0, len(owners), 500):
            mine = Task.owner_id.in_(owners[start : start + 500])
            rows += db.execute(columns.where(mine, Task.status.in_(ACTIVE)).limit(2000)).all()
    return [(row.id, row.seq, row.owner_id) for row in rows]


# -- feeds -----------------------------------------------------------------------------------------------------------


class BaseFeed:
    """Shared by all: pings are answered, bad JSON is told and survived."""

    key = ""
    tells_gone = False
    shows_text = False
    task_id: Any = None

    def __init__(self, hub: Any) -> None:
        self.hub = hub

    def topics(self) -> Iterable[str]:
        return ()

    def join(self, rt: Runtime, client: Any) -> None:
        raise NotImplementedError

    def wants(self, event: TaskEvent) -> bool:
        return True

    def render(self, rt: Runtime, task: Task, events: list[TaskEvent]) -> list[tuple[int, str]]:
        raise NotImplementedError

    def render_text(self, rt: Runtime, task: Task, after: int) -> tuple[int, list[tuple[int, str]]]:
        """What is new of the text that `task` writes; for feeds that show it."""
        return 0, []

    def is_over(self, task: Task) -> bool:
        return False

    def on_message(self, rt: Runtime, client: Any, text: str) -> None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            self.say(client, {"type": "error", "message": "Invalid JSON"})
            return
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "ping":
            import time

            client.app_ping = time.monotonic()
            self.say(client, {"type": "pong", "timestamp": iso(utcnow())})
        elif not isinstance(kind, str) or not self.heard(rt, client, kind, message):
            self.say(client, {"type": "error", "message": f"Unknown message type {str(kind)[:40]}"})

    def heard(self, rt: Runtime, client: Any, kind: str, message: dict[str, Any]) -> bool:
        return False

    def _send_after(self, rt: Runtime, client: Any, seq: int) -> int:
        """All events of the one task after `seq`; the last one's number."""
        while True:
            found = read(rt, [(self.task_id, seq)])
            events = found[0][1] if found else []
            if events:
                self.hub.send_texts(client, self.render(rt, found[0][0], events))
                seq = events[-1].seq
            if len(events) < READ_LIMIT:
                return seq

    def say(self, client: Any, message: dict[str, Any], seq: int | None = None) -> None:
        self.hub.send_text(client, dump(message), seq)


class UserFeed(BaseFeed):
    """`/ws/tasks/`: events of all tasks of the caller (001:180-195)."""

    key = "eceee"

    def __init__(self, hub: Any, ctx: Ctx) -> None:
        super().__init__(hub)
        if not ctx.user.is_authenticated:
            raise Unauthorized("credentials are needed")
        self.user_id = ctx.user.id
        self.only: frozenset[str] | None = None

    def topics(self) -> Iterable[str]:
        return [f"user:{self.user_id}"]

    def join(self, rt: Runtime, client: Any) -> None:
        """Greeting, then the present state of what is not over."""
        self.say(client, {"type": "connected", "message": "Connected to task updates"})
        with rt.unit(write=False) as db:
            active = db.scalars(
                _light().where(Task.owner_id == self.user_id, Task.status.in_(ACTIVE)).order_by(Task.id).limit(200)
            ).all()
        for task in active:
            client.moved(task.id, task.seq)
            self.say(client, dialects.present_state(task))

    def heard(self, rt: Runtime, client: Any, kind: str, message: dict[str, Any]) -> bool:
        ids = message.get("task_ids")
        if kind == "subscribe" and isinstance(ids, list) and all(isinstance(one, str) for one in ids[:500]):
            self.only = frozenset(ids[:500]) or None
            self.key = f"eceee:{id(self)}" if self.only else "eceee"
            self.say(client, {"type": "subscribed", "task_ids": sorted(self.only or ())})
            return True
        return False

    def wants(self, event: TaskEvent) -> bool:
        return self.only is None or event.task_id in self.only

    def render(self, rt: Runtime, task: Task, events: list[TaskEvent]) -> list[tuple[int, str]]:
        if task.owner_id != self.user_id:
            return []
        return [(event.seq, dump(dialects.eceee_event(event))) for event in events]


class TaskFeed(BaseFeed):
    """`/ws/tasks/{task_id}`: status, progress, complete of one task (002:2306-2342)."""

    def __init__(self, hub: Any, ctx: Ctx, task_id: str, after: int | None = None) -> None:
        super().__init__(hub)
        self.task_id = service.get(ctx, task_id).id
        self.after = after
        self.key = f"agentic:{self.task_id}"

    def topics(self) -> Iterable[str]:
        return [f"task:{self.task_id}"]

    def join(self, rt: Runtime, client: Any) -> None:
        self.say(client, {"type": "connected", "message": f"Connected to task {self.task_id}"})
        for task, _ in read(rt, [(self.task_id, BEYOND)]):
            # A resumed reader gets what it missed, a new one (or one that is ahead of us) where things stand.
            if self.after is not None and self.after <= task.seq:
                client.moved(task.id, self._send_after(rt, client, self.after))
                continue
            client.moved(task.id, task.seq)
            self.say(client, {"type": "task_status", "data": dialects.agentic_state(task)}, task.seq)
            if task.is_final:
                self.say(client, {"type": "task_complete", "data": dialects.agentic_state(task)}, task.seq)

    def heard(self, rt: Runtime, client: Any, kind: str, message: dict[str, Any]) -> bool:
        """`{"type": "resume", "after": seq}` sends what came after a sequence number again."""
        after = message.get("after")
        if kind != "resume" or not isinstance(after, int) or isinstance(after, bool):
            return False
        after = min(max(0, after), BEYOND)
        last = self._send_after(rt, client, after)
        if last > after:
            client.moved(self.task_id, last)
        return True

    def render(self, rt: Runtime, task: Task, events: list[TaskEvent]) -> list[tuple[int, str]]:
        out = []
        for event in events:
            kind = "task_progress" if event.type == "progress" else "task_status"
            if event.status in FINAL and event.type in ("result", "error", "status"):
                kind = "task_complete"
            out.append((event.seq, dump({"type": kind, "seq": event.seq, "data": dialects.agentic_state(task, event)})))
        return out


class LogFeed(BaseFeed):
    """`/ws/logs`: log lines of the caller's tasks, filtered by task, agent and level (002:2306-2342)."""

    def __init__(self, hub: Any, ctx: Ctx, *, task_id: str | None = None, level: str | None = None,
                 agent_id: str | None = None) -> None:  # fmt: skip
        super().__init__(hub)
        self.user_id, self.sees_all = ctx.user.id, ctx.user.id is None and ctx.user.is_admin
        self._set_filters(level, service.get(ctx, task_id).id if task_id else None, agent_id)

    def _set_filters(self, level: Any, task_id: Any, agent_id: Any) -> None:
        for given in (task_id, agent_id):
            if given is not None and not isinstance(given, str):
                raise BadRequest("task_id and agent_id are texts")
        self._set_level(level)
        self.task_id, self.agent_id = task_id, agent_id
        self.key = f"logs:{self.user_id}:{task_id}:{agent_id}:{len(self.levels)}"

    def _set_level(self, level: Any) -> None:
        if level is not None and level not in LEVELS:
            raise BadRequest(f"level: use one of {', '.join(LEVELS)}")
        self.level, self.levels = level, LEVELS[LEVELS.index(level) :] if level else LEVELS

    def topics(self) -> Iterable[str]:
        if self.task_id:
            return [f"task:{self.task_id}"]
        return ["all"] if self.sees_all or self.user_id is None else [f"user:{self.user_id}"]

    def join(self, rt: Runtime, client: Any) -> None:
        self.say(client, {"type": "connected", "message": "Connected to log stream"})
        if self.task_id:
            for task, _ in read(rt, [(self.task_id, BEYOND)]):
                client.moved(task.id, task.seq)

    def heard(self, rt: Runtime, client: Any, kind: str, message: dict[str, Any]) -> bool:
        filters = message.get("filters")
        if kind != "update_filters" or not isinstance(filters, dict):
            return False
        now = {"level": self.level, "task_id": self.task_id, "agent_id": self.agent_id}
        now |= {name: value or None for name, value in filters.items() if name in now}
        try:
            self._set_filters(**now)
        except BadRequest as exc:
            self.say(client, {"type": "error", "message": exc.message})
            return True
        self.hub.watch(client, self.topics())  # of strangers' tasks nothing is rendered
        self.say(client, {"type": "filters_updated", "filters": now})
        return True

    def wants(self, event: TaskEvent) -> bool:
        return event.level in self.levels and self.task_id in (None, event.task_id)

    def render(self, rt: Runtime, task: Task, events: list[TaskEvent]) -> list[tuple[int, str]]:
        if not (self.sees_all or task.owner_id == self.user_id) or task.kind.startswith("maintenance."):
            return []
        if self.agent_id and task.agent_id != self.agent_id:
            return []
        out = []
        for event in events:
            out.append((event.seq, dump({"type": "log_entry", "data": dialects.log_entry(event, task)})))
            if event.type in ("status", "result", "error"):
                out.append((event.seq, dump({"type": "task_update", "data": dialects.agentic_state(task, event)})))
        return out


class StreamFeed(BaseFeed):
    """Server-sent events of one task, in the shape `one(event, task)` makes; ends with the terminal event."""

    def __init__(self, hub: Any, task: Task, after: int | None, one: Callable[[TaskEvent, Task], dict[str, Any]],
                 key: str, *, first_state: bool) -> None:  # fmt: skip
        super().__init__(hub)
        self.task_id, self.after, self.one, self.first_state = task.id, after, one, first_state
        self.key = f"{key}:{task.id}"

    def topics(self) -> Iterable[str]:
        return [f"task:{self.task_id}"]

    def join(self, rt: Runtime, client: Any) -> None:
        """A new reader gets the present state first, a returning one every event it missed."""
        skip_all = self.after is None and self.first_state
        for task, events in read(rt, [(self.task_id, BEYOND if skip_all else self.after or 0)]):
            seq = events[-1].seq if events else task.seq
            if self.after is not None and self.after > task.seq:
                self.say(client, {"type": "reset", "message": "Starting again from the present state"})
                skip_all = self.first_state
                seq = task.seq if skip_all else self._send_after(rt, client, 0)
            if skip_all:
                self.say(client, dialects.present_state(task), task.seq)
            self.hub.send_texts(client, self.render(rt, task, events))
            client.moved(task.id, seq)
            if self.is_over(task):
                self.hub.close(client)

    def render(self, rt: Runtime, task: Task, events: list[TaskEvent]) -> list[tuple[int, str]]:
        return [(event.seq, dump(self.one(event, task))) for event in events]

    def is_over(self, task: Task) -> bool:
        return task.is_final


def last_event_id(given: str | None) -> int | None:
    """The header's number; None when there is none. Anything else starts from the beginning."""
    if given is None or given == "":
        return None
    return number(given) or 0


def number(text: str) -> int | None:
    """A sequence number as written by us; other digits (`²`) and longer ones are none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def dump(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


__all__ = ["NotFound", "LogFeed", "StreamFeed", "TaskFeed", "UserFeed", "last_event_id", "moved", "read"]

"""The hot statements: start, claim, advance, renew. Written out per database, because they are counted.

Each is one transaction that changes the task's row and appends the event that says so; `seq` is taken in the
same statement that locks the row. Every write of a worker carries its fence and is refused when it changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection

from webapp.core.db import NOW_SQL, driver_connection, new_id, utcnow
from webapp.core.text import clean as clean_text
from webapp.runtime import Runtime

NOTED = ("completed", "failed", "timed_out", "cancelled", "waiting_input")  # what people may want to be told of
MOVED = "id, seq, status, progress, owner_id, cancel_requested, kind, queue, message, title, attempt, parent_id"
CLAIMED = (
    MOVED + ", params, checkpoint, max_attempts, crashes, fence, time_limit, started_at, request_id, error_code, step"
)


class Event(NamedTuple):
    """What to append beside a change. `message` None repeats the row's message."""

    type: str
    message: str | None = None
    level: str = "info"
    data: Mapping[str, Any] | None = None


class Row(dict[str, Any]):
    """A returned row by column name and attribute."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def start(connection: Connection, values: dict[str, Any], event: Event) -> None:
    """Insert a task and its first event in the caller's transaction."""
    dialect = connection.dialect.name
    at = utcnow()
    values = {**values, **configured(values["params"]), "seq": 1, "created_at": at, "updated_at": at}
    logged = _event_values(event, values["id"], 1, values["status"], 0, values["message"], at)
    if dialect == "postgresql":  # both in one round trip
        task, task_values = _insertion(dialect, "tasks", values)
        log, log_values = _insertion(dialect, "task_events", logged, "e_")
        run_sql(connection, f"WITH started AS ({task}) {log}", task_values | log_values)
        return
    for table, row in (("tasks", values), ("task_events", logged)):
        run_sql(connection, *_insertion(dialect, table, row))


def configured(params: dict[str, Any]) -> dict[str, Any]:
    """The columns that hold a configuration; the agent it names has one, so that nobody opens all of them to count."""
    named = params.get("agent_id")
    return {"params": params, "agent_id": named[:64] if isinstance(named, str) and named else None}


def claim(
    rt: Runtime,
    queue: str,
    worker_id: str,
    lease: float,
    crashes_below: int | None = None,
    not_of: str | None = None,
) -> Row | None:
    """Take a task that is due on `queue`, or None: of the most urgent ones the oldest of the owner whose turn it is.

    This one statement makes duplicates harmless. crashes_below: leave tasks that lost so many workers to others.
    not_of: leave this owner's.
    """
    dialect = rt.engine.dialect.name
    turns: dict[str, str] = rt.kept("whose turn it was", dict)
    sets = (
        "status = 'running', attempt = attempt + 1, fence = fence + 1, worker_id = :worker_id, due_at = NULL,"
        f" lease_until = {NOW_SQL[dialect]} + :lease, started_at = COALESCE(started_at, :at), message = 'Started'"
    )
    params: dict[str, Any] = {"queue": queue, "worker_id": worker_id, "lease": lease, "after": turns.get(queue, "")}
    if crashes_below is not None:
        params["crashes_below"] = crashes_below
    if not_of is not None:
        params["not_of"] = not_of
    pick = _pick(dialect, bool(params["after"]), crashes_below is not None, not_of is not None)
    where = f"id = {pick} AND NOT EXISTS (SELECT 1 FROM queue_pauses WHERE queue_pauses.queue = :queue)"
    row = _move(rt, where, sets, params, Event("status"), CLAIMED)
    if row is not None:
        turns[queue] = row.owner_id or ""
    return row


def said(rt: Runtime, task_id: str, message: str) -> tuple[float, int]:
    """(seconds since a task's log said `message` first, how often), of its run now: what came before it was queued again
    by hand does not count."""
    sql = (
        "SELECT min(at) AS first, count(*) AS times FROM task_events WHERE task_id = :id AND message = :message AND seq >"
        " COALESCE((SELECT max(seq) FROM task_events WHERE task_id = :id AND message = 'Queued again'), 0)"
    )
    with rt.engine.connect().execution_options(readonly=True) as connection:
        first, times = run_sql(connection, sql, {"id": task_id, "message": message}).fetchone()
    if not times:
        return 0.0, 0
    at = datetime.fromisoformat(first) if isinstance(first, str) else first
    return max(0.0, (utcnow() - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds()), int(times)


@lru_cache(maxsize=16)
def _pick(dialect: str, after: bool, careful: bool, not_of: bool) -> str:
    """The task to claim. Owners take turns, so that one who queued thousands costs another no more than one of them.

    First the owner after the one who was served last, then the tasks of nobody, then the first owner again. Each is
    one look into the index `ix_tasks_ready`, however long the queue is.
    """
    now = NOW_SQL[dialect]
    ready = f"queue = :queue AND status = 'queued' AND (due_at IS NULL OR due_at <= {now})"
    if careful:
        ready += " AND crashes < :crashes_below"
    if not_of:
        ready += " AND (owner_id IS NULL OR owner_id <> :not_of)"
    lock = " FOR UPDATE SKIP LOCKED" if dialect == "postgresql" else ""
    urgent = f"{ready} AND rank = (SELECT rank FROM tasks WHERE {ready} ORDER BY rank LIMIT 1)"
    next_one = f"SELECT id FROM tasks WHERE {urgent} AND owner_id > :after ORDER BY owner_id, id LIMIT 1{lock}"
    nobody = f"SELECT id FROM tasks WHERE {urgent} AND owner_id IS NULL ORDER BY id LIMIT 1{lock}"
    # Without the one rank: another worker may just be taking the last task of it.
    first = f"SELECT id FROM tasks WHERE {ready} ORDER BY rank, owner_id, id LIMIT 1{lock}"
    return f"COALESCE({', '.join(f'({one})' for one in ((next_one, nobody, first) if after else (next_one, first)))})"


def advance(
    rt: Runtime,
    task_id: str,
    sets: Mapping[str, Any],
    event: Event | None,
    *,
    fence: int | None = None,
    statuses: tuple[str, ...] = ("running",),
    where: str = "",
    connection: Connection | None = None,
    returning: str = MOVED,
    reason: str = "",
) -> Row | None:
    """Change a row that is in one of `statuses` (and of this fence) and append `event`; None when it is not.

    `sets` maps columns to values. Lists and dicts are stored as JSON. A status of `NOTED` leaves a notice as well,
    in the same transaction: whoever is killed after it has forgotten nobody. reason: of a dead letter.
    """
    dialect = rt.engine.dialect.name
    clauses = [f"id = :id AND status IN ({', '.join(repr(s) for s in statuses)})"]
    params: dict[str, Any] = {"id": task_id}
    if fence is not None:
        clauses.append("fence = :fence")
        params["fence"] = fence
    if where:
        clauses.append(where)
    assigned = []
    for column, value in sets.items():
        assigned.append(f"{column} = {_slot(dialect, 'v_' + column, value)}")
        params[f"v_{column}"] = _bind(dialect, value)
    note = reason if sets.get("status") in NOTED else None
    return _move(rt, " AND ".join(clauses), ", ".join(assigned), params, event, returning, connection, note)


def renew(rt: Runtime, held: list[tuple[str, int]], lease: float) -> dict[str, bool]:
    """Prolong leases of `(task id, fence)` held by this process; task id -> cancel_requested of those still ours."""
    if not held:
        return {}
    dialect = rt.engine.dialect.name
    pairs = " OR ".join(f"(id = :i{n} AND fence = :f{n})" for n in range(len(held)))
    sql = (
        f"UPDATE tasks SET lease_until = {NOW_SQL[dialect]} + :lease WHERE status = 'running' AND ({pairs})"
        " RETURNING id, cancel_requested"
    )
    params: dict[str, Any] = {"lease": lease}
    for n, (task_id, fence) in enumerate(held):
        params[f"i{n}"], params[f"f{n}"] = task_id, fence
    with rt.engine.begin() as connection:
        rows = run_sql(connection, sql, params).fetchall()
    return {row[0]: bool(row[1]) for row in rows}


def run_sql(connection: Connection, sql: str, params: Mapping[str, Any]) -> Any:
    """Execute text with `:name` slots through the driver, past SQLAlchemy's compiler (it is half the cost)."""
    if connection.dialect.name == "postgresql":
        sql = _pyformat(sql)
    return connection.exec_driver_sql(sql, dict(params))


@lru_cache(maxsize=512)
def _pyformat(sql: str) -> str:
    return re.sub(r"(?<!:):([a-z_][a-z_0-9]*)", r"%(\1)s", sql.replace("%", "%%"))


def _move(
    rt: Runtime,
    where: str,
    sets: str,
    params: dict[str, Any],
    event: Event | None,
    returning: str,
    connection: Connection | None = None,
    note: str | None = None,
) -> Row | None:
    dialect = rt.engine.dialect.name
    if connection is not None:
        return _move_on(lambda sql, values: run_sql(connection, sql, values), dialect, where, sets, params, event,
                        returning, note, flush=True)  # fmt: skip
    with driver_connection(rt.engine) as driver:
        run = driver.execute if dialect == "sqlite" else lambda sql, values: driver.execute(_pyformat(sql), values)
        flush = event is None or event.type != "progress"
        return _move_on(run, dialect, where, sets, params, event, returning, note, flush=flush)


Run = Callable[[str, Mapping[str, Any]], Any]


def _move_on(
    run: Run,
    dialect: str,
    where: str,
    sets: str,
    params: dict[str, Any],
    event: Event | None,
    returning: str,
    note: str | None,
    *,
    flush: bool,
) -> Row | None:
    """note: leave a notice too, with this reason; None leaves none."""
    at = utcnow()
    params = {**params, "at": _bind(dialect, at)}
    step = ("seq = seq + 1, " if event else "") + (f"{sets}, " if sets else "")
    update = f"UPDATE tasks SET {step}updated_at = :at WHERE {where} RETURNING {returning}"
    if event and dialect == "postgresql":
        return _move_and_log(run, update, params, event, returning, note, flush)
    row = _one(run(update, params), returning)
    if row is not None and event:
        values = _event_values(event, row.id, row.seq, row.status, row.progress, row.message, at)
        run(*_insertion(dialect, "task_events", values))
    if row is not None and note is not None and _is_told(row):
        run(*_insertion(dialect, "task_notices", _notice_values(row, note, at)))
    return row


def _is_told(row: Row) -> bool:
    """Parts of a whole and our own housekeeping are nobody's news."""
    return bool(row.owner_id) and row.parent_id is None and not row.kind.startswith("maintenance.")


_TOLD = "owner_id IS NOT NULL AND parent_id IS NULL AND kind NOT LIKE 'maintenance.%'"


def _notice_values(row: Row, reason: str, at: datetime) -> dict[str, Any]:
    return {"id": new_id(), "task_id": row.id, "owner_id": row.owner_id, "kind": row.kind, "title": row.title,
            "status": row.status, "reason": reason, "message": row.message, "at": at}  # fmt: skip


# Progress does not wait for the disk: a power cut may take its last moments away, but never a state or a claim.
_NO_FLUSH = "set_config('synchronous_commit', 'off', true)"


def _move_and_log(
    run: Run, update: str, params: dict[str, Any], event: Event, returning: str, note: str | None, flush: bool
) -> Row | None:
    noted = ""
    if note is not None:
        noted = (
            ", noted AS (INSERT INTO task_notices (id, task_id, owner_id, kind, title, status, reason, message, at)"
            " SELECT :n_id, id, owner_id, kind, title, status, :n_reason, message, :at FROM moved"
            f" WHERE {_TOLD})"
        )
        params |= {"n_id": new_id(), "n_reason": note}
    sql = (
        f"WITH moved AS ({update}), logged AS (INSERT INTO task_events"
        " (task_id, seq, type, level, status, progress, message, data, at)"
        " SELECT id, seq, :e_type, :e_level, status, progress, COALESCE(:e_message, message),"
        f" CAST(:e_data AS JSONB), :at FROM moved){noted} SELECT *"
        + ("" if flush else f", {_NO_FLUSH}")
        + " FROM moved"
    )
    params |= {
        "e_type": event.type,
        "e_level": event.level,
        "e_message": event.message,
        "e_data": _json(event.data),
    }
    return _one(run(sql.replace(":e_message,", "CAST(:e_message AS TEXT),"), params), returning)


def _event_values(
    event: Event, task_id: str, seq: int, status: str, progress: int, message: str, at: datetime
) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "seq": seq,
        "type": event.type,
        "level": event.level,
        "status": status,
        "progress": progress,
        "message": event.message if event.message is not None else message,
        "data": dict(event.data) if event.data is not None else None,
        "at": at,
    }


def _insertion(dialect: str, table: str, values: Mapping[str, Any], prefix: str = "") -> tuple[str, dict[str, Any]]:
    as_json = tuple(column for column, value in values.items() if isinstance(value, _JSON))
    sql = _insert_sql(dialect, table, tuple(values), as_json, prefix)
    return sql, {prefix + column: _bind(dialect, value) for column, value in values.items()}


@lru_cache(maxsize=64)
def _insert_sql(dialect: str, table: str, columns: tuple[str, ...], as_json: tuple[str, ...], prefix: str) -> str:
    slots = ", ".join(_slot(dialect, prefix + column, {} if column in as_json else None) for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({slots})"


_JSON = (dict, list)


def _slot(dialect: str, name: str, value: Any) -> str:
    return f"CAST(:{name} AS JSONB)" if dialect == "postgresql" and isinstance(value, _JSON) else f":{name}"


def _bind(dialect: str, value: Any) -> Any:
    if isinstance(value, _JSON):
        return _json(value)
    if isinstance(value, datetime) and dialect == "sqlite":
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(_clean(value), ensure_ascii=True, separators=(",", ":"), default=str)


def _clean(value: Any) -> Any:
    """Without what a JSON column cannot hold: NUL characters, lone surrogates, infinities."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {clean_text(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def _one(cursor: Any, returning: str) -> Row | None:
    rows = cursor.fetchall()  # to the end, so that the statement is over before the commit
    if not rows:
        return None
    out = Row(zip(_names(returning), rows[0], strict=False))
    for column in ("params", "checkpoint"):
        if isinstance(out.get(column), str):
            out[column] = json.loads(out[column])
    if "cancel_requested" in out:
        out["cancel_requested"] = bool(out["cancel_requested"])
    return out


@lru_cache(maxsize=16)
def _names(returning: str) -> tuple[str, ...]:
    return tuple(returning.split(", "))

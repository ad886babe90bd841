"""What can be done with tasks. Called by API, page, worker and command line alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, true
from sqlalchemy.orm import Session, defer

from webapp.core.context import Ctx
from webapp.core.db import after_commit, db_now, new_id, utcnow
from webapp.core.errors import AppError, BadRequest, Conflict, NotFound
from webapp.core.failpoints import failpoint
from webapp.core.paging import Page, keyset
from webapp.runtime import Runtime
from webapp.settings import Settings
from webapp.tasks import execute, room, store
from webapp.tasks.kinds import TaskKind, kind_or_400, kinds
from webapp.tasks.models import ACTIVE, PRIORITIES, STATUSES, DeadLetter, Task, TaskEvent, Worker
from webapp.tasks.store import Event, Row

if TYPE_CHECKING:
    from webapp.core.http import OutboundPolicy
    from webapp.tasks.run import TaskRun

LIST_LIMIT = 50
LIGHT = (defer(Task.params), defer(Task.result), defer(Task.checkpoint))  # no list shows them; they may be megabytes
WAITING = ("queued", "retrying", "paused", "waiting_input")
RETRYABLE = ("failed", "cancelled", "timed_out")


# -- starting --------------------------------------------------------------------------------------------------------


def start(
    ctx: Ctx,
    kind_name: str,
    params: dict[str, Any],
    *,
    title: str = "",
    priority: str = "normal",
    interactive: bool = False,
    due_at: float | None = None,
    asked: bool = False,
) -> dict[str, Any]:
    """Store a task and, once this unit has committed, wake a worker. Returns its columns.

    interactive: a person waits, so it goes first. asked: somebody outside named the kind: hidden ones do not exist.
    Raises BadRequest with the field named when `params` do not fit the kind, QuotaExceeded where its owner has no room.
    """
    kind = kind_or_400(kind_name, hidden=not asked)
    values = _new_values(ctx.rt.settings, kind, params, title, priority, interactive)
    if kind.prepare is not None:
        kind.prepare(ctx, values["params"])
    if asked or kind.queue != "maintenance":  # tidying up after a person is never refused to the program
        room.require(ctx)
    values |= {"owner_id": ctx.user.id, "request_id": ctx.request_id[:64], "due_at": due_at}
    store.start(ctx.db.connection(), values, Event("status", "Queued"))
    _wake_after_commit(ctx, values["queue"], values["id"], values["owner_id"], now=due_at is None)
    return values


def start_child(run: TaskRun, step: str, kind_name: str, params: dict[str, Any], title: str) -> str:
    """The child of `run` for `step`, started once however often the parent runs."""
    rt = run.rt
    kind = kinds.get(kind_name)
    with rt.unit() as db:
        have = db.scalar(select(Task.id).where(Task.parent_id == run.id, Task.step == step[:100]))
        if have is not None:
            return have
        # Locked, so that a cancellation of the parent comes wholly before or wholly after the new child.
        columns = select(Task.fence, Task.rank, Task.cancel_requested).where(Task.id == run.id)
        parent = db.execute(columns.with_for_update()).one()
        if parent.fence != run.fence or parent.cancel_requested:
            run.lost = run.lost or parent.fence != run.fence
            run.cancel_requested = run.cancel_requested or parent.cancel_requested
            run.check()
        values = _new_values(rt.settings, kind, params, title or f"{run.title}: {step}", PRIORITIES[parent.rank], False)
        values |= {"owner_id": run.owner_id, "parent_id": run.id, "step": step[:100], "request_id": run.request_id}
        store.start(db.connection(), values, Event("status", "Queued"))
        after_commit(db, lambda: _announce(rt, values["queue"], values["id"], values["owner_id"]))
    return str(values["id"])


def children_of(rt: Runtime, parent_id: str) -> dict[str, dict[str, Any]]:
    with rt.unit(write=False) as db:
        rows = db.scalars(select(Task).where(Task.parent_id == parent_id).order_by(Task.id)).all()
    return {
        row.step or row.id: {
            "id": row.id,
            "status": row.status,
            "final": row.is_final,
            "result": row.result,
            "error": row.error,
        }
        for row in rows
    }


def _new_values(
    settings: Settings, kind: TaskKind, params: dict[str, Any], title: str, priority: str, interactive: bool
) -> dict[str, Any]:
    if priority not in PRIORITIES:
        raise BadRequest(
            f"priority: use one of {', '.join(PRIORITIES)}",
            code="invalid_config",
            details=[{"loc": ["priority"], "msg": f"use one of {', '.join(PRIORITIES)}", "type": "enum"}],
        )
    return {
        "id": new_id(),
        "kind": kind.name,
        "title": (store.clean_text(title).strip() or kind.label)[:300],
        "status": "queued",
        "queue": "interactive" if interactive or priority == "urgent" else kind.queue,
        "rank": PRIORITIES.index(priority),
        "progress": 0,
        "message": "Waiting for a worker",
        "params": kind.check(params),
        "attempt": 0,
        "max_attempts": kind.max_attempts,
        "crashes": 0,
        "fence": 0,
        "time_limit": kind.time_limit or settings.task_limit_seconds,
        "cancel_requested": False,
    }


def _wake_after_commit(ctx: Ctx, queue: str, task_id: str, owner: str | None, *, now: bool = True) -> None:
    rt = ctx.rt
    if now:
        after_commit(ctx.db, lambda: _announce(rt, queue, task_id, owner))
    else:
        after_commit(ctx.db, lambda: rt.ring("due", task_id))


def _announce(rt: Runtime, queue: str, task_id: str, owner: str | None, seq: int = 1) -> None:
    failpoint("after_commit_before_send")
    rt.wake(queue, task_id)
    rt.ring("task", task_id, seq, owner)


# -- looking ---------------------------------------------------------------------------------------------------------


def get(ctx: Ctx, task_id: str) -> Task:
    """The caller's task. Raises NotFound for a stranger's, exactly as for none."""
    task = ctx.db.scalar(owned(ctx).where(Task.id == task_id[:40])) if _plain_id(task_id) else None
    if task is None:
        raise NotFound("there is no such task")
    return task


def by_ids(ctx: Ctx, ids: Iterable[str]) -> dict[str, Task]:
    """Those of the caller's tasks, by id; for areas that show their own rows beside their tasks."""
    wanted = list(ids)
    return {task.id: task for task in ctx.db.scalars(owned(ctx).where(Task.id.in_(wanted)))} if wanted else {}


def working_on(ctx: Ctx, kinds: Collection[str], params: dict[str, Any]) -> list[Task]:
    """The caller's tasks of these kinds with these parameters that are not over."""
    rows = ctx.db.scalars(owned(ctx).where(Task.kind.in_(kinds), Task.status.in_(ACTIVE)).limit(200))
    return [row for row in rows if row.params == params]


def owned(ctx: Ctx, *, everyone: bool = False) -> Select[Any]:
    """The tasks this caller may see: their own; ownerless ones for the anonymous; `everyone` for an admin's view."""
    return select(Task) if everyone and ctx.user.is_admin else select(Task).where(_mine(ctx))


def _mine(ctx: Ctx) -> ColumnElement[bool]:
    if ctx.user.id is not None:
        return Task.owner_id == ctx.user.id
    # The operator's key and the system have no row of their own and see all; the anonymous see ownerless tasks.
    return true() if ctx.user.is_admin else Task.owner_id.is_(None)


def list_(
    ctx: Ctx,
    *,
    status: str | None = None,
    kind: str | None = None,
    priority: str | None = None,
    q: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str | None = None,
    limit: int = LIST_LIMIT,
) -> Page[Task]:
    """The caller's tasks, newest first, without hidden kinds and children."""
    stmt = filtered(
        owned(ctx).options(*LIGHT), status=status, kind=kind, priority=priority, q=q, since=since, until=until
    )
    return keyset(ctx.db, stmt, Task.id, cursor=cursor, limit=max(1, min(200, limit)))


def going_on() -> ColumnElement[bool]:
    """Tasks that are not over. By their ids, which are few: SQLite would read a long list to find them in order."""
    return Task.id.in_(select(Task.id).where(Task.status.in_(ACTIVE)))


def filtered(
    stmt: Select[Any],
    *,
    status: str | None = None,
    kind: str | None = None,
    priority: str | None = None,
    q: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Select[Any]:
    stmt = stmt.where(Task.parent_id.is_(None), Task.kind.not_like("maintenance.%"))
    if status == "active":
        stmt = stmt.where(going_on())
    elif status:
        stmt = stmt.where(Task.status == _one_of(status, STATUSES, "status"))
    if kind:
        stmt = stmt.where(Task.kind == kind[:64])
    if priority:
        stmt = stmt.where(Task.rank == PRIORITIES.index(_one_of(priority, PRIORITIES, "priority")))
    if q:
        like = "%" + q[:200].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("\0", "") + "%"
        stmt = stmt.where(or_(Task.title.ilike(like, escape="\\"), Task.message.ilike(like, escape="\\")))
    if since:
        stmt = stmt.where(Task.created_at >= since)
    if until:
        stmt = stmt.where(Task.created_at < until)
    return stmt


def counts(ctx: Ctx) -> dict[str, int]:
    """status -> how many of the caller's tasks."""
    rows = filtered(owned(ctx)).with_only_columns(Task.status, func.count()).group_by(Task.status)
    return {status: int(number) for status, number in ctx.db.execute(rows).all()}


def active_of(db: Session, task_ids: Collection[str]) -> set[str]:
    """Those of `task_ids` that are not over."""
    if not task_ids:
        return set()
    return set(db.scalars(select(Task.id).where(Task.id.in_(list(task_ids)), Task.status.in_(ACTIVE))))


def waiting(db: Session, kind: str, params: dict[str, Any]) -> str | None:
    """A task of this kind with these parameters that is still to begin."""
    still = (Task.kind == kind) & Task.status.in_(("queued", "retrying")) & Task.cancel_requested.is_(False)
    rows = db.execute(select(Task.id, Task.params).where(still).order_by(Task.id))
    return next((task_id for task_id, given in rows if given == params), None)


def is_served(db: Session, settings: Settings) -> bool:
    """Whether a worker process other than a command has said of late that it lives."""
    alive = db_now() - Worker.beat_at < settings.beat_seconds * 3
    return db.scalar(select(Worker.id).where(Worker.role != "ingest", alive).limit(1)) is not None


def make_due(rt: Runtime) -> None:
    """Put retries whose time has come back into their queues, where no scheduler does."""
    from webapp.tasks import sweep

    sweep._due(rt)


def waiting_by_queue(db: Session) -> dict[str, int]:
    """queue -> tasks that wait on it, whoever owns them."""
    rows = db.execute(select(Task.queue, func.count()).where(Task.status == "queued").group_by(Task.queue))
    return {row[0]: row[1] for row in rows}


def events(ctx: Ctx, task: Task, *, after: int = 0, limit: int = 500) -> list[TaskEvent]:
    stmt = select(TaskEvent).where(TaskEvent.task_id == task.id, TaskEvent.seq > after)
    return list(ctx.db.scalars(stmt.order_by(TaskEvent.seq).limit(limit)))


def log_entries(ctx: Ctx, *, task_id: str | None = None, agent_id: str | None = None, level: str | None = None,
                search: str | None = None, limit: int = 100) -> list[tuple[TaskEvent, Task]]:  # fmt: skip
    """Events of the caller's tasks as log lines, newest first; `level` and above."""
    stmt = select(TaskEvent, Task).join(Task, Task.id == TaskEvent.task_id).where(_mine(ctx))
    stmt = stmt.where(TaskEvent.task_id == task_id[:40]) if task_id else stmt
    stmt = stmt.where(Task.agent_id == agent_id[:64]) if agent_id else stmt
    if level:
        order = ("debug", "info", "warning", "error")
        stmt = stmt.where(TaskEvent.level.in_(order[order.index(_one_of(level, order, "level")) :]))
    if search:
        like = "%" + search[:200].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("\0", "") + "%"
        stmt = stmt.where(TaskEvent.message.ilike(like, escape="\\"))
    stmt = stmt.order_by(TaskEvent.at.desc(), TaskEvent.seq.desc()).limit(max(1, min(1000, limit)))
    return [(event, task) for event, task in ctx.db.execute(stmt).all()]


# -- steering --------------------------------------------------------------------------------------------------------


def cancel(ctx: Ctx, task_id: str) -> Task:
    """Ask a task and everything below it to stop. Waiting ones stop here and now; a running one within seconds.

    Raises Conflict when it is already over.
    """
    task = get(ctx, task_id)
    if task.is_final:
        raise Conflict(f"the task is already {task.status}", code="already_final")
    _cancel_tree(ctx, task.id)
    if task.parent_id is not None:
        rt, parent_id = ctx.rt, task.parent_id
        after_commit(ctx.db, lambda: execute.wake_parent(rt, parent_id))
    ctx.db.refresh(task)
    return task


def _cancel_tree(ctx: Ctx, task_id: str) -> None:
    """From the top down: a parent is marked before its children are looked for, so that none starts unseen."""
    level = [task_id]
    while level:
        for one in level:
            _cancel_row(ctx, one)
        level = list(ctx.db.scalars(select(Task.id).where(Task.parent_id.in_(level))))


def _cancel_row(ctx: Ctx, task_id: str) -> None:
    rt, connection = ctx.rt, ctx.db.connection()
    sets = {"status": "cancelled", "message": "Cancelled", "cancel_requested": True, "due_at": None,
            "finished_at": utcnow()}  # fmt: skip
    row = store.advance(
        rt, task_id, sets, Event("status", "Cancelled", "warning"), statuses=WAITING, connection=connection
    )
    if row is None:
        sets = {"cancel_requested": True, "message": "Stopping"}
        row = store.advance(
            rt, task_id, sets, Event("status", "Stopping", "warning"), where="NOT cancel_requested",
            connection=connection,
        )  # fmt: skip
    if row is not None:
        _ring_after(ctx, "cancel", row)
        _ring_after(ctx, "task", row)


def _ring_after(ctx: Ctx, kind: str, row: Row) -> None:
    rt = ctx.rt
    after_commit(ctx.db, lambda: rt.ring(kind, row.id, row.seq, row.owner_id))


def retry(ctx: Ctx, task_id: str) -> Task:
    """Put a task that failed or was cancelled back into the queue, with all its attempts again.

    Raises Conflict for any other. What its checkpoints hold is not done again, nor are its parts that succeeded;
    those that did not are tried again too.
    """
    task = get(ctx, task_id)
    if not task.can_retry:
        raise Conflict(f"only failed or cancelled tasks can be retried; this one is {task.status}", code="not_final")
    room.require(ctx, again=True)
    if not _retry_row(ctx, task.id):  # a second click was faster
        raise Conflict("the task was just retried", code="not_final")
    level = [task.id]
    while level:
        below = select(Task.id).where(Task.parent_id.in_(level), Task.status.in_(RETRYABLE))
        level = [one for one in ctx.db.scalars(below).all() if _retry_row(ctx, one)]
    ctx.db.refresh(task)
    return task


def _retry_row(ctx: Ctx, task_id: str) -> bool:
    sets = {"status": "queued", "message": "Waiting for a worker", "progress": 0, "attempt": 0, "crashes": 0,
            "error": None, "error_code": None, "result": None, "finished_at": None, "cancel_requested": False,
            "due_at": None}  # fmt: skip
    row = store.advance(
        ctx.rt, task_id, sets, Event("status", "Queued again"), statuses=RETRYABLE, connection=ctx.db.connection()
    )
    if row is None:
        return False
    ctx.db.query(DeadLetter).filter(DeadLetter.task_id == task_id, DeadLetter.requeued_at.is_(None)).update(
        {"requeued_at": utcnow()}
    )
    rt = ctx.rt
    after_commit(ctx.db, lambda: _announce(rt, row.queue, row.id, row.owner_id, row.seq))
    return True


def remove(ctx: Ctx, task_id: str) -> None:
    """Delete a finished task with its events and children. Raises Conflict while it is not finished."""
    task = get(ctx, task_id)
    if not task.is_final:
        raise Conflict("cancel the task before deleting it", code="not_final")
    room.note_removed(ctx, task)
    ctx.db.execute(delete(Task).where(Task.id == task.id))
    rt, owner = ctx.rt, task.owner_id
    after_commit(ctx.db, lambda: rt.ring("gone", task_id, 0, owner))


def update(ctx: Ctx, task_id: str, **changes: Any) -> Task:
    """Change title, priority or parameters of a task that no worker has taken yet. Raises Conflict after that."""
    task = get(ctx, task_id)
    kind = kind_or_400(task.kind)
    sets: dict[str, Any] = {}
    if changes.get("title") is not None:
        sets["title"] = store.clean_text(changes["title"])[:300]
    if changes.get("priority") is not None:
        sets["rank"] = PRIORITIES.index(_one_of(changes["priority"], PRIORITIES, "priority"))
    if changes.get("params") is not None:
        sets |= store.configured(kind.check(changes["params"]))
        if kind.prepare is not None:
            kind.prepare(ctx, sets["params"])
    row = store.advance(
        ctx.rt, task.id, sets, Event("info", "Changed"), statuses=("queued",), connection=ctx.db.connection()
    )
    if row is None:
        raise Conflict(f"only a waiting task can be changed; this one is {task.status}", code="not_pending")
    _ring_after(ctx, "task", row)
    ctx.db.refresh(task)
    return task


def bulk(ctx: Ctx, action: str, ids: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """Do one thing to many tasks: `{"done": [{"id"}], "failed": [{"id", "error"}]}`; one failure stops no other."""
    verbs = {"cancel": cancel, "retry": retry, "delete": remove}
    verb = verbs[_one_of(action, tuple(verbs), "action")]
    answer: dict[str, list[dict[str, str]]] = {"done": [], "failed": []}
    for task_id in list(dict.fromkeys(ids))[:500]:
        try:
            verb(ctx, task_id)
            answer["done"].append({"id": task_id})
        except AppError as exc:
            answer["failed"].append({"id": task_id, "error": exc.message})
    return answer


# -- small things ----------------------------------------------------------------------------------------------------


def outbound_policy(settings: Settings) -> OutboundPolicy:
    from webapp.core.http import OutboundPolicy

    return OutboundPolicy(
        allow_hosts=frozenset(settings.allow_hosts), extra_ports=frozenset(int(port) for port in settings.fetch_ports)
    )


def _plain_id(text: str) -> bool:
    return 0 < len(text) <= 40 and text.isascii() and text.replace("-", "").isalnum()


def _one_of(value: str, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        message = f"use one of {', '.join(known)}"
        raise BadRequest(
            f"{name}: {message}", code="invalid_value", details=[{"loc": [name], "msg": message, "type": "enum"}]
        )
    return value

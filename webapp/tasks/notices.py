"""Who is told that a task ended: notices are read here, once, by those that listen. Runs where the scheduler leads.

A notice is written with the change it tells of (`store.advance`) and deleted with what came of it, each in one
transaction: killed anywhere, it is told again and nothing is told twice. Listeners only write rows; what takes time
(mail, other servers) is sent later by a task.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from webapp.core.context import Ctx
from webapp.core.failpoints import failpoint
from webapp.core.registry import Registry
from webapp.runtime import Runtime
from webapp.tasks.models import Task, TaskNotice

log = logging.getLogger(__name__)
BATCH = 100
EVERY = 1.0  # seconds between two looks


@dataclass(frozen=True)
class Notice:
    """status: one of the final ones, or waiting_input. seconds: the task took, None when it is gone."""

    id: str
    task_id: str
    owner_id: str
    kind: str
    title: str
    status: str
    reason: str
    message: str
    at: datetime
    seconds: float | None


@dataclass(frozen=True)
class Listener:
    """tell: store what follows from some notices, in the given unit. tick: called at each look, for what is due.

    want: somebody asks to be told of one task's end.
    """

    tell: Callable[[Runtime, Session, Sequence[Notice]], None] = lambda rt, db, notices: None
    tick: Callable[[Runtime], None] = lambda rt: None
    want: Callable[[Ctx, str], None] = lambda ctx, task_id: None


listeners: Registry[Listener] = Registry(
    "brainstem.listeners",
    noun="listener",
    builtin={
        "deliveries": "webapp.deliveries.service:LISTENER",
        "notifications": "webapp.notifications.telling:LISTENER",
        "webhooks": "webapp.webhooks.telling:LISTENER",
    },
)


def want(ctx: Ctx, task_id: str) -> None:
    """Tell the caller of this task's end; also in the unit that starts it. Conflict when it is over already.

    The operator's key has no account that could be told anything.
    """
    if ctx.user.id is None:
        return
    for _, listener in listeners.all():
        listener.want(ctx, task_id)


def look(rt: Runtime) -> int:
    """Tell all that is there, then let listeners do what is due; how many were told."""
    told = 0
    while count := _tell_some(rt, BATCH):
        told += count
    for _, listener in listeners.all():
        listener.tick(rt)
    return told


def _tell_some(rt: Runtime, limit: int) -> int:
    try:
        return _tell(rt, limit)
    except DBAPIError:
        raise  # the database is at fault, not the notice
    except Exception:
        if limit > 1:
            return sum(_tell_some(rt, 1) for _ in range(limit)) or 1
        log.exception("a notice could not be told and is dropped")
        return _drop_first(rt)


def _tell(rt: Runtime, limit: int) -> int:
    with rt.unit(write=False) as db:
        if db.scalar(select(TaskNotice.id).limit(1)) is None:
            return 0
    with rt.unit() as db:
        notices = _oldest(db, limit)
        for _, listener in listeners.all():
            listener.tell(rt, db, notices)
        db.flush()
        failpoint("before_told")
        db.execute(delete(TaskNotice).where(TaskNotice.id.in_([notice.id for notice in notices])))
    failpoint("after_told")
    return len(notices)


def _oldest(db: Session, limit: int) -> list[Notice]:
    rows = db.scalars(select(TaskNotice).order_by(TaskNotice.id).limit(limit).with_for_update(skip_locked=True)).all()
    ids = {row.task_id for row in rows}
    begun = {row.id: row.created_at for row in db.execute(select(Task.id, Task.created_at).where(Task.id.in_(ids)))}
    return [
        Notice(row.id, row.task_id, row.owner_id, row.kind, row.title, row.status, row.reason, row.message, row.at,
               (row.at - begun[row.task_id]).total_seconds() if row.task_id in begun else None)
        for row in rows
    ]  # fmt: skip


def _drop_first(rt: Runtime) -> int:
    with rt.unit() as db:
        first = db.scalar(select(TaskNotice.id).order_by(TaskNotice.id).limit(1))
        db.execute(delete(TaskNotice).where(TaskNotice.id == first))
    return 1 if first else 0


class Announcer:
    """Looks each second while `leading()`."""

    def __init__(self, rt: Runtime, leading: Callable[[], bool]) -> None:
        self.rt, self.leading = rt, leading
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(3)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            if not self.leading():
                continue
            try:
                look(self.rt)
            except Exception as exc:
                log.warning("notices: %s: %s; trying again", type(exc).__name__, str(exc)[:200])

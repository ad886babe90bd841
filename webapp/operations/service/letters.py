"""Dead letters: tasks that failed for good. Look, try again, throw away; one or many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import defer

from webapp.core import audit
from webapp.core.context import Ctx
from webapp.core.errors import AppError, BadRequest, Conflict, NotFound
from webapp.core.paging import Page, keyset
from webapp.operations.service.base import MANY, admin, everybody, is_id, like, people
from webapp.tasks import service as tasks
from webapp.tasks.models import DeadLetter, Task

STATES = ("open", "requeued", "all")
REASONS = ("attempts", "permanent", "crash", "time_limit", "unknown_kind")
Answer = dict[str, list[dict[str, str]]]


@dataclass(frozen=True)
class LetterRow:
    """`traceback` and `params` only where one letter is asked for."""

    id: str
    task_id: str
    title: str
    owner: str | None
    task_status: str
    kind: str
    queue: str
    reason: str
    error: str
    attempt: int
    failed_at: datetime
    requeued_at: datetime | None
    traceback: str | None = None
    params: dict[str, Any] | None = None


def letters(
    ctx: Ctx,
    *,
    state: str = "open",
    kind: str | None = None,
    queue: str | None = None,
    reason: str | None = None,
    q: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[LetterRow]:
    """Newest first. Two queries."""
    stmt = _matching(state, kind, queue, reason, q).options(defer(DeadLetter.traceback))
    page = keyset(admin(ctx).db, stmt, DeadLetter.id, cursor=cursor, limit=max(1, min(200, limit)))
    known = _tasks(ctx, [letter.task_id for letter in page.items])
    return Page([_row(letter, known[letter.task_id]) for letter in page.items], page.next_cursor, page.prev_cursor)


def letters_from(ctx: Ctx, offset: int, limit: int) -> list[LetterRow]:
    """Open ones by offset, as the agent service's contract has it."""
    stmt = _matching("open", None, None, None, None).options(defer(DeadLetter.traceback))
    found = admin(ctx).db.scalars(stmt.order_by(DeadLetter.id.desc()).offset(offset).limit(limit)).all()
    known = _tasks(ctx, [letter.task_id for letter in found])
    return [_row(letter, known[letter.task_id]) for letter in found]


def _matching(state: str, kind: str | None, queue: str | None, reason: str | None, q: str | None) -> Select[Any]:
    stmt = select(DeadLetter)
    if state not in STATES:
        raise BadRequest(f"state: use one of {', '.join(STATES)}", code="invalid_value")
    if state != "all":
        stmt = stmt.where(DeadLetter.requeued_at.is_(None) if state == "open" else DeadLetter.requeued_at.is_not(None))
    for column, value in ((DeadLetter.kind, kind), (DeadLetter.queue, queue), (DeadLetter.reason, reason)):
        if value:
            stmt = stmt.where(column == value[:64])
    if q:
        stmt = stmt.where(DeadLetter.error.ilike(like(q), escape="\\"))
    return stmt


def _tasks(ctx: Ctx, ids: list[str]) -> dict[str, Any]:
    names = people().c
    stmt = select(Task.id, Task.title, Task.status, names.username.label("owner")).outerjoin(
        people(), names.id == Task.owner_id
    )
    return {row.id: row for row in ctx.db.execute(stmt.where(Task.id.in_(ids)))}


def _row(letter: DeadLetter, task: Any, **more: Any) -> LetterRow:
    return LetterRow(
        letter.id, letter.task_id, task.title, task.owner, task.status, letter.kind, letter.queue, letter.reason,
        letter.error, letter.attempt, letter.failed_at, letter.requeued_at, **more,
    )  # fmt: skip


def letter(ctx: Ctx, letter_id: str) -> LetterRow:
    """One, with its traceback and what the task was asked to do."""
    found = _get(ctx, letter_id)
    params = ctx.db.scalar(select(Task.params).where(Task.id == found.task_id))
    return _row(found, _tasks(ctx, [found.task_id])[found.task_id], traceback=found.traceback, params=params)


def open_letters(ctx: Ctx) -> int:
    return admin(ctx).db.scalar(select(func.count()).where(DeadLetter.requeued_at.is_(None))) or 0


def requeue(ctx: Ctx, letter_id: str) -> LetterRow:
    """Put its task back into the queue with all attempts again. Raises Conflict the second time."""
    found = _get(ctx, letter_id)
    _requeue(ctx, found)
    audit.record(ctx, "dead_letter.requeue", "task", found.task_id, letter=found.id, kind=found.kind)
    ctx.db.refresh(found)
    return _row(found, _tasks(ctx, [found.task_id])[found.task_id])


def _requeue(ctx: Ctx, found: DeadLetter) -> None:
    if found.requeued_at is not None:
        raise Conflict("it was tried again already", code="already_requeued")
    tasks.retry(everybody(ctx), found.task_id)


def requeue_many(ctx: Ctx, ids: Iterable[str]) -> Answer:
    """`{"done": [{"id"}], "failed": [{"id", "error"}]}`; one that cannot go back stops no other."""
    answer: Answer = {"done": [], "failed": []}
    gone: list[str] = []
    admin(ctx)
    for letter_id in _chosen(ids):
        try:
            found = _get(ctx, letter_id)
            ctx.db.refresh(found)  # the one before may have been of the same task
            _requeue(ctx, found)
            gone.append(found.task_id)
            answer["done"].append({"id": letter_id})
        except AppError as exc:
            answer["failed"].append({"id": letter_id, "error": exc.message})
    if gone:
        audit.record(ctx, "dead_letter.requeue", "task", None, tasks=gone, failed=len(answer["failed"]))
    return answer


def purge(ctx: Ctx, letter_id: str) -> None:
    """Throw the letter away. Its task stays in its owner's list as it ended."""
    found = _get(ctx, letter_id)
    ctx.db.execute(delete(DeadLetter).where(DeadLetter.id == found.id))
    audit.record(ctx, "dead_letter.purge", "task", found.task_id, letter=found.id, error=found.error[:200])


def purge_many(ctx: Ctx, ids: Iterable[str]) -> Answer:
    """As `requeue_many`."""
    chosen = _chosen(ids)
    there = list(admin(ctx).db.scalars(select(DeadLetter.id).where(DeadLetter.id.in_(chosen))))
    ctx.db.execute(delete(DeadLetter).where(DeadLetter.id.in_(there)))
    if there:
        audit.record(ctx, "dead_letter.purge", "dead_letter", None, letters=there)
    missing = [{"id": one, "error": "there is no such dead letter"} for one in chosen if one not in set(there)]
    return {"done": [{"id": one} for one in there], "failed": missing}


def _chosen(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(ids))[:MANY]


def _get(ctx: Ctx, letter_id: str) -> DeadLetter:
    found = admin(ctx).db.get(DeadLetter, letter_id) if is_id(letter_id) else None
    if found is None:
        raise NotFound("there is no such dead letter")
    return found

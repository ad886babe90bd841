"""What is sent to others, at least once and with the same id, however often it takes.

A delivery is a row, stored in the transaction of what it tells. Its attempts come at once and then after 5 s, 5 min,
30 min, 2, 5 and 10 h (a little later each, so that receivers do not hear from all at once). One receiver hears of one
thing at a time; those that fail wait behind the others. When a receiver is back, all that waits for it goes out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session

from webapp.core import ageing
from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import Conflict, NotFound
from webapp.core.paging import Page, keyset
from webapp.core.registry import Registry
from webapp.core.text import clean
from webapp.deliveries.models import OPEN, Delivery, DeliveryAttempt
from webapp.tasks import service as tasks
from webapp.tasks.notices import Listener

if TYPE_CHECKING:
    from webapp.runtime import Runtime

KIND = "maintenance.deliver"
PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)  # seconds between attempts
LATER = 0.1  # up to this share of a pause is added to it
LEASE = 90.0  # seconds after which whoever was sending is taken for dead; an attempt takes 20
AFTER_MOST = 86_400.0  # a receiver may ask for a day of peace, not for more
LOOK_AT = 200  # open rows that one look for work reads


@dataclass(frozen=True)
class Letter:
    """A delivery in the hands of a sender."""

    id: str
    owner_id: str
    carrier: str
    target_id: str
    event: str
    body: str
    attempt: int  # 1 is the first
    tries: int  # the same, counted from when it was last put out
    troubled: bool = False  # its receiver failed before


@dataclass(frozen=True)
class Answer:
    """What came of one attempt. error "" means delivered.

    final: trying again cannot help. gone: the receiver wants nothing any more. after: seconds it asked to be left alone.
    """

    error: str = ""
    code: int | None = None
    text: str = ""
    final: bool = False
    gone: bool = False
    after: float | None = None


@dataclass(frozen=True)
class Carrier:
    """send: one attempt; may raise. told: in the transaction that records it, for what the receiver's own row says."""

    send: Callable[[Runtime, Letter, Callable[[], bool]], Answer]
    told: Callable[[Session, Letter, Answer, bool], None] = lambda db, letter, answer, over: None


carriers: Registry[Carrier] = Registry(
    "brainstem.carriers",
    noun="carrier",
    builtin={
        "webhook": "webapp.webhooks.carrier:WEBHOOK",
        "channel": "webapp.notifications.carrier:CHANNEL",
    },
)


def now() -> float:
    """Seconds since 1970; tests move it."""
    return time.time()


# -- storing ---------------------------------------------------------------------------------------------------------


def put(db: Session, owner_id: str, carrier: str, target_id: str, event: str, body: str, key: str) -> str:
    """Store a delivery in the caller's transaction; the id of the one that is there for this receiver and key."""
    have = db.scalar(select(Delivery.id).where(Delivery.target_id == target_id, Delivery.key == key))
    if have is not None:
        return have
    row = Delivery(id=new_id(), owner_id=owner_id, carrier=carrier, target_id=target_id, event=event, body=body,
                   key=key, due_at=now())  # fmt: skip
    db.add(row)
    return row.id


def send_again(ctx: Ctx, delivery_id: str) -> Delivery:
    """Put a delivery that is over back, with its id and all its attempts anew. Conflict while it is under way."""
    row = get(ctx, delivery_id)
    if row.status == "sending":
        raise Conflict("it is being sent right now", code="sending")
    row.status, row.due_at, row.tries, row.finished_at, row.error = "waiting", now(), 0, None, None
    ctx.db.flush()
    return row


def cancel_all(db: Session, target_id: str) -> int:
    """Whoever was to be told is gone."""
    gone = update(Delivery).where(Delivery.target_id == target_id, Delivery.status.in_(OPEN))
    return int(db.execute(gone.values(status="cancelled", finished_at=utcnow())).rowcount)  # type: ignore[attr-defined]


def count_older(db: Session, days: int) -> int:
    """How many `forget` would delete now; 0 days keep all."""
    return ageing.count_older(db, Delivery.created_at, days, Delivery.status.not_in(OPEN))


def forget(db: Session, days: int) -> int:
    """Delete what was over long ago, with the log of its attempts; 0 days keep all."""
    return ageing.forget_older(db, Delivery.created_at, days, Delivery.status.not_in(OPEN))


# -- looking ---------------------------------------------------------------------------------------------------------


def get(ctx: Ctx, delivery_id: str) -> Delivery:
    """The caller's delivery. Raises NotFound for a stranger's, exactly as for none."""
    mine = (Delivery.id == delivery_id[:40]) & (Delivery.owner_id == ctx.user.id)
    row = ctx.db.scalar(select(Delivery).where(mine))
    if row is None:
        raise NotFound("there is no such delivery")
    return row


def of_target(ctx: Ctx, target_id: str, *, cursor: str | None = None, limit: int = 25) -> Page[Delivery]:
    """The caller's deliveries to one receiver, newest first."""
    mine = select(Delivery).where(Delivery.owner_id == ctx.user.id, Delivery.target_id == target_id)
    return keyset(ctx.db, mine, Delivery.id, cursor=cursor, limit=max(1, min(100, limit)))


def attempts(ctx: Ctx, ids: Collection[str]) -> dict[str, list[DeliveryAttempt]]:
    """delivery id -> its attempts, oldest first; for rows the caller may see already."""
    found: dict[str, list[DeliveryAttempt]] = {one: [] for one in ids}
    if ids:
        stmt = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id.in_(list(ids)))
        for row in ctx.db.scalars(stmt.order_by(DeliveryAttempt.number)):
            found[row.delivery_id].append(row)
    return found


def numbers(ctx: Ctx, target_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """target id -> status -> how many of the caller's deliveries."""
    found: dict[str, dict[str, int]] = {one: {} for one in target_ids}
    if target_ids:
        stmt = select(Delivery.target_id, Delivery.status, func.count()).where(
            Delivery.owner_id == ctx.user.id, Delivery.target_id.in_(list(target_ids))
        )
        for target, status, count in ctx.db.execute(stmt.group_by(Delivery.target_id, Delivery.status)):
            found[target][status] = count
    return found


# -- sending ---------------------------------------------------------------------------------------------------------


def claim(rt: Runtime, busy: Collection[str], limit: int, troubled: int) -> list[Letter]:
    """Take up to `limit` due deliveries, one per receiver and none of those in `busy`.

    troubled: at most so many to receivers that owe us an answer, so that they never take all the room.
    """
    at = now()
    with rt.unit(write=False) as db:
        if limit < 1 or db.scalar(_due(at, busy).limit(1)) is None:
            return []
    taken: list[Letter] = []
    with rt.unit() as db:
        rows = list(db.scalars(_due(at, busy).limit(LOOK_AT).with_for_update(skip_locked=True)))
        trouble = _troubled(db, {row.target_id for row in rows})
        for row in rows:
            is_troubled = row.target_id in trouble
            if len(taken) == limit or (is_troubled and troubled < 1):
                continue
            troubled -= is_troubled
            row.status, row.lease_until = "sending", at + LEASE
            row.attempts, row.tries = row.attempts + 1, row.tries + 1
            taken.append(Letter(row.id, row.owner_id, row.carrier, row.target_id, row.event, row.body, row.attempts,
                                row.tries, is_troubled))  # fmt: skip
    return taken


def _due(at: float, busy: Collection[str]) -> Select[Any]:
    """Of each receiver its first: those never tried before those tried often."""
    place = func.row_number().over(
        partition_by=Delivery.target_id, order_by=(Delivery.tries, Delivery.due_at, Delivery.id)
    )
    free = Delivery.target_id.not_in(list(busy))
    ranked = select(Delivery.id, place.label("place")).where(_is_ready(at), free).subquery()
    first = select(ranked.c.id).where(ranked.c.place == 1)
    return select(Delivery).where(Delivery.id.in_(first), _is_ready(at)).order_by(Delivery.tries, Delivery.due_at)


def _is_ready(at: float) -> ColumnElement[bool]:
    """Its time has come, or whoever was sending it died."""
    return or_(
        and_(Delivery.status == "waiting", Delivery.due_at <= at),
        and_(Delivery.status == "sending", Delivery.lease_until < at),
    )


def _troubled(db: Session, targets: Collection[str]) -> set[str]:
    """Those of the receivers that something failed for and waits to be tried again."""
    tried = Delivery.target_id.in_(list(targets)) & Delivery.status.in_(OPEN) & (Delivery.tries > 0)
    return set(db.scalars(select(Delivery.target_id).where(tried).distinct()))


def release(rt: Runtime, letter: Letter) -> None:
    """It was cut off by our own end, not by the receiver: no attempt is charged."""
    with rt.unit() as db:
        db.execute(_held(letter).values(status="waiting", due_at=now(), lease_until=None, attempts=letter.attempt - 1,
                                         tries=letter.tries - 1))  # fmt: skip


def record(rt: Runtime, letter: Letter, answer: Answer, ms: int) -> None:
    """Write down one attempt and what follows from it, unless somebody else has taken the delivery over."""
    at = now()
    with rt.unit() as db:
        sets = _what_next(answer, letter.tries, at)
        if db.execute(_held(letter).values(**sets, lease_until=None)).rowcount == 0:  # type: ignore[attr-defined]
            return
        db.add(
            DeliveryAttempt(delivery_id=letter.id, number=letter.attempt, ms=ms, code=answer.code,
                            error=clean(answer.error)[:500] or None, answer=clean(answer.text)[:500] or None)
        )  # fmt: skip
        _others(db, letter, answer, at)
        carriers.get(letter.carrier).told(db, letter, answer, sets["status"] == "failed")


def _held(letter: Letter) -> Any:
    mine = (Delivery.id == letter.id) & (Delivery.status == "sending") & (Delivery.attempts == letter.attempt)
    return update(Delivery).where(mine)


def _what_next(answer: Answer, tries: int, at: float) -> dict[str, Any]:
    sets: dict[str, Any] = {"code": answer.code, "error": clean(answer.error)[:500] or None}
    if not answer.error:
        return {**sets, "status": "delivered", "finished_at": utcnow()}
    if answer.gone:
        return {**sets, "status": "cancelled", "finished_at": utcnow()}
    if answer.final or tries > len(PAUSES):
        return {**sets, "status": "failed", "finished_at": utcnow()}
    pause = PAUSES[tries - 1] * random.uniform(1.0, 1.0 + LATER)
    return {**sets, "status": "waiting", "due_at": at + max(pause, _asked(answer))}


def _asked(answer: Answer) -> float:
    return min(AFTER_MOST, answer.after or 0.0)


def _others(db: Session, letter: Letter, answer: Answer, at: float) -> None:
    """What one answer says of everything else that waits for this receiver."""
    waiting = update(Delivery).where(Delivery.target_id == letter.target_id, Delivery.status == "waiting")
    waiting = waiting.execution_options(synchronize_session=False)
    if not answer.error:  # it is back: what failed before need not wait for its hour
        db.execute(waiting.where(Delivery.due_at > at, Delivery.tries > 0).values(due_at=at))
    elif answer.gone:
        cancel_all(db, letter.target_id)
    elif answer.after:  # it asked to be left alone, and not only with this one
        until = at + _asked(answer)
        db.execute(waiting.where(Delivery.due_at < until).values(due_at=until))


def _wake(rt: Runtime) -> None:
    """Start the sender when something is due and none is at work."""
    with rt.unit(write=False) as db:
        if db.scalar(select(Delivery.id).where(_is_ready(now())).limit(1)) is None:
            return
        if tasks.working_on(Ctx(rt, db, SYSTEM), (KIND,), {}):
            return
    with rt.unit() as db:
        tasks.start(Ctx(rt, db, SYSTEM, request_id="deliveries"), KIND, {}, title="Send what is due")


LISTENER = Listener(tick=_wake)

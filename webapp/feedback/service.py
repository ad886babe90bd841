"""What people say about answers, kept for later learning: thumbs with a reason, a correction, ratings of anything."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError

from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import Forbidden, Invalid, NotFound, TooManyRequests, Unauthorized
from webapp.feedback.models import Feedback

PER_DAY = "2000/day"  # of one person: room for any honest use, none for filling a disk
TOP = 10  # reasons and agents in the statistics


def rate(ctx: Ctx, message_id: str, rating: int, reason: str = "", correction: str = "") -> Feedback:
    """Thumbs up (1) or down (-1) on an answer of one's own; saying it again replaces what was said.

    Raises NotFound for what is no answer of the caller's, Invalid for another rating.
    """
    if rating not in (1, -1):
        raise Invalid("rating: 1 or -1", details=[{"loc": ["rating"], "msg": "1 or -1", "type": "value_error"}])
    answer = _answer(ctx, message_id)
    values: dict[str, Any] = {
        "feedback_type": "correction" if correction else "thumbs",
        "rating": rating,
        "reason": reason.strip() or None,
        "user_correction": correction.strip() or None,
        "original_prediction": answer.content if correction.strip() else None,
    }
    return _put(ctx, answer.id, values)


def check(ctx: Ctx, message_id: str) -> None:
    """Raises NotFound for what is no answer of the caller's."""
    _answer(ctx, message_id)


def undo(ctx: Ctx, message_id: str) -> None:
    """Take back what was said about an answer; nothing happens when nothing was."""
    row = _given(ctx, _answer(ctx, message_id).id)
    if row is not None:
        ctx.db.delete(row)
        ctx.db.flush()


def submit(
    ctx: Ctx,
    content_id: str,
    feedback_type: str,
    *,
    rating: int | None = None,
    reason: str | None = None,
    original_prediction: Any = None,
    user_correction: Any = None,
    confidence_rating: float | None = None,
    additional_context: Any = None,
    comment: str | None = None,
) -> tuple[Feedback, bool]:
    """The stored row, and whether it replaced one. `content_id` names anything; an answer of the caller's is rated once.

    A stranger's answer is a name like any other: that it exists is not told.
    """
    values = {
        "feedback_type": feedback_type, "rating": rating, "reason": reason, "original_prediction": original_prediction,
        "user_correction": user_correction, "confidence_rating": confidence_rating,
        "additional_context": additional_context, "comment": comment,
    }  # fmt: skip
    try:
        answer = _answer(ctx, content_id)
    except NotFound:
        return _add(ctx, {"content_id": content_id, **values}), False
    said_before = _given(ctx, answer.id) is not None
    return _put(ctx, answer.id, values), said_before


def of_messages(ctx: Ctx, message_ids: Collection[str]) -> dict[str, Feedback]:
    """message id -> what the caller said about it; one query for a whole conversation."""
    if not message_ids or ctx.user.id is None:
        return {}
    mine = (Feedback.owner_id == ctx.user.id) & Feedback.message_id.in_(list(message_ids))
    return {str(row.message_id): row for row in ctx.db.scalars(select(Feedback).where(mine))}


def stats(ctx: Ctx, *, everyone: bool = False) -> dict[str, Any]:
    """Counts of what the caller said; `everyone`: of all people, for administrators.

    satisfaction: share of thumbs that point up, None while there are none. average_confidence likewise.
    """
    if everyone and not ctx.user.is_admin:
        raise Forbidden("only administrators see what others said")
    mine: ColumnElement[bool] = Feedback.id.is_not(None) if everyone else Feedback.owner_id == ctx.user.id
    now = utcnow()
    total, confidence, newest, corrected, week, month = ctx.db.execute(
        select(
            func.count(),
            func.avg(Feedback.confidence_rating),
            func.max(Feedback.updated_at),
            func.count().filter(Feedback.user_correction.is_not(None)),
            func.count().filter(Feedback.created_at >= now - timedelta(days=7)),
            func.count().filter(Feedback.created_at >= now - timedelta(days=30)),
        ).where(mine)
    ).one()
    thumbs = {int(value): count for value, count in _counted(ctx, Feedback.rating, mine)}
    up, down = thumbs.get(1, 0), thumbs.get(-1, 0)
    return {
        "total_feedback": total,
        "by_type": dict(_counted(ctx, Feedback.feedback_type, mine)),
        "ratings": {"up": up, "down": down},
        "satisfaction": round(up / (up + down), 4) if up + down else None,
        "reasons": [{"reason": reason, "count": count} for reason, count in _counted(ctx, Feedback.reason, mine)],
        "agents": _agents(ctx, mine),
        "corrections": corrected,
        "average_confidence": round(confidence, 4) if confidence is not None else None,
        "last_7_days": week,
        "last_30_days": month,
        "last_at": newest,
    }


# --------------------------------------------------------------------------------------------------------------------


def _answer(ctx: Ctx, message_id: str) -> Any:
    """The caller's answer. NotFound for a stranger's, for what people wrote themselves, and for what is gone."""
    from webapp.chat.models import Conversation, Message

    if ctx.user.id is None:
        raise Unauthorized("credentials are needed")
    mine = (Conversation.owner_id == ctx.user.id) & Conversation.removed_at.is_(None)
    stmt = select(Message).join(Conversation, Conversation.id == Message.conversation_id).where(mine)
    stmt = stmt.where(Message.id == message_id[:40], Message.role == "assistant", Message.is_deleted.is_(False))
    found = ctx.db.scalar(stmt)
    if found is None:
        raise NotFound("there is no such answer")
    return found


def _given(ctx: Ctx, message_id: str) -> Feedback | None:
    mine = (Feedback.owner_id == ctx.user.id) & (Feedback.message_id == message_id)
    return ctx.db.scalar(select(Feedback).where(mine).with_for_update())


def _put(ctx: Ctx, message_id: str, values: dict[str, Any]) -> Feedback:
    row = _given(ctx, message_id)
    if row is None:
        try:
            with ctx.db.begin_nested():
                return _add(ctx, {"content_id": message_id, "message_id": message_id, **values})
        except IntegrityError:  # a second click was faster
            row = _given(ctx, message_id)
    if row is None:
        raise NotFound("there is no such answer")
    for name, value in values.items():
        setattr(row, name, value)
    row.updated_at = utcnow()
    ctx.db.flush()
    return row


def _add(ctx: Ctx, values: dict[str, Any]) -> Feedback:
    wait = ctx.rt.limits.hit(f"feedback:{ctx.user.id}", PER_DAY)
    if wait is not None:
        raise TooManyRequests(f"too much feedback for one day; try again in {wait} s", retry_after=wait)
    row = Feedback(owner_id=ctx.user.id, **values)
    ctx.db.add(row)
    ctx.db.flush()
    return row


def _counted(ctx: Ctx, column: Any, mine: ColumnElement[bool]) -> list[tuple[Any, int]]:
    """(value, how often), most often first; what nobody said is left out."""
    stmt = select(column, func.count()).where(mine, column.is_not(None)).group_by(column)
    rows = ctx.db.execute(stmt.order_by(func.count().desc(), column).limit(TOP)).all()
    return [(value, int(count)) for value, count in rows]


def _agents(ctx: Ctx, mine: ColumnElement[bool]) -> list[dict[str, Any]]:
    """How the thumbs point, by the agent that answered."""
    from webapp.chat.models import Message

    up, down = (func.count().filter(Feedback.rating == value) for value in (1, -1))
    stmt = select(Message.agent, up, down).join(Feedback, Feedback.message_id == Message.id)
    stmt = stmt.where(mine, Feedback.rating.is_not(None), Message.agent.is_not(None)).group_by(Message.agent)
    rows = ctx.db.execute(stmt.order_by(func.count().desc(), Message.agent).limit(TOP)).all()
    return [{"agent": agent, "up": int(ups), "down": int(downs)} for agent, ups, downs in rows]

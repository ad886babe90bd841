"""What Omeruta's clients can start and ask for. The work is done by the areas it belongs to; here it is found again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from webapp.chat import service as chat
from webapp.chat.models import Conversation, Message
from webapp.core.context import Actor, Ctx
from webapp.core.db import utcnow
from webapp.core.errors import NotFound
from webapp.omeruta import wire
from webapp.omeruta.models import OmerutaChat
from webapp.tasks import service as tasks

if TYPE_CHECKING:
    from webapp.runtime import Runtime

KIND = "omeruta"  # of conversations
RESENT_FOR = timedelta(hours=1)  # results are kept that long at least (C09); later nobody waits for one any more
MOST_RESENT = 50
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")


@dataclass
class Told:
    """A chat of a connection: what its reader has of it."""

    task_id: str
    name: str | None
    routed: bool = False
    ended: bool = False


# -- starting --------------------------------------------------------------------------------------------------------


def start_chat(
    ctx: Ctx,
    text: str,
    *,
    name: str | None = None,
    agent: str = "auto",
    use_context: bool = True,
    include_quality: bool = False,
    by_socket: bool = False,
) -> str:
    """Ask a question in the conversation a client calls `name` (a new one without); the id of its task.

    by_socket: the answer is sent until a connection has it, not fetched.
    """
    row = conversation_for(ctx, name)
    _, _, task = chat.ask(ctx, row, text, agent=agent, use_context=use_context)
    return _remember(ctx, task["id"], name, include_quality, by_socket)


def conversation_for(ctx: Ctx, name: str | None) -> Conversation:
    """By the client's own name for it, or by the id our lists give."""
    if not name:
        return chat.create(ctx, kind=KIND)
    try:
        return find(ctx, name)
    except NotFound:
        return chat.find_or_create(ctx, name, KIND)


def start_research(
    ctx: Ctx, topic: str, *, expand: bool, max_sources: int, include_quality: bool = False, name: str | None = None,
    by_socket: bool = False,
) -> str:  # fmt: skip
    params = {
        "topic": topic,
        "expand_knowledge": expand,
        "max_sources": max_sources,
        "include_quality": include_quality,
    }
    params |= {"conversation_id": name} if name else {}
    task = tasks.start(ctx, "research.run", params, title=f"Research: {topic}"[:300])
    return _remember(ctx, task["id"], name, include_quality, by_socket)


def start_analysis(ctx: Ctx, urls: list[str], analysis_type: str, *, include_quality: bool = False) -> str:
    params = {"urls": urls, "analysis_type": analysis_type, "include_quality": include_quality}
    task = tasks.start(ctx, "content.analyze", params, title=f"Analysis of {len(urls)} sources")
    return _remember(ctx, task["id"], None, include_quality, False)


def start_expansion(ctx: Ctx, topic: str, max_urls: int) -> str:
    task = tasks.start(ctx, "knowledge.expand", {"topic": topic, "max_urls": max_urls},
                       title=f"Knowledge about {topic}"[:300])  # fmt: skip
    return str(task["id"])


def _remember(ctx: Ctx, task_id: str, name: str | None, include_quality: bool, by_socket: bool) -> str:
    ctx.db.add(OmerutaChat(task_id=task_id, owner_id=ctx.user.id, name=name, include_quality=include_quality,
                           routed=not by_socket, told=not by_socket))  # fmt: skip
    ctx.db.flush()
    return task_id


# -- looking ---------------------------------------------------------------------------------------------------------


def status(ctx: Ctx, task_id: str) -> dict[str, Any]:
    """Where a task of the caller's stands, with its result once there is one; of an unknown id, what Celery says.

    Raises NotFound for what could be nobody's id.
    """
    try:
        task = tasks.get(ctx, task_id)
    except NotFound:
        if not ID.fullmatch(task_id):
            raise
        return wire.unknown(task_id)
    known = ctx.db.get(OmerutaChat, task.id)
    return wire.polled(task, _result(ctx.db, task, known), known.name if known else None)


def outcome(rt: Runtime, user: Actor, task_id: str) -> tuple[Any, dict[str, Any] | None]:
    """A finished task with its result; None for one that did not complete. Raises NotFound when it is gone."""
    with rt.unit(write=False) as db:
        task = tasks.get(Ctx(rt, db, user), task_id)
        return task, _result(db, task, db.get(OmerutaChat, task.id))


def _result(db: Session, task: Any, known: OmerutaChat | None) -> dict[str, Any] | None:
    if task.status != "completed":
        return None
    checks = None
    if known is not None and known.include_quality and (row := chat.of_task(db, task.id)) is not None:
        checks = list(row.checks)
    return wire.result(task, task.result or {}, name=known.name if known else None, checks=checks)


def receipt(rt: Runtime, task_id: str) -> dict[str, Any] | None:
    """Which agent answers and how sure the choice was, as soon as it is made."""
    with rt.unit(write=False) as db:
        row = chat.of_task(db, task_id)
        return row.route if row is not None else None


# -- what a connection has to be told --------------------------------------------------------------------------------


def untold(rt: Runtime, user: Actor) -> list[Told]:
    """Chats of this person that no connection has the end of, oldest first."""
    mine = OmerutaChat.owner_id.is_(None) if user.id is None else OmerutaChat.owner_id == user.id
    stmt = select(OmerutaChat).where(mine, ~OmerutaChat.told, OmerutaChat.created_at > utcnow() - RESENT_FOR)
    with rt.unit(write=False) as db:
        rows = db.scalars(stmt.order_by(OmerutaChat.task_id.desc()).limit(MOST_RESENT)).all()
    return [Told(row.task_id, row.name, row.routed) for row in reversed(rows)]


def mark(rt: Runtime, task_id: str, what: str) -> None:
    """The reader has it: `routed` or `told`."""
    with rt.unit() as db:
        db.execute(update(OmerutaChat).where(OmerutaChat.task_id == task_id).values({what: True}))


# -- conversations ---------------------------------------------------------------------------------------------------


def conversations(ctx: Ctx, page: int, size: int) -> tuple[int, list[Conversation]]:
    """(how many, those of the page), by their last message."""
    mine = chat.mine(ctx.user)
    stmt = select(Conversation).where(mine, Conversation.kind == KIND, Conversation.removed_at.is_(None))
    count = ctx.db.scalar(stmt.with_only_columns(func.count())) or 0
    order = (Conversation.last_message_at.desc(), Conversation.id.desc())
    rows = ctx.db.scalars(stmt.order_by(*order).offset((page - 1) * size).limit(size)).all()
    return count, list(rows)


def find(ctx: Ctx, name: str) -> Conversation:
    """By the client's name for it or our id. Raises NotFound for a stranger's exactly as for none."""
    stmt = select(Conversation).where(chat.mine(ctx.user), Conversation.kind == KIND, Conversation.removed_at.is_(None))
    named = stmt.where(Conversation.external_id == name[:200]) if ctx.user.id else stmt.where(
        Conversation.external_id == name[:200], Conversation.owner_id.is_(None))  # fmt: skip
    row = ctx.db.scalar(named.limit(1)) or ctx.db.scalar(stmt.where(Conversation.id == name[:40]))
    if row is None:
        raise NotFound("there is no such conversation")
    return row


def messages(ctx: Ctx, row: Conversation, limit: int, offset: int) -> list[Message]:
    """Oldest first."""
    stmt = select(Message).where(Message.conversation_id == row.id, Message.is_deleted.is_(False))
    return list(ctx.db.scalars(stmt.order_by(Message.seq).offset(offset).limit(limit)))

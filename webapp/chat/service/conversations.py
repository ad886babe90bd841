"""Conversations: made, found, listed, changed, thrown away and taken back."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, true
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.chat.models import Conversation, Message
from webapp.core.context import Actor, Ctx
from webapp.core.db import after_commit, utcnow
from webapp.core.errors import BadRequest, NotFound
from webapp.core.paging import Page

KINDS = ("chat", "omeruta", "wizard", "crew")
STATUSES = ("active", "paused", "completed", "archived")
MOST_LISTED = 100
TITLE = 200  # characters
CHOICES = ("engine", "agent", "collections", "use_context")  # of `config`, by person or program


def mine(user: Actor) -> ColumnElement[bool]:
    """A condition on Conversation. Operator's key and system have no row of their own: all; the anonymous: nobody's."""
    if user.id is not None:
        return Conversation.owner_id == user.id
    return true() if user.is_admin else Conversation.owner_id.is_(None)


def mark(row: Any) -> str:
    """Changes with the branch that is shown, and when an answer of it is tried again."""
    return f"{row.head_id or ''}.{int(row.last_message_at.timestamp() * 1000)}"


def moved(ctx: Ctx, row: Conversation) -> None:
    """Ring, so that other tabs that show it look."""
    after_commit(ctx.db, partial(ctx.rt.ring, "place", f"chat:{row.id}"))


def create(
    ctx: Ctx,
    *,
    kind: str = "chat",
    external_id: str | None = None,
    title: str = "",
    config: dict[str, Any] | None = None,
    agent: str | None = None,
    model_name: str = "",
    session_type: str = "general",
) -> Conversation:
    """A new conversation. agent: a key or id, kept as the choice for it. Raises BadRequest for a wrong kind or title."""
    if kind not in KINDS:
        raise BadRequest(f"kind: use one of {', '.join(KINDS)}")
    settings = dict(config or {})
    if agent:
        settings["agent"] = agent
    if model_name:
        settings.setdefault("engine", model_name)
    row = Conversation(
        owner_id=ctx.user.id, kind=kind, external_id=external_id[:200] if external_id else None,
        title=clean_title(title), titled=bool(title.strip()), config=settings, model_name=model_name[:200],
        session_type=session_type[:40],
    )  # fmt: skip
    ctx.db.add(row)
    ctx.db.flush()
    return row


def find_or_create(ctx: Ctx, external_id: str, kind: str) -> Conversation:
    """The caller's conversation that a client calls `external_id` (C40), made at first use. A removed one comes back."""
    wanted = select(Conversation).where(mine(ctx.user), Conversation.external_id == external_id[:200])
    if ctx.user.id is None:
        wanted = wanted.where(Conversation.owner_id.is_(None))
    row = ctx.db.scalar(wanted.limit(1))
    if row is None:
        try:
            with ctx.db.begin_nested():
                return create(ctx, kind=kind, external_id=external_id)
        except IntegrityError:  # the same client was faster in another request
            row = ctx.db.scalars(wanted.limit(1)).one()
    row.removed_at = None
    return row


def get(ctx: Ctx, conversation_id: str, *, removed: bool = False) -> Conversation:
    """The caller's. Raises NotFound for a stranger's exactly as for none; `removed` finds one that was thrown away."""
    stmt = select(Conversation).where(Conversation.id == conversation_id[:40], mine(ctx.user))
    if not removed:
        stmt = stmt.where(Conversation.removed_at.is_(None))
    row = ctx.db.scalar(stmt)
    if row is None:
        raise NotFound("there is no such conversation")
    return row


def locked(ctx: Ctx, conversation_id: str) -> Conversation:
    """The same, held until the end of this unit: two messages at once get two numbers."""
    stmt = select(Conversation).where(
        Conversation.id == conversation_id[:40], mine(ctx.user), Conversation.removed_at.is_(None)
    )
    row = ctx.db.scalar(stmt.with_for_update().execution_options(populate_existing=True))
    if row is None:
        raise NotFound("there is no such conversation")
    return row


def list_(
    ctx: Ctx, *, kind: str | None = "chat", pinned: bool | None = None, status: str | None = None,
    cursor: str | None = None, limit: int = 50,
) -> Page[Conversation]:  # fmt: skip
    """The caller's, pinned ones first, then by their last message. kind None: of all kinds."""
    limit = max(1, min(MOST_LISTED, limit))
    stmt = select(Conversation).where(mine(ctx.user), Conversation.removed_at.is_(None))
    if kind is not None:
        stmt = stmt.where(Conversation.kind == kind)
    if pinned is not None:
        stmt = stmt.where(Conversation.pinned.is_(pinned))
    if status is not None:
        stmt = stmt.where(Conversation.status == _status(status))
    if cursor:
        stmt = stmt.where(_after(*_decode(cursor)))
    order = (Conversation.pinned.desc(), Conversation.last_message_at.desc(), Conversation.id.desc())
    rows = list(ctx.db.scalars(stmt.order_by(*order).limit(limit + 1)))
    more, rows = len(rows) > limit, rows[:limit]
    return Page(rows, _encode(rows[-1]) if more else None, None)


def _after(pinned: bool, at: datetime, ident: str) -> ColumnElement[bool]:
    """What comes later in the list's order."""
    older = or_(Conversation.last_message_at < at, and_(Conversation.last_message_at == at, Conversation.id < ident))
    same = and_(Conversation.pinned.is_(pinned), older)
    return or_(Conversation.pinned.is_(False), same) if pinned else same


def _encode(row: Conversation) -> str:
    text = f"{int(row.pinned)}|{row.last_message_at.isoformat()}|{row.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[bool, datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor[:400] + "=" * (-len(cursor[:400]) % 4)).decode()
        pinned, at, ident = text.split("|")
        when = datetime.fromisoformat(at)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadRequest("this page cursor is not one of ours", code="bad_cursor") from None
    if pinned not in ("0", "1") or when.tzinfo is None or not ident or len(ident) > 40 or "\0" in ident:
        raise BadRequest("this page cursor is not one of ours", code="bad_cursor")
    return pinned == "1", when, ident


def _status(status: str) -> str:
    if status not in STATUSES:
        raise BadRequest(f"status: use one of {', '.join(STATUSES)}", code="invalid_value",
                         details=[{"loc": ["status"], "msg": f"use one of {', '.join(STATUSES)}", "type": "enum"}])  # fmt: skip
    return status


def update(
    ctx: Ctx, conversation_id: str, *, title: str | None = None, pinned: bool | None = None, status: str | None = None,
    config: dict[str, Any] | None = None,
) -> Conversation:  # fmt: skip
    """Rename, pin, change state or choices. An empty title is made anew from the first question.

    config: engine, agent, collections (None: all), use_context; what is not named stays.
    """
    row = locked(ctx, conversation_id)
    if title is not None:
        row.title, row.titled = clean_title(title), bool(title.strip())
        if not row.titled:
            row.title = title_of(_first_question(ctx.db, row.id))
    if pinned is not None:
        row.pinned = pinned
    if status is not None:
        row.status = _status(status)
    if config is not None:
        row.config = {**row.config, **checked(ctx, config)}
    row.updated_at = utcnow()
    ctx.db.flush()
    return row


def checked(ctx: Ctx, config: dict[str, Any]) -> dict[str, Any]:
    """Choices that can be kept. Raises NotFound for a collection that the caller may not read, and as `must_exist`."""
    from webapp.knowledge.service import collections

    found = {name: config[name] for name in CHOICES if name in config}
    must_exist(ctx, str(found.get("agent") or ""), str(found.get("engine") or ""))
    if found.get("collections"):
        found["collections"] = collections.readable(ctx, found["collections"])
    for name in ("engine", "agent"):
        if name in found:
            found[name] = str(found[name] or "")[:200]
    return found


def must_exist(ctx: Ctx, agent: str, engine: str) -> None:
    """Somebody named them: what is not there is said at once, and not by a task that fails. Raises NotFound.

    A model's bare name (llama3) is left to the task where servers are, since one of them may not have been asked yet.
    """
    from webapp.agents import service as agents
    from webapp.engines import servers
    from webapp.engines import service as engines

    if agent not in ("", "auto"):
        agents.get(ctx, agent)
    if engine in ("", engines.EXTRACTIVE.id):
        return
    if engine.startswith(("ggml:", "openai:")) or not servers.servers(ctx.rt):
        engines.find(ctx.rt, engine)


def remove(ctx: Ctx, conversation_id: str) -> Conversation:
    """Out of sight; what is being answered stops. It can be taken back until it is emptied."""
    from webapp.chat.service.messages import stop_all

    row = locked(ctx, conversation_id)
    stop_all(ctx, row.id)
    row.removed_at = utcnow()
    row.share_token = None
    moved(ctx, row)
    ctx.db.flush()
    return row


def restore(ctx: Ctx, conversation_id: str) -> Conversation:
    """Take a removal back. A share link is not restored."""
    row = get(ctx, conversation_id, removed=True)
    row.removed_at = None
    ctx.db.flush()
    return row


def empty(db: Session, before: datetime, *, limit: int = 500) -> int:
    """Forget conversations that were removed before a moment, with their messages; how many."""
    return _forget(db, select(Conversation.id).where(Conversation.removed_at < before).limit(limit))


def forget_idle(db: Session, days: int, *, limit: int = 500) -> int:
    """Forget conversations that nobody wrote in for so many days, some at a time; how many. 0 keeps them."""
    return _forget(db, select(Conversation.id).where(_idle(days)).limit(limit)) if days else 0


def count_idle(db: Session, days: int) -> int:
    """How many `forget_idle` would forget in all."""
    return int(db.scalar(select(func.count()).select_from(Conversation).where(_idle(days))) or 0) if days else 0


def _idle(days: int) -> ColumnElement[bool]:
    """Pinned and shared ones are meant to last."""
    return and_(
        Conversation.last_message_at < utcnow() - timedelta(days=days),
        Conversation.pinned.is_(False),
        Conversation.share_token.is_(None),
        Conversation.removed_at.is_(None),
    )


def _forget(db: Session, which: Select[Any]) -> int:
    ids = list(db.scalars(which))
    if ids:
        db.execute(sql_update(Message).where(Message.conversation_id.in_(ids)).values(parent_id=None))
        db.execute(delete(Message).where(Message.conversation_id.in_(ids)))
        db.execute(delete(Conversation).where(Conversation.id.in_(ids)))
    return len(ids)


def _first_question(db: Session, conversation_id: str) -> str:
    first = select(Message.content).where(Message.conversation_id == conversation_id, Message.role == "user")
    return db.scalar(first.order_by(Message.seq).limit(1)) or ""


def clean_title(text: str) -> str:
    from webapp.core.text import clean

    return " ".join(clean(text).split())[:TITLE]


def title_of(question: str) -> str:
    """A question's first words, cut between two of them."""
    words = clean_title(question)
    if len(words) <= 64:
        return words
    return words[:64].rsplit(" ", 1)[0].rstrip(",;:.-–") + "…"


def count(ctx: Ctx) -> int:
    stmt = select(func.count()).select_from(Conversation)
    return int(ctx.db.scalar(stmt.where(mine(ctx.user), Conversation.removed_at.is_(None))) or 0)

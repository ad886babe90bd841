"""Finding a conversation again by its title or by what was said in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import InstrumentedAttribute

from webapp.chat.models import Conversation, Message
from webapp.chat.service.conversations import mine
from webapp.core.context import Ctx
from webapp.core.text import clean

LOOKED_THROUGH = 3_000  # conversations whose messages are read, the newest ones; titles are looked at everywhere
MOST = 50
AROUND = 60  # characters shown on each side of what was found


@dataclass(frozen=True)
class Found:
    """A conversation; the excerpt around the first word in its newest message that holds all of them, or ""."""

    conversation: Conversation
    excerpt: str = ""
    message_id: str | None = None


def search(ctx: Ctx, words: str, *, kind: str | None = "chat", limit: int = 20) -> list[Found]:
    """Conversations with all of the words in the title, then those with all of them in one message; newest first."""
    wanted = clean(words)[:200].split()[:8]
    if not wanted:
        return []
    limit = max(1, min(MOST, limit))
    own: Select[Any] = select(Conversation).where(mine(ctx.user), Conversation.removed_at.is_(None))
    if kind is not None:
        own = own.where(Conversation.kind == kind)
    newest = Conversation.last_message_at.desc()
    by_title = own.where(_holds(Conversation.title, wanted)).order_by(newest).limit(limit)
    found = {row.id: Found(row) for row in ctx.db.scalars(by_title)}
    if len(found) < limit:
        for row, ident, text in ctx.db.execute(_said(own, wanted, limit)).all():
            known = found.get(row.id)
            if known is None or not known.excerpt:
                found[row.id] = Found(row, excerpt(text, wanted), ident)
    return list(found.values())[:limit]


def _said(own: Select[Any], wanted: list[str], limit: int) -> Select[Conversation, str, str]:
    recent = own.order_by(Conversation.last_message_at.desc()).limit(LOOKED_THROUGH)
    ids = recent.with_only_columns(Conversation.id).subquery()
    stmt: Any = (
        select(Conversation, Message.id, Message.content)
        .join(Message, Message.conversation_id == Conversation.id)
        .where(Conversation.id.in_(select(ids.c.id)), Message.is_deleted.is_(False), _holds(Message.content, wanted))
        .order_by(Conversation.last_message_at.desc(), Message.seq.desc())
        .limit(limit * 4)
    )
    found: Select[Any] = stmt
    return found


def _holds(column: InstrumentedAttribute[str], wanted: list[str]) -> ColumnElement[bool]:
    return and_(*(column.ilike(f"%{_like(word)}%", escape="\\") for word in wanted))


def _like(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def excerpt(text: str, wanted: list[str]) -> str:
    plain = " ".join(text.split())
    low = plain.lower()
    at = min((where for word in wanted if (where := low.find(word.lower())) >= 0), default=0)
    start, end = max(0, at - AROUND), min(len(plain), at + AROUND)
    return ("…" if start else "") + plain[start:end] + ("…" if end < len(plain) else "")

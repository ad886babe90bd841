"""A read-only link to a branch of a conversation: unguessable, revocable, and no door to anything else of its owner's."""

from __future__ import annotations

import hmac
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.chat.models import Conversation, Message
from webapp.chat.service import conversations
from webapp.chat.service.messages import OPEN, path
from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import Conflict, NotFound

BYTES = 24  # of chance in a link


def share(ctx: Ctx, conversation_id: str) -> Conversation:
    """Show the present branch, up to its last message, to whoever has the link. Sharing again moves the end along.

    Raises Conflict while there is nothing, or something unfinished, to show.
    """
    row = conversations.locked(ctx, conversation_id)
    last = ctx.db.get(Message, row.head_id) if row.head_id else None
    if last is None:
        raise Conflict("there is nothing to share yet", code="empty")
    if last.state in OPEN:
        raise Conflict("the last answer is still being written", code="still_writing",
                       suggestion="Wait until it is done, or stop it.")  # fmt: skip
    row.share_token = row.share_token or secrets.token_urlsafe(BYTES)
    row.share_head_id, row.shared_at = last.id, utcnow()
    ctx.db.flush()
    return row


def unshare(ctx: Ctx, conversation_id: str) -> Conversation:
    """The link leads nowhere any more; sharing again makes another one."""
    row = conversations.locked(ctx, conversation_id)
    row.share_token = row.share_head_id = row.shared_at = None
    ctx.db.flush()
    return row


def shared(db: Session, token: str) -> tuple[Conversation, list[Message]]:
    """What a link shows: the branch as it was shared. Raises NotFound for any link that is none."""
    stmt = select(Conversation).where(Conversation.share_token == token[:64], Conversation.removed_at.is_(None))
    row = db.scalar(stmt) if len(token) >= BYTES else None
    if row is None or row.share_token is None or not hmac.compare_digest(row.share_token.encode(), token.encode()):
        raise NotFound("this link leads nowhere", suggestion="Ask whoever gave it to you; a link can be taken back.")
    rows = path(db, row, head_id=row.share_head_id)
    return row, [one for one in rows if not one.is_deleted]


def shared_source(db: Session, token: str, message_id: str, number: str) -> dict[str, object]:
    """A quote that a shared answer cites, from the answer itself: nobody comes to the document by it."""
    _, rows = shared(db, token)
    for row in rows:
        if row.id == message_id:
            for source in row.sources:
                if str(source.get("number")) == number:
                    return source
    raise NotFound("there is no such source in this conversation")

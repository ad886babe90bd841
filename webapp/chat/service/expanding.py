"""More sources for a question that was answered thinly or not at all: a version beside the answer there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from webapp.chat.models import Message
from webapp.chat.service import conversations, messages
from webapp.core.context import Ctx
from webapp.core.errors import Conflict
from webapp.tasks.kinds import kinds

LOOK = "knowledge.expand"  # the task that looks and reads
MOST = 5  # new pages, unless somebody says another number


def expand(ctx: Ctx, message_id: str, *, urls: Sequence[str] = (), max_urls: int = MOST) -> tuple[Message, Any]:
    """Have new sources for a question looked for and read, then answer it again; the new answer and its task.

    urls: pages to begin with. Raises Conflict for what is no finished answer, and while somebody looks already.
    """
    old = messages.message(ctx, message_id)
    if old.role != "assistant" or old.parent_id is None or not can_expand():
        raise Conflict("nothing can be looked for here", code="cannot_expand")
    if messages.settled(ctx, [old])[old.id].state not in ("done", "declined"):
        raise Conflict("more can be looked for once there is an answer", code="not_answered")
    row = conversations.locked(ctx, old.conversation_id)
    _nobody_looks(ctx, old)
    question = ctx.db.get_one(Message, old.parent_id)
    wanted = messages.again(ctx, row, old)
    look = _look(ctx, question.content, wanted["collections"], urls, max_urls)
    if wanted["collections"] and look["collection_id"] not in wanted["collections"]:
        wanted["collections"] = [*wanted["collections"], look["collection_id"]]
    wanted |= {"use_context": True, "before_id": old.id, "look": look}  # sources are what it is for
    return messages.answer_to(ctx, row, question, wanted, None)


def can_expand() -> bool:
    """Whether this installation can look for more sources by itself."""
    return any(name == LOOK for name, _ in kinds.all())


def _nobody_looks(ctx: Ctx, old: Message) -> None:
    """Two clicks are one search."""
    open_ = select(Message).where(Message.parent_id == old.parent_id, Message.state.in_(messages.OPEN))
    looking = [one for one in ctx.db.scalars(open_) if one.meta.get("look")]
    if any(stand.state in messages.OPEN for stand in messages.settled(ctx, looking).values()):
        raise Conflict("more is being looked for already", code="still_looking")


def _look(ctx: Ctx, question: str, shelves: Sequence[str] | None, urls: Sequence[str], most: int) -> dict[str, Any]:
    """Parameters of the search, checked as if it were started alone. New pages go where the answer looks, if it may."""
    from webapp.knowledge.service import collections

    kind = kinds.get(LOOK)
    own = {one.collection.id for one in collections.list_(ctx) if one.access == "owner"} if shelves else set()
    where = next((one for one in shelves or () if one in own), None)
    params = {"topic": " ".join(question.split())[:300], "urls": list(urls), "max_urls": most, "collection_id": where}
    params = kind.check(params)
    if kind.prepare is not None:
        kind.prepare(ctx, params)
    return params

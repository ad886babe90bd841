"""Files of a conversation: a collection of its own, read like any other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from webapp.chat.models import Conversation
from webapp.chat.service import conversations
from webapp.core.context import Ctx
from webapp.core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from webapp.knowledge.service.sources import File


def attach(ctx: Ctx, conversation_id: str, files: Iterable[File]) -> tuple[list[Any], list[dict[str, str]]]:
    """(sources, refused): each file is read in the background; one that is refused stops no other."""
    from webapp.knowledge.service import sources

    row = conversations.locked(ctx, conversation_id)
    return sources.add_files(ctx, _collection(ctx, row), list(files))


def attached(ctx: Ctx, row: Conversation) -> list[Any]:
    """The sources of a conversation's own collection, newest first."""
    from webapp.knowledge.service import sources

    if row.attachments_id is None:
        return []
    try:
        return list(sources.list_(ctx, row.attachments_id, limit=50).items)
    except NotFound:  # the collection was deleted on its own page
        return []


def detach(ctx: Ctx, conversation_id: str, source_id: str) -> None:
    """Take a file away, with what was read from it."""
    from webapp.knowledge.service import sources

    row = conversations.get(ctx, conversation_id)
    if row.attachments_id is None or sources.get(ctx, source_id).collection_id != row.attachments_id:
        raise NotFound("there is no such file in this conversation")
    sources.remove(ctx, source_id)


def _collection(ctx: Ctx, row: Conversation) -> str:
    from webapp.knowledge.service import collections

    if row.attachments_id is not None:
        try:
            return collections.writable(ctx, row.attachments_id).id
        except NotFound:
            row.attachments_id = None
    name = f"Files: {row.title or 'conversation'}"[:80].rstrip()
    for title in (name, f"{name[:60]} {row.id[-8:]}"):
        try:
            made = collections.create(ctx, title, "Files attached to a conversation.")
            break
        except Conflict as exc:
            if exc.code == "too_many":
                raise
    else:
        raise Conflict("no collection could be made for the files")
    row.attachments_id = made.id
    ctx.db.flush()
    return made.id


def scope(ctx: Ctx, row: Conversation, wanted: list[str] | None) -> list[str] | None:
    """Where an answer looks: what was chosen and the conversation's own files; by default everything but the files of
    other conversations. None: everything the person may read."""
    from webapp.knowledge.service import collections

    own = [row.attachments_id] if row.attachments_id else []
    readable = collections.readable(ctx)
    if wanted:
        return [one for one in dict.fromkeys([*wanted, *own]) if one in set(readable)]
    left_out = all_attachments(ctx) - set(own)
    return [one for one in readable if one not in left_out] if left_out else None


def all_attachments(ctx: Ctx) -> set[str]:
    """Ids of the collections that hold files of the caller's conversations."""
    stmt = select(Conversation.attachments_id).where(
        Conversation.attachments_id.is_not(None), conversations.mine(ctx.user)
    )
    return {one for one in ctx.db.scalars(stmt) if one}

"""JSON endpoints of conversations: everything the pages can do."""

from __future__ import annotations

from typing import Any

from flask import request, url_for

from webapp.chat import live, service, views
from webapp.chat.models import Message
from webapp.chat.schemas import (
    AgainIn,
    AnsweringOut,
    AskedOut,
    AskIn,
    AttachmentOut,
    AttachmentsForm,
    AttachmentsOut,
    ConversationIn,
    ConversationOut,
    ConversationPage,
    ConversationPatch,
    ConversationQuery,
    EditIn,
    ExpandIn,
    ExportQuery,
    FindQuery,
    FoundOut,
    MessageOut,
    SharedOut,
    ThreadOut,
    ThreadQuery,
)
from webapp.chat.service import messages
from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import BadRequest
from webapp.web.api import Api
from webapp.web.live import hub, open_stream

conversations = Api("conversations", "/api/v1/conversations", tag="Conversations")
READ, WRITE = "tasks:read", "tasks:write"


@conversations.get("", auth=READ, query=ConversationQuery, returns=ConversationPage)
def list_conversations(ctx: Ctx, query: ConversationQuery) -> Any:
    """Pinned ones first, then by their last message."""
    page = service.list_(ctx, pinned=query.pinned, status=query.status, cursor=query.cursor, limit=query.limit)
    return {"conversations": [views.conversation(row) for row in page.items], "next_cursor": page.next_cursor}


@conversations.post("", auth=WRITE, body=ConversationIn, returns=ConversationOut, status=201, errors=(404,))
def create_conversation(ctx: Ctx, body: ConversationIn) -> Any:
    """Begin a conversation. It gets its title from the first question if none is given."""
    row = service.create(ctx, title=body.title)
    config = body.config.model_dump(exclude_none=True) if body.config is not None else {}
    return views.conversation(service.update(ctx, row.id, config=config))


@conversations.get("/search", auth=READ, query=FindQuery, returns=list[FoundOut])
def search_conversations(ctx: Ctx, query: FindQuery) -> Any:
    """Conversations whose title, or one message of the 3,000 newest, holds all the words."""
    return [
        {"conversation": views.conversation(one.conversation), "excerpt": one.excerpt, "message_id": one.message_id}
        for one in service.search(ctx, query.q, limit=query.limit)
    ]


@conversations.get("/<conversation_id>", auth=READ, returns=ConversationOut, errors=(404,))
def get_conversation(ctx: Ctx, conversation_id: str) -> Any:
    """One conversation."""
    return views.conversation(service.get(ctx, conversation_id))


@conversations.patch("/<conversation_id>", auth=WRITE, body=ConversationPatch, returns=ConversationOut, errors=(404,))
def update_conversation(ctx: Ctx, conversation_id: str, body: ConversationPatch) -> Any:
    """Rename, pin, change its state or its choices."""
    config = body.config.model_dump(exclude_unset=True) if body.config is not None else None
    row = service.update(ctx, conversation_id, title=body.title, pinned=body.pinned, status=body.status, config=config)
    return views.conversation(row)


@conversations.delete("/<conversation_id>", auth=WRITE, status=204, errors=(404,))
def delete_conversation(ctx: Ctx, conversation_id: str) -> None:
    """Throw it away; `restore` takes that back for a week. What is being answered stops."""
    service.remove(ctx, conversation_id)


@conversations.post("/<conversation_id>/restore", auth=WRITE, returns=ConversationOut, errors=(404,))
def restore_conversation(ctx: Ctx, conversation_id: str) -> Any:
    """Take a removal back."""
    return views.conversation(service.restore(ctx, conversation_id))


# -- messages --------------------------------------------------------------------------------------------------------


@conversations.get("/<conversation_id>/messages", auth=READ, query=ThreadQuery, returns=ThreadOut, errors=(404,))
def list_messages(ctx: Ctx, conversation_id: str, query: ThreadQuery) -> Any:
    """The shown branch, oldest first; or the whole tree."""
    row = service.get(ctx, conversation_id)
    tree = messages.nodes(ctx.db, row.id)
    rows = messages.every(ctx.db, row) if query.all else messages.path(ctx.db, row, limit=query.limit, tree=tree)
    stands, places = service.settled(ctx, rows), service.siblings(tree)
    return {"messages": [views.message(one, stands[one.id], places.get(one.id)) for one in rows], "head_id": row.head_id,
            "earlier": 0 if query.all else messages.depth(tree, rows)}  # fmt: skip


@conversations.post(
    "/<conversation_id>/messages",
    auth=WRITE,
    body=AskIn,
    returns=AskedOut,
    status=202,
    idempotent=True,
    errors=(404, 409),
)
def ask(ctx: Ctx, conversation_id: str, body: AskIn) -> Any:
    """Ask. The answer is written by a task; its text comes by the message's stream, its state by the task's events."""
    question, answer, task = service.ask(
        ctx, conversation_id, body.text, agent=body.agent, engine=body.engine, collections=body.collections,
        use_context=body.use_context, parent_id=body.parent_id, priority=body.priority,
    )  # fmt: skip
    return {"question": _shown(ctx, question), "answer": _shown(ctx, answer), "task_id": task["id"]}


def _shown(ctx: Ctx, row: Message) -> dict[str, Any]:
    places = service.siblings(messages.nodes(ctx.db, row.conversation_id))
    return views.message(row, service.settled(ctx, [row])[row.id], places.get(row.id))


def _writing(ctx: Ctx, row: Message, task_id: str | None) -> dict[str, Any]:
    return {"answer": _shown(ctx, row), "task_id": task_id or row.task_id}


@conversations.get("/messages/<message_id>", auth=READ, returns=MessageOut, errors=(404,))
def get_message(ctx: Ctx, message_id: str) -> Any:
    """One message."""
    return _shown(ctx, service.message(ctx, message_id))


@conversations.get("/messages/<message_id>/stream", auth="events:read", stream=True, errors=(404, 409))
def stream_message(ctx: Ctx, message_id: str) -> Any:
    """Server-sent events of an answer: `text` {offset, text} as it is written, then `message` with the whole of it.

    A `text` with offset 0 begins anew. A connection that broke goes on by Last-Event-ID, the bytes it has.
    """
    feed = live.AnswerFeed(hub(), ctx, service.message(ctx, message_id), request.headers.get("Last-Event-ID"))
    return open_stream(ctx.user, feed)


@conversations.post(
    "/messages/<message_id>/edit", auth=WRITE, body=EditIn, returns=AskedOut, status=202, errors=(404, 409)
)
def edit_message(ctx: Ctx, message_id: str, body: EditIn) -> Any:
    """Ask a question in other words; the old wording stays a branch."""
    question, answer, task = service.edit(ctx, message_id, body.text)
    return {"question": _shown(ctx, question), "answer": _shown(ctx, answer), "task_id": task["id"]}


@conversations.post(
    "/messages/<message_id>/regenerate", auth=WRITE, body=AgainIn, returns=AnsweringOut, status=202, errors=(404, 409)
)
def regenerate(ctx: Ctx, message_id: str, body: AgainIn) -> Any:
    """Another answer to the same question, by another agent or engine if named; the old one stays a branch."""
    row, task = service.regenerate(ctx, message_id, agent=body.agent, engine=body.engine)
    return _writing(ctx, row, task["id"])


@conversations.post(
    "/messages/<message_id>/expand", auth=WRITE, body=ExpandIn, returns=AnsweringOut, status=202, errors=(403, 404, 409)
)
def expand(ctx: Ctx, message_id: str, body: ExpandIn) -> Any:
    """Look for more sources for a question and answer it again, beside the answer there is.

    The new answer is there at once and waits; `note` says what is being read, `change` in the end what it brought.
    """
    row, task = service.expand(ctx, message_id, urls=body.urls, max_urls=body.max_urls)
    return _writing(ctx, row, task["id"])


@conversations.post("/messages/<message_id>/retry", auth=WRITE, returns=AnsweringOut, status=202, errors=(404, 409))
def retry(ctx: Ctx, message_id: str) -> Any:
    """Try an answer again that failed or was stopped."""
    return _writing(ctx, service.retry(ctx, message_id)[0], None)


@conversations.post("/messages/<message_id>/cancel", auth=WRITE, returns=MessageOut, errors=(404, 409))
def cancel(ctx: Ctx, message_id: str) -> Any:
    """Stop an answer; what is written stays."""
    return _shown(ctx, service.cancel(ctx, message_id))


@conversations.post("/messages/<message_id>/show", auth=WRITE, returns=ConversationOut, errors=(404,))
def show_branch(ctx: Ctx, message_id: str) -> Any:
    """Show the branch this message is on, down to its newest end."""
    return views.conversation(service.branch(ctx, message_id))


# -- sharing, exporting, files ---------------------------------------------------------------------------------------


@conversations.post("/<conversation_id>/share", auth=WRITE, returns=SharedOut, errors=(404, 409))
def share_conversation(ctx: Ctx, conversation_id: str) -> Any:
    """A read-only link to the branch up to its last message. Sharing again moves the end, not the link."""
    row = service.share(ctx, conversation_id)
    return {"url": url_for("chat_pages.shared", token=row.share_token, _external=True), "shared_at": iso(row.shared_at)}


@conversations.delete("/<conversation_id>/share", auth=WRITE, status=204, errors=(404,))
def unshare_conversation(ctx: Ctx, conversation_id: str) -> None:
    """Take the link back."""
    service.unshare(ctx, conversation_id)


@conversations.get("/<conversation_id>/export", auth=READ, query=ExportQuery, errors=(404,),
                   extra={"mimetype": ("application/json", "text/markdown")})  # fmt: skip
def export_conversation(ctx: Ctx, conversation_id: str, query: ExportQuery) -> Any:
    """A download: the whole tree as JSON, or the shown branch as Markdown."""
    return views.exported(ctx, service.get(ctx, conversation_id), query.format)


@conversations.get("/<conversation_id>/files", auth=READ, returns=list[AttachmentOut], errors=(404,))
def list_files(ctx: Ctx, conversation_id: str) -> Any:
    """The conversation's own files and how far their reading is."""
    return views.files(ctx, service.get(ctx, conversation_id))


@conversations.post(
    "/<conversation_id>/files",
    auth=WRITE,
    form=AttachmentsForm,
    returns=AttachmentsOut,
    status=201,
    errors=(404, 409, 413, 415, 507),
)
def add_files(ctx: Ctx, conversation_id: str, form: AttachmentsForm) -> Any:
    """Attach files; they are read into a collection of the conversation's own, and answers look there too."""
    from webapp.knowledge.service.sources import File

    given = [
        File(one.stream, one.filename or "", one.mimetype) for one in request.files.getlist("files") if one.filename
    ]
    row = service.get(ctx, conversation_id)
    if not given:
        raise BadRequest("files: choose at least one file")
    _, refused = service.attach(ctx, conversation_id, given)
    return {"files": views.files(ctx, row), "refused": refused}


@conversations.delete("/<conversation_id>/files/<source_id>", auth=WRITE, status=204, errors=(404,))
def remove_file(ctx: Ctx, conversation_id: str, source_id: str) -> None:
    """Take a file away, with what was read from it."""
    service.detach(ctx, conversation_id, source_id)

"""A conversation as templates and programs see it, and the one fragment that first paint, poll and push share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flask import Response, url_for
from markupsafe import Markup
from sqlalchemy import select

from webapp.chat import markup
from webapp.chat import service as service_package
from webapp.chat.models import Conversation, Message
from webapp.chat.service import exporting
from webapp.chat.service import messages as service
from webapp.chat.service.messages import Node, Place, Stand
from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import BadRequest

if TYPE_CHECKING:
    from webapp.runtime import Runtime


THIN = 0.45  # below it a confidence is called low


@dataclass(frozen=True)
class MessageView:
    """Everything a template may read of a message; nothing of it asks the database."""

    id: str
    conversation_id: str
    role: str
    state: str
    text: str
    html: Markup
    task_id: str | None
    seq: int
    fence: int
    length: int
    note: str
    progress: int
    error: str | None
    can_retry: bool
    is_final: bool
    agent: str | None
    created_at: datetime
    place: Place | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    route: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def unsupported(self) -> int:
        return sum(1 for one in self.checks if one.get("verdict") == "unsupported")

    @property
    def change(self) -> dict[str, Any] | None:
        return self.meta.get("change")

    @property
    def looking(self) -> bool:
        """Sources are being looked for; the answer is not begun."""
        return self.state == "waiting" and bool(self.meta.get("look"))

    @property
    def step(self) -> str:
        """What is being done now, in words for a person."""
        note = (self.note or "Waiting for a worker").replace("...", "…")
        note = "Writing the answer" if note == "Generating response…" else note
        if not self.looking or note.startswith("Looking"):
            return note
        return (
            "Looking for new sources" if note.lower().startswith("waiting for") else f"Looking for new sources: {note}"
        )

    @property
    def thin(self) -> bool:
        """An answer that stands on little: more sources may help."""
        confidence = self.meta.get("confidence")
        weak = confidence is not None and confidence < THIN
        return self.state == "done" and (weak or not self.sources or self.unsupported > 0)

    @property
    def extractive(self) -> bool:
        return self.meta.get("model") == "extractive"


def view(rt: Runtime, row: Message, stand: Stand, place: Place | None = None) -> MessageView:
    """With the text as far as it is written: the stream knows more than the row while a task writes it."""
    text, fence, length = row.content, 0, 0
    if row.role == "assistant" and stand.state in service.OPEN and row.task_id:
        fence, length, live = rt.streams.read(row.task_id)
        text = live if len(live) >= len(text) or fence else text
    return MessageView(
        id=row.id, conversation_id=row.conversation_id, role=row.role, state=stand.state, text=text,
        html=_html(row, text, stand, _hrefs(row.id)), task_id=row.task_id, seq=stand.seq, fence=fence, length=length, note=stand.note,
        progress=stand.progress, error=stand.error, can_retry=stand.can_retry, is_final=stand.is_final,
        agent=row.agent, created_at=row.created_at, place=place, sources=row.sources, checks=row.checks,
        route=row.route, metrics=row.metrics, meta=row.meta,
    )  # fmt: skip


def _html(row: Message, text: str, stand: Stand, href: str) -> Markup:
    if row.role == "user":
        return Markup("")  # shown as it was typed
    done = stand.state in ("done", "declined")
    return markup.render(
        text, numbers=[one["number"] for one in row.sources] if done else (),
        unsupported=[(one.get("start", 0), one.get("end", 0)) for one in row.checks if one.get("verdict") == "unsupported"]
        if done else (),
        href=href, prefix=row.id[-8:], icons=url_for("static", filename="icons.svg"),
        pending=stand.state in service.OPEN,
    )  # fmt: skip


def _hrefs(message_id: str, token: str | None = None) -> str:
    """What the numbers of an answer's sources are put behind."""
    if token:
        return url_for("chat_pages.shared_source", token=token, answer=message_id, number=0)[:-1]
    return url_for("chat_pages.source", message_id=message_id, number=0)[:-1]


def read_only(rows: Iterable[Message], token: str) -> list[MessageView]:
    """A shared branch: nothing of it moves, and its sources open by the link's own token."""
    found = []
    for row in rows:
        stand = Stand(row.state)
        found.append(
            MessageView(
                id=row.id, conversation_id="", role=row.role, state=row.state, text=row.content,
                html=_html(row, row.content, stand, _hrefs(row.id, token)), task_id=None, seq=0, fence=0, length=0,
                note="", progress=0, error=None, can_retry=False, is_final=True, agent=row.agent,
                created_at=row.created_at, sources=row.sources, checks=row.checks, metrics=row.metrics, meta=row.meta,
            )
        )  # fmt: skip
    return found


def thread(ctx: Ctx, rows: Iterable[Message], tree: Iterable[Node], *, exact: bool = False) -> list[MessageView]:
    """A branch to be shown; two queries however long it is."""
    rows = list(rows)
    stands, places = service.settled(ctx, rows, exact=exact), service.siblings(tree)
    return [view(ctx.rt, row, stands[row.id], places.get(row.id)) for row in rows]


# -- the fragment ----------------------------------------------------------------------------------------------------


def fragment(rt: Runtime, task: Any) -> tuple[str, str, dict[str, Any]]:
    """What the page's channel pushes for the task of an answer: element id, template, context."""
    with rt.unit(write=False) as db:
        row = db.scalar(select(Message).where(Message.task_id == task.id).limit(1))
        if row is None:
            return f"answer-of-{task.id}", "chat/_gone.html", {}
        tree = service.nodes(db, row.conversation_id) if task.is_final or row.meta.get("look") else []
    place = service.siblings(tree).get(row.id)
    shown = view(rt, row, service.stand(row, task), place)
    return f"message-{row.id}", "chat/_answer.html", {"m": shown}


def stands(rt: Runtime, ids: list[str]) -> dict[str, tuple[str | None, str]]:
    """Whose these conversations are and what they show now, for pages that have one open."""
    columns = select(Conversation.id, Conversation.owner_id, Conversation.head_id, Conversation.last_message_at)
    found: dict[str, tuple[str | None, str]] = {}
    with rt.unit(write=False) as db:
        for start in range(0, len(ids), 500):
            there = Conversation.id.in_(ids[start : start + 500]), Conversation.removed_at.is_(None)
            found |= {row.id: (row.owner_id, service_package.mark(row)) for row in db.execute(columns.where(*there))}
    return found


# -- files -----------------------------------------------------------------------------------------------------------


def files(ctx: Ctx, row: Conversation | None) -> list[dict[str, Any]]:
    """The conversation's own files: {id, label, state, error}."""
    from webapp.knowledge.service import sources

    rows = service_package.attached(ctx, row) if row is not None else []
    active = sources.active_tasks(ctx, rows)
    found = []
    for one in rows:
        state, error = sources.shown_state(one, active)
        found.append({"id": one.id, "label": one.label, "state": state, "error": error})
    return found


def exported(ctx: Ctx, row: Conversation, fmt: str) -> Response:
    """A download: the shown branch as Markdown, the whole tree as JSON."""
    if fmt == "md":
        text, kind = exporting.markdown(row, service.path(ctx.db, row)), "text/markdown"
    elif fmt == "json":
        text, kind = (
            json.dumps(exporting.data(row, service.every(ctx.db, row)), ensure_ascii=False, indent=2),
            "application/json",
        )
    else:
        raise BadRequest("there is no such format", suggestion="Use md or json.")
    response = Response(text, content_type=f"{kind}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{exporting.name(row)}.{fmt}"'
    response.headers["Content-Security-Policy"] = "sandbox"
    return response


# -- for programs ----------------------------------------------------------------------------------------------------


def conversation(row: Conversation) -> dict[str, Any]:
    return {
        "id": row.id, "title": row.title, "kind": row.kind, "status": row.status, "pinned": row.pinned,
        "config": row.config, "head_id": row.head_id, "messages": row.last_seq, "shared": row.share_token is not None,
        "attachments_id": row.attachments_id, "last_message_at": iso(row.last_message_at),
        "created_at": iso(row.created_at), "updated_at": iso(row.updated_at),
    }  # fmt: skip


def message(row: Message, stand: Stand, place: Place | None = None) -> dict[str, Any]:
    return {
        "id": row.id, "conversation_id": row.conversation_id, "parent_id": row.parent_id, "seq": row.seq,
        "role": row.role, "content": row.content, "state": stand.state, "agent": row.agent, "task_id": row.task_id,
        "sources": row.sources, "checks": row.checks, "route": row.route, "metrics": row.metrics,
        "confidence": row.meta.get("confidence"), "model": row.meta.get("model"), "error": stand.error,
        "change": row.meta.get("change"),
        "note": stand.note or None, "alternatives": place.total if place else 1, "number": place.number if place else 1,
        "created_at": iso(row.created_at), "updated_at": iso(row.updated_at),
    }  # fmt: skip


__all__ = ["MessageView", "conversation", "exported", "files", "fragment", "message", "read_only", "thread", "view"]

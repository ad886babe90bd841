"""Endpoints of the Agentic API's chat sessions.

POST, GET    /api/v1/chat/sessions                    a new one; own ones
GET, DELETE  /api/v1/chat/sessions/{id}
PUT          /api/v1/chat/sessions/{id}/status        active, paused, completed, archived
POST, GET    /api/v1/chat/sessions/{id}/messages      say something and wait for the answer; what was said
GET          /api/v1/chat/sessions/{id}/stats         counts, means
GET          /api/v1/chat/templates, /api/v1/chat/models

Reading is open as documented: without credentials one sees what belongs to nobody (contract C05).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_core import to_json

from webapp.chat import service
from webapp.chat.models import Conversation, Message
from webapp.chat.service import sessions
from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import BadRequest
from webapp.tasks.outcome import outcome
from webapp.web.api import OPTIONAL, Api, ApiModel
from webapp.web.guard import check_scope
from webapp.web.waiting import wait_for

api = Api("chat_sessions", "/api/v1/chat", tag="Chat sessions")
READ, WRITE = "tasks:read", "tasks:write"
MOST = 20_000  # characters of a configuration or of a message's metadata, as JSON


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(to_json(value)) > MOST:
        raise ValueError(f"no more than {MOST:,} characters")
    return value


class ChatSessionIn(ApiModel):
    """config.template: of /chat/templates; what else is in it is kept and given back."""

    session_type: str = Field("general", min_length=1, max_length=40)
    model_name: str | None = Field(None, max_length=200, description="Left out: the default one.")
    user_id: str | None = Field(None, max_length=200, description="The caller's own note; sessions belong to who asks.")
    title: str | None = Field(None, max_length=200)
    config: dict[str, Any] = Field(default_factory=dict)

    _limit = field_validator("config")(_small)


class ChatSessionOut(ApiModel):
    id: str
    session_type: str
    model_name: str
    user_id: str | None
    title: str
    status: str
    config: dict[str, Any]
    message_count: int
    created_at: str
    updated_at: str


class ChatSessionQuery(ApiModel):
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=1_000_000)
    status: Literal["active", "paused", "completed", "archived"] | None = None
    session_type: str | None = Field(None, max_length=40)


class ChatStatusIn(ApiModel):
    status: str = Field(max_length=20)


class ChatSendIn(ApiModel):
    """metadata: `priority`, `tags`, `custom_data`; kept with the message."""

    message: str = Field(min_length=1, max_length=32_000)
    model_name: str | None = Field(None, max_length=200)
    metadata: dict[str, Any] = Field(default_factory=dict)

    _limit = field_validator("metadata")(_small)


class ChatSendOut(ApiModel):
    session_id: str
    message_id: str
    task_id: str
    response: str
    model: str
    performance_metrics: dict[str, Any]
    sources: list[dict[str, Any]]
    confidence: float | None


class ChatMessagesQuery(ApiModel):
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=100_000)


class ChatMessageOut(ApiModel):
    """status: processing, completed, failed or cancelled; performance_metrics: of answers."""

    id: str
    session_id: str
    role: str
    content: str
    status: str
    created_at: str
    metadata: dict[str, Any]
    performance_metrics: dict[str, Any] | None
    sources: list[dict[str, Any]]
    error: str | None


class ChatStatsOut(ApiModel):
    session_id: str
    message_count: int
    user_messages: int
    assistant_messages: int
    total_tokens: int
    average_response_time_seconds: float | None
    average_tokens_per_second: float | None
    duration_seconds: float
    models: list[str]


class ChatTemplateOut(ApiModel):
    id: str
    name: str
    session_type: str
    description: str
    agent: str
    model_name: str | None
    config: dict[str, Any]


class ChatModelsOut(ApiModel):
    models: list[dict[str, Any]]
    default_model: str


# -- sessions --------------------------------------------------------------------------------------------------------


@api.post("/sessions", auth=WRITE, body=ChatSessionIn, returns=ChatSessionOut, status=201, write=False)
def create_session(ctx: Ctx, body: ChatSessionIn) -> Any:
    """Begin a session. Its type, model and template must be there; the suggestion says which are."""
    ctx.db.commit()  # servers are asked for their models
    sessions.check_model(ctx.rt, body.model_name or "")
    with ctx.rt.unit() as db:
        mine = Ctx(ctx.rt, db, ctx.user, ctx.request_id, ctx.ip)
        row = sessions.create(mine, session_type=body.session_type, model_name=body.model_name or "",
                              title=body.title or "", config=body.config, user_id=body.user_id)  # fmt: skip
        return _session(row)


@api.get("/sessions", auth=OPTIONAL, query=ChatSessionQuery, returns=list[ChatSessionOut])
def list_sessions(ctx: Ctx, query: ChatSessionQuery) -> Any:
    """Own sessions, the last used first."""
    check_scope(ctx.user, READ)
    rows = sessions.list_(ctx, status=query.status, session_type=query.session_type, limit=query.limit,
                          offset=query.offset)  # fmt: skip
    return [_session(row) for row in rows]


@api.get("/sessions/<session_id>", auth=OPTIONAL, returns=ChatSessionOut, errors=(404,))
def get_session(ctx: Ctx, session_id: str) -> Any:
    """One session."""
    check_scope(ctx.user, READ)
    return _session(sessions.get(ctx, session_id))


@api.put("/sessions/<session_id>/status", auth=WRITE, body=ChatStatusIn, returns=ChatSessionOut, errors=(404,))
def put_status(ctx: Ctx, session_id: str, body: ChatStatusIn) -> Any:
    """Pause, complete, archive a session, or make it active again: only then it takes messages."""
    sessions.get(ctx, session_id)
    try:
        return _session(service.update(ctx, session_id, status=body.status))
    except BadRequest as exc:
        exc.suggestion = exc.suggestion or "Use active, paused, completed or archived."
        raise


@api.delete("/sessions/<session_id>", auth=WRITE, status=204, errors=(404,))
def delete_session(ctx: Ctx, session_id: str) -> None:
    """Delete a session; what is being answered in it stops."""
    sessions.get(ctx, session_id)
    service.remove(ctx, session_id)


# -- messages --------------------------------------------------------------------------------------------------------


@api.post("/sessions/<session_id>/messages", auth=WRITE, body=ChatSendIn, returns=ChatSendOut, write=False,
          errors=(404, 409, 502, 503, 504))  # fmt: skip
def send_message(ctx: Ctx, session_id: str, body: ChatSendIn) -> Any:
    """Say something and wait for the answer, with what its run measured.

    504 (`still_working`) after the setting `answer_wait`: the answer is written all the same and is then among the
    session's messages.
    """
    sessions.get(ctx, session_id)
    ctx.db.commit()  # servers are asked for their models, and nothing is held while the answer is written
    rt, user = ctx.rt, ctx.user
    sessions.check_model(rt, body.model_name or "")
    with rt.unit() as db:
        mine = Ctx(rt, db, user, ctx.request_id, ctx.ip)
        message_id, task_id = sessions.say(mine, session_id, body.message, model_name=body.model_name or "",
                                           metadata=body.metadata)  # fmt: skip

    def look(rt: Any) -> dict[str, Any] | None:
        if outcome(rt, user, task_id) is None:
            return None
        with rt.unit(write=False) as db:
            return _answer(service.message(Ctx(rt, db, user), message_id))

    return wait_for(user, task_id, look, late=f"/api/v1/chat/sessions/{session_id}/messages")


@api.get(
    "/sessions/<session_id>/messages",
    auth=OPTIONAL,
    query=ChatMessagesQuery,
    returns=list[ChatMessageOut],
    errors=(404,),
)
def list_messages(ctx: Ctx, session_id: str, query: ChatMessagesQuery) -> Any:
    """What was said, oldest first."""
    check_scope(ctx.user, READ)
    row = sessions.get(ctx, session_id)
    rows = sessions.said(ctx, row, query.limit, query.offset)
    stands = service.settled(ctx, rows)
    return [_message(one, stands[one.id]) for one in rows]


@api.get("/sessions/<session_id>/stats", auth=OPTIONAL, returns=ChatStatsOut, errors=(404,))
def session_stats(ctx: Ctx, session_id: str) -> Any:
    """Counts and measured means of a session."""
    check_scope(ctx.user, READ)
    return sessions.stats(ctx, sessions.get(ctx, session_id))


# -- what there is ---------------------------------------------------------------------------------------------------


@api.get("/templates", auth=OPTIONAL, returns=list[ChatTemplateOut])
def list_templates(ctx: Ctx) -> Any:
    """Templates of sessions: each is an agent that answers in it."""
    check_scope(ctx.user, READ)
    return sessions.templates(ctx)


@api.get("/models", auth=OPTIONAL, returns=ChatModelsOut)
def list_models(ctx: Ctx) -> Any:
    """Models that can be named, the default among them."""
    check_scope(ctx.user, READ)
    ctx.db.commit()  # servers are asked for theirs
    return sessions.models(ctx.rt)


# -- shapes ----------------------------------------------------------------------------------------------------------


def _session(row: Conversation) -> dict[str, Any]:
    config = {name: value for name, value in row.config.items() if name != "user_id"}
    # What was chosen for the session; where nothing was, the one that answered last, which may be one message's own.
    model = row.config.get("engine") or row.model_name
    return {"id": row.id, "session_type": row.session_type, "model_name": model,
            "user_id": row.config.get("user_id") or row.owner_id, "title": row.title, "status": row.status,
            "config": config, "message_count": row.last_seq, "created_at": iso(row.created_at),
            "updated_at": iso(row.updated_at)}  # fmt: skip


def _answer(row: Message) -> dict[str, Any]:
    return {"session_id": row.conversation_id, "message_id": row.id, "task_id": row.task_id, "response": row.content,
            "model": row.meta.get("model") or "", "sources": row.sources, "confidence": row.meta.get("confidence"),
            "performance_metrics": sessions.performance(row.metrics, row.updated_at)}  # fmt: skip


STATES = {"done": "completed", "declined": "completed", "waiting": "processing", "writing": "processing"}


def _message(row: Message, stand: Any) -> dict[str, Any]:
    return {"id": row.id, "session_id": row.conversation_id, "role": row.role, "content": row.content,
            "status": STATES.get(stand.state, stand.state), "created_at": iso(row.created_at),
            "metadata": row.meta.get("metadata") or {}, "sources": row.sources, "error": stand.error,
            "performance_metrics": sessions.performance(row.metrics, row.updated_at)}  # fmt: skip

"""Conversations as the Agentic API's sessions: a type, a template, a status, and numbers that were measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from webapp.agents import service as agents
from webapp.chat.models import Conversation, Message
from webapp.chat.service import conversations, messages
from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import BadRequest, Conflict, NoModel, NotFound
from webapp.engines import service as engines

if TYPE_CHECKING:
    from webapp.runtime import Runtime

TYPES = ("general",)
EXTRACTIVE = "extractive"
PRIORITIES = ("low", "normal", "high", "urgent")


def create(
    ctx: Ctx, *, session_type: str, model_name: str, title: str, config: dict[str, Any], user_id: str | None
) -> Conversation:
    """A session. `config.template` names an agent that answers in it. Look first whether the model is there.

    Raises BadRequest, with what to do, for a type or a template that there is not.
    """
    if session_type not in TYPES:
        known = ", ".join(TYPES)
        raise BadRequest(f"session_type: there is no {session_type[:40]} session here", code="invalid_session_type",
                         details=[{"loc": ["session_type"], "msg": f"use one of {known}", "type": "enum"}],
                         suggestion=f"Use one of: {known}.")  # fmt: skip
    agent = _template(ctx, config.get("template"))
    about = {**config, "user_id": user_id} if user_id else config
    return conversations.create(ctx, title=title, config=about, agent=agent, model_name=model_name,
                                session_type=session_type)  # fmt: skip


def _template(ctx: Ctx, name: Any) -> str | None:
    if name is None or name == "":
        return None
    try:
        return agents.get(ctx, str(name)).key or str(name)
    except NotFound:
        known = ", ".join(one["id"] for one in templates(ctx))
        raise BadRequest(f"config.template: there is no template {str(name)[:80]}", code="unknown_template",
                         details=[{"loc": ["config", "template"], "msg": "no such template", "type": "enum"}],
                         suggestion=f"Use one of: {known}.") from None  # fmt: skip


def check_model(rt: Runtime, name: str) -> None:
    """Raises BadRequest, naming what there is, for a model that cannot be used now. Asks servers: hold no transaction."""
    if name in ("", EXTRACTIVE):
        return
    try:
        info = engines.engine(rt, name).info()
    except NoModel:
        info = None
    if info is None or not info.available:
        there = [EXTRACTIVE, *(one.id for one in engines.available(rt) if one.available)]
        raise BadRequest(f"model_name: {name[:200]} is not available here", code="model_unavailable",
                         details=[{"loc": ["model_name"], "msg": "not available", "type": "missing"}],
                         suggestion=f"Leave it out, or use one of: {', '.join(there[:20])}.")  # fmt: skip


def get(ctx: Ctx, session_id: str) -> Conversation:
    """Of the kinds that this API makes. Raises NotFound for a stranger's exactly as for none."""
    row = conversations.get(ctx, session_id)
    if row.kind not in ("chat", "wizard"):
        raise NotFound("there is no such conversation")
    return row


def list_(ctx: Ctx, *, status: str | None, session_type: str | None, limit: int, offset: int) -> list[Conversation]:
    """The last used first."""
    stmt = select(Conversation).where(
        conversations.mine(ctx.user), Conversation.removed_at.is_(None), Conversation.kind.in_(("chat", "wizard"))
    )
    if status:
        stmt = stmt.where(Conversation.status == status)
    if session_type:
        stmt = stmt.where(Conversation.session_type == session_type)
    order = (Conversation.last_message_at.desc(), Conversation.id.desc())
    return list(ctx.db.scalars(stmt.order_by(*order).offset(offset).limit(limit)))


def say(ctx: Ctx, session_id: str, text: str, *, model_name: str, metadata: dict[str, Any]) -> tuple[str, str]:
    """(answer's message id, its task's id). Raises Conflict in a session that is not active."""
    row = get(ctx, session_id)
    if row.status != "active":
        raise Conflict(f"the session is {row.status}", code="session_not_active",
                       suggestion="Set its status to active first.")  # fmt: skip
    priority = metadata.get("priority")
    if priority is not None and priority not in PRIORITIES:
        raise BadRequest("metadata.priority: use one of " + ", ".join(PRIORITIES), details=[
            {"loc": ["metadata", "priority"], "msg": f"use one of {', '.join(PRIORITIES)}", "type": "enum"}],
            suggestion="Leave it out for normal.")  # fmt: skip
    question, answer, task = messages.ask(ctx, row, text, engine=model_name, priority=priority)
    if metadata:
        question.meta = {**question.meta, "metadata": metadata}
        ctx.db.flush()
    return answer.id, str(task["id"])


def said(ctx: Ctx, row: Conversation, limit: int, offset: int) -> list[Message]:
    """Messages of the branch that is shown, oldest first."""
    known = {node.id: node for node in messages.nodes(ctx.db, row.id)}
    ids: list[str] = []
    at = known.get(row.head_id or "")
    while at is not None:
        ids.append(at.id)
        at = known.get(at.parent_id or "")
    wanted = ids[::-1][offset : offset + limit]
    rows = ctx.db.scalars(select(Message).where(Message.id.in_(wanted), Message.is_deleted.is_(False)))
    return sorted(rows, key=lambda message: message.seq)


# -- measured --------------------------------------------------------------------------------------------------------


def performance(metrics: Mapping[str, Any] | None, at: Any) -> dict[str, Any] | None:
    """`performance_metrics` (002:598-633) of an answer, as its run measured it; None for one without.

    Where no engine counted tokens (sentences of sources, or a server that tells none) words are counted, and
    `token_unit` says so. What nobody measured is null, but for the two numbers that pages print with decimals: both
    are always measured here.
    """
    if not metrics:
        return None
    counted = metrics.get("completion_tokens") is not None
    response = metrics["completion_tokens"] if counted else metrics.get("response_words") or 0
    prompt = metrics.get("prompt_tokens") if counted else metrics.get("prompt_words")
    seconds = float(metrics["seconds"])
    writing = metrics.get("generate_seconds") or seconds
    speed = metrics.get("tokens_per_second")
    if speed is None:
        speed = round(response / writing, 2) if writing > 0 else 0.0
    return {
        "response_time_seconds": seconds,
        "load_time_seconds": metrics.get("load_seconds"),
        "prompt_eval_time_seconds": metrics.get("prompt_seconds"),
        "generation_time_seconds": writing,
        "prompt_tokens": prompt,
        "response_tokens": response,
        "total_tokens": (prompt or 0) + response,
        "tokens_per_second": float(speed),
        "context_length_chars": metrics.get("context_chars"),
        "model_name": metrics.get("engine"),
        "timestamp": iso(at),
        "token_unit": "tokens" if counted else "words",
    }


def stats(ctx: Ctx, row: Conversation) -> dict[str, Any]:
    """Counts of a session's messages and means over its answers; None where there is nothing to take one of."""
    here = (Message.conversation_id == row.id) & Message.is_deleted.is_(False)
    counted = ctx.db.execute(select(Message.role, func.count()).where(here).group_by(Message.role)).all()
    by_role = {role: int(count) for role, count in counted}
    first, last = ctx.db.execute(select(func.min(Message.created_at), func.max(Message.updated_at)).where(here)).one()
    rows = ctx.db.execute(select(Message.metrics, Message.updated_at).where(here, Message.role == "assistant")).all()
    measured = [found for metrics, at in rows if (found := performance(metrics, at)) is not None]
    return {
        "session_id": row.id,
        "message_count": sum(by_role.values()),
        "user_messages": by_role.get("user", 0),
        "assistant_messages": by_role.get("assistant", 0),
        "total_tokens": sum(one["total_tokens"] for one in measured),
        "average_response_time_seconds": _mean(measured, "response_time_seconds"),
        "average_tokens_per_second": _mean(measured, "tokens_per_second"),
        "duration_seconds": round((last - first).total_seconds(), 3) if first is not None else 0.0,
        "models": sorted({str(one["model_name"]) for one in measured}),
    }


def _mean(measured: list[dict[str, Any]], name: str) -> float | None:
    return round(sum(one[name] for one in measured) / len(measured), 4) if measured else None


# -- what there is ---------------------------------------------------------------------------------------------------


def templates(ctx: Ctx) -> list[dict[str, Any]]:
    """What `config.template` may name: each is an agent that answers in the session."""
    return [
        {"id": one.key or one.id, "name": one.name, "session_type": "general", "description": one.description,
         "agent": one.key or one.id, "model_name": one.model_name or None, "config": one.config}
        for one in agents.list_(ctx)
    ]  # fmt: skip


def models(rt: Runtime) -> dict[str, Any]:
    """What `model_name` may be. Servers are asked at most twice a minute: hold no transaction."""
    found: list[dict[str, Any]] = [{"name": EXTRACTIVE, "label": "Sentences of your sources, word for word", "family": EXTRACTIVE,
              "context_length": None, "available": True, "reason": None}]  # fmt: skip
    found += [{"name": one.id, "label": one.label, "family": one.family, "context_length": one.context,
               "available": one.available, "reason": one.missing} for one in engines.available(rt)]  # fmt: skip
    try:
        default = engines.choose(rt, "", "chat").id
    except NoModel:
        default = EXTRACTIVE
    return {"models": found, "default_model": default}

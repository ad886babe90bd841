"""The task kind `chat.answer`: one question of a conversation -> its answer, written where people see it come.

Whoever runs it twice overwrites the same message, fenced by the task; its citations are stored once. What was written
when somebody stops it stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from webapp.chat.models import Conversation, Message
from webapp.core import stored
from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.db import utcnow
from webapp.core.errors import AppError, NotFound, TaskCancelled, TaskInterrupted, TaskTimedOut
from webapp.core.streams import Writer
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class AnswerParams(BaseModel):
    """Of `ask`: which message to write, and what was chosen for it."""

    model_config = ConfigDict(extra="forbid")

    conversation_id: str
    message_id: str
    agent: str = "auto"
    engine: str = ""
    collections: list[str] | None = None
    use_context: bool = True
    operator: bool = False  # asked with the operator's key, which has no user of its own


class Asked(BaseModel):
    """What is known before the answer: read in one unit."""

    question: str
    history: list[dict[str, str]]
    external_id: str | None
    changed: list[dict[str, Any]]  # choices made since the answer before this one


SAY_EVERY = 10.0  # seconds: a slow model that writes is not one that stands still


class Looked(Protocol):
    """What was looked for before the answer (`expand_kind`)."""

    def told(self, found: Any) -> Any:
        """The answer, saying what the search brought where it is still none."""

    def change(self, task: TaskRun, found: Any) -> dict[str, Any]:
        """What it changed, as `meta` of the message keeps it."""


def run(task: TaskRun) -> dict[str, Any]:
    return write(task)


def write(task: TaskRun, look: Callable[[TaskRun], Looked] | None = None) -> dict[str, Any]:
    """1. Read the question; look for more. 2. Choose an agent. 3. Write the answer, shown as it comes. 4. Store it, checked."""
    began = time.monotonic()
    asked = _read(task)
    writer = Writer(task.rt.streams, task.id, task.fence, ring=partial(_ring, task), note=partial(_note, task))
    try:
        looked = look(task) if look is not None else None
        task.progress(0, "Initializing AI agent...", data={})
        route = _route(task, asked)
        found = _write(task, asked, route, writer)
        found = looked.told(found) if looked is not None else found
        change = looked.change(task, found) if looked is not None else None
        return _store(task, asked, route, found, _metrics(asked, found, writer, began), change)
    except TaskInterrupted as exc:
        _interrupted(task, writer, exc)
        raise
    except Exception as exc:
        _failed(task, writer, exc)
        raise
    finally:
        task.rt.foreground.release()


# -- before ----------------------------------------------------------------------------------------------------------


def _read(task: TaskRun) -> Asked:
    from webapp.chat.service import messages

    with task.rt.unit(write=False) as db:
        conversation, answer = _rows(task, db)
        question = db.get_one(Message, answer.parent_id)
        return Asked(question=question.content, history=messages.history(db, conversation, question.id),
                     external_id=conversation.external_id, changed=answer.meta.get("changed") or [])  # fmt: skip


def _rows(task: TaskRun, db: Session) -> tuple[Conversation, Message]:
    """Raises NotFound when they are gone, or the message is not this task's to write."""
    stmt = select(Conversation, Message).join(Message, Message.conversation_id == Conversation.id)
    stmt = stmt.where(Message.id == task.params["message_id"], Message.task_id == task.id)
    row = db.execute(stmt.where(Conversation.id == task.params["conversation_id"])).first()
    if row is None or row[0].owner_id != task.owner_id:
        raise NotFound("the message to answer is gone")
    return row[0], row[1]


def _actor(task: TaskRun) -> Actor:
    if task.owner_id is None and task.params.get("operator"):
        return SYSTEM
    return Actor(task.owner_id, "chat", via="system" if task.owner_id else "anonymous")


def _route(task: TaskRun, asked: Asked) -> dict[str, Any]:
    """The receipt: who answers and why, and what was chosen since. Decided once for a task, however often it runs."""
    wanted = task.params.get("agent") or "auto"
    since = {"changed": asked.changed} if asked.changed else {}
    if wanted != "auto":
        from webapp.agents import service as agents

        return dict(agents.chosen(wanted).receipt()) | since

    def decide() -> dict[str, Any]:
        from webapp.agents import service as agents

        before = [one["content"] for one in asked.history if one["role"] == "user"]
        return dict(agents.route(task.rt, asked.question, context=before[-1] if before else None).receipt())

    return dict(task.once("route", decide)) | since


# -- writing ---------------------------------------------------------------------------------------------------------


def _write(task: TaskRun, asked: Asked, route: dict[str, Any], writer: Writer) -> Any:
    from webapp.agents import service as agents
    from webapp.answers import service as answers
    from webapp.chat.service import attaching

    _mark(task, "writing", route=route, agent=route["agent"], content="", error=None)
    with task.rt.unit(write=False) as db:
        ctx = Ctx(task.rt, db, _actor(task), request_id=task.request_id or "-")
        agent = agents.get(ctx, route["agent"])
        where = attaching.scope(ctx, _rows(task, db)[0], task.params.get("collections"))
        db.commit()  # nothing is open while the answer is looked for and written
        found = answers.answer(
            ctx, asked.question, engine=task.params.get("engine") or "",
            collections=where, history=tuple(asked.history), agent=agent,
            use_context=task.params.get("use_context", True), task_type="chat", task_id=task.id,
            on_text=writer.write, on_step=partial(_step, task), cancelled=task.stopped, timeout=task.remaining(),
        )  # fmt: skip
    writer.flush()
    task.check()
    return found


def _step(task: TaskRun, percent: float, text: str) -> None:
    task.progress(percent, text, data={})


def _ring(task: TaskRun, length: int) -> None:
    task.rt.foreground.release()  # the person has something to read now
    task.rt.ring("text", task.id, length, task.owner_id)


def _note(task: TaskRun, text: str) -> None:
    _mark(task, "writing", content=text)
    if task.quiet_for() >= SAY_EVERY and not task.stopped():
        task.progress(0, f"Writing the answer: {len(text.split()):,} words so far")


def _mark(task: TaskRun, state: str, **values: Any) -> None:
    """A step of the row, in a short transaction that only the owner of this task can commit."""
    from webapp.core.text import clean

    if "content" in values:
        values["content"] = clean(values["content"])
    with task.unit() as db:
        row = _rows(task, db)[1]
        row.state, row.updated_at = state, utcnow()
        for name, value in values.items():
            setattr(row, name, value)


# -- after -----------------------------------------------------------------------------------------------------------


def _store(task: TaskRun, asked: Asked, route: dict[str, Any], found: Any, metrics: dict[str, Any],
           change: dict[str, Any] | None) -> dict[str, Any]:  # fmt: skip
    """The message and its citations in one transaction."""
    from webapp.answers import service as answers
    from webapp.core.text import clean

    with task.unit() as db:
        conversation, row = _rows(task, db)
        sources = answers.store_citations(db, task.owner_id, found, task.id)
        row.content, row.state = clean(found.text), "declined" if found.declined else "done"
        row.sources = [asdict(source) for source in sources]
        row.checks = [{**asdict(one), "numbers": list(one.numbers)} for one in found.sentences]
        row.metrics, row.error, row.updated_at = metrics, None, utcnow()
        row.meta = {**row.meta, "confidence": found.confidence, "reason": found.reason, "model": found.engine,
                    "context_used": found.context_used, "change": change}  # fmt: skip
        if found.engine:
            conversation.model_name = found.engine[:200]
        conversation.updated_at = utcnow()
        stored = list(row.sources)
    result = _result(asked, route, found, stored, metrics, task)
    return result if change is None else result | {"change": change}


def _result(asked: Asked, route: dict[str, Any], found: Any, sources: list[dict[str, Any]], metrics: dict[str, Any],
            task: TaskRun) -> dict[str, Any]:  # fmt: skip
    return {
        "response": found.text,
        "model_used": found.engine,
        "selected_agent": route["agent"],
        "routing_score": route["confidence"],
        "context_used": found.context_used,
        "context_sources": len(sources),
        "sources": sources,
        "confidence_score": found.confidence,
        "declined": found.declined,
        "reason": found.reason,
        "processing_time": metrics["seconds"],
        "processed_async": True,
        "task_id": task.id,
        "user_id": task.owner_id,
        "conversation_id": asked.external_id or task.params["conversation_id"],
        "message_id": task.params["message_id"],
        "metrics": metrics,
    }


def _metrics(asked: Asked, found: Any, writer: Writer, began: float) -> dict[str, Any]:
    """What this run measured; None where nobody did. Seconds, wall clock.

    Words are counted too, for engines that have no tokens; context_chars: question, turns before it and cited words.
    """
    done = found.completion
    read = [asked.question, *(turn["content"] for turn in asked.history), *(source.quote for source in found.sources)]
    first = writer.first_at - began if writer.first_at is not None else None
    return {
        "engine": found.engine,
        "seconds": round(time.monotonic() - began, 4),
        "first_token_seconds": round(first, 4) if first is not None else None,
        "tokens_per_second": round(done.tokens_per_second, 2) if done and done.tokens_per_second else None,
        "prompt_tokens": done.prompt_tokens if done else None,
        "completion_tokens": done.completion_tokens if done else None,
        **{f"{name}_seconds": done.seconds.get(name) if done else None for name in ("load", "prompt", "generate")},
        "response_words": len(found.text.split()),
        "prompt_words": sum(len(text.split()) for text in read),
        "context_chars": sum(len(text) for text in read),
        "finish": done.finish if done else None,
        "steps_ms": {name: round(value, 1) for name, value in found.ms.items()},
    }


def _interrupted(task: TaskRun, writer: Writer, exc: TaskInterrupted) -> None:
    """Stopped by a person or a limit: what is written stays. Parked or lost: another run begins again."""
    if isinstance(exc, TaskCancelled) and task.cancel_requested:
        writer.flush()
        _mark(task, "cancelled", content=writer.text)
    elif isinstance(exc, TaskTimedOut):
        _mark(task, "failed", content=writer.text, error=f"Stopped: {exc}")


def _failed(task: TaskRun, writer: Writer, exc: Exception) -> None:
    """The last try: say what happened and what to do. Before that the task says that it tries again."""
    if task.lost or (isinstance(exc, NotFound) and exc.message == "the message to answer is gone"):
        return
    if task.cancel_requested:  # an error may only be the echo of that
        _mark(task, "cancelled", content=writer.text)
        return
    final = isinstance(exc, AppError) and not exc.retryable
    if not final and task.attempt < task.max_attempts:
        return
    text = (
        f"{exc.message} {exc.suggestion or ''}".strip() if isinstance(exc, AppError) else "Something went wrong here."
    )
    _mark(task, "failed", content=writer.text, error=text[:2000])


ANSWER = TaskKind(
    name="chat.answer",
    label="Answer",
    queue="inference",
    params=AnswerParams,
    run=run,
    description="Writes the answer to a question of a conversation, with checked citations.",
    soft_limit=300,  # M026, M037: an answer has five minutes, ten at most, and three more tries a minute apart
    time_limit=600,
    max_attempts=4,
    backoff=lambda attempt: 60.0,
    hidden=True,
    offered=False,
)


# -- what was thrown away --------------------------------------------------------------------------------------------

KEPT_DAYS = 7  # for so long a removal can be taken back


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


def empty(task: TaskRun) -> dict[str, Any]:
    """Forget conversations that were removed a week ago or left alone for too long, some at a time."""
    from webapp.chat.service import conversations

    done, idle = 0, stored.value(task.rt, "retention_conversations_days")
    while True:
        task.check()
        with task.rt.unit() as db:
            some = conversations.empty(db, utcnow() - timedelta(days=KEPT_DAYS)) + conversations.forget_idle(db, idle)
        done += some
        if not some:
            return {"removed": done}


EMPTY = TaskKind("maintenance.conversations", "Empty removed conversations", "maintenance", NoParams, empty,
                 time_limit=600, hidden=True)  # fmt: skip

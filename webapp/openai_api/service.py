"""What programs may ask for by OpenAI's API: models, completions as tasks, embeddings at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import func

from webapp.core.context import Ctx
from webapp.core.db import new_id
from webapp.core.errors import (
    AppError,
    BadRequest,
    Conflict,
    NoModel,
    NotFound,
    TaskCancelled,
    TooManyRequests,
    Unavailable,
)
from webapp.embedding import service as embedding
from webapp.engines import service as engines
from webapp.openai_api.kind import COMPLETION
from webapp.openai_api.wire import Call
from webapp.tasks import outcome as outcomes
from webapp.tasks import service as tasks

if TYPE_CHECKING:
    from webapp.runtime import Runtime

GROUNDED = "brainstem"
EXTRACTIVE = "extractive"
AT_ONCE = 20  # calls of one person that wait or run
EMBEDDING_AT_ONCE = 4  # requests of one person that embed
EMBEDDING_LIMIT = 120.0  # seconds
TITLE = 60


# -- models ----------------------------------------------------------------------------------------------------------


def models(rt: Runtime) -> list[dict[str, Any]]:
    """All that can be used now: grounded answers, engines, embedders. Asks servers for theirs: hold no transaction."""
    found = [_grounded(GROUNDED, "Answers from your sources, with checked citations"),
             _grounded(f"{GROUNDED}/{EXTRACTIVE}", "Sentences of your sources, word for word; needs no model")]  # fmt: skip
    for one in engines.available(rt):
        if one.available:
            found.append({"id": one.id, "owned_by": one.family,
                          "brainstem": {"kind": "chat", "label": one.label, "context": one.context}})  # fmt: skip
    for embedder in embedding.available(rt):
        if embedder.available:
            about = {"kind": "embedding", "label": embedder.label, "dimension": embedder.dimension,
                     "max_tokens": embedder.max_tokens}  # fmt: skip
            found.append({"id": embedder.id, "owned_by": "brainstem", "brainstem": about})
    return found


def _grounded(name: str, label: str) -> dict[str, Any]:
    return {"id": name, "owned_by": "brainstem", "brainstem": {"kind": "chat", "label": label, "grounded": True}}


def model(rt: Runtime, name: str) -> dict[str, Any]:
    """Raises NotFound, naming those there are."""
    found = models(rt)
    for one in found:
        if one["id"] == name:
            return one
    raise unknown(name, [one["id"] for one in found])


def unknown(name: str, there: list[str]) -> NotFound:
    return NotFound(f"There is no model {name[:200]} here.", code="model_not_found", suggestion="Use one of: "
                    + ", ".join(there[:20]), details=[{"loc": ["model"], "msg": "no such model", "type": "missing"}])  # fmt: skip


# -- completions -----------------------------------------------------------------------------------------------------


def prepare(rt: Runtime, wanted: str) -> tuple[str, bool, int | None]:
    """(engine, grounded, tokens an answer may have by default). Looks for the model: hold no transaction.

    Raises NotFound for a name that nothing has, NoModel (503) where there is no model at all.
    """
    base, slash, engine = wanted.partition("/")
    grounded = base == GROUNDED and (bool(engine) or not slash)
    name = engine if grounded else wanted
    if grounded and name in ("", EXTRACTIVE):
        return name, True, None
    try:
        info = engines.engine(rt, name).info()
    except NoModel as error:
        there = [one["id"] for one in models(rt) if one["brainstem"]["kind"] == "chat"]
        if all(one.startswith(GROUNDED) for one in there):
            hint = "Without one, brainstem/extractive answers from your sources."
            raise NoModel(error.message, suggestion=f"{error.suggestion or ''} {hint}".strip()) from None
        raise unknown(wanted, there) from None
    if not info.available and info.retry_after is not None:
        raise Unavailable(f"{info.missing}.", code="circuit_open", retry_after=info.retry_after)
    if not info.available:
        raise NoModel(info.missing or f"{name} cannot be used now.", suggestion=info.suggestion)
    return info.id, grounded, min(1024, info.context // 2) if info.context else 2048


def start(ctx: Ctx, params: dict[str, Any], *, model: str, stream: bool, include_usage: bool) -> Call:
    """Store the call as a task of the caller's. Raises TooManyRequests when too many of theirs are under way."""
    busy = tasks.filtered(tasks.owned(ctx), status="active", kind=COMPLETION.name)
    if (ctx.db.scalar(busy.with_only_columns(func.count())) or 0) >= AT_ONCE:
        raise TooManyRequests(f"{AT_ONCE} calls of yours are waiting already", retry_after=5)
    if ctx.user.id is None and ctx.user.is_admin:
        params = {**params, "operator": True}
    extractive = params["grounded"] and params["engine"] == EXTRACTIVE
    question = next(one["content"] for one in reversed(params["messages"]) if one["role"] == "user")
    title = f"API: {' '.join(question[:1000].split())}"
    task = tasks.start(ctx, COMPLETION.name, params, title=title[:TITLE] + ("…" if len(title) > TITLE else ""),
                       interactive=extractive)  # fmt: skip
    return Call(task["id"], model, int(time.time()), ctx.user, ctx.request_id, stream, include_usage)


def outcome(rt: Runtime, call: Call) -> dict[str, Any] | AppError | None:
    """The task's result, what it failed with, or None while it is not over."""
    with rt.unit(write=False) as db:
        try:
            task = tasks.get(Ctx(rt, db, call.user), call.task_id)
        except NotFound:
            return outcomes.cancelled()
        if not task.is_final:
            return None
        if task.status == "completed":
            return dict(task.result or {})
        error = outcomes.failure(db, task)
        if error.status == 422:
            error.status = 400  # OpenAI's protocol knows no 422
        return error


def give_up(rt: Runtime, call: Call) -> None:
    """Nobody waits for the answer any more: stop the work."""
    with rt.unit() as db:
        try:
            tasks.cancel(Ctx(rt, db, call.user, request_id=call.request_id), call.task_id)
        except (Conflict, NotFound):
            return  # it is over


# -- embeddings ------------------------------------------------------------------------------------------------------


def embed(
    ctx: Ctx, name: str, texts: list[str], *, dimensions: int | None, gone: Callable[[], bool]
) -> tuple[Any, int]:
    """(vectors, tokens). Ends the caller's transaction; `gone` says that the caller has left.

    Tokens are the embedder's own, or an upper guess where only a server has its tokenizer.
    """
    rt = ctx.rt
    there = [one.id for one in embedding.available(rt)]
    if name not in there:
        raise unknown(name, there)
    ctx.db.commit()
    info = embedding.info(rt, name)
    if dimensions is not None and info.dimension is not None and dimensions != info.dimension:
        raise BadRequest(f"{name} has vectors of {info.dimension} numbers", code="unsupported_value",
                         details=[{"loc": ["dimensions"], "msg": f"leave it out or use {info.dimension}",
                                   "type": "value_error"}])  # fmt: skip
    seats, member = {f"embedding:{ctx.user.id or ctx.ip}": EMBEDDING_AT_ONCE}, new_id()
    if rt.limits.take_seat(seats, member, EMBEDDING_LIMIT + 10) is not None:
        raise TooManyRequests(f"{EMBEDDING_AT_ONCE} requests of yours are embedding already", retry_after=2)
    until = time.monotonic() + EMBEDDING_LIMIT
    try:
        vectors = embedding.embed(rt, name, texts, cancelled=lambda: gone() or time.monotonic() > until)
    except TaskCancelled:
        raise Unavailable(f"This took longer than {EMBEDDING_LIMIT:g} s.", suggestion="Send fewer texts at a time.",
                          retryable=False) from None  # fmt: skip
    finally:
        rt.limits.free_seat(list(seats), member)
    spans = embedding.offsets(rt, name)
    return vectors, sum(len(spans(text)) for text in texts)

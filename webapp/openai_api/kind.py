"""The task kind `chat.completion`: one call of `/v1/chat/completions`.

It runs where the models are, not where the request came in. A plain engine's text can be read while it is written
(`core/streams.py`); a grounded answer only once it was checked, since a program cannot take back what it was sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.streams import Writer
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun

TASK_TYPE = "api"
LIMIT = 600.0  # seconds; nobody waits longer for an answer over HTTP


class Turn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class CompletionParams(BaseModel):
    """engine: an id, "extractive", or "" for the default. grounded: answer from the caller's sources."""

    model_config = ConfigDict(extra="forbid")

    engine: str = ""
    grounded: bool = False
    messages: list[Turn] = Field(min_length=1)
    max_tokens: int = 1024
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] = Field(default_factory=list)
    seed: int | None = None
    collections: list[str] | None = None
    max_sentences: int | None = None
    operator: bool = False  # asked with the operator's key, which sees what has no owner


@dataclass(frozen=True)
class Instructions:
    """The caller's system messages, in the place of an agent's."""

    prompt: str
    model_name: str = ""
    config: dict[str, Any] = field(default_factory=dict)


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """Collections that the caller may not read are told at the door. Raises NotFound."""
    from webapp.knowledge.service import collections

    if params.get("collections"):
        collections.readable(ctx, params["collections"])


def run(task: TaskRun) -> dict[str, Any]:
    """{text, finish, prompt_tokens, completion_tokens, engine, seconds}; grounded ones have `sources`, `brainstem`."""
    params = CompletionParams.model_validate(task.params)
    return _grounded(task, params) if params.grounded else _written(task, params)


def _written(task: TaskRun, params: CompletionParams) -> dict[str, Any]:
    from webapp.engines import service as engines

    writer = Writer(task.rt.streams, task.id, task.fence, ring=partial(_ring, task), note=lambda _: task.check())
    task.progress(5, f"Asking {params.engine}")
    done = engines.generate(
        task.rt, params.engine, _request(params), task_type=TASK_TYPE, owner_id=task.owner_id, task_id=task.id,
        on_text=writer.write, cancelled=task.stopped, timeout=task.remaining(),
    )  # fmt: skip
    writer.flush()
    task.check()
    return {"text": done.text, "finish": done.finish, "prompt_tokens": done.prompt_tokens,
            "completion_tokens": done.completion_tokens, "engine": done.model, "seconds": done.seconds}  # fmt: skip


def _request(params: CompletionParams) -> Any:
    from webapp.engines.base import Request

    chosen = {name: value for name in ("temperature", "top_p", "seed") if (value := getattr(params, name)) is not None}
    messages = tuple({"role": one.role, "content": one.content} for one in params.messages)
    return Request(messages, max_tokens=params.max_tokens, stop=tuple(params.stop), **chosen)


def _ring(task: TaskRun, length: int) -> None:
    task.rt.ring("text", task.id, length, task.owner_id)


# -- with sources ----------------------------------------------------------------------------------------------------


def _grounded(task: TaskRun, params: CompletionParams) -> dict[str, Any]:
    from webapp.answers import service as answers

    instructions, history, question = _parts(params)
    more: dict[str, Any] = {} if params.max_sentences is None else {"max_sentences": params.max_sentences}
    with task.rt.unit(write=False) as db:
        ctx = Ctx(task.rt, db, _actor(task, params), request_id=task.request_id or "-")
        found = answers.answer(
            ctx, question, engine=params.engine, collections=params.collections, history=history, agent=instructions,
            max_tokens=params.max_tokens, task_type=TASK_TYPE, task_id=task.id, on_step=partial(_step, task),
            cancelled=task.stopped, timeout=task.remaining(), **more,
        )  # fmt: skip
    task.check()
    with task.unit() as db:
        sources = [_source(one) for one in answers.store_citations(db, task.owner_id, found, task.id)]
    return _told(found, sources)


def _parts(params: CompletionParams) -> tuple[Instructions, list[dict[str, str]], str]:
    """Instructions, what was said before, and the question: the user's last words."""
    last = max(number for number, one in enumerate(params.messages) if one.role == "user")
    said = [{"role": one.role, "content": one.content} for one in params.messages[:last] if one.role != "system"]
    prompt = "\n\n".join(one.content for one in params.messages if one.role == "system")
    config = {} if params.temperature is None else {"temperature": params.temperature}
    return Instructions(prompt, config=config), said, params.messages[last].content


def _actor(task: TaskRun, params: CompletionParams) -> Actor:
    if task.owner_id is None:
        return SYSTEM if params.operator else Actor(None, "anonymous", via="anonymous")
    return Actor(task.owner_id, "api", via="system")


def _step(task: TaskRun, percent: float, text: str) -> None:
    task.progress(percent, text)


def _source(source: Any) -> dict[str, Any]:
    shown: dict[str, Any] = source.as_json()
    return shown | {"citation_url": f"/knowledge/citations/{source.citation_id}"}


def _told(found: Any, sources: list[dict[str, Any]]) -> dict[str, Any]:
    done = found.completion
    return {
        "text": found.text,
        "finish": done.finish if done else "stop",
        "prompt_tokens": done.prompt_tokens if done else None,
        "completion_tokens": done.completion_tokens if done else None,
        "engine": found.engine,
        "seconds": done.seconds if done else {},
        "sources": sources,
        "brainstem": {
            "engine": found.engine, "confidence": found.confidence, "declined": found.declined, "reason": found.reason,
            "sentences": [one.as_json() for one in found.sentences], "ms": found.ms,
        },
    }  # fmt: skip


COMPLETION = TaskKind(
    name="chat.completion",
    label="API call",
    queue="inference",
    params=CompletionParams,
    prepare=prepare,
    run=run,
    description="A call of /v1/chat/completions by a program.",
    time_limit=LIMIT + 15.0,
    soft_limit=LIMIT,
    max_attempts=1,  # the caller waits and tries again by itself; a lost worker is not an attempt
    offered=False,
)

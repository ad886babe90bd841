"""Task kinds of models: pull one, try one, forget old calls."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.core import stored
from webapp.core.context import Ctx
from webapp.core.errors import Forbidden, NoModel, Upstream
from webapp.core.streams import Writer
from webapp.engines import calls, hub, ollama, servers, service
from webapp.engines.base import Request
from webapp.tasks.kinds import TaskKind, doubling
from webapp.tasks.run import TaskRun

TELL_EVERY = 0.5  # seconds
STALLED = 900.0  # seconds without a further byte until a pull is given up and tried again


class PullParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    model: str = Field(
        min_length=1, max_length=300, title="Model", description="Such as tinyllama, or llama3 of a server."
    )
    server: str = Field(
        "", max_length=40, title="Server", description="An Ollama server; left out: a file from the hub."
    )


class TryParams(BaseModel):
    model_config = ConfigDict(extra="forbid")
    prompt: str = Field(min_length=1, max_length=4000, title="Prompt")
    model: str = Field("", max_length=200, title="Model", description="Left out: the default.")
    max_tokens: int = Field(128, ge=1, le=1024, title="Most tokens")


class NoParams(BaseModel):
    model_config = ConfigDict(extra="forbid")


# -- pull ------------------------------------------------------------------------------------------------------------


def run_pull(task: TaskRun) -> dict[str, Any]:
    """Safe to repeat: the server, or the half-loaded file, knows what is there."""
    model, name = task.params["model"], task.params.get("server", "")
    found = _from_server(task, name, model) if name else _from_hub(task, model)
    ollama.forget(task.rt)
    service.available(task.rt, fresh=True)
    return found


def _from_server(task: TaskRun, name: str, model: str) -> dict[str, Any]:
    server = next((one for one in servers.servers(task.rt) if one.name == name), None)
    if server is None:
        raise NoModel(f"There is no model server {name} any more.")
    tell = Telling(task)
    task.progress(0, f"Asking {name} to pull {model}")
    total = 0
    for status, done, total in ollama.pull(task.rt, server, model, timeout=task.remaining(), cancelled=task.stopped):
        tell.bytes_(done, total, status)
    task.check()
    return {"model": f"openai:{model}@{name}", "server": name, "bytes": total}


def _from_hub(task: TaskRun, model: str) -> dict[str, Any]:
    task.progress(0, f"Looking for {model}")
    wanted = hub.find(task.rt, model, task.stopped)
    if not hub.is_here(task.rt, wanted):
        tell = Telling(task)
        on_bytes = partial(tell.bytes_, total=wanted.size, status=f"Loading {wanted.name}")
        hub.load(task.rt, wanted, timeout=task.remaining(), cancelled=task.stopped, on_bytes=on_bytes)
    return {"model": f"ggml:{wanted.name}", "file": wanted.name, "bytes": wanted.size, "sha256": wanted.sha256}


class Telling:
    """Progress in bytes, at a calm pace; and the end of patience with a source that sends nothing more."""

    def __init__(self, task: TaskRun) -> None:
        self.task = task
        self.told_at = 0.0
        self.most, self.grew_at = -1, time.monotonic()

    def bytes_(self, done: int, total: int, status: str) -> None:
        now = time.monotonic()
        if done > self.most:
            self.most, self.grew_at = done, now
        elif now - self.grew_at > STALLED:
            raise Upstream(f"Nothing more came for {STALLED / 60:.0f} minutes.", code="stalled", retryable=True)
        if now - self.told_at < TELL_EVERY:
            return
        self.told_at = now
        words = f"{status}: {in_words(done)} of {in_words(total)}" if total else status
        self.task.progress(100 * done / total if total else 0, words, data={"bytes": done, "total": total})


def in_words(count: int) -> str:
    for size, unit in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def prepare_pull(ctx: Ctx, params: dict[str, Any]) -> None:
    """C41: whoever may pull is an administrator, which in local mode everybody is."""
    if not ctx.user.is_admin:
        raise Forbidden("pulling models is for administrators")
    if not params.get("server"):
        hub.check_name(params["model"])
    elif params["server"] not in [one.name for one in servers.servers(ctx.rt)]:
        raise NoModel(f"There is no model server {params['server']}.", suggestion="Add it on the models page.")


# -- try -------------------------------------------------------------------------------------------------------------


def run_try(task: TaskRun) -> dict[str, Any]:
    """A short text, shown as it comes."""
    rt = task.rt
    writer = Writer(rt.streams, task.id, task.fence, ring=lambda length: rt.ring("text", task.id, length, task.owner_id),
                    note=lambda text: None)  # fmt: skip
    task.progress(0, "Loading the model")
    request = Request(({"role": "user", "content": task.params["prompt"]},), max_tokens=task.params["max_tokens"])
    done = service.generate(rt, task.params.get("model", ""), request, task_type="try", owner_id=task.owner_id,
                            task_id=task.id, on_text=writer.write, cancelled=task.stopped, timeout=task.remaining())  # fmt: skip
    writer.flush()
    task.check()
    with rt.unit(write=False) as db:
        usage = calls.usage(db, task.id)
    return {"text": done.text, "model": done.model, "finish": done.finish, "prompt_tokens": done.prompt_tokens,
            "completion_tokens": done.completion_tokens, "seconds": done.seconds,
            "tokens_per_second": done.tokens_per_second, "model_usage": usage}  # fmt: skip


# -- housekeeping ----------------------------------------------------------------------------------------------------


def run_forget(task: TaskRun) -> dict[str, Any]:
    return {"removed": calls.forget_old(task.rt, stored.value(task.rt, "retention_days"))}


PULL = TaskKind(
    "models.pull", "Pull a model", "workflows", PullParams, run_pull, prepare=prepare_pull, time_limit=24 * 3600,
    max_attempts=8, backoff=doubling(5.0), offered=False,
    description="Brings a model onto this server or an Ollama server, with progress; what is there is not loaded twice.",
    examples=[{"model": "tinyllama"}, {"model": "llama3", "server": "ollama"}],
)  # fmt: skip

TRY = TaskKind(
    "models.try", "Try a model", "inference", TryParams, run_try, time_limit=600, max_attempts=5, offered=False,
    description="A short text by one model, with its measured speed.",
    examples=[{"prompt": "Say hello in one sentence."}],
)  # fmt: skip

FORGET = TaskKind(
    "maintenance.model_calls",
    "Forget old model calls",
    "maintenance",
    NoParams,
    run_forget,
    time_limit=600,
    hidden=True,
)

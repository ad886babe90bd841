"""Create tasks for agents: one, many, or from any Python program of the installation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.agent_service.kind import AGENT_TASK, NAME
from webapp.agents import service as agents
from webapp.core.context import Actor, Ctx
from webapp.core.errors import AppError, BadRequest, Forbidden, NotFound
from webapp.identity import service as identity
from webapp.tasks import service as tasks

MOST = 100  # tasks of one batch


def create(
    ctx: Ctx,
    title: str,
    agent_id: str,
    *,
    description: str = "",
    user_id: str | None = None,
    task_type: str = "text",
    config: dict[str, Any] | None = None,
    priority: str = "normal",
) -> dict[str, Any]:
    """Store a task for an agent; once this unit has committed a worker is woken. Returns its columns.

    user_id: whose it is; only an administrator may name somebody else. Raises BadRequest and NotFound with the field named.
    """
    if not title.strip():
        raise _wrong("title", "give it a title")
    params = {"agent_id": agent_id, "description": description, "task_type": task_type}
    owner = _for(ctx, user_id)
    return tasks.start(
        owner, NAME, params | ({"config": config} if config is not None else {}), title=title, priority=priority
    )


def _for(ctx: Ctx, user_id: str | None) -> Ctx:
    """The caller, or the person an administrator names by id or by user name."""
    if user_id in (None, "", ctx.user.id, ctx.user.username):
        return ctx
    if not ctx.user.is_admin:
        raise Forbidden("only an administrator creates tasks for somebody else",
                        details=[{"loc": ["user_id"], "msg": "this is somebody else", "type": "forbidden"}])  # fmt: skip
    known = identity.names(ctx.db, [str(user_id)[:40]])
    try:
        owner = str(user_id) if known else identity.find(ctx, str(user_id)).id
    except NotFound:
        raise _wrong("user_id", "there is no such user") from None
    actor = Actor(owner, known.get(owner, str(user_id)), via=ctx.user.via)
    return Ctx(ctx.rt, ctx.db, actor, request_id=ctx.request_id, ip=ctx.ip)


def _wrong(field: str, message: str) -> BadRequest:
    return BadRequest(
        f"{field}: {message}", code="invalid_value", details=[{"loc": [field], "msg": message, "type": "value_error"}]
    )


def create_many(ctx: Ctx, wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of them or, when one is wrong, none (M193). Raises what `create` raises, with the place in the batch."""
    made = []
    for number, one in enumerate(wanted[:MOST]):
        try:
            made.append(create(ctx, **one))
        except AppError as error:
            for detail in error.details or ():
                detail["loc"] = ["tasks", number, *detail["loc"]]
            raise
    return made


def list_agents(ctx: Ctx) -> list[dict[str, Any]]:
    """Who can be named as `agent_id`."""
    return [{"id": one.key or one.id, "name": one.name, "description": one.description, "prompt": one.prompt,
             "model_name": one.model_name} for one in agents.list_(ctx)]  # fmt: skip


# -- from a Python program -------------------------------------------------------------------------------------------


def create_agent_task(task_data: dict[str, Any]) -> str:
    """A task from `{title, description?, agent_id, user_id}` (003:173-189); its id. It is stored as pending and queued.

    For programs that run on the server itself, with its settings: `user_id` is believed. Raises BadRequest, NotFound.
    """
    from webapp.core.context import SYSTEM
    from webapp.runtime import runtime

    unknown = set(task_data) - {"title", "description", "agent_id", "user_id", "task_type", "config", "priority"}
    if unknown:
        raise _wrong(sorted(unknown)[0], "there is no such field")
    for name in ("title", "agent_id", "user_id"):
        if not task_data.get(name):
            raise _wrong(name, "is missing")
    rt = runtime()
    more = {name: task_data[name] for name in ("task_type", "config", "priority") if task_data.get(name)}
    with rt.unit() as db:
        ctx = Ctx(rt, db, SYSTEM, request_id="create_agent_task")
        made = create(ctx, str(task_data["title"]), str(task_data["agent_id"]), user_id=str(task_data["user_id"]),
                      description=str(task_data.get("description") or ""), **more)  # fmt: skip
    return str(made["id"])


@dataclass(frozen=True)
class Sent:
    """What `delay` gives back: the id to look the task up by."""

    id: str

    @property
    def task_id(self) -> str:
        return self.id


class ProcessAgentTask:
    """Wakes a worker for a task, as `process_agent_task.delay(id)` does in the documents (003:186,268).

    A message only wakes a worker here: the row says what there is to do, so one for a task that is not there, or is done,
    finds nothing and does no harm. `send` is the same under Dramatiq's name.
    """

    name = actor_name = "process_agent_task"
    queue_name = AGENT_TASK.queue

    def delay(self, task_id: str) -> Sent:
        from webapp.runtime import runtime

        runtime().wake(self.queue_name, str(task_id)[:40])
        return Sent(str(task_id))

    send = delay


process_agent_task = ProcessAgentTask()

"""Tasks of the Agent Service, under /api/v1/agent-service:

  /tasks, /tasks/batch   create one (M179), create many at once (M193)
  /tasks/{task_id}       a task and its result
  /agents                who can be named as agent_id

Its dead letters, health and metrics are the operator's (webapp/operations/api.py).
"""

from __future__ import annotations

from typing import Any

from webapp.agent_service import service
from webapp.agent_service.schemas import AgentOut, AgentTaskBatchIn, AgentTaskCreated, AgentTaskIn, AgentTaskOut
from webapp.core.context import Ctx
from webapp.tasks import service as tasks
from webapp.tasks.dialects import agentic_status
from webapp.web.api import Api

api = Api("agent_tasks", "/api/v1/agent-service", tag="Agent service")

READ, WRITE = "tasks:read", "tasks:write"


@api.post(
    "/tasks", auth=WRITE, body=AgentTaskIn, returns=AgentTaskCreated, status=201, errors=(403, 404), idempotent=True
)
def create_agent_task(ctx: Ctx, body: AgentTaskIn) -> Any:
    """Create a task for an agent and queue it; it answers at once with status pending."""
    return _created(service.create(ctx, **_wanted(body)))


@api.post("/tasks/batch", auth=WRITE, body=AgentTaskBatchIn, returns=list[AgentTaskCreated], status=201, errors=(403, 404),
          idempotent=True)  # fmt: skip
def create_agent_tasks(ctx: Ctx, body: AgentTaskBatchIn) -> Any:
    """Create up to 100 tasks, all of them or, when one is wrong, none."""
    return [_created(values) for values in service.create_many(ctx, [_wanted(one) for one in body.tasks])]


def _wanted(body: AgentTaskIn) -> dict[str, Any]:
    return body.model_dump() | {"description": body.description or ""}


def _created(values: dict[str, Any]) -> AgentTaskCreated:
    params = values["params"]
    return AgentTaskCreated(
        id=values["id"], task_id=values["id"], title=values["title"], description=params.get("description") or None,
        agent_id=params["agent_id"], user_id=values["owner_id"], status=agentic_status(values["status"]),
    )  # fmt: skip


@api.get("/tasks/<task_id>", auth=READ, returns=AgentTaskOut, errors=(404,))
def get_agent_task(ctx: Ctx, task_id: str) -> Any:
    """A task and its result."""
    task = tasks.get(ctx, task_id)
    failed = task.status in ("failed", "timed_out")
    return AgentTaskOut(
        id=task.id,
        title=task.title,
        description=task.params.get("description") or None,
        agent_id=task.params.get("agent_id"),
        user_id=task.owner_id,
        status=agentic_status(task.status),
        result={"status": "error", "message": task.error or task.message} if failed else task.result,
        error=task.error,
        progress=task.progress,
        created_at=task.created_at,
        started_at=task.started_at,
        completed_at=task.finished_at,
    )


@api.get("/agents", auth=READ, returns=list[AgentOut])
def list_agents(ctx: Ctx) -> Any:
    """The agents a task can be given to."""
    return [AgentOut.model_validate(one) for one in service.list_agents(ctx)]

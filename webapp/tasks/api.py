"""Endpoints of the task area.

ECEEE v4:  /api/v1/utils/ai-tasks/ (list, create), .../{id}/ (get, put, patch, delete), .../{id}/cancel|retry|updates/,
           .../active/, .../recent/, /api/v1/utils/tasks/{id}/stream/
Ours:      /api/v1/task-kinds, /api/v1/tasks/bulk; the rest of /api/v1/tasks is in manager_api.py
Logs:      /api/v1/logs/history, /api/v1/logs/{task_id}, /api/v1/logs/stream/{task_id}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from sqlalchemy import func, select

from webapp.core.context import Ctx
from webapp.core.errors import Invalid, NotFound
from webapp.tasks import dialects, live, service
from webapp.tasks.kinds import kinds
from webapp.tasks.manager_api import manager
from webapp.tasks.models import Task
from webapp.tasks.schemas import (
    AiTaskBrief,
    AiTaskIn,
    AiTaskOut,
    AiTaskPage,
    AiTaskPatch,
    AiTaskQuery,
    AiTaskUpdateOut,
    BulkIn,
    BulkOut,
    LogEntry,
    LogQuery,
    RecentQuery,
    TaskKindOut,
    UpdatesQuery,
)
from webapp.web.api import OPTIONAL, Api
from webapp.web.guard import check_scope
from webapp.web.live import CORS, hub, open_stream

eceee = Api("eceee", "/api/v1/utils", tag="AI tasks (ECEEE v4)", dialect="eceee")
logs = Api("logs", "/api/v1/logs", tag="Logs")
tasks = Api("tasks", "/api/v1", tag="Tasks")

READ, WRITE = "tasks:read", "tasks:write"
LISTEN = "events:read"  # of keys; logs are open for reading to everybody else (contract C05)


@eceee.get("/ai-tasks/", auth=READ, query=AiTaskQuery, returns=AiTaskPage, errors=(404,))
def list_tasks(ctx: Ctx, query: AiTaskQuery) -> Any:
    """List own tasks, newest first, a page at a time."""
    stmt = service.filtered(service.owned(ctx), kind=query.task_type, q=query.search)
    if query.status:
        stmt = stmt.where(Task.status.in_(dialects.FROM_ECEEE[query.status]))
    count = ctx.db.scalar(stmt.with_only_columns(func.count())) or 0
    order = Task.id.asc() if query.ordering == "created_at" else Task.id.desc()
    start = (query.page - 1) * query.page_size
    if query.page > 1 and start >= count:
        raise NotFound("there is no such page")
    rows = ctx.db.scalars(stmt.order_by(order).offset(start).limit(query.page_size)).all()
    return {
        "count": count,
        "next": _page_url(query.page + 1) if start + len(rows) < count else None,
        "previous": _page_url(query.page - 1) if query.page > 1 else None,
        "results": [dialects.eceee_task(task, username=ctx.user.username, brief=True) for task in rows],
    }


def _page_url(page: int) -> str:
    args = {**request.args.to_dict(), "page": str(page)}
    return f"{request.base_url}?{urlencode(args)}"


@eceee.post("/ai-tasks/", auth=WRITE, body=AiTaskIn, returns=AiTaskOut, status=201, idempotent=True, errors=(404,))
def create_task(ctx: Ctx, body: AiTaskIn) -> Any:
    """Store and queue a task; it answers at once and works in the background."""
    with dialects.within_config():
        values = service.start(
            ctx, body.task_type, body.task_config, title=body.title, priority=body.priority, asked=True
        )
    return dialects.eceee_started(values, username=ctx.user.username)


@eceee.get("/ai-tasks/active/", auth=READ, returns=list[AiTaskBrief])
def active_tasks(ctx: Ctx) -> Any:
    """Pending and running tasks."""
    stmt = service.filtered(service.owned(ctx), status="active")
    return _brief(ctx, stmt.order_by(Task.id.desc()).limit(200))


@eceee.get("/ai-tasks/recent/", auth=READ, query=RecentQuery, returns=list[AiTaskBrief])
def recent_tasks(ctx: Ctx, query: RecentQuery) -> Any:
    """The newest tasks."""
    return _brief(ctx, service.filtered(service.owned(ctx)).order_by(Task.id.desc()).limit(query.limit))


def _brief(ctx: Ctx, stmt: Any) -> list[dict[str, Any]]:
    return [dialects.eceee_task(task, username=ctx.user.username, brief=True) for task in ctx.db.scalars(stmt)]


@eceee.get("/ai-tasks/<task_id>/", auth=READ, returns=AiTaskOut, errors=(404,))
def get_task(ctx: Ctx, task_id: str) -> Any:
    """One task with its result."""
    return dialects.eceee_task(service.get(ctx, task_id), username=ctx.user.username)


@eceee.patch("/ai-tasks/<task_id>/", auth=WRITE, body=AiTaskPatch, returns=AiTaskOut, errors=(404, 409))
def patch_task(ctx: Ctx, task_id: str, body: AiTaskPatch) -> Any:
    """Change title, priority or configuration while the task is pending."""
    with dialects.within_config():
        task = service.update(ctx, task_id, title=body.title, priority=body.priority, params=body.task_config)
    return dialects.eceee_task(task, username=ctx.user.username)


@eceee.put("/ai-tasks/<task_id>/", auth=WRITE, body=AiTaskIn, returns=AiTaskOut, errors=(404, 409))
def put_task(ctx: Ctx, task_id: str, body: AiTaskIn) -> Any:
    """Replace title, priority and configuration while the task is pending; its type stays."""
    if body.task_type != service.get(ctx, task_id).kind:
        raise Invalid("task_type cannot change; create a new task", details=[
            {"loc": ["task_type"], "msg": "cannot change", "type": "immutable"}])  # fmt: skip
    with dialects.within_config():
        task = service.update(ctx, task_id, title=body.title, priority=body.priority, params=body.task_config)
    return dialects.eceee_task(task, username=ctx.user.username)


@eceee.delete("/ai-tasks/<task_id>/", auth=WRITE, status=204, errors=(404, 409))
def delete_task(ctx: Ctx, task_id: str) -> None:
    """Delete a finished task with its updates."""
    service.remove(ctx, task_id)


@eceee.post("/ai-tasks/<task_id>/cancel/", auth=WRITE, returns=AiTaskOut, errors=(404, 409))
def cancel_task(ctx: Ctx, task_id: str) -> Any:
    """Stop a task; 409 when it is over. A running one answers `running` with message Stopping until it has stopped."""
    return dialects.eceee_task(service.cancel(ctx, task_id), username=ctx.user.username)


@eceee.post("/ai-tasks/<task_id>/retry/", auth=WRITE, returns=AiTaskOut, errors=(404, 409))
def retry_task(ctx: Ctx, task_id: str) -> Any:
    """Queue a failed or cancelled task again; 409 otherwise."""
    return dialects.eceee_task(service.retry(ctx, task_id), username=ctx.user.username)


@eceee.get("/ai-tasks/<task_id>/updates/", auth=READ, query=UpdatesQuery, returns=list[AiTaskUpdateOut], errors=(404,))
def task_updates(ctx: Ctx, task_id: str, query: UpdatesQuery) -> Any:
    """The update history, oldest first."""
    task = service.get(ctx, task_id)
    return [dialects.eceee_update(event) for event in service.events(ctx, task, after=query.after, limit=query.limit)]


@eceee.get("/tasks/<task_id>/stream/", auth="events:read", stream=True, errors=(404,))
def task_stream(ctx: Ctx, task_id: str) -> Any:
    """Server-sent events of one task: the present state, then every update, closed after the last.

    `id:` is the update's id; a reconnect with `Last-Event-ID` gets what it missed, and 204 when nothing can follow.
    """
    task = service.get(ctx, task_id)
    after = live.last_event_id(request.headers.get("Last-Event-ID"))
    if task.is_final and after is not None and after >= task.seq:
        return Response(status=204, headers=CORS)
    feed = live.StreamFeed(hub(), task, after, lambda event, _: dialects.eceee_event(event), "eceee-sse",
                           first_state=True)  # fmt: skip
    return open_stream(ctx.user, feed, headers=CORS)


# -- logs ------------------------------------------------------------------------------------------------------------


@logs.get("/history", auth=OPTIONAL, query=LogQuery, returns=list[LogEntry])
def log_history(ctx: Ctx, query: LogQuery) -> Any:
    """Search the log lines of tasks the caller may see, newest first."""
    check_scope(ctx.user, LISTEN)
    found = service.log_entries(ctx, task_id=query.task_id, agent_id=query.agent_id, level=query.level,
                                search=query.search, limit=query.limit)  # fmt: skip
    return [dialects.log_entry(event, task) for event, task in found]


@logs.get("/stream/<task_id>", auth=OPTIONAL, stream=True, errors=(404,))
def log_stream(ctx: Ctx, task_id: str) -> Any:
    """Server-sent events: one log line each, from the first on."""
    check_scope(ctx.user, LISTEN)
    task = service.get(ctx, task_id)
    after = live.last_event_id(request.headers.get("Last-Event-ID"))
    if task.is_final and after is not None and after >= task.seq:
        return Response(status=204)
    return open_stream(ctx.user, live.StreamFeed(hub(), task, after, dialects.log_entry, "logs-sse", first_state=False))


@logs.get("/<task_id>", auth=OPTIONAL, query=UpdatesQuery, returns=list[LogEntry], errors=(404,))
def task_logs(ctx: Ctx, task_id: str, query: UpdatesQuery) -> Any:
    """The log lines of one task, oldest first."""
    check_scope(ctx.user, LISTEN)
    task = service.get(ctx, task_id)
    return [dialects.log_entry(e, task) for e in service.events(ctx, task, after=query.after, limit=query.limit)]


# -- ours ------------------------------------------------------------------------------------------------------------


@tasks.get("/task-kinds", auth=OPTIONAL, returns=list[TaskKindOut])
def list_kinds(ctx: Ctx) -> Any:
    """What can be started, with the JSON Schema of each configuration."""
    return [
        {"name": kind.name, "label": kind.label, "description": kind.description, "queue": kind.queue,
         "config_schema": kind.schema(), "examples": kind.examples}
        for _, kind in kinds.all() if not kind.hidden
    ]  # fmt: skip


@tasks.post("/tasks/bulk", auth=WRITE, body=BulkIn, returns=BulkOut)
def bulk(ctx: Ctx, body: BulkIn) -> Any:
    """Cancel, retry or delete many tasks; what failed is listed with its reason."""
    return service.bulk(ctx, body.action, body.ids)


APIS = [eceee, logs, tasks, manager]
__all__ = ["APIS", "select"]

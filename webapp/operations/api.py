"""Endpoints of the operator's room, for administrators, and those of the agent service that need no agent.

Ours, under /api/v1/operations:
  /alerts, /running                        what needs a person; what runs and what seems stuck
  /doctor                                  what this installation stands on, each with its mend
  /queues, .../{name}/pause|resume         what waits, how long, how fast
  /workers                                 processes that run tasks
  /dead-letters, .../{id}, .../bulk        look, try again, throw away
  /schedules, .../{name}/run|pause|resume  what the clock starts; PATCH changes the time, /schedules/preview tries one
  /tasks, .../bulk                         tasks of everybody
  /audit                                   who did what
Agent Service, under /api/v1/agent-service: dead-letters, dead-letters/{id}/requeue, health, metrics; its tasks are in
webapp/agent_service.
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.core.paging import Page
from webapp.health import service as health
from webapp.operations import service
from webapp.operations.schemas import (
    AgentHealthOut,
    AlertOut,
    AuditOut,
    AuditPage,
    AuditQuery,
    DeadLetterOut,
    DoctorOut,
    LetterBulkIn,
    LetterDetail,
    LetterOut,
    LetterPage,
    LetterQuery,
    MetricsOut,
    MetricsQuery,
    OffsetQuery,
    OperatorBulkIn,
    OperatorBulkOut,
    OperatorTaskOut,
    OperatorTaskPage,
    OperatorTaskQuery,
    PauseIn,
    QueueOut,
    RequeuedOut,
    RunningOut,
    ScheduleIn,
    ScheduleOut,
    StartedOut,
    UpcomingOut,
    WorkerOut,
)
from webapp.operations.service import OwnedTask, WorkerRow
from webapp.tasks.dialects import agentic_status
from webapp.web.api import ADMIN, ANY, PUBLIC, Api

operations = Api("operations", "/api/v1/operations", tag="Operations")
agent_service = Api("agent_service", "/api/v1/agent-service", tag="Agent service")


@operations.get("/alerts", auth=ADMIN, returns=list[AlertOut])
def list_alerts(ctx: Ctx) -> Any:
    """What needs a person, the worst first; empty when all is well."""
    return [AlertOut.model_validate(row) for row in service.alerts(ctx)]


@operations.get("/doctor", auth=ADMIN, returns=DoctorOut)
def get_doctor(ctx: Ctx) -> Any:
    """Everything this installation stands on, looked at now; takes up to twelve seconds when something does not answer."""
    checks = service.examination(ctx)
    return {"level": service.worst(checks), "checks": [vars(one) for one in checks]}


@operations.get("/queues", auth=ADMIN, returns=list[QueueOut])
def list_queues(ctx: Ctx) -> Any:
    """Every queue: what waits, runs and ended lately, who serves it, whether it is paused."""
    return [QueueOut.model_validate(row) for row in service.queues(ctx)]


@operations.post("/queues/<name>/pause", auth=ADMIN, body=PauseIn, returns=QueueOut, errors=(404, 409))
def pause_queue(ctx: Ctx, name: str, body: PauseIn) -> Any:
    """No worker takes from the queue until it is resumed. Running tasks end; waiting ones stay and say why."""
    return QueueOut.model_validate(service.pause_queue(ctx, name, body.reason))


@operations.post("/queues/<name>/resume", auth=ADMIN, returns=QueueOut, errors=(404, 409))
def resume_queue(ctx: Ctx, name: str) -> Any:
    """Workers take from the queue again, at once."""
    return QueueOut.model_validate(service.resume_queue(ctx, name))


@operations.get("/workers", auth=ADMIN, returns=list[WorkerOut])
def list_workers(ctx: Ctx) -> Any:
    """Worker processes with what they run, those that need attention first."""
    return [_worker(row) for row in service.workers(ctx)]


def _worker(row: WorkerRow) -> WorkerOut:
    running = [{"id": task_id, "title": title} for task_id, title in row.running]
    return WorkerOut.model_validate({**vars(row), "running": running})


@operations.get("/running", auth=ADMIN, returns=list[RunningOut])
def list_running(ctx: Ctx) -> Any:
    """Running tasks of everybody, those that seem stuck first."""
    return [RunningOut.model_validate(row) for row in service.running(ctx)]


# -- dead letters ----------------------------------------------------------------------------------------------------


@operations.get("/dead-letters", auth=ADMIN, query=LetterQuery, returns=LetterPage)
def list_letters(ctx: Ctx, query: LetterQuery) -> Any:
    """Tasks that failed for good, newest first, a page at a time."""
    return _page(LetterPage, LetterOut, service.letters(ctx, **query.model_dump()))


@operations.get("/dead-letters/<letter_id>", auth=ADMIN, returns=LetterDetail, errors=(404,))
def get_letter(ctx: Ctx, letter_id: str) -> Any:
    """One, with its traceback and what the task was asked to do."""
    return LetterDetail.model_validate(service.letter(ctx, letter_id))


@operations.post("/dead-letters/<letter_id>/requeue", auth=ADMIN, returns=LetterOut, errors=(404, 409))
def requeue_letter(ctx: Ctx, letter_id: str) -> Any:
    """Put the task back into its queue with all its attempts; 409 when that was done already."""
    return LetterOut.model_validate(service.requeue(ctx, letter_id))


@operations.delete("/dead-letters/<letter_id>", auth=ADMIN, status=204, errors=(404,))
def purge_letter(ctx: Ctx, letter_id: str) -> None:
    """Throw the letter away; its task stays in its owner's list as it ended."""
    service.purge(ctx, letter_id)


@operations.post("/dead-letters/bulk", auth=ADMIN, body=LetterBulkIn, returns=OperatorBulkOut)
def bulk_letters(ctx: Ctx, body: LetterBulkIn) -> Any:
    """Requeue or purge many; what failed is listed with its reason."""
    return (service.requeue_many if body.action == "requeue" else service.purge_many)(ctx, body.ids)


# -- schedules -------------------------------------------------------------------------------------------------------


@operations.get("/schedules", auth=ADMIN, returns=list[ScheduleOut])
def list_schedules(ctx: Ctx) -> Any:
    """What the clock starts: when next, when last, and what came of it."""
    return [ScheduleOut.model_validate(row) for row in service.schedules(ctx)]


@operations.post("/schedules/preview", auth=ADMIN, body=ScheduleIn, returns=UpcomingOut)
def preview_schedule(ctx: Ctx, body: ScheduleIn) -> Any:
    """The next five times of a cron line or interval; changes nothing."""
    return {"times": service.upcoming(ctx, cron=body.cron, interval=body.interval)}


@operations.patch("/schedules/<name>", auth=ADMIN, body=ScheduleIn, returns=ScheduleOut, errors=(404,))
def edit_schedule(ctx: Ctx, name: str, body: ScheduleIn) -> Any:
    """Give a schedule another time."""
    return ScheduleOut.model_validate(service.edit_schedule(ctx, name, cron=body.cron, interval=body.interval))


@operations.post("/schedules/<name>/run", auth=ADMIN, returns=StartedOut, status=202, errors=(404,))
def run_schedule(ctx: Ctx, name: str) -> Any:
    """Start it now, beside its times."""
    return {"task_id": service.run_schedule(ctx, name)}


@operations.post("/schedules/<name>/pause", auth=ADMIN, returns=ScheduleOut, errors=(404, 409))
def pause_schedule(ctx: Ctx, name: str) -> Any:
    """Start nothing from it until it is resumed."""
    return ScheduleOut.model_validate(service.pause_schedule(ctx, name))


@operations.post("/schedules/<name>/resume", auth=ADMIN, returns=ScheduleOut, errors=(404, 409))
def resume_schedule(ctx: Ctx, name: str) -> Any:
    """Go on with the next time from now; what was missed is not made up."""
    return ScheduleOut.model_validate(service.resume_schedule(ctx, name))


# -- everybody's tasks, audit ----------------------------------------------------------------------------------------


@operations.get("/tasks", auth=ADMIN, query=OperatorTaskQuery, returns=OperatorTaskPage)
def list_all_tasks(ctx: Ctx, query: OperatorTaskQuery) -> Any:
    """Tasks of everybody, newest first, a page at a time."""
    page = service.all_tasks(ctx, **query.model_dump())
    return OperatorTaskPage(
        items=[_owned(row) for row in page.items], next_cursor=page.next_cursor, prev_cursor=page.prev_cursor
    )


def _owned(row: OwnedTask) -> OperatorTaskOut:
    names = set(OperatorTaskOut.model_fields) - {"owner"}
    return OperatorTaskOut.model_validate({"owner": row.owner, **{name: getattr(row.task, name) for name in names}})


@operations.post("/tasks/bulk", auth=ADMIN, body=OperatorBulkIn, returns=OperatorBulkOut)
def bulk_all_tasks(ctx: Ctx, body: OperatorBulkIn) -> Any:
    """Cancel, retry or delete tasks of anybody; what failed is listed with its reason."""
    return service.bulk_tasks(ctx, body.action, body.ids)


@operations.get("/audit", auth=ADMIN, query=AuditQuery, returns=AuditPage)
def list_audit(ctx: Ctx, query: AuditQuery) -> Any:
    """Who did what, newest first, a page at a time."""
    return _page(AuditPage, AuditOut, service.audit_log(ctx, **query.model_dump()))


def _page(model: Any, item: Any, page: Page[Any]) -> Any:
    items = [item.model_validate(row) for row in page.items]
    return model(items=items, next_cursor=page.next_cursor, prev_cursor=page.prev_cursor)


# -- agent service ---------------------------------------------------------------------------------------------------


@agent_service.get("/dead-letters", auth=ADMIN, query=OffsetQuery, returns=list[DeadLetterOut])
def list_dead_letters(ctx: Ctx, query: OffsetQuery) -> Any:
    """The dead letter queue, newest first: what failed for good and was not put back."""
    return [
        DeadLetterOut.model_validate({**vars(row), "message_id": row.id, "retries": max(0, row.attempt - 1)})
        for row in service.letters_from(ctx, query.offset, query.limit)
    ]


@agent_service.post("/dead-letters/<message_id>/requeue", auth=ADMIN, returns=RequeuedOut, errors=(404, 409))
def requeue_dead_letter(ctx: Ctx, message_id: str) -> Any:
    """Put a dead letter's task back into its queue; 409 when that was done already."""
    row = service.requeue(ctx, message_id)
    return RequeuedOut(message_id=row.id, task_id=row.task_id, status=agentic_status(row.task_status))


@agent_service.get("/health", auth=PUBLIC, returns=AgentHealthOut)
def agent_health(ctx: Ctx) -> Any:
    """Is there anybody to do the work? The checks themselves are for those who are known."""
    found = health.report(ctx.rt)
    workers = found["checks"].get("workers", {}).get("count")
    checks = found["checks"] if ctx.user.is_authenticated else None
    return AgentHealthOut(status=found["status"], timestamp=found["timestamp"], workers=workers, checks=checks)


@agent_service.get("/metrics", auth=ANY, query=MetricsQuery, returns=MetricsOut)
def agent_metrics(ctx: Ctx, query: MetricsQuery) -> Any:
    """Duration, success rate, error rate and queue length, per kind, per agent and in total: of own tasks, for admins of all."""
    return MetricsOut.model_validate(service.metrics(ctx, query.hours))


APIS = [operations, agent_service]

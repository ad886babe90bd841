"""Shapes of the operator's room on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, field_validator

from webapp.web.api import ApiModel


def as_utc(value: datetime | None) -> datetime | None:
    """A time without a zone is UTC, as every time we write is."""
    return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class QueueOut(ApiModel):
    """`waiting` could start now; `scheduled` waits for its time; `held` for a person or for their parts."""

    name: str
    roles: list[str] = Field(description="Roles of workers that serve it.")
    waiting: int
    scheduled: int
    running: int
    held: int
    oldest_seconds: float | None = Field(description="How long the longest waiting task has been waiting.")
    per_minute_5: float = Field(description="Tasks ended per minute, over the last 5 minutes.")
    per_minute_60: float = Field(description="Tasks ended per minute, over the last hour.")
    failed_60: int = Field(description="Tasks that failed in the last hour.")
    workers: int = Field(description="Processes that serve it and are not lost.")
    threads: int = Field(description="Tasks of it that can run at once.")
    paused: bool
    paused_by: str | None
    paused_at: datetime | None
    paused_reason: str


class PauseIn(ApiModel):
    reason: str = Field("", max_length=200, description="Shown to other operators.")


class WorkerOut(ApiModel):
    id: str
    role: str
    queues: list[str]
    host: str
    pid: int
    threads: int
    rss_mb: float
    done: int = Field(description="Tasks ended by this process.")
    running: list[dict[str, str]] = Field(description="`id` and `title` of the tasks in hand.")
    started_at: datetime
    beat_age: float = Field(description="Seconds since it last said that it lives.")
    state: str = Field(description="alive, late or lost.")


class DoctorCheckOut(ApiModel):
    name: str = Field(
        description="database, schema, redis, vectors, disk, clock, models, embedder, queues, scheduler, versions."
    )
    level: str = Field(description="ok, warn or bad.")
    text: str
    mend: str = Field(description="What to do; empty where nothing is to be done.")


class DoctorOut(ApiModel):
    level: str = Field(description="The worst of all.")
    checks: list[DoctorCheckOut]


class AlertOut(ApiModel):
    key: str = Field(description="The same for as long as the same thing is wrong.")
    level: str = Field(description="bad, warn or info.")
    title: str
    text: str = Field(description="What it means, and what to do.")
    since: datetime | None = Field(description="When it began, where that is known.")


class RunningOut(ApiModel):
    """`troubles` says why a task seems stuck; empty when all is well."""

    id: str
    title: str
    kind: str
    queue: str
    owner: str | None
    progress: int
    message: str
    attempt: int
    worker_id: str | None
    started_at: datetime | None = Field(description="Of this attempt.")
    elapsed: float
    silent: float = Field(description="Seconds since its last event.")
    time_limit: float
    troubles: list[str]


# -- dead letters ----------------------------------------------------------------------------------------------------


class LetterOut(ApiModel):
    id: str
    task_id: str
    title: str
    owner: str | None
    task_status: str
    kind: str
    queue: str
    reason: str = Field(description="attempts, permanent, crash, time_limit or unknown_kind.")
    error: str
    attempt: int
    failed_at: datetime
    requeued_at: datetime | None


class LetterDetail(LetterOut):
    traceback: str | None
    params: dict[str, Any] | None


class LetterPage(ApiModel):
    items: list[LetterOut]
    next_cursor: str | None
    prev_cursor: str | None


class LetterQuery(ApiModel):
    state: Literal["open", "requeued", "all"] = "open"
    kind: str | None = Field(None, max_length=64)
    queue: str | None = Field(None, max_length=32)
    reason: str | None = Field(None, max_length=64)
    q: str | None = Field(None, max_length=10_000, description="Words of the error.")
    cursor: str | None = Field(None, max_length=400)
    limit: int = Field(50, ge=1, le=200)


class LetterBulkIn(ApiModel):
    action: Literal["requeue", "purge"]
    ids: list[str] = Field(min_length=1, max_length=500)


class OperatorBulkIn(ApiModel):
    action: Literal["cancel", "retry", "delete"]
    ids: list[str] = Field(min_length=1, max_length=500)


class OperatorBulkOut(ApiModel):
    done: list[dict[str, str]]
    failed: list[dict[str, str]]


class LetterBulkForm(ApiModel):
    action: Literal["requeue", "purge"]
    ids: list[str] = Field(default_factory=list, max_length=500)


class TaskBulkForm(ApiModel):
    action: Literal["cancel", "retry", "delete"]
    ids: list[str] = Field(default_factory=list, max_length=500)


class DeadLetterOut(ApiModel):
    """As the agent service lists them."""

    message_id: str
    task_id: str
    title: str
    kind: str
    queue: str
    reason: str
    error: str
    retries: int
    failed_at: datetime
    requeued_at: datetime | None


class OffsetQuery(ApiModel):
    limit: int = Field(100, ge=1, le=200)
    offset: int = Field(0, ge=0, le=10_000)


class RequeuedOut(ApiModel):
    message_id: str
    task_id: str
    status: str


# -- schedules -------------------------------------------------------------------------------------------------------


class ScheduleOut(ApiModel):
    name: str
    title: str = Field(description="What people read; `name` is what commands take.")
    kind: str
    cron: str | None
    interval: float | None = Field(description="Seconds between two runs, instead of a cron line.")
    enabled: bool
    next_at: datetime | None
    last_at: datetime | None
    late: float | None = Field(description="Seconds since it should have started; null when in time.")
    last_task_id: str | None
    last_status: str | None
    last_message: str | None


class ScheduleIn(ApiModel):
    """Either a cron line of five fields (UTC) or a number of seconds."""

    cron: str | None = Field(None, max_length=100)
    interval: float | None = Field(None, ge=10, le=366 * 86400)


class ScheduleForm(ApiModel):
    cron: str = Field("", max_length=100)
    interval: str = Field("", max_length=20)


class UpcomingOut(ApiModel):
    times: list[datetime]


class StartedOut(ApiModel):
    task_id: str


# -- audit, metrics, tasks -------------------------------------------------------------------------------------------


class AuditOut(ApiModel):
    id: str
    at: datetime
    actor: str
    via: str
    action: str
    object_kind: str
    object_id: str | None
    detail: dict[str, Any]
    ip: str | None
    request_id: str | None


class AuditPage(ApiModel):
    items: list[AuditOut]
    next_cursor: str | None
    prev_cursor: str | None


class AuditQuery(ApiModel):
    actor: str | None = Field(None, max_length=64)
    action: str | None = Field(None, max_length=64, description="Such as queue.pause, or queue for all of queues.")
    object: str | None = Field(None, max_length=100, description="A kind (queue, task, schedule) or an id.")
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = Field(None, max_length=400)
    limit: int = Field(50, ge=1, le=200)

    _aware = field_validator("since", "until")(as_utc)


class KindMetricsOut(ApiModel):
    agent_id: str | None
    kind: str
    tasks_total: int
    completed: int
    failed: int
    cancelled: int
    success_rate: float | None = Field(description="Share of completed among completed and failed.")
    error_rate: float | None
    avg_duration_ms: float | None
    max_duration_ms: float | None
    queue_length: int


class MetricsOut(ApiModel):
    scope: str = Field(description="own, or all for administrators.")
    window_hours: float
    total: KindMetricsOut
    agents: list[KindMetricsOut] = Field(description="By kind of task and, where a task names one, by agent.")


class MetricsQuery(ApiModel):
    hours: float = Field(24, gt=0, le=24 * 31)


class AgentHealthOut(ApiModel):
    status: str
    timestamp: str
    workers: int | None = Field(description="Processes alive; null where the database does not answer.")
    checks: dict[str, Any] | None = None


class OperatorTaskOut(ApiModel):
    id: str
    owner: str
    kind: str
    title: str
    status: str
    queue: str
    priority: str
    progress: int
    message: str
    error: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class OperatorTaskPage(ApiModel):
    items: list[OperatorTaskOut]
    next_cursor: str | None
    prev_cursor: str | None


class OperatorTaskQuery(ApiModel):
    status: str | None = Field(None, max_length=20)
    kind: str | None = Field(None, max_length=64)
    user: str | None = Field(None, max_length=64, description="A user name, or system for the system's own.")
    q: str | None = Field(None, max_length=10_000, description="Words of the title or message, or a task's id.")
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = Field(None, max_length=400)
    limit: int = Field(50, ge=1, le=200)

    _aware = field_validator("since", "until")(as_utc)

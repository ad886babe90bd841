"""Shapes of the task area on the wire."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from webapp.web.api import ApiModel

Priority = Literal["low", "normal", "high", "urgent"]
EceeeStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


class AiTaskIn(ApiModel):
    """Create a task (001:291-299)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Two pages in 200 words",
                    "task_type": "summary",
                    "task_config": {"urls": ["https://example.org/a", "https://example.org/b"], "max_length": 200},
                    "priority": "high",
                }
            ]
        }
    )
    title: str = Field("", max_length=300)
    task_type: str = Field(max_length=64)
    task_config: dict[str, Any] = Field(default_factory=dict)
    priority: Priority = "normal"


class AiTaskPatch(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Two pages in 150 words", "priority": "urgent"}]}
    )
    title: str | None = Field(None, max_length=300)
    task_config: dict[str, Any] | None = None
    priority: Priority | None = None


class AiTaskOut(ApiModel):
    """shapes.md section 5."""

    id: str
    title: str
    task_type: str
    task_config: dict[str, Any]
    status: EceeeStatus
    progress: int
    progress_percentage: int
    message: str
    result_data: dict[str, Any] = Field(default_factory=dict)
    created_by: str | None
    celery_task_id: str
    priority: Priority
    error_message: str | None
    retry_count: int
    created_at: str
    started_at: str | None
    completed_at: str | None
    updated_at: str


class AiTaskBrief(ApiModel):
    """As in lists: without the result."""

    id: str
    title: str
    task_type: str
    task_config: dict[str, Any]
    status: EceeeStatus
    progress: int
    progress_percentage: int
    message: str
    created_by: str | None
    celery_task_id: str
    priority: Priority
    error_message: str | None
    retry_count: int
    created_at: str
    started_at: str | None
    completed_at: str | None
    updated_at: str


class AiTaskPage(ApiModel):
    """A page as Django REST framework makes it."""

    count: int
    next: str | None
    previous: str | None
    results: list[AiTaskBrief]


class AiTaskQuery(ApiModel):
    page: int = Field(1, ge=1, le=100_000)
    page_size: int = Field(50, ge=1, le=200)
    status: EceeeStatus | None = None
    task_type: str | None = Field(None, max_length=64)
    search: str | None = Field(None, max_length=10_000)
    ordering: Literal["-created_at", "created_at"] = "-created_at"


class AiTaskUpdateOut(ApiModel):
    id: int
    task: str
    update_type: str
    message: str
    data: dict[str, Any]
    progress_percentage: int
    status: EceeeStatus
    created_at: str


class UpdatesQuery(ApiModel):
    after: int = Field(0, ge=0, le=2**53, description="Only updates with a higher id.")
    limit: int = Field(500, ge=1, le=2000)


class RecentQuery(ApiModel):
    limit: int = Field(20, ge=1, le=200)


class BulkIn(ApiModel):
    action: Literal["cancel", "retry", "delete"]
    ids: list[str] = Field(min_length=1, max_length=500)


class BulkOut(ApiModel):
    done: list[dict[str, str]]
    failed: list[dict[str, str]]


class TaskKindOut(ApiModel):
    name: str
    label: str
    description: str
    queue: str
    config_schema: dict[str, Any]
    examples: list[dict[str, Any]]


class LogQuery(ApiModel):
    agent_id: str | None = Field(None, max_length=64)
    task_id: str | None = Field(None, max_length=64)
    level: Literal["debug", "info", "warning", "error"] | None = None
    search: str | None = Field(None, max_length=10_000)
    limit: int = Field(100, ge=1, le=1000)


class LogEntry(ApiModel):
    timestamp: str
    level: str
    message: str
    agent_id: str | None
    task_id: str
    source: str


class PageTaskForm(ApiModel):
    """What every form of a new task has; the kind's own fields are read by its schema (webapp/tasks/forms.py)."""

    kind: str = Field("summary", max_length=64)
    title: str = Field("", max_length=300)
    source: str = Field("", max_length=16)
    priority: Priority = "normal"
    notify: bool = False
    when: Literal["now", "once", "cron"] = "now"
    at: str = Field("", max_length=30)
    repeat: str = Field("daily", max_length=16)
    time: str = Field("", max_length=8)
    cron: str = Field("", max_length=100)
    schedule: str = Field("", max_length=40)  # the one to change, instead of a new one
    template: str = Field("", max_length=64)  # the one that it began with


class WishForm(ApiModel):
    """A task in somebody's own words; the box of the home page calls them `content`, or `urls` when they are links."""

    wish: str = Field("", max_length=100_000)
    content: str = Field("", max_length=100_000)
    urls: str = Field("", max_length=100_000)
    kind: str = Field("", max_length=64)


class BulkForm(ApiModel):
    action: Literal["cancel", "retry", "delete", "compare"]
    ids: list[str] = Field(default_factory=list, max_length=500)


class SaveViewForm(ApiModel):
    """The list's filters under a name."""

    name: str = Field("", max_length=60)
    q: str = Field("", max_length=200)
    status: str = Field("", max_length=20)
    kind: str = Field("", max_length=64)
    priority: str = Field("", max_length=10)
    from_: str = Field("", alias="from", max_length=10)
    to: str = Field("", max_length=10)


class ViewForm(ApiModel):
    view: str = Field("page", max_length=10)


class ListQuery(ApiModel):
    q: str | None = Field(None, max_length=10_000)
    status: str | None = Field(None, max_length=20)
    kind: str | None = Field(None, max_length=64)
    priority: str | None = Field(None, max_length=10)
    since: datetime | None = None


# -- views, schedules, links, comparing ------------------------------------------------------------------------------


class ViewFilters(ApiModel):
    """The filters of the task list; what is left out does not filter."""

    q: str | None = Field(None, max_length=200)
    status: Literal[
        "active", "queued", "running", "retrying", "waiting_input", "paused", "completed", "failed", "cancelled", "timed_out"
    ] | None = None  # fmt: skip
    kind: str | None = Field(None, max_length=64)
    priority: Priority | None = None
    from_: date | None = Field(None, alias="from")
    to: date | None = None


class SavedViewIn(ApiModel):
    name: str = Field(min_length=1, max_length=60)
    filters: ViewFilters


class SavedViewOut(ApiModel):
    id: str
    name: str
    filters: dict[str, str]
    created_at: str


class ScheduleTaskIn(ApiModel):
    """What to start and when: `at` (once) or `cron` (five fields, UTC)."""

    task_type: str = Field(max_length=64)
    task_config: dict[str, Any] = Field(default_factory=dict)
    title: str = Field("", max_length=300)
    priority: Priority = "normal"
    at: AwareDatetime | None = None
    cron: str | None = Field(None, max_length=100)
    notify: bool = False


class ScheduleTaskPatch(ApiModel):
    """What is left out stays as it is."""

    task_config: dict[str, Any] | None = None
    title: str | None = Field(None, max_length=300)
    priority: Priority | None = None
    at: AwareDatetime | None = None
    cron: str | None = Field(None, max_length=100)
    notify: bool | None = None


class ScheduleTaskOut(ApiModel):
    id: str
    title: str
    task_type: str
    task_config: dict[str, Any]
    priority: Priority
    cron: str | None
    when: str
    enabled: bool
    notify: bool
    next_at: str | None
    last_at: str | None
    last_task_id: str | None
    last_status: str | None
    error: str | None


class StartedTaskOut(ApiModel):
    task_id: str


class TaskShareOut(ApiModel):
    url: str
    shared_at: str


class CompareQuery(ApiModel):
    a: str = Field(max_length=40)
    b: str = Field(max_length=40)


class PairOut(ApiModel):
    name: str
    a: str
    b: str
    change: str | None = None


class ComparisonOut(ApiModel):
    """`params` are those that differ; `diff` compares the results as texts (unified, a to b)."""

    a: str
    b: str
    task_type: str
    params: list[PairOut]
    same_params: int
    figures: list[PairOut]
    diff: str
    is_cut: bool


class WishIn(ApiModel):
    text: str = Field(min_length=1, max_length=100_000)


class WishOut(ApiModel):
    """`task_type` is null where it could not be told. `unread`: words that nothing was made of."""

    task_type: str | None
    because: str
    task_config: dict[str, Any]
    read: list[dict[str, str]]
    notes: list[str]
    unread: str

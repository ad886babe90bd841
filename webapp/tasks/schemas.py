"""Shapes of the task area on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

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
    """The form of a new task on the page."""

    kind: str = Field("summary", max_length=64)
    title: str = Field("", max_length=300)
    source: str = Field("", max_length=16)
    content: str = ""
    urls: str = Field("", max_length=200_000)
    file: Any = None
    max_length: int = Field(500, ge=10, le=5000)
    priority: Priority = "normal"

    @field_validator("file")
    @classmethod
    def _uploaded(cls, file: Any) -> Any:
        if isinstance(file, str):
            raise ValueError("choose a file")
        return file


class BulkForm(ApiModel):
    action: Literal["cancel", "retry", "delete"]
    ids: list[str] = Field(default_factory=list, max_length=500)


class ViewForm(ApiModel):
    view: str = Field("page", max_length=10)


class ListQuery(ApiModel):
    q: str | None = Field(None, max_length=10_000)
    status: str | None = Field(None, max_length=20)
    kind: str | None = Field(None, max_length=64)
    priority: str | None = Field(None, max_length=10)
    since: datetime | None = None

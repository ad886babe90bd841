"""Shapes of templates on the wire (shapes.md section 5) and of their forms."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from webapp.tasks.schemas import Priority
from webapp.web.api import ApiModel

Whose = Literal["mine", "shipped"]


class TemplateIn(ApiModel):
    """A template: a kind of task, what its configuration begins with, and rules for the whole of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "A page in 150 words",
                    "description": "The gist of one page.",
                    "task_type": "summary",
                    "default_config": {"max_length": 150},
                    "config_schema": {
                        "type": "object",
                        "properties": {"urls": {"type": "array", "minItems": 1, "maxItems": 1}},
                        "required": ["urls"],
                    },
                }
            ]
        }
    )
    name: str = Field(min_length=1, max_length=200)
    task_type: str = Field(max_length=64)
    description: str = Field("", max_length=2000)
    default_config: dict[str, Any] = Field(default_factory=dict)
    config_schema: dict[str, Any] = Field(default_factory=dict, description="JSON Schema of the configuration.")
    is_active: bool = True


class TemplatePatch(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "A page in 100 words", "default_config": {"max_length": 100}}]}
    )
    name: str | None = Field(None, min_length=1, max_length=200)
    task_type: str | None = Field(None, max_length=64)
    description: str | None = Field(None, max_length=2000)
    default_config: dict[str, Any] | None = None
    config_schema: dict[str, Any] | None = None
    is_active: bool | None = None


class TemplateOut(ApiModel):
    """001:85-93. `created_by` is null and `is_shipped` true for those that come with the program."""

    id: str
    name: str
    description: str
    task_type: str
    default_config: dict[str, Any]
    config_schema: dict[str, Any]
    usage_count: int
    is_active: bool
    is_shipped: bool
    created_by: str | None
    created_at: datetime
    updated_at: datetime


class TemplatePage(ApiModel):
    """A page as Django REST framework makes it."""

    count: int
    next: str | None
    previous: str | None
    results: list[TemplateOut]


class TemplateQuery(ApiModel):
    page: int = Field(1, ge=1, le=100_000)
    page_size: int = Field(50, ge=1, le=200)
    task_type: str | None = Field(None, max_length=64)
    search: str | None = Field(None, max_length=10_000)
    whose: Whose | None = Field(None, description="mine: own ones only; shipped: those of the program only.")
    is_active: bool | None = None
    ordering: Literal["-usage_count", "name", "-created_at"] = "-usage_count"


class PopularQuery(ApiModel):
    limit: int = Field(10, ge=1, le=100)


class UseIn(ApiModel):
    """`task_config` is laid over the template's defaults, field by field."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"title": "News of today", "task_config": {"urls": ["https://example.org/news"]}}]
        }
    )
    title: str = Field("", max_length=300)
    task_config: dict[str, Any] = Field(default_factory=dict)
    priority: Priority = "normal"


class CheckIn(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"task_type": "summary", "task_config": {"content": "A text.", "max_length": 50}}]
        }
    )
    task_type: str = Field(max_length=64)
    task_config: dict[str, Any] = Field(default_factory=dict)
    template_id: str | None = Field(None, max_length=64)


class Mistake(ApiModel):
    path: str
    message: str


class CheckOut(ApiModel):
    valid: bool
    errors: list[Mistake]
    normalized_config: dict[str, Any] | None


class FromTaskIn(ApiModel):
    task_id: str = Field(max_length=64)
    name: str = Field("", max_length=200, description="The task's title when empty.")
    description: str = Field("", max_length=2000)


class ExportQuery(ApiModel):
    ids: list[str] = Field(default_factory=list, max_length=500, description="All own ones when none is named.")


class ExportOut(ApiModel):
    format: Literal["brainstem-task-templates"]
    version: Literal[1]
    exported_at: str
    templates: list[dict[str, Any]]


class ImportIn(ApiModel):
    """What export wrote."""

    model_config = ConfigDict(extra="allow")
    format: str = Field(max_length=100)
    version: int
    templates: list[Any] = Field(max_length=10_000)


class ImportOut(ApiModel):
    created: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    failed: list[dict[str, Any]]


# -- forms -----------------------------------------------------------------------------------------------------------


class TemplateForm(ApiModel):
    name: str = Field("", max_length=200)
    task_type: str = Field("", max_length=64)
    description: str = Field("", max_length=2000)
    default_config: str = Field("", max_length=70_000)
    config_schema: str = Field("", max_length=70_000)
    is_active: bool = False


class DraftForm(ApiModel):
    """The form of a new task; the kind's own fields are read by its schema."""

    kind: str = Field("summary", max_length=64)
    title: str = Field("", max_length=300)


class ImportForm(ApiModel):
    file: Any = Field(None, validate_default=True)

    @field_validator("file")
    @classmethod
    def _uploaded(cls, file: Any) -> Any:
        if file is None or isinstance(file, str):
            raise ValueError("choose a file")
        return file

"""Bodies of the models' endpoints and forms of their page."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from webapp.web.api import ApiModel


class SelectNeeds(ApiModel):
    vision_capable: bool = False
    min_performance_score: float | None = Field(None, ge=0, le=1)


class SelectIn(ApiModel):
    task_type: str = Field(max_length=40, min_length=1)
    content_type: str = Field("text", max_length=100)
    priority: Literal["quality", "speed", "balanced", "cost"] = "balanced"
    max_tokens: int | None = Field(None, ge=1, le=10_000_000)
    requirements: SelectNeeds = Field(default_factory=lambda: SelectNeeds(min_performance_score=None))


class SelectOut(ApiModel):
    selected_model: str
    model_info: dict[str, Any]
    fallback_models: list[str]
    selection_reason: str
    selection_time_ms: float


class AvailableOut(ApiModel):
    models: list[dict[str, Any]]
    defaults: dict[str, str]
    default_model: str | None


class PerformanceQuery(ApiModel):
    task_type: str | None = Field(None, max_length=40)
    limit: int = Field(100, ge=1, le=1000)


class MetricOut(ApiModel):
    model_name: str
    task_type: str
    total_requests: int
    success_rate: float | None
    average_response_time_ms: float | None
    average_tokens_per_second: float | None
    performance_score: float | None
    last_updated: str | None


class PerformanceOut(ApiModel):
    metrics: list[MetricOut]


class StatsOut(ApiModel):
    model_name: str
    model_info: dict[str, Any]
    total_requests: int
    succeeded: int
    failed: int
    cancelled: int
    success_rate: float | None
    average_response_time_ms: float | None
    average_first_token_ms: float | None
    average_tokens_per_second: float | None
    total_tokens: int
    performance_score: float | None
    last_used: str | None
    by_task_type: list[MetricOut]


class ModelRefreshOut(ApiModel):
    status: str
    models_available: int
    models: list[str]
    unreachable: list[dict[str, Any]]


class ModelOut(ApiModel):
    name: str
    size: int | None
    modified_at: str | None
    digest: str | None


class ModelsOut(ApiModel):
    models: list[ModelOut]


class NamesOut(ApiModel):
    models: list[str]


class ModelHealthOut(ApiModel):
    status: str
    models_available: int
    default_model: str | None
    servers: list[dict[str, Any]]


class PullOut(ApiModel):
    status: str
    model: str
    task_id: str


# -- forms -----------------------------------------------------------------------------------------------------------


class ServerForm(BaseModel):
    name: str = Field(min_length=1, max_length=40)
    url: str = Field(min_length=1, max_length=500)
    key: str = Field("", max_length=1000)


class PullForm(BaseModel):
    model: str = Field(min_length=1, max_length=300)
    server: str = Field("", max_length=40)


class DefaultForm(BaseModel):
    task_type: str = Field("", max_length=40)
    model: str = Field("", max_length=200)


class TryForm(BaseModel):
    prompt: str = Field(min_length=1, max_length=4000)
    model: str = Field("", max_length=200)


class ModelForm(BaseModel):
    model: str = Field(min_length=1, max_length=200)

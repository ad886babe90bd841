"""Shapes of statistics on the wire. Times are seconds, rates shares of the tasks that ended by themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from webapp.web.api import ApiModel


class TaskStatistics(ApiModel):
    """001:310-311; shapes.md section 5."""

    total_tasks: int
    by_status: dict[str, int]
    by_type: dict[str, int]
    success_rate: float | None
    average_duration_seconds: float | None
    tasks_today: int
    active_tasks: int
    popular_templates: list[dict[str, Any]]


class ReportQuery(ApiModel):
    range: str = Field("", max_length=10, description="24h, 7d, 30d or 90d; 7d when nothing is said.")
    first: str = Field("", max_length=10, description="Instead of a range: the first day, as 2026-01-31.")
    last: str = Field("", max_length=10, description="The last day, included.")
    everyone: bool = Field(False, description="Of all people; for administrators.")
    kind: str | None = Field(None, max_length=64)


class FiguresOut(ApiModel):
    name: str
    label: str
    ended: int
    by_status: dict[str, int]
    success_rate: float | None
    error_rate: float | None
    average_seconds: float | None
    duration_seconds: dict[str, float | None] = Field(description="p50, p90 and p99.")
    average_wait_seconds: float | None
    waiting: int
    running: int


class SlotOut(ApiModel):
    at: datetime
    completed: int
    failed: int
    cancelled: int
    average_seconds: float | None
    average_wait_seconds: float | None


class ReportOut(ApiModel):
    scope: str
    since: datetime
    until: datetime
    total: FiguresOut
    wait_seconds: dict[str, float | None] = Field(description="In the queue, of all: p50, p90 and p99.")
    kinds: list[FiguresOut]
    agents: list[FiguresOut]
    over_time: list[SlotOut]

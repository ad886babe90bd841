"""Ranges people choose, and names for what the statistics count by id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from webapp.agents import service as agents
from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.core.errors import BadRequest
from webapp.task_templates import service as task_templates
from webapp.tasks import statistics
from webapp.tasks.statistics import Report

RANGES = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
DEFAULT = "7d"


@dataclass(frozen=True)
class Range:
    """name: one of RANGES, or "" for days of one's own."""

    name: str
    since: datetime
    until: datetime


def chosen(name: str = "", first: str = "", last: str = "", now: datetime | None = None) -> Range:
    """The range of whole hours or days that a name means, or the days `first` to `last` (2026-01-31), both included.

    Raises BadRequest for what is neither.
    """
    if first or last:
        until = _day(last or (now or utcnow()).strftime("%Y-%m-%d")) + timedelta(days=1)
        return Range("", _day(first) if first else until - timedelta(days=30), until)
    name = name or DEFAULT
    if name not in RANGES:
        raise BadRequest(f"range: use one of {', '.join(RANGES)}", code="invalid_value")
    now = (now or utcnow()).astimezone(UTC)
    if name == "24h":
        until = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        return Range(name, until - timedelta(hours=24), until)
    until = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return Range(name, until - timedelta(days=int(name[:-1])), until)


def _day(text: str) -> datetime:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise BadRequest("dates are written as 2026-01-31", code="invalid_value") from None
    if not 2000 <= day.year < 3000:
        raise BadRequest("there is nothing to count in that year", code="invalid_value")
    return day


def of_tasks(ctx: Ctx, wanted: Range, *, everyone: bool = False, kind: str | None = None) -> Report:
    """Statistics of the caller's tasks, or, for administrators who ask for it, of everybody's."""
    return statistics.report(ctx, wanted.since, wanted.until, everyone=everyone, kind=kind)


def agent_names(ctx: Ctx, found: Report) -> dict[str, str]:
    """agent id or key -> its name, of those in the report that the caller may see."""
    if not found.agents:
        return {}
    seen = agents.list_(ctx, active_only=False)
    return {ident: agent.name for agent in seen for ident in (agent.id, agent.key) if ident}


def summary(ctx: Ctx) -> dict[str, Any]:
    """ECEEE's task-statistics, with the templates used most."""
    popular = [{"id": row.id, "name": row.name, "task_type": row.task_type, "usage_count": row.usage_count}
               for row in task_templates.popular(ctx, 5) if row.usage_count]  # fmt: skip
    return statistics.summary(ctx) | {"popular_templates": popular}

"""Endpoints of statistics.

ECEEE v4:  /api/v1/utils/task-statistics/
Ours:      /api/v1/insight/tasks
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.insight import service
from webapp.insight.schemas import FiguresOut, ReportOut, ReportQuery, SlotOut, TaskStatistics
from webapp.tasks.statistics import Figures, Slot
from webapp.tasks.views import kind_label
from webapp.web.api import Api

eceee = Api("eceee_statistics", "/api/v1/utils", tag="AI tasks (ECEEE v4)", dialect="eceee")
api = Api("insight", "/api/v1/insight", tag="Insight")

PERCENTILES = (50, 90, 99)


@eceee.get("/task-statistics/", auth="tasks:read", returns=TaskStatistics)
def task_statistics(ctx: Ctx) -> Any:
    """Counts, success rate and average duration of one's own tasks."""
    return service.summary(ctx)


@api.get("/tasks", auth="tasks:read", query=ReportQuery, returns=ReportOut)
def report(ctx: Ctx, query: ReportQuery) -> Any:
    """How tasks went in a range of time: outcomes, durations and waits by kind, by agent and over time."""
    wanted = service.chosen(query.range, query.first, query.last)
    found = service.of_tasks(ctx, wanted, everyone=query.everyone, kind=query.kind)
    names = service.agent_names(ctx, found)
    return ReportOut(
        scope="all" if found.everyone else "own",
        since=found.since,
        until=found.until,
        total=_figures(found.total, "All tasks"),
        wait_seconds={f"p{percent}": found.wait(percent) for percent in PERCENTILES},
        kinds=[_figures(one, kind_label(one.name)) for one in found.kinds],
        agents=[_figures(one, names.get(one.name, one.name)) for one in found.agents],
        over_time=[_slot(slot) for slot in found.slots],
    )


def _figures(one: Figures, label: str) -> FiguresOut:
    return FiguresOut(
        name=one.name,
        label=label,
        ended=one.ended,
        by_status=dict(one.by_status),
        success_rate=_short(one.success_rate),
        error_rate=_short(one.error_rate),
        average_seconds=_short(one.average),
        duration_seconds={f"p{percent}": one.duration(percent) for percent in PERCENTILES},
        average_wait_seconds=_short(one.average_wait),
        waiting=one.waiting,
        running=one.running,
    )


def _slot(slot: Slot) -> SlotOut:
    return SlotOut(
        at=slot.at,
        completed=slot.by_status["completed"],
        failed=slot.failed,
        cancelled=slot.by_status["cancelled"],
        average_seconds=_short(slot.average),
        average_wait_seconds=_short(slot.average_wait),
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


APIS = [eceee, api]

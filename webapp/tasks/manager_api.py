"""Endpoints of what people do with their tasks beside starting them.

/api/v1/tasks/views       saved filters of the list
/api/v1/tasks/schedules   tasks by the clock: once, or by a cron line
/api/v1/tasks/compare     two runs of one kind
/api/v1/tasks/wish        a task in one's own words, read by rules
/api/v1/tasks/{id}/share  a read-only link to a result
"""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Any

from flask import url_for

from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import BadRequest
from webapp.tasks import comparing, forms, saved, schedules, sharing, wishes
from webapp.tasks.models import SavedView
from webapp.tasks.schedules import ScheduleView, When
from webapp.tasks.schemas import (
    CompareQuery,
    ComparisonOut,
    SavedViewIn,
    SavedViewOut,
    ScheduleTaskIn,
    ScheduleTaskOut,
    ScheduleTaskPatch,
    StartedTaskOut,
    TaskShareOut,
    WishIn,
    WishOut,
)
from webapp.web.api import Api

manager = Api("task_manager", "/api/v1/tasks", tag="Tasks")
READ, WRITE = "tasks:read", "tasks:write"


# -- saved views -----------------------------------------------------------------------------------------------------


@manager.get("/views", auth=READ, returns=list[SavedViewOut])
def list_views(ctx: Ctx) -> Any:
    """The caller's saved filters of the list, by name."""
    return [_view(row) for row in saved.list_(ctx)]


@manager.post("/views", auth=WRITE, body=SavedViewIn, returns=SavedViewOut, status=201, errors=(409,))
def save_view(ctx: Ctx, body: SavedViewIn) -> Any:
    """Keep filters under a name; one of that name is replaced."""
    filters = body.filters.model_dump(mode="json", by_alias=True, exclude_none=True)
    return _view(saved.save(ctx, body.name, filters))


@manager.delete("/views/<view_id>", auth=WRITE, status=204, errors=(404,))
def delete_view(ctx: Ctx, view_id: str) -> None:
    """Forget a saved view; the tasks stay."""
    saved.remove(ctx, view_id)


def _view(row: SavedView) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "filters": row.filters, "created_at": iso(row.created_at)}


# -- schedules -------------------------------------------------------------------------------------------------------


@manager.get("/schedules", auth=READ, returns=list[ScheduleTaskOut])
def list_schedules(ctx: Ctx) -> Any:
    """The caller's schedules, those that run next first."""
    return [_schedule(one) for one in schedules.list_(ctx)]


@manager.post("/schedules", auth=WRITE, body=ScheduleTaskIn, returns=ScheduleTaskOut, status=201, errors=(404, 409))
def add_schedule(ctx: Ctx, body: ScheduleTaskIn) -> Any:
    """Start a task once `at` a time, or again and again by a `cron` line (UTC). Its configuration is checked now."""
    made = schedules.add(ctx, body.task_type, body.task_config, _when(body), title=body.title, priority=body.priority,
                         notify=body.notify)  # fmt: skip
    return _schedule(made)


@manager.get("/schedules/<schedule_id>", auth=READ, returns=ScheduleTaskOut, errors=(404,))
def get_schedule(ctx: Ctx, schedule_id: str) -> Any:
    """One schedule, with what its last run came to."""
    return _schedule(schedules.get(ctx, schedule_id))


@manager.patch("/schedules/<schedule_id>", auth=WRITE, body=ScheduleTaskPatch, returns=ScheduleTaskOut, errors=(404,))
def change_schedule(ctx: Ctx, schedule_id: str, body: ScheduleTaskPatch) -> Any:
    """Change what is started, or when."""
    old = schedules.get(ctx, schedule_id)
    keeps_time = body.at is None and body.cron is None
    made = schedules.change(
        ctx, old.id, old.kind, old.params if body.task_config is None else body.task_config,
        None if keeps_time else _when(body),
        title=old.title if body.title is None else body.title, priority=body.priority or old.priority,
        notify=old.notify if body.notify is None else body.notify,
    )  # fmt: skip
    return _schedule(made)


@manager.delete("/schedules/<schedule_id>", auth=WRITE, status=204, errors=(404,))
def delete_schedule(ctx: Ctx, schedule_id: str) -> None:
    """Start nothing from it any more; tasks it has started stay."""
    schedules.remove(ctx, schedule_id)


@manager.post("/schedules/<schedule_id>/pause", auth=WRITE, returns=ScheduleTaskOut, errors=(404, 409))
def pause_schedule(ctx: Ctx, schedule_id: str) -> Any:
    """Start nothing until it is resumed; what it misses is not made up."""
    return _schedule(schedules.pause(ctx, schedule_id))


@manager.post("/schedules/<schedule_id>/resume", auth=WRITE, returns=ScheduleTaskOut, errors=(404, 409))
def resume_schedule(ctx: Ctx, schedule_id: str) -> Any:
    """Go on from its next time."""
    return _schedule(schedules.resume(ctx, schedule_id))


@manager.post("/schedules/<schedule_id>/run", auth=WRITE, returns=StartedTaskOut, status=202, errors=(404,))
def run_schedule(ctx: Ctx, schedule_id: str) -> Any:
    """Start its task now, beside its times."""
    return {"task_id": schedules.run(ctx, schedule_id)}


def _when(body: ScheduleTaskIn | ScheduleTaskPatch) -> When:
    if (body.at is None) == (body.cron is None):
        raise BadRequest("give either `at` or `cron`", code="invalid_schedule",
                         details=[{"loc": ["cron"], "msg": "give either at or cron", "type": "invalid_schedule"}])  # fmt: skip
    return When(at=body.at, cron=schedules.cron_of("cron", "", body.cron) if body.cron is not None else None)


def _schedule(one: ScheduleView) -> dict[str, Any]:
    out = asdict(one) | {"task_type": one.kind, "task_config": one.params}
    out |= {"next_at": iso(one.next_at), "last_at": iso(one.last_at)}
    return {name: out[name] for name in ScheduleTaskOut.model_fields}


# -- links, comparing, words -----------------------------------------------------------------------------------------


@manager.post("/<task_id>/share", auth=WRITE, returns=TaskShareOut, errors=(404, 409))
def share_task(ctx: Ctx, task_id: str) -> Any:
    """Make a read-only link to the result, for whoever has it; the same one as long as it is not taken back."""
    row = sharing.share(ctx, task_id)
    return {"url": url_for("tasks_pages.shared", token=row.token, _external=True), "shared_at": iso(row.shared_at)}


@manager.delete("/<task_id>/share", auth=WRITE, status=204, errors=(404,))
def unshare_task(ctx: Ctx, task_id: str) -> None:
    """Take the link back: it leads nowhere any more."""
    sharing.unshare(ctx, task_id)


@manager.get("/compare", auth=READ, query=CompareQuery, returns=ComparisonOut, errors=(404,))
def compare_tasks(ctx: Ctx, query: CompareQuery) -> Any:
    """Two finished tasks of one kind: parameters that differ, figures with their change, and the results as texts."""
    found = comparing.compare(ctx, query.a, query.b)
    diff = difflib.unified_diff(found.text_a.splitlines(), found.text_b.splitlines(), "a", "b", lineterm="")
    return {"a": found.a.id, "b": found.b.id, "task_type": found.a.kind, "params": [asdict(one) for one in found.params],
            "same_params": found.same_params, "figures": [asdict(one) for one in found.figures], "diff": "\n".join(diff),
            "is_cut": found.is_cut}  # fmt: skip


@manager.post("/wish", auth=READ, body=WishIn, returns=WishOut, write=False)
def read_wish(ctx: Ctx, body: WishIn) -> Any:
    """What can be told by rules from somebody's own words: kind and configuration. Nothing is started."""
    found = wishes.read(body.text)
    params: dict[str, Any] = {}
    if found.kind is not None:
        params, _ = forms.params_of(forms.fields_of(found.kind), found.raw)
    return {"task_type": found.kind.name if found.kind else None, "because": found.because, "task_config": params,
            "read": [{"name": name, "value": value} for name, value in found.read], "notes": found.notes,
            "unread": found.unread}  # fmt: skip

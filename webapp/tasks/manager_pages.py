"""Pages of what people do with their tasks: saved views, schedules, comparing two runs, sharing a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flask import Response, flash, make_response, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError, BadRequest
from webapp.tasks import comparing, forms, saved, schedules, service, sharing
from webapp.tasks.door import READ, WRITE, pages, to
from webapp.tasks.kinds import known
from webapp.tasks.models import Task
from webapp.tasks.schemas import SaveViewForm
from webapp.tasks.views import kind_label, view
from webapp.web.page import BoundForm, render

OTHERS = 30  # finished tasks of a kind that are offered for comparing

# -- saved views -----------------------------------------------------------------------------------------------------


@pages.post("/tasks/views", auth=WRITE, form=SaveViewForm)
def save_view(ctx: Ctx, form: BoundForm) -> Any:
    filters = {name: form.values.get(name, "") for name in saved.FILTERS}
    back = url_for("tasks_pages.index", **{name: value for name, value in filters.items() if value})

    def act() -> str:
        if not form.ok:
            raise BadRequest("that name or filter is too long")
        return f"The view “{saved.save(ctx, form.data.name, filters).name}” is kept."

    return _do(ctx, act, back)


@pages.post("/tasks/views/<view_id>/delete", auth=WRITE)
def delete_view(ctx: Ctx, view_id: str) -> Any:
    saved.remove(ctx, view_id)
    flash("The view was deleted; its tasks are all there.", "info")
    return to(url_for("tasks_pages.index"))


# -- schedules -------------------------------------------------------------------------------------------------------


@pages.get("/tasks/schedules", auth=READ)
def schedule_list(ctx: Ctx) -> Any:
    rows = schedules.list_(ctx)
    return render("tasks/schedules.html", schedules=rows, labels={one.kind: kind_label(one.kind) for one in rows})


@pages.post("/tasks/schedules/<schedule_id>/pause", auth=WRITE)
def pause_schedule(ctx: Ctx, schedule_id: str) -> Any:
    return _steer(ctx, lambda: f"“{schedules.pause(ctx, schedule_id).title}” is paused.")


@pages.post("/tasks/schedules/<schedule_id>/resume", auth=WRITE)
def resume_schedule(ctx: Ctx, schedule_id: str) -> Any:
    return _steer(ctx, lambda: f"“{schedules.resume(ctx, schedule_id).title}” goes on.")


@pages.post("/tasks/schedules/<schedule_id>/run", auth=WRITE)
def run_schedule(ctx: Ctx, schedule_id: str) -> Any:
    def act() -> str:
        schedules.run(ctx, schedule_id)
        return "Its task was put into the queue."

    return _steer(ctx, act)


@pages.post("/tasks/schedules/<schedule_id>/delete", auth=WRITE)
def delete_schedule(ctx: Ctx, schedule_id: str) -> Any:
    def act() -> str:
        schedules.remove(ctx, schedule_id)
        return "The schedule was deleted; tasks it has started are still there."

    return _steer(ctx, act)


def _steer(ctx: Ctx, act: Callable[[], str]) -> Response:
    return _do(ctx, act, url_for("tasks_pages.schedule_list"))


def _do(ctx: Ctx, act: Callable[[], str], back: str) -> Response:
    """Do it, then go back and say what came of it."""
    try:
        with ctx.db.begin_nested():
            message, tone = act(), "success"
    except AppError as exc:
        if exc.status == 404:
            raise
        message, tone = f"{exc.message[:1].upper()}{exc.message[1:]}. {exc.suggestion or ''}".strip(), "warning"
    flash(message, tone)
    return to(back)


# -- comparing -------------------------------------------------------------------------------------------------------


@pages.get("/tasks/compare", auth=READ)
def compare(ctx: Ctx) -> Any:
    """Two runs side by side; with one alone, the others it can be compared with."""
    a, b = request.args.get("a", "")[:40], request.args.get("b", "")[:40]
    if not b:
        task = service.get(ctx, a)
        return render("tasks/compare_with.html", task=view(task), others=[view(one) for one in _others(ctx, task)])
    found = comparing.compare(ctx, a, b)
    kind = known(found.a.kind)
    titles = {one.name.replace("_", " "): one.label for one in forms.fields_of(kind)} if kind else {}
    return render("tasks/compare.html", found=found, a=view(found.a), b=view(found.b), titles=titles)


def _others(ctx: Ctx, task: Task) -> list[Task]:
    rows = service.list_(ctx, kind=task.kind, status="completed", limit=OTHERS + 1).items
    return [row for row in rows if row.id != task.id][:OTHERS]


# -- sharing ---------------------------------------------------------------------------------------------------------


@pages.post("/tasks/<task_id>/share", auth=WRITE)
def share(ctx: Ctx, task_id: str) -> Any:
    def act() -> str:
        sharing.share(ctx, task_id)
        return "Whoever has the link can read the result now."

    return _do(ctx, act, url_for("tasks_pages.show", task_id=task_id) + "#share")


@pages.post("/tasks/<task_id>/unshare", auth=WRITE)
def unshare(ctx: Ctx, task_id: str) -> Any:
    sharing.unshare(ctx, task_id)
    flash("The link leads nowhere any more.", "info")
    return to(url_for("tasks_pages.show", task_id=task_id))


@pages.get("/shared/task/<token>", auth="public", limit="120/minute")
def shared(ctx: Ctx, token: str) -> Any:
    """For whoever has the link: the result, and no way into anything else."""
    task = sharing.shared(ctx.db, token)
    shown = replace(view(task), can_cancel=False, can_retry=False, can_delete=False, downloads=())
    response = make_response(render("tasks/shared.html", task=shown, result=task.result, bare=True))
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response

"""Pages of tasks: the list, one, and the fragments that poll and push share with them; `new_pages` has the forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, current_app, flash, make_response, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import BadRequest
from webapp.tasks import forms, live, manager_pages, saved, service, sharing
from webapp.tasks.door import READ, WRITE, kinds_shown, pages, to
from webapp.tasks.kinds import AS_JSON, known
from webapp.tasks.live_page import PageFeed
from webapp.tasks.models import STATUSES
from webapp.tasks.new_pages import accepted
from webapp.tasks.schemas import BulkForm, ViewForm
from webapp.tasks.views import view
from webapp.web.live import hub, open_stream
from webapp.web.page import BoundForm, is_htmx, render, toast

__all__ = ["accepted", "manager_pages", "pages", "sockets"]  # the others stand on the same blueprint
STOP_POLLING = 286  # htmx: swap this, then ask no more


@pages.get("/tasks", auth=READ)
def index(ctx: Ctx) -> Any:
    filters = {name: request.args.get(name, "")[:200] for name in ("q", "status", "kind", "priority", "from", "to")}
    page = service.list_(
        ctx,
        status=filters["status"] or None,
        kind=filters["kind"] or None,
        priority=filters["priority"] or None,
        q=filters["q"] or None,
        since=_day(filters["from"]),
        until=_day(filters["to"], end=True),
        cursor=request.args.get("cursor"),
        limit=50,
    )
    shown = {"items": [view(task) for task in page.items], "next_cursor": page.next_cursor,
             "prev_cursor": page.prev_cursor}  # fmt: skip
    return render("tasks/index.html", page=shown, filters=filters, kinds=kinds_shown(), statuses=list(STATUSES),
                  counts=service.counts(ctx), views=saved.list_(ctx))  # fmt: skip


def _day(text: str, *, end: bool = False) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return day + timedelta(days=1) if end else day
    except (ValueError, OverflowError):
        raise BadRequest("dates are written as 2026-01-31") from None


@pages.get("/tasks/<task_id>", auth=READ)
def show(ctx: Ctx, task_id: str) -> Any:
    task = service.get(ctx, task_id)
    events = service.events(ctx, task, limit=1000)
    kind = known(task.kind)
    asked = kind and forms.facts(forms.fields_of(kind), {**task.params, "collection_id": None})
    return render("tasks/show.html", task=view(task, ctx.user.username), events=events, result=task.result, asked=asked or [],
                  share=sharing.of(ctx, task), offered=kind is not None and kind.offered and not kind.hidden)  # fmt: skip


@pages.get("/tasks/<task_id>/status", auth=READ)
def status_fragment(ctx: Ctx, task_id: str) -> Any:
    return _fragment(ctx, task_id, "status")


@pages.get("/tasks/<task_id>/row", auth=READ)
def row_fragment(ctx: Ctx, task_id: str) -> Any:
    return _fragment(ctx, task_id, "row")


def _fragment(ctx: Ctx, task_id: str, name: str) -> Response:
    task = service.get(ctx, task_id)
    html = render(f"tasks/_{name}.html", task=view(task))
    return make_response(html, STOP_POLLING if task.is_final else 200)


@pages.post("/tasks/<task_id>/cancel", auth=WRITE, form=ViewForm)
def cancel(ctx: Ctx, task_id: str, form: BoundForm) -> Any:
    service.cancel(ctx, task_id)
    return _after(ctx, task_id, form, "Cancelling")


@pages.post("/tasks/<task_id>/retry", auth=WRITE, form=ViewForm)
def retry(ctx: Ctx, task_id: str, form: BoundForm) -> Any:
    service.retry(ctx, task_id)
    return _after(ctx, task_id, form, "Queued again")


def _after(ctx: Ctx, task_id: str, form: BoundForm, message: str) -> Any:
    """htmx gets the fragment it asked from, everybody else the page."""
    name = form.data.view if form.ok else "page"
    if is_htmx() and name in ("status", "row"):
        task = service.get(ctx, task_id)
        return toast(make_response(render(f"tasks/_{name}.html", task=view(task))), message)
    flash(message + ".", "info")
    return to(url_for("tasks_pages.show", task_id=task_id))


@pages.post("/tasks/<task_id>/delete", auth=WRITE)
def delete(ctx: Ctx, task_id: str) -> Any:
    service.remove(ctx, task_id)
    flash("The task was deleted.", "info")
    return to(url_for("tasks_pages.index"))


@pages.post("/tasks/bulk", auth=WRITE, form=BulkForm)
def bulk(ctx: Ctx, form: BoundForm) -> Any:
    if not form.ok or not form.data.ids:
        flash("Choose at least one task first.", "warning")
        return to(url_for("tasks_pages.index"))
    if form.data.action == "compare":
        if len(form.data.ids) == 2:  # the older one first
            a, b = sorted(form.data.ids)
            return to(url_for("tasks_pages.compare", a=a, b=b))
        flash("Choose two tasks of the same kind to compare them.", "warning")
        return to(url_for("tasks_pages.index"))
    answer = service.bulk(ctx, form.data.action, form.data.ids)
    verb = {"cancel": "stopped", "retry": "queued again", "delete": "deleted"}[form.data.action]
    if answer["done"]:
        flash(f"{len(answer['done'])} {'task' if len(answer['done']) == 1 else 'tasks'} {verb}.", "info")
    if answer["failed"]:
        flash(f"{len(answer['failed'])} left as they were: {answer['failed'][0]['error']}.", "warning")
    return to(url_for("tasks_pages.index"))


@pages.get("/tasks/<task_id>/download.<fmt>", auth=READ)
def download(ctx: Ctx, task_id: str, fmt: str) -> Any:
    """The result as JSON or in a form of its kind, always as an attachment."""
    task = service.get(ctx, task_id)
    kind = known(task.kind)
    ways = kind.ways_out() if kind else {"json": AS_JSON}
    made = ways.get(fmt)
    if made is None or task.result is None:
        raise BadRequest("there is no such download",
                         suggestion=f"Wait until the task is done; there is {', '.join(ways)}.")  # fmt: skip
    response = Response(made.make(task.title, task.result), content_type=made.media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="task-{task.id}.{fmt}"'
    response.headers["Content-Security-Policy"] = "sandbox"
    return response


# -- live ------------------------------------------------------------------------------------------------------------


@pages.get("/live/stream", auth="events:read")
def live_stream(ctx: Ctx) -> Any:
    """The second rung of the ladder: the same frames as the WebSocket, as server-sent events."""
    topics = request.args.get("topics", "")[:20_000]
    feed = PageFeed(hub(), ctx, topics, current_app.extensions["draw"], "sse")
    return open_stream(ctx.user, feed)


def sockets(sock: Any) -> None:
    """The documented WebSockets, and the one of our own pages."""
    sock.live("/ws/tasks/", lambda ctx: live.UserFeed(hub(), ctx))
    sock.live("/ws/tasks/<task_id>", lambda ctx, task_id: live.TaskFeed(hub(), ctx, task_id, _after_arg()), app_ping=90)
    sock.live("/ws/logs", lambda ctx: live.LogFeed(hub(), ctx, **_log_args()), app_ping=90)
    sock.live(
        "/ws/live",
        lambda ctx: PageFeed(
            hub(), ctx, request.args.get("topics", "")[:20_000], current_app.extensions["draw"], "websocket"
        ),
    )


def _after_arg() -> int | None:
    return live.number(request.args.get("after", ""))


def _log_args() -> dict[str, str | None]:
    return {name: request.args.get(name) or None for name in ("task_id", "level", "agent_id")}

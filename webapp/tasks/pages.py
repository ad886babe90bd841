"""Pages of tasks: list, new, one, and the fragments that poll and push share with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, current_app, flash, make_response, redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError, BadRequest
from webapp.tasks import live, service
from webapp.tasks.kinds import kinds
from webapp.tasks.models import STATUSES
from webapp.tasks.schemas import BulkForm, PageTaskForm, ViewForm
from webapp.tasks.views import view
from webapp.web.live import hub, open_stream
from webapp.web.page import BoundForm, Pages, is_htmx, render, toast

pages = Pages("tasks_pages")
READ, WRITE = "tasks:read", "tasks:write"
FIELDS = ("content", "urls", "file", "title", "max_length", "priority")  # of the form, which show their own mistakes
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
    return render("tasks/index.html", page=shown, filters=filters, kinds=_kinds(), statuses=list(STATUSES),
                  counts=service.counts(ctx))  # fmt: skip


def _day(text: str, *, end: bool = False) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return day + timedelta(days=1) if end else day
    except (ValueError, OverflowError):
        raise BadRequest("dates are written as 2026-01-31") from None


@pages.get("/tasks/new", auth=WRITE)
def new(ctx: Ctx) -> Any:
    values = {name: request.args.get(name, "")[:5000] for name in ("content", "urls", "title") if name in request.args}
    return _form(ctx, {"values": values, "errors": {}})


def _form(ctx: Ctx, form: dict[str, Any], status: int = 200) -> Any:
    html = render("tasks/new.html", form=form, kinds=_kinds(offered=True), accepted=accepted(),
                  max_upload_mb=ctx.rt.settings.max_upload_mb)  # fmt: skip
    return make_response(html, status)


def accepted() -> str:
    return ".txt,.md,.html,.htm,.pdf,.docx"


def _kinds(*, offered: bool = False) -> list[dict[str, str]]:
    return [{"name": kind.name, "label": kind.label} for _, kind in kinds.all()
            if not kind.hidden and (kind.offered or not offered)]  # fmt: skip


@pages.post("/tasks", auth=WRITE, form=PageTaskForm)
def create(ctx: Ctx, form: BoundForm) -> Any:
    """Start what the form says; on any mistake the form comes back with its input and the reason beside the field."""
    if form.ok:
        try:
            values = _start(ctx, form)
        except AppError as exc:
            ctx.db.rollback()
            _blame(form, exc)
        else:
            return _to(url_for("tasks_pages.show", task_id=values["id"]))
    return _form(ctx, form.view(), 422)


def _start(ctx: Ctx, form: BoundForm) -> dict[str, Any]:
    data: PageTaskForm = form.data
    params: dict[str, Any] = {"max_length": data.max_length}
    content, urls = data.content.strip(), data.urls.split()
    if not urls and content and all(line.strip().startswith(("http://", "https://")) for line in content.split()):
        content, urls = "", content.split()  # links pasted where text goes
    if data.source in ("", "text") and content:
        params["content"] = data.content
    if data.source in ("", "urls", "text") and urls:
        params["urls"] = urls
    if data.file is not None and data.source in ("", "file"):
        params["upload_ids"] = [_keep(ctx, data.file).id]
    title = data.title.strip() or _title(params, data.file)
    return service.start(ctx, data.kind, params, title=title, priority=data.priority, interactive=True, asked=True)


def _keep(ctx: Ctx, given: Any) -> Any:
    from webapp.files import service as files

    try:
        return files.store(ctx, given.stream, given.filename or "", given.mimetype)
    except AppError as exc:
        exc.details = [{"loc": ["file"], "msg": exc.message, "type": exc.code}]
        raise


def _title(params: dict[str, Any], given: Any) -> str:
    if params.get("content"):
        first = params["content"].strip().splitlines()[0].lstrip("#> ").strip()
        return first[:80] + ("…" if len(first) > 80 else "")
    if params.get("urls"):
        more = len(params["urls"]) - 1
        return params["urls"][0].split("://", 1)[-1][:80] + (f" and {more} more" if more else "")
    return str(given.filename)[:80] if given is not None else ""


def _blame(form: BoundForm, exc: AppError) -> None:
    text = f"{exc.message} {exc.suggestion}" if exc.suggestion else exc.message
    for detail in exc.details or [{"loc": [""], "msg": text}]:
        name = str(detail["loc"][0]) if detail["loc"] else ""
        name = {"upload_ids": "file"}.get(name, name)
        form.fail(name if name in FIELDS else "", detail["msg"])  # what has no field is said above them all


@pages.get("/tasks/<task_id>", auth=READ)
def show(ctx: Ctx, task_id: str) -> Any:
    task = service.get(ctx, task_id)
    events = service.events(ctx, task, limit=1000)
    return render("tasks/show.html", task=view(task, ctx.user.username), events=events, result=task.result)


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
    return _to(url_for("tasks_pages.show", task_id=task_id))


@pages.post("/tasks/<task_id>/delete", auth=WRITE)
def delete(ctx: Ctx, task_id: str) -> Any:
    service.remove(ctx, task_id)
    flash("The task was deleted.", "info")
    return _to(url_for("tasks_pages.index"))


@pages.post("/tasks/bulk", auth=WRITE, form=BulkForm)
def bulk(ctx: Ctx, form: BoundForm) -> Any:
    if not form.ok or not form.data.ids:
        flash("Choose at least one task first.", "warning")
        return _to(url_for("tasks_pages.index"))
    answer = service.bulk(ctx, form.data.action, form.data.ids)
    verb = {"cancel": "stopped", "retry": "queued again", "delete": "deleted"}[form.data.action]
    if answer["done"]:
        flash(f"{len(answer['done'])} {'task' if len(answer['done']) == 1 else 'tasks'} {verb}.", "info")
    if answer["failed"]:
        flash(f"{len(answer['failed'])} left as they were: {answer['failed'][0]['error']}.", "warning")
    return _to(url_for("tasks_pages.index"))


def _to(url: str) -> Response:
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)  # type: ignore[return-value]


@pages.get("/tasks/<task_id>/download.<fmt>", auth=READ)
def download(ctx: Ctx, task_id: str, fmt: str) -> Any:
    """The result as Markdown or JSON, always as an attachment."""
    task = service.get(ctx, task_id)
    if fmt not in ("md", "json") or task.result is None:
        raise BadRequest("there is no such download", suggestion="Wait until the task is done; use md or json.")
    text = markdown(task.title, task.result) if fmt == "md" else json.dumps(task.result, ensure_ascii=False, indent=2)
    kind = "text/markdown" if fmt == "md" else "application/json"
    response = Response(text, content_type=f"{kind}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="task-{task.id}.{fmt}"'
    response.headers["Content-Security-Policy"] = "sandbox"
    return response


def markdown(title: str, result: dict[str, Any]) -> str:
    """A summary with numbered references; any other result as JSON in a code block."""
    if "sentences" not in result:
        return f"# {title}\n\n```json\n{json.dumps(result, ensure_ascii=False, indent=2)}\n```\n"
    names = {source["id"]: source for source in result["sources"]}
    body = " ".join(f"{one['text']} [{one['ref']}]" for one in result["sentences"])
    lines = [f"# {title}", "", body, "", f"*{result['method']}*", "", "## Places", ""]
    for one in result["sentences"]:
        source = names[one["source_id"]]
        where = source.get("url") or source.get("title") or "pasted text"
        lines.append(f"{one['ref']}. {where}, characters {one['start']}–{one['end']}")
    return "\n".join(lines) + "\n"


# -- live ------------------------------------------------------------------------------------------------------------


@pages.get("/live/stream", auth="events:read")
def live_stream(ctx: Ctx) -> Any:
    """The second rung of the ladder: the same frames as the WebSocket, as server-sent events."""
    topics = request.args.get("topics", "")[:20_000]
    feed = live.PageFeed(hub(), ctx, topics, current_app.extensions["draw"], "sse")
    return open_stream(ctx.user, feed)


def sockets(sock: Any) -> None:
    """The documented WebSockets, and the one of our own pages."""
    sock.live("/ws/tasks/", lambda ctx: live.UserFeed(hub(), ctx))
    sock.live("/ws/tasks/<task_id>", lambda ctx, task_id: live.TaskFeed(hub(), ctx, task_id, _after_arg()), app_ping=90)
    sock.live("/ws/logs", lambda ctx: live.LogFeed(hub(), ctx, **_log_args()), app_ping=90)
    sock.live(
        "/ws/live",
        lambda ctx: live.PageFeed(
            hub(), ctx, request.args.get("topics", "")[:20_000], current_app.extensions["draw"], "websocket"
        ),
    )


def _after_arg() -> int | None:
    return live.number(request.args.get("after", ""))


def _log_args() -> dict[str, str | None]:
    return {name: request.args.get(name) or None for name in ("task_id", "level", "agent_id")}

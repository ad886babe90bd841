"""The first page: one box to start work, what needs its owner, what runs, what came out; before that, what to try. And
the palette's tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import flash, jsonify, redirect, request, session, url_for

from webapp.chat import service as chat
from webapp.core.context import Ctx
from webapp.home import service as home
from webapp.tasks import service
from webapp.tasks.models import ACTIVE, Task
from webapp.tasks.pages import accepted
from webapp.tasks.views import TaskView, view
from webapp.web.page import Pages, render

pages = Pages("home_pages")
ASKING = ("waiting_input", "failed", "timed_out")
LOOKED = "looked_at"  # in the session: ends of failed tasks that were seen
KEEP_LOOKED = 40


@pages.get("/", auth="tasks:read")
def index(ctx: Ctx) -> Any:
    mine = service.filtered(service.owned(ctx)).options(*service.LIGHT)
    going = mine.where(service.going_on()).order_by(Task.id.desc())
    active = [view(task) for task in ctx.db.scalars(going.limit(30))]
    over = mine.where(Task.status.not_in(ACTIVE)).order_by(Task.id.desc())
    ended = sorted((view(task) for task in ctx.db.scalars(over.limit(24))), key=_ended, reverse=True)
    looked = set(session.get(LOOKED, ()))
    failed = [task for task in ended if task.status in ASKING and _mark(task) not in looked]
    return render(
        "home.html",
        waiting=[task for task in active if task.status == "waiting_input"],
        failed=failed,
        running=[task for task in active if task.status != "waiting_input"],
        recent=[task for task in ended if task not in failed][:8],
        setup=home.setup(ctx) if not active and not ended and home.is_new(ctx) else None,
        form={"values": {}, "errors": {}},
        accepted=accepted(),
        max_upload_mb=ctx.rt.settings.largest_upload_mb,
    )


@pages.get("/welcome", auth="tasks:read", limit="240/minute")
def welcome(ctx: Ctx) -> Any:
    """Three things to try and what is set up, for whoever wants to see it again."""
    return render("home/welcome.html", setup=home.setup(ctx))


@pages.post("/welcome/<what>", auth="tasks:write")
def try_out(ctx: Ctx, what: str) -> Any:
    """Start one of the examples and show it."""
    return redirect(url_for("tasks_pages.show", task_id=home.start(ctx, what)["id"]), 303)


@pages.post("/looked", auth="tasks:read")
def looked(ctx: Ctx) -> Any:
    """The failures on the home page have been seen: they move to the recent ones."""
    mine = service.filtered(service.owned(ctx)).options(*service.LIGHT).order_by(Task.id.desc())
    for task in ctx.db.scalars(mine.where(Task.status.not_in(ACTIVE)).limit(24)):
        if task.status in ASKING:
            remember(view(task))
    flash("Moved to the recent ones.", "info")
    return redirect(url_for("home_pages.index"), 303)


@pages.app_context_processor
def note_look() -> dict[str, Any]:
    """`looked_at(task)`: the page of a failed task says that its owner has seen it."""
    return {"looked_at": remember}


def remember(task: TaskView) -> str:
    if task.is_final and task.status in ASKING:
        seen = list(session.get(LOOKED, ()))
        if _mark(task) not in seen:
            session[LOOKED] = [*seen, _mark(task)][-KEEP_LOOKED:]
    return ""


def _ended(task: TaskView) -> datetime:
    """When it was over, which is the time the row says."""
    return task.finished_at or task.created_at


def _mark(task: TaskView) -> str:
    """A short name of this end of this task: failing again asks again."""
    return f"{task.id[-8:]}.{task.seq}"


ICONS = {"queued": ("circle-dashed", "quiet"), "running": ("loader-circle", "accent"), "retrying": ("rotate-cw", "warn"),
         "waiting_input": ("hand", "warn"), "paused": ("circle-pause", "quiet"), "completed": ("circle-check", "ok"),
         "failed": ("circle-x", "bad"), "cancelled": ("ban", "quiet"), "timed_out": ("timer-off", "bad")}  # fmt: skip


@pages.get("/palette", auth="tasks:read", limit="240/minute")
def palette(ctx: Ctx) -> Any:
    """The caller's newest conversations and tasks by title, for the command palette.

    `{"items": [{title, href, status, icon, tone}]}`
    """
    words = request.args.get("q", "").strip()[:100]
    mine = service.filtered(service.owned(ctx), q=words or None).options(*service.LIGHT).order_by(Task.id.desc())
    items = _conversations(ctx, words)
    for task in ctx.db.scalars(mine.limit(8 if words else 5)):
        symbol, tone = ICONS.get(task.status, ("circle-dashed", "quiet"))
        items.append(
            {
                "title": task.title,
                "href": url_for("tasks_pages.show", task_id=task.id),
                "status": task.status.replace("_", " "),
                "icon": symbol,
                "tone": tone,
            }
        )
    return jsonify(items=items)


def _conversations(ctx: Ctx, words: str) -> list[dict[str, str]]:
    if words:
        rows = [one.conversation for one in chat.search(ctx, words, limit=5)]
    else:
        rows = chat.list_(ctx, limit=3).items
    return [{"title": row.title or "Untitled", "href": url_for("chat_pages.show", conversation_id=row.id),
             "status": "chat", "icon": "message-square", "tone": "quiet"} for row in rows]  # fmt: skip

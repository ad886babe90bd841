"""Pages of the operator's room. Each list is a fragment that draws the first paint and every poll.

Before a page asks the database anything it looks whether the database answers at all: when it does not, or far too
slowly, the page says so within a second instead of hanging, and an open page keeps what it last knew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from flask import Response, current_app, flash, g, make_response, redirect, request, url_for
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from webapp.core.context import ANONYMOUS, Ctx
from webapp.core.db import utcnow
from webapp.core.errors import AppError, BadRequest
from webapp.core.jobs import QUEUES
from webapp.operations import service
from webapp.operations.schemas import LetterBulkForm, PauseIn, ScheduleForm, TaskBulkForm
from webapp.operations.service import Look
from webapp.operations.service.everyone import STATUSES
from webapp.tasks.kinds import kinds
from webapp.tasks.views import kind_label, view
from webapp.web.api import ADMIN
from webapp.web.page import BoundForm, Pages, is_htmx, render

pages = Pages("operations_pages")
BUDGET = 1.0  # seconds a page may spend asking
QUERY_LIMIT = "700ms"
HISTORY = 40  # entries of a task's log in its row


# -- when the database is away ---------------------------------------------------------------------------------------


@pages.before_request
def look_first() -> Response | None:
    g.look = service.look(current_app.extensions["runtime"])
    return None if g.look.usable else _outage(g.look)


def _outage(look: Look) -> Response:
    """Who asks cannot be known now, so this says no more than everybody may read under /api/v1/ready."""
    g.actor = ANONYMOUS
    alerts = list(service.server_alerts(look))
    if not is_htmx():
        return make_response(render("operations/outage.html", alerts=alerts, at=utcnow()), 503, {"Retry-After": "5"})
    response = make_response(render("operations/_alerts.html", alerts=alerts, stale=True, at=utcnow()))
    response.headers["HX-Retarget"] = "#ops-alerts"
    return response


class GaveUp(Exception):
    """A page has asked for so long that a person should hear why instead."""


def _too_slow(exc: Exception) -> Response:
    """A question ran into its time limit, or the connection broke after the first look."""
    current_app.logger.warning("operator's page: %s", str(getattr(exc, "orig", exc))[:200])
    others = g.look.others if "look" in g else {}
    if isinstance(exc, GaveUp) or "statement timeout" in str(exc):
        return _outage(Look(None, BUDGET, others))
    return _outage(Look(f"it broke off: {type(exc).__name__}", 0.0, others))


for _kind in (OperationalError, InterfaceError, PoolTimeout, GaveUp):
    pages.register_error_handler(_kind, _too_slow)


def looking(rule: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A page to look at: for administrators, and on Postgres with a limit on each of its questions."""

    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(handler)
        def bounded(ctx: Ctx, **path: Any) -> Any:
            with _limit(ctx):
                return handler(ctx, **path)

        return pages.get(rule, auth=ADMIN)(bounded)

    return decorate


@contextmanager
def _limit(ctx: Ctx) -> Iterator[None]:
    """No page asks for longer than `BUDGET` in all, and on Postgres no question takes longer than `QUERY_LIMIT`."""
    connection, end = ctx.db.connection(), time.monotonic() + BUDGET

    def still_time(*_: Any) -> None:
        if time.monotonic() > end:
            raise GaveUp(f"the questions of this page took longer than {BUDGET:g} s")

    bounded = connection.dialect.name == "postgresql"
    if bounded:  # for the session, not the transaction: a reading unit has none
        ctx.db.execute(text(f"SET statement_timeout = '{QUERY_LIMIT}'"))
    event.listen(connection, "before_cursor_execute", still_time)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", still_time)
        if bounded:
            with suppress(DBAPIError):  # a broken connection is thrown away anyway
                ctx.db.execute(text("RESET statement_timeout"))


# -- looking ---------------------------------------------------------------------------------------------------------


@looking("/monitor/")
def index(ctx: Ctx) -> Any:
    """Everything at a glance."""
    return _live("overview", room=service.overview(ctx, g.look))


@pages.get("/monitor/checks", auth=ADMIN)
def checks(ctx: Ctx) -> Any:
    """What the doctor says, asked now; it has limits of its own."""
    found = service.examination(ctx)
    return render("operations/checks.html", tab="checks", checks=found, worst=service.worst(found), at=utcnow())


@looking("/monitor/workers")
def workers(ctx: Ctx) -> Any:
    return _live("workers", workers=service.workers(ctx), running=service.running(ctx))


@looking("/monitor/dead-letters")
def dead_letters(ctx: Ctx) -> Any:
    filters = _filters("state", "kind", "queue", "reason", "q")
    page = service.letters(
        ctx,
        state=filters["state"] or "open",
        kind=filters["kind"],
        queue=filters["queue"],
        reason=filters["reason"],
        q=filters["q"],
        cursor=request.args.get("cursor"),
    )
    return _live("letters", page=page, filters=filters, queues=QUEUES, kinds=_kinds())


@looking("/monitor/dead-letters/<letter_id>")
def dead_letter(ctx: Ctx, letter_id: str) -> Any:
    letter = service.letter(ctx, letter_id)
    return render("operations/letter.html", tab="letters", letter=letter, kind=kind_label(letter.kind))


@looking("/monitor/schedules")
def schedules(ctx: Ctx) -> Any:
    return _live("schedules", schedules=service.schedules(ctx))


@looking("/monitor/schedules/preview")
def preview_schedule(ctx: Ctx) -> Any:
    """The next five times of what stands in the form, or why there are none."""
    try:
        row = service.schedule(ctx, request.args["name"]) if request.args.get("name") else None
        shown = _preview(ctx, row, request.args.get("cron", ""), request.args.get("interval", ""))
    except AppError as exc:
        return render("operations/_preview.html", times=[], problem=exc.message)
    return render("operations/_preview.html", **shown, problem="")


@looking("/monitor/schedules/<name>")
def schedule(ctx: Ctx, name: str) -> Any:
    row = service.schedule(ctx, name)
    values = {"cron": row.cron or "", "interval": f"{row.interval:g}" if row.interval else ""}
    return _schedule_form(ctx, row, {"values": values, "errors": {}})


@looking("/monitor/audit")
def audit(ctx: Ctx) -> Any:
    filters = _filters("actor", "action", "object", "from", "to")
    page = service.audit_log(
        ctx,
        actor=filters["actor"],
        action=filters["action"],
        object=filters["object"],
        since=_day(filters["from"]),
        until=_day(filters["to"], end=True),
        cursor=request.args.get("cursor"),
    )
    return _live("audit", page=page, filters=filters, said={one.id: service.audit_words(one) for one in page.items})


@looking("/monitor/database/")
def database(ctx: Ctx) -> Any:
    return render("operations/database.html", tab="database", tables=service.tables(ctx))


@looking("/monitor/database/<table>")
def table(ctx: Ctx, table: str) -> Any:
    shown = service.table_rows(ctx, table, cursor=request.args.get("cursor"))
    return render("operations/table.html", tab="database", table=shown)


@looking("/admin/")
def admin(ctx: Ctx) -> Any:
    """Tasks of everybody."""
    filters = _filters("status", "kind", "user", "q", "from", "to")
    page = service.all_tasks(
        ctx,
        status=filters["status"],
        kind=filters["kind"],
        user=filters["user"],
        q=filters["q"],
        since=_day(filters["from"]),
        until=_day(filters["to"], end=True),
        cursor=request.args.get("cursor"),
    )
    rows = [view(row.task, row.owner) for row in page.items]
    return _live("tasks", page=page, rows=rows, filters=filters, kinds=_kinds(), statuses=STATUSES,
                 counts=service.status_counts(ctx))  # fmt: skip


@looking("/admin/tasks/<task_id>")
def task(ctx: Ctx, task_id: str) -> Any:
    """Anybody's task, to read: what it is, its history, why it failed."""
    found = service.any_task(ctx, task_id)
    return _live("task", task=view(found.task, found.owner), result=found.task.result, events=found.events,
                 letters=found.letters)  # fmt: skip


@looking("/admin/tasks/<task_id>/history")
def history(ctx: Ctx, task_id: str) -> Any:
    """The last entries of a task's log, for its row in the list (M062)."""
    found = service.any_task(ctx, task_id)
    shown = found.events[-HISTORY:]
    return render("operations/_history.html", task=found.task, events=shown, left_out=len(found.events) - len(shown))


def _live(name: str, **context: Any) -> str:
    """The page `name`, or only its living part when a poll asks."""
    template = f"operations/_{name}.html" if is_htmx() else f"operations/{name}.html"
    return render(template, tab=name, at=utcnow(), **context)


def _filters(*names: str) -> dict[str, str]:
    return {name: request.args.get(name, "").replace("\0", "")[:200].strip() for name in names}


def _kinds() -> list[dict[str, str]]:
    return [{"name": name, "label": kind_label(name)} for name in kinds.names()]


def _day(text: str, *, end: bool = False) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return day + timedelta(days=1) if end else day
    except (ValueError, OverflowError):
        raise BadRequest("dates are written as 2026-01-31") from None


# -- doing -----------------------------------------------------------------------------------------------------------


@pages.post("/monitor/queues/<name>/pause", auth=ADMIN, form=PauseIn)
def pause_queue(ctx: Ctx, name: str, form: BoundForm) -> Any:
    def act() -> str:
        row = service.pause_queue(ctx, name, form.data.reason if form.ok else "")
        return f"{name} is paused: {row.waiting:,} waiting, {row.running} still running to their end."

    return _do(ctx, act, "index")


@pages.post("/monitor/queues/<name>/resume", auth=ADMIN)
def resume_queue(ctx: Ctx, name: str) -> Any:
    def act() -> str:
        return f"{name} goes on; {service.resume_queue(ctx, name).waiting:,} were waiting."

    return _do(ctx, act, "index")


@pages.post("/monitor/dead-letters/<letter_id>/requeue", auth=ADMIN)
def requeue(ctx: Ctx, letter_id: str) -> Any:
    def act() -> str:
        return f"“{service.requeue(ctx, letter_id).title[:80]}” is back in its queue with all its attempts."

    return _do(ctx, act, "dead_letters")


@pages.post("/monitor/dead-letters/<letter_id>/purge", auth=ADMIN)
def purge(ctx: Ctx, letter_id: str) -> Any:
    def act() -> str:
        service.purge(ctx, letter_id)
        return "The dead letter is thrown away. Its task stays in its owner’s list."

    return _do(ctx, act, "dead_letters")


@pages.post("/monitor/dead-letters/bulk", auth=ADMIN, form=LetterBulkForm)
def bulk_letters(ctx: Ctx, form: BoundForm) -> Any:
    verbs: dict[str, tuple[Any, str]] = {
        "requeue": (service.requeue_many, "back in their queues"),
        "purge": (service.purge_many, "thrown away"),
    }
    verb, words = verbs.get(form.values.get("action", ""), (None, ""))
    return _do_many(ctx, form, lambda: verb(ctx, form.data.ids), "dead letter", words, "dead_letters")


@pages.post("/monitor/schedules/<name>", auth=ADMIN, form=ScheduleForm)
def save_schedule(ctx: Ctx, name: str, form: BoundForm) -> Any:
    """Keep the new time; on a mistake the form comes back with it and the reason."""
    row = service.schedule(ctx, name)
    if form.ok:
        try:
            row = service.edit_schedule(ctx, name, **_when(form.data.cron, form.data.interval))
            ctx.db.commit()
        except AppError as exc:
            ctx.db.rollback()
            form.fail("interval" if form.data.interval.strip() else "cron", exc.message)
        else:
            flash(f"“{row.title}” runs {row.when} now.", "success")
            return _to("schedules")
    return make_response(_schedule_form(ctx, row, form.view()), 422)


@pages.post("/monitor/schedules/<name>/run", auth=ADMIN)
def run_schedule(ctx: Ctx, name: str) -> Any:
    def act() -> str:
        service.run_schedule(ctx, name)
        return f"“{service.schedule(ctx, name).title}” was put into its queue."

    return _do(ctx, act, "schedules")


@pages.post("/monitor/schedules/<name>/pause", auth=ADMIN)
def pause_schedule(ctx: Ctx, name: str) -> Any:
    def act() -> str:
        row = service.pause_schedule(ctx, name)
        return f"“{row.title}” is paused: it starts nothing until it is resumed."

    return _do(ctx, act, "schedules")


@pages.post("/monitor/schedules/<name>/resume", auth=ADMIN)
def resume_schedule(ctx: Ctx, name: str) -> Any:
    def act() -> str:
        row = service.resume_schedule(ctx, name)
        return f"“{row.title}” goes on; its next run is {row.next_at:%d %b %H:%M} UTC."

    return _do(ctx, act, "schedules")


@pages.post("/admin/tasks", auth=ADMIN, form=TaskBulkForm)
def bulk_tasks(ctx: Ctx, form: BoundForm) -> Any:
    words = {"cancel": "cancelled or stopping", "retry": "queued again", "delete": "deleted"}
    return _do_many(
        ctx,
        form,
        lambda: service.bulk_tasks(ctx, form.data.action, form.data.ids),
        "task",
        words.get(form.values.get("action", ""), ""),
        "admin",
    )


def _do(ctx: Ctx, act: Callable[[], str], page: str) -> Response:
    """Do it, then show the page with what came of it. Committed first: nothing is called done that may yet fail."""
    try:
        message = act()
        ctx.db.commit()
    except AppError as exc:
        ctx.db.rollback()
        flash(exc.message[:1].upper() + exc.message[1:] + ".", "warning")
    else:
        flash(message, "success")
    return _to(page)


def _do_many(
    ctx: Ctx, form: BoundForm, act: Callable[[], dict[str, list[dict[str, str]]]], noun: str, words: str, page: str
) -> Response:
    if not form.ok or not form.data.ids:
        flash(f"Choose at least one {noun} first.", "warning")
        return _to(page)
    answer = act()
    ctx.db.commit()
    done, failed = len(answer["done"]), answer["failed"]
    if done:
        flash(f"{done} {noun if done == 1 else noun + 's'} {words}.", "success")
    if failed:
        flash(f"{len(failed)} left as they were: {failed[0]['error']}.", "warning")
    return _to(page)


def _to(page: str) -> Response:
    return redirect(url_for(f"operations_pages.{page}"), 303)  # type: ignore[return-value]


def _when(cron: str, interval: str) -> dict[str, Any]:
    """What the form's two fields say, as `edit_schedule` takes it."""
    cron, interval = cron.replace("\0", "").strip(), interval.strip()
    if not interval:
        return {"cron": cron}
    try:
        return {"cron": cron or None, "interval": float(interval)}
    except ValueError:
        raise BadRequest("give the interval as a number of seconds", code="invalid_schedule") from None


def _schedule_form(ctx: Ctx, row: service.ScheduleRow, form: dict[str, Any]) -> str:
    shown: dict[str, Any] = {"times": []}
    problem = ""
    try:
        shown = _preview(ctx, row, form["values"].get("cron", ""), form["values"].get("interval", ""))
    except AppError as exc:
        problem = exc.message
    return render("operations/schedule.html", tab="schedules", schedule=row, form=form, **shown, problem=problem)


def _preview(ctx: Ctx, row: service.ScheduleRow | None, cron: str, interval: str) -> dict[str, Any]:
    """Its next times; those of another interval count from when it is saved."""
    when = _when(cron, interval)
    same = row is not None and (when.get("cron") or None, when.get("interval")) == (row.cron, row.interval)
    times = service.upcoming(ctx, **when, begins=row.next_at if row and same else None)
    if row and not row.enabled:
        return {"times": times, "given": "if resumed now"}
    return {"times": times, "given": "if saved now" if when.get("interval") and not same else ""}

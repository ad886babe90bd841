"""The notification centre, its settings, and the bell in the header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import current_app, flash, g, make_response, redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.identity import service as identity
from webapp.notifications import service
from webapp.notifications.channels import channels
from webapp.notifications.schemas import ChannelForm, RulesForm
from webapp.notifications.service import EMAIL, EVENTS, INAPP, Rule
from webapp.tasks import service as tasks
from webapp.tasks.kinds import kinds
from webapp.tasks.views import kind_label
from webapp.web.api import ANY, make_ctx
from webapp.web.auth import safe_next
from webapp.web.page import BoundForm, Pages, is_htmx, render

pages = Pages("notifications_pages")


# -- the centre ------------------------------------------------------------------------------------------------------


@pages.get("/notifications", auth=ANY)
def index(ctx: Ctx) -> Any:
    return _centre(ctx)


@pages.post("/notifications/<notification_id>/read", auth=ANY)
def read(ctx: Ctx, notification_id: str) -> Any:
    service.mark_read(ctx, notification_id, request.form.get("read") != "no")
    return _after(ctx)


@pages.post("/notifications/<notification_id>/remove", auth=ANY)
def remove(ctx: Ctx, notification_id: str) -> Any:
    service.remove(ctx, notification_id)
    return _after(ctx)


@pages.post("/notifications/all", auth=ANY)
def all_(ctx: Ctx) -> Any:
    """Everything at once: mark as read, or throw away what was read."""
    if request.form.get("action") == "remove":
        service.remove_read(ctx)
    else:
        service.mark_all(ctx)
    return _after(ctx)


def _after(ctx: Ctx) -> Any:
    """The list as it is now; a browser without scripts is led back to it."""
    if is_htmx():
        return _centre(ctx)
    return redirect(safe_next(request.form.get("next"), url_for("notifications_pages.index")), 303)


def _centre(ctx: Ctx) -> Any:
    only_unread = request.args.get("show") == "unread"
    page = service.list_(ctx, unread=only_unread, cursor=request.args.get("cursor"))
    there = set(tasks.by_ids(ctx, [row.task_id for row in page.items if row.task_id]))
    template = "notifications/_list.html" if is_htmx() else "notifications/index.html"
    response = make_response(
        render(template, page=page, unread=service.unread(ctx), only_unread=only_unread, there=there)
    )
    if is_htmx():
        response.headers["HX-Trigger"] = "notifications:changed"
    return response


# -- one task --------------------------------------------------------------------------------------------------------


@pages.get("/tasks/<task_id>/notify", auth=ANY)
def watch(ctx: Ctx, task_id: str) -> Any:
    """The switch "notify me" of a task's page."""
    return _watch(ctx, task_id)


@pages.app_template_global("notify_me")
def notify_me(task_id: str) -> bool:
    """Whether the reader of this page asked to be told of the task's end."""
    if not request or g.get("actor") is None:
        return False
    # The page is drawn inside the request's own unit, which must stay as it is.
    with current_app.extensions["runtime"].unit(write=False) as db:
        return bool(service.wanted(make_ctx(db, g.actor), [task_id]))


@pages.post("/tasks/<task_id>/notify", auth=ANY)
def set_watch(ctx: Ctx, task_id: str) -> Any:
    if request.form.get("on") == "no":
        service.unwant(ctx, task_id)
    elif not tasks.get(ctx, task_id).is_final:  # it may just have ended: then there is nothing left to press
        service.want(ctx, task_id)
    if is_htmx():
        return _watch(ctx, task_id)
    return redirect(url_for("tasks_pages.show", task_id=task_id), 303)


def _watch(ctx: Ctx, task_id: str) -> str:
    task = tasks.get(ctx, task_id)
    return render("notifications/_watch.html", task_id=task.id, is_final=task.is_final,
                  wanted=bool(service.wanted(ctx, [task.id])))  # fmt: skip


# -- settings --------------------------------------------------------------------------------------------------------


@pages.get("/notifications/settings", auth=ANY)
def settings(ctx: Ctx) -> Any:
    return _settings(ctx)


@pages.post("/notifications/settings", auth=ANY, form=RulesForm)
def save_rules(ctx: Ctx, form: BoundForm) -> Any:
    if form.values.get("action") == "reset":
        service.default_rules(ctx)
        flash("You are told of what everybody is told of at first.", "success")
        return redirect(url_for("notifications_pages.settings"), 303)
    if not form.ok:
        return _settings(ctx, rules_form=form.view()), 422
    try:
        service.save_rules(ctx, _rules(form.data))
    except AppError as exc:
        form.fail("", exc.message)
        return _settings(ctx, rules_form=form.view()), 422
    flash("Saved.", "success")
    return redirect(url_for("notifications_pages.settings"), 303)


@pages.get("/notifications/channels/new/<plugin>", auth=ANY)
def new_channel(ctx: Ctx, plugin: str) -> Any:
    return _channel_form(ctx, plugin, {"values": {}, "errors": {}})


@pages.post("/notifications/channels/new/<plugin>", auth=ANY, form=ChannelForm)
def add_channel(ctx: Ctx, plugin: str, form: BoundForm) -> Any:
    given = {name: request.form.get(name, "") for name in channels.get(plugin).config.model_fields}
    form.values.update(given)
    if form.ok:
        try:
            row = service.add_channel(ctx, plugin, form.data.name, {k: v for k, v in given.items() if v != ""})
        except AppError as exc:
            for detail in exc.details or [{"loc": [""], "msg": exc.message}]:
                form.fail(str(detail["loc"][0]) if detail["loc"] else "", detail["msg"])
        else:
            flash(f"{row.name} is set up. Tick below what it should tell you.", "success")
            return redirect(url_for("notifications_pages.settings"), 303)
    return _channel_form(ctx, plugin, form.view()), 422


@pages.post("/notifications/channels/<channel_id>/test", auth=ANY)
def test_channel(ctx: Ctx, channel_id: str) -> Any:
    def act() -> str:
        service.test_channel(ctx, channel_id)
        return "A test message is on its way; what came of it stands beside the channel."

    return _do(ctx, act)


@pages.post("/notifications/channels/<channel_id>/switch", auth=ANY)
def switch_channel(ctx: Ctx, channel_id: str) -> Any:
    on = request.form.get("on") == "yes"

    def act() -> str:
        row = service.change_channel(ctx, channel_id, enabled=on)
        return f"{row.name} is {'on' if on else 'off'}."

    return _do(ctx, act)


@pages.post("/notifications/channels/<channel_id>/remove", auth=ANY)
def remove_channel(ctx: Ctx, channel_id: str) -> Any:
    def act() -> str:
        service.remove_channel(ctx, channel_id)
        return "The channel is gone."

    return _do(ctx, act)


def _do(ctx: Ctx, act: Any) -> Any:
    try:
        flash(act(), "success")
    except AppError as exc:
        if exc.status == 404:
            raise
        ctx.db.rollback()
        flash(exc.message, "error")
    return redirect(url_for("notifications_pages.settings"), 303)


def _settings(ctx: Ctx, rules_form: Mapping[str, Any] | None = None) -> str:
    """The table of events by channels as the rules are, or as a form with a mistake had them."""
    rules = service.rules(ctx)
    shown = rules_form["values"] if rules_form else _values(rules)
    mail = identity.me(ctx).email
    columns = [(INAPP, "In the app", "")]
    if service.reachable_by_mail(ctx.rt, mail):
        columns.append((EMAIL, "Email", mail or ""))
    mine = service.list_channels(ctx)
    columns += [(row.id, row.name, row.shown) for row in mine]
    return render(
        "notifications/settings.html", events=[one for one in EVENTS if ctx.user.is_admin or not one.admin],
        columns=columns, shown=shown, form=rules_form, mine=mine, plugins=service.available(ctx), mail=mail,
        has_smtp=bool(ctx.rt.settings.smtp_host), labels={name: kind.label for name, kind in channels.all()},
        kinds=[(name, kind_label(name)) for name, kind in kinds.all() if not kind.hidden],
    )  # fmt: skip


def _values(rules: list[Rule]) -> dict[str, Any]:
    return {
        "on": [f"{rule.event} {rule.channel}" for rule in rules],
        "kinds": sorted({f"{rule.event} {kind}" for rule in rules for kind in rule.kinds}),
        "min_seconds": f"{max((rule.min_seconds for rule in rules if rule.event == 'completed'), default=0):g}",
    }


def _rules(data: RulesForm) -> list[Rule]:
    """What the boxes say; a box that belongs to nothing is left to the service to refuse."""
    chosen: dict[str, list[str]] = {}
    for pair in data.kinds:
        event, _, kind = pair.partition(" ")
        chosen.setdefault(event, []).append(kind)
    pairs = [pair.partition(" ") for pair in data.on]
    return [
        Rule(event, channel, tuple(chosen.get(event, ())), data.min_seconds if event == "completed" else 0.0)
        for event, _, channel in pairs
    ]


def _channel_form(ctx: Ctx, plugin: str, form: Mapping[str, Any]) -> str:
    channel = channels.get(plugin)
    return render("notifications/channel.html", channel=channel, form=form, missing=channel.missing(ctx.rt.settings),
                  fields=_fields(channel.config))  # fmt: skip


def _fields(model: Any) -> list[dict[str, Any]]:
    """What a form needs to know of each field of a channel's configuration."""
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    found = []
    for name, prop in schema.get("properties", {}).items():
        options = prop.get("enum") or next((one["enum"] for one in prop.get("anyOf", ()) if "enum" in one), None)
        found.append({
            "name": name, "label": prop.get("title") or name, "hint": prop.get("description"),
            "required": name in required, "secret": bool(prop.get("secret")), "options": options,
            "type": "number" if prop.get("type") in ("integer", "number") else "text",
            "checkbox": prop.get("type") == "boolean", "default": prop.get("default", ""),
            "attrs": {"autocomplete": "off", "spellcheck": "false", "maxlength": prop.get("maxLength"), "min": prop.get("minimum"), "max": prop.get("maximum"),
                      "placeholder": (prop.get("examples") or [None])[0]},
        })  # fmt: skip
    return found

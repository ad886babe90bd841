"""Pages of webhooks: those that go out with their deliveries, and those that come in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from flask import flash, redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.deliveries import service as deliveries
from webapp.tasks.kinds import kinds
from webapp.tasks.views import kind_label
from webapp.web.api import ANY
from webapp.web.page import BoundForm, Pages, render
from webapp.webhooks import inbound, service
from webapp.webhooks.schemas import EndpointForm, HookForm

pages = Pages("webhooks_pages")
NOTHING: dict[str, Any] = {"values": {}, "errors": {}}
# What the service names and what the form calls it.
FIELDS = {"params": "params", "fields": "fields", "kind": "kind", "task_type": "kind"}


# -- out -------------------------------------------------------------------------------------------------------------


@pages.get("/webhooks", auth=ANY)
def index(ctx: Ctx) -> Any:
    rows = service.list_(ctx)
    return render(
        "webhooks/index.html", tab="out", endpoints=rows, numbers=deliveries.numbers(ctx, [r.id for r in rows])
    )


@pages.get("/webhooks/new", auth=ANY)
def new(ctx: Ctx) -> Any:
    values = {"events": ["task.completed", "task.failed"]}
    return _form(ctx, {"values": values, "errors": {}})


@pages.post("/webhooks/new", auth=ANY, form=EndpointForm)
def create(ctx: Ctx, form: BoundForm) -> Any:
    """Answers with the page itself, not a redirect: the secret must not be kept anywhere to be shown later."""
    made: list[Any] = []

    def act() -> None:
        data = form.data
        made[:] = service.subscribe(
            ctx, data.url, data.all_events(), headers=data.header_map(), secret=data.secret or None, kinds=data.kinds,
            description=data.description,
        )  # fmt: skip

    if not _try(ctx, form, act):
        return _form(ctx, form.view()), 422
    return _endpoint(ctx, made[0].id, secret=made[1]), 201


@pages.get("/webhooks/<endpoint_id>", auth=ANY)
def show(ctx: Ctx, endpoint_id: str) -> Any:
    return _endpoint(ctx, endpoint_id)


@pages.post("/webhooks/<endpoint_id>", auth=ANY, form=EndpointForm)
def save(ctx: Ctx, endpoint_id: str, form: BoundForm) -> Any:
    """Headers are changed only if some are given: those that are there cannot be shown."""

    def act() -> None:
        data = form.data
        headers = {} if request.form.get("no_headers") else (data.header_map() or None)
        service.change(ctx, endpoint_id, url=data.url, events=data.all_events(), headers=headers, kinds=data.kinds,
                       description=data.description)  # fmt: skip

    if not _try(ctx, form, act):
        return _endpoint(ctx, endpoint_id, form=form.view()), 422
    flash("Saved.", "success")
    return _to("show", endpoint_id=endpoint_id)


@pages.post("/webhooks/<endpoint_id>/rotate", auth=ANY)
def rotate(ctx: Ctx, endpoint_id: str) -> Any:
    _, secret = service.rotate(ctx, endpoint_id)
    return _endpoint(ctx, endpoint_id, secret=secret)


@pages.post("/webhooks/<endpoint_id>/test", auth=ANY)
def test(ctx: Ctx, endpoint_id: str) -> Any:
    return _do(ctx, lambda: service.test(ctx, endpoint_id), "A test is on its way; it stands below.", "show",
               endpoint_id=endpoint_id)  # fmt: skip


@pages.post("/webhooks/<endpoint_id>/switch", auth=ANY)
def switch(ctx: Ctx, endpoint_id: str) -> Any:
    on = request.form.get("on") == "yes"
    return _do(ctx, lambda: service.change(ctx, endpoint_id, enabled=on), "It is on." if on else "It is off.", "show",
               endpoint_id=endpoint_id)  # fmt: skip


@pages.post("/webhooks/<endpoint_id>/remove", auth=ANY)
def remove(ctx: Ctx, endpoint_id: str) -> Any:
    return _do(ctx, lambda: service.remove(ctx, endpoint_id), "The webhook is gone.", "index")


@pages.post("/webhooks/<endpoint_id>/deliveries/<delivery_id>/redeliver", auth=ANY)
def redeliver(ctx: Ctx, endpoint_id: str, delivery_id: str) -> Any:
    return _do(ctx, lambda: service.redeliver(ctx, endpoint_id, delivery_id), "It is sent again, under its own id.",
               "show", endpoint_id=endpoint_id)  # fmt: skip


def _form(ctx: Ctx, form: Any) -> str:
    return render("webhooks/new.html", form=form, events=service.EVENTS, kinds=_kinds())


def _endpoint(ctx: Ctx, endpoint_id: str, *, secret: str = "", form: Any = None) -> str:
    row = service.get(ctx, endpoint_id)
    page = service.log(ctx, row.id, cursor=request.args.get("cursor"))
    tried = deliveries.attempts(ctx, [one.id for one in page.items])
    known = [one for one in row.events if one in service.EVENTS]
    values = {"url": row.url, "description": row.description, "events": known, "kinds": row.kinds,
              "more_events": " ".join(one for one in row.events if one not in known)}  # fmt: skip
    return render(
        "webhooks/show.html", e=row, page=page, tried=tried, secret=secret, events=service.EVENTS, kinds=_kinds(),
        form=form or {"values": values, "errors": {}}, bad=form is not None, pretty=_pretty,
        labels=[kind_label(one) for one in row.kinds],
        due={one.id: datetime.fromtimestamp(one.due_at, UTC) for one in page.items},
    )  # fmt: skip


def _pretty(body: str) -> str:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


# -- in --------------------------------------------------------------------------------------------------------------


@pages.get("/webhooks/in", auth=ANY)
def hooks(ctx: Ctx) -> Any:
    rows = inbound.list_(ctx)
    return render("webhooks/hooks.html", tab="in", hooks=rows, labels={row.kind: kind_label(row.kind) for row in rows})


@pages.get("/webhooks/in/new", auth=ANY)
def new_hook(ctx: Ctx) -> Any:
    return _hook_form(ctx, NOTHING)


@pages.post("/webhooks/in/new", auth=ANY, form=HookForm)
def create_hook(ctx: Ctx, form: BoundForm) -> Any:
    """Answers with the page itself, as `create` does."""
    made: list[Any] = []

    def act() -> None:
        data = form.data
        made[:] = inbound.create(ctx, data.name, data.kind, _object(data.params), data.field_map(), data.secret or None)

    if not _try(ctx, form, act):
        return _hook_form(ctx, form.view()), 422
    return _hook(ctx, made[0].id, secret=made[1]), 201


@pages.get("/webhooks/in/<hook_id>", auth=ANY)
def hook(ctx: Ctx, hook_id: str) -> Any:
    return _hook(ctx, hook_id)


@pages.post("/webhooks/in/<hook_id>", auth=ANY, form=HookForm)
def save_hook(ctx: Ctx, hook_id: str, form: BoundForm) -> Any:
    def act() -> None:
        data = form.data
        inbound.change(ctx, hook_id, name=data.name, params=_object(data.params), fields=data.field_map())

    if not _try(ctx, form, act):
        return _hook(ctx, hook_id, form=form.view()), 422
    flash("Saved.", "success")
    return _to("hook", hook_id=hook_id)


@pages.post("/webhooks/in/<hook_id>/rotate", auth=ANY)
def rotate_hook(ctx: Ctx, hook_id: str) -> Any:
    _, secret = inbound.rotate(ctx, hook_id)
    return _hook(ctx, hook_id, secret=secret)


@pages.post("/webhooks/in/<hook_id>/switch", auth=ANY)
def switch_hook(ctx: Ctx, hook_id: str) -> Any:
    on = request.form.get("on") == "yes"
    return _do(ctx, lambda: inbound.change(ctx, hook_id, enabled=on), "It is on." if on else "It is off.", "hook",
               hook_id=hook_id)  # fmt: skip


@pages.post("/webhooks/in/<hook_id>/remove", auth=ANY)
def remove_hook(ctx: Ctx, hook_id: str) -> Any:
    return _do(ctx, lambda: inbound.remove(ctx, hook_id), "The hook is gone.", "hooks")


def _hook_form(ctx: Ctx, form: Any) -> str:
    return render("webhooks/new_hook.html", form=form, kinds=_kinds())


def _hook(ctx: Ctx, hook_id: str, *, secret: str = "", form: Any = None) -> str:
    row = inbound.get(ctx, hook_id)
    values = {"name": row.name, "kind": row.kind, "fields": "\n".join(f"{name} = {path}" for name, path in row.fields.items()),
              "params": json.dumps(row.params, indent=2, ensure_ascii=False)}  # fmt: skip
    address = url_for("integration_hooks_api.receive", hook_id=row.id, _external=True)
    return render("webhooks/hook.html", h=row, address=address, example=json.dumps(_example(row.fields.values())), secret=secret, label=kind_label(row.kind),
                  form=form or {"values": values, "errors": {}}, bad=form is not None)  # fmt: skip


def _example(places: Iterable[str]) -> dict[str, Any]:
    """A message that has something in each of these places."""
    found: dict[str, Any] = {}
    for place in places:
        *way, last = place.split(".")
        inside = found
        for part in way:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                break
        else:
            inside.setdefault(last, "...")
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text.strip() or "{}")
    except (ValueError, RecursionError) as exc:
        raise Wrong("params", f"no valid JSON: {exc}") from None
    if not isinstance(value, dict):
        raise Wrong("params", 'write an object, such as {"max_length": 100}')
    return value


# --------------------------------------------------------------------------------------------------------------------


class Wrong(ValueError):
    """A mistake in one field of a form."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _try(ctx: Ctx, form: BoundForm, act: Callable[[], None]) -> bool:
    """Do it if the form is fit; what is wrong goes to its field. False when the form has to be shown again."""
    # Lists that hold one word or none are read by the form's model, but shown again as they came.
    form.values |= {"events": request.form.getlist("events"), "kinds": request.form.getlist("kinds")}
    if "kind" in request.form:
        form.values["kind"] = request.form["kind"]
    if not form.ok:
        return False
    try:
        act()
    except Wrong as exc:
        form.fail(exc.field, str(exc))
    except ValueError as exc:
        form.fail("headers" if "headers" in type(form.data).model_fields else "fields", str(exc))
    except AppError as exc:
        ctx.db.rollback()
        known = type(form.data).model_fields
        for detail in exc.details or [{"loc": [""], "msg": exc.message}]:
            name = FIELDS.get(str(detail["loc"][0]), str(detail["loc"][0])) if detail["loc"] else ""
            form.fail(name if name in known else "", detail["msg"])
    return not form.errors


def _do(ctx: Ctx, act: Callable[[], Any], words: str, page: str, **values: str) -> Any:
    try:
        act()
        flash(words, "success")
    except AppError as exc:
        if exc.status == 404:
            raise
        ctx.db.rollback()
        flash(exc.message, "error")
    return _to(page, **values)


def _to(page: str, **values: Any) -> Any:
    return redirect(url_for(f"webhooks_pages.{page}", **values), 303)


def _kinds() -> list[tuple[str, str]]:
    return [(name, kind_label(name)) for name, kind in kinds.all() if not kind.hidden]

"""The models page: what is here, how it did, which one does which work; add a server, pull, try."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, make_response, redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError, BadRequest
from webapp.engines import calls, catalogue, hub, local, rows, servers, service
from webapp.engines.schemas import DefaultForm, ModelForm, PullForm, ServerForm, TryForm
from webapp.tasks import service as tasks
from webapp.tasks.views import view
from webapp.web.api import ADMIN
from webapp.web.page import BoundForm, Pages, is_htmx, render

pages = Pages("models_pages")
READ, WRITE = "tasks:read", "tasks:write"
STOP_POLLING = 286  # htmx: swap this, then ask no more
EMPTY: dict[str, Any] = {"values": {}, "errors": {}}


@pages.get("/models", auth=READ)
def index(ctx: Ctx) -> Any:
    return _index(ctx)


def _index(ctx: Ctx, status: int = 200, **forms: dict[str, Any]) -> Any:
    shown = {name: forms.get(name, EMPTY) for name in ("server_form", "pull_form", "try_form")}
    trying = request.args.get("try", "")[:40]
    html = render("models/index.html", **_list(ctx), **shown, servers=_servers(ctx), task_types=rows.TASK_TYPES,
                  defaults=rows.known(ctx.rt).defaults, pulls=_pulls(ctx), short=hub.SHORT, folder=local.folder(ctx.rt),
                  tried=_tried(ctx, trying) if trying else None)  # fmt: skip
    return make_response(html, status)


def _list(ctx: Ctx) -> dict[str, Any]:
    """The models with their figures, in as many queries for one as for a thousand. Waits for no server."""
    found = service.available(ctx.rt, wait=False)
    figures = {one.model: one for one in calls.metrics(ctx.db)}
    errors = calls.last_errors(ctx.db, [one.id for one in found])
    usable = [one for one in found if one.available]
    return {"models": found, "figures": figures, "last_errors": errors, "usable": usable,
            "writers": [one for one in usable if "text" in one.capabilities],
            "default": catalogue.default(ctx.rt) if usable else None}  # fmt: skip


def _servers(ctx: Ctx) -> list[dict[str, Any]]:
    return [_server(ctx, one) for one in servers.servers(ctx.rt, all_=True)]


def _server(ctx: Ctx, server: servers.Server) -> dict[str, Any]:
    found: dict[str, Any] = {"server": server, "models": None, "error": None}
    if server.is_active:
        try:
            known = servers.last_known(ctx.rt, server)
            found["models"] = None if known is None else len(known)
        except AppError as error:
            found["error"] = " ".join(part for part in (error.message, error.suggestion) if part)
    return found


def _pulls(ctx: Ctx) -> list[Any]:
    """Those that go on, and the newest that is over."""
    found = [view(one) for one in tasks.list_(ctx, kind="models.pull", limit=10).items]
    going = [one for one in found if not one.is_final]
    return going or [one for one in found[:1] if one.status in ("failed", "timed_out")]


@pages.get("/models/list", auth=READ)
def list_fragment(ctx: Ctx) -> Any:
    """The table alone, for its poll."""
    return render("models/_list.html", **_list(ctx))


# -- servers ---------------------------------------------------------------------------------------------------------


@pages.post("/models/servers", auth=ADMIN, form=ServerForm, write=False)
def add_server(ctx: Ctx, form: BoundForm) -> Any:
    if form.ok:
        ctx.db.commit()  # nothing is held while a name server and then the model server are asked
        taken = frozenset(one.name for one in servers.configured(ctx.rt))
        inside = rows.leads_inside(form.data.url)
        try:
            with ctx.rt.unit() as db:
                mine = Ctx(ctx.rt, db, ctx.user, ctx.request_id, ctx.ip)
                name = rows.add_server(
                    mine, form.data.name, form.data.url, form.data.key, inside=inside, taken=taken
                ).name
        except AppError as exc:
            for detail in exc.details or [{"loc": [""], "msg": exc.message}]:
                form.fail(str(detail["loc"][0]), detail["msg"])
        else:
            return _tested(ctx, name, "It was added. ")
    view_ = form.view()
    view_["values"].pop("key", None)
    return _index(ctx, 422, server_form=view_)


@pages.post("/models/servers/<name>/test", auth=ADMIN, write=False)
def test_server(ctx: Ctx, name: str) -> Any:
    ctx.db.commit()
    return _tested(ctx, name)


def _tested(ctx: Ctx, name: str, before: str = "") -> Any:
    try:
        seconds, count = service.test_server(ctx.rt, name)
    except AppError as exc:
        flash(f"{before}{name} does not answer as it should: {exc.message} {exc.suggestion or ''}".strip(), "warning")
    else:
        models = "1 model" if count == 1 else f"{count} models"
        flash(f"{before}{name} answered in {1000 * seconds:.0f} ms with {models}.", "success")
    return _to()


@pages.post("/models/servers/<server_id>/switch", auth=ADMIN)
def switch_server(ctx: Ctx, server_id: str) -> Any:
    row = rows.switch_server(ctx, server_id, active=not rows.server(ctx, server_id).is_active)
    flash(f"{row.name} is {'asked again' if row.is_active else 'switched off'}.", "info")
    return _to()


@pages.post("/models/servers/<server_id>/delete", auth=ADMIN)
def remove_server(ctx: Ctx, server_id: str) -> Any:
    flash(f"{rows.remove_server(ctx, server_id)} was removed.", "info")
    return _to()


@pages.post("/models/refresh", auth=WRITE, write=False)
def refresh(ctx: Ctx) -> Any:
    ctx.db.commit()
    found = [one for one in service.available(ctx.rt, fresh=True) if one.available]
    flash(f"{len(found)} {'model' if len(found) == 1 else 'models'} can be used.", "info")
    return _to()


# -- models ----------------------------------------------------------------------------------------------------------


@pages.post("/models/default", auth=ADMIN, form=DefaultForm)
def set_default(ctx: Ctx, form: BoundForm) -> Any:
    if not form.ok:
        raise BadRequest("that is no choice of a model")
    chosen = service.find(ctx.rt, form.data.model).id if form.data.model else ""
    rows.set_default(ctx, form.data.task_type, chosen)
    flash("Saved.", "success")
    return _to("#defaults")


@pages.post("/models/unload", auth=ADMIN, form=ModelForm, write=False)
def unload(ctx: Ctx, form: BoundForm) -> Any:
    if not form.ok:
        raise BadRequest("name a model")
    service.unload(ctx.rt, form.data.model)
    flash(f"{form.data.model.removeprefix('ggml:')} gives its memory back.", "info")
    return _to()


@pages.post("/models/pull", auth=ADMIN, form=PullForm)
def pull(ctx: Ctx, form: BoundForm) -> Any:
    if form.ok:
        params = {"model": form.data.model.strip(), "server": form.data.server}
        try:
            tasks.start(ctx, "models.pull", params, title=f"Pull {params['model']}")
        except AppError as exc:
            ctx.db.rollback()
            form.fail("model", f"{exc.message}. {exc.suggestion or ''}".strip())
        else:
            return _to("#pull")
    return _index(ctx, 422, pull_form=form.view())


# -- try it ----------------------------------------------------------------------------------------------------------


@pages.post("/models/try", auth=WRITE, form=TryForm)
def try_it(ctx: Ctx, form: BoundForm) -> Any:
    if form.ok:
        params = {"prompt": form.data.prompt, "model": form.data.model}
        task = tasks.start(ctx, "models.try", params, title=f"Try: {form.data.prompt.strip()[:80]}")
        return _to("#try", **{"try": task["id"]})
    return _index(ctx, 422, try_form=form.view())


@pages.get("/models/try/<task_id>", auth=READ)
def tried(ctx: Ctx, task_id: str) -> Any:
    """What was written so far. The same fragment is first paint and poll."""
    found = _tried(ctx, task_id)
    return make_response(render("models/_tried.html", tried=found), STOP_POLLING if found["task"].is_final else 200)


def _tried(ctx: Ctx, task_id: str) -> dict[str, Any]:
    task = tasks.get(ctx, task_id)
    result = (task.result or {}) if task.kind == "models.try" else {}
    text = result.get("text") if result else ctx.rt.streams.read(task_id).text
    return {"task": view(task), "text": text or "", "result": result}


def _to(fragment: str = "", **values: Any) -> Response:
    url = url_for("models_pages.index", **values) + fragment
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)  # type: ignore[return-value]

"""Pages of templates: all of them, one, the form of one's own, export and import."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, flash, make_response, redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError, BadRequest
from webapp.task_templates import service
from webapp.task_templates.models import TaskTemplate
from webapp.task_templates.schemas import DraftForm, ImportForm, TemplateForm
from webapp.task_templates.service import Given
from webapp.tasks import forms
from webapp.tasks.door import ICONS
from webapp.tasks.kinds import kind_or_400, kinds
from webapp.tasks.views import kind_label
from webapp.web.page import BoundForm, Pages, is_htmx, render

pages = Pages("templates_pages")
READ, WRITE = "tasks:read", "tasks:write"
PER_PAGE = 60
MOST_BYTES = 4 * 2**20  # of an imported file


@pages.get("/templates", auth=READ)
def index(ctx: Ctx) -> Any:
    """Own ones and those of the program, the most used first."""
    return _index(ctx)


def _index(ctx: Ctx, form: dict[str, Any] | None = None, status: int = 200) -> Any:
    asked = {name: request.args.get(name, "")[:200] for name in ("q", "kind", "whose")}
    whose = asked["whose"] if asked["whose"] in ("mine", "shipped") else ""
    stmt = service.listed(ctx, task_type=asked["kind"] or None, search=asked["q"] or None, whose=whose)
    number = _number(request.args.get("page", ""))
    count, rows = service.page(ctx, stmt, number, PER_PAGE)
    html = render("task_templates/index.html", templates=[_shown(row) for row in rows], asked=asked, count=count,
                  kinds=_kinds(), number=number, more=number * PER_PAGE < count,
                  form=form or {"values": {}, "errors": {}})  # fmt: skip
    return make_response(html, status)


def _number(text: str) -> int:
    return max(1, min(10_000, int(text))) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _shown(row: TaskTemplate) -> dict[str, Any]:
    return {"row": row, "icon": ICONS.get(row.task_type, "zap"), "kind": kind_label(row.task_type),
            "whole": service.is_whole(row)}  # fmt: skip


def _kinds() -> list[dict[str, str]]:
    return [{"name": kind.name, "label": kind.label} for _, kind in kinds.all() if not kind.hidden and kind.offered]


@pages.get("/templates/new", auth=WRITE)
def new(ctx: Ctx) -> Any:
    """The form of a new one; with `task` filled in from a completed task."""
    given = Given("", request.args.get("kind", "")[:64] or "summary")
    if request.args.get("task"):
        given = service.drafted(ctx, request.args["task"])
    return _edit({"values": _values(given), "errors": {}})


@pages.post("/templates/draft", auth=WRITE, form=DraftForm)
def draft(ctx: Ctx, form: BoundForm) -> Any:
    """What stands in the form of a new task, as a template to be named. Its files stay behind."""
    kind = kind_or_400(str(form.values.get("kind") or "summary")[:64], hidden=False)
    fields = forms.fields_of(kind)
    raw = forms.without_blank_rows(fields, forms.read(fields, request.form.to_dict(flat=False)))
    params, _ = forms.params_of(fields, raw)
    config = {
        name: value for name, value in params.items() if name not in service.OF_ONE_TIME and value not in ("", [])
    }
    given = Given(str(form.values.get("title") or "")[:200], kind.name, "", config)
    return _edit({"values": _values(given), "errors": {}})


@pages.get("/templates/<template_id>", auth=READ)
def show(ctx: Ctx, template_id: str) -> Any:
    row = service.get(ctx, template_id)
    missing = service.problems(row.task_type, row.default_config, row.config_schema)
    return render("task_templates/show.html", one=_shown(row), missing=missing)


@pages.get("/templates/<template_id>/edit", auth=WRITE)
def edit(ctx: Ctx, template_id: str) -> Any:
    row = service.own(ctx, template_id)
    return _edit({"values": _values(Given(**service.content(row))), "errors": {}}, row)


def _edit(form: dict[str, Any], row: TaskTemplate | None = None, status: int = 200) -> Any:
    examples = {kind.name: kind.examples[0] for _, kind in kinds.all() if not kind.hidden and kind.examples}
    html = render("task_templates/edit.html", form=form, of=row, kinds=_kinds(), examples=examples)
    return make_response(html, status)


def _values(given: Given) -> dict[str, Any]:
    return {"name": given.name, "task_type": given.task_type, "description": given.description,
            "default_config": _pretty(given.default_config), "config_schema": _pretty(given.config_schema),
            "is_active": given.is_active}  # fmt: skip


def _pretty(value: dict[str, Any] | None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) if value else ""


@pages.post("/templates", auth=WRITE, form=TemplateForm)
def create(ctx: Ctx, form: BoundForm) -> Any:
    row = _saved(ctx, form, lambda given: service.create(ctx, given))
    if row is None:
        return _edit(form.view(), status=422)
    flash("The template was saved.", "success")
    return _to(url_for("templates_pages.show", template_id=row.id))


@pages.post("/templates/<template_id>", auth=WRITE, form=TemplateForm)
def update(ctx: Ctx, template_id: str, form: BoundForm) -> Any:
    before = service.own(ctx, template_id)
    row = _saved(ctx, form, lambda given: service.change(ctx, template_id, **vars(given)))
    if row is None:
        return _edit(form.view(), before, status=422)
    flash("The template was saved.", "success")
    return _to(url_for("templates_pages.show", template_id=row.id))


def _saved(ctx: Ctx, form: BoundForm, verb: Any) -> TaskTemplate | None:
    """The row, or None with the mistakes in the form."""
    config, schema = _json(form, "default_config"), _json(form, "config_schema")
    if not form.ok:
        return None
    said: TemplateForm = form.data
    try:
        with ctx.db.begin_nested():
            row: TaskTemplate = verb(Given(said.name, said.task_type, said.description, config, schema, said.is_active))
            return row
    except AppError as exc:
        _blame(form, exc)
        return None


def _json(form: BoundForm, name: str) -> dict[str, Any]:
    text = str(form.values.get(name, "")).strip()
    try:
        value = read_json(text) if text else {}
    except ValueError as exc:
        form.fail(name, f"This is no JSON: {exc}")
        return {}
    if not isinstance(value, dict):
        form.fail(name, 'A JSON object is needed, such as {"max_length": 200}.')
        return {}
    return value


def read_json(text: str) -> Any:
    """Raises ValueError with where the mistake is, also for NaN and for what is nested too deep."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise ValueError(f"{exc.msg}, line {exc.lineno}, column {exc.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _blame(form: BoundForm, exc: AppError) -> None:
    for detail in exc.details or [{"loc": [""], "msg": exc.message}]:
        first, *within = [str(part) for part in detail["loc"]] or [""]
        name = first if first in TemplateForm.model_fields else ""
        place = ".".join(within if name else [one for one in (first, *within) if one])
        form.fail(name, f"{place}: {detail['msg']}" if place else detail["msg"])


# -- using and the rest ----------------------------------------------------------------------------------------------


@pages.post("/templates/<template_id>/start", auth=WRITE)
def start(ctx: Ctx, template_id: str) -> Any:
    """One click: what the template says, nothing more. What still needs something leads to its form."""
    row = service.get(ctx, template_id)
    if not service.is_whole(row):
        return _to(url_for("tasks_pages.new", template=row.id))
    values = service.start(ctx, template_id, interactive=True)
    return _to(url_for("tasks_pages.show", task_id=values["id"]))


@pages.post("/templates/<template_id>/copy", auth=WRITE)
def copy(ctx: Ctx, template_id: str) -> Any:
    row = service.copy(ctx, template_id)
    flash("This copy is yours to change.", "info")
    return _to(url_for("templates_pages.edit", template_id=row.id))


@pages.post("/templates/<template_id>/delete", auth=WRITE)
def delete(ctx: Ctx, template_id: str) -> Any:
    service.remove(ctx, template_id)
    flash("The template was deleted. Tasks made from it stay.", "info")
    return _to(url_for("templates_pages.index"))


@pages.get("/templates/export", auth=READ)
def export(ctx: Ctx) -> Any:
    """A file of one's own templates, or of the one that `id` names."""
    ids = [one[:64] for one in request.args.getlist("id")][:500]
    text = json.dumps(service.exported(ctx, ids), ensure_ascii=False, indent=2)
    response = Response(text + "\n", content_type="application/json; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="templates.json"'
    response.headers["Content-Security-Policy"] = "sandbox"
    return response


@pages.post("/templates/import", auth=WRITE, form=ImportForm)
def import_(ctx: Ctx, form: BoundForm) -> Any:
    """Store what a file holds; what does not fit is told."""
    if form.ok:
        try:
            told = service.imported(ctx, _document(form.data.file))
        except AppError as exc:
            form.fail("file", f"{exc.message}. {exc.suggestion or ''}".strip())
        else:
            return _imported(told)
    return _index(ctx, form.view(), 422)


def _document(given: Any) -> Any:
    raw = given.stream.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise BadRequest("the file is larger than 4 MB")
    try:
        return read_json(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadRequest("the file is no text in UTF-8") from None
    except ValueError as exc:
        raise BadRequest(f"the file is no JSON: {exc}") from None


def _imported(told: dict[str, list[dict[str, Any]]]) -> Any:
    made, skipped, failed = (len(told[name]) for name in ("created", "skipped", "failed"))
    if made or not failed:
        more = f" {skipped} you had already." if skipped else ""
        flash(f"{made} {'template' if made == 1 else 'templates'} imported.{more}", "success" if made else "info")
    for one in told["failed"][:5]:
        flash(f"{one['name'][:80] or 'One without a name'}: {one['error'][:300]}.", "warning")
    if failed > 5:
        flash(f"{failed - 5} more could not be imported.", "warning")
    return _to(url_for("templates_pages.index", whose="mine"))


def _to(url: str) -> Response:
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)  # type: ignore[return-value]

"""Endpoints of templates and of checking a configuration.

ECEEE v4:  /api/v1/utils/ai-task-templates/ (list, create), .../{id}/ (get, put, patch, delete), .../popular/,
           .../{id}/create_task/, /api/v1/utils/validate-task-config/
Ours:      /api/v1/task-templates/{id}/copy, /from-task, /export, /import
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.task_templates import service
from webapp.task_templates.models import TaskTemplate
from webapp.task_templates.schemas import (
    CheckIn,
    CheckOut,
    ExportOut,
    ExportQuery,
    FromTaskIn,
    ImportIn,
    ImportOut,
    PopularQuery,
    TemplateIn,
    TemplateOut,
    TemplatePage,
    TemplatePatch,
    TemplateQuery,
    UseIn,
)
from webapp.tasks import dialects
from webapp.tasks.schemas import AiTaskOut
from webapp.web.api import Api
from webapp.web.paging import numbered

eceee = Api("eceee_templates", "/api/v1/utils", tag="AI tasks (ECEEE v4)", dialect="eceee")
api = Api("task_templates", "/api/v1/task-templates", tag="Tasks")

READ, WRITE = "tasks:read", "tasks:write"


@eceee.get("/ai-task-templates/", auth=READ, query=TemplateQuery, returns=TemplatePage, errors=(404,))
def list_templates(ctx: Ctx, query: TemplateQuery) -> Any:
    """Own templates and those of the program, the most used first, a page at a time."""
    stmt = service.listed(
        ctx, task_type=query.task_type, search=query.search, whose=query.whose or "", active=query.is_active,
        ordering=query.ordering,
    )  # fmt: skip
    count, rows = service.page(ctx, stmt, query.page, query.page_size)
    return TemplatePage.model_validate(numbered(query.page, query.page_size, count, [_out(ctx, row) for row in rows]))


def _out(ctx: Ctx, row: TaskTemplate) -> TemplateOut:
    names = set(TemplateOut.model_fields) - {"created_by"}
    maker = None if row.is_shipped else ctx.user.username if row.owner_id == ctx.user.id else row.owner_id
    return TemplateOut(created_by=maker, **{name: getattr(row, name) for name in names})


@eceee.post("/ai-task-templates/", auth=WRITE, body=TemplateIn, returns=TemplateOut, status=201, idempotent=True)
def create_template(ctx: Ctx, body: TemplateIn) -> Any:
    """Store a template of one's own."""
    return _out(ctx, service.create(ctx, service.Given(**body.model_dump())))


@eceee.get("/ai-task-templates/popular/", auth=READ, query=PopularQuery, returns=list[TemplateOut])
def popular_templates(ctx: Ctx, query: PopularQuery) -> Any:
    """Those that can be used, the most used first."""
    return [_out(ctx, row) for row in service.popular(ctx, query.limit)]


@eceee.get("/ai-task-templates/<template_id>/", auth=READ, returns=TemplateOut, errors=(404,))
def get_template(ctx: Ctx, template_id: str) -> Any:
    """One template."""
    return _out(ctx, service.get(ctx, template_id))


@eceee.put("/ai-task-templates/<template_id>/", auth=WRITE, body=TemplateIn, returns=TemplateOut, errors=(403, 404))
def put_template(ctx: Ctx, template_id: str, body: TemplateIn) -> Any:
    """Replace all that is said of it; how often it was used stays."""
    return _out(ctx, service.change(ctx, template_id, **body.model_dump()))


@eceee.patch(
    "/ai-task-templates/<template_id>/", auth=WRITE, body=TemplatePatch, returns=TemplateOut, errors=(403, 404)
)
def patch_template(ctx: Ctx, template_id: str, body: TemplatePatch) -> Any:
    """Change some of it."""
    return _out(ctx, service.change(ctx, template_id, **body.model_dump()))


@eceee.delete("/ai-task-templates/<template_id>/", auth=WRITE, status=204, errors=(403, 404))
def delete_template(ctx: Ctx, template_id: str) -> None:
    """Delete it; tasks made from it stay."""
    service.remove(ctx, template_id)


@eceee.post("/ai-task-templates/<template_id>/create_task/", auth=WRITE, body=UseIn, returns=AiTaskOut, status=201,
            idempotent=True, errors=(404, 409))  # fmt: skip
def create_task_from_template(ctx: Ctx, template_id: str, body: UseIn) -> Any:
    """Start a task from the template's defaults and what is given here, checked by its schema; counts the use."""
    with dialects.within_config():
        values = service.start(ctx, template_id, title=body.title, config=body.task_config, priority=body.priority)
    return dialects.eceee_started(values, username=ctx.user.username)


@eceee.post("/validate-task-config/", auth=READ, body=CheckIn, returns=CheckOut, errors=(404,))
def validate_task_config(ctx: Ctx, body: CheckIn) -> Any:
    """Would a task of this configuration be accepted? 200 either way; nothing is started."""
    normalized, wrong = service.examine(ctx, body.task_type, body.task_config, body.template_id)
    errors = [{"path": ".".join(str(part) for part in one["loc"]), "message": one["msg"]} for one in wrong]
    return {"valid": not wrong, "errors": errors, "normalized_config": normalized}


# -- ours ------------------------------------------------------------------------------------------------------------


@api.post("/from-task", auth=WRITE, body=FromTaskIn, returns=TemplateOut, status=201, errors=(404, 409))
def template_from_task(ctx: Ctx, body: FromTaskIn) -> Any:
    """A template with the configuration of a task of one's own that completed, without its files."""
    return _out(ctx, service.from_task(ctx, body.task_id, body.name, body.description))


@api.post("/<template_id>/copy", auth=WRITE, returns=TemplateOut, status=201, errors=(404,))
def copy_template(ctx: Ctx, template_id: str) -> Any:
    """One's own copy, which can be changed."""
    return _out(ctx, service.copy(ctx, template_id))


@api.get("/export", auth=READ, query=ExportQuery, returns=ExportOut)
def export_templates(ctx: Ctx, query: ExportQuery) -> Any:
    """A document of one's own templates, or of the named ones, for import here or elsewhere."""
    return service.exported(ctx, query.ids)


@api.post("/import", auth=WRITE, body=ImportIn, returns=ImportOut)
def import_templates(ctx: Ctx, body: ImportIn) -> Any:
    """Store what an export holds as one's own; what one has already is skipped, what does not fit is told."""
    return service.imported(ctx, body.model_dump())


APIS = [eceee, api]

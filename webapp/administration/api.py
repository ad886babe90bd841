"""Endpoints of quotas, retention and settings.

GET    /api/v1/quotas                                  what the caller has used of what they may
GET    /api/v1/admin/quotas                            limits given to single people
GET    /api/v1/admin/users/{user_id}/quotas            anybody's; PUT and DELETE .../{name} give and take back a limit
GET    /api/v1/admin/retention                         what is kept how long, and what would go now
POST   /api/v1/admin/retention/preview                 the same with other settings; changes nothing
PUT    /api/v1/admin/retention                         change it; POST .../run does tonight's work now
GET    /api/v1/admin/settings                          all settings with their origin; PATCH those that may change
"""

from __future__ import annotations

from typing import Any

from webapp.administration import service
from webapp.administration.schemas import (
    GoingOut,
    GrantOut,
    LimitIn,
    MeterOut,
    RetentionIn,
    RetentionOut,
    SettingOut,
    SettingsIn,
    StartedTasksOut,
)
from webapp.core.context import Ctx
from webapp.web.api import ADMIN, ANY, Api

mine = Api("quotas", "/api/v1/quotas", tag="Quotas")
admin = Api("administration", "/api/v1/admin", tag="Administration")


@mine.get("", auth=ANY, returns=list[MeterOut])
def my_quotas(ctx: Ctx) -> Any:
    """What the caller has used of what they may, and when it frees."""
    return [MeterOut.of(one) for one in service.meter(ctx)]


# -- quotas ----------------------------------------------------------------------------------------------------------


@admin.get("/quotas", auth=ADMIN, returns=list[GrantOut])
def list_grants(ctx: Ctx) -> Any:
    """Limits that were given to single people; the defaults are settings."""
    return [GrantOut.of(one) for one in service.grants(ctx)]


@admin.get("/users/<user_id>/quotas", auth=ADMIN, returns=list[MeterOut], errors=(404,))
def quotas_of(ctx: Ctx, user_id: str) -> Any:
    """What somebody has used of what they may."""
    return [MeterOut.of(one) for one in service.meter_of(ctx, user_id)]


@admin.put("/users/<user_id>/quotas/<name>", auth=ADMIN, body=LimitIn, returns=list[MeterOut], errors=(404,))
def set_quota(ctx: Ctx, user_id: str, name: str, body: LimitIn) -> Any:
    """Give somebody a limit of their own, in the quota's unit; null is without limit."""
    service.grant(ctx, user_id, name, body.limit)
    return _after(ctx, user_id)


@admin.delete("/users/<user_id>/quotas/<name>", auth=ADMIN, returns=list[MeterOut], errors=(404,))
def clear_quota(ctx: Ctx, user_id: str, name: str) -> Any:
    """The default counts for them again."""
    service.take_back(ctx, user_id, name)
    return _after(ctx, user_id)


def _after(ctx: Ctx, user_id: str) -> list[MeterOut]:
    from webapp.core import quotas

    quotas.forget(ctx.rt)  # what is believed for a second was read before the change
    shown = [MeterOut.of(one) for one in service.meter_of(ctx, user_id)]
    quotas.forget(ctx.rt)
    return shown


# -- retention -------------------------------------------------------------------------------------------------------


@admin.get("/retention", auth=ADMIN, returns=RetentionOut)
def get_retention(ctx: Ctx) -> Any:
    """How long things are kept, where that is set, and what would be deleted now."""
    return _retention(ctx, {})


@admin.post("/retention/preview", auth=ADMIN, body=RetentionIn, returns=list[GoingOut], errors=(409,))
def preview_retention(ctx: Ctx, body: RetentionIn) -> Any:
    """What would be deleted now by other settings; changes nothing."""
    return [GoingOut.model_validate(one) for one in service.going(ctx, body.wanted())]


@admin.put("/retention", auth=ADMIN, body=RetentionIn, returns=RetentionOut, errors=(409,))
def set_retention(ctx: Ctx, body: RetentionIn) -> Any:
    """Change how long things are kept; the next night goes by it."""
    wanted = body.wanted()
    service.keep(ctx, wanted)
    return _retention(ctx, wanted)


@admin.post("/retention/run", auth=ADMIN, returns=StartedTasksOut, status=202)
def run_retention(ctx: Ctx) -> Any:
    """Do now what is done each night."""
    return StartedTasksOut(task_ids=service.sweep_now(ctx))


def _retention(ctx: Ctx, wanted: dict[str, str | None]) -> RetentionOut:
    going = [GoingOut.model_validate(one) for one in service.going(ctx, wanted)]
    return RetentionOut(settings=[SettingOut.of(row) for row in service.shown(ctx)], going=going)


# -- settings --------------------------------------------------------------------------------------------------------


@admin.get("/settings", auth=ADMIN, returns=list[SettingOut])
def list_settings(ctx: Ctx) -> Any:
    """Every setting with what counts now and where it comes from; of secrets only whether they are set."""
    return [SettingOut.of(row) for row in service.listed(ctx)]


@admin.patch("/settings", auth=ADMIN, body=SettingsIn, returns=list[SettingOut], errors=(409,))
def change_settings(ctx: Ctx, body: SettingsIn) -> Any:
    """Change settings that may change while the program runs; 409 for one that the environment says."""
    service.change(ctx, body.values)
    return [SettingOut.of(row) for row in service.listed(ctx) if row.option.name in body.values]


APIS = [mine, admin]

"""Shapes of quotas, retention and settings on the wire, and of the forms of the pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from webapp.administration.service import Grant, Meter
from webapp.core.stored import Shown
from webapp.web.api import ApiModel

Days = Annotated[int, Field(ge=0, le=36500, description="0 keeps them.")]
LineText = Annotated[str | None, Field(max_length=2000)]
Most = 10**15


class MeterOut(ApiModel):
    name: str
    label: str
    unit: str
    used: int
    limit: int | None = Field(description="Null: without limit.")
    share: float | None = Field(description="used / limit.")
    daily: bool = Field(description="Counted from 00:00 UTC.")
    frees_at: datetime | None
    own: bool = Field(description="A limit of this person's own, not the default.")

    @classmethod
    def of(cls, one: Meter) -> MeterOut:
        quota = one.quota
        return cls(name=quota.name, label=quota.label, unit=quota.unit, used=one.used, limit=one.limit,
                   share=None if one.share is None else round(one.share, 4), daily=quota.daily, frees_at=one.frees_at,
                   own=one.own)  # fmt: skip


class GrantOut(ApiModel):
    user_id: str
    username: str
    name: str
    limit: int | None
    set_by: str
    set_at: datetime

    @classmethod
    def of(cls, one: Grant) -> GrantOut:
        return cls(user_id=one.user_id, username=one.username, name=one.quota.name, limit=one.most, set_by=one.set_by,
                   set_at=one.set_at)  # fmt: skip


class LimitIn(ApiModel):
    limit: Annotated[int, Field(ge=0, le=Most)] | None = Field(description="In the quota's unit; null: without limit.")


class SettingOut(ApiModel):
    name: str
    env: str
    value: Any = Field(description="Of a secret: whether it is set.")
    origin: str = Field(description="default, file, environment, flag or database.")
    changeable: bool = Field(description="An administrator may change it while the program runs.")
    help: str
    set_by: str | None
    set_at: datetime | None

    @classmethod
    def of(cls, row: Shown) -> SettingOut:
        option = row.option
        value = row.value if isinstance(row.value, bool | int | float | list | tuple) else row.text
        return cls(name=option.name, env=option.env[0], value=value, origin=row.origin,
                   changeable=option.live and not row.fixed, help=option.help, set_by=row.set_by or None,
                   set_at=row.set_at)  # fmt: skip


class SettingsIn(ApiModel):
    values: dict[str, LineText] = Field(
        max_length=100, min_length=1, description="By name, as in the environment; null goes back to the default."
    )


class RetentionIn(ApiModel):
    """What is left out stays; null goes back to the default."""

    retention_days: Days | None = None
    retention_tasks: list[Annotated[str, Field(max_length=80)]] | None = Field(
        None, max_length=100, description="Other days for a status or a kind: failed=90, summary=7."
    )
    retention_conversations_days: Days | None = None
    retention_files_days: Days | None = None
    retention_logs_days: Days | None = None
    retention_notifications_days: Days | None = None
    retention_searches_days: Days | None = None
    retention_audit_days: Days | None = None

    def wanted(self) -> dict[str, str | None]:
        given = self.model_dump(exclude_unset=True)
        return {name: ",".join(value) if isinstance(value, list) else None if value is None else str(value)
                for name, value in given.items()}  # fmt: skip


class GoingOut(ApiModel):
    what: str
    days: int
    count: int
    noun: str


class RetentionOut(ApiModel):
    settings: list[SettingOut]
    going: list[GoingOut] = Field(description="What would be deleted now, rule by rule.")


class StartedTasksOut(ApiModel):
    task_ids: list[str]


# -- forms -----------------------------------------------------------------------------------------------------------


class RetentionForm(ApiModel):
    """Text of every field, as it would stand in the environment; the service judges it."""

    retention_days: Annotated[str, Field(max_length=10)] = ""
    retention_tasks: Annotated[str, Field(max_length=2000)] = ""
    retention_conversations_days: Annotated[str, Field(max_length=10)] = ""
    retention_files_days: Annotated[str, Field(max_length=10)] = ""
    retention_logs_days: Annotated[str, Field(max_length=10)] = ""
    retention_notifications_days: Annotated[str, Field(max_length=10)] = ""
    retention_searches_days: Annotated[str, Field(max_length=10)] = ""
    retention_audit_days: Annotated[str, Field(max_length=10)] = ""
    seen: Annotated[str, Field(max_length=200)] = ""  # what would go, as it was shown

    def wanted(self) -> dict[str, str]:
        values = self.model_dump(exclude={"seen"})
        lines = values["retention_tasks"].replace("\r", "").replace(",", "\n").split("\n")
        values["retention_tasks"] = ",".join(line.replace(" ", "") for line in lines if line.strip())
        return {name: text.strip() for name, text in values.items()}


class DefaultsForm(ApiModel):
    quota_open_tasks: Annotated[str, Field(max_length=20)] = ""
    quota_tasks_per_day: Annotated[str, Field(max_length=20)] = ""
    quota_stored_mb: Annotated[str, Field(max_length=20)] = ""
    quota_tokens_per_day: Annotated[str, Field(max_length=20)] = ""


class PersonForm(ApiModel):
    username: Annotated[str, Field(min_length=1, max_length=254)]
    email: Annotated[str | None, Field(max_length=254)] = None
    password: Annotated[str, Field(max_length=1024)] = ""
    role: Literal["user", "admin"] = "user"


class RoleForm(ApiModel):
    role: Literal["user", "admin"]


class ResetForm(ApiModel):
    password: Annotated[str, Field(max_length=1024)] = ""


class LimitForm(ApiModel):
    """`amount` in the unit of the quota's setting: files in MB."""

    how: Literal["default", "none", "own"]
    amount: Annotated[str, Field(max_length=20)] = ""

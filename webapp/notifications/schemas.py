"""Shapes of notifications on the wire and of their forms."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator
from pydantic_core import to_json

from webapp.web.api import ApiModel

ShortName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class NotificationOut(ApiModel):
    """level: ok, info, warn or bad. url: a path of this server, or nothing."""

    id: str
    event: str
    level: str
    title: str
    text: str
    url: str
    task_id: str | None
    is_read: bool
    created_at: datetime


class NotificationPage(ApiModel):
    notifications: list[NotificationOut]
    unread: int
    next_cursor: str | None
    prev_cursor: str | None


class NotificationQuery(ApiModel):
    unread: bool = Field(False, description="Only those that were not read.")
    cursor: str | None = Field(None, max_length=400)
    limit: int = Field(25, ge=1, le=100)


class Count(ApiModel):
    unread: int


class ReadIn(ApiModel):
    read: bool = True


class RuleIO(ApiModel):
    """Tell me of `event` by `channel`: `inapp`, `email` (the account's address) or the id of a channel."""

    event: ShortName = Field(examples=["completed"])
    channel: ShortName = Field(examples=["inapp"])
    kinds: list[ShortName] = Field([], max_length=50, description="Only tasks of these kinds; none means all.")
    min_seconds: float = Field(0, ge=0, le=604_800, description="completed: only tasks that took at least as long.")


class Rules(ApiModel):
    rules: list[RuleIO] = Field(max_length=100)


class ChannelIn(ApiModel):
    channel: ShortName = Field(examples=["slack"])
    name: str = Field("", max_length=100)
    config: dict[str, Any] = Field(examples=[{"url": "https://hooks.example.org/services/abc"}])

    @field_validator("config")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(to_json(value)) > 20_000:
            raise ValueError("no more than 20,000 characters")
        return value


class ChannelOut(ApiModel):
    """Where it leads in a few words; what was filled in is not told again."""

    id: str
    channel: str
    name: str
    shown: str
    enabled: bool
    last_ok_at: datetime | None
    last_error: str | None
    created_at: datetime


class ChannelList(ApiModel):
    channels: list[ChannelOut]
    total: int


class Sent(ApiModel):
    delivery_id: str


# -- forms -----------------------------------------------------------------------------------------------------------


class RulesForm(ApiModel):
    """on: "event channel" of each box that is ticked; kinds: "event kind"."""

    on: list[Annotated[str, StringConstraints(max_length=100)]] = Field([], max_length=100)
    kinds: list[Annotated[str, StringConstraints(max_length=100)]] = Field([], max_length=200)
    min_seconds: float = Field(0, ge=0, le=604_800)
    action: str = Field("save", max_length=10)


class ChannelForm(ApiModel):
    name: str = Field("", max_length=100)

"""Shapes of webhooks on the wire (002:4911-4929, 5071-5079) and of their forms."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator
from pydantic_core import to_json

from webapp.web.api import ApiModel

EventName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
KindName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
HeaderValue = Annotated[str, StringConstraints(max_length=2000)]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
MOST_PARAMS = 100_000  # characters of a hook's parameters, as JSON


class SubscribeIn(ApiModel):
    """Where to send which events. `headers` go along with each message, `secret` signs it (made if none is given)."""

    url: str = Field(min_length=8, max_length=2048, examples=["https://example.org/webhook"])
    events: list[EventName] = Field(min_length=1, max_length=50, examples=[["task.completed", "task.failed"]])
    headers: dict[HeaderName, HeaderValue] | None = Field(None, max_length=10)
    secret: str | None = Field(None, min_length=12, max_length=200)
    kinds: list[KindName] = Field([], max_length=50, description="Only tasks of these kinds; none means all.")
    description: str = Field("", max_length=200)


class EndpointChange(ApiModel):
    """What is left out stays as it is."""

    url: str | None = Field(None, min_length=8, max_length=2048)
    events: list[EventName] | None = Field(None, min_length=1, max_length=50)
    headers: dict[HeaderName, HeaderValue] | None = Field(None, max_length=10)
    kinds: list[KindName] | None = Field(None, max_length=50)
    description: str | None = Field(None, max_length=200)
    enabled: bool | None = None


class SecretIn(ApiModel):
    secret: str | None = Field(None, min_length=12, max_length=200, description="Made if none is given.")


class EndpointOut(ApiModel):
    """Of the headers only the names are told. `secret` is there where it was just set, and never again."""

    id: str
    subscription_id: str
    url: str
    events: list[str]
    kinds: list[str]
    description: str
    headers: list[str]
    enabled: bool
    disabled_reason: str
    failures: int
    last_ok_at: datetime | None
    last_error: str | None
    secret_overlap_until: datetime | None
    created_at: datetime
    secret: str | None = None


class EndpointList(ApiModel):
    webhooks: list[EndpointOut]
    total: int


class AttemptOut(ApiModel):
    number: int
    at: datetime
    duration_ms: int
    status_code: int | None
    error: str | None
    response: str | None


class DeliveryOut(ApiModel):
    """status: waiting, sending, delivered, failed or cancelled. next_attempt_at: while it waits."""

    id: str
    delivery_id: str
    subscription_id: str
    event: str
    status: str
    attempts: list[AttemptOut]
    attempt_count: int
    status_code: int | None
    error: str | None
    payload: dict[str, Any]
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None


class DeliveryPage(ApiModel):
    deliveries: list[DeliveryOut]
    next_cursor: str | None
    prev_cursor: str | None


class DeliveryQuery(ApiModel):
    cursor: str | None = Field(None, max_length=400)
    limit: int = Field(25, ge=1, le=100)


class Placed(ApiModel):
    """A delivery was put out; its id is the `webhook-id` of the message."""

    delivery_id: str
    status: str
    event: str


class HookIn(ApiModel):
    """`config` holds the fixed parameters of the task, `fields` those that come from the message, by their path in it."""

    name: str = Field(min_length=1, max_length=100)
    task_type: KindName = Field(examples=["summary"])
    config: dict[str, Any] = Field({}, examples=[{"max_length": 100}])
    fields: dict[Annotated[str, StringConstraints(min_length=1, max_length=64)], PathText] = Field(
        {}, max_length=30, examples=[{"content": "article.text"}]
    )
    secret: str | None = Field(None, min_length=12, max_length=200)

    @field_validator("config")
    @classmethod
    def _small(cls, value: dict[str, Any]) -> dict[str, Any]:
        return small(value)


class HookChange(ApiModel):
    name: str | None = Field(None, min_length=1, max_length=100)
    config: dict[str, Any] | None = None
    fields: dict[Annotated[str, StringConstraints(min_length=1, max_length=64)], PathText] | None = Field(
        None, max_length=30
    )
    enabled: bool | None = None

    @field_validator("config")
    @classmethod
    def _small(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else small(value)


class HookOut(ApiModel):
    """`url` is where messages go: POST JSON, signed as Standard Webhooks says."""

    id: str
    url: str
    name: str
    task_type: str
    config: dict[str, Any]
    fields: dict[str, str]
    enabled: bool
    received: int
    last_at: datetime | None
    last_task_id: str | None
    created_at: datetime
    secret: str | None = None


class HookList(ApiModel):
    hooks: list[HookOut]
    total: int


class Received(ApiModel):
    """status `duplicate`: this id was taken before; nothing was started, and the task is the one of then."""

    task_id: str
    status: Literal["started", "duplicate"]


def small(value: dict[str, Any]) -> dict[str, Any]:
    if len(to_json(value)) > MOST_PARAMS:
        raise ValueError(f"no more than {MOST_PARAMS:,} characters")
    return value


# -- forms -----------------------------------------------------------------------------------------------------------


class EndpointForm(ApiModel):
    url: str = Field(min_length=8, max_length=2048)
    description: str = Field("", max_length=200)
    events: list[EventName] = Field([], max_length=50)
    more_events: str = Field("", max_length=500)
    kinds: list[KindName] = Field([], max_length=50)
    headers: str = Field("", max_length=10_000)
    secret: str = Field("", max_length=200)

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if value and len(value) < 12:
            raise ValueError("at least 12 characters, or none: then one is made")
        return value

    def all_events(self) -> list[str]:
        return [*self.events, *self.more_events.replace(",", " ").split()]

    def header_map(self) -> dict[str, str]:
        """Raises ValueError for a line that is no header."""
        found = {}
        for line in self.headers.splitlines():
            if line.strip():
                name, colon, value = line.partition(":")
                if not colon:
                    raise ValueError(f"{line[:40]!r}: write each as Name: value")
                found[name.strip()] = value.strip()
        return found


class HookForm(ApiModel):
    name: str = Field(min_length=1, max_length=100)
    kind: KindName = "summary"
    params: str = Field("", max_length=MOST_PARAMS)
    fields: str = Field("", max_length=5000)
    secret: str = Field("", max_length=200)

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if value and len(value) < 12:
            raise ValueError("at least 12 characters, or none: then one is made")
        return value

    def field_map(self) -> dict[str, str]:
        """Raises ValueError for a line that is no pair."""
        found = {}
        for line in self.fields.splitlines():
            if line.strip():
                name, mark, path = line.partition("=")
                if not mark:
                    raise ValueError(f"{line[:40]!r}: write each as parameter = place.in.the.message")
                found[name.strip()] = path.strip()
        return found

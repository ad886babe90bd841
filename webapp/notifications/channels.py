"""Channels: ways to reach a person. Built-ins below, a stranger's by the entry point group `brainstem.channels`.

docs/adding-a-channel.md walks through one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from webapp.core.registry import Registry

if TYPE_CHECKING:
    from webapp.core.http import Fetched
    from webapp.settings import Settings


@dataclass(frozen=True)
class Message:
    """What is told. level: ok, info, warn or bad. url: whole if the server knows its own address, else "".

    id stays the same when a message is tried again.
    """

    id: str
    event: str
    level: str
    title: str
    text: str
    url: str
    at: str  # ISO 8601, UTC
    task_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tools:
    """What a channel may use. post: JSON to an address through the outbound gate (raises AppError unless it is taken);
    fetch: any other request through it; settings: the program's."""

    settings: Settings
    post: Callable[..., None]  # post(url, {...}, headers={})
    fetch: Callable[..., Fetched]


@dataclass(frozen=True)
class Channel:
    """A way to reach people.

    config: what a person fills in, as a pydantic model; a field with json_schema_extra={"secret": True} is never shown.
    send: one attempt. Returning means it arrived; an AppError is tried again later, one with code "bad_target" is not.
    shown: where it leads, in a few words without secrets.
    missing: why it cannot be used on this server, "" when it can.
    """

    name: str
    label: str
    config: type[BaseModel]
    send: Callable[[Message, dict[str, Any], Tools], None]
    description: str = ""
    icon: str = "bell"
    shown: Callable[[Mapping[str, Any]], str] = lambda config: ""
    missing: Callable[[Settings], str] = lambda settings: ""


channels: Registry[Channel] = Registry(
    "brainstem.channels",
    noun="channel",
    builtin={
        "email": "webapp.notifications.mail:EMAIL",
        "slack": "webapp.notifications.slack:SLACK",
    },
)

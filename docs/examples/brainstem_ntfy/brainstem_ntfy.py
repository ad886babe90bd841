"""A channel of notifications in thirty lines: a topic on an ntfy server. docs/adding-a-channel.md walks through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.notifications.channels import Channel, Message, Tools

PRIORITY = {"bad": 4, "warn": 4}


class NtfyConfig(BaseModel):
    """What a person fills in; the form is made from it, and what is stored is encrypted."""

    model_config = ConfigDict(extra="forbid")

    server: str = Field("https://ntfy.sh", title="Server", max_length=500, pattern=r"^https?://\S+$")
    topic: str = Field(title="Topic", pattern=r"^[\w-]{1,64}$", description="Whoever knows it can read along.")
    token: str = Field("", title="Access token", max_length=200, json_schema_extra={"secret": True})


def send(message: Message, config: dict[str, Any], tools: Tools) -> None:
    """One attempt. Returning means it arrived; what `post` raises is tried again later, with the same message."""
    body = {"topic": config["topic"], "title": message.title, "message": message.text or message.title,
            "priority": PRIORITY.get(message.level, 3)}  # fmt: skip
    if message.url:
        body["click"] = message.url
    tools.post(config["server"], body, {"Authorization": f"Bearer {config['token']}"} if config.get("token") else {})


def shown(config: Mapping[str, Any]) -> str:
    return f"{config['topic']} on {config['server'].split('//', 1)[1].split('/', 1)[0]}"


CHANNEL = Channel("ntfy", "ntfy", NtfyConfig, send, description="A push message to a phone, by ntfy.", shown=shown)

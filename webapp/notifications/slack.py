"""Incoming webhooks of Slack, and of Mattermost, Rocket.Chat, Zulip and others that take the same JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.notifications.channels import Channel, Message, Tools

MARKS = {"ok": "✅", "warn": "⚠️", "bad": "❌"}


class SlackConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        title="Webhook address", min_length=10, max_length=2048, pattern=r"^https?://\S+$",
        description="From Slack: Apps, Incoming Webhooks. Mattermost, Rocket.Chat and Discord (with /slack) have the same.",
        json_schema_extra={"secret": True},
    )  # fmt: skip


def send(message: Message, config: dict[str, Any], tools: Tools) -> None:
    tools.post(config["url"], payload(message))


def payload(message: Message) -> dict[str, Any]:
    """`text` is what every one of them shows; titles are somebody's words and must not become links or calls."""
    title = escaped(message.title)
    head = f"<{message.url}|{title}>" if message.url else f"*{title}*"
    lines = [f"{MARKS.get(message.level, '')} {head}".strip()]
    if message.text:
        lines.append(escaped(message.text))
    return {"text": "\n".join(lines)}


def escaped(text: str) -> str:
    """Slack's three characters, and the bar and line ends that would leave a link's label."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(plain.replace("|", "¦").split())


def shown(config: Mapping[str, Any]) -> str:
    return str(config["url"]).split("//", 1)[-1].split("/", 1)[0]


SLACK = Channel("slack", "Slack or compatible", SlackConfig, send, icon="message-square", shown=shown,
                description="A message in a channel of Slack, Mattermost, Rocket.Chat or Discord.")  # fmt: skip

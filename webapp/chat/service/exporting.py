"""A conversation as a file: the shown branch as Markdown, the whole tree as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from webapp.chat.models import Conversation, Message
from webapp.core.db import iso

NAMES = {"user": "You", "assistant": "Brainstem", "system": "System"}


def markdown(conversation: Conversation, rows: Sequence[Message]) -> str:
    """The branch with its numbered sources below each answer."""
    lines = [f"# {_plain(conversation.title) or 'Conversation'}", "", f"{iso(conversation.created_at)}", ""]
    for row in rows:
        lines += [f"## {NAMES.get(row.role, row.role)}", "", row.content.rstrip() or f"*({row.state})*", ""]
        if row.meta.get("change"):
            lines += [f"*{_plain(row.meta['change']['text'])}*", ""]
        for source in row.sources:
            lines.append(_source(source))
        if row.sources:
            lines.append("")
    return "\n".join(lines)


def _source(source: dict[str, Any]) -> str:
    where = f"<{source['url']}>" if str(source.get("url") or "").startswith(("http://", "https://")) else ""
    quote = " ".join(str(source.get("quote") or "").split())
    parts = [_plain(str(source.get("title") or "")), where, f"“{quote}”" if quote else ""]
    return f"{source['number']}. " + ", ".join(part for part in parts if part)


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(text.split()))


def data(conversation: Conversation, rows: Sequence[Message]) -> dict[str, Any]:
    """Everything that was said, also on other branches, as the API shows it."""
    return {
        "format": "brainstem-conversation",
        "version": 1,
        "id": conversation.id,
        "title": conversation.title,
        "kind": conversation.kind,
        "created_at": iso(conversation.created_at),
        "head_id": conversation.head_id,
        "messages": [
            {"id": row.id, "parent_id": row.parent_id, "role": row.role, "content": row.content, "state": row.state,
             "agent": row.agent, "sources": row.sources, "checks": row.checks, "route": row.route,
             "metrics": row.metrics, "change": row.meta.get("change"), "error": row.error, "created_at": iso(row.created_at)}
            for row in rows
        ],
    }  # fmt: skip


def name(conversation: Conversation) -> str:
    """A file name without an ending, plain ASCII."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", conversation.title).strip("-")[:60].lower()
    return words or f"conversation-{conversation.id[:8]}"

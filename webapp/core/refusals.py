"""What another server's refusal says: its message, and when it may be asked again."""

from __future__ import annotations

import json
from typing import Any


def said_by(body: bytes) -> str:
    """The message of OpenAI's error shape, else the beginning of what there is."""
    try:
        found: Any = json.loads(body)
        found = found.get("error", found)
        found = found.get("message", found) if isinstance(found, dict) else found
    except (ValueError, AttributeError, RecursionError):
        found = body[:300].decode("utf-8", "replace")
    return " ".join(str(found).split())[:300] or "no reason given"


def retry_after(header: str | None) -> int | None:
    """Seconds of `Retry-After` (RFC 9110, 10.2.3); None for a date and for what is no number of days or less."""
    wait = header or ""
    return int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 7 else None

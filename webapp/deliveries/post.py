"""One POST to somebody's server, as all carriers that speak HTTP make it."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from webapp.core.http import safe_fetch
from webapp.deliveries import service as deliveries
from webapp.deliveries.service import Answer
from webapp.tasks.service import outbound_policy

if TYPE_CHECKING:
    from webapp.runtime import Runtime

TIMEOUT = 20.0  # seconds for connecting, sending and the whole answer
READ = 64 * 1024  # bytes of the answer that are read
SHOWN = 300  # characters of it that are kept for the log


def post(rt: Runtime, url: str, body: str, headers: Mapping[str, str], stopped: Callable[[], bool]) -> Answer:
    """POST JSON and judge the answer: 2xx is taken, 410 wants no more, 429 and 503 may say when to come back."""
    answer = safe_fetch(
        url,
        policy=outbound_policy(rt.settings),
        method="POST",
        headers={**headers, "Content-Type": "application/json"},
        body=body.encode(),
        timeout=TIMEOUT,
        max_bytes=READ,
        on_too_large="truncate",
        max_redirects=0,
        user_agent="Brainstem-Webhooks",
        cancelled=stopped,
    )
    text = answer.body[: 4 * SHOWN].decode("utf-8", "replace")[:SHOWN]
    if 200 <= answer.status < 300:
        return Answer(code=answer.status, text=text)
    if answer.status == 410:
        return Answer("it answered 410 Gone", 410, text, gone=True)
    after = retry_after(answer.headers.get("retry-after")) if answer.status in (429, 503) else None
    words = f"it answered {answer.status}" + (
        ", a redirect, which is not followed" if 300 <= answer.status < 400 else ""
    )
    return Answer(words, answer.status, text, after=after)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After asks for: a number, or a date (RFC 9110 10.2.3). None for anything else."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - deliveries.now())
    except (TypeError, ValueError, OverflowError):
        return None

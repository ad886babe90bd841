"""Structured logs: every line carries the request's or the task's id; secrets are taken out before writing."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

from webapp.core.optional import left_out

with left_out("rich"):  # paints tracebacks for a terminal, for 6 MB
    import structlog

# What looks like one of our credentials, or a password in a URL.
_SECRETS = (
    (re.compile(r"\b(bs_[A-Za-z0-9]{4,12})[A-Za-z0-9_-]{12,}"), r"\1…"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "[token]"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]{8,}"), "whsec_…"),
    (re.compile(r"(://[^/\s:@]*:)[^@\s/]+@"), r"\1…@"),
    (re.compile(r"([?&]token=)[^&\s\"']+"), r"\1…"),
    (re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?bearer\s+)\S+"), r"\1…"),
)


def setup(level: str, style: str) -> None:
    """Send all logging through one handler on standard error, as JSON lines or as text for a terminal."""
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_json:
        last += [structlog.processors.format_exc_info, _redact, structlog.processors.JSONRenderer()]
    else:
        last += [_redact, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("dramatiq", "urllib3", "trafilatura", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    # Several workers on one broker are meant here: they share no queue.
    logging.getLogger("dramatiq.broker").setLevel(logging.ERROR)


def bind(**values: Any) -> None:
    """Put values on every line this request or task logs from now on; whatever was bound before is forgotten."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**{name: value for name, value in values.items() if value is not None})


def redact(text: str) -> str:
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _redact(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
    return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}

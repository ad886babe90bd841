"""The log page: the last lines at once, new ones by the documented WebSocket, all of it as a file."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

from webapp.core.context import Ctx
from webapp.core.errors import BadRequest
from webapp.tasks import dialects, service
from webapp.tasks.live import LEVELS
from webapp.web.page import Pages, render

pages = Pages("logs_pages")
READ = "tasks:read"
FIRST = 120  # lines of the first paint: a later visit stays under 20 kB
MOST = 1000  # lines a page holds and a download has

Filters = dict[str, str]


@pages.get("/logs", auth=READ)
def index(ctx: Ctx) -> Any:
    filters = _filters()
    return render("logs/index.html", lines=_lines(ctx, filters, FIRST), filters=filters, levels=LEVELS, first=FIRST,
                  most=MOST)  # fmt: skip


@pages.get("/logs/download.<fmt>", auth=READ)
def download(ctx: Ctx, fmt: str) -> Any:
    """The newest lines that fit the filters, oldest first, as text or as JSON lines."""
    if fmt not in ("txt", "jsonl"):
        raise BadRequest("there is no such download", suggestion="Use txt or jsonl.")
    write = _as_text if fmt == "txt" else _as_json
    text = "".join(write(line) + "\n" for line in _lines(ctx, _filters(), MOST))
    kind = "text/plain" if fmt == "txt" else "application/x-ndjson"
    response = Response(text, content_type=f"{kind}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="brainstem-log.{fmt}"'
    response.headers["Content-Security-Policy"] = "sandbox"
    return response


def _filters() -> Filters:
    """The names of the log API; a level that does not exist is no filter."""
    given = {name: request.args.get(name, "").strip()[:200] for name in ("search", "level", "task_id", "agent_id")}
    return given | {"level": given["level"] if given["level"] in LEVELS else ""}


def _lines(ctx: Ctx, filters: Filters, limit: int) -> list[dict[str, Any]]:
    """Oldest first: a log is read downwards."""
    found = service.log_entries(
        ctx, task_id=filters["task_id"] or None, level=filters["level"] or None, search=filters["search"] or None,
        limit=limit,
    )  # fmt: skip
    lines = [dialects.log_entry(event, task) for event, task in reversed(found)]
    return [line for line in lines if not filters["agent_id"] or line["agent_id"] == filters["agent_id"]]


def _as_text(line: dict[str, Any]) -> str:
    where = " ".join(filter(None, (line["source"], line["task_id"], line["agent_id"])))
    return f"{line['timestamp']} {line['level'].upper():<7} {where}: {_one_line(line['message'])}"


def _one_line(text: str) -> str:
    """A message must not be able to look like a line of its own."""
    return " ".join(text.split())


def _as_json(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))

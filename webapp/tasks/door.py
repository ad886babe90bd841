"""The blueprint that all pages of tasks stand on: the list and one task (pages), the forms (new_pages)."""

from __future__ import annotations

from flask import Response, redirect

from webapp.tasks.kinds import kinds
from webapp.web.page import Pages, is_htmx

pages = Pages("tasks_pages")
READ, WRITE = "tasks:read", "tasks:write"


def kinds_shown(*, offered: bool = False) -> list[dict[str, str]]:
    """Kinds by name for a choice: all that people see, or those that the page for new tasks offers."""
    return [{"name": kind.name, "label": kind.label, "description": kind.description, "icon": ICONS.get(kind.name, "zap")}
            for _, kind in kinds.all() if not kind.hidden and (kind.offered or not offered)]  # fmt: skip


ICONS = {"summary": "text-initial", "research": "book-open", "content_generation": "pencil", "data_analysis": "chart-line",
         "custom": "list-checks", "decision": "equal", "nlp": "quote", "api": "webhook"}  # fmt: skip


def to(url: str) -> Response:
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)  # type: ignore[return-value]

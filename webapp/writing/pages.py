"""What is shown of a text: a section as HTML, and the whole while it is being written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import make_response, url_for
from markupsafe import Markup

from webapp.chat import markup
from webapp.core.context import Ctx
from webapp.tasks import service as tasks
from webapp.web.page import Pages, render
from webapp.writing.views import draft_of

pages = Pages("writing_pages")
STOP_POLLING = 286  # htmx: swap this, then ask no more


@pages.get("/tasks/<task_id>/draft", auth="tasks:read")
def draft(ctx: Ctx, task_id: str) -> Any:
    """The text of a task as far as it is written; a part of the task's page, which asks for it while it runs."""
    task = tasks.get(ctx, task_id)
    html = render("writing/_draft.html", draft=draft_of(ctx.rt, task))
    return make_response(html, STOP_POLLING if task.is_final else 200)


@pages.app_template_filter("written")
def written(row: dict[str, Any], sources: Sequence[dict[str, Any]]) -> Markup:
    """A section's Markdown as HTML: its numbers lead to the sources below, what no source says is marked."""
    unsupported = [
        (one["start"], one["end"]) for one in row.get("sentences") or () if one.get("verdict") == "unsupported"
    ]
    return markup.render(
        row["text"], numbers=[one["number"] for one in sources], unsupported=unsupported, href="#source-",
        icons=url_for("static", filename="icons.svg"), pending=not sources,
    )  # fmt: skip

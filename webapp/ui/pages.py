"""`/ui`: every component and token in every state, for developers (only with DEBUG) and for the pictures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from webapp.core.context import Ctx
from webapp.core.db import utcnow
from webapp.ui import samples
from webapp.web.page import Pages, render

pages = Pages("ui_pages")


@pages.get("/ui", auth="tasks:read")
def index(ctx: Ctx) -> Any:
    now = utcnow()
    return render(
        "ui/index.html",
        states=samples.tasks(now),
        form=samples.FORM,
        table_rows=samples.table_rows(now),
        now=now,
        earlier=now - timedelta(minutes=3),
        **samples.DATA,
    )

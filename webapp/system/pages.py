"""The system page, and the part of it that is asked for every five seconds."""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.system import views
from webapp.web.api import ADMIN
from webapp.web.page import Pages, render

pages = Pages("system_pages")


@pages.get("/system", auth=ADMIN)
def index(ctx: Ctx) -> Any:
    return render("system/index.html", **views.page(ctx.rt))


@pages.get("/system/now", auth=ADMIN)
def now(ctx: Ctx) -> Any:
    return render("system/_now.html", **views.page(ctx.rt))

"""Help: the documentation inside the application, and the link to its fitting part on every page."""

from __future__ import annotations

from typing import Any

from flask import request, url_for

from webapp.core.context import Ctx
from webapp.help import service
from webapp.web.page import Pages, render

pages = Pages("help_pages")


@pages.get("/help/", auth="tasks:read")
def index(ctx: Ctx) -> Any:
    return _shown(service.INDEX)


@pages.get("/help/<name>", auth="tasks:read")
def show(ctx: Ctx, name: str) -> Any:
    return _shown(name)


def _shown(name: str) -> str:
    return render("help/show.html", page=service.page(name), index=service.INDEX)


@pages.app_template_global("help_url")
def help_url(place: str = "") -> str:
    """The address of `document#section`; without one, what helps on the page that is being shown."""
    name, _, anchor = (place or service.place(request.endpoint or "")).partition("#")
    return url_for("help_pages.show", name=name, _anchor=anchor or None)

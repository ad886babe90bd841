"""A page on which Omeruta's documented client class runs as it is, and the socket it opens.

The class is not ours to ship. An operator who has it puts it into `clients/omeruta-brain-client.js` of the home folder;
until then a class of our own with the same methods does the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Response, current_app

from webapp.core.context import Ctx
from webapp.omeruta.feed import AgentFeed
from webapp.web.auth import relax_csp
from webapp.web.live import hub
from webapp.web.page import Pages, render

pages = Pages("omeruta_pages")
CLIENT = "omeruta-brain-client.js"


@pages.get("/agents/classic", auth="tasks:write")
def classic(ctx: Ctx) -> Any:
    """The class writes `style="width: .."` into its markup: style attributes are allowed here and nowhere else (C48)."""
    relax_csp(style_src_attr="'unsafe-inline'")
    return render("omeruta/classic.html", given=_given(ctx).is_file())


@pages.get("/agents/classic/client.js", auth="any")
def client(ctx: Ctx) -> Any:
    """The operator's file, else our own class."""
    file = _given(ctx)
    if not file.is_file():
        file = Path(str(current_app.static_folder)) / "agent-client.js"
    return Response(file.read_bytes(), content_type="text/javascript; charset=utf-8",
                    headers={"Cache-Control": "no-cache"})  # fmt: skip


def _given(ctx: Ctx) -> Path:
    return Path(ctx.rt.settings.home_dir) / "clients" / CLIENT


def sockets(sock: Any) -> None:
    # No `app_ping`: this client sends no pings; the protocol's own keep the connection (shapes.md 9).
    sock.live("/ws/agent/", lambda ctx: AgentFeed(hub(), ctx), scope="tasks:write")

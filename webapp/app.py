"""The application: settings -> runtime -> areas -> error handlers."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request
from jinja2 import Template
from jinja2.environment import TemplateModule
from jinja2.runtime import Context
from markupsafe import Markup, escape

from webapp import __version__, areas, identity, runtime
from webapp.core import logs
from webapp.core.db import utcnow
from webapp.runtime import Runtime
from webapp.ui import draw
from webapp.web import assets, auth, database, errors, guard, live
from webapp.web.hub import Hub
from webapp.web.page import dom_id

ROOT = Path(__file__).resolve().parent.parent


class _Template(Template):
    """Imported macros see the globals of the environment and no others, so an import need not compare them.

    Jinja does so at each import, and a list imports macros in each of its rows: a third of the page's time.
    """

    def _get_default_module(self, ctx: Context | None = None) -> TemplateModule:
        return super()._get_default_module()


def create_app(rt: Runtime | None = None) -> Flask:
    """The WSGI application over `rt` (this process's runtime if not given). Starts no worker."""
    from flask_openapi import Info, OpenAPI

    from webapp.tasks import live as task_feeds
    from webapp.tasks.kinds import kinds
    from webapp.tasks.views import fragment_drawer
    from webapp.web.api import ErrorOut

    rt = rt or runtime.runtime()
    app = OpenAPI(
        "webapp",
        info=Info(title="Brainstem", version=__version__, description="Long work, durable, visible and honest."),
        doc_ui=False,
        security_schemes={
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": "brainstem_session"},
        },
        validation_error_model=ErrorOut,
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "static"),
        static_url_path="/static",
    )
    app.openapi_version = "3.1.0"
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config.update(
        MAX_CONTENT_LENGTH=rt.settings.largest_upload_mb * 2**20 + 2**20,
        MAX_FORM_MEMORY_SIZE=4 * 2**20,
        MAX_FORM_PARTS=600,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
        TEMPLATES_AUTO_RELOAD=rt.settings.debug,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.template_class = _Template
    kinds.add_setting(rt.settings.plugins)
    app.extensions["runtime"] = rt
    app.extensions["hub"] = Hub(rt, task_feeds.read, task_feeds.moved)
    app.extensions["draw"] = fragment_drawer(app)
    database.init_app(app, rt)
    auth.init_app(app, rt)
    identity.wire(app)
    errors.install(app)
    areas.register(app, live.init(app))
    _around_requests(app, rt)
    assets.install(app)
    _for_templates(app)
    return app


def _around_requests(app: Flask, rt: Runtime) -> None:
    from webapp.health.metrics import count_request, time_request

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        logs.bind(request_id=guard.request_id())
        # Only uploads may be large; the limit per request is set before anything is read.
        if request.mimetype != "multipart/form-data":
            request.max_content_length = rt.settings.max_body_kb * 1024

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = guard.request_id()
        if request.url_rule is not None and "began" in g:
            time_request(request.path, time.perf_counter() - g.began)
        if request.url_rule is not None and request.path.startswith(("/api/", "/v1/")):
            count_request(request.method, request.url_rule.rule, response.status_code)
        return response


def _for_templates(app: Flask) -> None:
    app.jinja_env.globals.update(dom_id=dom_id, app_version=__version__, transport_hint="")
    app.jinja_env.tests["web"] = is_web
    app.jinja_env.filters.update(
        timeago=timeago, duration=duration, breakable=breakable, coded=coded, browser_name=browser_name
    )
    draw.install(app)

    @app.template_global()
    def navigation(is_admin: bool) -> list[dict[str, Any]]:
        return areas.menu(app.view_functions, request.endpoint or "", is_admin)


def breakable(name: object) -> Markup:
    """A name made of parts, such as a model's: where there is no room it breaks behind one of them."""
    return Markup(re.sub(r"([-_/:@.,]+)(?=\w)", r"\1<wbr>", str(escape(name))))


def coded(text: str) -> Markup:
    """What stands between backticks, as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def browser_name(agent: str) -> str:
    """`Firefox on Linux`; a program's own first word, such as `curl/8.5`; the rest only where nothing is known of it."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    if not browser:
        return agent if agent.startswith("Mozilla/") else agent.split(" ")[0]
    return f"{browser} on {system}" if system else browser


# The first that fits: later ones are named by earlier ones too.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"),
             ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
            ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"))  # fmt: skip


def is_web(url: object) -> bool:
    """`{% if url is web %}`: an address that a page may link to. What others store beside their texts may be `javascript:`."""
    return isinstance(url, str) and re.match(r"https?://[^/]", url, re.IGNORECASE) is not None


def timeago(at: datetime | None) -> str:
    """`2 min ago`, `in 3 h`, `yesterday`: the words app.js keeps true while the page stays open."""
    if at is None:
        return "–"
    seconds = (utcnow() - at).total_seconds()
    amount = _amount(abs(seconds))
    if amount is None:
        return "now"
    return f"{amount} ago" if seconds > 0 else f"in {amount}"


def _amount(seconds: float) -> str | None:
    if seconds < 10:
        return None
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return None


def duration(seconds: float | None) -> str:
    """`34 ms`, `0.4 s`, `12 s`, `3 min 7 s`, `2 h 5 min`."""
    if seconds is None:
        return "–"
    if seconds < 0.0995:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"

"""The documentation pages. Their bundles come out of the installed packages; nothing is loaded from elsewhere."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

from flask import Response, current_app, send_file

from webapp.core.context import Ctx
from webapp.core.errors import NotFound
from webapp.web.api import openapi
from webapp.web.auth import csp_nonce, relax_csp
from webapp.web.page import Pages

pages = Pages("apidocs_pages")

ASSETS = {
    "swagger-ui.css": ("flask_openapi_swagger.templates", "swagger/css/swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": ("flask_openapi_swagger.templates", "swagger/js/swagger-ui-bundle.js", "text/javascript"),
    "redoc.js": ("flask_openapi_redoc.templates", "redoc/js/redoc.standalone.js", "text/javascript"),
}

SWAGGER = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>API · Brainstem</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="/static/favicon.svg">
<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<script nonce="{nonce}">(function(d){{let t=null;try{{t=localStorage.getItem("theme")}}catch(e){{}}
if(t==="dark"||(t!=="light"&&matchMedia("(prefers-color-scheme: dark)").matches))d.classList.add("dark-mode");
else d.style.colorScheme="light"}})(document.documentElement)</script><style nonce="{nonce}">
body{{margin:0;background:#f8f8fa;font-family:system-ui,sans-serif}}
.bar{{display:flex;align-items:center;gap:8px;min-height:48px;padding:0 20px;border-bottom:1px solid #e5e5eb;font-size:14px}}
.bar a{{display:inline-flex;align-items:center;gap:8px;min-height:32px;color:#1b1c22;font-weight:600;text-decoration:none}}
.bar a+a{{margin-left:auto;color:#424dbd;font-weight:400}}.bar a:hover{{text-decoration:underline}}
.swagger-ui .info{{margin:24px 0}}.swagger-ui .scheme-container{{padding:0 0 8px;background:none;box-shadow:none}}
.swagger-ui .filter .operation-filter-input{{width:100%;max-width:none;box-sizing:border-box}}
html.dark-mode body,html.dark-mode .swagger-ui,html.dark-mode .swagger-ui .scheme-container{{background:#121318!important;box-shadow:none}}
.dark-mode .bar{{border-color:#282a33}}
.dark-mode .bar a{{color:#e9e9ee}}.dark-mode .bar a+a{{color:#a5aefb}}
</style></head><body>
<header class="bar"><a href="/"><img src="/static/favicon.svg" alt="" width="22" height="22">Brainstem</a><a href="/">Back to the app</a></header>
<main id="swagger"></main>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script nonce="{nonce}">SwaggerUIBundle({{url: "/openapi.json", dom_id: "#swagger", deepLinking: true,
docExpansion: "none", filter: true, persistAuthorization: true, validatorUrl: null}})</script></body></html>"""

REDOC = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>API · Brainstem</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="/static/favicon.svg">
<meta name="color-scheme" content="light dark"><style>html.dark {{color-scheme: dark}} html.light {{color-scheme: light}}
body {{margin: 0}}
.back {{display: block; width: fit-content; padding: .75rem 1.5rem; color: CanvasText; font: .875rem/1.5 system-ui, sans-serif}}
h1, h2, h3 {{overflow-wrap: break-word !important; word-break: normal !important}}
@media (max-width: 40rem) {{h1 {{font-size: 1.5rem !important}} h2 {{font-size: 1.25rem !important}}}}
html.dark [data-testid="floating-button"] {{background: #3a3d4a; color: #c3cbff}}
html.dark [data-testid="floating-button"] svg path {{fill: #c3cbff}}
[data-testid="floating-button"]:focus-visible {{outline: 2px solid; outline-offset: 2px}}
a[href^="https://redocly.com/redoc"] {{display: none !important}}</style>
</head><body><a class="back" href="/">Back to the app</a><div id="redoc"></div>
<script type="module" nonce="{nonce}">import {{ init }} from "/docs/assets/redoc.js";
init("/openapi.json", {{disableSearch: false, hideLoading: false,
theme: {{typography: {{fontFamily: "system-ui, sans-serif", headings: {{fontFamily: "system-ui, sans-serif"}}}}}}}},
document.getElementById("redoc"))</script></body></html>"""


@pages.get("/openapi.json", auth="public")
def spec(ctx: Ctx) -> Any:
    return Response(document(current_app._get_current_object()), mimetype="application/json")  # type: ignore[attr-defined]


@lru_cache(maxsize=4)
def document(app: Any) -> bytes:
    from pydantic_core import to_json

    return to_json(openapi(app))


@pages.get("/docs", auth="public")
def swagger(ctx: Ctx) -> Any:
    # Swagger UI sets inline styles while it draws.
    relax_csp(style_src="'self' 'unsafe-inline'", img_src="'self' data:")
    return SWAGGER.format(nonce=csp_nonce())


@pages.get("/redoc", auth="public")
def redoc(ctx: Ctx) -> Any:
    # ReDoc styles itself by script and searches in a worker made from a blob.
    relax_csp(
        style_src="'self' 'unsafe-inline'", worker_src="'self' blob:", font_src="'self' data:", img_src="'self' data:"
    )
    return REDOC.format(nonce=csp_nonce())


@pages.get("/docs/assets/<name>", auth="public")
def asset(ctx: Ctx, name: str) -> Any:
    if name not in ASSETS:
        raise NotFound("there is no such file")
    package, path, kind = ASSETS[name]
    response = send_file(str(files(package).joinpath(path)), mimetype=kind, max_age=86400)
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response

"""The search page: results while one types, the same without JavaScript by a plain form."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.knowledge.service import collections, facets
from webapp.knowledge.service import search as service
from webapp.knowledge.service.filters import Filters
from webapp.knowledge.service.search import Found, Hit
from webapp.knowledge.snippets import whole
from webapp.web.page import Pages, is_htmx, render

pages = Pages("search_pages")
READ = "tasks:read"
STEP = 20
TYPES = (
    ("text/html", "Web pages"),
    ("application/pdf", "PDF"),
    ("text/markdown", "Markdown"),
    ("text/plain", "Plain text"),
    ("application/vnd.openxmlformats-officedocument", "Office files"),
    ("message/", "Mail"),
)
NAMES = ("q", "collection", "source", "document", "language", "type", "since", "until", "quality", "mode")


@pages.get("/knowledge/search", auth=READ)
def index(ctx: Ctx) -> Any:
    """All of it at the first paint; while somebody types only the results."""
    given = {name: request.args.get(name, "").strip()[: 4000 if name == "q" else 128] for name in NAMES}
    k = min(service.MOST, max(STEP, request.args.get("k", STEP, type=int)))
    shelves = [(one.collection.id, one.collection.name) for one in collections.list_(ctx)]
    choices: dict[str, Any] = {} if is_htmx() else {
        "languages": facets.languages(ctx), "sources": facets.sources(ctx, given["collection"]),
        "recent": service.recent(ctx), "passages": facets.passages(ctx),
    }  # fmt: skip
    document = facets.title(ctx, given["document"])
    found, problem = _search(ctx, given, k)
    shown = [_shown(hit, found, dict(shelves)) for hit in found.hits] if found else []
    template = "search/_found.html" if is_htmx() else "search/index.html"
    return render(template, given=given, found=found, hits=shown, problem=problem, k=k, step=STEP, most=service.MOST,
                  shelves=shelves, types=TYPES, document=document, add=_add_url(), narrowed=_narrowed(given),
                  **choices)  # fmt: skip


def _search(ctx: Ctx, given: dict[str, str], k: int) -> tuple[Found | None, str]:
    if not given["q"]:
        return None, ""
    try:
        found = service.search(
            ctx, given["q"], collections=[given["collection"]] if given["collection"] else None, k=k,
            mode=given["mode"] or "hybrid", filters=_filters(given), per_document=0 if given["document"] else 1,
            via="page",
        )  # fmt: skip
    except AppError as problem:
        return None, problem.message
    return found, ""


def _filters(given: dict[str, str]) -> Filters:
    def one(name: str) -> tuple[str, ...]:
        return (given[name],) if given[name] else ()

    try:
        quality = float(given["quality"]) if given["quality"] else None
    except ValueError:
        quality = None
    return Filters(
        source_ids=one("source"), document_ids=one("document"), languages=one("language"), content_types=one("type"),
        since=given["since"] or None, until=given["until"] or None,
        min_quality=quality if quality is not None and 0 <= quality <= 1 else None,
    )  # fmt: skip


def _narrowed(given: dict[str, str]) -> int:
    return sum(bool(given[name]) for name in ("source", "language", "type", "since", "until", "quality"))


def _host(url: str) -> str | None:
    """Of a page of the web. Whoever stores a document may write any address beside it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def _shown(hit: Hit, found: Found, shelves: dict[str, str]) -> dict[str, Any]:
    return {
        "hit": hit, "parts": hit.snippet.parts(), "whole": whole(hit.text, found.query).parts() if hit.snippet.cut else None,
        "shelf": shelves.get(hit.collection_id, ""), "host": _host(hit.url or ""),
        "open": _open_url(hit, found.event_id), "percent": round(hit.score * 100),
    }  # fmt: skip


def _open_url(hit: Hit, event_id: str | None) -> str:
    return url_for("search_pages.open_", document_id=hit.document_id, chunk=hit.chunk_id, search=event_id)


def _add_url() -> str:
    return url_for("knowledge_pages.index")


@pages.get("/knowledge/search/open/<document_id>", auth=READ, write=True)
def open_(ctx: Ctx, document_id: str) -> Any:
    """On to the document, at the passage; the search remembers what was opened from it."""
    facets.readable_document(ctx, document_id)
    search = request.args.get("search", "")[:40]
    if search:
        service.clicked(ctx, search, document_id)
    chunk = request.args.get("chunk", type=int)
    return redirect(url_for("knowledge_pages.document", document_id=document_id, chunk=chunk, _anchor="cited"))

"""Pages of knowledge: collections, one collection with its sources and documents, a document, a citation."""

from __future__ import annotations

from typing import Any

from flask import Response, current_app, flash, jsonify, make_response, redirect, request, url_for

from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.embedding import service as embedding
from webapp.knowledge import connecting, embed, facts, markup, plain, views
from webapp.knowledge.forms import CollectionForm, IdsForm, LinkForm, SettingsForm, ShareForm, TextForm
from webapp.knowledge.service import assessing, browse, citations, collections, sources
from webapp.knowledge.service.collections import Summary
from webapp.knowledge.service.sources import File
from webapp.nlp.words import NAMES
from webapp.web.page import BoundForm, Pages, is_htmx, render, toast

pages = Pages("knowledge_pages")
READ, WRITE = "tasks:read", "tasks:write"
NEWEST = 4  # sources shown on the collection's page besides those that are being read or failed
TROUBLED = 30
EMPTY: dict[str, Any] = {"values": {}, "errors": {}}


@pages.get("/knowledge", auth=READ)
def index(ctx: Ctx) -> Any:
    return _index(ctx, EMPTY)


def _index(ctx: Ctx, form: dict[str, Any], status: int = 200) -> Any:
    html = render("knowledge/index.html", found=collections.list_(ctx), form=form, search=_search(None),
                  embedders=embedding.available(ctx.rt))  # fmt: skip
    return make_response(html, status)


@pages.post("/knowledge", auth=WRITE, form=CollectionForm)
def create(ctx: Ctx, form: BoundForm) -> Any:
    if form.ok:
        try:
            row = collections.create(ctx, form.data.name, form.data.description, embedder=form.data.embedder or None)
        except AppError as exc:
            _blame(form, exc, ("name", "description", "embedder"))
        else:
            return _to(url_for("knowledge_pages.show", collection_id=row.id))
    return _index(ctx, form.view(), 422)


def _search(collection_id: str | None) -> str | None:
    """The address of the search page, if there is one."""
    if "search_pages.index" not in current_app.view_functions:
        return None
    return url_for("search_pages.index", collection=collection_id)


# -- one collection --------------------------------------------------------------------------------------------------


@pages.get("/knowledge/<collection_id>", auth=READ)
def show(ctx: Ctx, collection_id: str) -> Any:
    return _show(ctx, collection_id)


def _show(ctx: Ctx, collection_id: str, add: str = "", form: dict[str, Any] | None = None, status: int = 200) -> Any:
    found = collections.summary(ctx, collection_id)
    html = render("knowledge/collection.html", tab="documents", add=add, form=form or EMPTY, **_head(ctx, found),
                  state=assessing.state_of(ctx, found.collection.id),
                  **_reading(ctx, found), **_documents(ctx, found))  # fmt: skip
    return make_response(html, status)


def _head(ctx: Ctx, found: Summary) -> dict[str, Any]:
    row = found.collection
    return {"one": found, "c": row, "mine": found.access == "owner", "search": _search(row.id),
            "embedder": embedding.info(ctx.rt, row.embedder), "accepted": ",".join(sorted(sources.accepted())),
            "max_upload_mb": ctx.rt.settings.largest_upload_mb, "connectors": connecting.offered()}  # fmt: skip


def _reading(ctx: Ctx, found: Summary) -> dict[str, Any]:
    """What is being read now, what failed, and what was read last."""
    from webapp.tasks import service as tasks
    from webapp.tasks.views import view

    ident = found.collection.id
    counts = sources.counts(ctx, ident)
    rows = list(sources.list_(ctx, ident, limit=NEWEST).items)
    for state in ("failed", "reading", "new"):
        if counts.get(state):
            rows += sources.list_(ctx, ident, state=state, limit=TROUBLED).items
    rows = sorted({row.id: row for row in rows}.values(), key=lambda row: row.id, reverse=True)
    working = tasks.by_ids(ctx, list({row.task_id for row in rows if row.state in sources.OPEN and row.task_id}))
    active = [task for task in working.values() if not task.is_final]
    active += tasks.working_on(ctx, (embed.KIND, "knowledge.embed"), {"collection_id": ident})
    return {"sources": views.source_list(ctx, rows), "source_counts": counts, "total_sources": found.sources,
            "working": [view(task) for task in sorted(active, key=lambda one: one.id)]}  # fmt: skip


def _documents(ctx: Ctx, found: Summary) -> dict[str, Any]:
    filters = {name: request.args.get(name, "")[:200] for name in ("q", "state", "source")}
    page = browse.list_(
        ctx, collection_id=found.collection.id, q=filters["q"] or None, state=filters["state"] or None,
        source_id=filters["source"] or None, cursor=request.args.get("cursor"), limit=50,
    )  # fmt: skip
    return {"page": page, "filters": filters}


@pages.get("/knowledge/<collection_id>/reading", auth=READ)
def reading(ctx: Ctx, collection_id: str) -> Any:
    """The part of the page that changes while sources are read."""
    found = collections.summary(ctx, collection_id)
    return render("knowledge/_reading.html", **_head(ctx, found), **_reading(ctx, found))


@pages.get("/knowledge/<collection_id>/sources", auth=READ)
def source_list(ctx: Ctx, collection_id: str) -> Any:
    found = collections.summary(ctx, collection_id)
    state = request.args.get("state", "")[:20]
    page = sources.list_(ctx, collection_id, state=state or None, cursor=request.args.get("cursor"), limit=50)
    return render("knowledge/sources.html", tab="sources", state=state, page=page, counts=sources.counts(ctx, found.collection.id),
                  rows=views.source_list(ctx, page.items), **_head(ctx, found))  # fmt: skip


# -- adding ----------------------------------------------------------------------------------------------------------


@pages.post("/knowledge/<collection_id>/files", auth=WRITE)
def add_files(ctx: Ctx, collection_id: str) -> Any:
    """Several files; the script of the page sends a few at a time and wants to hear what became of each."""
    given = [
        File(one.stream, one.filename or "", one.mimetype) for one in request.files.getlist("files") if one.filename
    ]
    made, refused = sources.add_files(ctx, collection_id, given)
    if request.headers.get("X-Upload") == "1":
        return jsonify({"taken": [one.label for one in made], "refused": refused})
    if not given:
        flash("Choose at least one file.", "warning")
    for one in refused:
        flash(f"{one['name']}: {one['error']}.", "warning")
    return _to(url_for("knowledge_pages.show", collection_id=collection_id))


@pages.post("/knowledge/<collection_id>/links", auth=WRITE, form=LinkForm)
def add_links(ctx: Ctx, collection_id: str, form: BoundForm) -> Any:
    collections.writable(ctx, collection_id)
    if form.ok:
        try:
            for url in form.data.addresses():
                sources.add_url(ctx, collection_id, url, kind=form.data.kind, config=form.data.config())
        except AppError as exc:
            ctx.db.rollback()
            _blame(form, exc, ("urls", "include", "exclude", "max_pages", "max_depth"), {"url": "urls"})
        else:
            return _to(url_for("knowledge_pages.show", collection_id=collection_id))
    return _show(ctx, collection_id, "links", form.view(), 422)


@pages.post("/knowledge/<collection_id>/text", auth=WRITE, form=TextForm)
def add_text(ctx: Ctx, collection_id: str, form: BoundForm) -> Any:
    collections.writable(ctx, collection_id)
    if form.ok:
        try:
            sources.add_text(ctx, collection_id, form.data.text, form.data.title)
        except AppError as exc:
            ctx.db.rollback()
            _blame(form, exc, ("text", "title"))
        else:
            return _to(url_for("knowledge_pages.show", collection_id=collection_id))
    return _show(ctx, collection_id, "text", form.view(), 422)


@pages.post("/knowledge/sources/<source_id>/read", auth=WRITE)
def read_source(ctx: Ctx, source_id: str) -> Any:
    row = sources.read_again(ctx, source_id)
    return _back(row.collection_id, f"Reading {row.label[:80]} again")


@pages.post("/knowledge/<collection_id>/retry", auth=WRITE)
def retry_failed(ctx: Ctx, collection_id: str) -> Any:
    number = sources.retry_failed(ctx, collection_id)
    return _back(collection_id, f"Reading {number} {'source' if number == 1 else 'sources'} again")


@pages.post("/knowledge/sources/<source_id>/delete", auth=WRITE)
def delete_source(ctx: Ctx, source_id: str) -> Any:
    collection_id = sources.get(ctx, source_id).collection_id
    number = sources.remove(ctx, source_id)
    return _back(collection_id, f"Removed, with {number} {'document' if number == 1 else 'documents'}")


def _back(collection_id: str, message: str) -> Any:
    where = url_for("knowledge_pages.show", collection_id=collection_id)
    if is_htmx():
        return toast(make_response("", 204), message)
    flash(message + ".", "info")
    return _to(where)


# -- settings --------------------------------------------------------------------------------------------------------


@pages.get("/knowledge/<collection_id>/settings", auth=WRITE)
def settings(ctx: Ctx, collection_id: str) -> Any:
    return _settings(ctx, collection_id)


def _settings(ctx: Ctx, collection_id: str, form: dict[str, Any] | None = None, share_form: dict[str, Any] | None = None,
              status: int = 200) -> Any:  # fmt: skip
    row = collections.writable(ctx, collection_id)
    found = collections.summary(ctx, row.id)
    values = {"name": row.name, "description": row.description, "everyone": "1" if row.everyone else "",
              "embedder": row.building_embedder or row.embedder}  # fmt: skip
    html = render("knowledge/settings.html", tab="settings", form=form or {"values": values, "errors": {}},
                  embedders=[one for one in embedding.available(ctx.rt) if one.available or one.id == values["embedder"]],
                  share_form=share_form or EMPTY, people=collections.shares(ctx, row.id), **_head(ctx, found))  # fmt: skip
    return make_response(html, status)


@pages.post("/knowledge/<collection_id>/settings", auth=WRITE, form=SettingsForm)
def save_settings(ctx: Ctx, collection_id: str, form: BoundForm) -> Any:
    collections.writable(ctx, collection_id)
    if form.ok:
        try:
            collections.update(ctx, collection_id, name=form.data.name, description=form.data.description,
                               everyone=form.data.everyone, embedder=form.data.embedder or None)  # fmt: skip
        except AppError as exc:
            _blame(form, exc, ("name", "description", "embedder"))
        else:
            flash("Saved.", "ok")
            return _to(url_for("knowledge_pages.settings", collection_id=collection_id))
    return _settings(ctx, collection_id, form=form.view(), status=422)


@pages.post("/knowledge/<collection_id>/shares", auth=WRITE, form=ShareForm)
def share(ctx: Ctx, collection_id: str, form: BoundForm) -> Any:
    collections.writable(ctx, collection_id)
    if form.ok:
        try:
            collections.share(ctx, collection_id, form.data.username)
        except AppError as exc:
            form.fail("username", f"{exc.message}. {exc.suggestion or ''}".strip())
        else:
            return _to(url_for("knowledge_pages.settings", collection_id=collection_id) + "#people")
    return _settings(ctx, collection_id, share_form=form.view(), status=422)


@pages.post("/knowledge/<collection_id>/shares/<user_id>/delete", auth=WRITE)
def unshare(ctx: Ctx, collection_id: str, user_id: str) -> Any:
    collections.unshare(ctx, collection_id, user_id)
    return _to(url_for("knowledge_pages.settings", collection_id=collection_id) + "#people")


@pages.post("/knowledge/<collection_id>/delete", auth=WRITE)
def delete(ctx: Ctx, collection_id: str) -> Any:
    name = collections.writable(ctx, collection_id).name
    collections.remove(ctx, collection_id)
    flash(f"{name} was deleted.", "info")
    return _to(url_for("knowledge_pages.index"))


# -- documents -------------------------------------------------------------------------------------------------------


@pages.get("/knowledge/documents/<document_id>", auth=READ)
def document(ctx: Ctx, document_id: str) -> Any:
    """The text as it is now or, with ?version=, as it was; ?chunk= shows one passage of it marked."""
    row = browse.get(ctx, document_id)
    version = browse.version(ctx, row, request.args.get("version") or None)
    marked = _chunk(ctx, row, request.args.get("chunk")) if version.id == row.version_id else None
    number = _number(request.args.get("part"), 1)
    part = browse.part(version.text, number=number, around=marked.start if marked else None)
    span = (marked.start - part.start, min(marked.end - part.start, len(part.text))) if marked else None
    return render("knowledge/document.html", view="text", version=version, part=part, marked=marked,
                  html=markup.render(part.text, span), **_document(ctx, row))  # fmt: skip


@pages.get("/knowledge/documents/<document_id>/passages", auth=READ)
def passages(ctx: Ctx, document_id: str) -> Any:
    row = browse.get(ctx, document_id)
    after = _number(request.args.get("after"), -1)
    found = browse.chunks(ctx, row, after=after, limit=50)
    more = bool(found) and found[-1].position < row.chunk_count - 1
    return render("knowledge/document.html", view="passages", chunks=found, plain=plain.one_line, after=after, more=more,
                  version=browse.version(ctx, row), **_document(ctx, row))  # fmt: skip


@pages.get("/knowledge/documents/<document_id>/versions", auth=READ)
def versions(ctx: Ctx, document_id: str) -> Any:
    """The list, and the difference between two of them: by default the newest and the one before."""
    row = browse.get(ctx, document_id)
    shown = _document(ctx, row)
    found = shown["versions"]
    new = browse.version(ctx, row, request.args.get("new") or row.version_id)
    older = [one.id for one in found if one.number < new.number]
    wanted = request.args.get("old") or (older[0] if older else "")
    old = browse.version(ctx, row, wanted) if wanted else None
    return render("knowledge/document.html", view="versions", version=new, new=new, old=old, too_long=_too_long(old, new),
                  **shown)  # fmt: skip


def _too_long(old: Any, new: Any) -> bool:
    """Comparing takes time in the square of the lines that differ."""
    return old is not None and max(len(old.text), len(new.text)) > 400_000


def _document(ctx: Ctx, row: Any) -> dict[str, Any]:
    found = collections.summary(ctx, row.collection_id)
    return {"d": row, "c": found.collection, "mine": found.access == "owner", "versions": browse.versions(ctx, row),
            "cited": browse.cited(ctx, row), "facts": facts.shown(row.meta),
            "language": NAMES.get((row.language or "").split("-")[0].lower(), row.language),
            "fresh": assessing.freshness_of(row) if row.url else None, "source": sources.get(ctx, row.source_id) if row.source_id else None}  # fmt: skip


def _chunk(ctx: Ctx, row: Any, number: str | None) -> Any:
    if not number or not number.isascii() or not number.isdigit() or len(number) > 15:
        return None
    return browse.chunk(ctx, row, int(number))


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else default


@pages.post("/knowledge/documents/<document_id>/delete", auth=WRITE)
def delete_document(ctx: Ctx, document_id: str) -> Any:
    row = browse.get(ctx, document_id)
    browse.remove(ctx, document_id)
    flash(f"{row.title[:100]} was deleted.", "info")
    return _to(url_for("knowledge_pages.show", collection_id=row.collection_id))


@pages.post("/knowledge/<collection_id>/documents/delete", auth=WRITE, form=IdsForm)
def delete_documents(ctx: Ctx, collection_id: str, form: BoundForm) -> Any:
    collections.writable(ctx, collection_id)
    if not form.ok or not form.data.ids:
        flash("Choose at least one document first.", "warning")
    else:
        number = browse.remove_many(ctx, collection_id, form.data.ids)
        flash(f"{number} {'document' if number == 1 else 'documents'} deleted.", "info")
    return _to(url_for("knowledge_pages.show", collection_id=collection_id))


# -- citations -------------------------------------------------------------------------------------------------------


@pages.get("/knowledge/citations/<citation_id>", auth=READ)
def citation(ctx: Ctx, citation_id: str) -> Any:
    """The stored copy at the highlighted words, with the live page and the fetch date beside it."""
    found = citations.open_(ctx, citation_id)
    row = found.citation
    part = browse.part(found.version.text, around=row.start)
    span = (row.start - part.start, min(row.end - part.start, len(part.text)))
    return render("knowledge/citation.html", found=found, cite=row, d=found.document, c=found.collection,
                  version=found.version, part=part, html=markup.render(part.text, span))  # fmt: skip


@pages.app_template_filter("blocks")
def blocks(text: str | None, most: int = 0) -> list[str | plain.Table]:
    """What a quote shows: paragraphs and tables."""
    return plain.blocks(text or "", most)


@pages.app_template_filter("one_line")
def one_line(text: str | None) -> str:
    """Stored Markdown as words in one line, for where a quote is only named."""
    return plain.one_line(text or "")


# -- small things ----------------------------------------------------------------------------------------------------


def _blame(form: BoundForm, exc: AppError, fields: tuple[str, ...], names: dict[str, str] | None = None) -> None:
    text = f"{exc.message}. {exc.suggestion}" if exc.suggestion else exc.message
    for detail in exc.details or [{"loc": [""], "msg": text}]:
        name = str(detail["loc"][0]) if detail["loc"] else ""
        name = (names or {}).get(name, name)
        form.fail(name if name in fields else "", detail["msg"])


def _to(url: str) -> Response:
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)  # type: ignore[return-value]

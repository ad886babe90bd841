"""Pages of conversations: the list, one conversation, its sources, and the fragment of an answer that is being written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response, current_app, flash, make_response, redirect, request, url_for

from webapp.chat import service, views
from webapp.chat.choices import agent_choices, engine_choices, examples, shelf_choices
from webapp.chat.forms import AskForm, EditForm, PinForm, RenameForm
from webapp.chat.models import Conversation
from webapp.chat.service import messages
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.web.page import BoundForm, Pages, is_htmx, render, toast

pages = Pages("chat_pages")
READ, WRITE = "tasks:read", "tasks:write"
STOP_POLLING = 286
SHOWN = 60  # messages of a branch on the page, unless more are asked for
EMPTY: dict[str, Any] = {"values": {}, "errors": {}}


@pages.get("/chat", auth=READ)
def index(ctx: Ctx) -> Any:
    """The start of a conversation, with the list of those that are there."""
    return _page(ctx, None)


@pages.get("/chat/<conversation_id>", auth=READ)
def show(ctx: Ctx, conversation_id: str) -> Any:
    return _page(ctx, service.get(ctx, conversation_id))


def _page(ctx: Ctx, row: Conversation | None, form: dict[str, Any] | None = None, status: int = 200) -> Any:
    html = render("chat/index.html", **_listing(ctx), **_thread(ctx, row), **_composer(ctx, row), form=form or EMPTY,
                  removed=_removed(ctx))  # fmt: skip
    return make_response(html, status)


def _listing(ctx: Ctx) -> dict[str, Any]:
    q = request.args.get("q", "").strip()[:200]
    found = service.search(ctx, q, limit=50) if q else []
    page = service.list_(ctx, cursor=request.args.get("cursor") or None, limit=40)
    return {"page": page, "q": q, "found": found}


def _thread(ctx: Ctx, row: Conversation | None) -> dict[str, Any]:
    if row is None:
        return {"c": None, "thread": [], "earlier": 0, "stands": ""}
    tree = messages.nodes(ctx.db, row.id)
    branch = messages.path(ctx.db, row, limit=None if request.args.get("all") else SHOWN, tree=tree)
    return {"c": row, "thread": views.thread(ctx, branch, tree), "earlier": messages.depth(tree, branch),
            "stands": service.mark(row)}  # fmt: skip


def _composer(ctx: Ctx, row: Conversation | None) -> dict[str, Any]:
    from webapp.extraction.service import ACCEPTED

    shelves, documents = shelf_choices(ctx, row)
    return {"agents": agent_choices(ctx), "shelves": shelves, "documents": documents, "examples": examples(ctx),
            "has_model": messages.writes_by_model(ctx, ""), "accepted": ",".join(sorted(ACCEPTED)),
            "files": views.files(ctx, row)}  # fmt: skip


def _removed(ctx: Ctx) -> Conversation | None:
    ident = request.args.get("removed", "")
    if not ident:
        return None
    try:
        row = service.get(ctx, ident, removed=True)
    except NotFound:
        return None
    return row if row.removed_at is not None else None


@pages.get("/chat/list", auth=READ, limit="240/minute")
def listing(ctx: Ctx) -> Any:
    """The list alone: what a search found, or its next page."""
    current = request.args.get("c", "")
    row = service.get(ctx, current) if current else None
    name = "chat/_list_items.html" if request.args.get("cursor") else "chat/_list.html"
    return render(name, c=row, **_listing(ctx))


@pages.get("/chat/<conversation_id>/thread", auth=READ, limit="240/minute")
def thread(ctx: Ctx, conversation_id: str) -> Any:
    """The shown branch alone, for a page that was told to look; nothing (204) while it is as the page has it."""
    row = service.get(ctx, conversation_id)
    if request.args.get("have") == service.mark(row):
        return Response(status=204)
    return render("chat/_thread.html", **_thread(ctx, row))


@pages.get("/chat/engines", auth=READ)
def engines(ctx: Ctx) -> Any:
    """The models that can be chosen, as options; servers may have to be asked, so the page does not wait for it."""
    ctx.db.commit()
    return render("chat/_engines.html", engines=engine_choices(ctx.rt), chosen=request.args.get("chosen", "")[:200])


# -- asking ----------------------------------------------------------------------------------------------------------


@pages.post("/chat", auth=WRITE, form=AskForm)
def start(ctx: Ctx, form: BoundForm) -> Any:
    """The first question makes the conversation."""
    file = request.files.get("file")
    if form.ok and file is not None and file.filename:
        return _with_file(ctx, form, file)
    if not form.ok or not form.data.question:
        return _page(ctx, None, _blamed(form), 422)
    return _ask(ctx, service.create(ctx), form)


def _with_file(ctx: Ctx, form: BoundForm, file: Any) -> Any:
    """The home page's box sends a file along: it is read first, and the question waits in the box."""
    from webapp.knowledge.service.sources import File

    row = service.create(ctx)
    _, refused = service.attach(ctx, row.id, [File(file.stream, file.filename or "", file.mimetype)])
    if refused:
        ctx.db.rollback()
        flash(f"{refused[0]['name']}: {refused[0]['error']}.", "warning")
        return _page(ctx, None, {"values": {"text": form.data.question}, "errors": {}}, 422)
    return _page(ctx, row, {"values": {"text": form.data.question}, "errors": {}})


@pages.post("/chat/begin", auth=WRITE)
def begin(ctx: Ctx) -> Any:
    """A conversation without a question yet, for files that are dropped before one is asked."""
    row = service.create(ctx)
    return {"id": row.id, "url": url_for("chat_pages.show", conversation_id=row.id),
            "files": url_for("chat_pages.attach", conversation_id=row.id)}  # fmt: skip


@pages.post("/chat/<conversation_id>", auth=WRITE, form=AskForm)
def ask(ctx: Ctx, conversation_id: str, form: BoundForm) -> Any:
    row = service.get(ctx, conversation_id)
    if not form.ok or not form.data.question:
        return _page(ctx, row, _blamed(form), 422)
    return _ask(ctx, row, form)


def _blamed(form: BoundForm) -> dict[str, Any]:
    if form.ok:
        form.fail("text", "Write a question first.")
    return form.view()


def _ask(ctx: Ctx, row: Conversation, form: BoundForm) -> Any:
    data: AskForm = form.data
    service.update(ctx, row.id, config={"agent": data.agent, "engine": data.engine, "collections": data.collections})
    service.ask(ctx, row, data.question)
    return _after(ctx, row.id)


def _after(ctx: Ctx, conversation_id: str, message: str = "") -> Any:
    """htmx gets the thread, everybody else the page."""
    if is_htmx() and request.headers.get("HX-Target") == "thread":
        response = make_response(render("chat/_thread.html", **_thread(ctx, service.get(ctx, conversation_id))))
        return toast(response, message) if message else response
    if message:
        flash(message + ".", "info")
    return _to(url_for("chat_pages.show", conversation_id=conversation_id))


@pages.post("/chat/<conversation_id>/choices", auth=WRITE, form=AskForm)
def choose(ctx: Ctx, conversation_id: str, form: BoundForm) -> Any:
    """Keep who answers from what, as soon as it is chosen."""
    if not form.ok:
        raise BadRequest("these choices are none")
    data: AskForm = form.data
    service.update(ctx, conversation_id,
                   config={"agent": data.agent, "engine": data.engine, "collections": data.collections})  # fmt: skip
    return Response(status=204)


# -- one message -----------------------------------------------------------------------------------------------------


@pages.get("/chat/messages/<message_id>", auth=READ)
def answer(ctx: Ctx, message_id: str) -> Any:
    """The answer as it is now; the lowest rung of the ladder asks for it every two seconds."""
    row = service.message(ctx, message_id)
    shown = views.thread(ctx, [row], messages.nodes(ctx.db, row.conversation_id), exact=True)[0]
    if shown.role != "assistant":
        raise NotFound("there is no such answer")
    return make_response(render("chat/_answer.html", m=shown), STOP_POLLING if shown.is_final else 200)


@pages.post("/chat/messages/<message_id>/stop", auth=WRITE)
def stop(ctx: Ctx, message_id: str) -> Any:
    return _after(ctx, service.cancel(ctx, message_id).conversation_id)


@pages.post("/chat/messages/<message_id>/regenerate", auth=WRITE)
def regenerate(ctx: Ctx, message_id: str) -> Any:
    row, _ = service.regenerate(ctx, message_id, agent=request.form.get("agent") or None,
                                engine=request.form.get("engine"))  # fmt: skip
    return _after(ctx, row.conversation_id)


@pages.post("/chat/messages/<message_id>/retry", auth=WRITE)
def retry(ctx: Ctx, message_id: str) -> Any:
    return _after(ctx, service.retry(ctx, message_id)[0].conversation_id)


@pages.post("/chat/messages/<message_id>/edit", auth=WRITE, form=EditForm)
def edit(ctx: Ctx, message_id: str, form: BoundForm) -> Any:
    old = service.message(ctx, message_id)
    if not form.ok or not form.data.text.strip():
        if is_htmx():
            raise BadRequest("write a question first")
        return _page(ctx, service.get(ctx, old.conversation_id), _blamed(form), 422)
    return _after(ctx, service.edit(ctx, message_id, form.data.text)[0].conversation_id)


@pages.post("/chat/messages/<message_id>/branch", auth=WRITE)
def branch(ctx: Ctx, message_id: str) -> Any:
    return _after(ctx, service.branch(ctx, message_id).id)


@pages.post("/chat/messages/<message_id>/expand", auth=WRITE)
def expand(ctx: Ctx, message_id: str) -> Any:
    """Look for more sources for a question; the new answer comes into the thread."""
    return _after(ctx, service.expand(ctx, message_id)[0].conversation_id)


@pages.get("/chat/messages/<message_id>/sources/<number>", auth=READ)
def source(ctx: Ctx, message_id: str, number: str) -> Any:
    """A cited source: in the panel beside the answer, or as a page where no script opens one."""
    row = service.message(ctx, message_id)
    found = next((one for one in row.sources if str(one.get("number")) == number), None)
    if found is None:
        raise NotFound("there is no such source")
    copy_url = None
    if found.get("citation_id") and "knowledge_pages.citation" in current_app.view_functions:
        copy_url = url_for("knowledge_pages.citation", citation_id=found["citation_id"])
    return _source(found, copy_url, url_for("chat_pages.show", conversation_id=row.conversation_id), bare=False)


def _source(found: dict[str, Any], copy_url: str | None, back: str, *, bare: bool) -> Any:
    name = "chat/_source.html" if is_htmx() else "chat/source.html"
    return render(name, s=found, fetched=_when(found.get("fetched_at")), copy_url=copy_url, back=back, bare=bare,
                  panel=is_htmx())  # fmt: skip


def _when(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


# -- one conversation ------------------------------------------------------------------------------------------------


@pages.post("/chat/<conversation_id>/rename", auth=WRITE, form=RenameForm)
def rename(ctx: Ctx, conversation_id: str, form: BoundForm) -> Any:
    if not form.ok:
        raise BadRequest("use at most 200 characters")
    service.update(ctx, conversation_id, title=form.data.title)
    return _after(ctx, conversation_id)


@pages.post("/chat/<conversation_id>/pin", auth=WRITE, form=PinForm)
def pin(ctx: Ctx, conversation_id: str, form: BoundForm) -> Any:
    service.update(ctx, conversation_id, pinned=bool(form.ok and form.data.pinned))
    return _after(ctx, conversation_id)


@pages.post("/chat/<conversation_id>/delete", auth=WRITE)
def remove(ctx: Ctx, conversation_id: str) -> Any:
    service.remove(ctx, conversation_id)
    return _to(url_for("chat_pages.index", removed=conversation_id))


@pages.post("/chat/<conversation_id>/restore", auth=WRITE)
def restore(ctx: Ctx, conversation_id: str) -> Any:
    service.restore(ctx, conversation_id)
    return _after(ctx, conversation_id)


@pages.get("/chat/<conversation_id>/export.<fmt>", auth=READ)
def export(ctx: Ctx, conversation_id: str, fmt: str) -> Any:
    """The shown branch as Markdown, or the whole tree as JSON; always as an attachment."""
    row = service.get(ctx, conversation_id)
    return views.exported(ctx, row, fmt)


@pages.post("/chat/<conversation_id>/share", auth=WRITE)
def share(ctx: Ctx, conversation_id: str) -> Any:
    try:
        service.share(ctx, conversation_id)
    except Conflict as exc:
        ctx.db.rollback()
        flash(f"{exc.message.capitalize()}. {exc.suggestion or ''}".strip(), "warning")
    return _to(url_for("chat_pages.show", conversation_id=conversation_id) + "#share")


@pages.post("/chat/<conversation_id>/unshare", auth=WRITE)
def unshare(ctx: Ctx, conversation_id: str) -> Any:
    service.unshare(ctx, conversation_id)
    return _after(ctx, conversation_id, "The link leads nowhere any more")


# -- files -----------------------------------------------------------------------------------------------------------


@pages.get("/chat/<conversation_id>/files", auth=READ, limit="240/minute")
def files(ctx: Ctx, conversation_id: str) -> Any:
    row = service.get(ctx, conversation_id)
    return render("chat/_files.html", c=row, files=views.files(ctx, row))


@pages.post("/chat/<conversation_id>/files", auth=WRITE)
def attach(ctx: Ctx, conversation_id: str) -> Any:
    from webapp.knowledge.service.sources import File

    given = [
        File(one.stream, one.filename or "", one.mimetype) for one in request.files.getlist("files") if one.filename
    ]
    _, refused = service.attach(ctx, conversation_id, given)
    row = service.get(ctx, conversation_id)
    return render("chat/_files.html", c=row, files=views.files(ctx, row), refused=refused)


@pages.post("/chat/<conversation_id>/files/<source_id>/delete", auth=WRITE)
def detach(ctx: Ctx, conversation_id: str, source_id: str) -> Any:
    service.detach(ctx, conversation_id, source_id)
    return files(ctx, conversation_id)


# -- for whoever has the link ----------------------------------------------------------------------------------------


@pages.get("/shared/<token>", auth="public", limit="120/minute")
def shared(ctx: Ctx, token: str) -> Any:
    row, branch = service.shared(ctx.db, token)
    html = render(
        "chat/shared.html", c=row, thread=views.read_only(branch, token), token=token, shared=token, bare=True
    )
    return _unlisted(html)


@pages.get("/shared/<token>/<answer>/sources/<number>", auth="public", limit="240/minute")
def shared_source(ctx: Ctx, token: str, answer: str, number: str) -> Any:
    found = service.shared_source(ctx.db, token, answer, number)
    return _unlisted(_source(found, None, url_for("chat_pages.shared", token=token), bare=True))


def _unlisted(html: str) -> Response:
    response = make_response(html)
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _to(url: str) -> Response:
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)  # type: ignore[return-value]


@pages.app_template_global("source_url")
def source_url(m: Any, number: int, token: str | None = None) -> str:
    if token:
        return url_for("chat_pages.shared_source", token=token, answer=m.id, number=number)
    return url_for("chat_pages.source", message_id=m.id, number=number)


@pages.app_template_global("can_expand")
def can_expand() -> bool:
    return service.can_expand()


@pages.app_template_global("url_exists")
def url_exists(endpoint: str) -> bool:
    return endpoint in current_app.view_functions

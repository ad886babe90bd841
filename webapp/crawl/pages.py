"""Pages of crawls: the list, the form, and one crawl live with each address's fate."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, make_response, redirect, request, url_for
from pydantic import BaseModel, Field

from webapp.core.context import Ctx
from webapp.core.errors import AppError
from webapp.crawl import service
from webapp.crawl.rendering import HOW
from webapp.knowledge.service import collections
from webapp.tasks.views import view
from webapp.web.page import BoundForm, Pages, is_htmx, render

pages = Pages("crawl_pages")
READ, WRITE = "tasks:read", "tasks:write"
RENDERING = f"Pages that fill themselves by a script show more in a browser. {HOW}"
STOP_POLLING = 286  # htmx: swap this, then ask no more
FIELDS = ("urls", "collection_id", "read_as", "stay", "max_depth", "max_pages", "include", "exclude", "delay", "name")


class CrawlForm(BaseModel):
    urls: str = Field("", max_length=200_000)
    collection_id: str = Field("", max_length=40)
    read_as: str = Field("site", max_length=16)
    stay: str = Field("site", max_length=16)
    max_depth: int = Field(3, ge=0, le=20)
    max_pages: int = Field(200, ge=1, le=20_000)
    include: str = Field("", max_length=30_000)
    exclude: str = Field("", max_length=30_000)
    delay: str = Field("", max_length=10)
    name: str = Field("", max_length=300)

    def params(self) -> dict[str, Any]:
        found: dict[str, Any] = self.model_dump(exclude={"urls", "include", "exclude", "delay"})
        found["collection_id"] = self.collection_id or None
        found |= {"urls": self.urls.split(), "include": _lines(self.include), "exclude": _lines(self.exclude)}
        return found | ({"delay": self.delay.strip()} if self.delay.strip() else {})


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pages.get("/knowledge/crawls", auth=READ)
def index(ctx: Ctx) -> Any:
    found = service.list_(ctx, cursor=request.args.get("cursor"), limit=25)
    return render("crawl/index.html", jobs=[_shown(job) for job in found.items], page=found)


@pages.get("/knowledge/crawls/new", auth=WRITE)
def new(ctx: Ctx) -> Any:
    names = ("urls", "collection_id", "read_as")
    values = {name: request.args.get(name, "")[:4000] for name in names if name in request.args}
    return _form(ctx, {"values": values, "errors": {}})


def _form(ctx: Ctx, form: dict[str, Any], status: int = 200) -> Any:
    own = [one.collection for one in collections.list_(ctx) if one.access == "owner" and not one.collection.bundled]
    options = [(one.id, one.name) for one in own]
    if not any(name == collections.DEFAULT_NAME for _, name in options):
        options.insert(0, ("", collections.DEFAULT_NAME))
    return make_response(render("crawl/new.html", form=form, collections=options), status)


@pages.post("/knowledge/crawls", auth=WRITE, form=CrawlForm)
def create(ctx: Ctx, form: BoundForm) -> Any:
    if form.ok:
        try:
            made = service.start(ctx, form.data.params())
        except AppError as exc:
            ctx.db.rollback()
            for detail in exc.details or [{"loc": [""], "msg": exc.message}]:
                name = str(detail["loc"][0]) if detail["loc"] else ""
                form.fail(name if name in FIELDS else "", detail["msg"])
        else:
            return _to(url_for("crawl_pages.show", crawl_id=made.id))
    return _form(ctx, form.view(), 422)


@pages.get("/knowledge/crawls/<crawl_id>", auth=READ)
def show(ctx: Ctx, crawl_id: str) -> Any:
    job = service.get(ctx, crawl_id)
    state, q = request.args.get("state", ""), request.args.get("q", "")[:200]
    found = service.addresses(ctx, job.crawl.id, state=state or None, q=q or None, cursor=request.args.get("cursor"),
                              limit=50)  # fmt: skip
    collection = collections.get(ctx, job.crawl.collection_id)
    return render("crawl/show.html", **_live(ctx, job), found=found, state=state, q=q, collection=collection)


@pages.get("/knowledge/crawls/<crawl_id>/live", auth=READ)
def live_fragment(ctx: Ctx, crawl_id: str) -> Any:
    job = service.get(ctx, crawl_id)
    over = job.task is None or job.task.is_final
    return make_response(render("crawl/_live.html", **_live(ctx, job)), STOP_POLLING if over else 200)


def _live(ctx: Ctx, job: service.Job) -> dict[str, Any]:
    reasons = service.reasons(ctx, job.crawl)
    unrendered = any(reason == "needs_script" for _, reason, _ in reasons)
    return {"job": _shown(job) | {"unrendered": unrendered}, "reasons": reasons, "hint": RENDERING,
            "latest": service.latest(ctx, job.crawl)}  # fmt: skip


def _shown(job: service.Job) -> dict[str, Any]:
    row = job.crawl
    return {"id": row.id, "name": row.name, "seeds": row.seeds, "config": row.config, "created_at": row.created_at,
            "finished_at": row.finished_at, "fates": job.fates, "total": job.total, "pages": job.pages,
            "hidden": row.counts.get("not shown", 0), "bytes": row.counts.get("bytes", 0),
            "task": view(job.task) if job.task is not None else None}  # fmt: skip


@pages.post("/knowledge/crawls/<crawl_id>/again", auth=WRITE)
def again(ctx: Ctx, crawl_id: str) -> Any:
    """The same once more; pages that did not change cost their server next to nothing."""
    row = service.get(ctx, crawl_id).crawl
    made = service.start(ctx, {**row.config, "urls": row.seeds, "collection_id": row.collection_id, "name": row.name})
    flash("It is being read again.", "info")
    return _to(url_for("crawl_pages.show", crawl_id=made.id))


class ExpandForm(BaseModel):
    topic: str = Field("", max_length=4000)
    collection_id: str = Field("", max_length=40)


@pages.post("/knowledge/expand", auth=WRITE, form=ExpandForm)
def expand(ctx: Ctx, form: BoundForm) -> Any:
    """More pages about what was searched for, into the collection that was searched or, if it is another's, one's own."""
    from webapp.tasks import service as tasks

    chosen = form.data.collection_id if form.ok else ""
    own = {one.collection.id for one in collections.list_(ctx) if one.access == "owner" and not one.collection.bundled}
    topic = " ".join(form.data.topic.split())[:500] if form.ok else ""
    try:
        params = {"topic": topic, "collection_id": chosen if chosen in own else None}
        task = tasks.start(ctx, "knowledge.expand", params, title=f"More about {topic}"[:300], interactive=True)
    except AppError as exc:
        ctx.db.rollback()
        flash(f"{exc.message}.", "warning")
        return _to(url_for("search_pages.index"))
    return _to(url_for("tasks_pages.show", task_id=task["id"]))


def _to(url: str) -> Response:
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return redirect(url, 303)  # type: ignore[return-value]

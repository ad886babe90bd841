"""`crawl.site`: read a site, a list of pages, a sitemap or a feed into a collection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from webapp.core.errors import AppError, BadRequest
from webapp.crawl import service
from webapp.crawl.engine import Crawler
from webapp.crawl.fetching import Fetcher, Validators
from webapp.crawl.frontier import Frontier
from webapp.crawl.params import CrawlParams
from webapp.crawl.reading import Reader
from webapp.crawl.spool import Spool
from webapp.knowledge.service import web
from webapp.tasks.kinds import TaskKind
from webapp.tasks.service import outbound_policy

if TYPE_CHECKING:
    from webapp.core.context import Ctx
    from webapp.tasks.run import TaskRun


def prepare(ctx: Ctx, params: dict[str, Any]) -> None:
    """The collection must be the caller's to change; a private host must be one the operator approved."""
    from webapp.core.addresses import precheck_url
    from webapp.knowledge.service import collections

    if params.get("source_id"):
        source = web.source(ctx, params["source_id"])
        known = {name: value for name, value in source.config.items() if name in CrawlParams.model_fields}
        given = {name: value for name, value in params.items() if name in ("urls", "source_id") and value}
        whole = {"urls": [source.url], "read_as": source.kind, "name": source.label, **known, **given}
        params.update(CRAWL.check(whole | {"collection_id": source.collection_id}))
    if not params.get("urls"):
        message = "name at least one address"
        raise BadRequest(f"urls: {message}", details=[{"loc": ["urls"], "msg": message, "type": "missing"}])
    chosen = params.get("collection_id")
    row = collections.writable(ctx, chosen) if chosen else collections.default(ctx)
    params["collection_id"] = row.id
    policy = outbound_policy(ctx.rt.settings)
    for url in params["urls"]:
        try:
            precheck_url(url, policy)
        except AppError as error:
            error.details = [{"loc": ["urls"], "msg": f"{url[:200]}: {error.message}", "type": error.code}]
            raise


def run(task: TaskRun) -> dict[str, Any]:
    params = CrawlParams.model_validate(task.params)
    return read(task, params, set(params.urls) if params.own_hosts is None else set())


def read(task: TaskRun, params: CrawlParams, named: set[str]) -> dict[str, Any]:
    """Crawl as part of a task. named: addresses a person gave; what robots are told in a page is not for them."""
    crawl_id, finished = service.begin(task, params)
    service.tidy(task.rt)
    service.settle_source(task, params, "reading")
    try:
        if not finished:
            _crawl(task, params, crawl_id, named)
        task.progress(99, "Finishing")
        result = service.finish(task, params, crawl_id)
    except AppError as error:
        service.settle_source(task, params, "failed", error.message)
        raise
    Spool(task.rt.settings, crawl_id).clear()
    return result


def _crawl(task: TaskRun, params: CrawlParams, crawl_id: str, named: set[str]) -> None:
    assert params.collection_id is not None
    known = {row.key: row for row in web.known(task.rt, params.collection_id)}
    validators = {
        key: Validators(row.document_id, row.etag, row.last_modified)
        for key, row in known.items()
        if (row.etag or row.last_modified) and not params.fresh
    }
    spool = Spool(task.rt.settings, crawl_id)
    frontier = Frontier(task, crawl_id)
    fetcher = Fetcher(
        outbound_policy(task.rt.settings), spool, frontier.seen, validators=validators, stopped=task.stopped,
        asked_for=named, step_aside=lambda: task.rt.foreground.wait(task.stopped),
    )  # fmt: skip
    document_of = {key: row.document_id for key, row in known.items()}
    reader = Reader(task.rt, params.collection_id, params.source_id, spool, document_of, task.stopped)
    links = _once(lambda: service.known_links(task.rt, params.collection_id or "", crawl_id) if validators else {})
    crawler = Crawler(task, params, frontier, fetcher, reader, lambda url: links().get(url, []))
    try:
        crawler.run()
    finally:
        reader.close()
        crawler._confirm()


def _once(make: Callable[[], dict[str, list[str]]]) -> Callable[[], dict[str, list[str]]]:
    made: list[dict[str, list[str]]] = []

    def get() -> dict[str, list[str]]:
        if not made:
            made.append(make() or defaultdict(list))
        return made[0]

    return get


CRAWL = TaskKind(
    name="crawl.site",
    label="Crawl",
    queue="crawling",
    params=CrawlParams,
    run=run,
    prepare=prepare,
    description="Reads a site, single pages, a sitemap or a feed into a collection, politely.",
    time_limit=12 * 3600,
    max_attempts=5,
    offered=False,
    examples=[{"urls": ["https://example.org/"], "max_pages": 50}],
)

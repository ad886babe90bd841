"""Endpoints of the crawler (Omeruta).

GET, POST /api/crawler/jobs/             crawls
GET       /api/crawler/jobs/{id}/        one, with its progress; its own id or that of its task
POST      /api/crawler/jobs/{id}/cancel/
GET       /api/crawler/jobs/{id}/urls/   each address with its fate (ours)
GET       /api/crawler/pages/            pages that were read
GET       /api/crawler/pages/{id}/       one, with `clean_markdown`
POST      /api/crawler/pages/{id}/process/  embed it
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.crawl import service
from webapp.crawl.schemas import (
    AddressesOut,
    AddressOut,
    AddressQuery,
    CrawlIn,
    JobOut,
    JobPage,
    ListQuery,
    PageList,
    PageOut,
    PageQuery,
    ProcessOut,
)
from webapp.tasks import dialects
from webapp.web.api import Api
from webapp.web.paging import numbered

crawler = Api("crawler", "/api/crawler", tag="Crawler (Omeruta)", dialect="omeruta")
READ, WRITE = "tasks:read", "tasks:write"


@crawler.get("/jobs/", auth=READ, query=ListQuery, returns=JobPage, errors=(404,))
def list_jobs(ctx: Ctx, query: ListQuery) -> Any:
    """List own crawls, newest first."""
    count, jobs = service.numbered(ctx, query.page, query.page_size)
    return numbered(query.page, query.page_size, count, [job_out(job) for job in jobs])


@crawler.post("/jobs/", auth=WRITE, body=CrawlIn, returns=JobOut, status=201, idempotent=True, errors=(403, 404))
def create_job(ctx: Ctx, body: CrawlIn) -> Any:
    """Start a crawl; it answers at once and works in the background."""
    return job_out(service.get(ctx, service.start(ctx, body.params()).id))


@crawler.get("/jobs/<job_id>/", auth=READ, returns=JobOut, errors=(404,))
def get_job(ctx: Ctx, job_id: str) -> Any:
    """One crawl with its progress."""
    return job_out(service.get(ctx, job_id))


@crawler.post("/jobs/<job_id>/cancel/", auth=WRITE, returns=JobOut, errors=(404, 409))
def cancel_job(ctx: Ctx, job_id: str) -> Any:
    """Stop a crawl within seconds; what was read stays."""
    return job_out(service.cancel(ctx, job_id))


@crawler.get("/jobs/<job_id>/urls/", auth=READ, query=AddressQuery, returns=AddressesOut, errors=(404,))
def job_urls(ctx: Ctx, job_id: str, query: AddressQuery) -> Any:
    """Each address of a crawl with its fate and the reason for it."""
    page = service.addresses(ctx, job_id, state=query.state, q=query.q, cursor=query.cursor, limit=query.limit)
    return {"items": [_address(row) for row in page.items], "next_cursor": page.next_cursor,
            "prev_cursor": page.prev_cursor}  # fmt: skip


@crawler.get("/pages/", auth=READ, query=PageQuery, returns=PageList, errors=(404,))
def list_pages(ctx: Ctx, query: PageQuery) -> Any:
    """Pages that were read, of every collection the caller may read, newest first."""
    count, rows = service.pages(ctx, query.page, query.page_size, job=query.job, collection_id=query.collection_id,
                                embedded=query.is_processed_for_embeddings)  # fmt: skip
    return numbered(query.page, query.page_size, count, [_brief(row) for row in rows])


@crawler.get("/pages/<page_id>/", auth=READ, returns=PageOut, errors=(404,))
def get_page(ctx: Ctx, page_id: str) -> Any:
    """A page with its text as Markdown."""
    row, version = service.page(ctx, page_id)
    return _brief(row) | {"clean_markdown": version.text if version else "", "author": row.author,
                          "published": row.published, "version_id": row.version_id,
                          "warnings": version.warnings if version else []}  # fmt: skip


@crawler.post("/pages/<page_id>/process/", auth=WRITE, returns=ProcessOut, status=202, errors=(403, 404))
def process_page(ctx: Ctx, page_id: str) -> Any:
    """Queue the embedding of a page."""
    return service.process(ctx, page_id)


def job_out(job: service.Job) -> dict[str, Any]:
    row, task = job.crawl, job.task
    status = dialects.eceee_status(task.status) if task is not None else "completed" if row.finished_at else "failed"
    return {
        "id": row.id, "task_id": row.task_id, "name": row.name, "status": status,
        "progress": task.progress if task is not None else 100, "message": task.message if task is not None else None,
        "error": task.error if task is not None else None, "urls": row.seeds, "collection_id": row.collection_id,
        "config": row.config, "counts": dict(job.fates), "pages_crawled": job.pages,
        "pages_failed": job.fates["failed"], "total_urls": job.total, "created_at": iso(row.created_at),
        "finished_at": iso(row.finished_at or (task.finished_at if task is not None else None)),
        "result": task.result if task is not None else None,
    }  # fmt: skip


def _address(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in AddressOut.model_fields} | {"fetched_at": iso(row.fetched_at)}


def _brief(row: Any) -> dict[str, Any]:
    return {
        "id": row.id, "url": row.url, "title": row.title, "success": row.version_id is not None,
        "collection_id": row.collection_id, "content_type": row.content_type, "language": row.language,
        "words": row.words, "is_processed_for_embeddings": row.pending_chunks == 0,
        "pending_chunks": row.pending_chunks, "chunk_count": row.chunk_count, "quality": row.quality,
        "crawled_at": iso(row.fetched_at), "checked_at": iso(row.checked_at),
    }  # fmt: skip

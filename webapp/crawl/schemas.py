"""Crawls on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from webapp.crawl.params import CrawlOptions
from webapp.web.api import ApiModel

State = Literal["queued", "reading", "fetched", "unchanged", "skipped", "failed"]


class CrawlIn(ApiModel, CrawlOptions):
    """A crawl to start. `url` is short for `urls` with one address."""

    url: str | None = Field(None, max_length=4000)
    start_urls: list[str] = Field(default_factory=list, max_length=1000, description="Another name of `urls`")

    def params(self) -> dict[str, Any]:
        found = self.model_dump(exclude={"url", "start_urls"}, exclude_none=True)
        return found | {"urls": [one for one in (self.url, *self.urls, *self.start_urls) if one and one.strip()]}


class JobOut(ApiModel):
    """pages_crawled: read in this crawl, changed or not. counts: addresses by fate."""

    id: str
    task_id: str | None
    name: str
    status: Literal["pending", "running", "completed", "failed", "cancelled"]
    progress: int
    message: str | None
    error: str | None
    urls: list[str]
    collection_id: str
    config: dict[str, Any]
    counts: dict[str, int]
    pages_crawled: int
    pages_failed: int
    total_urls: int
    created_at: str
    finished_at: str | None
    result: dict[str, Any] | None


class JobPage(ApiModel):
    count: int
    next: str | None
    previous: str | None
    results: list[JobOut]


class ListQuery(ApiModel):
    page: int = Field(1, ge=1, le=100_000)
    page_size: int = Field(50, ge=1, le=200)


class PageQuery(ListQuery):
    job: str | None = Field(None, max_length=40, description="Only pages this crawl read")
    collection_id: str | None = Field(None, max_length=40)
    is_processed_for_embeddings: bool | None = None


class AddressQuery(ApiModel):
    state: State | None = None
    q: str | None = Field(None, max_length=200)
    cursor: str | None = Field(None, max_length=400)
    limit: int = Field(100, ge=1, le=500)


class AddressOut(ApiModel):
    """An address of a crawl and its fate."""

    id: str
    url: str
    kind: str
    depth: int
    found_on: str | None
    state: State
    reason: str | None
    detail: str | None
    status: int | None
    bytes: int | None
    ms: int | None
    attempts: int
    document_id: str | None
    fetched_at: str | None


class AddressesOut(ApiModel):
    items: list[AddressOut]
    next_cursor: str | None
    prev_cursor: str | None


class PageBrief(ApiModel):
    """A page as the crawler stored it; `id` is that of the document."""

    id: str
    url: str
    title: str
    success: bool
    collection_id: str
    content_type: str
    language: str | None
    words: int
    is_processed_for_embeddings: bool
    pending_chunks: int
    chunk_count: int
    quality: float | None
    crawled_at: str | None
    checked_at: str | None


class PageOut(PageBrief):
    clean_markdown: str
    author: str | None
    published: str | None
    version_id: str | None
    warnings: list[str]


class PageList(ApiModel):
    count: int
    next: str | None
    previous: str | None
    results: list[PageBrief]


class ProcessOut(ApiModel):
    """status: "queued" with the task that embeds it, or "skipped" with the reason."""

    status: Literal["queued", "skipped"]
    page_id: str
    reason: str | None = None
    task_id: str | None = None

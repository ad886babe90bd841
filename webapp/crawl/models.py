"""Rows of a crawl: the crawl, and its frontier with the fate of each address."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow

# queued -> reading (its answer is kept in the spool, the text not yet stored)
#   -> fetched (new or changed text) | unchanged (304 or the same text) | skipped | failed, each with its reason
FATES = ("queued", "reading", "fetched", "unchanged", "skipped", "failed")
KINDS = ("page", "sitemap", "feed")  # what an address is read as; sitemaps and feeds only name others


class Crawl(Base):
    """One reading of a source. Its task carries state and progress; this row carries what was asked and counted."""

    __tablename__ = "crawls"
    __table_args__ = (
        Index("ix_crawls_owner_id_id", "owner_id", "id"),
        Index("ix_crawls_collection_id_id", "collection_id", "id"),
        Index("ix_crawls_source_id", "source_id"),
        UniqueConstraint("task_id", name="uq_crawls_task_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    collection_id: Mapped[str] = mapped_column(Id, ForeignKey("collections.id", ondelete="CASCADE"))
    source_id: Mapped[str | None] = mapped_column(Id, ForeignKey("sources.id", ondelete="SET NULL"))
    task_id: Mapped[str | None] = mapped_column(Id)
    name: Mapped[str] = mapped_column(String(300), default="")
    seeds: Mapped[list[str]] = mapped_column(JsonType, default=list)
    config: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    counts: Mapped[dict[str, int]] = mapped_column(JsonType, default=dict)  # written at checkpoints
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class CrawlUrl(Base):
    """An address of the frontier. `url_hash` is SHA-256 of the normalised URL: an address enters a crawl once."""

    __tablename__ = "crawl_urls"
    __table_args__ = (
        UniqueConstraint("crawl_id", "url_hash", name="uq_crawl_urls_crawl_id_url_hash"),
        Index("ix_crawl_urls_crawl_id_state_id", "crawl_id", "state", "id"),
        Index("ix_crawl_urls_document_id", "document_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    crawl_id: Mapped[str] = mapped_column(Id, ForeignKey("crawls.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(Text)
    url_hash: Mapped[str] = mapped_column(String(64))
    host: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(12), default="page")
    depth: Mapped[int] = mapped_column(Integer, default=0)
    found_on: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    reason: Mapped[str | None] = mapped_column(String(64))  # a code: robots, depth, off_host, no_content, http_404 ...
    detail: Mapped[str | None] = mapped_column(Text)  # a sentence for people
    status: Mapped[int | None] = mapped_column(Integer)  # of the HTTP answer
    bytes: Mapped[int | None] = mapped_column(Integer)
    ms: Mapped[int | None] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    canonical: Mapped[str | None] = mapped_column(Text)  # the address the page itself says is the original
    minhash: Mapped[str | None] = mapped_column(Text)  # near-duplicate signature of its text, hexadecimal
    document_id: Mapped[str | None] = mapped_column(Id)
    fetched_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

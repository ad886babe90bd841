"""Rows of knowledge: collection > source > document > version > chunk, and what cites them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow

SOURCE_KINDS = ("url", "site", "sitemap", "feed", "upload", "text", "connector")
# What became of a source when it was last read.
SOURCE_STATES = ("new", "reading", "ready", "partial", "failed")
ChunkId = BigInteger().with_variant(Integer, "sqlite")  # SQLite's full-text index names rows by their integer key


class Collection(Base):
    """A knowledge base of one user. `generation` names the vector index that serves; `building` the one being made."""

    __tablename__ = "collections"
    __table_args__ = (
        UniqueConstraint("owner_id", "name", name="uq_collections_owner_id_name"),
        Index("ix_collections_everyone", "id", sqlite_where=text("everyone"), postgresql_where=text("everyone")),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(Text, default="")
    everyone: Mapped[bool] = mapped_column(Boolean, default=False)  # every user may read it
    bundled: Mapped[bool] = mapped_column(Boolean, default=False)  # the demonstration that comes with the program

    embedder: Mapped[str] = mapped_column(String(200))
    dimension: Mapped[int | None] = mapped_column(Integer)  # known after the first embedding
    generation: Mapped[int] = mapped_column(Integer, default=1)
    building: Mapped[int | None] = mapped_column(Integer)
    building_embedder: Mapped[str | None] = mapped_column(String(200))

    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    removed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)  # gone for everybody; a task empties it


class CollectionShare(Base):
    """A user who may read somebody else's collection."""

    __tablename__ = "collection_shares"

    collection_id: Mapped[str] = mapped_column(Id, ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class Source(Base):
    """Where documents of a collection come from; reading it again makes new versions of what changed."""

    __tablename__ = "sources"
    __table_args__ = (Index("ix_sources_collection_id_id", "collection_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    collection_id: Mapped[str] = mapped_column(Id, ForeignKey("collections.id", ondelete="CASCADE"))
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(String(300))
    url: Mapped[str | None] = mapped_column(Text)
    upload_id: Mapped[str | None] = mapped_column(Id)
    config: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    state: Mapped[str] = mapped_column(String(16), default="new")
    error: Mapped[str | None] = mapped_column(Text)
    task_id: Mapped[str | None] = mapped_column(Id)  # of the last reading; tasks are forgotten after a while
    read_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class Document(Base):
    """One page, file or text. `key` is what makes it the same document when it is read again."""

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("collection_id", "key", name="uq_documents_collection_id_key"),
        Index("ix_documents_collection_id_id", "collection_id", "id"),
        Index("ix_documents_source_id", "source_id"),
        Index("ix_documents_text_hash", "collection_id", "text_hash"),
        Index("ix_documents_checked_at", "checked_at", sqlite_where=text("url IS NOT NULL"),
              postgresql_where=text("url IS NOT NULL")),
        Index("ix_documents_unembedded", "id", sqlite_where=text("pending_chunks > 0"),
              postgresql_where=text("pending_chunks > 0")),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    collection_id: Mapped[str] = mapped_column(Id, ForeignKey("collections.id", ondelete="CASCADE"))
    source_id: Mapped[str | None] = mapped_column(Id, ForeignKey("sources.id", ondelete="SET NULL"))
    key: Mapped[str] = mapped_column(String(700))  # canonical URL, `upload:<sha256>`, or the caller's own id
    url: Mapped[str | None] = mapped_column(Text)
    title: Mapped[str] = mapped_column(String(500))
    content_type: Mapped[str] = mapped_column(String(128), default="text/plain")
    language: Mapped[str | None] = mapped_column(String(8))
    author: Mapped[str | None] = mapped_column(String(300))
    published: Mapped[str | None] = mapped_column(String(10))  # ISO day
    meta: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)

    version_id: Mapped[str | None] = mapped_column(Id)  # the current one
    version_count: Mapped[int] = mapped_column(Integer, default=0)
    text_hash: Mapped[str | None] = mapped_column(String(64))
    words: Mapped[int] = mapped_column(Integer, default=0)
    chunk_count: Mapped[int] = mapped_column(Integer, default=0)
    pending_chunks: Mapped[int] = mapped_column(Integer, default=0)  # not yet in the vector index

    etag: Mapped[str | None] = mapped_column(String(300))
    last_modified: Mapped[str | None] = mapped_column(String(64))
    fetched_at: Mapped[datetime | None] = mapped_column(UTCDateTime)  # when its bytes last came
    checked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)  # when we last asked, changed or not
    quality: Mapped[float | None] = mapped_column(Double)  # 0..1
    quality_signals: Mapped[dict[str, Any] | None] = mapped_column(JsonType)
    assessed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class DocumentVersion(Base):
    """The text of a document as it was read once. Kept while it is current or cited."""

    __tablename__ = "document_versions"
    __table_args__ = (UniqueConstraint("document_id", "number", name="uq_document_versions_document_id_number"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    document_id: Mapped[str] = mapped_column(Id, ForeignKey("documents.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(String(500))
    text: Mapped[str] = mapped_column(Text)  # Markdown; spans of chunks and citations count its characters
    text_hash: Mapped[str] = mapped_column(String(64))
    method: Mapped[str] = mapped_column(String(40), default="plain")  # which reader made the text
    warnings: Mapped[list[str]] = mapped_column(JsonType, default=list)
    minhash: Mapped[str | None] = mapped_column(Text)  # near-duplicate signature, hexadecimal
    fetched_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class Passage:
    """Columns of a passage. `text` is `version.text[start:end]`.

    `generation` names the newest vector index that holds it; 0 and less are none.
    """

    collection_id: Mapped[str] = mapped_column(Id, ForeignKey("collections.id", ondelete="CASCADE"))
    document_id: Mapped[str] = mapped_column(Id, ForeignKey("documents.id", ondelete="CASCADE"))
    version_id: Mapped[str] = mapped_column(Id, ForeignKey("document_versions.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    start: Mapped[int] = mapped_column(Integer)
    end: Mapped[int] = mapped_column(Integer)
    tokens: Mapped[int] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(String(500), default="")  # of the document, for the keyword index
    heading: Mapped[str] = mapped_column(String(500), default="")  # path of headings above it, " > " between
    text: Mapped[str] = mapped_column(Text)
    generation: Mapped[int] = mapped_column(Integer, default=0)


class Chunk(Passage, Base):
    """A passage of a document's current version, sized to the embedder's window.

    The keyword index (FTS5 or tsvector) follows this table inside the database.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        UniqueConstraint("version_id", "position", name="uq_chunks_version_id_position"),
        Index("ix_chunks_collection_id_generation_id", "collection_id", "generation", "id"),
        Index("ix_chunks_document_id", "document_id"),
        {"sqlite_autoincrement": True},  # a number is never used twice: the vector index may still hold the old one
    )

    id: Mapped[int] = mapped_column(ChunkId, primary_key=True, autoincrement=True)


class ChunkDraft(Passage, Base):
    """A passage cut for the embedder that a collection is being moved to: a chunk as soon as that one serves.

    Its id comes from the numbers of the chunks.
    """

    __tablename__ = "chunk_drafts"
    __table_args__ = (
        UniqueConstraint("version_id", "position", name="uq_chunk_drafts_version_id_position"),
        Index("ix_chunk_drafts_collection_id_generation_id", "collection_id", "generation", "id"),
        Index("ix_chunk_drafts_document_id", "document_id"),
    )

    id: Mapped[int] = mapped_column(ChunkId, primary_key=True, autoincrement=False)


class VectorRemoval(Base):
    """A vector that must leave the index because its chunk is gone. Written in the chunk's own transaction."""

    __tablename__ = "vector_removals"

    chunk_id: Mapped[int] = mapped_column(ChunkId, primary_key=True, autoincrement=False)
    collection_id: Mapped[str] = mapped_column(Id, index=True)


class Citation(Base):
    """A place in a version that something stands on: `version.text[start:end]` is `quote`, always."""

    __tablename__ = "citations"
    __table_args__ = (
        Index("ix_citations_version_id", "version_id"),
        Index("ix_citations_owner_id_id", "owner_id", "id"),
        Index("ix_citations_task_id", "task_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    document_id: Mapped[str] = mapped_column(Id, ForeignKey("documents.id", ondelete="CASCADE"))
    version_id: Mapped[str] = mapped_column(Id, ForeignKey("document_versions.id", ondelete="CASCADE"))
    start: Mapped[int] = mapped_column(Integer)
    end: Mapped[int] = mapped_column(Integer)
    quote: Mapped[str] = mapped_column(Text)
    claim: Mapped[str | None] = mapped_column(Text)  # the sentence that stands on it
    verdict: Mapped[str | None] = mapped_column(String(16))  # verified | weak | unsupported
    score: Mapped[float | None] = mapped_column(Double)
    method: Mapped[str | None] = mapped_column(String(64))
    task_id: Mapped[str | None] = mapped_column(Id)  # no foreign key: it outlives the task
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class SearchEvent(Base):
    """A search somebody made, for later analytics."""

    __tablename__ = "search_events"
    __table_args__ = (Index("ix_search_events_owner_id_id", "owner_id", "id"), Index("ix_search_events_at", "at"))

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    query: Mapped[str] = mapped_column(String(500))
    collections: Mapped[list[str]] = mapped_column(JsonType, default=list)
    filters: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    via: Mapped[str] = mapped_column(String(16), default="api")  # api | page | chat | cli
    results: Mapped[int] = mapped_column(Integer, default=0)
    top_score: Mapped[float | None] = mapped_column(Double)
    ms: Mapped[float] = mapped_column(Double, default=0.0)
    clicked: Mapped[str | None] = mapped_column(Id)  # the document that was opened from it
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

"""Bodies of the knowledge endpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask_openapi import FileStorage
from pydantic import Field, StringConstraints

from webapp.web.api import ApiModel

Name = Annotated[str, StringConstraints(max_length=200)]
Short = Annotated[str, StringConstraints(max_length=300)]
Ident = Annotated[str, StringConstraints(max_length=40)]
Words = Annotated[str, StringConstraints(max_length=5_000_000)]
Address = Annotated[str, StringConstraints(max_length=8000)]


class PageQuery(ApiModel):
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=400)


# -- collections -----------------------------------------------------------------------------------------------------


class CollectionIn(ApiModel):
    name: Name
    description: str = Field("", max_length=2000)
    embedder: str | None = Field(None, max_length=200, description="Empty: the server's default.")


class CollectionPatch(ApiModel):
    name: Name | None = None
    description: str | None = Field(None, max_length=2000)
    everyone: bool | None = Field(None, description="Every user may read it.")
    embedder: str | None = Field(None, max_length=200, description="Passages are cut and embedded anew for it.")


class CollectionOut(ApiModel):
    """access: owner, shared (with the caller, to read) or everyone. pending_chunks wait to be embedded.

    building_embedder: it is being embedded anew by this one; `embedder` serves until that is done.
    """

    id: str
    name: str
    description: str
    access: Literal["owner", "shared", "everyone"]
    owner: str | None
    everyone: bool
    bundled: bool
    embedder: str
    building_embedder: str | None
    dimension: int | None
    documents: int
    sources: int
    chunks: int
    pending_chunks: int
    words: int
    created_at: str
    updated_at: str


class ShareIn(ApiModel):
    username: Name


class ShareOut(ApiModel):
    user_id: str
    username: str
    created_at: str


# -- sources ---------------------------------------------------------------------------------------------------------


class SourceIn(ApiModel):
    """One of: a page, site, sitemap or feed (`url`), or pasted text (`text`)."""

    kind: Literal["url", "site", "sitemap", "feed", "text"] = "url"
    url: Address | None = None
    text: Words | None = None
    title: Short = ""
    config: dict[str, Any] | None = Field(None, description="Of sites, sitemaps and feeds: caps and patterns.")


class SourceQuery(PageQuery):
    state: Literal["new", "reading", "ready", "partial", "failed"] | None = None
    kind: Literal["url", "site", "sitemap", "feed", "upload", "text", "connector"] | None = None


class SourceOut(ApiModel):
    id: str
    collection_id: str
    kind: str
    label: str
    url: str | None
    state: Literal["new", "reading", "ready", "partial", "failed"]
    error: str | None
    outcome: str | None
    documents: int
    document_id: str | None
    task_id: str | None
    read_at: str | None
    created_at: str


class SourcePage(ApiModel):
    sources: list[SourceOut]
    next_cursor: str | None


class FilesForm(ApiModel):
    files: list[FileStorage]


class RefusedFile(ApiModel):
    name: str
    error: str
    code: str


class FilesOut(ApiModel):
    """Each file that was taken is a source that is being read; the others are named with the reason."""

    sources: list[SourceOut]
    refused: list[RefusedFile]


# -- documents -------------------------------------------------------------------------------------------------------


class DocumentIn(ApiModel):
    """`id` is your own name for it: sent again with other text it becomes a new version of the same document."""

    id: str | None = Field(None, max_length=700)
    title: str = Field("", max_length=2000)
    text: Words
    url: Address | None = None
    content_type: str = Field("text/markdown", max_length=128)
    language: str | None = Field(None, max_length=8)
    author: Short | None = None
    published: str | None = Field(None, pattern=r"^\d{4}-\d\d-\d\d$", description="ISO day")
    metadata: dict[str, Any] = Field(default_factory=dict)


class BatchIn(ApiModel):
    documents: list[DocumentIn] = Field(min_length=1, max_length=1000)


class StoredOut(ApiModel):
    """outcome: new, changed, unchanged or empty (no readable text; nothing was kept)."""

    id: str | None = Field(description="Yours, as sent.")
    document_id: str | None
    version_id: str | None
    outcome: Literal["new", "changed", "unchanged", "duplicate", "empty"]
    chunks: int


class BatchOut(ApiModel):
    documents: list[StoredOut]
    counts: dict[str, int]
    embedding_task_id: str | None = Field(description="The task that embeds the new chunks.")


class DocumentQuery(PageQuery):
    collection_id: Ident | None = None
    source_id: Ident | None = None
    q: str | None = Field(None, max_length=200)
    id: str | None = Field(None, max_length=700, description="Your own id, as sent.")
    language: str | None = Field(None, max_length=8)
    state: Literal["ready", "pending"] | None = None


class DocumentBrief(ApiModel):
    """`key` is your own id, the canonical address, or the file's hash."""

    id: str
    collection_id: str
    source_id: str | None
    key: str
    title: str
    url: str | None
    content_type: str
    language: str | None
    author: str | None
    published: str | None
    words: int
    chunks: int
    pending_chunks: int
    version_id: str | None
    versions: int
    quality: float | None
    fetched_at: str | None
    checked_at: str | None
    created_at: str
    updated_at: str


class DocumentPage(ApiModel):
    documents: list[DocumentBrief]
    next_cursor: str | None


class DocumentOut(DocumentBrief):
    text: str
    warnings: list[str]
    method: str
    metadata: dict[str, Any]
    quality_signals: dict[str, Any] | None


class VersionQuery(ApiModel):
    version_id: Ident | None = None


class VersionOut(ApiModel):
    id: str
    number: int
    title: str
    current: bool
    cited: int
    method: str
    fetched_at: str


class VersionFull(VersionOut):
    text: str
    warnings: list[str]


class ChunkQuery(ApiModel):
    after: int = Field(-1, ge=-1, le=10_000_000, description="Position of the last one you have.")
    limit: int = Field(200, ge=1, le=1000)


class ChunkOut(ApiModel):
    id: int
    position: int
    start: int
    end: int
    tokens: int
    heading: str
    text: str
    embedded: bool


class IdsIn(ApiModel):
    ids: list[Ident] = Field(min_length=1, max_length=1000)


class RemovedOut(ApiModel):
    removed: int


# -- citations -------------------------------------------------------------------------------------------------------


class CitationIn(ApiModel):
    """Words of a document: characters start to end (not included) of a version's text, the current one by default."""

    document_id: Ident
    version_id: Ident | None = None
    start: int = Field(ge=0, le=100_000_000)
    end: int = Field(ge=1, le=100_000_000)
    claim: str | None = Field(None, max_length=4000)


class CitationQuery(PageQuery):
    document_id: Ident | None = None
    task_id: Ident | None = None


class CitationOut(ApiModel):
    id: str
    document_id: str
    version_id: str
    start: int
    end: int
    quote: str
    claim: str | None
    verdict: str | None
    score: float | None
    method: str | None
    task_id: str | None
    created_at: str


class CitationFull(CitationOut):
    """`current` is False when the document reads differently by now; the quote still stands in its version."""

    title: str
    url: str | None
    collection_id: str
    fetched_at: str
    current: bool
    before: str
    after: str


class CitationPage(ApiModel):
    citations: list[CitationOut]
    next_cursor: str | None


# -- /api/knowledge-base (Omeruta) -----------------------------------------------------------------------------------


class KbDocumentIn(ApiModel):
    """Text, or the address of a page to read."""

    title: str = Field("", max_length=2000)
    content: Words | None = None
    url: Address | None = None
    collection_id: Ident | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class KbReadingOut(ApiModel):
    """A page that a task reads now."""

    status: Literal["processing"]
    source_id: str
    task_id: str | None
    collection_id: str


class KbQuery(ApiModel):
    page: int = Field(1, ge=1, le=100_000)
    page_size: int = Field(20, ge=1, le=100)
    search: str | None = Field(None, max_length=200)
    collection_id: Ident | None = None

"""Endpoints of knowledge.

Ours:     /api/v1/knowledge/collections, .../{id}/shares|sources|files|documents|documents/batch,
          /api/v1/knowledge/sources/{id}, /documents/{id}/versions|chunks, /citations
Omeruta:  /api/knowledge-base/documents/
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from flask import request
from sqlalchemy import func

from webapp.core.context import Ctx
from webapp.core.db import iso
from webapp.core.errors import BadRequest, NotFound
from webapp.knowledge import views
from webapp.knowledge.models import Document
from webapp.knowledge.schemas import (
    BatchIn,
    BatchOut,
    ChunkOut,
    ChunkQuery,
    CitationFull,
    CitationIn,
    CitationOut,
    CitationPage,
    CitationQuery,
    CollectionIn,
    CollectionOut,
    CollectionPatch,
    DocumentIn,
    DocumentOut,
    DocumentPage,
    DocumentQuery,
    FilesForm,
    FilesOut,
    IdsIn,
    KbDocumentIn,
    KbQuery,
    KbReadingOut,
    RemovedOut,
    ShareIn,
    ShareOut,
    SourceIn,
    SourceOut,
    SourcePage,
    SourceQuery,
    StoredOut,
    VersionFull,
    VersionOut,
    VersionQuery,
)
from webapp.knowledge.service import browse, citations, collections, documents, indexing, sources
from webapp.knowledge.service.documents import Incoming
from webapp.knowledge.service.sources import File
from webapp.web.api import Api

READ, WRITE = "tasks:read", "tasks:write"
MAX_META = 20_000  # characters of a document's metadata as JSON

knowledge = Api("knowledge", "/api/v1/knowledge", tag="Knowledge")
base = Api("knowledge_base", "/api/knowledge-base", tag="Knowledge base (Omeruta)", dialect="omeruta")
APIS = (knowledge, base)


# -- collections -----------------------------------------------------------------------------------------------------


@knowledge.get("/collections", auth=READ, returns=list[CollectionOut])
def list_collections(ctx: Ctx) -> Any:
    """Own, shared and public collections, own ones first."""
    return [views.collection(one) for one in collections.list_(ctx)]


@knowledge.post("/collections", auth=WRITE, body=CollectionIn, returns=CollectionOut, status=201, errors=(409,))
def create_collection(ctx: Ctx, body: CollectionIn) -> Any:
    """Make a collection."""
    row = collections.create(ctx, body.name, body.description, embedder=body.embedder)
    return views.collection(collections.summary(ctx, row.id))


@knowledge.get("/collections/<collection_id>", auth=READ, returns=CollectionOut, errors=(404,))
def get_collection(ctx: Ctx, collection_id: str) -> Any:
    """One collection with its counts."""
    return views.collection(collections.summary(ctx, collection_id))


@knowledge.patch(
    "/collections/<collection_id>", auth=WRITE, body=CollectionPatch, returns=CollectionOut, errors=(403, 404, 409)
)
def update_collection(ctx: Ctx, collection_id: str, body: CollectionPatch) -> Any:
    """Rename it, describe it, show it to every user, or have another embedder take it over in the background."""
    row = collections.update(ctx, collection_id, **body.model_dump(exclude_unset=True))
    return views.collection(collections.summary(ctx, row.id))


@knowledge.delete("/collections/<collection_id>", auth=WRITE, status=204, errors=(403, 404))
def delete_collection(ctx: Ctx, collection_id: str) -> None:
    """Delete it with everything in it. It is gone at once; a task empties it."""
    collections.remove(ctx, collection_id)


@knowledge.get("/collections/<collection_id>/shares", auth=READ, returns=list[ShareOut], errors=(403, 404))
def list_shares(ctx: Ctx, collection_id: str) -> Any:
    """Who else may read it; for its owner."""
    return [{**one, "created_at": iso(one["created_at"])} for one in collections.shares(ctx, collection_id)]


@knowledge.post(
    "/collections/<collection_id>/shares",
    auth=WRITE,
    body=ShareIn,
    returns=ShareOut,
    status=201,
    errors=(403, 404, 409),
)
def share_collection(ctx: Ctx, collection_id: str, body: ShareIn) -> Any:
    """Let one more person read it."""
    made = collections.share(ctx, collection_id, body.username)
    found = {one["user_id"]: one for one in collections.shares(ctx, collection_id)}
    return {**found[made.user_id], "created_at": iso(made.created_at)}


@knowledge.delete("/collections/<collection_id>/shares/<user_id>", auth=WRITE, status=204, errors=(403, 404))
def unshare_collection(ctx: Ctx, collection_id: str, user_id: str) -> None:
    """Take that back."""
    collections.unshare(ctx, collection_id, user_id)


# -- sources ---------------------------------------------------------------------------------------------------------


@knowledge.get("/collections/<collection_id>/sources", auth=READ, query=SourceQuery, returns=SourcePage, errors=(404,))
def list_sources(ctx: Ctx, collection_id: str, query: SourceQuery) -> Any:
    """Sources with what became of them, newest first."""
    page = sources.list_(ctx, collection_id, state=query.state, kind=query.kind, cursor=query.cursor, limit=query.limit)
    return {"sources": views.source_list(ctx, page.items), "next_cursor": page.next_cursor}


@knowledge.post(
    "/collections/<collection_id>/sources", auth=WRITE, body=SourceIn, returns=SourceOut, status=201, bulk=True,
    errors=(403, 404, 409),
)  # fmt: skip
def add_source(ctx: Ctx, collection_id: str, body: SourceIn) -> Any:
    """Add a page, site, sitemap, feed or text; it is read in the background."""
    if body.kind == "text":
        row = sources.add_text(ctx, collection_id, body.text or "", body.title)
    else:
        row = sources.add_url(ctx, collection_id, body.url or "", kind=body.kind, label=body.title, config=body.config)
    return views.source_list(ctx, [row])[0]


@knowledge.post(
    "/collections/<collection_id>/files", auth=WRITE, form=FilesForm, returns=FilesOut, status=201,
    errors=(403, 404, 409, 413, 415, 507),
)  # fmt: skip
def add_files(ctx: Ctx, collection_id: str, form: FilesForm) -> Any:
    """Upload files (multipart, field `files`, several times). Each is a source; one that is refused stops no other."""
    given = [one for one in request.files.getlist("files") if one.filename]
    if not given:
        raise BadRequest("files: choose at least one file")
    made, refused = sources.add_files(
        ctx, collection_id, [File(one.stream, one.filename or "", one.mimetype) for one in given]
    )
    return {"sources": views.source_list(ctx, made), "refused": refused}


@knowledge.get("/sources/<source_id>", auth=READ, returns=SourceOut, errors=(404,))
def get_source(ctx: Ctx, source_id: str) -> Any:
    """One source with what became of it."""
    return views.source_list(ctx, [sources.get(ctx, source_id)])[0]


@knowledge.post("/sources/<source_id>/read", auth=WRITE, returns=SourceOut, errors=(403, 404, 409))
def read_source(ctx: Ctx, source_id: str) -> Any:
    """Read it again; what changed becomes a new version."""
    return views.source_list(ctx, [sources.read_again(ctx, source_id)])[0]


@knowledge.delete("/sources/<source_id>", auth=WRITE, status=204, errors=(403, 404, 409))
def delete_source(ctx: Ctx, source_id: str) -> None:
    """Remove it with the documents that came from it."""
    sources.remove(ctx, source_id)


# -- documents -------------------------------------------------------------------------------------------------------


@knowledge.get("/documents", auth=READ, query=DocumentQuery, returns=DocumentPage, errors=(404,))
def list_documents(ctx: Ctx, query: DocumentQuery) -> Any:
    """Documents of one collection, or of all one may read, newest first."""
    page = browse.list_(
        ctx, collection_id=query.collection_id, source_id=query.source_id, q=query.q, key=query.id,
        language=query.language, state=query.state, cursor=query.cursor, limit=query.limit,
    )  # fmt: skip
    return {"documents": [views.document(row) for row in page.items], "next_cursor": page.next_cursor}


@knowledge.post(
    "/collections/<collection_id>/documents", auth=WRITE, body=DocumentIn, returns=StoredOut, status=201, write=False,
    bulk=True, errors=(403, 404, 413),
)  # fmt: skip
def add_document(ctx: Ctx, collection_id: str, body: DocumentIn) -> Any:
    """Add one document as text, or a new version of it."""
    return _store(ctx, collection_id, [body])["documents"][0]


@knowledge.post(
    "/collections/<collection_id>/documents/batch", auth=WRITE, body=BatchIn, returns=BatchOut, write=False, bulk=True,
    errors=(403, 404, 413),
)  # fmt: skip
def add_documents(ctx: Ctx, collection_id: str, body: BatchIn) -> Any:
    """Add up to 1,000 documents as text, with an outcome for each; sent again it changes nothing.

    Keyword search finds them when this returns; a task embeds them.
    """
    return _store(ctx, collection_id, body.documents)


def _store(ctx: Ctx, collection_id: str, given: list[DocumentIn]) -> dict[str, Any]:
    """Outside of the request's own unit, which only reads: the documents are kept in short units of their own."""
    row = collections.writable(ctx, collection_id)
    ctx.db.commit()
    stored = documents.store_many(ctx.rt, row.id, [_incoming(one, n) for n, one in enumerate(given)])
    return {
        "documents": [
            {"id": sent.id, "document_id": one.document_id, "version_id": one.version_id, "outcome": one.outcome,
             "chunks": one.chunks}
            for sent, one in zip(given, stored, strict=True)
        ],
        "counts": dict(Counter(one.outcome for one in stored)),
        "embedding_task_id": indexing.request(ctx.rt, row.id),
    }  # fmt: skip


def _incoming(given: DocumentIn, number: int = 0) -> Incoming:
    import hashlib

    if len(json.dumps(given.metadata)) > MAX_META:
        raise BadRequest(f"metadata: use at most {MAX_META:,} characters of JSON",
                         details=[{"loc": ["documents", str(number), "metadata"], "msg": "too large", "type": "size"}])  # fmt: skip
    key = (given.id or "").strip() or given.url or f"text:{hashlib.sha256(given.text.encode()).hexdigest()}"
    return Incoming(
        key=key, title=given.title, text=given.text, content_type=given.content_type, url=given.url,
        language=given.language, author=given.author, published=given.published, meta=given.metadata,
        keep_duplicates=True,
    )  # fmt: skip


@knowledge.post(
    "/collections/<collection_id>/documents/delete", auth=WRITE, body=IdsIn, returns=RemovedOut, errors=(403, 404)
)
def delete_documents(ctx: Ctx, collection_id: str, body: IdsIn) -> Any:
    """Delete up to 1,000 documents of a collection."""
    return {"removed": browse.remove_many(ctx, collection_id, body.ids)}


@knowledge.get("/documents/<document_id>", auth=READ, query=VersionQuery, returns=DocumentOut, errors=(404,))
def get_document(ctx: Ctx, document_id: str, query: VersionQuery) -> Any:
    """A document with its text, as it is or as a version of it was."""
    row = browse.get(ctx, document_id)
    return views.document_full(row, browse.version(ctx, row, query.version_id))


@knowledge.delete("/documents/<document_id>", auth=WRITE, status=204, errors=(403, 404))
def delete_document(ctx: Ctx, document_id: str) -> None:
    """Delete it with its versions and the citations into it."""
    browse.remove(ctx, document_id)


@knowledge.get("/documents/<document_id>/versions", auth=READ, returns=list[VersionOut], errors=(404,))
def list_versions(ctx: Ctx, document_id: str) -> Any:
    """Its versions, newest first, without their texts."""
    row = browse.get(ctx, document_id)
    cited = browse.cited(ctx, row)
    return [views.version(one, row.version_id, cited.get(one.id, 0)) for one in browse.versions(ctx, row)]


@knowledge.get("/documents/<document_id>/versions/<version_id>", auth=READ, returns=VersionFull, errors=(404,))
def get_version(ctx: Ctx, document_id: str, version_id: str) -> Any:
    """One version with its text."""
    row = browse.get(ctx, document_id)
    one = browse.version(ctx, row, version_id)
    found = views.version(one, row.version_id, browse.cited(ctx, row).get(one.id, 0))
    return {**found, "text": one.text, "warnings": one.warnings}


@knowledge.get("/documents/<document_id>/chunks", auth=READ, query=ChunkQuery, returns=list[ChunkOut], errors=(404,))
def list_chunks(ctx: Ctx, document_id: str, query: ChunkQuery) -> Any:
    """The passages of its current version, in order."""
    row = browse.get(ctx, document_id)
    return [views.chunk(one) for one in browse.chunks(ctx, row, after=query.after, limit=query.limit)]


# -- citations -------------------------------------------------------------------------------------------------------


@knowledge.get("/citations", auth=READ, query=CitationQuery, returns=CitationPage)
def list_citations(ctx: Ctx, query: CitationQuery) -> Any:
    """Own citations, newest first."""
    page = citations.list_(
        ctx, document_id=query.document_id, task_id=query.task_id, cursor=query.cursor, limit=query.limit
    )
    return {"citations": [views.citation(row) for row in page.items], "next_cursor": page.next_cursor}


@knowledge.post("/citations", auth=WRITE, body=CitationIn, returns=CitationOut, status=201, errors=(404,))
def add_citation(ctx: Ctx, body: CitationIn) -> Any:
    """Point at words of a document; they stay as they are even if the document changes."""
    row = citations.cite(ctx, body.document_id, body.start, body.end, version_id=body.version_id, claim=body.claim)
    return views.citation(row)


@knowledge.get("/citations/<citation_id>", auth=READ, returns=CitationFull, errors=(404,))
def get_citation(ctx: Ctx, citation_id: str) -> Any:
    """The quote with the words around it in the stored copy."""
    return views.citation_full(citations.open_(ctx, citation_id))


@knowledge.delete("/citations/<citation_id>", auth=WRITE, status=204, errors=(404,))
def delete_citation(ctx: Ctx, citation_id: str) -> None:
    """Forget it. The version it points into may be dropped after that."""
    citations.remove(ctx, citation_id)


# -- /api/knowledge-base (Omeruta) -----------------------------------------------------------------------------------


@base.get("/documents/", auth=READ, query=KbQuery, errors=(404,))
def kb_list(ctx: Ctx, query: KbQuery) -> Any:
    """Documents one may read, newest first."""
    stmt = browse.filtered(ctx, collection_id=query.collection_id, q=query.search)
    count = int(ctx.db.scalar(stmt.with_only_columns(func.count())) or 0)
    start = (query.page - 1) * query.page_size
    if query.page > 1 and start >= count:
        raise NotFound("there is no such page")
    rows = ctx.db.scalars(stmt.order_by(Document.id.desc()).offset(start).limit(query.page_size))
    return {"count": count, "page": query.page, "page_size": query.page_size,
            "results": [views.kb_document(row) for row in rows]}  # fmt: skip


@base.post(
    "/documents/", auth=WRITE, body=KbDocumentIn, status=201, also={202: KbReadingOut}, write=False, bulk=True,
    errors=(403, 404, 413),
)  # fmt: skip
def kb_add(ctx: Ctx, body: KbDocumentIn) -> Any:
    """Add a text at once, or the address of a page to be read by a task; embedded without another request."""
    with ctx.rt.unit() as db:
        inner = Ctx(ctx.rt, db, ctx.user, ctx.request_id, ctx.ip)
        row = collections.writable(inner, body.collection_id) if body.collection_id else collections.default(inner)
        collection_id = row.id
        if body.content is None:
            source = sources.add_url(inner, collection_id, body.url or "", label=body.title)
            return {"status": "processing", "source_id": source.id, "task_id": source.task_id,
                    "collection_id": collection_id}, 202  # fmt: skip
    given = DocumentIn.model_validate(
        {"title": body.title, "text": body.content, "url": body.url, "metadata": body.metadata}
    )
    stored = documents.store(ctx.rt, collection_id, _incoming(given))
    if stored.document_id is None:
        raise BadRequest("content: there is nothing to read in it")
    task_id = indexing.request(ctx.rt, collection_id)
    with ctx.rt.unit(write=False) as db:
        found = browse.get(Ctx(ctx.rt, db, ctx.user), stored.document_id)
    return {**views.kb_document(found), "outcome": stored.outcome, "task_id": task_id}


@base.get("/documents/<document_id>/", auth=READ, errors=(404,))
def kb_get(ctx: Ctx, document_id: str) -> Any:
    """A document with its text and its chunks."""
    row = browse.get(ctx, document_id)
    chunks = browse.chunks(ctx, row, limit=1000)
    return views.kb_document(row, browse.version(ctx, row).text, chunks)


@base.delete("/documents/<document_id>/", auth=WRITE, status=204, errors=(403, 404))
def kb_delete(ctx: Ctx, document_id: str) -> None:
    """Delete a document."""
    browse.remove(ctx, document_id)

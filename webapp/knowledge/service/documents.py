"""Documents: what was read becomes rows. `store` is the one way in, for crawls, uploads, texts and the API."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.core.db import new_id, utcnow
from webapp.core.errors import NotFound
from webapp.knowledge.models import (
    Chunk,
    ChunkDraft,
    Citation,
    Collection,
    Document,
    DocumentVersion,
    Source,
    VectorRemoval,
)
from webapp.knowledge.service.pieces import Cutter, Piece

if TYPE_CHECKING:
    from webapp.runtime import Runtime

KEPT_VERSIONS = 5  # the newest ones, cited or not, so that the page can show what changed
LETTER = re.compile(r"[^\W_]")
KEY_LENGTH = 700
UNIT = 100  # documents of one transaction

NEW, CHANGED, UNCHANGED, DUPLICATE, EMPTY = "new", "changed", "unchanged", "duplicate", "empty"


@dataclass(frozen=True)
class Incoming:
    """One page, file or text as its reader understood it.

    key: what makes it the same document when it is read again (canonical URL, `upload:<sha256>`, a caller's own id).
    text: Markdown. published: ISO day. etag, last_modified: for the next conditional request.
    keep_duplicates: store it even if the collection has the same text under another key.
    """

    key: str
    title: str
    text: str
    content_type: str
    url: str | None = None
    language: str | None = None
    author: str | None = None
    published: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    fetched_at: datetime | None = None
    method: str = "plain"
    warnings: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    minhash: str | None = None
    keep_duplicates: bool = False


@dataclass(frozen=True)
class Stored:
    """outcome: "new", "changed", "unchanged", "duplicate" (ids of the document that has the text) or "empty" (the
    ids of what was there before, if anything)."""

    document_id: str | None
    version_id: str | None
    outcome: str
    chunks: int = 0


@dataclass(frozen=True)
class _Ready:
    """An Incoming with what does not need the database."""

    given: Incoming
    key: str
    title: str
    text: str
    hash: str
    pieces: list[Piece] | None  # None: not cut, because the text was there already


def store(rt: Runtime, collection_id: str, incoming: Incoming, source_id: str | None = None) -> Stored:
    """Keep one document; safe to repeat. Raises NotFound when the collection is gone."""
    return store_many(rt, collection_id, [incoming], source_id)[0]


def store_many(
    rt: Runtime, collection_id: str, incoming: Sequence[Incoming], source_id: str | None = None
) -> list[Stored]:
    """Keep many, in units of 100: an outcome for each, in order. The cutting happens outside of the transactions."""
    found: list[Stored] = []
    for start in range(0, len(incoming), UNIT):
        found += _store_unit(rt, collection_id, incoming[start : start + UNIT], source_id)
    return found


def _store_unit(rt: Runtime, collection_id: str, incoming: Sequence[Incoming], source_id: str | None) -> list[Stored]:
    cutter: Cutter | None = None
    ready: list[_Ready] = []
    for attempt in range(1, 6):
        if cutter is None:
            with rt.unit(write=False) as db:
                embedder = _embedder(db, collection_id)
                known = _known(db, collection_id, [_key(one.key) for one in incoming])
            cutter = Cutter(rt, embedder)
            ready = [_prepare(cutter, one, known.get(_key(one.key))) for one in incoming]
        try:
            with rt.unit() as db:
                # A share of the row's lock: whoever removes the collection waits for us, or we see that it is gone.
                if _embedder(db, collection_id, lock=True) != embedder and attempt < 5:
                    cutter = None  # another was chosen while we cut for this one
                    continue
                if source_id is not None and db.get(Source, source_id) is None:
                    source_id = None  # removed while it was being read
                return _Unit(db, cutter, collection_id, source_id).keep(ready)
        except IntegrityError:
            if attempt == 5:
                raise  # two writers met at the same key; the next time it is there and found
    raise AssertionError("unreachable")


def _there(collection_id: str) -> tuple[Any, ...]:
    return Collection.id == collection_id, Collection.removed_at.is_(None)


def _embedder(db: Session, collection_id: str, *, lock: bool = False) -> str:
    """For whom passages are cut: whoever is to serve."""
    stmt = select(func.coalesce(Collection.building_embedder, Collection.embedder)).where(*_there(collection_id))
    found: str | None = db.scalar(stmt.with_for_update(read=True) if lock else stmt)
    if found is None:
        raise _gone()
    return found


def _gone() -> NotFound:
    return NotFound("the collection is not there any more")


def _known(db: Session, collection_id: str, keys: list[str]) -> dict[str, str | None]:
    stmt = select(Document.key, Document.text_hash)
    rows = db.execute(stmt.where(Document.collection_id == collection_id, Document.key.in_(keys)))
    return {row[0]: row[1] for row in rows}


def _key(key: str) -> str:
    key = plain(key).strip()
    return key if len(key) <= KEY_LENGTH else key[: KEY_LENGTH - 65] + "#" + _sha(key)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _prepare(cutter: Cutter, given: Incoming, known_hash: str | None) -> _Ready:
    text = plain(given.text)
    title = (" ".join(plain(given.title).split()) or _first_words(text) or given.key)[:500]
    digest = _sha(text)
    pieces = None if digest == known_hash or not _says_something(text) else cutter.cut(text)
    return _Ready(given, _key(given.key), title, text, digest, pieces)


def plain(text: str) -> str:
    """Without what a database refuses: NUL and halves of characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _line(value: str | None, longest: int) -> str | None:
    return " ".join(plain(value).split())[:longest] or None if value else None


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _first_words(text: str) -> str:
    line = next((line.strip("#*->| \t") for line in text[:2000].splitlines() if _says_something(line)), "")
    return line if len(line) <= 80 else line[:80].rsplit(" ", 1)[0] + "…"


# -- in the transaction ----------------------------------------------------------------------------------------------


class _Unit:
    """The documents of one transaction. New ones are gathered and written together: three statements for a hundred."""

    def __init__(self, db: Session, cutter: Cutter, collection_id: str, source_id: str | None) -> None:
        self.db, self.cutter, self.collection_id, self.source_id = db, cutter, collection_id, source_id
        self.rows: dict[str, Document] = {}
        self.twins: dict[str, Stored] = {}
        self.fresh: list[Document] = []
        self.written: set[str] = set()  # keys that were fresh
        self.versions: list[dict[str, Any]] = []
        self.chunks: list[dict[str, Any]] = []

    def keep(self, ready: Sequence[_Ready]) -> list[Stored]:
        self._look(ready)
        found = [self._keep(one) for one in ready]
        self._write_out()
        return found

    def _look(self, ready: Sequence[_Ready]) -> None:
        stmt = select(Document).where(Document.collection_id == self.collection_id)
        of = stmt.where(Document.key.in_([one.key for one in ready])).with_for_update()
        self.rows |= {row.key: row for row in self.db.scalars(of)}
        hashes = [one.hash for one in ready if one.key not in self.rows and not one.given.keep_duplicates]
        if hashes:
            same = self.db.scalars(stmt.where(Document.text_hash.in_(hashes)).order_by(Document.id.desc()))
            self.twins |= {row.text_hash or "": _stored(row, DUPLICATE) for row in same}

    def _keep(self, one: _Ready) -> Stored:
        row = self._found(one)
        if not _says_something(one.text):
            if row is not None:
                row.checked_at = utcnow()
            return _stored(row, EMPTY) if row is not None else Stored(None, None, EMPTY)
        if row is not None and row.text_hash == one.hash:
            _touch(self.db, row, one, self.source_id)
            return _stored(row, UNCHANGED)
        if row is None and not one.given.keep_duplicates and one.hash in self.twins:
            return self.twins[one.hash]
        return self._write(row, one)

    def _found(self, one: _Ready) -> Document | None:
        """What has the key; the same key twice in one call: the second comes after the first."""
        if one.key in self.rows and self.rows[one.key] in self.fresh:
            self._write_out()
        if one.key not in self.rows and one.key in self.written:
            self._look([one])
        return self.rows.get(one.key)

    def _write(self, row: Document | None, one: _Ready) -> Stored:
        """A new version with its chunks in place of the old one's."""
        outcome = NEW if row is None else CHANGED
        pieces = one.pieces if one.pieces is not None else self.cutter.cut(one.text)  # another writer changed it
        if row is None:
            row = Document(id=new_id(), collection_id=self.collection_id, key=one.key, version_count=0,
                           created_at=utcnow())  # fmt: skip
            self.fresh.append(row)
            self.rows[one.key] = row
        else:
            forget_chunks(self.db, [row.id])
        _describe(row, one.given)
        row.title, row.text_hash, row.words = one.title, one.hash, _words(one.text)
        row.source_id = self.source_id or row.source_id
        row.version_id, row.version_count = new_id(), row.version_count + 1
        row.chunk_count = row.pending_chunks = len(pieces)
        row.quality = row.quality_signals = row.assessed_at = None
        row.updated_at = utcnow()
        self.versions.append(_version(row, one))
        self.chunks += [_chunk(row, number, piece, one.text) for number, piece in enumerate(pieces)]
        found = _stored(row, outcome)
        if outcome == CHANGED:
            self._write_out()
            _prune(self.db, row.id)
        else:
            self.twins.setdefault(one.hash, _stored(row, DUPLICATE))
        return found

    def _write_out(self) -> None:
        self.db.flush()
        columns = [column.key for column in Document.__table__.columns]
        fresh = [{name: getattr(row, name) for name in columns} for row in self.fresh]
        for model, rows in ((Document, fresh), (DocumentVersion, self.versions), (Chunk, self.chunks)):
            if rows:
                self.db.connection().execute(insert(model.__table__), rows)  # type: ignore[arg-type]
        for row in self.fresh:
            self.rows.pop(row.key)  # from here on it is a row of the database, not the object made here
            self.written.add(row.key)
        self.fresh, self.versions, self.chunks = [], [], []


def _stored(row: Document, outcome: str) -> Stored:
    return Stored(row.id, row.version_id, outcome, row.chunk_count)


def _words(text: str) -> int:
    """What stands between blanks and has a letter or a figure in it: the marks of Markdown are no words."""
    return sum(1 for part in text.split() if LETTER.search(part))


def _version(row: Document, one: _Ready) -> dict[str, Any]:
    return {
        "id": row.version_id, "document_id": row.id, "number": row.version_count, "title": one.title, "text": one.text,
        "text_hash": one.hash, "method": one.given.method[:40], "minhash": one.given.minhash,
        "warnings": [plain(w)[:500] for w in one.given.warnings[:20]], "fetched_at": row.fetched_at,
    }  # fmt: skip


def _touch(db: Session, row: Document, one: _Ready, source_id: str | None) -> None:
    """The same words again: only what is known about them may be newer."""
    given = one.given
    if row.title != one.title:
        row.title, row.pending_chunks = one.title, row.chunk_count  # an embedder reads the title too
        for model in (Chunk, ChunkDraft):
            # another number each time: who is embedding it with the old title notices (`embed.mark`)
            forgotten = case((model.generation > 0, -1), else_=model.generation - 1)
            db.execute(update(model).where(model.document_id == row.id).values(title=one.title, generation=forgotten))
    _describe(row, given)
    row.source_id = source_id or row.source_id


def _describe(row: Document, given: Incoming) -> None:
    row.url = _line(given.url, 8000) or row.url
    row.content_type = _line(given.content_type, 128) or row.content_type or "text/plain"
    row.language = _line(given.language, 8) or row.language
    row.author = _line(given.author, 300) or row.author
    row.published = _line(given.published, 10) or row.published
    row.meta = given.meta or row.meta or {}
    row.etag, row.last_modified = _line(given.etag, 300), _line(given.last_modified, 64)
    row.fetched_at = given.fetched_at or utcnow()
    row.checked_at = max(utcnow(), row.fetched_at)


def _chunk(row: Document, number: int, piece: Piece, text: str) -> dict[str, Any]:
    return {"collection_id": row.collection_id, "document_id": row.id, "version_id": row.version_id,
            "position": number, "start": piece.start, "end": piece.end, "tokens": piece.tokens, "title": row.title,
            "heading": piece.heading[:500], "text": text[piece.start : piece.end], "generation": 0}  # fmt: skip


def forget_chunks(db: Session, document_ids: Sequence[str]) -> None:
    """Remove the chunks of documents and note that their vectors must go too, whether or not they are there yet."""
    for model in (Chunk, ChunkDraft):
        leaving = select(model.id, model.collection_id).where(model.document_id.in_(document_ids))
        db.execute(insert(VectorRemoval).from_select(["chunk_id", "collection_id"], leaving))
        db.execute(delete(model).where(model.document_id.in_(document_ids)))


def _prune(db: Session, document_id: str) -> None:
    """Drop versions that are neither current, nor cited, nor among the newest few."""
    of = DocumentVersion.document_id == document_id
    newest = func.max(DocumentVersion.number)
    last = db.scalar(select(newest).where(of)) or 0
    old = select(DocumentVersion.id).where(of, DocumentVersion.number <= last - KEPT_VERSIONS)
    ids = list(db.scalars(old.with_for_update()))  # who is citing one of them right now is waited for, then seen
    cited = select(Citation.id).where(Citation.version_id == DocumentVersion.id).exists()
    if ids:
        db.execute(delete(DocumentVersion).where(DocumentVersion.id.in_(ids), ~cited))

"""The collection that comes with the program: its own documentation, so that search answers something true at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from webapp import __version__
from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import utcnow
from webapp.embedding import service as embedding
from webapp.knowledge.models import Collection, Document, Source
from webapp.knowledge.service import documents, indexing, removal
from webapp.knowledge.service.documents import Incoming

if TYPE_CHECKING:
    from webapp.runtime import Runtime

KIND = "maintenance.demo"
NAME = "How Brainstem works"
ROOT = Path(__file__).resolve().parents[3]  # the folder of webapp/, where docs/ lies too, also when installed
FOLDER = ROOT / "docs"
# Made from the program, and better asked for by `brainstem config`; a list of links.
LEFT_OUT = {"settings.md", "README.md"}


def ensure(rt: Runtime) -> None:
    """At start: have the collection loaded if it is not there, or the documents are others by now."""
    from webapp.tasks import service as tasks

    if not rt.settings.demo:
        return
    with rt.unit() as db:
        if _loaded(Ctx(rt, db, SYSTEM)) != _fingerprint() and not tasks.waiting(db, KIND, {}):
            tasks.start(Ctx(rt, db, SYSTEM, request_id="first-run"), KIND, {}, priority="low")


def coming(ctx: Ctx) -> bool:
    """Whether it is still to be read for the first time."""
    return ctx.rt.settings.demo and _loaded(ctx) is None


def _loaded(ctx: Ctx) -> str | None:
    """What was loaded last; the present fingerprint if an administrator deleted it, who does not want it back."""
    row = ctx.db.execute(select(Collection.id, Collection.removed_at).where(Collection.bundled)).first()
    if row is None:
        return None
    if row.removed_at is not None:
        return _fingerprint()
    config = ctx.db.scalar(select(Source.config).where(Source.collection_id == row.id).limit(1))
    return (config or {}).get("fingerprint")


def files() -> list[Path]:
    """README.md and docs/*.md, as they lie in the source; the installed package has the first as docs/about.md."""
    found = [path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in LEFT_OUT]
    about = ROOT / "README.md"
    return [about, *found] if about.is_file() and not any(path.name == "about.md" for path in found) else found


def _fingerprint() -> str:
    digest = hashlib.sha256(__version__.encode())
    for path in files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def load(rt: Runtime, note: Callable[[str], None] = lambda text: None) -> dict[str, int]:
    """Bring the collection to this version: new and changed documents in, those that are gone out. Safe to repeat.

    Returns how many documents it holds; `note` hears what that changed.
    """
    with rt.unit() as db:
        collection = db.scalar(select(Collection).where(Collection.bundled))
        if collection is not None and collection.removed_at is not None:
            return {"documents": 0}
        if collection is None:
            collection = Collection(name=NAME, bundled=True, everyone=True, embedder=embedding.default(rt),
                                    description="Brainstem's own documentation, read by it like any other.")  # fmt: skip
            db.add(collection)
            db.flush()
        source = db.scalar(select(Source).where(Source.collection_id == collection.id))
        if source is None:
            source = Source(collection_id=collection.id, kind="text", label="The documentation that comes with it")
            db.add(source)
            db.flush()
        collection_id, source_id = collection.id, source.id
    texts = {f"docs/{path.name}": path.read_text(encoding="utf-8") for path in files()}
    incoming = [Incoming(key, _title(key, text), text, "text/markdown", language="en", method="plain",
                         meta={"file": key}, keep_duplicates=True) for key, text in texts.items()]  # fmt: skip
    stored = documents.store_many(rt, collection_id, incoming, source_id)
    with rt.unit() as db:
        of = select(Document.id).where(Document.collection_id == collection_id, Document.key.not_in(list(texts)))
        gone = list(db.scalars(of))
        removal.remove_documents(db, gone)
        row = db.get(Source, source_id)
        if row is not None:
            row.state, row.read_at, row.config = "ready", utcnow(), {"fingerprint": _fingerprint()}
    indexing.request(rt, collection_id)
    indexing.assess(rt, collection_id)
    changed = sum(one.outcome in (documents.NEW, documents.CHANGED) for one in stored)
    note(f"{changed} of {len(stored)} documents are new or changed, {len(gone)} are gone")
    return {"documents": len(stored)}


def _title(key: str, text: str) -> str:
    line = next((line for line in text.splitlines() if line.startswith("# ")), "")
    return line[2:].strip() or key

"""Store, find and remove uploads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import timedelta
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from sqlalchemy import delete, select

from webapp.core.blobs import BlobFolder
from webapp.core.context import Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import BadRequest, NotFound, UnsupportedMedia
from webapp.files.models import Upload
from webapp.settings import Settings

if TYPE_CHECKING:
    from webapp.runtime import Runtime

KEEP = timedelta(days=30)


def blobs(settings: Settings) -> BlobFolder:
    return BlobFolder(settings.home_dir / "files")


def store(
    ctx: Ctx, stream: IO[bytes], filename: str, content_type: str | None, accepted: Collection[str] = ()
) -> Upload:
    """Keep a file for the caller. accepted: endings to take instead of those whose text is read. Raises UnsupportedMedia for an ending we do not read, TooLarge, StorageFull."""
    from webapp.extraction.service import ACCEPTED

    name = safe_name(filename)
    ending = PurePosixPath(name).suffix.lower()
    accepted = accepted or ACCEPTED
    if ending not in accepted:
        raise UnsupportedMedia(
            f"files ending in {ending or 'nothing'} are not read", suggestion="Use " + ", ".join(sorted(accepted)) + "."
        )
    folder, ident = blobs(ctx.rt.settings), new_id()
    size, digest = folder.put(ident, stream, max_bytes=ctx.rt.settings.max_upload_mb * 2**20)
    if size == 0:
        folder.remove(ident)
        raise BadRequest("the file is empty")
    row = Upload(id=ident, owner_id=ctx.user.id, name=name, content_type=(content_type or "")[:128], size=size,
                 sha256=digest)  # fmt: skip
    ctx.db.add(row)
    ctx.db.flush()
    return row


def safe_name(filename: str) -> str:
    """A name to show: no folders, no control or direction characters, at most 200 long. Never used as a path."""
    if "\0" in filename:
        raise BadRequest("the file name holds a NUL character")
    last = re.split(r"[\\/]", filename)[-1]
    plain = "".join(c for c in unicodedata.normalize("NFC", last) if unicodedata.category(c)[0] != "C").strip(" .")
    if not plain:
        raise BadRequest("the file has no name")
    stem, dot, ending = plain.rpartition(".")
    return plain if len(plain) <= 200 else (stem[: 199 - len(ending)] + dot + ending)[-200:]


def get(ctx: Ctx, upload_id: str) -> Upload:
    """The caller's upload. Raises NotFound for a stranger's."""
    return owned(ctx, ctx.user.id, upload_id)


def owned(ctx: Ctx, owner_id: str | None, upload_id: str) -> Upload:
    row = ctx.db.scalar(select(Upload).where(Upload.id == upload_id[:40], Upload.owner_id == owner_id))
    if row is None:
        raise NotFound("there is no such file", suggestion="Upload it first.")
    return row


def load(rt: Runtime, owner_id: str | None, upload_id: str) -> tuple[str, str, bytes]:
    """(name, content type, bytes) for a worker, who takes the owner from the task's row and not from its arguments."""
    with rt.unit(write=False) as db:
        row = db.scalar(select(Upload).where(Upload.id == upload_id, Upload.owner_id == owner_id))
    if row is None:
        raise NotFound("the uploaded file is not there any more", suggestion="Upload it again.")
    return row.name, row.content_type, blobs(rt.settings).read(row.id)


def clean(rt: Runtime) -> int:
    """Remove uploads past their time, and files without a row (a request killed between the two)."""
    folder = blobs(rt.settings)
    with rt.unit() as db:
        old = list(db.scalars(select(Upload.id).where(Upload.created_at < utcnow() - KEEP)))
        db.execute(delete(Upload).where(Upload.id.in_(old)))
        kept = set(db.scalars(select(Upload.id)))
    gone = 0
    for name in folder.names():
        path = folder.root / name
        if name not in kept and path.stat().st_mtime < (utcnow() - timedelta(hours=1)).timestamp():
            path.unlink(missing_ok=True)
            gone += 1
    return gone

"""Store, find and remove uploads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.core import ageing, quotas, stored
from webapp.core.blobs import BlobFolder
from webapp.core.context import Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import AppError, BadRequest, NotFound, UnsupportedMedia
from webapp.files.models import Upload
from webapp.settings import Settings

if TYPE_CHECKING:
    from webapp.runtime import Runtime


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
    most = ctx.rt.settings.upload_mb(ending)
    if most == 0:
        raise UnsupportedMedia(f"files ending in {ending} are not taken here")
    folder, ident = blobs(ctx.rt.settings), new_id()
    _require_room(ctx, 1)  # before its bytes are written
    size, digest = folder.put(ident, stream, max_bytes=most * 2**20)
    try:
        if size == 0:
            raise BadRequest("the file is empty")
        _require_room(ctx, size)
    except AppError:
        folder.remove(ident)
        raise
    row = Upload(id=ident, owner_id=ctx.user.id, name=name, content_type=(content_type or "")[:128], size=size,
                 sha256=digest)  # fmt: skip
    ctx.db.add(row)
    ctx.db.flush()
    return row


def _require_room(ctx: Ctx, size: int) -> None:
    if ctx.user.id is None or not quotas.counts(ctx.user):
        return
    most = quotas.limits_of(ctx.rt, ctx.user.id, ctx.db)["stored_bytes"]
    if most is not None:
        used, frees_at = usage(ctx.rt, ctx.db, ctx.user.id)
        quotas.require("stored_bytes", most, used, size, frees_at=frees_at)


def usage(rt: Runtime, db: Session, owner_id: str) -> tuple[int, datetime | None]:
    """(bytes a person has stored, when the oldest of them go)."""
    row = db.execute(
        select(func.coalesce(func.sum(Upload.size), 0), func.min(Upload.created_at)).where(Upload.owner_id == owner_id)
    ).one()
    days = stored.value(rt, "retention_files_days", db)
    return int(row[0]), row[1] + timedelta(days=days) if row[1] and days else None


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


def names(ctx: Ctx, ids: Collection[str]) -> dict[str, str]:
    """id -> name of those of the caller's uploads that are still there."""
    if not ids:
        return {}
    wanted = Upload.id.in_([one[:40] for one in ids])
    rows = ctx.db.execute(select(Upload.id, Upload.name).where(wanted, Upload.owner_id == ctx.user.id))
    return {row.id: row.name for row in rows}


def load(rt: Runtime, owner_id: str | None, upload_id: str) -> tuple[str, str, bytes]:
    """(name, content type, bytes) for a worker, who takes the owner from the task's row and not from its arguments."""
    with rt.unit(write=False) as db:
        row = db.scalar(select(Upload).where(Upload.id == upload_id, Upload.owner_id == owner_id))
    if row is None:
        raise NotFound("the uploaded file is not there any more", suggestion="Upload it again.")
    return row.name, row.content_type, blobs(rt.settings).read(row.id)


def located(rt: Runtime, owner_id: str | None, upload_id: str) -> tuple[Upload, Path]:
    """The row and where its bytes lie, for a worker that has a child process read them."""
    with rt.unit(write=False) as db:
        row = db.scalar(select(Upload).where(Upload.id == upload_id, Upload.owner_id == owner_id))
    if row is None:
        raise NotFound("the uploaded file is not there any more", suggestion="Upload it again.")
    path = blobs(rt.settings).path(row.id)
    if not path.is_file():
        raise NotFound("the uploaded file is not there any more", suggestion="Upload it again.")
    return row, path


def count_older(db: Session, days: int) -> int:
    """How many uploads are older than so many days; 0 keeps them all."""
    return ageing.count_older(db, Upload.created_at, days)


def clean(rt: Runtime) -> int:
    """Remove uploads past their time, and files without a row (a request killed between the two)."""
    folder = blobs(rt.settings)
    days = stored.value(rt, "retention_files_days")
    with rt.unit() as db:
        ageing.forget_older(db, Upload.created_at, days)
        kept = set(db.scalars(select(Upload.id)))
    gone = 0
    for name in folder.names():
        path = folder.root / name
        if name not in kept and path.stat().st_mtime < (utcnow() - timedelta(hours=1)).timestamp():
            path.unlink(missing_ok=True)
            gone += 1
    return gone

"""Bytes too large for rows: files under random names in one folder, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO

from webapp.core.errors import NotFound, StorageFull, TooLarge

CHUNK = 256 * 1024


class BlobFolder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, stream: IO[bytes], *, max_bytes: int) -> tuple[int, str]:
        """Store a stream; (size, sha256). Raises TooLarge and StorageFull, and leaves nothing behind then."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, temporary = tempfile.mkstemp(dir=self.root, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as out:
                size, digest = _copy(stream, out, max_bytes)
            os.replace(temporary, self.path(name))
        except OSError as exc:
            _forget(temporary)
            if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise StorageFull("the disk is full", suggestion="Free some space and send it again.") from exc
            raise
        except BaseException:
            _forget(temporary)
            raise
        return size, digest

    def read(self, name: str) -> bytes:
        try:
            with open(os.open(self.path(name), os.O_RDONLY | os.O_NOFOLLOW), "rb") as found:
                return found.read()
        except FileNotFoundError:
            raise NotFound("the file is not there any more", suggestion="Upload it again.") from None

    def remove(self, name: str) -> None:
        _forget(str(self.path(name)))

    def names(self) -> list[str]:
        return [path.name for path in self.root.iterdir() if path.is_file()] if self.root.is_dir() else []

    def path(self, name: str) -> Path:
        """Where it lies, or would. Raises NotFound for what is no name."""
        if not name.replace("-", "").isalnum() or len(name) > 64:
            raise NotFound("there is no such file")
        return self.root / name


def _copy(stream: IO[bytes], out: IO[bytes], max_bytes: int) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise TooLarge(f"files may have up to {max_bytes // 2**20} MB")
        digest.update(chunk)
        out.write(chunk)
    return size, digest.hexdigest()


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return

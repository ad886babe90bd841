"""The file of a backup: a gzipped tar whose last member is the manifest with the checksum of every other one.

A file that was cut off has no manifest and is refused. Unpacking knows the few names that may be in it and takes nothing
else: no path, no link, no device, no name twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from webapp.core.errors import BadRequest, StorageFull

FORMAT = 1
MANIFEST = "manifest.json"
ALLOWED = re.compile(r"database\.(sqlite|pgdump)|secret\.key|brainstem\.env|files/[A-Za-z0-9-]{1,64}")
CHUNK = 1024 * 1024
LARGEST_MANIFEST = 256 * 2**20
RESERVE = 100 * 2**20  # bytes that unpacking leaves free


class Unusable(BadRequest):
    """The file is no backup of ours, or is damaged. Nothing was changed."""

    code = "unusable_backup"


class _Hashed:
    """A file that is read once, with the checksum of what was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source, self.digest, self.size = source, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        chunk = self.source.read(size)
        self.digest.update(chunk)
        self.size += len(chunk)
        return chunk


class Writer:
    """Members, then the manifest. `files`: name -> {size, sha256}."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, path: Path) -> None:
        with path.open("rb") as source:
            self._add(name, source, os.fstat(source.fileno()).st_size)

    def add_text(self, name: str, text: str) -> None:
        data = text.encode()
        self._add(name, io.BytesIO(data), len(data))

    def _add(self, name: str, source: IO[bytes], size: int) -> None:
        if not ALLOWED.fullmatch(name):
            raise ValueError(f"{name} could not be unpacked again")
        member, hashed = tarfile.TarInfo(name), _Hashed(source)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, hashed)  # type: ignore[arg-type]
        self.files[name] = {"size": hashed.size, "sha256": hashed.digest.hexdigest()}

    def close(self, about: dict[str, Any]) -> dict[str, Any]:
        manifest = {"format": FORMAT, **about, "files": self.files}
        data = json.dumps(manifest, indent=1).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mode = len(data), 0o600
        self._tar.addfile(member, io.BytesIO(data))
        return manifest


@contextmanager
def written(path: Path) -> Iterator[Writer]:
    """Whole or not at all, and for its owner only: the secret is in it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar:
                yield Writer(tar)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, path)
    except OSError as exc:
        if exc.errno in (28, 122):  # no space, quota
            raise StorageFull(f"there is no room for the backup in {path.parent}") from exc
        raise
    finally:
        part.unlink(missing_ok=True)


def unpack(path: Path, into: Path) -> dict[str, Any]:
    """Everything into the folder `into`, each file compared with its checksum; the manifest. Raises Unusable."""
    found: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                if manifest is not None or not member.isreg() or member.name in found:
                    raise Unusable(
                        f"{path.name} is no backup of Brainstem: {member.name[:100]!r} does not belong there"
                    )
                source = tar.extractfile(member)
                assert source is not None
                if member.name == MANIFEST:
                    manifest = _manifest(path, source, member.size)
                elif ALLOWED.fullmatch(member.name):
                    found[member.name] = _unpack_one(source, member, into)
                else:
                    raise Unusable(
                        f"{path.name} is no backup of Brainstem: {member.name[:100]!r} does not belong there"
                    )
    except (tarfile.TarError, EOFError, zlib.error, OSError) as exc:
        if isinstance(exc, OSError) and exc.filename:
            raise BadRequest(f"{exc.filename}: {exc.strerror}") from None
        raise Unusable(f"{path.name} is damaged, or was cut off ({exc})") from None
    if manifest is None:
        raise Unusable(f"{path.name} has no manifest: it was cut off")
    _compare(path, manifest, found)
    return manifest


def _manifest(path: Path, source: IO[bytes], size: int) -> dict[str, Any]:
    if size > LARGEST_MANIFEST:
        raise Unusable(f"the manifest of {path.name} is too large")
    try:
        found = json.loads(source.read())
        known = (
            isinstance(found, dict) and isinstance(found.get("files"), dict) and isinstance(found.get("database"), dict)
        )
    except ValueError:
        known = False
    if not known:
        raise Unusable(f"the manifest of {path.name} cannot be read")
    if found.get("format") != FORMAT:
        raise Unusable(f"{path.name} has the format {found.get('format')!r}; this program reads {FORMAT}",
                       suggestion="Use the version of Brainstem that wrote it, or a newer one.")  # fmt: skip
    return dict(found)


def _unpack_one(source: IO[bytes], member: tarfile.TarInfo, into: Path) -> dict[str, Any]:
    target = into / member.name
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if shutil.disk_usage(into).free < member.size + RESERVE:
        raise StorageFull(f"there is no room to unpack {member.name} in {into.parent}")
    hashed = _Hashed(source)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
        while chunk := hashed.read(CHUNK):
            out.write(chunk)
    return {"size": hashed.size, "sha256": hashed.digest.hexdigest()}


def _compare(path: Path, manifest: dict[str, Any], found: dict[str, dict[str, Any]]) -> None:
    lacking = sorted(set(manifest["files"]) ^ set(found))
    if lacking:
        raise Unusable(f"{path.name} and its manifest differ in {lacking[0][:100]!r}")
    for name, one in found.items():
        if one != manifest["files"][name]:
            raise Unusable(f"{name} in {path.name} is not what was put there: its checksum differs")

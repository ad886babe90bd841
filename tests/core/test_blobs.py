"""Bytes in a folder: whole or not at all, and never outside it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from webapp.core.blobs import BlobFolder
from webapp.core.errors import NotFound, TooLarge


@pytest.fixture
def folder(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs")


def test_kept_and_read(folder: BlobFolder) -> None:
    size, digest = folder.put("a-1", io.BytesIO(b"x" * 600_000), max_bytes=10**6)
    assert size == 600_000
    assert len(digest) == 64
    assert folder.read("a-1") == b"x" * 600_000
    assert folder.names() == ["a-1"]
    folder.remove("a-1")
    folder.remove("a-1")
    with pytest.raises(NotFound):
        folder.read("a-1")


def test_others_of_the_machine_cannot_read(folder: BlobFolder) -> None:
    folder.put("a", io.BytesIO(b"x"), max_bytes=5)
    assert (folder.root / "a").stat().st_mode & 0o077 == 0
    assert folder.root.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("size", [6, 300_000])
def test_too_large_leaves_nothing(folder: BlobFolder, size: int) -> None:
    with pytest.raises(TooLarge):
        folder.put("a", io.BytesIO(b"x" * size), max_bytes=5)
    assert folder.names() == []


def test_a_stream_that_breaks_leaves_nothing(folder: BlobFolder) -> None:
    class Broken(io.BytesIO):
        def read(self, *args: Any) -> bytes:
            raise ConnectionResetError

    folder.put("a", io.BytesIO(b"old"), max_bytes=5)
    with pytest.raises(ConnectionResetError):
        folder.put("a", Broken(), max_bytes=5)
    assert folder.names() == ["a"]
    assert folder.read("a") == b"old"


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "", ".", "..", "x" * 65, "a\0b", "a.b", ".part-x", "-"])
def test_names_that_are_paths(folder: BlobFolder, name: str) -> None:
    for action in (folder.read, folder.remove, lambda n: folder.put(n, io.BytesIO(b"x"), max_bytes=5)):
        with pytest.raises(NotFound):
            action(name)
    assert folder.names() == []


def test_a_link_is_not_followed(folder: BlobFolder, tmp_path: Path) -> None:
    """A28."""
    folder.put("a", io.BytesIO(b"x"), max_bytes=5)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    os.symlink(secret, folder.root / "link")
    with pytest.raises(OSError, match="symbolic link"):
        folder.read("link")

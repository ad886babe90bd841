"""Answers between fetching and reading: one file each, so that a killed crawl need not fetch them again.

A file is written before the row that says so is committed. What a power cut took half away fails its length check and
is fetched again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from webapp.core.errors import StorageFull
from webapp.settings import Settings


class Spool:
    def __init__(self, settings: Settings, crawl_id: str) -> None:
        self.folder = settings.home_dir / "crawl" / crawl_id

    def put(self, url_id: str, head: dict[str, Any], body: bytes) -> None:
        """Raises StorageFull."""
        line = json.dumps({**head, "length": len(body)}).encode() + b"\n"
        try:
            try:
                self._write(url_id, line + body)
            except FileNotFoundError:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._write(url_id, line + body)
        except OSError as error:
            raise StorageFull("A page could not be kept: the disk is full or not writable.", retryable=True) from error

    def _write(self, url_id: str, data: bytes) -> None:
        with (self.folder / url_id).open("wb", buffering=0) as out:
            written = out.write(data)
            if written != len(data):
                raise OSError("short write")

    def get(self, url_id: str) -> tuple[dict[str, Any], bytes] | None:
        """(head, body), or None when it is not there whole."""
        try:
            line, _, body = (self.folder / url_id).read_bytes().partition(b"\n")
            head = json.loads(line)
        except (OSError, ValueError):
            return None
        return (head, body) if isinstance(head, dict) and head.get("length") == len(body) else None

    def drop(self, url_id: str) -> None:
        (self.folder / url_id).unlink(missing_ok=True)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def left_behind(settings: Settings) -> list[str]:
    """Ids of crawls that have a folder."""
    root: Path = settings.home_dir / "crawl"
    return [folder.name for folder in root.iterdir()] if root.is_dir() else []

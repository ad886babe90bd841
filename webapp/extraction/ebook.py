"""E-books (EPUB 2 and 3) to Markdown, chapters in reading order. Runs in the child."""

from __future__ import annotations

import posixpath
import zipfile
from typing import Any
from urllib.parse import unquote

from webapp.core import sandbox
from webapp.core.errors import AppError, Invalid
from webapp.extraction import markdown
from webapp.extraction.common import damaged, one_line
from webapp.extraction.data import parse_xml
from webapp.extraction.detect import open_archive
from webapp.extraction.encoding import decode
from webapp.extraction.feeds import local
from webapp.extraction.html import iso_day, language_of

DUBLIN_CORE = ("title", "creator", "language", "date")


def read_epub(data: bytes, characters: int) -> dict[str, Any]:
    """Fields of `Extracted`. Encrypted books are refused, encrypted fonts do not matter."""
    try:
        with open_archive(data) as archive:
            return _read(archive, characters)
    except (AppError, MemoryError):
        raise
    except Exception as error:  # broken archives raise anything
        raise damaged("e-book") from error


def _read(archive: zipfile.ZipFile, characters: int) -> dict[str, Any]:
    package = _package_name(archive)
    root = parse_xml(archive.read(package))
    if root is None:
        raise damaged("e-book")
    about: dict[str, str] = {}
    files: dict[str, str] = {}
    spine: list[str] = []
    for element in root.iter():
        name = local(element)
        if name in DUBLIN_CORE and (element.text or "").strip():
            about.setdefault(name, " ".join((element.text or "").split()))
        elif name == "item" and "html" in (element.get("media-type") or ""):
            files[element.get("id") or ""] = _inside(package, element.get("href") or "")
        elif name == "itemref":
            spine.append(element.get("idref") or "")
    chapters = [files[ident] for ident in dict.fromkeys(spine) if ident in files] or list(files.values())
    _refuse_encrypted(archive, chapters)
    blocks, missing = _chapters(archive, chapters, characters)
    return {
        "text": "\n\n".join(blocks),
        "title": one_line(about.get("title")),
        "author": one_line(about.get("creator")),
        "language": language_of(about.get("language", "")),
        "published": iso_day(about.get("date", "")),
        "method": "epub",
        "warnings": [f"{missing} of {len(chapters)} chapters could not be read."] if missing else [],
        "meta": {"chapters": len(chapters)},
    }


def _package_name(archive: zipfile.ZipFile) -> str:
    """META-INF/container.xml names the package file; without it the first .opf serves."""
    if "META-INF/container.xml" in archive.namelist():
        root = parse_xml(archive.read("META-INF/container.xml"))
        for element in root.iter() if root is not None else ():
            if local(element) == "rootfile" and element.get("full-path") in archive.namelist():
                return str(element.get("full-path"))
    return next(name for name in archive.namelist() if name.lower().endswith(".opf"))


def _inside(package: str, href: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(href.partition("#")[0])))


def _refuse_encrypted(archive: zipfile.ZipFile, chapters: list[str]) -> None:
    if "META-INF/encryption.xml" not in archive.namelist():
        return
    root = parse_xml(archive.read("META-INF/encryption.xml"))
    locked = {unquote(element.get("URI") or "") for element in root.iter()} if root is not None else set()
    if locked & set(chapters):
        raise Invalid("The e-book is protected against copying.", code="encrypted",
                      suggestion="Upload a copy without protection.")  # fmt: skip


def _chapters(archive: zipfile.ZipFile, names: list[str], characters: int) -> tuple[list[str], int]:
    blocks: list[str] = []
    missing = 0
    for number, name in enumerate(names):
        sandbox.progress(100 * number // len(names), f"chapter {number + 1} of {len(names)}")
        try:
            text = markdown.from_html(decode(archive.read(name), None)[0])
        except MemoryError:
            raise
        except Exception:
            missing += 1
            continue
        blocks += [text] if text else []
        characters -= len(text)
        if characters < 0:
            break
    return blocks, missing

"""What all readers of files need: one line of foreign text, the two ways to refuse."""

from __future__ import annotations

import zipfile

from webapp.core.errors import AppError, Invalid
from webapp.extraction.detect import declares_doctype, open_archive


def refuse_entities(data: bytes, what: str) -> None:
    """Office programs write no document type declarations; what has one wants to expand or fetch something."""
    try:
        with open_archive(data) as archive:
            for entry in archive.infolist():
                if entry.filename.lower().endswith((".xml", ".rels")) and declares_doctype(archive.read(entry)):
                    raise Invalid("The document declares XML entities and is refused.", code="xml_entities")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise damaged(what) from error
    except Exception as error:
        if isinstance(error, (AppError, MemoryError)) or type(error).__module__ not in ("zlib", "lzma"):
            raise
        raise damaged(what) from error


def one_line(text: object) -> str | None:
    """None also for what programs write when nobody gave a title or author."""
    line = " ".join(str(text or "").split())[:500]
    return None if line.strip("()").lower() in ("", "untitled", "anonymous", "unspecified") else line


def damaged(what: str) -> Invalid:
    return Invalid(
        f"The {what} is damaged and cannot be read.",
        code="damaged_file",
        suggestion="Open it in its own program, save it again and retry.",
    )

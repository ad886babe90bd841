"""The one door: bytes in, clean text out, or an AppError that says what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from webapp.core.errors import Invalid, TaskTimedOut, TooLarge
from webapp.core.sandbox import ChildCrashed, run_in_child
from webapp.extraction import detect, files, html
from webapp.extraction.detect import ACCEPTED

__all__ = ["ACCEPTED", "Extracted", "extract"]

PRELOAD = ("trafilatura", "bs4", "lxml.html", "pypdf", "docx", "charset_normalizer", "puremagic")

INPUT_BYTES = 64 * 2**20
TEXT_CHARACTERS = 5_000_000
CPU_SECONDS = 30
MEMORY_BYTES = 2**30
LAST_TRY_SECONDS = 5.0


@dataclass(frozen=True)
class Extracted:
    """text: paragraphs separated by blank lines, headings as `# ...`, list items as `- ...`, tables as `| a | b |`.

    content_type: what the bytes are, not what was declared. language: only if the document states it.
    published: ISO day. method: "trafilatura", "beautifulsoup4", "pypdf", "python-docx" or "plain".
    """

    text: str
    title: str | None
    language: str | None
    content_type: str
    author: str | None
    published: str | None
    method: str
    warnings: list[str] = field(default_factory=list)


def extract(
    data: bytes,
    *,
    filename: str | None = None,
    content_type: str | None = None,
    charset: str | None = None,
    url: str | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30.0,
) -> Extracted:
    """Read `data` in a child process with 30 s of processor time and 1 GiB.

    filename, content_type, charset: what the sender says; believed only where the bytes allow it.
    Raises UnsupportedMedia (not one of ACCEPTED), TooLarge (input or unpacked size, memory), Invalid (damaged,
    encrypted, no text, took too long), ChildCrashed, and TaskCancelled.
    """
    if len(data) > INPUT_BYTES:
        raise TooLarge(f"Files may have up to {INPUT_BYTES // 2**20} MB.")
    if not charset and content_type and (found := re.search(r"charset\s*=\s*[\"']?([\w:.-]{2,40})", content_type)):
        charset = found[1]
    deadline = time.monotonic() + timeout
    try:
        found_in_file = _read(data, filename, content_type, charset, url, False, cancelled, timeout)
    except (TaskTimedOut, ChildCrashed, TooLarge) as error:
        # A page that breaks the tree readers is read once more without a tree. Other kinds refuse that at once.
        if not _may_be_html(data):
            raise _too_slow() if isinstance(error, TaskTimedOut) else error from error
        rest = max(LAST_TRY_SECONDS, deadline - time.monotonic())
        try:
            found_in_file = _read(data, filename, content_type, charset, url, True, cancelled, rest)
        except TaskTimedOut as late:
            raise _too_slow() from late
    return Extracted(**found_in_file)


def _read(
    data: bytes,
    filename: str | None,
    content_type: str | None,
    charset: str | None,
    url: str | None,
    simply: bool,
    cancelled: Callable[[], bool],
    timeout: float,
) -> dict[str, Any]:
    found: dict[str, Any] = run_in_child(
        "webapp.extraction.service:read",
        data,
        filename,
        content_type,
        charset,
        url,
        simply,
        timeout=timeout,
        cpu_seconds=CPU_SECONDS,
        memory_bytes=MEMORY_BYTES,
        cancelled=cancelled,
    )
    return found


def _may_be_html(data: bytes) -> bool:
    return b"%PDF-" not in data[:1024] and data[:2] != b"PK"


def _too_slow() -> Invalid:
    return Invalid(
        "Reading the file took too long and was stopped.",
        code="extraction_timeout",
        suggestion="Split the file or save it in a simpler format.",
    )


# --- in the child -----------------------------------------------------------------------------------------------


def read(
    data: bytes,
    filename: str | None,
    content_type: str | None,
    charset: str | None,
    url: str | None,
    simply: bool,
) -> dict[str, Any]:
    """The fields of `Extracted`. simply: the page already broke a cleverer reader."""
    if not data.strip(b"\0 \t\r\n\f"):
        raise _nothing()
    kind = detect.detect(data, filename, content_type)
    fields: dict[str, Any] = {
        "title": None,
        "language": None,
        "author": None,
        "published": None,
        "warnings": [],
    }
    fields |= _by_kind(kind, data, charset, url, simply) | {"content_type": detect.MIME[kind]}
    fields["text"] = tidy(fields["text"][: TEXT_CHARACTERS * 2])
    if len(fields["text"]) > TEXT_CHARACTERS:
        fields["text"] = fields["text"][:TEXT_CHARACTERS].rstrip()
        fields["warnings"].append(f"Only the first {TEXT_CHARACTERS:,} characters were kept.")
    if not any(character.isalnum() for character in fields["text"]):
        raise _nothing()
    return fields


def _by_kind(kind: detect.Kind, data: bytes, charset: str | None, url: str | None, simply: bool) -> dict[str, Any]:
    if kind == "pdf":
        return files.read_pdf(data, TEXT_CHARACTERS)
    if kind == "docx":
        return files.read_docx(data, TEXT_CHARACTERS)
    text, warnings = detect.decode(data, charset)
    if kind == "html":
        found = html.strip_tags(text) if simply else html.read_html(text, url)
        warnings += ["The page is too complex for layout analysis; menus may be included."] if simply else []
        return found | {"warnings": warnings}
    return {"text": text, "title": _first_heading(text), "method": "plain", "warnings": warnings}


def _first_heading(text: str) -> str | None:
    found = re.search(r"^#{1,2} (.{1,300})$", text[:4000], re.MULTILINE)
    return found[1].strip().rstrip("#").strip() or None if found else None


def tidy(text: str) -> str:
    """One kind of line end, no control characters, no blanks at line ends, never two blank lines in a row."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n").replace("\u2028", "\n")
    text = text.translate(UNPRINTABLE).replace("\u00a0", " ")
    text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be stored
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


UNPRINTABLE = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160), 0xFEFF, 0xAD))


def _nothing() -> Invalid:
    return Invalid(
        "No readable text was found.",
        code="no_text",
        suggestion="Check that the file is not empty and that its content is text, not pictures.",
    )

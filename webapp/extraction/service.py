"""The one door: bytes in, clean text out, or an AppError that says what to do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from webapp.core.errors import Invalid, TaskTimedOut, TooLarge
from webapp.core.sandbox import ChildCrashed, run_in_child
from webapp.core.sandbox_pool import Pool
from webapp.extraction import data as tables
from webapp.extraction import detect, ebook, encoding, files, html, language, mail, markdown, media, office, pictures
from webapp.extraction.detect import ACCEPTED
from webapp.extraction.media import ENDINGS as RECORDINGS

__all__ = ["ACCEPTED", "RECORDINGS", "Extracted", "extract"]

PRELOAD = (
    *("trafilatura", "bs4", "markdownify", "lxml.html", "pypdf", "docx", "charset_normalizer", "puremagic"),
    "webapp.extraction.language",
)

INPUT_BYTES = 64 * 2**20
TEXT_CHARACTERS = 5_000_000
CPU_SECONDS = 30
MEMORY_BYTES = 2**30
LAST_TRY_SECONDS = 5.0


@dataclass(frozen=True)
class Extracted:
    """text: Markdown. Paragraphs separated by blank lines, headings as `# ...`, list items as `- ...`, tables as
    `| a | b |`; code in fences and links as `[text](address)` only if `markdown` was asked for.

    content_type: what the bytes are, not what was declared. language: ISO 639-1, as found in the text or declared.
    published: ISO day. method: the library that read it, or "plain".
    meta: `bytes`, `words`, `encoding` of text kinds, `language_confidence` 0..1, and what the kind has: `pages`,
    `slides`, `sheets`, `rows`, `columns`, `chapters`, `entries`, `cells`, `attachments`, `width`, `height`,
    `duration` (s), `samplerate` (Hz), `channels`, `bitrate` (kbit/s), `codec` (in words),
    `page_characters` (of all text on a web page), `link_share` (of its main text inside links, 0..1).
    """

    text: str
    title: str | None
    language: str | None
    content_type: str
    author: str | None
    published: str | None
    method: str
    warnings: list[str] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


def extract(
    data: bytes,
    *,
    filename: str | None = None,
    content_type: str | None = None,
    charset: str | None = None,
    url: str | None = None,
    markdown: bool = True,
    recordings: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 30.0,
    pool: Pool | None = None,
) -> Extracted:
    """Read `data` in a child process with 30 s of processor time and 1 GiB.

    pool: children shared with the other pages of one piece of work; without one, a child of its own.

    filename, content_type, charset: what the sender says; believed only where the bytes allow it.
    markdown: keep links and code fences, for what is stored and cited; False: the text reads as prose (summaries).
    recordings: take sound and film too, whose text is what they say about themselves (RECORDINGS: their endings).
    Raises UnsupportedMedia (not one of ACCEPTED), TooLarge (input or unpacked size, memory), Invalid (damaged,
    encrypted, no text, took too long), ChildCrashed, and TaskCancelled.
    """
    if len(data) > INPUT_BYTES:
        raise TooLarge(f"Files may have up to {INPUT_BYTES // 2**20} MB.")
    if not charset and content_type and (found := re.search(r"charset\s*=\s*[\"']?([\w:.-]{2,40})", content_type)):
        charset = found[1]
    deadline = time.monotonic() + timeout
    try:
        found_in_file = _read(
            data, filename, content_type, charset, url, markdown, recordings, False, cancelled, timeout, pool
        )
    except (TaskTimedOut, ChildCrashed, TooLarge) as error:
        # A page that breaks the tree readers is read once more without a tree. Other kinds refuse that at once.
        if not _may_be_html(data):
            raise _too_slow() if isinstance(error, TaskTimedOut) else error from error
        rest = max(LAST_TRY_SECONDS, deadline - time.monotonic())
        try:
            found_in_file = _read(
                data, filename, content_type, charset, url, markdown, recordings, True, cancelled, rest, pool
            )
        except TaskTimedOut as late:
            raise _too_slow() from late
    return Extracted(**found_in_file)


def _read(
    data: bytes,
    filename: str | None,
    content_type: str | None,
    charset: str | None,
    url: str | None,
    markdown: bool,
    recordings: bool,
    simply: bool,
    cancelled: Callable[[], bool],
    timeout: float,
    pool: Pool | None,
) -> dict[str, Any]:
    run = run_in_child if pool is None else pool.run
    found: dict[str, Any] = run(
        "webapp.extraction.service:read",
        data,
        filename,
        content_type,
        charset,
        url,
        markdown,
        simply,
        recordings,
        timeout=timeout,
        cpu_seconds=CPU_SECONDS,
        memory_bytes=MEMORY_BYTES,
        cancelled=cancelled,
    )
    return found


def _may_be_html(data: bytes) -> bool:
    starts = (b"PK", detect.COMPOUND)
    return (
        b"%PDF-" not in data[:1024]
        and not data.startswith(starts)
        and not detect.picture_type(data)
        and not media.media_type(data)
    )


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
    keep_markup: bool,
    simply: bool,
    recordings: bool = False,
) -> dict[str, Any]:
    """The fields of `Extracted`. simply: the page already broke a cleverer reader."""
    if not data.strip(b"\0 \t\r\n\f"):
        raise _nothing()
    recording = media.media_type(data) if recordings else None
    kind: detect.Kind | None = None if recording else detect.detect(data, filename, content_type)
    if kind is None:
        found = media.read_media(data, recording or "", filename)
    else:
        found = _by_kind(kind, data, charset, url, simply)
        kind = found.pop("content_kind", kind)
    text = found["text"][: TEXT_CHARACTERS * 2]
    if not keep_markup and kind is not None and kind not in ("text", "markdown"):
        text = markdown.without_links(text)
    fields: dict[str, Any] = {"title": None, "author": None, "published": None, "warnings": []} | found
    fields["text"] = tidy(text)
    fields["content_type"] = recording or _media_type(kind or "text", data, content_type)
    if len(fields["text"]) > TEXT_CHARACTERS:
        fields["text"] = fields["text"][:TEXT_CHARACTERS].rstrip()
        fields["warnings"].append(f"Only the first {TEXT_CHARACTERS:,} characters were kept.")
    if not any(character.isalnum() for character in fields["text"]):
        raise _nothing()
    fields["language"], confidence = language.identify(fields["text"], found.get("language"))
    fields["meta"] = {"bytes": len(data), "words": len(fields["text"].split()),
                      "language_confidence": round(confidence, 3)} | found.get("meta", {})  # fmt: skip
    return fields


def _media_type(kind: detect.Kind, data: bytes, declared: str | None) -> str:
    if kind == "image":
        return detect.picture_type(data) or detect.MIME[kind]
    said = (declared or "").partition(";")[0].strip().lower()
    return said if detect.BY_TYPE.get(said) == kind else detect.MIME[kind]


def _by_kind(kind: detect.Kind, data: bytes, charset: str | None, url: str | None, simply: bool) -> dict[str, Any]:
    match kind:
        case "pdf":
            return files.read_pdf(data, TEXT_CHARACTERS)
        case "docx":
            return files.read_docx(data, TEXT_CHARACTERS)
        case "pptx":
            return office.read_pptx(data, TEXT_CHARACTERS)
        case "xlsx":
            return office.read_xlsx(data, TEXT_CHARACTERS)
        case "xls":
            return office.read_xls(data, TEXT_CHARACTERS)
        case "epub":
            return ebook.read_epub(data, TEXT_CHARACTERS)
        case "eml":
            return mail.read_eml(data, TEXT_CHARACTERS)
        case "msg":
            return mail.read_msg(data)
        case "image":
            return pictures.read_picture(data)
    text, warnings, read_by = encoding.decode_by(data, charset)
    found = _from_text(kind, text, data, url, simply)
    found["warnings"] = [*warnings, *found.get("warnings", [])]
    found["meta"] = {"encoding": read_by} | found.get("meta", {})
    return found


def _from_text(kind: detect.Kind, text: str, data: bytes, url: str | None, simply: bool) -> dict[str, Any]:
    match kind:
        case "html" if simply:
            return html.strip_tags(text) | {
                "warnings": ["The page is too complex for layout analysis; menus may be included."]
            }
        case "html":
            return html.read_html(text, url)
        case "csv":
            return tables.read_csv(text, TEXT_CHARACTERS)
        case "json" | "ipynb":
            return tables.read_json(text, TEXT_CHARACTERS, url)
        case "feed" | "xml":
            return tables.read_xml(text, TEXT_CHARACTERS, url)
    return {"text": text, "title": tables.first_heading(text), "method": "plain"}


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

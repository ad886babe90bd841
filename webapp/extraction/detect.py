"""What the bytes are, whatever their name says. Runs in the child; imports stay cheap."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Literal

from webapp.core.errors import Invalid, TooLarge, UnsupportedMedia
from webapp.extraction.encoding import bom, wide_without_bom

Kind = Literal[
    "pdf", "docx", "pptx", "xlsx", "xls", "epub", "eml", "msg", "html", "markdown", "csv", "json", "ipynb", "feed", "xml",
    "image", "text",
]  # fmt: skip
OFFICE = "application/vnd.openxmlformats-officedocument."
MIME: dict[Kind, str] = {
    "pdf": "application/pdf",
    "docx": OFFICE + "wordprocessingml.document",
    "pptx": OFFICE + "presentationml.presentation",
    "xlsx": OFFICE + "spreadsheetml.sheet",
    "xls": "application/vnd.ms-excel",
    "epub": "application/epub+zip",
    "eml": "message/rfc822",
    "msg": "application/vnd.ms-outlook",
    "html": "text/html",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "json": "application/json",
    "ipynb": "application/x-ipynb+json",
    "feed": "application/rss+xml",
    "xml": "application/xml",
    "image": "image/*",
    "text": "text/plain",
}
ENDINGS: dict[Kind, tuple[str, ...]] = {
    "pdf": (".pdf",),
    "docx": (".docx",),
    "pptx": (".pptx",),
    "xlsx": (".xlsx", ".xlsm"),
    "xls": (".xls",),
    "epub": (".epub",),
    "eml": (".eml",),
    "msg": (".msg",),
    "html": (".html", ".htm", ".xhtml"),
    "markdown": (".md", ".markdown"),
    "csv": (".csv", ".tsv"),
    "json": (".json", ".jsonl"),
    "ipynb": (".ipynb",),
    "feed": (".rss", ".atom"),
    "xml": (".xml",),
    "image": (".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp"),
    "text": (".txt", ".text", ".log", ".rst"),
}
ACCEPTED = {ending for endings in ENDINGS.values() for ending in endings}
BY_ENDING: dict[str, Kind] = {ending[1:]: kind for kind, endings in ENDINGS.items() for ending in endings}
BY_TYPE: dict[str, Kind] = {mime: kind for kind, mime in MIME.items() if kind not in ("text", "image")} | {
    "application/xhtml+xml": "html",
    "text/x-markdown": "markdown",
    "text/tab-separated-values": "csv",
    "application/feed+json": "json",
    "application/ld+json": "json",
    "application/x-ndjson": "json",
    "application/atom+xml": "feed",
    "application/rdf+xml": "feed",
    "text/xml": "xml",
}
PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"BM", "image/bmp"),
)
# Files that nobody reads as text, however few control characters they hold. (offset, mark, what it is)
FOREIGN = (
    (8, b"WAVE", "a sound file (WAV)"),
    (8, b"AVI ", "a film (AVI)"),
    (0, b"ID3", "a sound file (MP3)"),
    (0, b"OggS", "a sound or film file (Ogg)"),
    (0, b"fLaC", "a sound file (FLAC)"),
    (4, b"ftyp", "a sound or film file (MP4)"),
    (0, b"\x1aE\xdf\xa3", "a film (Matroska)"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90\0", "a program"),
    (0, b"SQLite format 3\0", "a database (SQLite)"),
    (0, b"{\\rtf", "a rich text file (.rtf)"),
)
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of Office 97-2003, MS-CFB

# Limits of drill A25. A ratio means nothing for small archives: XML of a few kilobytes packs better than 100 to 1.
ZIP_BYTES, ZIP_RATIO, ZIP_RATIO_FROM, ZIP_ENTRIES = 100 * 2**20, 100, 2**20, 2000

HTML_START = re.compile(
    r"\s*(?:<!--|<\?xml|<!doctype\s+html|<(?:html|head|body|title|meta|script|div|p|h1)\b)", re.IGNORECASE
)
HTML_TAG = re.compile(
    r"<(?:html|head|body|title|meta|div|p|span|a|h[1-6]|table|ul|ol|article|section|main|br)\b", re.IGNORECASE
)
CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r\f\x1b\0")


def detect(data: bytes, filename: str | None, content_type: str | None) -> Kind:
    """The kind by content; name and declared type only choose between kinds of text.

    Raises UnsupportedMedia for what none of the readers reads, TooLarge for archives that unpack to too much.
    """
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return _archive(data)
    if data.startswith(COMPOUND):
        return _compound(data)
    if what := next((what for at, mark, what in FOREIGN if data[at : at + len(mark)] == mark), None):
        raise refused(what)
    if picture_type(data):
        return "image"
    if not bom(data) and is_binary(data):
        raise refused(_name(data))
    return _text_kind(data, filename, content_type)


def refused(what: str) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"This looks like {what}. Accepted are: {', '.join(sorted(ACCEPTED))}.",
        suggestion="Save it as one of the accepted types and try again.",
    )


def is_binary(data: bytes) -> bool:
    """Text has few control characters. NULs are judged apart: UTF-16 without a mark is half NULs and still text."""
    if wide_without_bom(data):
        return False
    sample = data[:65536]
    strange = len(sample) - len(sample.translate(None, CONTROLS)) + sample.count(0)
    return strange > len(sample) * 0.02


def picture_type(data: bytes) -> str | None:
    """The media type of a picture Pillow reads, by its first bytes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    found = next((mime for mark, mime in PICTURES if data.startswith(mark)), None)
    # "BM" alone is no proof: the size in the head of a bitmap is that of the file, or nearly.
    if found == "image/bmp" and not (
        data[6:10] == b"\0\0\0\0" and int.from_bytes(data[14:18], "little") in (12, 40, 108, 124)
    ):
        return None
    return found


def _archive(data: bytes) -> Kind:
    with open_archive(data) as archive:
        names = set(archive.namelist())
        if "mimetype" in names and archive.getinfo("mimetype").file_size < 100:
            try:
                if archive.read("mimetype").strip() == b"application/epub+zip":
                    return "epub"
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
                raise Invalid("The file is a damaged zip archive.", suggestion="Save it again and retry.") from error
    if "[Content_Types].xml" in names:
        for part, kind in (
            ("word/document.xml", "docx"),
            ("ppt/presentation.xml", "pptx"),
            ("xl/workbook.xml", "xlsx"),
        ):
            if part in names:
                return kind  # type: ignore[return-value]
    if "META-INF/container.xml" in names:
        return "epub"
    raise refused("a zip archive")


def _compound(data: bytes) -> Kind:
    """Which of the programs of Office 97-2003 wrote it, by the streams inside."""
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as ole:
            names = {entry[0] for entry in ole.listdir()}
    except Exception as error:  # broken files raise anything
        raise Invalid("The file is damaged and cannot be read.", code="damaged_file",
                      suggestion="Open it in its own program, save it again and retry.") from error  # fmt: skip
    if {"Workbook", "Book"} & names:
        return "xls"
    if "__properties_version1.0" in names:
        return "msg"
    if {"EncryptedPackage", "EncryptionInfo"} & names:
        raise Invalid("The document is protected by a password.", code="encrypted",
                      suggestion="Save a copy without a password.")  # fmt: skip
    if "WordDocument" in names:
        raise refused("a Word 97-2003 document (.doc)")
    raise refused(
        "a PowerPoint 97-2003 presentation (.ppt)" if "PowerPoint Document" in names else "an old Office file"
    )


def open_archive(data: bytes) -> zipfile.ZipFile:
    """Open a zip after judging it by its directory, before anything is unpacked.

    The entries are counted in the raw bytes first: building a directory of a million of them is the attack already.
    Sizes in the directory may lie, but `zipfile` never unpacks more of an entry than they say.
    """
    if data.count(b"PK\x01\x02") > ZIP_ENTRIES:
        raise _bomb("has too many entries")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise Invalid("The file is a damaged zip archive.", suggestion="Save it again and retry.") from error
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > ZIP_BYTES or (unpacked > ZIP_RATIO_FROM and unpacked > ZIP_RATIO * len(data)):
        raise _bomb("unpacks to too much data")
    return archive


def _bomb(why: str) -> TooLarge:
    return TooLarge(f"The archive {why}.", suggestion="Save the document without embedded files and retry.")


def _name(data: bytes) -> str:
    import puremagic

    try:
        found = puremagic.from_string(data[:65536]).lstrip(".")
    except (puremagic.PureError, ValueError):
        found = ""
    return f"a .{found} file" if found else "binary data"


def _text_kind(data: bytes, filename: str | None, content_type: str | None) -> Kind:
    """Bytes decide where they are unmistakable; between the rest the name chooses, then the declared type."""
    start = decode_start(data)
    head = start[:2048].lstrip("\ufeff \t\r\n")
    suffix = (filename or "").lower().rpartition(".")[2] if "." in (filename or "") else ""
    declared = (content_type or "").partition(";")[0].strip().lower()
    claimed = BY_ENDING.get(suffix) or BY_TYPE.get(declared)
    if claimed in ("markdown", "eml"):
        return claimed
    if _is_document(start):
        return "html"
    if xml := _xml_kind(head, claimed):
        return xml
    if claimed == "html":
        return "html" if HTML_TAG.search(start) else "text"
    if claimed in ("csv", "json", "ipynb"):
        return claimed
    if _is_json(data, head):
        return "json"
    if _is_mail(start):
        return "eml"
    if suffix or declared:
        return "text"
    if HTML_START.match(start) and HTML_TAG.search(start):
        return "html"
    return "csv" if _is_table(start, len(data)) else "text"


def _xml_kind(head: str, claimed: Kind | None) -> Kind | None:
    """Feeds by their root element, which comes after declarations and comments."""
    bare = re.sub(r"^(?:\s|<\?[^>]{0,500}\?>|<!--.{0,1000}?-->|<!DOCTYPE[^>\[]{0,300}>)*", "", head, flags=re.DOTALL)
    if re.match(r"<(?:\w+:)?(?:rss|feed|rdf|channel)[\s>]", bare, re.IGNORECASE):
        return "feed"
    if head[:5].lower() == "<?xml" or (claimed in ("feed", "xml") and head.startswith("<")):
        return "xml"
    return None


def _is_json(data: bytes, head: str) -> bool:
    """Brackets at both ends, and quotes or values where JSON has them."""
    ends = (head[:1], data[-64:].rstrip(b"\0 \t\r\n")[-1:])
    return ends in (("{", b"}"), ("[", b"]")) and bool(re.match(r'[\[{]\s*(?:["\[{\]}\d-]|true|false|null)', head)) \
        and ('":' in head or head[0] == "[")  # fmt: skip


def _is_mail(start: str) -> bool:
    """Headers from the first line on, among them two that only mail has."""
    block = re.split(r"\r?\n\r?\n", start, maxsplit=1)[0]
    names = {name.lower() for name in re.findall(r"^([A-Za-z][A-Za-z0-9-]{1,60}):", block, re.MULTILINE)}
    lines = [line for line in block.splitlines() if line.strip()]
    regular = all(re.match(r"[A-Za-z][A-Za-z0-9-]{1,60}:|[ \t]|From ", line) for line in lines)
    return regular and len(names & {"from", "to", "subject", "date", "received", "message-id", "mime-version"}) >= 3


def _is_table(start: str, size: int) -> bool:
    """Without a name only a text whose every line is cut into as many fields counts as a table."""
    lines = [line for line in start.splitlines()[:20] if line.strip()]
    if size > len(start) and len(lines) > 1:
        lines.pop()
    for mark in ",;\t":
        counts = {line.count(mark) for line in lines}
        if len(lines) >= 3 and len(counts) == 1 and min(counts) >= 2 and mark + " " not in "".join(lines):
            return True
    return False


def _is_document(start: str) -> bool:
    """A whole page, unmistakably: what calls itself .txt and starts like this is a page all the same."""
    head = start[:1024].lstrip("\ufeff \t\r\n").lower()
    return head.startswith(("<!doctype html", "<html")) or (head.startswith("<?xml") and "<html" in head)


def decode_start(data: bytes) -> str:
    encoding = bom(data) or wide_without_bom(data) or "latin-1"
    return data[:65536].decode(encoding, "replace")


def declares_doctype(part: bytes) -> bool:
    squeezed = part.replace(b"\0", b"")  # the same characters in UTF-16
    return b"<!DOCTYPE" in squeezed or b"<!ENTITY" in squeezed


def declares_entities(part: bytes) -> bool:
    return b"<!ENTITY" in part.replace(b"\0", b"")

"""What the bytes are, whatever their name says, and how text is encoded. Runs in the child; imports stay cheap."""

from __future__ import annotations

import codecs
import io
import re
import zipfile
from typing import Literal

from webapp.core.errors import Invalid, TooLarge, UnsupportedMedia

ACCEPTED = {".txt", ".md", ".html", ".htm", ".pdf", ".docx"}

Kind = Literal["pdf", "docx", "html", "markdown", "text"]
MIME: dict[Kind, str] = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "html": "text/html",
    "markdown": "text/markdown",
    "text": "text/plain",
}

# Limits of drill A25. A ratio means nothing for small archives: XML of a few kilobytes packs better than 100 to 1.
ZIP_BYTES, ZIP_RATIO, ZIP_RATIO_FROM, ZIP_ENTRIES = 100 * 2**20, 100, 2**20, 2000

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MULTIBYTE = {
    *("utf-8", "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "shift_jis", "cp932", "euc_jp", "iso2022_jp"),
    *("euc_kr", "cp949"),
}
SINGLE_BYTE = {
    *("cp866", "koi8-r", "koi8-u", "mac-roman", "mac-cyrillic", "ascii", "iso8859-1", "tis-620"),
    *(f"iso8859-{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
    *(f"cp125{page}" for page in range(9)),
    "cp874",
}
# The web means Windows' superset by these names (WHATWG Encoding Standard, table of labels).
WEB_MEANS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
}

HTML_START = re.compile(
    r"\s*(?:<!--|<\?xml|<!doctype\s+html|<(?:html|head|body|title|meta|script|div|p|h1)\b)", re.IGNORECASE
)
HTML_TAG = re.compile(
    r"<(?:html|head|body|title|meta|div|p|span|a|h[1-6]|table|ul|ol|article|section|main|br)\b", re.IGNORECASE
)
META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
XML_CHARSET = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r\f\x1b\0")


def detect(data: bytes, filename: str | None, content_type: str | None) -> Kind:
    """The kind by content; name and declared type only choose between kinds of text.

    Raises UnsupportedMedia for what none of the readers reads, TooLarge for archives that unpack to too much.
    """
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"):
        return _archive(data)
    if not _bom(data) and (data.startswith(b"{\\rtf") or is_binary(data)):
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


def wide_without_bom(data: bytes) -> str | None:
    """The byte order of UTF-16 that lacks its mark, told by where the NULs of Latin letters stand."""
    sample = data[:4096]
    if len(sample) < 8 or not sample.count(0):
        return None
    even, odd, half = sample[0::2].count(0), sample[1::2].count(0), len(sample) // 2
    if odd > half * 0.4 and even < half * 0.05:
        return "utf-16-le"
    if even > half * 0.4 and odd < half * 0.05:
        return "utf-16-be"
    return None


def _archive(data: bytes) -> Kind:
    with open_archive(data) as archive:
        names = set(archive.namelist())
    if "[Content_Types].xml" in names and "word/document.xml" in names:
        return "docx"
    for prefix, what in (
        ("xl/", "a spreadsheet"),
        ("ppt/", "a presentation"),
        ("META-INF/", "an e-book or package"),
    ):
        if any(name.startswith(prefix) for name in names):
            raise refused(what)
    raise refused("a zip archive")


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
    start = decode_start(data)
    suffix = (filename or "").lower().rpartition(".")[2]
    declared = (content_type or "").partition(";")[0].strip().lower()
    if _is_document(start):
        return "html"
    if suffix in ("htm", "html", "xhtml") or declared in ("text/html", "application/xhtml+xml"):
        return "html" if HTML_TAG.search(start) else "text"
    if suffix in ("md", "markdown") or declared in ("text/markdown", "text/x-markdown"):
        return "markdown"
    if suffix or declared:
        return "text"
    return "html" if HTML_START.match(start) and HTML_TAG.search(start) else "text"


def _is_document(start: str) -> bool:
    """A whole page, unmistakably: what calls itself .txt and starts like this is a page all the same."""
    head = start[:1024].lstrip("\ufeff \t\r\n").lower()
    return head.startswith(("<!doctype html", "<html")) or (head.startswith("<?xml") and "<html" in head)


def decode_start(data: bytes) -> str:
    encoding = _bom(data) or wide_without_bom(data) or "latin-1"
    return data[:65536].decode(encoding, "replace")


def _bom(data: bytes) -> str | None:
    return next((name for mark, name in BOMS if data.startswith(mark)), None)


# --- encodings --------------------------------------------------------------------------------------------------


def decode(data: bytes, declared: str | None) -> tuple[str, list[str]]:
    """Text and warnings. Byte order mark, then what was declared, then a guess; NULs and broken bytes are dropped.

    What is valid UTF-8 beyond ASCII is UTF-8, whatever was declared: single-byte sets accept any bytes, so their
    claim proves nothing. Codecs that are not character sets of the web (UTF-7 hides markup) are not followed.
    """
    if encoding := _bom(data) or wide_without_bom(data):
        return _clean(data.decode(encoding, "replace"))
    claims = [claim for claim in (declared, *_claims_inside(data)) if claim]
    claimed = [name for claim in claims if (name := codec(claim))]
    unknown = [claim for claim in claims if not codec(claim)]
    warnings = [f"The encoding “{unknown[0][:40]}” is not supported."] if unknown else []
    if not data.isascii() and _is_mostly_utf8(data, trusted="utf-8" in claimed or not claimed):
        return _clean(data.decode("utf-8", "replace"), warnings)
    multibyte = [name for name in claimed if name in MULTIBYTE]
    for name in [*multibyte, "utf-8", *claimed]:
        try:
            return _clean(data.decode(WEB_MEANS.get(name, name)), warnings)
        except UnicodeDecodeError:
            continue
    return _clean(*_guess(data, warnings))


def _is_mostly_utf8(data: bytes, trusted: bool) -> bool:
    """Other encodings make valid UTF-8 only by chance and in short texts; a cut or patched file has a few bad bytes."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = sum(map(len, re.findall(r"[^\x00-\x7f]+", text))) - bad
    return good > 20 * bad and (trusted or good >= 12)


def codec(claim: str | None) -> str | None:
    """Python's name of a declared character set we follow, else None."""
    try:
        name = codecs.lookup((claim or "").strip().strip("\"'")).name
    except (LookupError, ValueError):
        return None
    return name if name in MULTIBYTE or name in SINGLE_BYTE else None


def _claims_inside(data: bytes) -> list[str]:
    found = XML_CHARSET.search(data[:1024]) or META_CHARSET.search(data[:4096])
    return [found[1].decode("ascii")] if found else []


def _guess(data: bytes, warnings: list[str]) -> tuple[str, list[str]]:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:65536]).best()
    name = codec(best.encoding) if best else None
    text = data.decode(name or "cp1252", "replace")
    return text, [*warnings, f"The encoding was not declared; read as {name or 'cp1252'}."]


def _clean(text: str, warnings: list[str] | None = None) -> tuple[str, list[str]]:
    warnings = list(warnings or [])
    if "\ufffd" in text:
        warnings.append("Some characters could not be decoded.")
    return text.replace("\0", "").lstrip("\ufeff"), warnings

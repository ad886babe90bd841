"""How text is encoded, and bytes to text. Runs in the child; imports stay cheap."""

from __future__ import annotations

import codecs
import re

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with the same two bytes
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MULTIBYTE = {
    *("utf-8", "gb2312", "gbk", "gb18030", "big5", "big5hkscs", "shift_jis", "cp932", "euc_jp", "iso2022_jp"),
    *("euc_kr", "cp949", "euc_jis_2004", "euc_jisx0213", "shift_jis_2004", "shift_jisx0213"),
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

META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
XML_CHARSET = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)


def bom(data: bytes) -> str | None:
    return next((name for mark, name in BOMS if data.startswith(mark)), None)


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


def decode(data: bytes, declared: str | None) -> tuple[str, list[str]]:
    """Text and warnings, as `decode_by` without the encoding."""
    text, warnings, _ = decode_by(data, declared)
    return text, warnings


def decode_by(data: bytes, declared: str | None) -> tuple[str, list[str], str]:
    """Text, warnings, and the encoding it was read by. Byte order mark, then what was declared, then a guess; NULs and broken bytes are dropped.

    What is valid UTF-8 beyond ASCII is UTF-8, whatever was declared: single-byte sets accept any bytes, so their
    claim proves nothing. Codecs that are not character sets of the web (UTF-7 hides markup) are not followed.
    """
    if encoding := bom(data) or wide_without_bom(data):
        return *_clean(data.decode(encoding, "replace")), encoding.removesuffix("-sig")
    claims = [claim for claim in (declared, *_claims_inside(data)) if claim]
    claimed = [name for claim in claims if (name := codec(claim))]
    unknown = [claim for claim in claims if not codec(claim)]
    warnings = [f"The encoding “{unknown[0][:40]}” is not supported."] if unknown else []
    if not data.isascii() and _is_mostly_utf8(data, trusted="utf-8" in claimed or not claimed):
        return *_clean(data.decode("utf-8", "replace"), warnings), "utf-8"
    multibyte = [name for name in claimed if name in MULTIBYTE]
    for name in [*multibyte, "utf-8", *claimed]:
        try:
            shown = _clean(data.decode(WEB_MEANS.get(name, name)), warnings)
            return *shown, "ascii" if data.isascii() else name
        except UnicodeDecodeError:
            continue
    text, warnings, name = _guess(data, warnings)
    return *_clean(text, warnings), name


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


def _guess(data: bytes, warnings: list[str]) -> tuple[str, list[str], str]:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:65536]).best()
    name = (codec(best.encoding) if best else None) or "cp1252"
    return data.decode(name, "replace"), [*warnings, f"The encoding was not declared; read as {name}."], name


def _clean(text: str, warnings: list[str] | None = None) -> tuple[str, list[str]]:
    warnings = list(warnings or [])
    if "\ufffd" in text:
        warnings.append("Some characters could not be decoded.")
    return text.replace("\0", "").lstrip("\ufeff"), warnings

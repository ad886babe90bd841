"""A file as rows of strings: CSV and its kin, JSON, JSON Lines, Excel. Runs in the child.

`open_rows` looks at the bytes, not at the name, refuses what is no table with a sentence that says why, and yields the
rows one by one, so that a large file is never in memory whole. Every cell is a string; an empty one is missing.
"""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from webapp.analysis import opening_excel, opening_json
from webapp.analysis.params import MAX_CELL
from webapp.analysis.rows import Rows, bad, headed
from webapp.core.errors import Invalid, UnsupportedMedia
from webapp.extraction import detect, encoding

SAMPLE = 256 * 1024  # bytes that are looked at to tell what a file is
PIECE = 2**20
DELIMITERS = "\t;|,"  # of equally even cuts the first wins: a comma inside a cell is common, a tab is not
ACCEPTED = ("csv", "tsv", "txt", "xlsx", "xlsm", "xls", "json", "jsonl")
NO_DELIMITER = "\x1f"  # a single column: commas in it are part of its cells
UNFINISHED = "a quoted cell that begins in line {} is never closed"


def open_rows(path: str, name: str, content_type: str | None, charset: str | None, options: dict[str, Any]) -> Rows:
    """options: `sheet` (name or number from 1), `header` ("auto", "yes", "no").

    Raises UnsupportedMedia for what is no table, Invalid for a damaged one, TooLarge for what unpacks to too much.
    """
    file = Path(path)
    with file.open("rb") as opened:
        head = opened.read(SAMPLE)
    if not head.strip():
        raise bad("the file is empty")
    kind = _kind(head, name, content_type, file)
    if kind in ("xlsx", "xls"):
        return opening_excel.read(file.read_bytes(), kind, options)
    code = _encoding(file, head, charset)
    if kind == "json":
        return opening_json.read(file, code)
    return _csv(file, code, options)


# --- what it is -------------------------------------------------------------------------------------------------


def _kind(head: bytes, name: str, content_type: str | None, file: Path) -> str:
    if head[:2] == b"PK" or head.startswith(detect.COMPOUND):
        found = _office(file.read_bytes(), name)
        if found in ("xlsx", "xls"):
            return found
        raise refused(f"a {found} file")
    if head[:5] == b"%PDF-":
        raise refused("a PDF")
    if what := next((what for at, mark, what in detect.FOREIGN if head[at : at + len(mark)] == mark), None):
        raise refused(what)
    if detect.picture_type(head):
        raise refused("a picture")
    wide = encoding.bom(head) or encoding.wide_without_bom(head)
    if not wide and detect.is_binary(head):
        raise refused("a binary file")
    start = head.decode(wide or "latin-1", "replace").lstrip("\ufeff \t\r\n")[:200]
    if re.match(r"<(?:!doctype|\?xml|html|head|body|svg|table|rss)\b", start, re.IGNORECASE):
        raise refused("a web page or XML")
    said = name.lower().rsplit(".", 1)[-1] in ("json", "jsonl", "ndjson") or "json" in (content_type or "")
    looks = re.match(r"\{\s*[\"}]|\[\s*[\[{\]\"\d-]|\[\s*(?:null|true|false)\b", start) is not None
    return "json" if said or looks else "csv"


def _office(data: bytes, name: str) -> str:
    """Also judges archives by their directory: what would unpack to too much is refused here."""
    try:
        return str(detect.detect(data, name, None))
    except UnsupportedMedia as error:
        raise UnsupportedMedia(error.message.split(" Accepted are")[0], suggestion=SUGGESTION) from None


SUGGESTION = "Tables are read from " + ", ".join(f".{one}" for one in ACCEPTED) + "."


def refused(what: str) -> UnsupportedMedia:
    return UnsupportedMedia(f"this looks like {what}, not like a table", suggestion=SUGGESTION)


def _encoding(file: Path, head: bytes, charset: str | None) -> str:
    """The encoding the whole file can be read by. One that fits only a part is refused: the rest would be garbled."""
    if wide := encoding.bom(head) or encoding.wide_without_bom(head):
        _decodes(file, wide)
        return wide
    broken = _broken(file, "utf-8")
    if broken is None:
        return "utf-8"
    declared = encoding.codec(charset)
    if declared and declared not in ("utf-8", "ascii") and _broken(file, declared) is None:
        return encoding.WEB_MEANS.get(declared, declared)
    whole = file.read_bytes()
    if _also_utf8(whole):
        line = whole.count(b"\n", 0, broken) + 1
        raise bad(f"the file mixes encodings: most of it is UTF-8, but line {line:,} is not",
                  "Save it as UTF-8 and try again.")  # fmt: skip
    from charset_normalizer import from_bytes

    best = from_bytes(whole[:65536]).best()
    for guess in ((encoding.codec(best.encoding) if best else None) or "cp1252", "cp1252", "latin-1"):
        if _broken(file, guess) is None:
            return encoding.WEB_MEANS.get(guess, guess)
    raise bad("the encoding of the text could not be told", "Save it as UTF-8 and try again.")


def _also_utf8(data: bytes) -> bool:
    """Whether there is more valid UTF-8 beyond ASCII than chance makes."""
    text = data.decode("utf-8", "replace")
    bad_ones = text.count("\ufffd")
    good = sum(len(run) for run in re.findall(r"[^\x00-\x7f\ufffd]+", text))
    return good > 2 * bad_ones and good >= 3


def _broken(file: Path, name: str) -> int | None:
    """Where the file stops being valid text of this encoding; None if it never does. Raises Invalid for a NUL in it."""
    decoder, at = codecs.getincrementaldecoder(name)(), 0
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            if not name.startswith("utf-16") and not name.startswith("utf-32") and b"\0" in piece:
                raise bad(f"there is a NUL byte at position {at + piece.index(0):,}: the file is damaged or no text")
            try:
                decoder.decode(piece)
            except UnicodeDecodeError as error:
                return at + error.start
            at += len(piece)
    try:
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return at
    return None


def _decodes(file: Path, name: str) -> None:
    if (at := _broken(file, name)) is not None:
        raise bad(f"the text is no valid {name.upper()} from byte {at:,} on", "Save it as UTF-8 and try again.")


# --- CSV --------------------------------------------------------------------------------------------------------


def _csv(file: Path, code: str, options: dict[str, Any]) -> Rows:
    csv.field_size_limit(MAX_CELL)
    with file.open(encoding=code, newline="") as start:
        sample, cut = start.read(64 * 1024), bool(start.read(1))
    mark = delimiter(sample, cut)
    opened, size = file.open(encoding=code, newline=""), file.stat().st_size
    about = {"format": "TSV" if mark == "\t" else "CSV", "encoding": code, "delimiter": mark}
    found = headed(_csv_rows(opened, mark or NO_DELIMITER), options, about)
    found.share = lambda: 1.0 if opened.closed else os.lseek(opened.fileno(), 0, os.SEEK_CUR) / size
    return found


def delimiter(sample: str, cut: bool = False) -> str | None:
    """The mark that cuts the first lines into the same number of two or more cells; None for a single column."""
    lines = [line for line in sample.splitlines()[:200] if line.strip()]
    if cut and len(lines) > 1:
        lines.pop()
    best: tuple[float, str] | None = None
    for mark in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=mark)]
        except csv.Error:
            continue
        usual = max(set(widths), key=widths.count, default=1)
        if usual > 1 and widths[0] > 1:
            even = widths.count(usual) / len(widths)
            if best is None or even > best[0] + 0.001:
                best = (even, mark)
    return best[1] if best and (best[0] >= 0.5 or len(lines) < 3) else None


def _csv_rows(opened: TextIO, mark: str) -> Iterator[list[str]]:
    with opened:
        reader = csv.reader(opened, delimiter=mark, strict=True)
        began = 1
        blank: list[list[str]] = []
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise _csv_error(str(error), began) from None
            if any(row):
                yield from blank
                blank = []
                yield row
            elif len(row) > 1:  # separators only: a row without values, unless nothing follows
                blank.append(row)
            began = reader.line_num + 1


def _csv_error(said: str, line: int) -> Invalid:
    if "field larger" in said:
        return bad(f"a cell that begins in line {line:,} is longer than {MAX_CELL:,} characters",
                   "Often a quotation mark was not closed.")  # fmt: skip
    if "unexpected end" in said:
        return bad(UNFINISHED.format(f"{line:,}"))
    if "expected after" in said:
        return bad(f"line {line:,}: something follows a closing quotation mark",
                   "Quotation marks inside a quoted cell are doubled.")  # fmt: skip
    return bad(f"line {line:,} cannot be read: {said}")

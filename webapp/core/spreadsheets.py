"""CSV that a spreadsheet opens without running anything (A22)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
# What begins a formula, also in the wide forms that some programs turn into the plain ones.
STARTS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
RUNS = re.compile(rf"^(?=[\s'\"]*[{STARTS}])")
# A program that cuts at another separator than we do would see a new cell behind it.
INSIDE = re.compile(rf"(?<=[;,\t\r\n|])([\s\"]*)(?=[{STARTS}])")


def safe_cell(value: Any) -> Any:
    """Numbers stay numbers; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = str(value)
        return text if NUMBER.fullmatch(text) else INSIDE.sub(r"\1'", RUNS.sub("'", text))
    return value


def to_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV (RFC 4180) with a byte order mark, by which spreadsheets know that it is UTF-8."""
    out = io.StringIO()
    out.write("\ufeff")
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL)
    writer.writerows([safe_cell(value) for value in row] for row in rows)
    return out.getvalue()

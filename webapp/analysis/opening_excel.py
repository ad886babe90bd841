"""Sheets of Excel files, new and old, as rows. Runs in the child."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from webapp.analysis.opening_json import cell
from webapp.analysis.params import MAX_CELL, MAX_COLUMNS_READ
from webapp.analysis.rows import Rows, bad, headed
from webapp.core.errors import Invalid, UnsupportedMedia


def read(data: bytes, kind: str, options: dict[str, Any]) -> Rows:
    try:
        names, rows_of = (_xlsx if kind == "xlsx" else _xls)(data)
        chosen = _sheet(names, options.get("sheet"))
        rows = rows_of(chosen)
        first = list(islice(rows, 1))
    except (Invalid, UnsupportedMedia, MemoryError):
        raise
    except Exception as error:  # broken files raise anything
        raise bad("the spreadsheet is damaged", "Open it and save it again.") from error
    if not first:
        raise bad(f"the sheet “{chosen}” is empty", f"Sheets: {', '.join(names)[:300]}")
    about = {"format": "Excel", "sheet": chosen, "sheets": names[:50]}
    found = headed(_guarded(first, rows), options, about)
    if len(names) > 1 and not options.get("sheet"):
        found.notes.append(f"Only the sheet “{chosen}” was read; there are {len(names)} sheets.")
    return found


def _guarded(first: list[list[str]], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Rows of a sheet end where their last cell does: filled up to the width of the header."""
    width = len(first[0])
    yield first[0]
    try:
        for row in rows:
            yield row + [""] * (width - len(row))
    except (Invalid, MemoryError):
        raise
    except Exception as error:  # broken files raise anything, also in the middle
        raise bad("the spreadsheet is damaged", "Open it and save it again.") from error


def _sheet(names: list[str], wanted: str | None) -> str:
    if not names:
        raise bad("the spreadsheet has no sheet with cells")
    if not wanted:
        return names[0]
    if wanted in names:
        return wanted
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(names):
        return names[int(wanted) - 1]
    raise bad(f"there is no sheet “{wanted[:60]}”", f"Sheets: {', '.join(names)[:300]}")


def _xlsx(data: bytes) -> tuple[list[str], Any]:
    import io

    import openpyxl

    from webapp.extraction.office import refuse_entities

    refuse_entities(data, "spreadsheet")
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)

    def rows(name: str) -> Iterator[list[str]]:
        sheet = book[name]
        sheet.reset_dimensions()  # what the file claims may be the whole grid
        for row in sheet.iter_rows(values_only=True):
            if cells := _trimmed([_excel_cell(value) for value in row[: MAX_COLUMNS_READ + 1]]):
                yield cells

    return [sheet.title for sheet in book.worksheets], rows


def _xls(data: bytes) -> tuple[list[str], Any]:
    import io

    import xlrd

    try:
        book = xlrd.open_workbook(file_contents=data, on_demand=True, logfile=io.StringIO())
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            raise bad("the spreadsheet is encrypted", "Save it without a password.") from None
        raise

    def rows(name: str) -> Iterator[list[str]]:
        sheet = book.sheet_by_name(name)
        for number in range(sheet.nrows):
            pairs = zip(sheet.row_types(number), sheet.row_values(number), strict=True)
            if cells := _trimmed([_xls_cell(kind, value, book.datemode) for kind, value in pairs]):
                yield cells

    return book.sheet_names(), rows


def _xls_cell(kind: int, value: Any, datemode: int) -> str:
    import xlrd

    if kind == xlrd.XL_CELL_DATE:
        try:
            return _excel_cell(xlrd.xldate_as_datetime(value, datemode))
        except (ValueError, OverflowError):
            return ""
    if kind in (xlrd.XL_CELL_ERROR, xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return ""
    return _excel_cell(bool(value) if kind == xlrd.XL_CELL_BOOLEAN else value)


def _excel_cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if hasattr(value, "isoformat"):
        said = str(value.isoformat())
        return said.removesuffix("T00:00:00")
    text = cell(value) if value is None or isinstance(value, str | bool | int | float) else str(value)[:MAX_CELL]
    return "" if text in EXCEL_ERRORS else text


EXCEL_ERRORS = {"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"}


def _trimmed(cells: list[str]) -> list[str]:
    while cells and not cells[-1]:
        cells.pop()
    return cells

"""Presentations and spreadsheets to Markdown. Runs in the child."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from itertools import islice
from typing import Any

from webapp.core import sandbox
from webapp.core.errors import AppError
from webapp.extraction import markdown, pictures
from webapp.extraction.common import damaged, one_line, refuse_entities
from webapp.extraction.detect import open_archive
from webapp.extraction.html import iso_day

SLIDES = 1000
SHEETS, ROWS, COLUMNS = 100, 20_000, 200
EMPTY_ROWS = 200_000  # a sheet of one cell in its last row says it has a million


# --- presentations ----------------------------------------------------------------------------------------------


def read_pptx(data: bytes, characters: int) -> dict[str, Any]:
    """A section per slide: title, texts, tables, charts, pictures by their description, notes."""
    import pptx

    refuse_entities(data, "presentation")
    try:
        show = pptx.Presentation(io.BytesIO(data))
        slides = list(islice(show.slides, SLIDES))
        blocks: list[str] = []
        embedded = pictures.Embedded()
        for number, slide in enumerate(slides, 1):
            sandbox.progress(100 * number // len(slides), f"slide {number} of {len(slides)}")
            found = list(_slide(slide, number, embedded))
            blocks += found
            characters -= sum(map(len, found))
            if characters < 0:
                break
        about = _office_about(show.core_properties)
    except (AppError, MemoryError):
        raise
    except Exception as error:  # broken files raise anything
        raise damaged("presentation") from error
    return about | {"text": "\n\n".join(blocks), "method": "python-pptx", "meta": {"slides": len(slides)}}


def _slide(slide: Any, number: int, embedded: pictures.Embedded) -> Iterator[str]:
    title = slide.shapes.title
    name = " ".join(title.text_frame.text.split()) if title is not None and title.has_text_frame else ""
    yield f"## Slide {number}: {name}" if name else f"## Slide {number}"
    for shape in _in_reading_order(slide.shapes):
        if title is None or shape.shape_id != title.shape_id:
            yield from filter(None, _shape(shape, embedded))
    if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) and frame.text.strip():
        yield "### Notes\n\n" + frame.text.strip()


def _in_reading_order(shapes: Iterable[Any]) -> list[Any]:
    """By position from above; shapes without one take their layout's and stay in order."""
    return sorted(shapes, key=lambda shape: (shape.top is None, shape.top or 0, shape.left or 0))


def _shape(shape: Any, embedded: pictures.Embedded) -> Iterator[str]:
    if shape.shape_type == 6:  # a group
        for inner in _in_reading_order(shape.shapes):
            yield from _shape(inner, embedded)
    elif getattr(shape, "has_table", False) and shape.has_table:
        yield markdown.table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        yield _chart(shape.chart)
    elif shape.has_text_frame:
        yield _text_frame(shape)
    elif shape.shape_type == 13:  # a picture
        yield from _picture(shape, embedded)


def _text_frame(shape: Any) -> str:
    """Paragraphs of a body placeholder are bullets, those of a text box are paragraphs; links are kept."""
    bullets = shape.is_placeholder and len(shape.text_frame.paragraphs) > 1
    lines = []
    for paragraph in shape.text_frame.paragraphs:
        text = " ".join("".join(_run(run) for run in paragraph.runs).split())
        if text:
            lines.append("  " * paragraph.level + "- " + text if bullets or paragraph.level else text)
    return ("\n" if bullets else "\n\n").join(lines)


def _run(run: Any) -> str:
    try:
        target = run.hyperlink.address
    except (KeyError, AttributeError):
        target = None
    return markdown.link(run.text, target) if target else run.text


def _chart(chart: Any) -> str:
    title = chart.chart_title.text_frame.text.strip() if chart.has_title and chart.chart_title.has_text_frame else ""
    plot = next(iter(chart.plots), None)
    if plot is None:
        return title
    series = list(plot.series)
    rows = [["", *(one.name for one in series)]]
    rows += [
        [category, *values] for category, *values in zip(plot.categories, *(one.values for one in series), strict=False)
    ]
    return "\n\n".join(part for part in (title, markdown.table(rows)) if part)


def _picture(shape: Any, embedded: pictures.Embedded) -> Iterator[str]:
    described = " ".join((shape._element.nvPicPr.cNvPr.get("descr") or "").split())
    if described:
        yield f"Picture: {described}"
    try:
        blob = shape.image.blob
    except (KeyError, ValueError, AttributeError):
        return  # linked, not embedded
    yield from embedded.texts([blob])


def _office_about(about: Any) -> dict[str, Any]:
    return {
        "title": one_line(about.title) if (about.title or "").lower() != "powerpoint presentation" else None,
        "author": one_line(about.author),
        "published": iso_day(about.created.isoformat()) if isinstance(about.created, datetime) else None,
    }


# --- spreadsheets -----------------------------------------------------------------------------------------------


def read_xlsx(data: bytes, characters: int) -> dict[str, Any]:
    """A table per sheet, values and not formulas; text in embedded pictures after them."""
    import openpyxl

    refuse_entities(data, "spreadsheet")
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = [(sheet.title, _xlsx_rows(sheet)) for sheet in book.worksheets[:SHEETS]]
        text, meta, warnings = _sheets(sheets, characters)
        about = {"title": one_line(book.properties.title), "author": one_line(book.properties.creator)}
        if about["author"] == "openpyxl":
            about["author"] = None
        with open_archive(data) as archive:
            found = pictures.Embedded().texts(pictures.of_archive(archive))
    except (AppError, MemoryError):
        raise
    except Exception as error:  # broken files raise anything
        raise damaged("spreadsheet") from error
    return about | {"text": "\n\n".join([text, *found]), "method": "openpyxl", "meta": meta, "warnings": warnings}


def _xlsx_rows(sheet: Any) -> Iterator[list[object]]:
    sheet.reset_dimensions()  # what the file claims may be the whole grid
    for row in islice(sheet.iter_rows(values_only=True), EMPTY_ROWS):
        yield [_shown(value) for value in row[:COLUMNS]]


def read_xls(data: bytes, characters: int) -> dict[str, Any]:
    """The same of Excel 97-2003."""
    import xlrd

    try:
        book = xlrd.open_workbook(file_contents=data, on_demand=True, logfile=io.StringIO())
        names = book.sheet_names()[:SHEETS]
        text, meta, warnings = _sheets(((name, _xls_rows(book, name)) for name in names), characters)
        author = one_line(book.user_name)
    except MemoryError:
        raise
    except Exception as error:  # broken files raise anything
        raise damaged("spreadsheet") from error
    return {"text": text, "author": author, "method": "xlrd", "meta": meta, "warnings": warnings}


def _xls_rows(book: Any, name: str) -> Iterator[list[object]]:
    import xlrd

    sheet = book.sheet_by_name(name)
    for number in range(min(sheet.nrows, EMPTY_ROWS)):
        row: list[object] = []
        for kind, value in zip(sheet.row_types(number)[:COLUMNS], sheet.row_values(number)[:COLUMNS], strict=True):
            if kind == xlrd.XL_CELL_DATE:
                try:
                    value = xlrd.xldate_as_datetime(value, book.datemode)
                except (ValueError, OverflowError):
                    pass
            elif kind == xlrd.XL_CELL_BOOLEAN:
                value = bool(value)
            elif kind == xlrd.XL_CELL_ERROR:
                value = xlrd.error_text_from_code.get(value, "")
            row.append(_shown(value))
        yield row


def _sheets(
    sheets: Iterable[tuple[str, Iterator[list[object]]]], characters: int
) -> tuple[str, dict[str, int], list[str]]:
    blocks: list[str] = []
    warnings: list[str] = []
    total = count = 0
    for name, source in sheets:
        count += 1
        rows: list[list[object]] = []
        for row in source:
            while row and row[-1] in (None, ""):
                row.pop()
            if not row:
                continue
            if len(rows) >= ROWS or characters < 0:
                warnings.append(f"Only the first {len(rows):,} rows of “{name}” were read.")
                break
            rows.append(row)
            characters -= sum(len(str(value or "")) + 3 for value in row)
        total += len(rows)
        if drawn := markdown.table(_squeezed(rows)):
            blocks.append(f"## {name}\n\n{drawn}")
    return "\n\n".join(blocks), {"sheets": count, "rows": total}, warnings


def _squeezed(rows: list[list[object]]) -> list[list[object]]:
    """Columns that are empty on the left of all rows are layout, not data."""
    empty = min(
        (next((i for i, value in enumerate(row) if value not in (None, "")), len(row)) for row in rows), default=0
    )
    return [row[empty:] for row in rows]


def _shown(value: object) -> object:
    """Values as a person would write them: 3 and not 3.0, days without a midnight."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else round(value, 10)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ", "minutes")
    if isinstance(value, date | time):
        return value.isoformat()
    return value

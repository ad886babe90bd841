"""PDF and Word documents to text. Runs in the child."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webapp.core import sandbox
from webapp.core.errors import AppError, Invalid
from webapp.extraction import markdown, pdf_layout, pictures
from webapp.extraction.common import damaged, one_line, refuse_entities
from webapp.extraction.detect import open_archive
from webapp.extraction.html import iso_day

if TYPE_CHECKING:
    from docx.document import Document
    from pypdf import PdfReader

PAGES = 2000
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # repeats the text before it


# --- PDF --------------------------------------------------------------------------------------------------------


def read_pdf(data: bytes, characters: int) -> dict[str, Any]:
    """Fields of `Extracted`; stops after PAGES pages or `characters` of text and says so."""
    import pypdf

    try:
        reader = pypdf.PdfReader(io.BytesIO(data), strict=False)
        _decrypt(reader)
        count = len(reader.pages)
        about = _pdf_about(reader)
    except (AppError, MemoryError):
        raise
    except Exception as error:  # broken files raise anything
        raise damaged("PDF") from error
    pages, warnings = _pdf_pages(reader, count, characters)
    method = "pypdf"
    if count and not any(page.strip() for page in pages):
        pages = pictures.Embedded().texts(_pdf_pictures(reader))
        method, warnings = "tesseract", [*warnings, "The PDF has no text layer; the text was recognised from pictures."]
    if count and not any(page.strip() for page in pages):
        raise Invalid(
            "No readable text: the PDF has no text layer.",
            code="no_text_layer",
            suggestion="It is probably a scan. Run text recognition (OCR) on it and upload the result.",
        )
    return about | {"text": "\n\n".join(pages), "method": method, "warnings": warnings, "meta": {"pages": count}}


def _pdf_pictures(reader: PdfReader) -> Iterator[bytes]:
    """The pictures a scanned page is made of."""
    for page in reader.pages:
        try:
            for picture in page.images:
                yield picture.data
        except MemoryError:
            raise
        except Exception:
            continue  # broken or of an unknown kind


def _decrypt(reader: PdfReader) -> None:
    """Many protected files open with the empty password; the others are for their owner to unlock."""
    if reader.is_encrypted and not reader.decrypt(""):
        raise Invalid(
            "The PDF is protected by a password.",
            code="encrypted",
            suggestion="Save a copy without a password.",
        )


def _pdf_about(reader: PdfReader) -> dict[str, Any]:
    try:
        about = reader.metadata
        created = about.creation_date if about else None
        return {
            "title": one_line(about.title) if about else None,
            "author": one_line(about.author) if about else None,
            "published": created.date().isoformat() if created else None,
        }
    except Exception:
        return {}


def _pdf_pages(reader: PdfReader, count: int, characters: int) -> tuple[list[str], list[str]]:
    pages: dict[int, pdf_layout.Page] = {}
    unreadable, room, read = 0, characters, min(count, PAGES)
    for number in range(read):
        sandbox.progress(100 * number // read, f"page {number + 1} of {count}")
        try:
            pages[number] = pdf_layout.read_page(reader.pages[number])
        except MemoryError:
            raise
        except Exception:
            unreadable += 1
            continue
        room -= sum(len(line.text) for line in pages[number].lines)
        if room < 0:
            break
    warnings = [f"{unreadable} of {count} pages could not be read."] if unreadable else []
    if count > PAGES:
        warnings.append(f"Only the first {PAGES} of {count} pages were read.")
    pdf_layout.mark_headings(pages, pdf_layout.outline(reader))
    return [_join_lines(pdf_layout.render(page)) for page in pages.values()], warnings


def _join_lines(page: str) -> str:
    """Mend words broken at line ends; the lines themselves stay, nothing tells for certain where a paragraph ends."""
    lines = "\n".join(line.strip() for line in page.splitlines())
    return re.sub(r"([^\W\d_]{2})-\n([a-zà-ÿ]{2})", r"\1\2", lines)


# --- Word -------------------------------------------------------------------------------------------------------


def read_docx(data: bytes, characters: int) -> dict[str, Any]:
    """Fields of `Extracted`: headings, lists and tables as Markdown, deleted text of tracked changes left out."""
    import docx

    refuse_entities(data, "Word document")
    try:
        document = docx.Document(io.BytesIO(data))
        names = Names(_styles(document), _links(document))
        blocks = _until(characters, _blocks(document.element.body, names))
        about = _docx_about(document)
        with open_archive(data) as archive:
            blocks += pictures.Embedded().texts(pictures.of_archive(archive))
    except MemoryError:
        raise
    except Exception as error:  # broken files raise anything
        raise damaged("Word document") from error
    return about | {"text": "\n\n".join(blocks), "method": "python-docx"}


@dataclass(frozen=True)
class Names:
    """What ids inside the document stand for: style id -> English name of the style, relation id -> address."""

    styles: dict[str, str]
    links: dict[str, str]


def _styles(document: Document) -> dict[str, str]:
    """The English name is what tells headings and lists in every language of Word."""
    try:
        return {style.style_id: (style.name or "") for style in document.styles}
    except (KeyError, ValueError):
        return {}


def _links(document: Document) -> dict[str, str]:
    return {ident: rel.target_ref for ident, rel in document.part.rels.items() if rel.is_external}


def _blocks(parent: Any, names: Names) -> Iterator[str]:
    """Text of each paragraph and table, in order; list items that follow each other make one block."""
    items: list[str] = []
    for child in _block_elements(parent):
        text = _table(child, names) if child.tag == W + "tbl" else _paragraph(child, names)
        if text.startswith("- "):
            items.append(text)
            continue
        if items:
            yield "\n".join(items)
            items = []
        if text:
            yield text
    if items:
        yield "\n".join(items)


def _block_elements(parent: Any) -> Iterator[Any]:
    """Paragraphs and tables, also inside content controls and insertions, without recursion."""
    waiting = list(reversed(parent))
    while waiting:
        element = waiting.pop()
        if element.tag in (W + "p", W + "tbl"):
            yield element
        elif element.tag in (
            W + "sdt",
            W + "sdtContent",
            W + "ins",
            W + "moveTo",
            W + "customXml",
            W + "smartTag",
        ):
            waiting.extend(reversed(element))


def _paragraph(element: Any, names: Names) -> str:
    text = _text(element, names.links)
    if not text:
        return ""
    style = element.find(f"{W}pPr/{W}pStyle")
    name = names.styles.get(style.get(W + "val"), "").lower() if style is not None else ""
    if name == "title":
        return "# " + " ".join(text.split())
    if heading := re.fullmatch(r"heading ([1-9])", name):
        return "#" * min(6, int(heading[1])) + " " + " ".join(text.split())
    if name.startswith("list") or element.find(f"{W}pPr/{W}numPr") is not None:
        return "- " + " ".join(text.split())
    return text


def _text(element: Any, links: dict[str, str]) -> str:
    """Text of runs, fields, links, equations and text boxes in reading order."""
    pieces: list[str] = []
    skipping = None
    for node in element.iter():
        if skipping is not None and skipping in node.iterancestors():
            continue
        skipping = node if node.tag in (FALLBACK, W + "del", W + "moveFrom") else None
        if node.tag == W + "hyperlink" and node is not element and (target := links.get(node.get(RELATION) or "")):
            pieces.append(markdown.link(_text(node, {}), target))
            skipping = node
            continue
        if node.tag in (W + "t", MATH_TEXT):
            pieces.append(node.text or "")
        elif node.tag == W + "tab":
            pieces.append("\t" if node.getparent().tag == W + "r" else "")
        elif node.tag in (W + "br", W + "cr") or (node.tag == W + "p" and pieces):
            pieces.append("\n")
    return "".join(pieces).strip()


def _table(element: Any, names: Names) -> str:
    """Rows as `| a | b |`. The XML is read directly: python-docx computes a grid per row, quadratic in their number."""
    rows = []
    for row in element.iter(W + "tr"):
        if next(row.iterancestors(W + "tbl")) is element:
            cells = [markdown.cell(_text(cell, names.links)) for cell in row.iter(W + "tc") if _of(cell, row)]
            rows.append("| " + " | ".join(cells) + " |")
    if rows and any(character not in "| \n" for row in rows for character in row):
        rows.insert(1, "|" + "---|" * max(1, rows[0].count(" | ") + 1))
        return "\n".join(rows)
    return ""


def _of(cell: Any, row: Any) -> bool:
    """A cell of this row, not of a table inside one of its cells."""
    return next(cell.iterancestors(W + "tr")) is row


def _docx_about(document: Document) -> dict[str, Any]:
    """python-docx invents properties for files that have none; those are not looked at."""
    if not any(name.partname.endswith("core.xml") for name in document.part.package.iter_parts()):
        return {}
    about = document.core_properties
    return {
        "title": one_line(about.title),
        "author": one_line(about.author),
        "language": (about.language or "")[:2].lower() or None,
        "published": iso_day(about.created.isoformat()) if about.created else None,
    }


def _until(characters: int, blocks: Iterable[str]) -> list[str]:
    kept = []
    for block in blocks:
        kept.append(block)
        characters -= len(block)
        if characters < 0:
            break
    return kept

"""PDF and Word documents, well-formed, broken and hostile (drills A25, A26)."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from webapp.core import errors
from webapp.extraction import files
from webapp.extraction.service import ACCEPTED, extract

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("BRAINSTEM_SHARED", ROOT.parent / "shared")) / "data"


def pdf(*pages: str, info: str = "") -> bytes:
    """A PDF of one line of text per page, with a correct cross-reference table."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {len(pages)}/Kids[{kids}]>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Resources<</Font<</F1 3 0 R>>>>/Contents {5 + 2 * number} 0 R>>"
        )
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    objects.append(f"<<{info}>>")
    out, offsets = io.BytesIO(), []
    out.write(b"%PDF-1.4\n")
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode())
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.write(b"".join(f"{offset:010} 00000 n \n".encode() for offset in offsets))
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R/Info {len(objects)} 0 R>>\nstartxref\n{start}\n%%EOF"
    out.write(trailer.encode())
    return out.getvalue()


def docx(build: Any = lambda document: None) -> bytes:
    import docx as python_docx

    document = python_docx.Document()
    build(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def with_part(data: bytes, name: str, content: bytes, replace: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if not (replace and entry.filename == name):
                new.writestr(entry, old.read(entry))
        new.writestr(name, content)
    return out.getvalue()


# --- PDF --------------------------------------------------------------------------------------------------------


def test_pdf_text_and_facts() -> None:
    data = pdf(
        "Hello first page",
        "And the second",
        info="/Title(My title)/Author(Ada)/CreationDate(D:20240301100000Z)",
    )
    found = extract(data, filename="renamed.txt", content_type="text/plain")
    assert found.text == "Hello first page\n\nAnd the second"
    assert (found.content_type, found.method) == ("application/pdf", "pypdf")
    assert (found.title, found.author, found.published) == ("My title", "Ada", "2024-03-01")


def test_pdf_without_text_layer_says_what_to_do() -> None:
    with pytest.raises(errors.Invalid) as caught:
        extract(pdf("", ""))
    assert caught.value.code == "no_text_layer"
    assert "OCR" in (caught.value.suggestion or "")


@pytest.mark.parametrize("password", ["", "secret"])
def test_encrypted_pdf(password: str) -> None:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf("Hidden words")))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-128")
    out = io.BytesIO()
    writer.write(out)
    if not password:
        assert extract(out.getvalue()).text == "Hidden words"
        return
    with pytest.raises(errors.Invalid) as caught:
        extract(out.getvalue())
    assert caught.value.code == "encrypted"


def test_too_many_pages_are_cut_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAGES", 3)
    found = files.read_pdf(pdf(*(f"page number {n}" for n in range(5))), 1000)
    assert "page number 2" in found["text"]
    assert "page number 3" not in found["text"]
    assert found["warnings"] == ["Only the first 3 of 5 pages were read."]


@pytest.mark.parametrize("cut", [20, 100, 400])
def test_broken_pdf(cut: int) -> None:
    with pytest.raises(errors.Invalid):
        extract(pdf("Hello")[:cut])


def test_words_broken_at_line_ends_are_mended() -> None:
    assert files._join_lines("a hyphen-\nated word \n A-\nB 3-\n4") == "a hyphenated word\nA-\nB 3-\n4"


# --- Word -------------------------------------------------------------------------------------------------------


def test_docx_headings_lists_tables_in_order() -> None:
    def build(document: Any) -> None:
        document.add_heading("Report", 0)
        document.add_heading("First", 1)
        document.add_paragraph("Some text.")
        document.add_paragraph("one", style="List Bullet")
        document.add_paragraph("two", style="List Number")
        table = document.add_table(2, 2)
        for cell, text in zip((c for row in table.rows for c in row.cells), ["a|b", "c", "d", "e"], strict=True):
            cell.text = text
        document.add_paragraph("End.")
        document.core_properties.title, document.core_properties.author = "The report", "Ada"

    found = extract(docx(build), filename="a.docx")
    assert found.text.split("\n\n") == [
        *("# Report", "# First", "Some text.", "- one\n- two"),
        *("| a\\|b | c |\n|---|---|\n| d | e |", "End."),
    ]
    assert (found.title, found.author, found.method) == ("The report", "Ada", "python-docx")


def test_docx_leaves_out_deleted_text_and_keeps_inserted() -> None:
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    body = (
        f"<w:document {w}><w:body><w:p><w:r><w:t>kept </w:t></w:r><w:del><w:r><w:t>gone</w:t></w:r></w:del>"
        "<w:ins><w:r><w:t>new</w:t></w:r></w:ins></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt></w:body></w:document>"
    )
    found = extract(with_part(docx(), "word/document.xml", body.encode(), replace=True))
    assert found.text == "kept new\n\ncontrolled"


def test_a_long_table_is_linear() -> None:
    rows = "<w:tr>" + "<w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc>" * 4 + "</w:tr>"
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    body = f"<w:document {w}><w:body><w:tbl>{rows * 5000}</w:tbl></w:body></w:document>"
    data = with_part(docx(), "word/document.xml", body.encode(), replace=True)
    if len(body) > 100 * len(data):  # the guard against bombs may see one in so regular a table
        with pytest.raises(errors.TooLarge):
            extract(data)
        return
    started = time.monotonic()
    assert extract(data).text.count("cell") == 20_000
    assert time.monotonic() - started < 8


@pytest.mark.parametrize(
    "bomb",
    [
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1/evil.dtd"><a/>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused(bomb: str, encoding: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        extract(with_part(docx(), "word/custom.xml", bomb.encode(encoding)))
    assert caught.value.code == "xml_entities"


@pytest.mark.parametrize("size", [5 * 2**20, 120 * 2**20])
def test_zip_bombs_are_not_unpacked(size: int) -> None:
    data = with_part(docx(), "word/media/bomb.bin", bytes(size))
    started = time.monotonic()
    with pytest.raises(errors.TooLarge):
        extract(data)
    assert time.monotonic() - started < 5


def test_too_many_entries() -> None:
    out = io.BytesIO(docx())
    with zipfile.ZipFile(out, "a") as archive:
        for number in range(2001):
            archive.writestr(f"junk/{number}", b"")
    with pytest.raises(errors.TooLarge):
        extract(out.getvalue())


@pytest.mark.parametrize("name", ["a.html", "a.docx", "a.txt"])
def test_other_archives_are_refused(name: str) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(errors.UnsupportedMedia):
        extract(out.getvalue(), filename=name)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_broken_docx(share: float) -> None:
    data = docx(lambda document: document.add_paragraph("x"))
    with pytest.raises(errors.Invalid):
        extract(data[: int(len(data) * share)])


# --- real files -------------------------------------------------------------------------------------------------


def real_files() -> list[Path]:
    found = sorted(path for folder in ("pdfs", "office") for path in (SHARED / folder).glob("*"))
    return [path for path in found if path.suffix in ACCEPTED][::4]


@pytest.mark.skipif(not real_files(), reason="no evaluation data beside the repository (BRAINSTEM_SHARED)")
def test_real_files_are_read_or_refused() -> None:
    outcomes = []
    for path in real_files():
        try:
            outcomes.append(bool(extract(path.read_bytes(), filename=path.name).text.strip()))
        except errors.AppError as error:
            assert error.status < 500, path.name  # noqa: PT017
            outcomes.append(False)
    assert sum(outcomes) > len(outcomes) / 2

"""Headings and links of PDFs: the outline, else the size of the type; link areas."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from webapp.extraction import pdf_layout
from webapp.extraction.service import extract

BODY = "Water boils at a hundred degrees when the air presses as it does at the sea."
Set = tuple[str, float, float, float]  # text, size, x, y


def page(writer: PdfWriter, *lines: Set) -> None:
    made = writer.add_blank_page(600, 800)
    font = DictionaryObject({NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
                             NameObject("/BaseFont"): NameObject("/Helvetica")})  # fmt: skip
    made[NameObject("/Resources")] = DictionaryObject(
        {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
    )
    stream = DecodedStreamObject()
    stream.set_data("".join(f"BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET\n" for text, size, x, y in lines).encode())
    made[NameObject("/Contents")] = writer._add_object(stream)


def prose(count: int, top: float = 600) -> list[Set]:
    return [(f"{n}: {BODY}", 10, 50, top - 14 * n) for n in range(count)]


def text_of(writer: PdfWriter) -> str:
    out = io.BytesIO()
    writer.write(out)
    return extract(out.getvalue(), filename="a.pdf", content_type="application/pdf").text


def test_larger_type_is_a_heading_by_its_rank() -> None:
    writer = PdfWriter()
    page(writer, ("On water", 24, 50, 700), ("What boiling is", 14, 50, 650), *prose(8), ("A note", 10, 50, 300))
    page(writer, ("What freezing is", 14, 50, 700), *prose(8))
    lines = text_of(writer).split("\n")
    assert [line for line in lines if line.startswith("#")] == [
        "# On water",
        "## What boiling is",
        "## What freezing is",
    ]
    assert "A note" in lines


def test_a_heading_over_two_lines_is_one() -> None:
    writer = PdfWriter()
    page(writer, ("How water boils", 20, 50, 700), ("and how it freezes", 20, 50, 676), *prose(12))
    assert text_of(writer).startswith("# How water boils and how it freezes\n\n0: Water")


def test_where_everything_is_large_nothing_is_a_heading() -> None:
    writer = PdfWriter()
    page(writer, *[(f"Slide line {n}", 10 + n % 3 * 6, 50, 700 - 30 * n) for n in range(12)])
    assert "#" not in text_of(writer)


def test_the_outline_goes_before_the_size() -> None:
    writer = PdfWriter()
    page(writer, ("VERY LARGE ORNAMENT", 40, 50, 740), ("1. On water", 10, 50, 700), *prose(8))
    page(writer, ("1.1 What boiling is", 10, 50, 700), *prose(8))
    top = writer.add_outline_item(title="On water", page_number=0)
    writer.add_outline_item(title="What boiling is", page_number=1, parent=top)
    writer.add_outline_item(title="Not on its page", page_number=1, parent=top)
    found = [line for line in text_of(writer).split("\n") if line.startswith("#")]
    assert found == ["# 1. On water", "## 1.1 What boiling is"]


def link(writer: PdfWriter, number: int, url: str, box: tuple[float, float, float, float]) -> None:
    writer.add_annotation(number, Link(rect=box, url=url))


def test_the_words_of_a_link_lead_where_the_area_leads() -> None:
    writer = PdfWriter()
    page(writer, *prose(3), ("the steam tables", 10, 50, 500), ("plain words", 10, 50, 480))
    link(writer, 0, "https://steam.example/tables?a=(1)", (48, 498, 140, 512))
    text = text_of(writer)
    assert "[the steam tables](https://steam.example/tables?a=%281%29)" in text
    assert "plain words" in text.split("\n")


def test_an_area_without_words_is_named_at_the_end_unless_it_is_on_the_page() -> None:
    writer = PdfWriter()
    page(writer, *prose(3), ("see www.seen.example for more", 10, 50, 500))
    link(writer, 0, "https://www.seen.example/", (300, 498, 340, 512))
    link(writer, 0, "https://picture.example/", (300, 100, 400, 200))
    text = text_of(writer)
    assert text.endswith("- <https://picture.example/>")
    assert "<https://www.seen" not in text


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "https://a b.example/"]
)
def test_only_addresses_of_the_web_and_of_mail_are_links(url: str) -> None:
    writer = PdfWriter()
    page(writer, *prose(3), ("click here", 10, 50, 500))
    link(writer, 0, url, (48, 498, 140, 512))
    text = text_of(writer)
    assert "click here" in text.split("\n")
    assert "](" not in text


def test_an_outline_that_goes_in_circles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = PdfWriter()
    page(writer, *prose(3))
    out = io.BytesIO()
    writer.write(out)
    reader = PdfReader(io.BytesIO(out.getvalue()))
    endless: list[Any] = []
    endless.append(endless)
    monkeypatch.setattr(PdfReader, "outline", property(lambda self: endless))
    assert pdf_layout.outline(reader) == {}

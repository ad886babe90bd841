"""Slides, sheets, books, letters, data and pictures: small files made here, then every file of the evaluation data."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import zipfile
from collections import Counter
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from webapp.core import errors
from webapp.extraction import markdown, office, pictures
from webapp.extraction.detect import detect
from webapp.extraction.service import Extracted, extract

PROSE = "The committee met in the old town hall and talked about the new bridge for most of the evening. " * 4


def read(data: bytes, name: str | None = None, **more: Any) -> Extracted:
    return extract(data, filename=name, **more)


def zipped(**files: str | bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return out.getvalue()


# --- office -----------------------------------------------------------------------------------------------------


def pptx() -> bytes:
    import pptx as python_pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    show = python_pptx.Presentation()
    slide = show.slides.add_slide(show.slide_layouts[1])
    slide.shapes.title.text = "Plans"
    slide.placeholders[1].text = "First point\nSecond point"
    box = slide.shapes.add_textbox(Inches(1), Inches(6), Inches(2), Inches(1))
    run = box.text_frame.paragraphs[0].add_run()
    run.text, run.hyperlink.address = "our site", "https://example.org/a"
    slide.notes_slide.notes_text_frame.text = "Say hello."
    second = show.slides.add_slide(show.slide_layouts[6])
    table = second.shapes.add_table(2, 2, Inches(1), Inches(1), Inches(4), Inches(1)).table
    for number, text in enumerate(("Name", "Count", "a|b", "3")):
        table.cell(number // 2, number % 2).text = text
    chart = CategoryChartData()
    chart.categories = ["Q1", "Q2"]
    chart.add_series("Sales", (1.5, 2.5))
    second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(3), Inches(4), Inches(3), chart)
    show.core_properties.author = "Ada"
    out = io.BytesIO()
    show.save(out)
    return out.getvalue()


def test_pptx() -> None:
    found = read(pptx(), "slides.pptx")
    assert found.text.split("\n\n")[:4] == [
        "## Slide 1: Plans",
        "- First point\n- Second point",
        "[our site](https://example.org/a)",
        "### Notes",
    ]
    assert "| Name | Count |\n|---|---|\n| a\\|b | 3 |" in found.text
    assert "|  | Sales |\n|---|---|\n| Q1 | 1.5 |\n| Q2 | 2.5 |" in found.text
    assert (found.author, found.method, found.meta["slides"]) == ("Ada", "python-pptx", 2)


def xlsx(rows: list[list[Any]], **more: Any) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Stock"
    for row in rows:
        book.active.append(row)
    for cell, value in more.items():
        book.active[cell] = value
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_xlsx() -> None:
    from datetime import datetime

    found = read(xlsx([[None, "Item", "Price"], [None, "Tea", 3.0], [None, datetime(2024, 5, 1), 2.5]]), "a.xlsx")
    assert found.text == "## Stock\n\n| Item | Price |\n|---|---|\n| Tea | 3 |\n| 2024-05-01 | 2.5 |"
    assert found.meta["rows"] == 3


def test_a_cell_in_the_last_row_costs_nothing() -> None:
    found = read(xlsx([["Only", "row"]], XFD1048576="far away"))
    assert found.text.startswith("## Stock\n\n| Only | row |")
    assert len(found.text) < 1000


def test_many_rows_are_cut_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "ROWS", 5)
    found = office.read_xlsx(xlsx([[n, "x"] for n in range(20)]), 1_000_000)
    assert found["warnings"] == ["Only the first 5 rows of “Stock” were read."]


def test_docx_links() -> None:
    import docx
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.oxml import parse_xml

    document = docx.Document()
    ident = document.part.relate_to("https://example.org/x", RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    names = 'xmlns:w="{}" xmlns:r="{}"'.format(
        "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
    )
    link = f'<w:hyperlink {names} r:id="{ident}"><w:r><w:t>the rules</w:t></w:r></w:hyperlink>'
    document.add_paragraph("Read ")._p.append(parse_xml(link))
    out = io.BytesIO()
    document.save(out)
    assert read(out.getvalue()).text == "Read [the rules](https://example.org/x)"
    assert extract(out.getvalue(), markdown=False).text == "Read the rules"


@pytest.mark.parametrize("name", ["a.pptx", "a.xlsx", "a.docx", "a.epub"])
def test_entities_in_office_files_are_refused(name: str) -> None:
    part = {"a.pptx": "ppt__presentation.xml", "a.xlsx": "xl__workbook.xml", "a.docx": "word__document.xml"}
    evil = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    data = zipped(**{"[Content_Types].xml": "<Types/>", part.get(name, "META-INF__container.xml"): evil})
    with pytest.raises(errors.Invalid) as caught:
        read(data, name)
    assert caught.value.code == "xml_entities"


@pytest.mark.parametrize("make", [pptx, lambda: xlsx([["a"]])])
def test_cut_office_files(make: Any) -> None:
    data = make()
    for cut in (len(data) // 3, len(data) - 100):
        with pytest.raises(errors.AppError) as caught:
            read(data[:cut])
        assert caught.value.status in (400, 415, 422)


# --- books and letters ------------------------------------------------------------------------------------------


def epub(**more: str) -> bytes:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>A Book</dc:title><dc:creator>Ada</dc:creator><dc:language>en-GB</dc:language>"
        "<dc:date>2020-02-03</dc:date></metadata><manifest>"
        '<item id="b" href="two.xhtml" media-type="application/xhtml+xml"/>'
        '<item id="a" href="one.xhtml" media-type="application/xhtml+xml"/></manifest>'
        '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>'
    )
    files = {
        "mimetype": "application/epub+zip",
        "META-INF__container.xml": '<container><rootfiles><rootfile full-path="O/p.opf"/></rootfiles></container>',
        "O__p.opf": package,
        "O__one.xhtml": "<html><body><h1>One</h1><p>It <em>began</em>.</p><pre>x = 1\n\ny = 2</pre></body></html>",
        "O__two.xhtml": '<html><body><h1>Two</h1><ul><li>See <a href="https://e.org/">this</a></li></ul></body></html>',
    }
    return zipped(**files | more)


def test_epub_chapters_in_reading_order() -> None:
    found = read(epub(), "b.epub")
    assert found.text == ("# One\n\nIt began.\n\n```\nx = 1\n\ny = 2\n```\n\n# Two\n\n- See [this](https://e.org/)")
    assert (found.title, found.author, found.language, found.published) == ("A Book", "Ada", "en", "2020-02-03")


def test_protected_epub() -> None:
    locked = '<encryption><CipherReference URI="O/one.xhtml"/></encryption>'
    with pytest.raises(errors.Invalid) as caught:
        read(epub(**{"META-INF__encryption.xml": locked}))
    assert caught.value.code == "encrypted"


def test_eml() -> None:
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = "Bridge – plans", "Ada <ada@example.org>", "bob@example.org"
    letter["Date"] = "Fri, 01 Mar 2024 10:00:00 +0000"
    letter.set_content("plain")
    letter.add_alternative('<p>Look at <a href="https://e.org/p">the plan</a>, dear Bob.</p>', subtype="html")
    letter.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="plan.pdf")
    found = read(bytes(letter))
    assert found.text.split("\n\n") == [
        "# Bridge – plans",
        "From: Ada <ada@example.org>\nTo: bob@example.org\nDate: Fri, 01 Mar 2024 10:00:00 +0000",
        "Look at [the plan](https://e.org/p), dear Bob.",
        "Attachments:",
        "- plan.pdf",
    ]
    assert (found.published, found.content_type) == ("2024-03-01", "message/rfc822")


def test_broken_mail_headers_do_no_harm() -> None:
    found = read(b"From: =?utf-9?q?x?= <\r\nDate: yesterday\r\nSubject: =?\r\nTo: <<>>\r\n\r\nStill the body", "a.eml")
    assert found.text.endswith("Still the body")


# --- data -------------------------------------------------------------------------------------------------------


def test_csv_with_any_delimiter_and_encoding() -> None:
    found = read("name;note\nMüller;a|b\n\nKöln;c".encode("cp1252"), "a.csv")
    assert found.text == "| name | note |\n|---|---|\n| Müller | a\\|b |\n| Köln | c |"
    assert (found.meta["rows"], found.meta["columns"]) == (3, 2)


def test_json_and_notebook_and_json_feed() -> None:
    assert read(b'{"a": [1, "\\u00fc"]}').text == '```json\n{\n  "a": [\n    1,\n    "ü"\n  ]\n}\n```'
    book = {
        "nbformat": 4,
        "metadata": {"language_info": {"name": "julia"}},
        "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "words"]},
            {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": ["2"]}}]},
        ],
    }
    found = read(json.dumps(book).encode(), "x.ipynb")
    assert found.text == "# Title\nwords\n\n```julia\n1 + 1\n```\n\n```\n2\n```"
    assert found.title == "Title"
    feed = {"version": "https://jsonfeed.org/version/1.1", "title": "F",
            "items": [{"title": "T", "url": "https://e.org/t", "content_html": "<p>Hello <b>you</b></p>"}]}  # fmt: skip
    assert read(json.dumps(feed).encode()).text == "# F\n\n## [T](https://e.org/t)\n\nHello you"


def test_deep_json_is_text() -> None:
    assert read(b"[" * 100_000 + b"1" + b"]" * 100_000, "a.json").method == "plain"


def test_rss_and_atom() -> None:
    rss = """<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
      <title>News</title><link>https://e.org/</link><language>de-AT</language><item><title>One &amp;amp; two</title>
      <link>/1</link><pubDate>Fri, 01 Mar 2024 10:00:00 GMT</pubDate><description>short</description>
      <content:encoded><![CDATA[<p>Long <a href="/x">text</a> here</p>]]></content:encoded></item></channel></rss>"""
    found = read(rss.encode())
    assert found.text == (
        "# News\n\n## [One & two](https://e.org/1)\n\n2024-03-01\n\nLong [text](https://e.org/x) here"
    )
    assert (found.language, found.published, found.meta["entries"]) == ("de", "2024-03-01", 1)
    atom = """<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><entry><title type="html">B</title>
      <link rel="alternate" href="https://e.org/b"/><updated>2024-03-01T00:00:00Z</updated>
      <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Inside</p></div></content></entry></feed>"""
    assert read(atom.encode()).text == "# A\n\n## [B](https://e.org/b)\n\n2024-03-01\n\nInside"


def test_xml_entities_and_broken_xml() -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><l>&b;</l>'
    with pytest.raises(errors.Invalid) as caught:
        read(bomb)
    assert caught.value.code == "xml_entities"
    assert read(b'<?xml version="1.0"?><a><title>T</title><b>one<c>two</a>').text == "title: T\nb: one\nc: two"


# --- pictures ---------------------------------------------------------------------------------------------------


def picture(text: str = "", size: tuple[int, int] = (900, 200)) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", size, "white")
    if text:
        ImageDraw.Draw(image).text((40, 60), text, fill="black", font=ImageFont.load_default(56))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")
def test_text_in_a_picture() -> None:
    found = read(picture("Meeting at noon"), "scan.png")
    assert found.text == "Meeting at noon"
    assert (found.method, found.content_type, found.meta["width"]) == ("tesseract", "image/png", 900)


def test_picture_without_tesseract_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(errors.Invalid) as caught:
        pictures.read_picture(picture("x"))
    assert caught.value.code == "ocr_missing"
    assert "tesseract" in (caught.value.suggestion or "")


def test_huge_and_broken_pictures() -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    with pytest.raises(errors.TooLarge):
        read(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))
    with pytest.raises(errors.Invalid):
        read(picture("x")[:60])


# --- what the bytes are -----------------------------------------------------------------------------------------


def test_types_by_bytes_alone() -> None:
    """M122: no name, no declared type."""
    made: dict[str, bytes] = {
        "pdf": b"%PDF-1.4\n",
        "pptx": pptx(),
        "xlsx": xlsx([["a"]]),
        "epub": epub(),
        "eml": b"From: a@b\r\nTo: c@d\r\nSubject: x\r\n\r\nbody",
        "html": b"<!doctype html><p>x",
        "json": b'{"a": 1}',
        "feed": b'<?xml version="1.0"?><!-- c --><rss version="2.0"/>',
        "xml": b'<?xml version="1.0"?><a/>',
        "csv": b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n",
        "image": picture(),
        "text": b"Just words, one after the other.",
    }
    assert {kind: detect(data, None, None) for kind, data in made.items()} == {kind: kind for kind in made}


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\0\0\0\0WAVE" + b"a\0" * 200,
        b"MZ\x90\0" + bytes(200),
        b"ID3\x04" + bytes(400),
        zipped(a="b"),
        bytes(range(256)),
    ],
)
def test_what_nobody_reads_is_refused(data: bytes) -> None:
    with pytest.raises(errors.UnsupportedMedia):
        read(data)


def test_language_is_found_in_the_text() -> None:
    german = "Der Ausschuss traf sich im alten Rathaus und sprach den ganzen Abend über die neue Brücke. " * 4
    assert read(f"<html lang=en><body><p>{german}</p></body></html>".encode()).language == "de"
    assert read(PROSE.encode()).language == "en"
    assert read(b"12345 67890", "n.txt").language is None


def test_code_is_kept_with_its_language_and_empty_lines() -> None:
    page = (
        f"<html><body><main><h2 id=a>Use <a href='#a'>#</a></h2><p>{PROSE}</p>"
        "<pre><code class='language-python'>def f():\n    return [a](1)\n\nf()</code></pre>"
        f"<p>{PROSE} <a href='/more'>more</a> to read.</p></main></body></html>"
    )
    found = read(page.encode(), "a.html", url="https://e.org/x/")
    assert "## Use\n\n" in found.text
    assert "```python\ndef f():\n    return [a](1)\n\nf()\n```\n\n" in found.text
    assert "[more](https://e.org/more) to read." in found.text
    assert "    return [a](1)\n\nf()" in extract(page.encode(), filename="a.html", markdown=False).text


def test_hostile_links_are_not_kept() -> None:
    targets = ["javascript:alert(1)", "data:text/html,x", "#here", "vbscript:x", "http://[bad", " java\nscript:x"]
    assert [markdown.link("t", target) for target in targets] == ["t"] * len(targets)
    assert markdown.link("a [b]", "https://e.org/a (b)") == "[a (b)](https://e.org/a%28b%29)"


# --- the evaluation data: a clear outcome for every file ----------------------------------------------------------


def outcome(data: bytes, name: str | None = None) -> str:
    try:
        found = read(data, name, timeout=60)
    except (errors.Invalid, errors.UnsupportedMedia, errors.TooLarge) as error:
        return error.code
    assert found.text.strip()
    return "read"


@pytest.mark.slow
def test_every_pdf_and_office_file(shared: Path) -> None:
    found = Counter(
        outcome(path.read_bytes(), path.name)
        for folder in ("pdfs", "office", "ocr", "speech", "tables")
        for path in sorted((shared / "data" / folder).iterdir())
    )
    assert found["child_crashed"] == 0
    assert found["read"] >= 80


@pytest.mark.slow
def test_every_feed(shared: Path) -> None:
    """Some 1,000 files, well and ill formed; read in this process, where a crash would show, but for a sample."""
    from webapp.extraction.service import read as read_here

    with gzip.open(shared / "data/feeds/feeds.jsonl.gz", "rt", encoding="utf8") as lines:
        feeds = [json.loads(line) for line in lines]
    found: Counter[str] = Counter()
    for number, feed in enumerate(feeds):
        data = base64.b64decode(feed["b64"])
        if number % 50 == 0:
            found[outcome(data, "feed.xml")] += 1
            continue
        try:
            found["read" if read_here(data, "feed.xml", None, None, None, True, False)["text"] else "empty"] += 1
        except (errors.Invalid, errors.UnsupportedMedia, errors.TooLarge) as error:
            found[error.code] += 1
    # Many hold one date, picture or address and no words: "no_text" is the right answer for them.
    assert set(found) <= {"read", "no_text", "xml_entities", "unsupported_media_type"}
    assert found["read"] >= 0.4 * len(feeds)
    assert found["unsupported_media_type"] <= 3  # UTF-32 without its mark


@pytest.mark.slow
def test_naughty_strings_and_addresses(shared: Path) -> None:
    def rows(name: str) -> list[dict[str, Any]]:
        with gzip.open(shared / "data" / name, "rt", encoding="utf8") as lines:
            return [json.loads(line) for line in lines]

    texts = [row["text"] for row in rows("strings/naughty.jsonl.gz")]
    assert outcome("\n".join(texts).encode("utf-8", "surrogatepass"), "a.txt") == "read"
    page = "".join(f"<p title='{text}'>{text}<a href=\"{text}\">x</a></p>" for text in texts)
    assert outcome(f"<html><body>{page}</body></html>".encode("utf-8", "surrogatepass"), "a.html") == "read"
    for row in rows("urls/urltestdata.jsonl.gz"):
        where = markdown.absolute(row["input"], row.get("base"))
        assert where is None or (where.startswith(("http:", "https:", "mailto:", "HTTP")) and " " not in where)

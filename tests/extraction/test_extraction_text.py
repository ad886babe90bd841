"""What bytes are and how they are encoded (drill A32)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from webapp.core import errors
from webapp.extraction.detect import detect
from webapp.extraction.encoding import decode
from webapp.extraction.service import extract, tidy

ROOT = Path(__file__).resolve().parents[2]


def test_plain_text() -> None:
    found = extract("Grüße!\r\n\r\n\r\n\r\nEnde.  \r\n".encode(), filename="a.txt")
    assert found.text == "Grüße!\n\nEnde."
    assert (found.content_type, found.method, found.title, found.warnings) == (
        "text/plain",
        "plain",
        None,
        [],
    )


def test_markdown_keeps_its_marks_and_gives_a_title() -> None:
    found = extract(b"# Top #\n\n- a\n- b <b>c</b>\n", filename="a.md")
    assert found.text == "# Top #\n\n- a\n- b <b>c</b>"
    assert (found.content_type, found.title) == ("text/markdown", "Top")


@pytest.mark.parametrize(
    ("data", "declared", "text"),
    [
        ("žluťoučký kůň".encode("utf-8-sig"), None, "žluťoučký kůň"),
        ("žluťoučký kůň".encode("utf-16"), "latin-1", "žluťoučký kůň"),
        ("żółw".encode("utf-32"), None, "żółw"),
        ("plain latin text, wide".encode("utf-16-le"), None, "plain latin text, wide"),
        ("plain latin text, wide".encode("utf-16-be"), None, "plain latin text, wide"),
        ("“quoted”".encode("cp1252"), "iso-8859-1", "“quoted”"),
        ("Größe".encode(), "iso-8859-1", "Größe"),  # declared wrongly, as so often
        (
            "Größe, Maße, Füße, Äpfel, Öl, Übung, süß".encode(),
            "shift_jis",
            "Größe, Maße, Füße, Äpfel, Öl, Übung, süß",
        ),
        ("日本語のテキスト".encode("shift_jis"), "Shift_JIS", "日本語のテキスト"),
        ("日本語".encode("euc_jp"), "utf-8", None),
        ("привет, как дела сегодня".encode("koi8-r"), "koi8-r", "привет, как дела сегодня"),
        (
            b'<meta charset="windows-1251">' + "привет".encode("cp1251"),
            None,
            '<meta charset="windows-1251">привет',
        ),
        (b"+ADw-script+AD4-", "utf-7", "+ADw-script+AD4-"),
        (b"plain", "no-such-codec", "plain"),
        (b"plain", "rot13", "plain"),
        ("é".encode() * 40 + b"\xff" + "é".encode() * 40, "utf-8", "é" * 40 + "\ufffd" + "é" * 40),
    ],
)
def test_encodings(data: bytes, declared: str | None, text: str | None) -> None:
    found, _ = decode(data, declared)
    if text is None:
        assert "\ufffd" not in found
        assert found
    else:
        assert found == text


def test_guessed_and_unknown_encodings_are_said() -> None:
    assert decode(b"plain", "utf-7")[1] == ["The encoding “utf-7” is not supported."]
    assert "not declared" in decode("Gr\xfc\xdfe aus K\xf6ln".encode("cp1252"), None)[1][0]


def test_utf7_never_becomes_markup() -> None:
    found = extract(b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-", content_type="text/html; charset=utf-7")
    assert "<script>" not in found.text


@pytest.mark.parametrize(
    ("data", "name", "declared", "kind"),
    [
        (b"%PDF-1.4 ...", "a.txt", "text/plain", "pdf"),
        (b"junk\n%PDF-1.4 ...", "a.html", "text/html", "pdf"),
        (b"<!DOCTYPE html><p>x", "a.txt", "text/plain", "html"),
        (b"  <!-- x --><div>hello</div>", None, None, "html"),
        (b"<p>only a fragment", "a.html", None, "html"),
        (b"no tag at all", "a.html", "text/html", "text"),
        (b"if a <b and b> c:", "a.txt", None, "text"),
        (b"<p>about markup", "a.md", None, "markdown"),
        ("<html>wide".encode("utf-16"), None, None, "html"),
        (b"BM is how this note starts, not a bitmap", "a.txt", None, "text"),
    ],
)
def test_the_bytes_decide(data: bytes, name: str | None, declared: str | None, kind: str) -> None:
    assert detect(data, name, declared) == kind


@pytest.mark.parametrize(
    "data",
    [
        b"ID3\x04" + bytes(range(256)) * 4,
        bytes(range(256)) * 8,
        b"MZ\x90\x00\x03\x00\x00\x00" * 100,
        b"{\\rtf1 hello}",
        b"\x1f\x8b\x08\x00" + bytes(range(200)),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.html", None])
def test_other_files_are_refused_with_the_accepted_names(data: bytes, name: str | None) -> None:
    with pytest.raises(errors.UnsupportedMedia) as caught:
        extract(data, filename=name)
    assert all(suffix in caught.value.message for suffix in (".txt", ".md", ".html", ".htm", ".pdf", ".docx"))
    assert caught.value.suggestion


@pytest.mark.parametrize("data", [b"", b" \n\t ", b"\0" * 100, b"...!!!", b"<html><body></body></html>"])
def test_nothing_to_read(data: bytes) -> None:
    with pytest.raises(errors.Invalid) as caught:
        extract(data)
    assert caught.value.code == "no_text"
    assert caught.value.suggestion


def test_text_with_some_nuls_loses_them() -> None:
    assert extract(b"hello " * 100 + b"\0" + b"world").text.endswith("hello world")


def test_long_text_is_cut_and_says_so() -> None:
    found = extract(b"word " * 1_300_000)
    assert len(found.text) <= 5_000_000
    assert "5,000,000" in found.warnings[0]


def test_too_big_a_file() -> None:
    with pytest.raises(errors.TooLarge):
        extract(bytes(64 * 2**20 + 1))


def test_cancelling() -> None:
    with pytest.raises(errors.TaskCancelled):
        extract(b"x", cancelled=lambda: True)


def test_tidy() -> None:
    assert tidy("a\x07\u200b \r\rb\ud800\f\x1bc\u00ad\u2028d") == "a\u200b\n\nb?\n\nc\nd"


def test_importing_is_cheap() -> None:
    heavy = "{'numpy', 'trafilatura', 'lxml', 'bs4', 'pypdf', 'docx', 'charset_normalizer', 'puremagic'}"
    code = (
        "import sys, webapp.extraction.service, webapp.extraction.files, webapp.extraction.html\n"
        "import webapp.summaries.lexrank, webapp.core.sentences\n"
        f"assert not {heavy} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("data", "declared", "encoding"),
    [
        (b"Just words of ASCII.", None, "ascii"),
        (b"Just words of ASCII.", "iso-8859-1", "ascii"),
        ("Größe und Maß der Körper.".encode(), None, "utf-8"),
        ("Größe und Maß.".encode("utf-16"), None, "utf-16"),
        ("灯台の光は十四マイル先まで見える。".encode("shift_jis"), "shift_jis", "shift_jis"),
        ("Свет маяка виден за четырнадцать миль. ".encode("cp1251") * 4, None, "cp1251"),
    ],
)
def test_the_encoding_it_was_read_by_is_told(data: bytes, declared: str | None, encoding: str) -> None:
    assert extract(data, charset=declared).meta["encoding"] == encoding


def test_japanese_of_old_systems_that_declares_nothing_is_readable() -> None:
    text = "灯台の光は十四マイル先まで見える。霧の日には鐘が鳴る。" * 4
    assert extract(text.encode("euc_jp")).text == text

"""Files that are no table, or a broken one: each is refused with a sentence that says what is wrong, never with a traceback."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.analysis.bench import analysed
from webapp.analysis import child
from webapp.core.errors import AppError, Invalid
from webapp.core.sandbox import run_in_child


def workbook(*rows: list[object]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def zip_bomb() -> bytes:
    """A workbook whose sheet unpacks to 200 MB."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook(["a"], [1]))) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in source.namelist():
            bomb.writestr(name, b" " * 200 * 2**20 if "sheet1" in name else source.read(name))
    return out.getvalue()


def encrypted() -> bytes:
    """What Excel writes with a password: a compound file with the stream EncryptedPackage; its directory is enough."""
    sector = bytearray(512)
    sector[0:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    sector[24:34] = b"\x3e\x00\x03\x00\xfe\xff\x09\x00\x06\x00"
    sector[44:48] = (1).to_bytes(4, "little")  # one sector of the allocation table
    sector[48:52] = (1).to_bytes(4, "little")  # the directory is sector 1
    sector[56:60] = (4096).to_bytes(4, "little")
    sector[60:64] = sector[68:72] = (0xFFFFFFFE).to_bytes(4, "little")
    sector[76:80] = (0).to_bytes(4, "little")
    sector[80:512] = b"\xff" * 432
    table = b"\xfd\xff\xff\xff\xfe\xff\xff\xff" + b"\xff" * 504

    def entry(name: str, kind: int, below: int = 0xFFFFFFFF) -> bytes:
        raw = name.encode("utf-16-le")
        return (raw.ljust(64, b"\0") + (len(raw) + 2).to_bytes(2, "little") + bytes([kind, 1]) + b"\xff" * 8
                + below.to_bytes(4, "little") + b"\0" * 36 + (0xFFFFFFFE).to_bytes(4, "little") + b"\0" * 8)  # fmt: skip

    directory = entry("Root Entry", 5, 1) + entry("EncryptedPackage", 2) + b"\0" * 256
    return bytes(sector) + table + directory


def deep() -> bytes:
    return b"[" * 100_000 + b"]" * 100_000


CASES: list[tuple[str, str, Callable[[], bytes], str]] = [
    ("empty", "a.csv", lambda: b"", "the file is empty"),
    ("blank", "a.csv", lambda: b"  \n\n \n", "the file is empty"),
    ("only names", "a.csv", lambda: b"a,b,c\n", "no rows"),
    ("binary", "a.csv", lambda: bytes(range(256)) * 40, "a binary file"),
    ("picture named csv", "a.csv", lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "looks like a picture"),
    ("pdf named xlsx", "a.xlsx", lambda: b"%PDF-1.7\n" + b"x" * 100, "looks like a PDF"),
    ("web page named csv", "a.csv", lambda: b"<!DOCTYPE html><html><body>No</body></html>", "a web page or XML"),
    ("gzip named csv", "a.csv", lambda: b"\x1f\x8b\x08\x00" + b"\0" * 50, "gzip"),
    ("zip that is no workbook", "a.xlsx", lambda: _zip({"a.txt": b"hello"}), "zip archive"),
    ("word document named xlsx", "a.xlsx", lambda: _zip({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<a/>"}), "a docx file"),
    ("ragged, too long", "a.csv", lambda: b"a,b\n1,2\n3,4,5\n", "row 2 has 3 cells where 2 were expected"),
    ("ragged, too short", "a.csv", lambda: b"a,b,c\n1,2,3\n4,5\n", "row 2 has 2 cells where 3 were expected"),
    ("unclosed quote", "a.csv", lambda: b'a,b\n1,"x\n2,y\n3,z\n', "begins in line 2 is never closed"),
    ("text after a quote", "a.csv", lambda: b'a,b\n1,"x"y\n', "something follows a closing quotation mark"),
    ("huge cell", "a.csv", lambda: b"a,b\n1," + b"x" * 200_000 + b"\n", "longer than 100,000 characters"),
    ("unclosed quote in a large file", "a.csv", lambda: b'a,b\n"' + b"1,2\n" * 100_000, "begins in line 2 is longer than 100,000"),
    ("duplicate names", "a.csv", lambda: b"a,b,a\n1,2,3\n", "two columns are called"),
    ("NUL bytes", "a.csv", lambda: b"a,b\n1,2\n" * 3000 + b"3,\0\n", "NUL"),
    ("NUL bytes far in", "a.csv", lambda: b"a,b\n" + b"1,2\n" * 100_000 + b"3,\0\n", "NUL"),
    ("10,000 columns", "a.csv", lambda: ",".join(f"c{n}" for n in range(10_000)).encode() + b"\n" + b"1," * 9999 + b"1\n", "has 10,000 columns"),
    ("30,000 columns", "a.csv", lambda: ",".join(f"c{n}" for n in range(30_000)).encode() + b"\n", "has 30,000 columns"),
    ("mixed encodings", "a.csv", lambda: "größe,straße\nübel,ähnlich\n".encode() * 40 + "böse,1\n".encode("latin-1"), "mixes encodings"),
    ("half a UTF-16", "a.csv", lambda: "a,b\n1,2\n".encode("utf-16")[:-1], "no valid UTF-16"),
    ("broken JSON", "a.json", lambda: b'[{"a": 1}, {"a": ', "no valid JSON"),
    ("NaN in JSON", "a.json", lambda: b'[{"a": 1}, {"a": NaN}]', "NaN is no JSON number"),
    ("Infinity in JSON", "a.json", lambda: b'{"a": [1, -Infinity]}', "-Infinity is no JSON number"),
    ("NaN in JSON Lines", "a.jsonl", lambda: b'{"a": 1}\n{"a": NaN}\n', "NaN in line 2"),
    ("bad line of JSON Lines", "a.jsonl", lambda: b'{"a": 1}\n{"a": \n{"a": 3}\n', "line 2"),
    ("deeply nested JSON", "a.json", deep, "nested too deeply"),
    ("JSON without a table", "a.json", lambda: b'{"a": 1, "b": "x"}', "a JSON table is a list of objects"),
    ("uneven columns in JSON", "a.json", lambda: b'{"a": [1, 2, 3], "b": [1]}', "differ in length"),
    ("rows and values in JSON", "a.json", lambda: b'[1, {"a": 2}]', "mixes rows and single values"),
    ("zip bomb", "a.xlsx", zip_bomb, "unpacks"),
    ("encrypted workbook", "a.xlsx", encrypted, "password"),
    ("damaged workbook", "a.xlsx", lambda: workbook(["a"], [1])[:-400], "damaged"),
    ("broken sheet", "a.xlsx", lambda: _broken_sheet(), "damaged"),
    ("empty sheet", "a.xlsx", lambda: workbook(), "is empty"),
    ("names twice in a sheet", "a.xlsx", lambda: workbook(["a", "a"], [1, 2]), "two columns are called"),
]  # fmt: skip


def _zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return out.getvalue()


def _broken_sheet() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(["a", "b"], [1, 2]))) as source, zipfile.ZipFile(out, "w") as broken:
        for name in source.namelist():
            broken.writestr(name, b"<worksheet><sheetData><row><c" if "sheet1" in name else source.read(name))
    return out.getvalue()


@pytest.mark.parametrize(("what", "name", "made", "says"), CASES, ids=[case[0] for case in CASES])
def test_a_malformed_file_gets_a_clear_error(
    what: str, name: str, made: Callable[[], bytes], says: str, tmp_path: Path
) -> None:
    with pytest.raises(AppError) as caught:
        analysed(tmp_path, content=made(), name=name)
    assert says in caught.value.message, what
    assert "Traceback" not in caught.value.message
    assert not caught.value.retryable


def test_at_least_twenty_are_tried() -> None:
    assert len(CASES) >= 20


@pytest.mark.parametrize("content", [b"a,b\n1,2\n3\n", b"\x89PNG\r\n\x1a\n"])
def test_the_error_comes_out_of_the_child_as_itself(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    source = {"path": str(tmp_path / "x"), "name": "x.csv", "content_type": "", "charset": None}
    with pytest.raises(AppError) as caught:
        run_in_child("webapp.analysis.child:read", str(tmp_path), [source], {}, timeout=30)
    assert caught.value.code in ("bad_table", "unsupported_media_type")


# -- strange but good -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a;b\n1,5;x\n2,25;y\n", [("a", "number", [1.5, 2.25]), ("b", "category", None)]),
        ("preis\n1.234,50 €\n99,00 €\n".encode("cp1252"), [("preis", "number", [1234.5, 99.0])]),
        (b'cost\n"$1,200.50"\n($3.00)\n$7\n', [("cost", "number", [1200.5, -3.0, 7.0])]),
        (b"share\n12%\n7.5 %\n", [("share", "number", [12.0, 7.5])]),
        ("a,b\n1,x\n2,y\n".encode("utf-16"), [("a", "number", [1.0, 2.0]), ("b", "category", None)]),
        (b"\xef\xbb\xbfa\n1\n2\n", [("a", "number", [1.0, 2.0])]),
        (b"a\tb\r\n1\t2\r\n", [("a", "number", [1.0]), ("b", "number", [2.0])]),
        (b"zip\n01234\n02345\n99999\n", [("zip", "category", None)]),
        (b"id\n12345678901234567890\n12345678901234567891\n", [("id", "category", None)]),
        (b"when\n2025-01-31\n2025-02-01\n", [("when", "date", None)]),
        (b"when\n31.01.2025 10:30\n01.02.2025 08:00\n", [("when", "date", None)]),
        (b"when\n13/01/2025\n02/01/2025\n", [("when", "date", None)]),
        (b"ok\nyes\nNo\nYES\n", [("ok", "boolean", None)]),
        (b"n\n1e3\n-2.5E-1\n+7\n", [("n", "number", [1000.0, -0.25, 7.0])]),
        (b"n\n1\n2\ninf\n-Infinity\n" + b"3\n" * 60, [("n", "number", None)]),
        (b"1,2\n3,4\n", [("column_1", "number", [1.0, 3.0]), ("column_2", "number", [2.0, 4.0])]),
        (b",a\n0,5\n1,6\n", [("column_1", "number", [0.0, 1.0]), ("a", "number", [5.0, 6.0])]),
        (b"text,n\n\"a, b\nc\",1\n", [("text", "category", None), ("n", "number", [1.0])]),
        (json.dumps([{"a": {"b": 1}, "c": [1]}, {"a": {"b": 2}}]).encode(), [("a.b", "number", [1.0, 2.0]), ("c", "category", None)]),
        (b"[[\"a\", \"b\"], [1, 2], [3, 4]]", [("a", "number", [1.0, 3.0]), ("b", "number", [2.0, 4.0])]),
    ],
)  # fmt: skip
def test_types_are_inferred(content: bytes, columns: list[tuple[str, str, list[float] | None]], tmp_path: Path) -> None:
    result = analysed(tmp_path, content=content, name="t.json" if content[:1] == b"[" else "t.csv")
    assert [(one["name"], one["type"]) for one in result["columns"]] == [(name, kind) for name, kind, _ in columns]
    for name, _, values in columns:
        if values:
            assert result["statistics"][name]["min"] == pytest.approx(min(values))
            assert result["statistics"][name]["max"] == pytest.approx(max(values))


@pytest.mark.parametrize(
    ("content", "option", "kind"),
    [
        (b'n\n"1,234"\n"5,678"\n', {"decimal": "point"}, 5678.0),
        (b'n\n"1,234"\n"5,678"\n', {"decimal": "comma"}, 5.678),
        (b"d\n03/04/2025\n05/06/2025\n", {"dates": "day_first"}, "2025-06-05"),
        (b"d\n03/04/2025\n05/06/2025\n", {"dates": "month_first"}, "2025-05-06"),
    ],
)
def test_what_could_be_read_in_two_ways_is_asked(
    content: bytes, option: dict[str, str], kind: object, tmp_path: Path
) -> None:
    name = next(iter(option))
    undecided = analysed(tmp_path, content=content)
    assert undecided["columns"][0]["type"] == "category"
    assert any(name in warning["text"] for warning in undecided["warnings"])
    assert analysed(tmp_path, content=content, **option)["columns"][0]["max"] == kind


def test_odd_cells_are_counted_and_never_infinite(tmp_path: Path) -> None:
    content = "n\n" + "".join(f"{n}\n" for n in range(100)) + "inf\nabout 5\n1e999\n"
    result = analysed(tmp_path, content=content)
    [column] = result["columns"]
    assert (column["type"], column["count"], column["unreadable"]) == ("number", 100, 3)
    assert column["unreadable_examples"] == ["inf", "about 5", "1e999"]


def test_numbers_that_end_as_words_are_words_from_the_start(tmp_path: Path) -> None:
    content = "n\n" + "".join(f"{n}\n" for n in range(25_000)) + "".join(f"item {n % 7}\n" for n in range(5_000))
    [column] = analysed(tmp_path, content=content)["columns"]
    assert (column["type"], column["missing"], column["distinct"]) == ("text", 0, 25_007)


def test_too_many_different_values_are_still_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what is kept as words: prices with separators, moments and names, block by block."""
    from webapp.analysis import table

    monkeypatch.setattr(table, "DISTINCT", 500)
    monkeypatch.setattr(table, "BLOCK", 300)
    rows = "".join(
        f'"{n:,}.50","{n // 60:02d}:{n % 60:02d} on",2025-01-01T{n // 60 % 24:02d}:{n % 60:02d}:00,name {n}\n'
        for n in range(1000, 2000)
    )
    result = analysed(tmp_path, content="price,text,when,name\n" + rows + '"",,,\n"1,000.50",x,2025-01-01T00:00:00,y\n')
    found = {one["name"]: one for one in result["columns"]}
    assert (found["price"]["type"], found["price"]["max"], found["price"]["missing"]) == ("number", 1999.5, 1)
    assert (found["when"]["type"], found["when"]["distinct"], found["when"]["missing"]) == ("date", 1000, 1)
    assert (found["name"]["type"], found["name"]["distinct"], found["name"]["missing"]) == ("text", 1001, 1)
    assert found["name"]["lengths"]["longest"] == 9


def test_a_sheet_is_chosen(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "first"
    for row in (["a", "d", "b"], [1, None, True], [2.5, None, False]):
        book.active.append(row)
    other = book.create_sheet("other")
    for row in (["x"], [7]):
        other.append(row)
    book.save(tmp_path / "b.xlsx")
    first = analysed(tmp_path, file=tmp_path / "b.xlsx")
    assert [(one["name"], one["type"]) for one in first["columns"]] == [
        ("a", "number"),
        ("d", "empty"),
        ("b", "boolean"),
    ]
    assert first["notes"][0] == "Only the sheet “first” was read; there are 2 sheets."
    assert analysed(tmp_path, file=tmp_path / "b.xlsx", sheet="2")["statistics"]["x"]["max"] == 7
    with pytest.raises(Invalid, match="no sheet"):
        analysed(tmp_path, file=tmp_path / "b.xlsx", sheet="third")


def test_nothing_that_leaves_a_child_is_not_finite() -> None:
    import numpy as np

    assert child.finite({"a": [float("nan"), np.float64("inf"), np.int64(3)], "b": (1.5, np.bool_(True))}) == {
        "a": [None, None, 3],
        "b": [1.5, True],
    }

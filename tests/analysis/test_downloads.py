"""What is taken away of an analysis: complete, and harmless wherever it is opened."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.bench import analysed
from webapp.analysis import exporting
from webapp.core.spreadsheets import safe_cell, to_csv

FORMULAS = [
    "=1+1",
    "+1+cmd|' /C calc'!A0",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1+1",
    "＋1",
    "－2+3",
    "＠x",
    " =1",
    '"=1',
    "a;=1+1",
    "a,\t@x",
    "a\n=1",
]
EVIL = '"><img src=x onerror=alert(1)>'


@pytest.mark.parametrize("text", FORMULAS)
def test_a22_no_cell_begins_a_formula(text: str) -> None:
    """A22, also for programs that cut at another separator, and after a round trip."""
    cell = safe_cell(text)
    for part in re.split(r"[;,\t\r\n|]", cell):
        assert not re.match(r"[\s\"]*[=+\-@＝＋－＠]", part), cell
    [[read]] = list(csv.reader(io.StringIO(to_csv([[text]]).lstrip("\ufeff"), newline="")))
    assert read == cell


def test_numbers_stay_numbers() -> None:
    assert to_csv([[-1.5, 2, "-3.25", "1e-7", None, True, "plain"]]) == "\ufeff-1.5,2,-3.25,1e-7,,True,plain\r\n"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A table whose names and values try to be formulas, HTML and Markdown."""
    rows = [
        {
            "=cmd()": n * 1.5,
            EVIL: ["@SUM(A1)", EVIL, "[x](javascript:alert(1))"][n % 3],
            "n": (n * 7) % 11,
            "{{7*7}}": n,
        }
        for n in range(30)
    ]
    return analysed(tmp_path_factory.mktemp("hostile"), content=json.dumps(rows), name="x.json")


def test_a22_the_csv_of_a_hostile_table(hostile: dict[str, Any]) -> None:
    cells = [
        cell
        for row in csv.reader(io.StringIO(exporting.tables("=1+1", hostile).lstrip("\ufeff"), newline=""))
        for cell in row
    ]
    assert len(cells) > 100
    for cell in cells:
        assert not re.match(r"[=+\-@\t\r]", cell) or re.fullmatch(r"-?\d[\d.e+-]*", cell), cell
    assert "'=cmd()" in cells


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, Any]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_stands_alone_and_runs_nothing(hostile: dict[str, Any]) -> None:
    page = exporting.page(EVIL, hostile)
    tags = Tags()
    tags.feed(page)
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "img", "iframe", "object", "embed", "form", "base", "link", "a"}
    assert not [
        attrs
        for _, attrs in tags.seen
        if any(name.startswith("on") or name in ("src", "href", "style") for name in attrs)
    ]
    assert "default-src 'none'" in page
    assert "url(" not in page
    for rule in (
        "--c1:",
        ".series-2 {",
        ".chart-plot {",
        ".chart-body {",
        ".legend-mark {",
        ".hbars {",
        ".plot-dot {",
        ".table {",
        ".heat {",
    ):
        assert f"\n{rule}" in page or f" {rule}" in page, rule
    assert "{{7*7}}" in page
    assert names >= {"svg", "table", "figure", "details"}
    assert EVIL not in page


def test_markdown_keeps_text_as_text(hostile: dict[str, Any]) -> None:
    from markdown_it import MarkdownIt

    text = exporting.markdown(EVIL, hostile)
    tags = Tags()
    tags.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    assert {tag for tag, _ in tags.seen} >= {"h1", "h2", "table"}
    assert {tag for tag, _ in tags.seen} <= {
        "h1",
        "h2",
        "ul",
        "li",
        "p",
        "em",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }


def test_every_chart_has_words_and_a_table(shared: Path, tmp_path: Path) -> None:
    from webapp.ui.plots import plot

    result = analysed(tmp_path, file=shared / "data" / "tables" / "titanic.csv")
    kinds = {chart["kind"] for chart in result["charts"]}
    assert kinds >= {"histogram", "bars", "boxes", "scatter", "heat"}
    for chart in result["charts"]:
        drawn = plot(chart)
        assert drawn.summary, chart["title"]
        assert drawn.table or drawn.shape == "heat", chart["title"]


@pytest.mark.parametrize(
    "broken", [{}, {"kind": "line", "title": "x"}, {"kind": "scatter", "title": "x", "series": []}, {"kind": "nothing"}]
)
def test_a_chart_that_cannot_be_drawn_is_no_error(broken: dict[str, Any]) -> None:
    from webapp.ui.plots import plot

    assert plot(broken).summary == "This chart cannot be drawn."

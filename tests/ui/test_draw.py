"""What templates draw with: charts, code, differences, words of times."""

from __future__ import annotations

import pytest

from webapp.ui import charts, draw, plots


@pytest.mark.parametrize(
    ("high", "top"), [(0, 1), (1, 1), (3, 4), (9, 10), (58, 80), (70, 80), (100, 100), (0.03, 0.04), (1234, 2000)]
)
def test_scales_end_on_round_numbers(high: float, top: float) -> None:
    chart = charts.line_chart(["a", "b"], [("x", [high, 0])])
    assert chart.top == pytest.approx(top)
    assert chart.top >= high


def test_a_gap_in_a_line_stays_a_gap() -> None:
    chart = charts.line_chart(["a", "b", "c", "d"], [("x", [1, None, 3, 4])])
    assert len(chart.series[0]["lines"]) == 2
    assert chart.series[0]["last"] == (100.0, 0.0)


def test_stacked_columns_stand_on_each_other() -> None:
    chart = charts.column_chart(["a"], [("x", [2]), ("y", [2])])
    below, above = chart.series[0]["bars"][0], chart.series[1]["bars"][0]
    assert above["y"] + above["h"] == pytest.approx(below["y"])
    assert "Together: 4 throughout" in chart.summary


def test_charts_say_themselves() -> None:
    words = charts.line_chart(["Mon", "Tue", "Wed"], [("Answers", [3, 9, 5])]).summary
    assert words == "Answers: 5 at the end (Wed), most 9 (Tue), least 3 (Mon)."


@pytest.mark.parametrize("values", [[], [None], [5], [5, 5], [0, 0]])
def test_thin_data_draws_without_error(values: list[float | None]) -> None:
    labels = [str(n) for n in range(len(values))]
    assert charts.line_chart(labels, [("x", values)], area=True).labels == labels
    assert charts.column_chart(labels, [("x", values)]).labels == labels
    assert charts.sparkline(values).summary
    assert charts.bar_chart([]).series == []


def test_labels_are_thinned_to_the_ends() -> None:
    shown = charts.line_chart([str(n) for n in range(30)], [("x", list(range(30)))]).shown_labels
    assert len(shown) == charts.MAX_LABELS
    assert (shown[0], shown[-1]) == ("0", "29")


def test_a_label_stands_where_its_point_does() -> None:
    """Seven days in six evenly spread labels would name the wrong days."""
    week = [str(n) for n in range(7)]
    assert charts.line_chart(week, [("x", list(range(7)))]).shown_labels == ["0", "2", "4", "6"]
    assert charts.column_chart(week, [("x", list(range(7)))]).shown_labels == week
    month = charts.column_chart([str(n) for n in range(30)], [("x", list(range(30)))])
    assert [n for n, label in enumerate(month.shown_labels) if label] == [0, 5, 10, 15, 20, 25]
    assert month.under_columns


def test_labels_of_a_statistical_plot_stand_where_their_points_do() -> None:
    assert plots._thin(["a", "b", "c", "d", "e"]) == ["a", "b", "", "d", "e"]
    many = [str(n) for n in range(200)]
    assert plots._thin(many) == ["0", "66", "133", "199"]
    assert plots._under([str(n) for n in range(9)]) == ["0", "", "2", "", "4", "", "6", "", "8"]


def test_highlighting_escapes() -> None:
    for language in ("python", "json", "html", "text", "no-such-language"):
        assert "<script>" not in draw.highlight('x = "<script>alert(1)</script>"', language)
    assert 'class="k"' in draw.highlight("return 1", "python")


def test_a_difference_numbers_both_sides() -> None:
    rows = draw.diff_rows("a\nb\nc\n", "a\nx\nc\nd\n")
    assert [(r.mark, r.old, r.new, r.text) for r in rows] == [
        (" ", 1, 1, "a"),
        ("-", 2, None, "b"),
        ("+", None, 2, "x"),
        (" ", 3, 3, "c"),
        ("+", None, 4, "d"),
    ]
    assert draw.diff_rows("same\n", "same\n") == []
    assert draw.diff_rows("\n".join("abcdefghij"), "\n".join("abcdefghiX"))[0].mark == "…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2, "a few seconds"), (42, "about 40 s"), (57, "about 1 min"), (200, "about 3 min"), (5400, "about 1.5 h")],
)
def test_what_is_left_is_said_roughly(seconds: float, words: str) -> None:
    assert draw.about(seconds) == words

"""Lines of small charts: time is the x axis, what is not known is not drawn."""

from __future__ import annotations

from webapp.system.charts import HEIGHT, WIDTH, chart
from webapp.system.sampler import Reading
from webapp.system.views import size, trends


def test_a_line_from_edge_to_edge() -> None:
    found = chart([(0, 0.0), (50, 50.0), (100, 100.0)], start=0, end=100, top=100)
    assert found.line == f"M0.0 {HEIGHT}.0 L{WIDTH / 2} {HEIGHT / 2} L{WIDTH}.0 0.0"
    assert found.area.endswith(f"L{WIDTH}.0 {HEIGHT} L0.0 {HEIGHT} Z")
    assert (found.low, found.high) == (0, 100)


def test_a_missing_value_breaks_the_line() -> None:
    found = chart([(0, 1.0), (1, 1.0), (2, None), (3, 1.0), (4, 1.0)], start=0, end=4, top=2)
    assert found.line.count("M") == 2


def test_nothing_known_draws_nothing() -> None:
    for points in ([], [(0, None)], [(0, 5.0)], [(0, 5.0), (1, None), (2, 5.0)]):
        assert chart(points, start=0, end=2, top=10).line == ""


def test_values_above_the_upper_edge_stay_in_the_box() -> None:
    assert chart([(0, 500.0), (1, -3.0)], start=0, end=1, top=100).line == f"M0.0 0.0 L{WIDTH}.0 {HEIGHT}.0"


def readings(count: int, *, gap_after: int = -1) -> list[Reading]:
    made, at = [], 0.0
    for index in range(count):
        made.append(
            Reading(at, 1_700_000_000 + at, memory_percent=50.0, network={"bytes_recv": at * 10, "bytes_sent": 0})
        )
        at += 100 if index == gap_after else 2
    return made


def test_the_table_says_the_same_as_the_chart_in_a_few_rows() -> None:
    found = trends(readings(150))["network"]
    assert len(found.rows) == 14
    assert {tuple(values) for _, values in found.rows} == {(10.0, 0.0)}
    assert found.rows[0][0] > found.rows[-1][0]


def test_no_row_and_no_line_goes_across_a_gap() -> None:
    found = trends(readings(40, gap_after=19))["network"]
    assert found.lines[0].chart.line.count("M") == 2
    assert {tuple(values) for _, values in found.rows} == {(10.0, 0.0)}


def test_no_readings_are_empty_trends() -> None:
    assert all(trend.empty and trend.rows == [] for name, trend in trends([]).items() if name != "gpu")


def test_sizes() -> None:
    assert [size(v) for v in (0, 999, 1024, 150_000, 5 * 2**20, 3 * 2**40)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "146 kB",
        "5.0 MB",
        "3.0 TB",
    ]

"""Every figure of six known tables, against figures computed by other means (rounded to six digits there)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.bench import analysed

TABLES = ("tips", "penguins", "titanic", "flights", "iris", "anscombe")
NEAR = 1e-9


@pytest.fixture(scope="module")
def facts(shared: Path) -> dict[str, dict[str, Any]]:
    with gzip.open(shared / "data" / "tables" / "facts.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {fact["table"]: fact for fact in map(json.loads, lines)}


@pytest.mark.parametrize("name", TABLES)
def test_figures_agree(name: str, facts: dict[str, Any], shared: Path, tmp_path: Path) -> None:
    fact = facts[name]
    result = analysed(tmp_path, file=shared / "data" / "tables" / f"{name}.csv")
    columns = {column["name"]: column for column in result["columns"]}
    assert list(columns) == fact["columns"]
    assert (result["table"]["rows"], result["table"]["duplicate_rows"]) == (fact["rows"], fact["duplicate_rows"])
    assert {name: column["missing"] for name, column in columns.items()} == fact["missing"]
    assert {name: columns[name]["outliers"] for name in fact["iqr_outliers"]} == fact["iqr_outliers"]
    assert set(result["statistics"]) == set(fact["describe"])
    for column, figures in fact["describe"].items():
        for figure, value in figures.items():
            assert round(result["statistics"][column][figure], 6) == pytest.approx(value, abs=NEAR), (column, figure)
    correlations = result["correlations"]
    place = {name: number for number, name in enumerate(correlations["columns"])}
    for a, row in fact["pearson"].items():
        for b, value in row.items():
            assert round(correlations["pearson"][place[a]][place[b]], 6) == pytest.approx(value, abs=NEAR), (a, b)


@pytest.mark.parametrize("name", TABLES)
def test_figures_agree_beyond_the_rounding(name: str, shared: Path, tmp_path: Path) -> None:
    """The same by pandas on the same file, to 1e-9 of the value itself."""
    import pandas as pd

    file = shared / "data" / "tables" / f"{name}.csv"
    frame = pd.read_csv(file)
    result = analysed(tmp_path, file=file)
    numbers = frame.select_dtypes("number")
    for column, figures in numbers.describe().to_dict().items():
        for figure, value in figures.items():
            assert result["statistics"][column][figure] == pytest.approx(value, rel=NEAR), (column, figure)
    for kind in ("pearson", "spearman"):
        expected, found = numbers.corr(kind), result["correlations"]
        for i, a in enumerate(found["columns"]):
            for j, b in enumerate(found["columns"]):
                assert found[kind][i][j] == pytest.approx(expected.loc[a, b], abs=NEAR), (kind, a, b)
    for column in result["columns"]:
        if column["type"] == "number":
            assert column["skewness"] == pytest.approx(frame[column["name"]].skew(), rel=1e-7)
            assert column["kurtosis"] == pytest.approx(frame[column["name"]].kurt(), rel=1e-7)
        assert column["distinct"] == frame[column["name"]].nunique()


def test_traps_of_known_tables_are_seen(shared: Path, tmp_path: Path) -> None:
    """Anscombe's four sets look alike in figures; bills of penguins grow against the trend of all within each species."""
    tables = shared / "data" / "tables"
    same = analysed(tmp_path, file=tables / "anscombe.csv")
    assert [one["columns"] for one in same["warnings"] if one["code"] == "same_figures"] == [["x", "y", "dataset"]]
    [scatter] = [chart for chart in same["charts"] if chart["kind"] == "scatter"]
    assert [one["name"] for one in scatter["series"]] == ["I", "II", "III", "IV"]
    penguins = analysed(tmp_path, file=tables / "penguins.csv")
    reversed_ones = [one["columns"] for one in penguins["warnings"] if one["code"] == "reversed"]
    assert ["bill_length_mm", "bill_depth_mm", "species"] in reversed_ones


def test_a_season_is_seen_in_a_year_beside_a_month(shared: Path, tmp_path: Path) -> None:
    result = analysed(tmp_path, file=shared / "data" / "tables" / "flights.csv")
    [trend] = result["trends"]["rows"]
    assert (trend["axis"], trend["unit"], trend["moments"]) == ("year and month", "year", 144)
    assert trend["slope"] == pytest.approx(31.88, abs=0.05)
    assert trend["season"]["found"]
    assert trend["season"]["cycle"] == "year"
    assert trend["season"]["pattern"].index(max(trend["season"]["pattern"])) in (6, 7)  # July or August

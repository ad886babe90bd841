"""Every statistic we compute ourselves, against the same one of scipy on samples of many shapes; the rules that choose a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.analysis.bench import analysed
from webapp.analysis import comparing, relating, trends
from webapp.analysis.describing import alike, histogram

NEAR = 1e-9
SEEDS = range(6)


def samples(seed: int) -> list[Any]:
    """Groups of different size and spread, some rounded so that values tie."""
    chance = np.random.default_rng(seed)
    drawn = [
        chance.normal(0, 1, 40),
        chance.lognormal(0, 1, 25),
        chance.normal(0.8, 3, 60),
        np.round(chance.normal(0.3, 2, 33)),
    ]
    return [np.round(one, 1) if seed % 2 else one for one in drawn]


def named(groups: list[Any]) -> list[tuple[str, Any]]:
    return [(str(number), values) for number, values in enumerate(groups)]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_groups(seed: int) -> None:
    x, y = samples(seed)[0], samples(seed)[2]
    ours, theirs = comparing.welch_t(x, y), stats.ttest_ind(x, y, equal_var=False)
    assert ours["statistic"] == pytest.approx(theirs.statistic, rel=NEAR)
    assert ours["p"] == pytest.approx(theirs.pvalue, rel=NEAR)
    assert ours["df"] == pytest.approx(theirs.df, rel=NEAR)
    assert ours["interval"] == pytest.approx(list(theirs.confidence_interval(0.95)), rel=NEAR)
    pooled = np.sqrt(((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / (len(x) + len(y) - 2))
    assert ours["effect"]["cohens_d"] == pytest.approx((x.mean() - y.mean()) / pooled, rel=NEAR)
    assert abs(ours["effect"]["size"]) < abs(ours["effect"]["cohens_d"])
    ranked = comparing.mann_whitney(x, y)
    wins = sum(float((one > y).sum() - (one < y).sum()) for one in x) / (len(x) * len(y))
    assert ranked["effect"]["size"] == pytest.approx(wins, abs=NEAR)


@pytest.mark.parametrize("seed", SEEDS)
def test_more_groups(seed: int) -> None:
    groups = samples(seed)
    for ours, theirs in (
        (comparing.anova(named(groups)), stats.f_oneway(*groups)),
        (comparing.welch_anova(named(groups)), stats.f_oneway(*groups, equal_var=False)),
        (comparing.kruskal(named(groups)), stats.kruskal(*groups)),
    ):
        assert ours["statistic"] == pytest.approx(theirs.statistic, rel=1e-8), ours["test"]
        assert ours["p"] == pytest.approx(theirs.pvalue, rel=1e-7), ours["test"]
    assert comparing.brown_forsythe(named(groups)) == pytest.approx(
        stats.levene(*groups, center="median").pvalue, rel=1e-8
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_correlations(seed: int) -> None:
    chance = np.random.default_rng(seed)
    x = np.round(chance.normal(size=80), 1)
    y = np.round(x * chance.choice([-1, 0.2, 1]) + chance.normal(size=80), 1)
    r = relating.correlation(x, y)
    assert r is not None
    theirs = stats.pearsonr(x, y)
    assert (r, relating.p_of_r(r, 80)) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-8)
    assert relating.interval_of_r(r, 80) == pytest.approx(list(theirs.confidence_interval(0.95)), rel=1e-8)
    rho = relating.correlation(relating.ranks(x), relating.ranks(y))
    assert rho == pytest.approx(stats.spearmanr(x, y).statistic, rel=1e-8)


@pytest.mark.parametrize("table", [[[10, 20], [30, 5]], [[1, 7], [8, 2]], [[12, 30, 8], [40, 5, 9]], [[3, 3], [3, 3]]])
def test_associations(table: list[list[int]]) -> None:
    counts = np.array(table)
    ours, theirs = relating.contingency(counts), stats.chi2_contingency(counts, correction=False)
    assert (ours["chi2"], ours["df"]) == pytest.approx((theirs.statistic, theirs.dof), rel=NEAR, abs=NEAR)
    assert ours["cramers_v"] == pytest.approx(stats.contingency.association(counts), abs=NEAR)
    exact = ours["test"] == "Fisher's exact"
    assert exact == (counts.shape == (2, 2) and bool((theirs.expected_freq < 5).any()))
    assert ours["p"] == pytest.approx(stats.fisher_exact(counts)[1] if exact else theirs.pvalue, rel=NEAR)


@pytest.mark.parametrize("seed", SEEDS)
def test_trends(seed: int) -> None:
    chance = np.random.default_rng(seed)
    x = np.arange(50, dtype=float)
    y = np.round(0.05 * x * (seed % 3 - 1) + chance.normal(size=50), 1)
    ours, theirs = trends.line(x, y), stats.linregress(x, y)
    assert (ours["slope"], ours["intercept"], ours["r_squared"]) == pytest.approx(
        (theirs.slope, theirs.intercept, theirs.rvalue**2), rel=1e-8
    )
    assert ours["slope_p"] == pytest.approx(theirs.pvalue, rel=1e-7)
    ranked = trends.mann_kendall(x, y)
    assert ranked["kendall_tau"] == pytest.approx(stats.kendalltau(x, y).statistic, rel=1e-8)
    assert ranked["sen_slope"] == pytest.approx(stats.theilslopes(y, x).slope, rel=1e-8)
    assert ranked["kendall_p"] == pytest.approx(
        stats.kendalltau(x, y, method="asymptotic").pvalue, abs=0.02
    )  # theirs without continuity


def test_holm() -> None:
    rows = [{"p": p} for p in (0.01, 0.04, 0.03, 0.005)]
    relating.holm(rows, "p")
    assert [row["p_adjusted"] for row in rows] == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("groups", "test"),
    [
        ({"a": (0, 1, 60), "b": (1, 1, 60)}, "Welch's t"),
        ({"a": (0, 1, 60), "b": (1, 1, 60), "c": (0, 1, 60)}, "one-way ANOVA"),
        ({"a": (0, 1, 60), "b": (3, 4, 60), "c": (0, 1, 60)}, "Welch's ANOVA"),
    ],
)
def test_means_are_compared_where_they_may_be(
    groups: dict[str, tuple[float, float, int]], test: str, tmp_path: Path
) -> None:
    chance = np.random.default_rng(3)
    lines = [
        f"{name},{value:.3f}" for name, (mean, spread, n) in groups.items() for value in chance.normal(mean, spread, n)
    ]
    [row] = analysed(tmp_path, content="g,v\n" + "\n".join(lines) + "\n", analysis_type="comparison")["comparisons"][
        "rows"
    ]
    assert row["test"] == test
    assert row["p_adjusted"] < 0.001
    assert row["direction"].startswith("b is h")


@pytest.mark.parametrize(("names", "test"), [("ab", "Mann-Whitney U"), ("abc", "Kruskal-Wallis")])
def test_ranks_are_compared_where_means_may_not(names: str, test: str, tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    lines = [
        f"{name},{value * (1 + 3 * (name == 'b')):.3f}" for name in names for value in chance.lognormal(0, 1.5, 40)
    ]
    [row] = analysed(tmp_path, content="g,v\n" + "\n".join(lines) + "\n", analysis_type="comparison")["comparisons"][
        "rows"
    ]
    assert row["test"] == test
    assert "too skewed" in row["why"]
    assert row["direction"].startswith("b is h")


# -- traps and shapes -------------------------------------------------------------------------------------------------


def codes(result: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in result["warnings"]}


def test_one_row_that_makes_a_correlation_is_named(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    lines = [f"{a:.3f},{b:.3f}" for a, b in chance.normal(size=(40, 2))] + ["30,30"]
    assert "one_row" in codes(analysed(tmp_path, content="a,b\n" + "\n".join(lines) + "\n"))


def test_a_curve_is_no_line(tmp_path: Path) -> None:
    lines = [f"{n},{(n - 25) ** 2 + n % 3}" for n in range(50)]
    result = analysed(tmp_path, content="a,b\n" + "\n".join(lines) + "\n")
    assert "curved" in codes(result)
    assert (
        codes(analysed(tmp_path, content="a,b\n" + "".join(f"{n * 1.5},{n * 3 + n % 5}\n" for n in range(50)))) == set()
    )


def test_small_constant_repeated_empty_and_running_columns_are_said(tmp_path: Path) -> None:
    content = (
        "id,same,gap,name\n"
        + "".join(f"{n},7,,{'Berlin' if n % 2 else 'berlin '}\n" for n in range(1, 13))
        + "12,7,,berlin\n"
    )
    result = analysed(tmp_path, content=content)
    assert codes(result) == {"few_rows", "duplicates", "constant", "empty", "alike"}
    assert result["table"]["duplicate_rows"] == 1
    assert "identifier" in codes(analysed(tmp_path, content="id,v\n" + "".join(f"{n},{n % 4}\n" for n in range(1, 50))))


def test_values_that_differ_by_case_only() -> None:
    assert alike(["USA", "usa", "U.S.A.", "Cuba"]) == [["USA", "usa", "U.S.A."]]


def test_no_season_is_invented(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    days = [f"2024-{m:02d}-{d:02d},{value:.2f}" for (m, d), value in
            zip(((m, d) for m in range(1, 7) for d in range(1, 29)), chance.normal(size=168), strict=True)]  # fmt: skip
    result = analysed(tmp_path, content="day,v\n" + "\n".join(days) + "\n", analysis_type="trend")
    [row] = result["trends"]["rows"]
    assert not (row["season"] or {}).get("found")
    assert row["p_adjusted"] > 0.01


def test_a_week_is_seen_in_days(tmp_path: Path) -> None:
    from datetime import date, timedelta

    lines = [f"{date(2024, 1, 1) + timedelta(n)},{10 + 5 * (n % 7 > 4) + (n * 7919 % 13) / 13:.2f}" for n in range(120)]
    [row] = analysed(tmp_path, content="day,v\n" + "\n".join(lines) + "\n")["trends"]["rows"]
    assert (row["season"]["found"], row["season"]["cycle"], row["season"]["step"]) == (True, "week", "day")


def test_three_years_of_months_are_enough_for_a_season(tmp_path: Path) -> None:
    from scripts.scene_table import ledger

    result = analysed(tmp_path, content=ledger())
    found = {row["value"]: row["seasonal"] for row in result["trends"]["rows"]}
    assert found == {"boats": True, "fee paid": True, "hours of fog": True}
    assert "repeats with the year" in result["summary"]


@pytest.mark.parametrize("seed", range(8))
def test_three_years_of_chance_hold_no_season(tmp_path: Path, seed: int) -> None:
    chance = np.random.default_rng(seed)
    lines = [f"{2020 + n // 12}-{n % 12 + 1:02d},{value:.3f}" for n, value in enumerate(chance.normal(size=36))]
    [row] = analysed(tmp_path, content="month,v\n" + "\n".join(lines) + "\n")["trends"]["rows"]
    assert not row["seasonal"]


def test_rows_stand_for_time_only_when_a_trend_was_asked_for(tmp_path: Path) -> None:
    content = "v\n" + "".join(f"{n + n % 3}\n" for n in range(40))
    assert analysed(tmp_path, content=content)["trends"]["rows"] == []
    result = analysed(tmp_path, content=content, analysis_type="trend")
    assert result["trends"]["rows"][0]["axis"] == "row"
    assert any("order of the rows" in note for note in result["notes"])


@pytest.mark.parametrize(
    "values", [[1.0, 1.0], [0.0, 1e-300], [1e300, -1e300], [1.0, 2.0, 3.0], [1e15, 1e15 + 1], list(range(1000))]
)
def test_every_value_is_in_a_bar(values: list[float]) -> None:
    array = np.array(values, float)
    low, high = float(array.min()), float(array.max())
    iqr = float(np.subtract(*np.percentile(array, [75, 25])))
    found = histogram(array, low, high, iqr, bool(np.all(array == np.floor(array))))
    assert sum(found["counts"]) == len(values)
    assert len(found["counts"]) <= 60


def test_a_wide_table_stays_within_what_a_row_holds(tmp_path: Path) -> None:
    """200 columns of every kind: the result stays under 3 MB."""
    import json

    chance = np.random.default_rng(4)
    kinds = [
        lambda n: f"{chance.normal():.4f}",
        lambda n: "abcdefgh"[chance.integers(8)] * 3,
        lambda n: str(chance.integers(2)),
        lambda n: f"name {n}",
    ]
    head = ",".join(f"column number {n}" for n in range(200))
    rows = "\n".join(",".join(kinds[n % 4](row) for n in range(200)) for row in range(120))
    result = analysed(tmp_path, content=f"{head}\n{rows}\n")
    assert len(json.dumps(result)) < 3_000_000
    assert any(note.startswith("Only the first 30 of") for note in result["notes"])
    assert any("comparisons" in note for note in result["notes"])

"""Do groups of rows differ? Runs in the child.

Which test is chosen, and why, is said with each result:
- Means may be compared where every group is near normal (Shapiro-Wilk p >= 0.05) or large enough for its mean to be
  (30 rows or more, skewness within 1; 5,000 or more, skewness within 2). Else ranks are compared.
- Two groups: Welch's t, which needs no equal variances; else Mann-Whitney U.
- More: one-way ANOVA if variances are equal (Brown-Forsythe p >= 0.05), Welch's ANOVA if not; else Kruskal-Wallis.
p is given as it is and after Holm's correction for all comparisons made; after a difference of three or more groups the
pairs are compared, corrected again among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from webapp.analysis.relating import holm, ranks
from webapp.analysis.rows import bad
from webapp.analysis.table import Column, Table

Figures = dict[str, Any]
Groups = list[tuple[str, Any]]  # name, values
COMPARISONS = 40
SMALLEST = 3  # rows of a group
SHAPIRO_MOST = 5000
POST_HOC_GROUPS = 6


def compare(table: Table, most: int, target: str | None, group: str | None) -> Figures:
    """`rows`: a comparison each, the clearest first; `notes`. most: groups of a column.

    Raises Invalid when the columns asked for cannot be compared.
    """
    from webapp.core import sandbox

    targets = [_target(table, target)] if target else [one for one in table.of_kind("number") if _spread(one)]
    groupings = [_asked_groups(table, group, most)] if group else list(_groupings(table, most))
    wanted = [(value, by) for by in groupings for value in targets if value.name != by.name]
    notes = []
    if len(wanted) > COMPARISONS:
        notes.append(
            f"Only the first {COMPARISONS} of {len(wanted)} possible comparisons were made; name a column of groups for others."
        )
    rows = []
    for number, (value, by) in enumerate(wanted[:COMPARISONS]):
        sandbox.progress(round(95 * number / min(COMPARISONS, len(wanted))), f"Comparing {value.name} by {by.name}")
        if (found := comparison(value, by)) is not None:
            rows.append(found)
    holm(rows, "p")
    rows.sort(key=lambda row: (-abs(row["effect"]["size"] or 0), row["p"] if row["p"] is not None else 2))
    return {"rows": rows, "notes": notes}


def _target(table: Table, name: str) -> Column:
    column = table.named(name)
    if column.kind != "number":
        raise bad(
            f"“{name}” holds no numbers, so groups cannot be compared by it", "Choose a column of numbers as target."
        )
    return column


def _spread(column: Column) -> bool:
    """Varies, and is more than a mark of two groups or a place in time."""
    values = column.values[column.present()]
    return not column.is_year and len(values) >= 2 * SMALLEST and len(np.unique(values[:10_000])) > 2


def _asked_groups(table: Table, name: str, most: int) -> Column:
    column = as_groups(table.named(name))
    if column is None or not 2 <= _used(column) <= most:
        how = "no" if column is None else f"{_used(column):,}"
        raise bad(
            f"“{name}” has {how} groups; from 2 to {most} can be compared",
            "Choose another column, or raise max_categories.",
        )
    return column


def _groupings(table: Table, most: int) -> Iterator[Column]:
    """Categories and yes-or-no columns with few values, and numbers that have two."""
    for column in table.columns:
        if column.kind in ("category", "boolean"):
            found: Column | None = column
        elif column.kind == "number" and len(np.unique(column.values[column.present()])) == 2:
            found = as_groups(column)
        else:
            found = None
        if found is not None and 2 <= _used(found) <= most:
            yield found


def as_groups(column: Column) -> Column | None:
    """The column with a code for each row; numbers become their different values."""
    if column.kind in ("category", "boolean"):
        return column
    if column.kind != "number":
        return None
    present = column.present()
    different, codes = np.unique(column.values[present], return_inverse=True)
    if len(different) > 1000:
        return None
    values = np.full(len(column.values), -1, np.int32)
    values[present] = codes
    return Column(column.name, "category", values, [f"{one:g}" for one in different])


def _used(column: Column) -> int:
    return len(np.unique(column.values[column.values >= 0]))


# --- one comparison ---------------------------------------------------------------------------------------------


def comparison(value: Column, by: Column) -> Figures | None:
    """None where fewer than two groups have enough rows."""
    groups, small = split(value, by)
    if len(groups) < 2:
        return None
    shown = [group_figures(name, values) for name, values in groups]
    found: Figures = {"value": value.name, "group": by.name, "groups": shown, "n": sum(len(v) for _, v in groups),
                      "left_out": small}  # fmt: skip
    if all(one["std"] == 0 for one in shown):
        return None
    means, why = may_compare_means(groups)
    return found | (_two(groups, means, why) if len(groups) == 2 else _many(groups, means, why))


def split(value: Column, by: Column) -> tuple[Groups, list[str]]:
    """Values of each group, largest codes last; names of groups with fewer than SMALLEST rows."""
    both = value.present() & (by.values >= 0)
    values, codes = value.values[both], by.values[both]
    groups: Groups = []
    small = []
    for code in np.unique(codes):
        own = values[codes == code]
        name = by.labels[int(code)][:60]
        if len(own) < SMALLEST:
            small.append(name)
        else:
            groups.append((name, own))
    return groups, small


def group_figures(name: str, values: Any) -> Figures:
    low, q1, median, q3, high = (float(one) for one in np.percentile(values, [0, 25, 50, 75, 100]))
    inside = values[(values >= q1 - 1.5 * (q3 - q1)) & (values <= q3 + 1.5 * (q3 - q1))]
    return {"name": name, "n": len(values), "mean": float(values.mean()), "std": float(values.std(ddof=1)), "min": low,
            "25%": q1, "50%": median, "75%": q3, "max": high, "outliers": len(values) - len(inside),
            "whiskers": [float(min(inside.min(), q1)), float(max(inside.max(), q3))]}  # fmt: skip


def may_compare_means(groups: Groups) -> tuple[bool, str]:
    reasons = [_near_normal(values) for _, values in groups]
    bad_ones = [name for (name, _), (fits, _) in zip(groups, reasons, strict=True) if not fits]
    if not bad_ones:
        return True, "every group is near normal or large and not very skewed"
    return (
        False,
        f"{', '.join(bad_ones[:3])}{' and others' if len(bad_ones) > 3 else ''}: too skewed or too few rows for means",
    )


def _near_normal(values: Any) -> tuple[bool, float | None]:
    """Whether a mean of these is well described by a t distribution, and p of Shapiro-Wilk where it was asked."""
    n = len(values)
    if np.all(values == values[0]):
        return n >= 30, None
    skew = abs(float(np.mean((values - values.mean()) ** 3) / np.mean((values - values.mean()) ** 2) ** 1.5))
    if (n >= 30 and skew <= 1) or (n >= SHAPIRO_MOST and skew <= 2):
        return True, None
    if n > SHAPIRO_MOST:
        return False, None
    from scipy.stats import shapiro

    p = float(shapiro(values).pvalue)
    return p >= 0.05, p


# --- two groups -------------------------------------------------------------------------------------------------


def _two(groups: Groups, means: bool, why: str) -> Figures:
    (first, x), (second, y) = groups
    if means:
        return welch_t(x, y) | {
            "why": why,
            "pairs": [],
            "direction": _direction(first, second, float(x.mean() - y.mean())),
        }
    found = mann_whitney(x, y)
    return found | {"why": why, "pairs": [], "direction": _direction(first, second, found["effect"]["size"] or 0.0)}


def _direction(first: str, second: str, sign: float) -> str:
    return "" if not sign else f"{first if sign > 0 else second} is higher than {second if sign > 0 else first}"


def welch_t(x: Any, y: Any) -> Figures:
    """Welch's t with the 95 % interval of the difference; effect: Hedges' g (Cohen's d beside it)."""
    from scipy.special import stdtr, stdtrit

    n, m = len(x), len(y)
    vx, vy = float(x.var(ddof=1)) / n, float(y.var(ddof=1)) / m
    difference = float(x.mean() - y.mean())
    error = math.sqrt(vx + vy)
    if not error:
        return {"test": "Welch's t", "statistic": None, "df": None, "p": None, "difference": difference,
                "interval": None, "effect": {"name": "Hedges' g", "size": None, "words": "", "cohens_d": None}}  # fmt: skip
    t = difference / error
    df = (vx + vy) ** 2 / (vx**2 / (n - 1) + vy**2 / (m - 1))
    half = float(stdtrit(df, 0.975)) * error
    pooled = math.sqrt(((n - 1) * vx * n + (m - 1) * vy * m) / (n + m - 2))
    d = difference / pooled if pooled else None
    g = d * (1 - 3 / (4 * (n + m) - 9)) if d is not None else None
    return {"test": "Welch's t", "statistic": t, "df": df, "p": float(2 * stdtr(df, -abs(t))), "difference": difference,
            "interval": [difference - half, difference + half],
            "effect": {"name": "Hedges' g", "size": g, "words": size_words(g, 0.2, 0.5, 0.8), "cohens_d": d}}  # fmt: skip


def mann_whitney(x: Any, y: Any) -> Figures:
    """U of the first group, p by the normal approximation with ties and continuity (exact for tiny groups without ties);
    effect: rank-biserial correlation, from -1 to 1."""
    from scipy.stats import mannwhitneyu

    n, m = len(x), len(y)
    found = mannwhitneyu(x, y, alternative="two-sided", method="auto")
    u = float(found.statistic)
    size = 2 * u / (n * m) - 1
    return {"test": "Mann-Whitney U", "statistic": u, "df": None, "p": float(found.pvalue),
            "difference": float(np.median(x) - np.median(y)), "interval": None,
            "effect": {"name": "rank-biserial correlation", "size": size, "words": size_words(size, 0.1, 0.3, 0.5)}}  # fmt: skip


def size_words(size: float | None, small: float, medium: float, large: float) -> str:
    """Cohen's conventions; they are conventions."""
    if size is None:
        return ""
    away = abs(size)
    return "negligible" if away < small else "small" if away < medium else "medium" if away < large else "large"


# --- more groups ------------------------------------------------------------------------------------------------


def _many(groups: Groups, means: bool, why: str) -> Figures:
    if not means:
        found = kruskal(groups)
    elif brown_forsythe(groups) >= 0.05:
        found, why = anova(groups), why + "; variances are equal (Brown-Forsythe)"
    else:
        found, why = welch_anova(groups), why + "; variances differ (Brown-Forsythe)"
    pairs = (
        _pairs(groups, means) if found["p"] is not None and found["p"] < 0.05 and len(groups) <= POST_HOC_GROUPS else []
    )
    heights = [float(values.mean()) for _, values in groups] if means else mean_ranks(groups)
    order = np.argsort(heights, kind="stable")
    direction = f"{groups[order[-1]][0]} is highest, {groups[order[0]][0]} lowest"
    return found | {"why": why, "pairs": pairs, "direction": direction, "difference": None, "interval": None}


def _pairs(groups: Groups, means: bool) -> list[Figures]:
    rows = []
    for (first, x), (second, y) in combinations(groups, 2):
        found = welch_t(x, y) if means else mann_whitney(x, y)
        rows.append(
            {"a": first, "b": second, **{key: found[key] for key in ("test", "statistic", "p", "difference", "effect")}}
        )
    holm(rows, "p")
    return rows


def _between_within(groups: Groups) -> tuple[float, float, int, int]:
    everything = np.concatenate([values for _, values in groups])
    mean = float(everything.mean())
    between = sum(len(values) * (float(values.mean()) - mean) ** 2 for _, values in groups)
    within = sum(float(((values - values.mean()) ** 2).sum()) for _, values in groups)
    return between, within, len(groups), len(everything)


def _eta(between: float, within: float) -> Figures:
    eta = between / (between + within) if between + within else None
    return {"name": "eta squared", "size": eta, "words": size_words(eta, 0.01, 0.06, 0.14)}


def anova(groups: Groups) -> Figures:
    from scipy.special import fdtrc

    between, within, k, n = _between_within(groups)
    if not within:
        return {
            "test": "one-way ANOVA",
            "statistic": None,
            "df": [k - 1, n - k],
            "p": None,
            "effect": _eta(between, within),
        }
    f = (between / (k - 1)) / (within / (n - k))
    return {"test": "one-way ANOVA", "statistic": f, "df": [k - 1, n - k], "p": float(fdtrc(k - 1, n - k, f)),
            "effect": _eta(between, within)}  # fmt: skip


def welch_anova(groups: Groups) -> Figures:
    from scipy.special import fdtrc

    between, within, k, _ = _between_within(groups)
    if any(values.var(ddof=1) == 0 for _, values in groups):  # a group without spread would weigh infinitely
        return anova(groups)
    weights = np.array([len(values) / values.var(ddof=1) for _, values in groups])
    sizes = np.array([len(values) for _, values in groups])
    centres = np.array([values.mean() for _, values in groups])
    whole = weights.sum()
    mean = float((weights * centres).sum() / whole)
    spread = float(((1 - weights / whole) ** 2 / (sizes - 1)).sum())
    f = float((weights * (centres - mean) ** 2).sum()) / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * spread)
    df = (k**2 - 1) / (3 * spread)
    return {"test": "Welch's ANOVA", "statistic": f, "df": [k - 1, df], "p": float(fdtrc(k - 1, df, f)),
            "effect": _eta(between, within)}  # fmt: skip


def brown_forsythe(groups: Groups) -> float:
    """p of equal variances, by an ANOVA of the distances from the median."""
    p = anova([(name, np.abs(values - np.median(values))) for name, values in groups])["p"]
    return 0.0 if p is None else float(p)


def mean_ranks(groups: Groups) -> list[float]:
    """The mean of each group's ranks among all: what a rank test compares."""
    ranked, at, found = ranks(np.concatenate([values for _, values in groups])), 0, []
    for _, values in groups:
        found.append(float(ranked[at : at + len(values)].mean()))
        at += len(values)
    return found


def kruskal(groups: Groups) -> Figures:
    """H corrected for ties; effect: epsilon squared, H / (n - 1)."""
    from scipy.special import chdtrc

    everything = np.concatenate([values for _, values in groups])
    n = len(everything)
    summed = sum(len(values) * rank**2 for (_, values), rank in zip(groups, mean_ranks(groups), strict=True))
    _, ties = np.unique(everything, return_counts=True)
    correction = 1 - float((ties.astype(float) ** 3 - ties).sum()) / (float(n) ** 3 - n)
    df = len(groups) - 1
    if not correction:
        return {"test": "Kruskal-Wallis", "statistic": None, "df": df, "p": None,
                "effect": {"name": "epsilon squared", "size": None, "words": ""}}  # fmt: skip
    h = (12 / (n * (n + 1)) * summed - 3 * (n + 1)) / correction
    size = h / (n - 1)
    return {"test": "Kruskal-Wallis", "statistic": h, "df": df, "p": float(chdtrc(df, h)),
            "effect": {"name": "epsilon squared", "size": size, "words": size_words(size, 0.01, 0.06, 0.14)}}  # fmt: skip

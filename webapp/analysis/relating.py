"""What goes together: correlations of numbers, associations of categories. Runs in the child.

Pearson's r and Spearman's rho with their p over the rows that have both values, p also after Holm's correction for
all pairs; Cramér's V with chi-square, Fisher's exact test for a small two-by-two table.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from webapp.analysis.table import Column, Table

Figures = dict[str, Any]
NUMBERS, CATEGORIES, LEVELS = 30, 10, 20  # columns that are paired; values of a category
RANKED = 100_000  # rows beyond which Spearman is taken over every k-th row
POINTS = 400  # of a scatter chart


def relate(table: Table, most: int) -> Figures:
    """`correlations`: columns, pearson, spearman (matrices), pairs, notes. `associations`: rows and notes."""
    from webapp.core import sandbox

    numbers = [one for one in table.of_kind("number") if _varies(one)]
    sandbox.progress(5, "Correlations")
    correlations = correlate(numbers, table.of_kind("number"))
    sandbox.progress(70, "Associations")
    kinds = [one for one in table.of_kind("category", "boolean") if 2 <= len(_levels(one)) <= LEVELS]
    return {"correlations": correlations, "associations": associate(kinds)}


def _varies(column: Column) -> bool:
    values = column.values[column.present()]
    return len(values) > 2 and bool(np.any(values != values[0]))


# --- numbers ----------------------------------------------------------------------------------------------------


def correlate(columns: list[Column], all_of_them: list[Column]) -> Figures:
    notes = []
    if len(columns) < len(all_of_them):
        left = [one.name for one in all_of_them if one not in columns]
        notes.append(f"Without variation and so without correlation: {', '.join(left[:10])}.")
    if len(columns) > NUMBERS:
        notes.append(f"Only the first {NUMBERS} of {len(columns)} number columns were paired.")
        columns = columns[:NUMBERS]
    names = [one.name for one in columns]
    pearson: list[list[float | None]] = [[1.0 if a == b else None for b in names] for a in names]
    spearman = [list(row) for row in pearson]
    step = math.ceil(len(columns[0].values) / RANKED) if columns else 1
    if step > 1 and len(columns) > 1:
        notes.append(f"Spearman's rho was computed over every {_nth(step)} row; Pearson's r over all.")
    ranked = _whole_ranks(columns, step)
    pairs = []
    for (i, a), (j, b) in combinations(enumerate(columns), 2):
        pair = _pair(a, b, step, ranked)
        pairs.append(pair)
        pearson[i][j] = pearson[j][i] = pair["pearson"]
        spearman[i][j] = spearman[j][i] = pair["spearman"]
    holm(pairs)
    pairs.sort(key=lambda pair: -abs(pair["pearson"] or 0))
    return {"columns": names, "pearson": pearson, "spearman": spearman, "pairs": pairs, "notes": notes}


def _whole_ranks(columns: list[Column], step: int) -> dict[str, Any]:
    """Ranks of the columns without gaps, made once; a pair with gaps must be ranked over the rows it shares."""
    return {one.name: ranks(one.values[::step]) for one in columns if bool(one.present().all())}


def _pair(a: Column, b: Column, step: int, ranked: dict[str, Any]) -> Figures:
    both = a.present() & b.present()
    x, y = a.values[both], b.values[both]
    found: Figures = {"a": a.name, "b": b.name, "n": len(x), "pearson": None, "pearson_p": None, "interval": None,
                      "spearman": None, "spearman_p": None}  # fmt: skip
    r = correlation(x, y)
    if r is None:
        return found
    if a.name in ranked and b.name in ranked:
        rho, used = correlation(ranked[a.name], ranked[b.name]), len(ranked[a.name])
    else:
        few = both[::step]
        rho, used = correlation(ranks(a.values[::step][few]), ranks(b.values[::step][few])), int(few.sum())
    return found | {"pearson": r, "pearson_p": p_of_r(r, len(x)), "interval": interval_of_r(r, len(x)),
                    "spearman": rho, "spearman_p": None if rho is None else p_of_r(rho, used)}  # fmt: skip


def correlation(x: Any, y: Any) -> float | None:
    if len(x) < 3:
        return None
    dx, dy = x - x.mean(), y - y.mean()
    below = math.sqrt(float(dx @ dx)) * math.sqrt(float(dy @ dy))
    if not below or not math.isfinite(below) or np.all(x == x[0]) or np.all(y == y[0]):
        return None
    return max(-1.0, min(1.0, float(dx @ dy) / below))


def ranks(values: Any) -> Any:
    """Ranks from 1; equal values share their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def p_of_r(r: float, n: int) -> float | None:
    """Two-sided, by Student's t with n - 2 degrees of freedom."""
    from scipy.special import stdtr

    if n < 3:
        return None
    if abs(r) >= 1:
        return 0.0
    return float(2 * stdtr(n - 2, -abs(r) * math.sqrt((n - 2) / (1 - r * r))))


def interval_of_r(r: float, n: int) -> list[float] | None:
    """95 %, after Fisher."""
    if n < 4 or abs(r) >= 1:
        return None
    half = 1.959963984540054 / math.sqrt(n - 3)
    return [math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)]


def holm(rows: list[Figures], p: str = "pearson_p", adjusted: str = "p_adjusted") -> None:
    """Adds what p is after Holm's correction for all rows that have one."""
    known = sorted((row for row in rows if row.get(p) is not None), key=lambda row: row[p])
    highest = 0.0
    for place, row in enumerate(known):
        highest = max(highest, min(1.0, row[p] * (len(known) - place)))
        row[adjusted] = highest
    for row in rows:
        row.setdefault(adjusted, None)


def _nth(number: int) -> str:
    return f"{number}{'th' if 4 <= number % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def points(x: Any, y: Any) -> list[list[float]]:
    """Up to POINTS of the pairs, evenly over the rows."""
    step = max(1, math.ceil(len(x) / POINTS))
    return [[float(a), float(b)] for a, b in zip(x[::step], y[::step], strict=True)]


# --- categories -------------------------------------------------------------------------------------------------


def _levels(column: Column) -> list[int]:
    present = column.values[column.values >= 0]
    counts = np.bincount(present, minlength=len(column.labels))
    return [int(one) for one in np.flatnonzero(counts)]


def associate(columns: list[Column]) -> Figures:
    notes = []
    if len(columns) > CATEGORIES:
        notes.append(f"Only the first {CATEGORIES} of {len(columns)} category columns were paired.")
        columns = columns[:CATEGORIES]
    rows = [found for a, b in combinations(columns, 2) if (found := association(a, b)) is not None]
    holm(rows, "p")
    rows.sort(key=lambda row: -(row["cramers_v"] or 0))
    return {"rows": rows, "notes": notes}


def association(a: Column, b: Column) -> Figures | None:
    both = (a.values >= 0) & (b.values >= 0)
    wide = len(b.labels)
    counts = np.bincount(a.values[both].astype(np.int64) * wide + b.values[both], minlength=len(a.labels) * wide)
    table = counts.reshape(len(a.labels), wide)
    rows, columns = np.flatnonzero(table.sum(1)), np.flatnonzero(table.sum(0))
    table = table[np.ix_(rows, columns)]
    if min(table.shape) < 2:
        return None
    labels = [[a.labels[at][:60] for at in rows], [b.labels[at][:60] for at in columns]]
    return {"a": a.name, "b": b.name} | contingency(table) | {"table": {"rows": labels[0], "columns": labels[1],
                                                                       "counts": table.tolist()}}  # fmt: skip


def contingency(table: Any) -> Figures:
    """Chi-square without continuity correction and Cramér's V; p by Fisher's exact test where a 2 x 2 table is small."""
    from scipy.special import chdtrc

    n = int(table.sum())
    expected = np.outer(table.sum(1), table.sum(0)) / n
    chi2 = float(((table - expected) ** 2 / expected).sum())
    df = (table.shape[0] - 1) * (table.shape[1] - 1)
    small = float((expected < 5).mean())
    found: Figures = {"n": n, "test": "chi-square", "chi2": chi2, "df": df, "p": float(chdtrc(df, chi2)),
                      "cramers_v": math.sqrt(chi2 / (n * (min(table.shape) - 1))), "odds_ratio": None, "caution": ""}  # fmt: skip
    if table.shape == (2, 2):
        (a, b), (c, d) = table.tolist()
        found["odds_ratio"] = a * d / (b * c) if b * c else None
        if small:
            from scipy.stats import fisher_exact

            return found | {"test": "Fisher's exact", "p": float(fisher_exact(table)[1])}
    if small > 0.2:
        found["caution"] = "more than a fifth of the cells are expected to hold under 5 rows: p is rough"
    return found

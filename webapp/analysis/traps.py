"""Where figures mislead: what a person should look at before believing them. The first half runs in the child."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from webapp.analysis.comparing import as_groups
from webapp.analysis.relating import correlation, ranks
from webapp.analysis.table import Column, Table
from webapp.analysis.wording import several, two

Figures = dict[str, Any]
LOOKED_AT = 60  # pairs of columns
ROWS = 200_000  # beyond which every k-th row is looked at
CURVED = 0.1  # of the variation that a curve explains beyond a line
LEANING = 0.2  # by which r changes without one row
REVERSED = 0.15  # how strong r must be on both sides to speak of a reversal


def look(table: Table, most: int) -> list[Figures]:
    """Traps in pairs of columns: {code, text, columns}."""
    step = max(1, table.rows // ROWS)
    numbers = [one for one in table.of_kind("number") if len(np.unique(one.values[::step][one.present()[::step]])) > 2]
    groupings = [by for one in table.columns if (by := _grouping(one, most)) is not None]
    found: list[Figures] = []
    for a, b in list(combinations(numbers, 2))[:LOOKED_AT]:
        x, y = a.values[::step], b.values[::step]
        both = ~(np.isnan(x) | np.isnan(y))
        found += _pair(a.name, b.name, x[both], y[both])
        for by in groupings:
            if by.name not in (a.name, b.name):
                found += _grouped(a.name, b.name, by, x[both], y[both], by.values[::step][both])
    return found


def _grouping(column: Column, most: int) -> Column | None:
    if column.kind not in ("category", "boolean"):
        return None
    found = as_groups(column)
    return found if found is not None and 2 <= len(np.unique(found.values[found.values >= 0])) <= most else None


def _pair(a: str, b: str, x: Any, y: Any) -> list[Figures]:
    r = correlation(x, y)
    if r is None or len(x) < 6:
        return []
    found = []
    at, without = _without_strongest(x, y)
    if without is not None and abs(r - without) > LEANING:
        found.append({"code": "one_row", "columns": [a, b],
                      "text": f"The correlation of {a} and {b} rests on a single row: {two(r)} with it, {two(without)} without."})  # fmt: skip
    gain = _curve_gain(x, y, r)
    if gain > CURVED:
        found.append({"code": "curved", "columns": [a, b],
                      "text": f"{a} and {b} follow a curve more than a line: a curve explains {100 * gain:.0f} % more of the variation."})  # fmt: skip
    rho = correlation(ranks(x), ranks(y))
    if rho is not None and abs(rho) - abs(r) > 0.2:
        found.append({"code": "rank_differs", "columns": [a, b],
                      "text": f"{a} and {b} go together by rank ({two(rho)}) far more than on a line ({two(r)}): a curve or outliers."})  # fmt: skip
    return found


def _without_strongest(x: Any, y: Any) -> tuple[int, float | None]:
    """r without the row that pulls most: by distance from the middle in x times that of its rest."""
    sx, sy = x.std(), y.std()
    if not sx or not sy:
        return -1, None
    zx, zy = (x - x.mean()) / sx, (y - y.mean()) / sy
    r = float(np.mean(zx * zy))
    at = int(np.argmax(np.abs(zx * zy) + np.abs(zx) * np.abs(zy - r * zx)))
    kept = np.arange(len(x)) != at
    left = correlation(x[kept], y[kept])
    return at, 0.0 if left is None else left


def _curve_gain(x: Any, y: Any, r: float) -> float:
    """How much more of y a parabola explains than a line, where that is more than chance."""
    z = (x - x.mean()) / x.std()
    if len(np.unique(z[:1000])) < 4:
        return 0.0
    design = np.vander(z, 3)
    left, *_ = np.linalg.lstsq(design, y, rcond=None)
    rest = y - design @ left
    whole = float(((y - y.mean()) ** 2).sum())
    if not whole:
        return 0.0
    explained = 1 - float((rest**2).sum()) / whole
    free = len(x) - 3
    chance = (
        8 * (1 - explained) / free if free > 0 else 1.0
    )  # an F of 8 with one degree of freedom: p below 0.01 from ten rows on
    gain = explained - r * r
    return gain if gain > chance else 0.0


def _grouped(a: str, b: str, by: Column, x: Any, y: Any, codes: Any) -> list[Figures]:
    parts = [(x[codes == code], y[codes == code]) for code in np.unique(codes[codes >= 0])]
    parts = [(p, q) for p, q in parts if len(p) >= 5]
    inside = [correlation(p, q) for p, q in parts]
    known = [one for one in inside if one is not None]
    if len(parts) < 2 or len(known) < len(parts):
        return []
    whole = correlation(x, y)
    found = []
    if whole is not None and abs(whole) > REVERSED and all(one * whole < 0 and abs(one) > REVERSED for one in known):
        side = "rises" if whole > 0 else "falls"
        found.append({"code": "reversed", "columns": [a, b, by.name],
                      "text": f"Over all rows {b} {side} with {a} ({two(whole)}), but within every group of {by.name} it is the other way"
                              f" round ({two(min(known))} to {two(max(known))})."})  # fmt: skip
    if _same_figures(parts, known):
        found.append({"code": "same_figures", "columns": [a, b, by.name],
                      "text": f"The groups of {by.name} have nearly the same means, spreads and correlation of {a} and {b}. That alone says"
                              " little: look at the scatter charts, they may be nothing alike."})  # fmt: skip
    return found


def _same_figures(parts: list[tuple[Any, Any]], inside: list[float]) -> bool:
    """Anscombe's trap: figures that agree to two hundredths in every group, with a correlation worth speaking of."""
    if len(parts) < 3 or max(inside) - min(inside) > 0.02 or abs(inside[0]) < 0.3:
        return False
    for axis in (0, 1):
        means = np.array([part[axis].mean() for part in parts])
        spreads = np.array([part[axis].std() for part in parts])
        if np.ptp(means) > 0.02 * spreads.mean() or np.ptp(spreads) > 0.02 * spreads.mean():
            return False
    return True


# --- from the figures alone -------------------------------------------------------------------------------------


def from_figures(described: Figures) -> list[Figures]:
    """Traps that the description shows: few rows, columns that say nothing, repeated rows, gaps, odd cells."""
    table, found = described["table"], []
    rows = table["rows"]
    if rows < 30:
        found.append(_warn("few_rows", [], f"There are only {rows} rows: every figure here is uncertain."))
    if table["duplicate_rows"]:
        share = 100 * table["duplicate_rows"] / rows
        found.append(
            _warn(
                "duplicates",
                [],
                f"{several(table['duplicate_rows'], 'row repeats', 'rows repeat')} an earlier row in every column ({share:.1f} %).",
            )
        )
    for one in described["columns"]:
        found += _of_column(one, rows)
    return found


def _of_column(one: Figures, rows: int) -> list[Figures]:
    name, found = one["name"], []
    if one["type"] == "empty":
        return [_warn("empty", [name], f"{name} has no values.")]
    if one.get("constant") and rows > 1:
        found.append(_warn("constant", [name], f"{name} has the same value in every row that has one."))
    if one["missing_share"] >= 0.3:
        found.append(_warn("missing", [name], f"{name} is missing in {100 * one['missing_share']:.0f} % of the rows."))
    if one["unreadable"]:
        shown = ", ".join(f"“{text}”" for text in one["unreadable_examples"][:3])
        found.append(
            _warn(
                "unreadable",
                [name],
                f"{one['unreadable']:,} cells of {name} are no {one['type']} ({shown}); they count as missing.",
            )
        )
    if one.get("alike"):
        shown = " / ".join(one["alike"][0])
        found.append(_warn("alike", [name], f"{name} may write one thing in several ways: {shown}."))
    if one.get("identifier"):
        found.append(_warn("identifier", [name], f"{name} looks like a running number; its figures mean little."))
    if abs(one.get("skewness") or 0) > 2 and not one.get("identifier"):
        found.append(
            _warn(
                "skewed",
                [name],
                f"{name} is very uneven (skewness {one['skewness']:.1f}): its median says more than its mean.",
            )
        )
    found += [_warn("reading", [name], f"{name}: {note}.") for note in one["notes"]]
    return found


def _warn(code: str, columns: list[str], text: str) -> Figures:
    return {"code": code, "columns": columns, "text": text}

"""Does a number change over time, and does it repeat with the seasons? Runs in the child.

Rows are put in order of time and averaged where several share a moment. A trend is the slope of a straight line (least
squares, with its 95 % interval) beside Sen's slope and the Mann-Kendall test, which need no normal errors. A season is
looked for only in evenly spaced values over at least three full cycles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from webapp.analysis.describing import iso
from webapp.analysis.relating import correlation, holm, p_of_r, ranks
from webapp.analysis.rows import bad
from webapp.analysis.table import Column, Table

Figures = dict[str, Any]
SERIES = 12  # number columns that are followed
EXACT = 2000  # moments beyond which neighbours are averaged
SHOWN = 240  # points of the chart
DAY = 86400.0
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
# (name, seconds of a step, how far a step may be off, cycles that are looked for: name and steps)
STEPS = (
    ("hour", 3600.0, 0.02, (("day", 24), ("week", 168))),
    ("day", DAY, 0.1, (("week", 7), ("year", 365))),
    ("week", 7 * DAY, 0.1, (("year", 52),)),
    ("month", 30.4369 * DAY, 0.1, (("year", 12),)),
    ("quarter", 91.31 * DAY, 0.05, (("year", 4),)),
    ("year", 365.2425 * DAY, 0.01, ()),
)


@dataclass
class Axis:
    """When each row happened, in seconds or as the number of the row; NaN where it is not known."""

    name: str
    values: Any
    dated: bool = True


def follow(table: Table, target: str | None, wanted: bool) -> Figures:
    """`rows`: a trend for each number column, over the first column of time; `notes`.

    wanted: trends were asked for, so the order of the rows is taken for want of a date.
    """
    from webapp.core import sandbox

    axis = find_axis(table)
    notes = []
    if axis is None:
        if not wanted:
            return {"rows": [], "notes": []}
        axis = Axis("row", np.arange(table.rows, dtype=float), dated=False)
        notes.append("There is no column of dates, so the order of the rows stands for time.")
    columns = [table.named(target)] if target else table.of_kind("number")
    if target and columns[0].kind != "number":
        raise bad(f"“{target}” holds no numbers, so it has no trend", "Choose a column of numbers as target.")
    columns = [one for one in columns if one.name not in axis.name.split(" and ")]
    if len(columns) > SERIES:
        notes.append(f"Only the first {SERIES} of {len(columns)} number columns were followed.")
    rows = []
    for number, column in enumerate(columns[:SERIES]):
        sandbox.progress(round(95 * number / len(columns)), f"Following {column.name}")
        if (found := trend(axis, column)) is not None:
            rows.append(found)
    holm(rows, "kendall_p")
    return {"rows": rows, "notes": notes}


def find_axis(table: Table) -> Axis | None:
    """A column of dates, the fullest first; else a year beside a month; else a column of years, one row each."""
    dates = [one for one in table.of_kind("date") if int(one.present().sum()) >= 3]
    if dates:
        best = max(dates, key=lambda one: int(one.present().sum()))
        return Axis(best.name, np.where(best.present(), best.values.astype(float), np.nan))
    years = [one for one in table.columns if one.is_year and len(np.unique(one.values[one.present()])) >= 3]
    for year in years:
        for month in table.columns:
            if (numbers := _months(month)) is not None and month is not year:
                return Axis(f"{year.name} and {month.name}", _seconds(year.values, numbers))
    for year in years:
        known = year.values[year.present()]
        if len(np.unique(known)) == len(known):
            return Axis(year.name, _seconds(year.values, np.zeros(len(year.values))))
    return None


def _months(column: Column) -> Any | None:
    """0 to 11 for each row, NaN where there is none."""
    if column.kind == "category":
        numbers = [next((n for n, name in enumerate(MONTHS) if label.casefold().rstrip(".") in (name, name[:3])), None)
                   for label in column.labels]  # fmt: skip
        if None in numbers or len(set(numbers)) < 2:
            return None
        return np.append(np.array(numbers, float), np.nan)[column.values]
    if column.kind == "number" and column.name.casefold() in ("month", "monat", "mois", "mes"):
        known = column.values[column.present()]
        if len(known) and np.all(np.isin(known, np.arange(1, 13))):
            return column.values - 1
    return None


def _seconds(years: Any, months: Any) -> Any:
    known = ~(np.isnan(years) | np.isnan(months))
    found = np.full(len(years), np.nan)
    at = (years[known].astype(int) - 1970) * 12 + months[known].astype(int)
    found[known] = at.astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
    return found


# --- one series -------------------------------------------------------------------------------------------------


def trend(axis: Axis, column: Column) -> Figures | None:
    both = ~np.isnan(axis.values) & column.present()
    if int(both.sum()) < 4:
        return None
    times, values, shared = in_order(axis.values[both], column.values[both])
    if len(times) < 4 or np.all(values == values[0]):
        return None
    averaged = max(1, math.ceil(len(times) / EXACT))
    if averaged > 1:
        times, values = _bins(times, averaged), _bins(values, averaged)
    unit, size = _unit(times) if axis.dated else ("row", 1.0)
    x = (times - times[0]) / size
    found: Figures = {
        "value": column.name, "axis": axis.name, "dated": axis.dated, "n": int(both.sum()), "moments": len(times),
        "averaged": averaged > 1 or shared, "unit": unit, "first": iso(int(times[0])) if axis.dated else "1",
        "last": iso(int(times[-1])) if axis.dated else str(int(times[-1]) + 1),
    }  # fmt: skip
    found |= line(x, values) | mann_kendall(x, values)
    found["season"] = season(times, values) if axis.dated and averaged == 1 else None
    found["points"] = _shown(times, values, axis.dated)
    return found


def in_order(times: Any, values: Any) -> tuple[Any, Any, bool]:
    """By time, the mean where several rows share a moment, and whether any do."""
    moments, places = np.unique(times, return_inverse=True)
    if len(moments) == len(times):
        order = np.argsort(times, kind="stable")
        return times[order], values[order], False
    counts = np.bincount(places)
    return moments, np.bincount(places, values) / counts, True


def _bins(values: Any, size: int) -> Any:
    starts = np.arange(0, len(values), size)
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))


def _unit(times: Any) -> tuple[str, float]:
    """The unit a slope is told in: the one of which the series spans at least three."""
    span = float(times[-1] - times[0])
    for name, size in (("year", 365.2425 * DAY), ("month", 30.4369 * DAY), ("day", DAY), ("hour", 3600.0)):
        if span >= 3 * size:
            return name, size
    return "second", 1.0


def line(x: Any, y: Any) -> Figures:
    """Least squares: slope with 95 % interval and p, intercept, R squared, and how much neighbours resemble each other."""
    from scipy.special import stdtr, stdtrit

    n = len(x)
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx))
    rest = dy - slope * dx
    within, whole = float(rest @ rest), float(dy @ dy)
    error = math.sqrt(within / (n - 2) / float(dx @ dx))
    half = float(stdtrit(n - 2, 0.975)) * error
    after = float(rest[1:] @ rest[:-1]) / within if within > 1e-20 * whole else 0.0
    return {"slope": slope, "intercept": float(y.mean() - slope * x.mean()), "interval": [slope - half, slope + half],
            "slope_p": float(2 * stdtr(n - 2, -abs(slope / error))) if error else 0.0,
            "r_squared": 1 - within / whole, "autocorrelation": after}  # fmt: skip


def mann_kendall(x: Any, y: Any) -> Figures:
    """S, its p (normal approximation with ties and continuity), Kendall's tau-b over time, and Sen's slope."""
    from scipy.special import ndtr

    n, s, slopes = len(y), 0, []
    for at in range(n - 1):
        ahead = y[at + 1 :] - y[at]
        s += int(np.sign(ahead).sum())
        slopes.append(ahead / (x[at + 1 :] - x[at]))
    _, ties = np.unique(y, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = (s - np.sign(s)) / math.sqrt(variance) if variance > 0 else 0.0
    pairs = n * (n - 1) / 2
    untied = pairs - float((ties * (ties - 1) / 2).sum())
    return {"kendall_s": s, "kendall_tau": s / math.sqrt(pairs * untied) if untied else 0.0,
            "kendall_p": float(2 * ndtr(-abs(z))), "sen_slope": float(np.median(np.concatenate(slopes)))}  # fmt: skip


def _shown(times: Any, values: Any, dated: bool) -> list[list[Any]]:
    size = max(1, math.ceil(len(times) / SHOWN))
    pairs = zip(_bins(times, size), _bins(values, size), strict=True) if size > 1 else zip(times, values, strict=True)
    return [[iso(int(time)) if dated else int(time) + 1, float(value)] for time, value in pairs]


# --- seasons ----------------------------------------------------------------------------------------------------


def season(times: Any, values: Any) -> Figures | None:
    """What was looked for and found; None where steps are uneven or too few to see a cycle."""
    steps = np.diff(times)
    usual = float(np.median(steps))
    known = next(((name, cycles) for name, size, off, cycles in STEPS if abs(usual - size) <= off * size), None)
    uneven = np.abs(steps - usual) > 0.15 * usual
    if known is None or uneven.any():
        return None
    name, cycles = known
    for cycle, length in cycles:
        if len(values) >= 3 * length:
            return {"step": name, "cycle": cycle, "length": length} | _seasonal(values, length)
    return None


def _seasonal(values: Any, length: int) -> Figures:
    """Kruskal-Wallis over the places in the cycle, after a moving average took the trend away (or each cycle going like
    the one before), and how much of what varies beside the trend the season explains (strength, 0 to 1). Where the swing grows with the level the logarithm
    is taken."""
    from webapp.analysis.comparing import kruskal

    logged = bool(np.all(values > 0)) and _grows(values, length)
    smooth = _moving(np.log(values) if logged else values, length)
    rest = (np.log(values) if logged else values) - smooth
    places = np.arange(len(values)) % length
    kept = ~np.isnan(rest)
    groups = [(str(place), rest[kept & (places == place)]) for place in range(length)]
    if any(len(own) < 2 for _, own in groups):
        return {"found": False, "p": None, "strength": 0.0, "pattern": [], "logged": logged}
    p = kruskal(groups)["p"]
    means = np.array([float(own.mean()) for _, own in groups])
    left = rest[kept] - means[places[kept]]
    whole = float(np.var(rest[kept]))
    strength = max(0.0, 1 - float(np.var(left)) / whole) if whole else 0.0
    found = strength >= 0.3 and (p is not None and p < 0.01 or _repeats(rest[kept], length))
    pattern = [float(one) for one in (np.exp(means) if logged else means)] if length <= 53 else []
    return {"found": found, "p": p, "strength": strength, "pattern": pattern, "logged": logged}


def _repeats(rest: Any, length: int) -> bool:
    """Whether each cycle goes like the one before: what can be shown when there are too few of them for the ranks."""
    r = correlation(rest[length:], rest[:-length])
    return r is not None and r > 0.5 and (p_of_r(r, len(rest) - length) or 0.0) < 0.01


def _grows(values: Any, length: int) -> bool:
    """Whether the swing within a cycle follows the level of the cycle."""
    cycles = values[: len(values) // length * length].reshape(-1, length)
    levels, swings = cycles.mean(1), np.ptp(cycles, axis=1)
    if len(levels) < 3 or np.all(levels == levels[0]) or np.all(swings == swings[0]):
        return False
    return float(np.corrcoef(ranks(levels), ranks(swings))[0, 1]) > 0.7


def _moving(values: Any, length: int) -> Any:
    """Centred moving average over one cycle; NaN at both ends."""
    weights = np.ones(length) if length % 2 else np.concatenate([[0.5], np.ones(length - 1), [0.5]])
    middle = np.convolve(values, weights / weights.sum(), "valid")
    gap = (len(values) - len(middle)) // 2
    return np.concatenate([np.full(gap, np.nan), middle, np.full(len(values) - len(middle) - gap, np.nan)])

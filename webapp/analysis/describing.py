"""What each column looks like: figures of its middle, spread and shape, outliers, and the bars of its chart. In the child.

Definitions, the same everywhere: standard deviation and variance with n - 1; quartiles by linear interpolation; an
outlier is below q1 - 1.5 IQR or above q3 + 1.5 IQR; skewness and excess kurtosis are the bias-corrected ones.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from webapp.analysis.table import Column, Table

Figures = dict[str, Any]
EXTREMES = 5  # outliers that are shown
BARS = 30


def describe(table: Table, most: int) -> Figures:
    """`table`: rows, columns, missing, duplicates; `columns`: one row of figures each. most: categories shown."""
    from webapp.core import sandbox

    columns = []
    for number, column in enumerate(table.columns):
        sandbox.progress(round(90 * number / len(table.columns)), f"Describing {column.name}")
        columns.append(column_figures(column, table.rows, most))
    sandbox.progress(92, "Looking for duplicated rows")
    missing = sum(one["missing"] for one in columns)
    cells = table.rows * len(columns)
    return {
        "table": {"rows": table.rows, "columns": len(columns), "missing_cells": missing,
                  "missing_share": missing / cells if cells else 0.0, "duplicate_rows": duplicates(table),
                  "complete_rows": _complete(table)},
        "columns": columns,
    }  # fmt: skip


def duplicates(table: Table) -> int:
    """Rows that repeat an earlier one in every column: rows less different hashes of 64 bits."""
    whole = np.zeros(table.rows, np.uint64)
    for column in table.columns:
        whole = _mixed(whole ^ _bits(column))
    return table.rows - len(np.unique(whole))


def _bits(column: Column) -> Any:
    if column.kind != "number":
        return column.values.astype(np.uint64)
    values = column.values + 0.0  # turns -0 into 0
    values[np.isnan(values)] = np.nan
    return values.view(np.uint64)


def _mixed(values: Any) -> Any:
    """Spreads what differs in few bits over all of them (splitmix64), so that columns cannot cancel each other."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _complete(table: Table) -> int:
    whole = np.ones(table.rows, bool)
    for column in table.columns:
        whole &= column.present()
    return int(whole.sum())


def column_figures(column: Column, rows: int, most: int) -> Figures:
    present = column.present()
    count = int(present.sum())
    found: Figures = {"name": column.name, "type": column.kind, "count": count, "missing": rows - count,
                      "missing_share": (rows - count) / rows, "unit": column.unit, "written": column.style,
                      "unreadable": column.odd, "unreadable_examples": column.odd_examples, "notes": column.notes}  # fmt: skip
    if not count:
        return found | {"type": "empty", "distinct": 0}
    values = column.values[present]
    if column.kind == "number":
        return found | numbers(values, np.flatnonzero(present)) | ({"unit": "year"} if column.is_year else {})
    if column.kind == "date":
        return found | dates(values)
    return found | words(column, values, most)


# --- numbers ----------------------------------------------------------------------------------------------------


def numbers(values: Any, places: Any | None = None) -> Figures:
    """places: which row each value stands in (from 0), to name outliers."""
    n = len(values)
    low, q1, median, q3, high = (float(one) for one in np.percentile(values, [0, 25, 50, 75, 100]))
    mean = float(values.mean())
    std = float(values.std(ddof=1)) if n > 1 else None
    distinct = len(np.unique(values))
    iqr = q3 - q1
    fences = [q1 - 1.5 * iqr, q3 + 1.5 * iqr]
    outside = np.flatnonzero((values < fences[0]) | (values > fences[1]))
    whole = bool(np.all(values == np.floor(values)))
    found: Figures = {
        "distinct": distinct, "mean": mean, "std": std, "min": low, "25%": q1, "50%": median, "75%": q3, "max": high,
        "sum": float(values.sum()), "iqr": iqr, "fences": fences, "outliers": len(outside),
        "outlier_examples": _extremes(values, outside, places, median), "zeros": int((values == 0).sum()),
        "negative": int((values < 0).sum()), "whole_numbers": whole, "constant": distinct == 1,
        "skewness": _skewness(values, mean), "kurtosis": _kurtosis(values, mean),
        "standard_error": std / math.sqrt(n) if std is not None else None, "mean_interval": _interval(mean, std, n),
        "identifier": _identifier(values, distinct, whole), "histogram": histogram(values, low, high, iqr, whole),
        "whiskers": _whiskers(values, fences, q1, q3),
    }  # fmt: skip
    return found


def _interval(mean: float, std: float | None, n: int) -> list[float] | None:
    """95 % of the mean, by Student's t."""
    if std is None or n < 2:
        return None
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 0.975)) * std / math.sqrt(n)
    return [mean - half, mean + half]


def _moments(values: Any, mean: float) -> tuple[float, Any]:
    away = values - mean
    return float(np.mean(away**2)), away


def _skewness(values: Any, mean: float) -> float | None:
    n = len(values)
    second, away = _moments(values, mean)
    if n < 3 or not _varies(second, mean):
        return None
    return float(math.sqrt(n * (n - 1)) / (n - 2) * np.mean(away**3) / second**1.5)


def _kurtosis(values: Any, mean: float) -> float | None:
    n = len(values)
    second, away = _moments(values, mean)
    if n < 4 or not _varies(second, mean):
        return None
    plain = float(np.mean(away**4)) / second**2 - 3
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * plain + 6)


def _varies(second: float, mean: float) -> bool:
    """Whether the spread is more than the noise of the last digit."""
    return second > (1e-14 * max(1.0, abs(mean))) ** 2


def _extremes(values: Any, outside: Any, places: Any, median: float) -> list[Figures]:
    """The farthest outliers with their row, counted as the file does: the first row of data is 1."""
    order = outside[np.argsort(-np.abs(values[outside] - median), kind="stable")][:EXTREMES]
    return [{"value": float(values[at]), "row": int(at if places is None else places[at]) + 1} for at in order]


def _whiskers(values: Any, fences: list[float], q1: float, q3: float) -> list[float]:
    inside = values[(values >= fences[0]) & (values <= fences[1])]
    return [float(min(inside.min(), q1)), float(max(inside.max(), q3))] if len(inside) else [q1, q3]


def _identifier(values: Any, distinct: int, whole: bool) -> bool:
    """A running number: whole, no value twice, one step apart."""
    return whole and distinct == len(values) >= 10 and float(values.max() - values.min()) == len(values) - 1


def histogram(values: Any, low: float, high: float, iqr: float, whole: bool) -> Figures:
    """`edges` (one more than `counts`). Width after Freedman and Diaconis, rounded; few whole numbers get a bar each."""
    if low == high:
        return {"edges": [low, high], "counts": [len(values)]}
    if whole and high - low < BARS:
        edges = np.arange(low - 0.5, high + 1)
    else:
        width = 2 * iqr / len(values) ** (1 / 3) or (high - low) / math.sqrt(len(values))
        width = max(width, (high - low) / BARS)
        width = nice(max(1.0, width) if whole else width)
        first = math.floor(low / width) * width
        edges = first + width * np.arange(math.floor((high - first) / width) + 2)
        if not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
            edges = np.linspace(low, high, 11)
    counts, _ = np.histogram(values, edges)
    return {"edges": [round(float(edge), 12) for edge in edges], "counts": counts.tolist()}


def nice(step: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= step * 0.999999)


# --- dates ------------------------------------------------------------------------------------------------------

PERIODS = (("year", 366 * 86400), ("month", 31 * 86400), ("day", 86400), ("hour", 3600), ("minute", 60))


def dates(values: Any) -> Figures:
    first, last = int(values.min()), int(values.max())
    distinct = np.unique(values)
    steps = np.diff(distinct)
    return {
        "distinct": len(distinct), "min": iso(first), "max": iso(last), "span_days": (last - first) / 86400,
        "usual_step_days": float(np.median(steps)) / 86400 if len(steps) else None, "constant": first == last,
        "periods": per_period(values, first, last),
    }  # fmt: skip


def iso(seconds: int) -> str:
    """A day without its midnight."""
    moment = datetime.fromtimestamp(seconds, UTC) if -62135596800 <= seconds <= 253402300799 else None
    if moment is None:
        return f"{seconds} s"
    return (
        moment.date().isoformat() if seconds % 86400 == 0 else moment.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")
    )


def per_period(values: Any, first: int, last: int) -> Figures:
    """How many rows fall into each year, month, day, hour or minute, whichever gives 2 to 60 bars at best."""
    span = last - first
    name = next((name for name, size in PERIODS if span / size >= 4), "minute")
    units = {"year": "Y", "month": "M", "day": "D", "hour": "h", "minute": "m"}
    numbered = values.astype("datetime64[s]").astype(f"datetime64[{units[name]}]")
    different, counts = np.unique(numbered, return_counts=True)
    if len(different) > 60:
        name, numbered = "year", values.astype("datetime64[s]").astype("datetime64[Y]")
        if span / (366 * 86400) < 4:
            name, numbered = "month", values.astype("datetime64[s]").astype("datetime64[M]")
        different, counts = np.unique(numbered, return_counts=True)
    kept = slice(max(0, len(different) - 60), None)
    return {"period": name, "labels": [str(one).replace("T", " ") for one in different[kept]],
            "counts": counts[kept].tolist(), "left_out": max(0, len(different) - 60)}  # fmt: skip


# --- categories, yes and no, text -------------------------------------------------------------------------------


def words(column: Column, values: Any, most: int) -> Figures:
    if column.hashed:
        return {"distinct": len(np.unique(values)), "constant": False, "lengths": column.lengths, "top": []}
    counts = np.bincount(values, minlength=len(column.labels))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    top = [{"value": column.labels[at][:120], "count": int(counts[at]), "share": float(counts[at] / len(values))}
           for at in order[:most]]  # fmt: skip
    found: Figures = {"distinct": len(order), "constant": len(order) == 1, "top": top,
                      "others": {"values": max(0, len(order) - most), "count": int(counts[order[most:]].sum())}}  # fmt: skip
    if column.kind == "category":
        found["alike"] = alike([column.labels[at] for at in order])
    if column.kind == "text":
        found["lengths"] = column.lengths
    return found


def alike(labels: list[str]) -> list[list[str]]:
    """Values that differ only by case, blanks or punctuation: usually one thing written in two ways."""
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault("".join(c for c in label.casefold() if c.isalnum()), []).append(label[:60])
    return [group[:5] for key, group in groups.items() if key and len(group) > 1][:5]

"""Geometry of statistical charts for `templates/ui/plots.html`: histogram, columns, boxes, scatter, line, bars, heat map.

As in `charts.py` the plot is a 100 x 100 square that the page stretches, with HTML labels beside it; every chart says
itself in a sentence and keeps its numbers in a table. Axes begin and end at round numbers, so labels stand evenly.
Charts come as plain numbers (`kind`, `title` and what the kind needs), so a result can keep them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

TICKS = 4
ROWS = 80  # of the table behind a chart
EXACT = 60  # points from which a label may stand a little beside its own


@dataclass(frozen=True)
class Plot:
    """What the macro draws. shape: "plot" (a square), "rows" (one strip each) or "heat" (a table)."""

    title: str
    shape: str = "plot"
    summary: str = ""
    series: list[dict[str, Any]] = field(default_factory=list)  # name, and bars | dots | lines
    y_ticks: list[str] = field(default_factory=list)  # from the top
    x_ticks: list[str] = field(default_factory=list)  # evenly spread; empty ones only keep a place
    x_labels: str = ""  # how these stand: "" in the middle of a point, "ends" within the plot, "columns" under each
    x_name: str = ""
    y_name: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)  # of strips and heat maps
    head: list[str] = field(default_factory=list)
    table: list[list[Any]] = field(default_factory=list)
    left_out: int = 0  # rows of the table that are not shown


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    ticks: list[float]

    def at(self, value: float) -> float:
        """Percent from the low end."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def plot(chart: dict[str, Any]) -> Plot:
    """The drawing of a chart's numbers. A chart that cannot be drawn becomes an empty one, never an error."""
    makers: dict[str, Callable[[dict[str, Any]], Plot]] = {
        "histogram": histogram, "columns": columns, "boxes": boxes, "scatter": scatter, "line": line, "bars": bars, "heat": heat,
    }  # fmt: skip
    try:
        return makers[chart["kind"]](chart)
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError):
        return Plot(str(chart.get("title", "")), summary="This chart cannot be drawn.")


def axis(low: float, high: float, zero: bool = False) -> Axis:
    """From one round number to another, both in the ticks."""
    low, high = float(low), float(high)
    if zero:
        low, high = min(0.0, low), max(0.0, high)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough * 0.999999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(n * step, 12) for n in range(first, last + 1)]
    return Axis(ticks[0], ticks[-1], ticks)


def short(value: float) -> str:
    """A tick: `1.5k`, `20M`, `0.25`."""
    for size, mark in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            size = 1e3 if mark == "k" else size
            return f"{value / size:g}{mark}".replace("-", "−")
    return f"{value:g}".replace("-", "−")


def say(value: Any, unit: str | None = None) -> str:
    """A number as people read it: four significant digits, thousands separated, the unit where it belongs."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if unit == "year":
        return f"{float(value):.1f}".removesuffix(".0")
    text = digits(float(value))
    if unit and len(unit) == 1 and unit != "%":
        return f"−{unit}{text[1:]}" if text.startswith("−") else f"{unit}{text}"
    return f"{text} {unit or ''}".strip()


def digits(value: float) -> str:
    """`1,204`, `19.79`, `0.0004`, `2.5e−7`, `−0.12`."""
    size = abs(value)
    if not size:
        return "0"
    if size >= 1e15 or size < 1e-4:
        base, power = f"{value:.3e}".split("e")
        text = f"{base.rstrip('0').rstrip('.')}e{int(power)}"
    elif size >= 1000:
        text = f"{value:,.0f}" if value == int(value) or size >= 10_000 else f"{value:,.1f}"
    else:
        text = f"{float(f'{value:.4g}'):.8f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


# -- squares ---------------------------------------------------------------------------------------------------------


def histogram(chart: dict[str, Any]) -> Plot:
    edges, counts = chart["edges"], chart["counts"]
    if len(edges) != len(counts) + 1 or edges[0] == edges[-1]:
        edges = [edges[0] - 0.5, edges[0] + 0.5]
        counts = [sum(counts)]
    x, y = axis(edges[0], edges[-1]), axis(0, max(counts), zero=True)
    drawn = [
        {"x": x.at(left), "y": round(100 - y.at(count), 2), "w": round(x.at(right) - x.at(left), 2), "h": y.at(count)}
        for left, right, count in zip(edges, edges[1:], counts, strict=False)
        if count
    ]
    most = max(range(len(counts)), key=counts.__getitem__)
    table = [
        [f"{say(left)} to {say(right)}", count] for left, right, count in zip(edges, edges[1:], counts, strict=False)
    ]
    summary = f"{sum(counts):,} values in {len(counts)} bars; the highest holds {counts[most]:,}, from {say(edges[most])} to {say(edges[most + 1])}."
    return _square(chart, x, y, [{"name": "", "bars": drawn}], summary, ["From, to", "Values"], table)


def columns(chart: dict[str, Any]) -> Plot:
    labels, values = chart["labels"], chart["values"]
    y, slot = axis(0, max(values), zero=True), 100 / len(values)
    drawn = [{"x": round(slot * n + slot * 0.14, 2), "y": round(100 - y.at(value), 2), "w": round(slot * 0.72, 2), "h": y.at(value)}
             for n, value in enumerate(values) if value]  # fmt: skip
    most = max(range(len(values)), key=values.__getitem__)
    summary = f"Most in {labels[most]} ({values[most]:,}), {sum(values):,} together."
    table = [[label, value] for label, value in zip(labels, values, strict=True)]
    return _square(
        chart,
        None,
        y,
        [{"name": "", "bars": drawn}],
        summary,
        ["Period", "Rows"],
        table,
        _under(labels),
        x_labels="columns",
    )


def line(chart: dict[str, Any]) -> Plot:
    labels, values = chart["labels"], chart["values"]
    y, last = axis(min(values), max(values)), max(1, len(values) - 1)
    points = " ".join(f"{round(100 * n / last, 2):g},{round(100 - y.at(value), 2):g}" for n, value in enumerate(values))
    low, high = min(range(len(values)), key=values.__getitem__), max(range(len(values)), key=values.__getitem__)
    summary = (f"From {say(values[0])} ({labels[0]}) to {say(values[-1])} ({labels[-1]}); least {say(values[low])} ({labels[low]}), "
               f"most {say(values[high])} ({labels[high]}).")  # fmt: skip
    table = [[label, value] for label, value in zip(labels, values, strict=True)]
    series = [{"name": "", "lines": [points]}]
    return _square(
        chart, None, y, series, summary, ["When", chart.get("name", "Value")], table, _thin(labels), x_labels="ends"
    )


def scatter(chart: dict[str, Any]) -> Plot:
    points = [point for one in chart["series"] for point in one["points"]]
    x, y = (axis(min(p[n] for p in points), max(p[n] for p in points)) for n in (0, 1))
    series = [
        {"name": one["name"], "dots": [(x.at(a), round(100 - y.at(b), 2)) for a, b in one["points"]]}
        for one in chart["series"]
    ]
    if len(series) == 1 and (ends := _through(x, y, chart["slope"], chart["intercept"])):
        series[0]["lines"] = [ends]
    left_out = f" {chart['left_out']} further groups are not drawn." if chart.get("left_out") else ""
    shown = left_out or ("" if len(points) >= chart["n"] else f" {len(points):,} of them are drawn, evenly chosen.")
    summary = f"{chart['n']:,} rows; {chart['x']} from {say(min(p[0] for p in points))} to {say(max(p[0] for p in points))}, {chart['y']} from " \
              f"{say(min(p[1] for p in points))} to {say(max(p[1] for p in points))}.{shown}"  # fmt: skip
    grouped = len(series) > 1
    table = [[*([one["name"]] if grouped else []), a, b] for one in chart["series"] for a, b in one["points"]]
    head = [*([chart.get("group") or "Group"] if grouped else []), chart["x"], chart["y"]]
    return _square(chart, x, y, series, summary, head, table, x_name=chart["x"], y_name=chart["y"])


def _through(x: Axis, y: Axis, slope: float, intercept: float) -> str:
    """The straight line, cut where it leaves the square."""
    lows, highs = x.low, x.high
    if slope:
        cuts = sorted(((y.low - intercept) / slope, (y.high - intercept) / slope))
        lows, highs = max(lows, cuts[0]), min(highs, cuts[1])
    if lows >= highs or not y.low <= intercept + slope * (lows + highs) / 2 <= y.high:
        return ""
    return " ".join(f"{x.at(one):g},{round(100 - y.at(intercept + slope * one), 2):g}" for one in (lows, highs))


def _square(
    chart: dict[str, Any],
    x: Axis | None,
    y: Axis,
    series: list[dict[str, Any]],
    summary: str,
    head: list[str],
    table: list[list[Any]],
    x_ticks: list[str] | None = None,
    x_name: str = "",
    y_name: str = "",
    x_labels: str = "",
) -> Plot:
    labels = x_ticks if x_ticks is not None else [short(one) for one in x.ticks] if x else []
    return Plot(str(chart["title"]), "plot", summary, series, [short(one) for one in reversed(y.ticks)], labels, x_labels, x_name,
                y_name, [], head, table[:ROWS], max(0, len(table) - ROWS))  # fmt: skip


def _thin(labels: Sequence[str], most: int = 4) -> list[str]:
    """Some of them, the first and the last too; of few points the others are empty, so that each stands at its own."""
    last = len(labels) - 1
    if last < most:
        return list(labels)
    shown = [round(last * n / (most - 1)) for n in range(most)]
    if last >= EXACT:
        return [labels[n] for n in shown]
    return [label if n in shown else "" for n, label in enumerate(labels)]


def _under(labels: Sequence[str], most: int = 5) -> list[str]:
    """One for each column, empty but for every so manieth."""
    step = math.ceil(len(labels) / most)
    return [label if n % step == 0 else "" for n, label in enumerate(labels)]


# -- strips and tables -----------------------------------------------------------------------------------------------


def boxes(chart: dict[str, Any]) -> Plot:
    """A box from quartile to quartile, the median in it, whiskers to the last value within 1.5 of its length."""
    groups = chart["groups"]
    x = axis(min(one["min"] for one in groups), max(one["max"] for one in groups))
    rows = []
    for one in groups:
        low, high = one["whiskers"]
        rows.append({"name": one["name"], "low": x.at(low), "high": x.at(high), "q1": x.at(one["25%"]), "q3": x.at(one["75%"]),
                     "median": x.at(one["50%"]), "min": x.at(one["min"]), "max": x.at(one["max"]), "text": say(one["50%"])})  # fmt: skip
    ordered = sorted(groups, key=lambda one: one["50%"])
    summary = f"Medians from {say(ordered[0]['50%'])} ({ordered[0]['name']}) to {say(ordered[-1]['50%'])} ({ordered[-1]['name']})."
    head = ["Group", "Rows", "Least", "Lower quartile", "Median", "Upper quartile", "Most", "Outliers"]
    table = [
        [one["name"], one["n"], one["min"], one["25%"], one["50%"], one["75%"], one["max"], one["outliers"]]
        for one in groups
    ]
    return Plot(
        str(chart["title"]),
        "boxes",
        summary,
        x_ticks=[short(one) for one in x.ticks],
        rows=rows,
        head=head,
        table=table,
    )


def bars(chart: dict[str, Any]) -> Plot:
    given = chart["rows"]
    top, whole = max(count for _, count in given), sum(count for _, count in given)
    rows = [
        {
            "name": name,
            "width": round(100 * count / top, 2),
            "text": f"{count:,}",
            "share": f"{100 * count / whole:.0f} %",
        }
        for name, count in given
    ]
    summary = f"Most often {given[0][0]} ({given[0][1]:,} of {whole:,})."
    return Plot(
        str(chart["title"]), "bars", summary, rows=rows, head=["Value", "Rows"], table=[list(row) for row in given]
    )


def heat(chart: dict[str, Any]) -> Plot:
    """-1 to 1 as a table whose cells are coloured in nine steps."""
    labels = chart["labels"]
    rows = [{"name": name, "cells": [{"text": "–" if value is None else f"{value:.2f}".replace("-", "−"), "level": _level(value)} for value in cells]}
            for name, cells in zip(labels, chart["cells"], strict=True)]  # fmt: skip
    off = [
        (abs(value), value, labels[i], labels[j])
        for i, row in enumerate(chart["cells"])
        for j, value in enumerate(row[:i])
        if value is not None
    ]
    summary = ""
    if off:
        _, value, a, b = max(off)
        summary = f"Strongest: {a} and {b}, {value:.2f}.".replace("-", "−")
    return Plot(str(chart["title"]), "heat", summary, rows=rows, head=list(labels))


def _level(value: float | None) -> str:
    if value is None:
        return "none"
    step = min(4, math.floor(abs(value) * 5))
    return "0" if not step else f"{'p' if value > 0 else 'n'}{step}"

"""Geometry of the charts in `templates/ui/chart.html`: SVG drawn by the server, with a table and a sentence behind it.

The plot is a 100 x 100 square that the page stretches; labels are HTML beside it, so text never scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Series = Sequence[tuple[str, Sequence[float | None]]]  # (name, one value per label; None is a gap)
MAX_LABELS = 6


@dataclass(frozen=True)
class Chart:
    """What the macros draw. Coordinates are percent of the plot; y grows downwards."""

    labels: list[str]
    series: list[dict[str, Any]]  # name, values, and lines | bars | dots
    ticks: list[dict[str, Any]] = field(default_factory=list)  # y, text; from the top
    shown_labels: list[str] = field(default_factory=list)
    summary: str = ""
    unit: str = ""
    top: float = 0.0
    under_columns: bool = False  # the shown labels are one for each column, some of them empty


def line_chart(labels: Sequence[str], series: Series, unit: str = "", area: bool = False) -> Chart:
    """One line per series; gaps stay gaps."""
    top = _top(value for _, values in series for value in values)
    drawn = []
    for name, values in series:
        runs = _runs([_point(n, value, len(labels), top) for n, value in enumerate(values)])
        drawn.append(
            {
                "name": name,
                "values": list(values),
                "lines": [" ".join(f"{x:g},{y:g}" for x, y in run) for run in runs],
                "areas": [_area(run) for run in runs] if area else [],
                "ends": [run[-1] for run in runs[:-1]],
                "last": runs[-1][-1] if runs else None,
            }
        )
    return Chart(list(labels), drawn, _ticks(top, unit), _thin(labels), summarise(labels, series, unit), unit, top)


def column_chart(labels: Sequence[str], series: Series, unit: str = "", tones: Sequence[str] = ()) -> Chart:
    """Columns over time; several series are stacked. tones: "bad" or "quiet" for a series that means that, else ""."""
    sums = [sum(values[n] or 0 for _, values in series) for n in range(len(labels))]
    top = _top(sums)
    slot = 100 / max(1, len(labels))
    width = slot * 0.68
    floor = [0.0] * len(labels)
    drawn = []
    for which, (name, values) in enumerate(series):
        bars = []
        for n, value in enumerate(values):
            height = 100 * (value or 0) / top
            if height:
                floor[n] += height
                bars.append({"x": round(slot * n + (slot - width) / 2, 3), "y": round(100 - floor[n], 3),
                             "w": round(width, 3), "h": round(height, 3)})  # fmt: skip
        tone = tones[which] if which < len(tones) else ""
        drawn.append({"name": name, "values": list(values), "bars": bars, "tone": tone})
    words = summarise(labels, series if len(series) == 1 else [("Together", sums)], unit)
    return Chart(list(labels), drawn, _ticks(top, unit), _under(labels), words, unit, top, True)


def bar_chart(rows: Sequence[tuple[str, float]], unit: str = "") -> Chart:
    """Ranked things with long names: one horizontal bar each."""
    top = max([value for _, value in rows if value], default=1) or 1
    drawn = [{"name": name, "values": [value], "width": round(100 * value / top, 2)} for name, value in rows]
    words = ""
    if rows:
        most = max(rows, key=lambda row: row[1])
        words = f"Most: {most[0]}, {number(most[1], unit)}. {len(rows)} in all, {number(sum(r[1] for r in rows), unit)} together."
    return Chart([name for name, _ in rows], drawn, summary=words, unit=unit, top=top)


def sparkline(values: Sequence[float | None], label: str = "", unit: str = "") -> Chart:
    """A line without axes, for a table cell or a tile."""
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    span = (high - low) or 1.0
    points = [
        None if value is None else (_x(n, len(values)), round(90 - 80 * (value - low) / span, 2))
        for n, value in enumerate(values)
    ]
    runs = _runs(points)
    lines = [" ".join(f"{x:g},{y:g}" for x, y in run) for run in runs]
    words = f"{label + ': ' if label else ''}" + (
        f"last {number(known[-1], unit)}, between {number(low, unit)} and {number(high, unit)}"
        if known
        else "no values"
    )
    return Chart([], [{"name": label, "values": list(values), "lines": lines,
                       "last": runs[-1][-1] if runs else None}], summary=words, unit=unit, top=high)  # fmt: skip


def summarise(labels: Sequence[str], series: Series, unit: str = "") -> str:
    """The chart in a sentence per series (of the first three)."""
    said = []
    for name, values in list(series)[:3]:
        known = [(value, label) for value, label in zip(values, labels, strict=False) if value is not None]
        if not known:
            said.append(f"{name}: no values.")
            continue
        high, low, last = max(known), min(known), known[-1]
        if high[0] == low[0]:
            said.append(f"{name}: {number(last[0], unit)} throughout.")
        else:
            said.append(
                f"{name}: {number(last[0], unit)} at the end ({last[1]}), most {number(high[0], unit)} ({high[1]}), "
                f"least {number(low[0], unit)} ({low[1]})."
            )
    return " ".join(said)


def number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{text} {unit}".rstrip() if unit != "%" else f"{text}%"


def _top(values: Any) -> float:
    """The end of the scale: 1, 2, 2.5 or 5 times a power of ten, four steps of it."""
    high = max((value for value in values if value is not None), default=0) or 1
    step = high / 4
    power = 10 ** math.floor(math.log10(step))
    nice = next(n for n in (1, 2, 2.5, 5, 10) if n * power >= step * 0.999999) * power
    return float(4 * nice)


def _ticks(top: float, unit: str) -> list[dict[str, Any]]:
    return [{"y": 100 - 25 * n, "text": number(round(top * n / 4, 6), unit if n == 4 else "%" if unit == "%" else "")}
            for n in (4, 3, 2, 1, 0)]  # fmt: skip


def _thin(labels: Sequence[str]) -> list[str]:
    """At most MAX_LABELS of them, evenly, the first and last among them; fewer where these stand at their very points."""
    if len(labels) <= MAX_LABELS:
        return list(labels)
    last = len(labels) - 1
    most = next((count for count in range(MAX_LABELS, 3, -1) if last % (count - 1) == 0), MAX_LABELS)
    return [labels[round(last * n / (most - 1))] for n in range(most)]


def _under(labels: Sequence[str]) -> list[str]:
    """One for each column, empty but for every so manieth."""
    step = math.ceil(len(labels) / (MAX_LABELS + 1)) or 1
    return [label if n % step == 0 else "" for n, label in enumerate(labels)]


def _x(n: int, count: int) -> float:
    return round(100 * n / (count - 1), 2) if count > 1 else 50.0


def _point(n: int, value: float | None, count: int, top: float) -> tuple[float, float] | None:
    return None if value is None else (_x(n, count), round(100 - 100 * value / top, 2))


def _runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _area(run: list[tuple[float, float]]) -> str:
    inner = " ".join(f"{x:g},{y:g}" for x, y in run)
    return f"{run[0][0]:g},100 {inner} {run[-1][0]:g},100"

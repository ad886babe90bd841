"""Lines for small charts as SVG paths. Time is the x axis, so that minutes without a reading stay empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 300, 48
Point = tuple[float, float | None]  # seconds, value


@dataclass(frozen=True)
class Chart:
    """`line` and `area` are SVG path data in a box of WIDTH by HEIGHT; both are empty when there is nothing to draw."""

    line: str
    area: str
    low: float | None
    high: float | None


def chart(points: Sequence[Point], *, start: float, end: float, top: float) -> Chart:
    """`top` is the value at the upper edge; the lower edge is zero."""
    values = [value for _, value in points if value is not None]
    runs = [[_place(at, value, start, end, top) for at, value in run] for run in _runs(points)]
    return Chart(
        line=" ".join(_path(run) for run in runs),
        area=" ".join(f"{_path(run)} L{run[-1][0]} {HEIGHT} L{run[0][0]} {HEIGHT} Z" for run in runs),
        low=min(values, default=None),
        high=max(values, default=None),
    )


def _runs(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """Stretches without a missing value; a single point is no line."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def _place(at: float, value: float, start: float, end: float, top: float) -> tuple[float, float]:
    x = (at - start) / (end - start) * WIDTH
    y = HEIGHT - min(1.0, max(0.0, value / top)) * HEIGHT if top > 0 else float(HEIGHT)
    return round(x, 1), round(y, 1)


def _path(run: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x} {y}" for x, y in run)

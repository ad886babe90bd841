"""The system page as its template reads it: the metrics, what is too high, charts and their tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webapp.core.db import utcnow
from webapp.runtime import Runtime
from webapp.system import service
from webapp.system.charts import HEIGHT, WIDTH, Chart, Point, chart
from webapp.system.sampler import SPAN, Rates, Reading, belong_together, sampler, steps

ROWS = 15  # of a chart's table

Measure = Callable[[Rates], float | None]
Write = Callable[[float], str]


@dataclass(frozen=True)
class Line:
    label: str
    chart: Chart
    now: float | None


@dataclass(frozen=True)
class Trend:
    """One chart of one or two lines, and the same as a table (newest first)."""

    lines: list[Line]
    rows: list[tuple[datetime, list[float | None]]]
    top: float
    write: Write

    @property
    def empty(self) -> bool:
        return not any(line.chart.line for line in self.lines)


def page(rt: Runtime) -> dict[str, Any]:
    found = service.metrics(rt)
    readings = sampler.history()
    return {
        "now": utcnow(),
        "m": found,
        "warnings": service.warnings(found),
        "trends": trends(readings),
        "folder": str(service.data_folder(rt)),
        "limits": service.LIMITS,
        "box": (WIDTH, HEIGHT),
    }


def trends(readings: list[Reading]) -> dict[str, Any]:
    gpus = range(len(readings[-1].gpu) if readings else 0)
    return {
        "cpu": _trend(readings, {"Use": Rates.cpu_percent}, percent, top=100),
        "memory": _trend(readings, {"Use": lambda rates: rates.last.memory_percent}, percent, top=100),
        "disk": _trend(
            readings, {"Read": _speed("disk", "read_bytes"), "Written": _speed("disk", "write_bytes")}, speed
        ),
        "network": _trend(
            readings, {"Received": _speed("network", "bytes_recv"), "Sent": _speed("network", "bytes_sent")}, speed
        ),
        "gpu": [_trend(readings, {"Use": _gpu(index)}, percent, top=100) for index in gpus],
    }


def _speed(part: str, name: str) -> Measure:
    return lambda rates: rates.per_second(part, name)


def _gpu(index: int) -> Measure:
    return lambda rates: rates.last.gpu[index] if index < len(rates.last.gpu) else None


def _trend(readings: list[Reading], measures: dict[str, Measure], write: Write, top: float | None = None) -> Trend:
    """Without `top` the highest value of all lines touches the upper edge."""
    end = readings[-1].at if readings else 0.0
    known = steps(readings)
    points: dict[str, list[Point]] = {
        label: [(after.at, measure(rates) if rates else None) for after, rates in zip(readings[1:], known, strict=True)]
        for label, measure in measures.items()
    }
    highest = max((value for line in points.values() for _, value in line if value is not None), default=0.0)
    top = top or highest or 1.0
    lines = [
        Line(label, chart(line, start=end - SPAN, end=end, top=top), line[-1][1] if line else None)
        for label, line in points.items()
    ]
    return Trend(lines, _table(readings, list(measures.values())), top, write)


def _table(readings: list[Reading], measures: list[Measure]) -> list[tuple[datetime, list[float | None]]]:
    """A few rows over the same minutes: each says what happened since the row below it."""
    picked = _pick(readings)
    rows = [
        (datetime.fromtimestamp(rates.last.wall, UTC), [measure(rates) for measure in measures])
        for rates in (Rates(a, b) for a, b in picked)
    ]
    return rows[::-1]


def _pick(readings: list[Reading]) -> list[tuple[Reading, Reading]]:
    """Pairs about SPAN / ROWS apart which no gap divides."""
    pairs: list[tuple[Reading, Reading]] = []
    first: Reading | None = None
    before: Reading | None = None
    for reading in readings:
        if first is None or before is None or not belong_together(before, reading):
            first = reading
        elif reading.at - first.at >= SPAN / ROWS or (reading is readings[-1] and not pairs):
            pairs.append((first, reading))
            first = reading
        before = reading
    return pairs


# -- numbers in words ------------------------------------------------------------------------------------------------


def percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.1f} %"


def speed(value: float) -> str:
    return f"{size(value)}/s"


def size(value: float) -> str:
    """Bytes with a fitting unit, in steps of 1024 as in the rest of the pages."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"

"""What runs in the child processes, a function for each step: plain values in, plain values out, the table on disk.

Every figure that leaves here is finite or None: JSON knows no NaN.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from webapp.core import sandbox

Figures = dict[str, Any]
SCATTERS, GROUPS_SHOWN = 8, 4


def read(folder: str, sources: list[Figures], options: Figures) -> Figures:
    """Read the files as one table and leave it in `folder`.

    sources: path, name, content_type, charset. Returns rows, columns (name, type), notes, and what each source is.
    """
    from webapp.analysis import opening, table
    from webapp.analysis.rows import Rows

    about: list[Figures] = []

    def opened(source: Figures) -> Rows:
        found = opening.open_rows(source["path"], source["name"], source["content_type"], source["charset"], options)
        about.append(found.about | {"columns": len(found.names)})
        return found

    def told(rows: int, share: float) -> None:
        sandbox.progress(round(95 * share), f"Reading: {rows:,} rows")

    made = table.read([partial(opened, source) for source in sources], options, told)
    sandbox.progress(96, f"Keeping {made.rows:,} rows")
    table.save(made, Path(folder))
    columns = [{"name": one.name, "type": one.kind} for one in made.columns]
    return {"rows": made.rows, "columns": columns, "notes": made.notes, "about": about[-len(sources) :]}


def describe(folder: str, most: int) -> Figures:
    from webapp.analysis import describing, table, traps

    found = describing.describe(table.load(Path(folder)), most)
    return finite(found | {"warnings": traps.from_figures(found)})


def relate(folder: str, most: int) -> Figures:
    from webapp.analysis import relating, table, traps

    whole = table.load(Path(folder))
    found = relating.relate(whole, most)
    sandbox.progress(85, "Looking for traps")
    warnings = traps.look(whole, most)
    return finite(
        found | {"warnings": warnings, "scatters": _scatters(whole, found["correlations"]["pairs"], warnings)}
    )


def compare(folder: str, most: int, target: str | None, group: str | None) -> Figures:
    from webapp.analysis import comparing, table

    return finite(comparing.compare(table.load(Path(folder)), most, target, group))


def follow(folder: str, target: str | None, wanted: bool) -> Figures:
    from webapp.analysis import table, trends

    return finite(trends.follow(table.load(Path(folder)), target, wanted))


def finite(value: Any) -> Any:
    """The same with None for what is no finite number, and plain Python numbers."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if hasattr(value, "item"):
        return finite(value.item())
    return value


def _scatters(whole: Any, pairs: list[Figures], warnings: list[Figures]) -> list[Figures]:
    """Points of the strongest pairs, and of those a warning is about: a trap is seen, not computed."""
    wanted: dict[tuple[str, str], str | None] = {}
    for warning in warnings:
        a, b, *by = warning["columns"]
        if by or (a, b) not in wanted:
            wanted[a, b] = by[0] if by else None
    for pair in pairs:
        if pair["pearson"] is not None and len(wanted) < SCATTERS:
            wanted.setdefault((pair["a"], pair["b"]), None)
    return [found for (a, b), by in list(wanted.items())[:SCATTERS] if (found := _scatter(whole, a, b, by)) is not None]


def _scatter(whole: Any, a: str, b: str, by: str | None) -> Figures | None:
    import numpy as np

    from webapp.analysis.relating import points

    first, second = whole.named(a), whole.named(b)
    both = first.present() & second.present()
    x, y = first.values[both], second.values[both]
    if len(x) < 3:
        return None
    dx = x - x.mean()
    slope = float(dx @ (y - y.mean()) / (dx @ dx)) if np.any(dx) else 0.0
    found: Figures = {"x": a, "y": b, "n": len(x), "group": by, "slope": slope,
                      "intercept": float(y.mean() - slope * x.mean())}  # fmt: skip
    if by is None:
        return found | {"series": [{"name": "", "points": points(x, y)}]}
    column = whole.named(by)
    codes = column.values[both]
    names = [int(code) for code in np.unique(codes[codes >= 0])]
    series = [
        {"name": column.labels[code][:60], "points": points(x[codes == code], y[codes == code])} for code in names
    ]
    return found | {"series": series[:GROUPS_SHOWN], "left_out": max(0, len(series) - GROUPS_SHOWN)}

"""What every kind of file becomes: names and rows of strings. Runs in the child."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from webapp.analysis.params import MAX_COLUMNS_READ
from webapp.core.errors import Invalid


@dataclass
class Rows:
    """What was opened. `names` are the columns; `rows` yields lists as long as `names`; `share` says how much was read."""

    names: list[str]
    rows: Iterator[list[str]]
    about: dict[str, Any] = field(default_factory=dict)  # format, encoding, delimiter, sheet, sheets, header
    notes: list[str] = field(default_factory=list)
    share: Callable[[], float] = lambda: 0.0


def bad(what: str, suggestion: str | None = None) -> Invalid:
    return Invalid(what, code="bad_table", suggestion=suggestion)


def headed(rows: Iterator[list[str]], options: dict[str, Any], about: dict[str, Any]) -> Rows:
    """The first row as names, unless it holds nothing but numbers; every other row must be as long."""
    first = next(rows, None)
    if first is None:
        raise bad("there is no row in it")
    wanted = options.get("header") or "auto"
    notes: list[str] = []
    headed = wanted == "yes" or (wanted == "auto" and not all(_is_number(cell) for cell in first))
    if headed:
        names = named(first, notes)
    else:
        names = [f"column_{n}" for n in range(1, len(first) + 1)]
        if wanted == "auto":
            notes.append("The first row holds numbers only, so it was read as data and the columns were numbered.")
    return Rows(names, even(rows, len(names), [] if headed else [first]), about | {"header": headed}, notes)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return not cell.strip()
    return True


def named(cells: list[str], notes: list[str]) -> list[str]:
    """Names of columns: each its own, none empty."""
    if len(cells) > MAX_COLUMNS_READ:
        raise bad(f"the table has {len(cells):,} columns; up to {MAX_COLUMNS_READ:,} can be read",
                  "Leave out the columns you do not need.")  # fmt: skip
    names: list[str] = []
    places: dict[str, int] = {}
    for number, cell in enumerate(cells, 1):
        name = " ".join("".join(c if c.isprintable() else " " for c in cell).split())[:120] or f"column_{number}"
        if name in places:
            raise bad(f"two columns are called “{name}” ({places[name]} and {number})",
                      "Give each column a name of its own.")  # fmt: skip
        if not cell.strip():
            notes.append(f"Column {number} has no name; it is called {name} here.")
        places[name] = number
        names.append(name)
    return names


def even(rows: Iterator[list[str]], width: int, first: list[list[str]]) -> Iterator[list[str]]:
    """The rows, each `width` cells long. Empty cells at the end may be left out or be too many by some programs."""
    yield from first
    for number, row in enumerate(rows, len(first) + 1):
        yield row if len(row) == width else _fitted(row, width, number)


def _fitted(row: list[str], width: int, number: int) -> list[str]:
    if len(row) > width and not any(row[width:]):
        return row[:width]
    if len(row) != width:
        raise bad(f"row {number:,} has {len(row)} cells where {width} were expected",
                  "Cells that contain the separator must be quoted.")  # fmt: skip
    return row

"""Options against weighted criteria: totals, who beats whom, and how far the weights carry the answer. Pure arithmetic.

A total is the weighted mean of utilities (0 worst, 1 best). A value that nobody gave is not guessed: it may be anything
from 0 to 1, so an option's total is an interval, and only what holds for the whole interval is said to be decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]
Scale = Literal["points", "measures"]
Utility = float | None

POINTS = 10.0  # the top of the scale of points
NEAR = 1e-9  # below this two totals are the same


@dataclass(frozen=True)
class Criterion:
    """weight: any positive number; only its share of the sum matters."""

    name: str
    weight: float
    better: Better


@dataclass(frozen=True)
class Total:
    """0..1, at least and at most; the same when every value is known."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        return self.high - self.low < NEAR


@dataclass(frozen=True)
class Stretch:
    """The share of all weight a criterion may have, others in proportion, with the first option still the first.

    below, above: who takes over beyond; None at the end of the scale.
    """

    low: float
    high: float
    below: int | None
    above: int | None


def shares(criteria: Sequence[Criterion]) -> list[float]:
    whole = sum(one.weight for one in criteria)
    return [one.weight / whole for one in criteria]


def utilities(
    criteria: Sequence[Criterion], rows: Sequence[Sequence[float | None]], scale: Scale
) -> list[list[Utility]]:
    """One row for each option. Points are a tenth each; measures are stretched from the worst to the best that is there.

    A measure that is the same for all says nothing of any: 1 for each.
    """
    columns = [_column([row[n] for row in rows], one.better, scale) for n, one in enumerate(criteria)]
    return [[column[m] for column in columns] for m in range(len(rows))]


def _column(values: Sequence[float | None], better: Better, scale: Scale) -> list[Utility]:
    known = [value for value in values if value is not None]
    low, high = (0.0, POINTS) if scale == "points" or not known else (min(known), max(known))
    span = high - low
    made: list[Utility] = []
    for value in values:
        if value is None:
            made.append(None)
        elif span == 0:
            made.append(1.0)
        else:
            up = (value - low) / span
            made.append(up if better == "higher" else 1.0 - up)
    return made


def totals(weights: Sequence[float], rows: Sequence[Sequence[Utility]]) -> list[Total]:
    found = []
    for row in rows:
        low = sum(w * u for w, u in zip(weights, row, strict=True) if u is not None)
        open_ = sum(w for w, u in zip(weights, row, strict=True) if u is None)
        found.append(Total(low, low + open_))
    return found


def order(found: Sequence[Total]) -> list[int]:
    """The best first: by the middle of the interval, then by what is certain, then as given."""
    return sorted(
        range(len(found)), key=lambda n: (-round(found[n].low + found[n].high, 9), -round(found[n].low, 9), n)
    )


def decided(found: Sequence[Total], first: int) -> bool:
    """Whether `first` is ahead of every other whatever the unknown values are."""
    return all(found[first].low - other.high > NEAR for n, other in enumerate(found) if n != first)


def dominated(rows: Sequence[Sequence[Utility]]) -> dict[int, int]:
    """option -> one that is at least as good on every criterion and better on one. Unknown values prove nothing."""
    made = {}
    for n, row in enumerate(rows):
        for m, other in enumerate(rows):
            if n != m and _dominates(other, row):
                made[n] = m
                break
    return made


def _dominates(one: Sequence[Utility], other: Sequence[Utility]) -> bool:
    pairs = list(zip(one, other, strict=True))
    if any(a is None or b is None for a, b in pairs):
        return False
    return all(a >= b - NEAR for a, b in pairs) and any(a > b + NEAR for a, b in pairs)  # type: ignore[operator]


def stretch(weights: Sequence[float], rows: Sequence[Sequence[Utility]], first: int, criterion: int) -> Stretch | None:
    """How far the share of one criterion can move, the others keeping their proportions, before `first` loses its place.

    None where it cannot be said: one criterion only, or a value is unknown. Totals are straight lines in the share, so the
    borders are where lines cross.
    """
    share = weights[criterion]
    if share >= 1 - NEAR or any(value is None for row in rows for value in row):
        return None
    at_one = [float(row[criterion] or 0.0) for row in rows]
    rest = 1 - share
    at_zero = [
        sum(w * float(u or 0.0) for n, (w, u) in enumerate(zip(weights, row, strict=True)) if n != criterion) / rest
        for row in rows
    ]
    low, high, below, above = 0.0, 1.0, None, None
    for n in range(len(rows)):
        if n == first:
            continue
        lead, slope = at_zero[first] - at_zero[n], (at_one[first] - at_one[n]) - (at_zero[first] - at_zero[n])
        if abs(slope) < NEAR:
            continue
        crossing = -lead / slope
        if slope > 0 and low < crossing <= share + NEAR:
            low, below = crossing, n
        elif slope < 0 and share - NEAR <= crossing < high:
            high, above = crossing, n
    return Stretch(low, high, below, above)

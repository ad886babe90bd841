"""How likely a stored page still says what the live one says.

Pages change like a Poisson process (Cho and Garcia-Molina, "Estimating frequency of change", 2003): with a rate of
`changes / days observed`, the copy is unchanged after t days with probability exp(-rate * t). A page that was seen
only once has a rate that makes the copy a coin's toss after HALF days; observations move it from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

HALF = 30.0  # days; the age at which the contract calls content stale (M031)
PRIOR_CHANGES = 0.5
PRIOR_DAYS = PRIOR_CHANGES * HALF / math.log(2)
STALE = 0.5


@dataclass(frozen=True)
class Freshness:
    """score 0..1: chance that the copy is still right. age: days since it was last compared with its source.

    half_life: days until a copy of this page is as likely old as not. due: the comparison is older than HALF days.
    """

    score: float
    age: float
    half_life: float
    changes: int
    due: bool

    @property
    def stale(self) -> bool:
        return self.score < STALE or self.due

    @property
    def note(self) -> str:
        seen = {0: "not changed", 1: "changed once"}.get(self.changes, f"changed {self.changes} times")
        return f"compared {_days(self.age)} ago, {seen} since it was first read; likely to hold for {_days(self.half_life)}"


def freshness(now: datetime, first_seen: datetime, checked: datetime, changes: int) -> Freshness:
    """first_seen, checked: when the page was first and last compared with its source; changes: between the two."""
    age = max(0.0, (now - checked).total_seconds() / 86400)
    observed = max(0.0, (checked - first_seen).total_seconds() / 86400)
    rate = (changes + PRIOR_CHANGES) / (observed + PRIOR_DAYS)
    return Freshness(round(math.exp(-rate * age), 3), round(age, 2), round(math.log(2) / rate, 1), changes, age > HALF)


def _days(days: float) -> str:
    if days < 1:
        return "less than a day"
    return f"{days:,.0f} day{'s' if round(days) != 1 else ''}"

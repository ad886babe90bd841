"""When may the next request to a host start? Written without threads: the loop of a crawl asks and tells."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webapp.crawl.frontier import Item
    from webapp.crawl.robots import Rules

DELAY = 0.5  # seconds between two starts at a host of the public web
LEAST_DELAY = 0.2  # whatever a crawl asks for
AT_ONCE = 2  # requests at such a host
OWN_AT_ONCE = 24  # at a host the operator approved by name: his own
LONGEST_WAIT = 120.0  # seconds; a host that asks for more is given up
GIVE_UP_AFTER = 5  # failures in a row without an answer


@dataclass
class Host:
    """One host of a crawl: what waits for it, and what it may be asked for."""

    name: str
    at_once: int = AT_ONCE
    delay: float = DELAY
    rules: Rules | None = None  # None until robots.txt was read
    asking: bool = False  # robots.txt is being read
    in_flight: int = 0
    next_at: float = 0.0  # monotonic
    failures: int = 0
    pages: int = 0
    given_up: str | None = None  # why nothing more is asked
    queue: deque[Item] = field(default_factory=deque)
    notes: list[str] = field(default_factory=list)

    def can_start(self, now: float) -> bool:
        return bool(self.queue) and not self.asking and self.in_flight < self.at_once and now >= self.next_at

    def started(self, now: float) -> None:
        self.in_flight += 1
        self.next_at = max(self.next_at, now + self.delay) if self.delay else self.next_at

    def learned(self, rules: Rules, notes: list[str]) -> None:
        self.rules, self.asking = rules, False
        self.notes += notes
        if rules.delay is not None and rules.delay > self.delay:
            self.delay, self.at_once = rules.delay, 1

    def answered(self) -> None:
        self.failures = 0

    def did_not_answer(self) -> None:
        self.failures += 1
        if self.failures >= GIVE_UP_AFTER and self.given_up is None:
            self.given_up = f"{self.name} did not answer {self.failures} times in a row"

    def asks_to_wait(self, now: float, seconds: float) -> None:
        """429 or 503. The pace is halved too: it was too fast."""
        if seconds > LONGEST_WAIT:
            self.given_up = self.given_up or f"{self.name} asks to wait {seconds:,.0f} s"
        self.next_at = max(self.next_at, now + min(seconds, LONGEST_WAIT))
        self.delay = min(30.0, max(self.delay * 2, DELAY))
        self.at_once = 1


def pace(own: bool, wanted: float | None) -> tuple[int, float]:
    """(requests at once, seconds between them) for a host, `own` being one the operator approved by name."""
    if own:
        return OWN_AT_ONCE if not wanted else AT_ONCE, wanted or 0.0
    return AT_ONCE, max(LEAST_DELAY, DELAY if wanted is None else wanted)

"""Inside one process niceness does not exist: what works in the background holds still while a person waits.

In embedded mode a crawl's threads share the interpreter's lock with the answer somebody has just asked for, and each of
its steps takes two to three times as long. A deployment has processes for that (`core/priority.py`), and nobody holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST = 2.0  # seconds that one question may hold the background
FREE = 0.5  # so much of the time that it was held the background works on before it is held again
LOOK_EVERY = 0.02  # seconds


class Foreground:
    """`hold()` when a person begins to wait, `release()` when they see something, `wait()` in the background's loops.

    After a hold the background is free for half as long as it was held, however often somebody asks: who asks meanwhile
    has it held from the end of that.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, nap: Callable[[float], None] = time.sleep) -> None:
        self._clock, self._nap = clock, nap
        self._since = self._held_until = self._free_until = 0.0

    def hold(self) -> None:
        now = self._clock()
        if now >= self._held_until:
            self._since = max(now, self._free_until)
            self._held_until, self._free_until = self._since + LONGEST, self._since + (1 + FREE) * LONGEST

    def release(self) -> None:
        now = self._clock()
        if now < self._held_until:
            ended = max(now, self._since)  # before it began, when the answer came that soon
            self._held_until, self._free_until = ended, ended + FREE * (ended - self._since)

    def is_held(self) -> bool:
        return self._since <= self._clock() < self._held_until

    def wait(self, stopped: Callable[[], bool] = lambda: False) -> None:
        while self.is_held() and not stopped():
            self._nap(LOOK_EVERY)

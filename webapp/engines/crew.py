"""How many threads of a model compute at the same time: as many as there are cores that nobody else uses.

ggml's threads wait for each other in a loop. One that has no core of its own keeps the others waiting for its turn of
the scheduler at each of a token's hundreds of steps, and they burn their cores meanwhile: on two cores that other work
wants too, two threads wrote 5 to 15 times slower than one (docs/benchmarks.md).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

LOOK = 0.1  # seconds between two looks
STALE = 2.0  # what was seen longer ago says nothing
NEARLY = 0.35  # of a core: so much others may use of it
GLANCES, BETWEEN = 4, 0.003  # and seconds: who runs at one moment may only pass by
QUOTA = Path("/sys/fs/cgroup/cpu.max")
RUNNING = Path("/proc/loadavg")


class Crew:
    """most: threads at most. fixed: always so many, since somebody said so."""

    def __init__(self, most: int, *, fixed: bool = False) -> None:
        self.most, self.fixed = most, fixed or most == 1
        self.threads = most
        self.at, self.busy, self.own = -STALE, 0.0, 0.0

    def now(self) -> int:
        """How many threads the next step may use."""
        if not self.fixed and (passed := time.monotonic() - self.at) >= LOOK:
            self._look(passed)
        return self.threads

    def _look(self, passed: float) -> None:
        busy, own = _busy(), time.process_time()
        if busy is None:
            self.fixed = True  # nothing can be seen here
            return
        if passed < STALE:
            others = max(0.0, (busy - self.busy) - (own - self.own)) / passed
        else:
            others = _running_others()
        self.threads = max(1, min(self.most, int(cores() - others + NEARLY)))
        self.at, self.busy, self.own = time.monotonic(), busy, own


def cores() -> int:
    """Processors this process may use: those of the machine, its affinity and its container's share."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    with suppress(OSError, ValueError):
        share, period = QUOTA.read_text("ascii").split()
        if share != "max":
            count = min(count, max(1, int(share) // int(period)))
    return max(1, count)


def _busy() -> float | None:
    """Processor seconds all processes used since the machine started."""
    import psutil

    try:
        times = psutil.cpu_times()
    except (psutil.Error, OSError):
        return None
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # Linux counts them in `user` already
    return float(sum(times) - idle - guests)


def _running_others() -> float:
    """How many want a processor beside us; 0 where nobody says so.

    The process that has just asked runs for a moment too, on its way back to sleep. To count it would cost the first step
    of a prompt a core, a second or so: whoever is gone at one of a few glances does not count.
    """
    fewest = _runs_now() - 1
    for _ in range(GLANCES - 1):
        if fewest <= 0:
            break
        time.sleep(BETWEEN)
        fewest = min(fewest, _runs_now() - 1)
    return max(0.0, fewest)


def _runs_now() -> float:
    with suppress(OSError, ValueError, IndexError):
        return float(RUNNING.read_text("ascii").split()[3].partition("/")[0])
    return 0.0

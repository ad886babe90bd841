"""Counters of the machine over the last minutes, and what happened between two of them.

A speed is a difference: one look at a counter that grows since boot says nothing about now. The sampler reads while
somebody looks and for a minute after, so that an idle server does nothing, and keeps five minutes for the charts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil

from webapp.system.gpu import nvml

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds between two readings
SPAN = 300.0  # seconds of history
IDLE = 60.0  # seconds without a look until the sampler stops
FIRST = 0.2  # the first look waits this long for its second reading
GAP = 3  # readings further apart than so many intervals do not belong together

Counters = Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """Counters at one moment. `at` is monotonic and for differences, `wall` is for people. None: not reported."""

    at: float
    wall: float
    cpu: Counters | None = None  # seconds in each state since boot
    memory_percent: float | None = None
    network: Counters | None = None
    disk: Counters | None = None
    gpu: tuple[float | None, ...] = ()


def take_reading() -> Reading:
    memory = ask("virtual_memory")
    return Reading(
        at=time.monotonic(),
        wall=time.time(),
        cpu=_fields(ask("cpu_times")),
        memory_percent=None if memory is None else memory.percent,
        network=_fields(ask("net_io_counters")),
        disk=_fields(ask("disk_io_counters")),
        gpu=nvml.busy(),
    )


def ask(name: str, *args: Any, **options: Any) -> Any:
    """What psutil says, or None. It raises many things where a platform, container or sandbox hides a file."""
    try:
        return getattr(psutil, name)(*args, **options)
    except Exception as exc:
        log.debug("psutil.%s: %s: %s", name, type(exc).__name__, exc)
        return None


def _fields(found: Any) -> Counters | None:
    return None if found is None else found._asdict()


@dataclass(frozen=True)
class Rates:
    """What happened from one reading to a later one."""

    first: Reading
    last: Reading

    @property
    def seconds(self) -> float:
        return self.last.at - self.first.at

    def per_second(self, part: str, name: str) -> float | None:
        """`part` is network or disk. None when a counter is missing or went back (a device left, a counter wrapped)."""
        grown = _grown(getattr(self.first, part), getattr(self.last, part), name)
        return None if grown is None or self.seconds <= 0 else round(grown / self.seconds, 2)

    def cpu_percent(self, *states: str) -> float | None:
        """Share of all CPU time that was spent in these states; without any: busy."""
        total = self._cpu_total()
        if total is None or total <= 0:
            return None
        wanted = [self._cpu(name) for name in states or ("idle", "iowait")]
        if not any(part is not None for part in wanted):
            return None
        share = sum(part or 0.0 for part in wanted) / total * 100
        return round(min(100.0, max(0.0, share if states else 100 - share)), 1)

    def _cpu_total(self) -> float | None:
        if not self.last.cpu:
            return None
        # Time given to guests is counted in `user` and `nice` already.
        parts = [self._cpu(name) for name in self.last.cpu if not name.startswith("guest")]
        return sum(part or 0.0 for part in parts)

    def _cpu(self, name: str) -> float | None:
        return _grown(self.first.cpu, self.last.cpu, name)


def _grown(before: Counters | None, after: Counters | None, name: str) -> float | None:
    if before is None or after is None or name not in before or name not in after:
        return None
    grown = after[name] - before[name]
    return grown if grown >= 0 else None


class Sampler:
    def __init__(
        self,
        read: Callable[[], Reading] = take_reading,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        every: float = EVERY,
        idle: float = IDLE,
        span: float = SPAN,
    ) -> None:
        self._read, self._clock, self._sleep = read, clock, sleep
        self.every, self.idle, self.span = every, idle, span
        self._readings: deque[Reading] = deque(maxlen=int(span / every) + 2)
        self._looked = float("-inf")
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._first_look = threading.Lock()
        self._stop = threading.Event()

    def look(self) -> Rates:
        """What happened lately. The first look takes a short sample of its own, later ones wait for nothing."""
        with self._lock:
            self._looked = self._clock()
        with self._first_look:  # nine endpoints asked at once share one short sample
            if not self._fresh():
                self._add()
                self._sleep(FIRST)
                self._add()
        self._keep_reading()
        with self._lock:
            return Rates(self._readings[-2], self._readings[-1])

    def history(self) -> list[Reading]:
        with self._lock:
            after = self._clock() - self.span
            return [reading for reading in self._readings if reading.at >= after]

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()

    def _fresh(self) -> bool:
        with self._lock:
            if len(self._readings) < 2:
                return False
            before, last = self._readings[-2], self._readings[-1]
            return self._clock() - last.at <= 2 * self.every and belong_together(before, last, self.every)

    def _add(self) -> None:
        reading = self._read()
        with self._lock:
            self._readings.append(reading)

    def _keep_reading(self) -> None:
        with self._lock:
            if self.running or self._stop.is_set():
                return
            self._thread = threading.Thread(target=self._run, name="system-sampler", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self.every):
            with self._lock:
                if self._clock() - self._looked > self.idle:
                    self._thread = None  # under the lock: a look that comes now starts another
                    return
            self._add()


def belong_together(before: Reading, after: Reading, every: float = EVERY) -> bool:
    """False across the time in which nobody looked."""
    return 0 < after.at - before.at <= GAP * every


def steps(readings: list[Reading]) -> list[Rates | None]:
    """What happened between each two neighbours; None where there is a gap."""
    return [Rates(a, b) if belong_together(a, b) else None for a, b in pairwise(readings)]


sampler = Sampler()

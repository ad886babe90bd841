"""A machine that says what the test wants, and the application with the cast logged in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.conftest import make_cast
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.runtime import Runtime
from webapp.system import sampler as sampler_module
from webapp.system import service, views
from webapp.system.gpu import Nvml
from webapp.system.sampler import Reading, Sampler


@pytest.fixture
def site(make_rt: Callable[..., Runtime]) -> Iterator[Site]:
    rt = make_rt(AUTH_REQUIRED="1", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


class Machine:
    """Readings in the order given (the last one again and again), on a clock that only sleeping moves."""

    def __init__(self, *readings: Reading) -> None:
        self.readings = list(readings)
        self.now = readings[0].at if readings else 0.0
        self.slept: list[float] = []
        self.reads = 0
        self._lock = threading.Lock()

    def read(self) -> Reading:
        with self._lock:
            self.reads += 1
            return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def sampler(self, **options: Any) -> Sampler:
        return Sampler(self.read, clock=lambda: self.now, sleep=self.sleep, **options)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Machine]]:
    """`machine(*readings)` takes the place of the real one in service and pages."""
    made: list[Sampler] = []

    def use(*readings: Reading) -> Machine:
        fake = Machine(*readings)
        sampler = fake.sampler(every=3600, span=3600 * 500)
        for module in (sampler_module, service, views):
            monkeypatch.setattr(module, "sampler", sampler)
        made.append(sampler)
        return fake

    yield use
    for sampler in made:
        sampler.stop()


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ImportError

    monkeypatch.setattr(service, "nvml", Nvml(missing))


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch, no_gpu: None) -> None:
    """A machine that refuses every question."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError("hidden")

    for name in ("virtual_memory", "swap_memory", "disk_usage", "disk_io_counters", "net_io_counters", "net_if_stats",
                 "cpu_freq", "cpu_count", "boot_time", "pids"):  # fmt: skip
        monkeypatch.setattr(psutil, name, refuse)
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    monkeypatch.delattr(service.os, "getloadavg")


def cpu(**seconds: float) -> dict[str, float]:
    return {"user": 0.0, "system": 0.0, "idle": 0.0, "iowait": 0.0, **seconds}


def sensor(current: float | None, label: str = "") -> Any:
    return SimpleNamespace(current=current, label=label)

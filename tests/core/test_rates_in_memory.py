"""Rates of embedded mode: a sliding window counted in this process."""

from __future__ import annotations

import pytest

from webapp.core import limits
from webapp.core.limits import MemoryLimits


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000_000 * 60.0]
    monkeypatch.setattr(limits.time, "time", lambda: now[0])
    return now


def test_the_number_of_hits_is_the_limit(clock: list[float]) -> None:
    counted = MemoryLimits()
    answers = [counted.hit("a", "3/minute") for _ in range(5)]
    assert answers[:3] == [None] * 3
    assert all(answers[3:])
    assert counted.hit("b", "3/minute") is None


@pytest.mark.parametrize("passed", [0.0, 7.0, 30.0, 59.0])
def test_waiting_as_long_as_told_is_enough(clock: list[float], passed: float) -> None:
    counted = MemoryLimits()
    clock[0] += passed
    while (wait := counted.hit("a", "10/minute")) is None:
        clock[0] += 0.1
    clock[0] += wait
    assert counted.hit("a", "10/minute") is None
    assert wait <= 60


def test_a_steady_caller_within_the_rate_is_never_refused(clock: list[float]) -> None:
    counted = MemoryLimits()
    for _ in range(200):
        clock[0] += 6.5
        assert counted.hit("a", "10/minute") is None


def test_old_windows_are_forgotten(clock: list[float]) -> None:
    counted = MemoryLimits()
    for n in range(20_001):
        counted.hit(str(n), "10/minute")
    clock[0] += 200
    counted.hit("late", "10/minute")
    assert len(counted._windows) < 3

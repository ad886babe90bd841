"""A person who waits goes before what works in the background of the same process, but not for ever."""

from __future__ import annotations

import pytest

from webapp.core.foreground import LONGEST, Foreground


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def nap(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def test_the_background_waits_until_there_is_something_to_read(time: Time) -> None:
    foreground = Foreground(time.clock, time.nap)
    foreground.wait()
    assert time.now == 100.0
    foreground.hold()
    foreground.wait(stopped=lambda: time.now >= 100.5 and (foreground.release() or False))
    assert time.now == pytest.approx(100.5, abs=0.05)
    assert not foreground.is_held()


def test_it_waits_for_a_slow_answer_only_so_long(time: Time) -> None:
    foreground = Foreground(time.clock, time.nap)
    foreground.hold()
    foreground.wait()
    assert time.now == pytest.approx(100.0 + LONGEST, abs=0.05)


def test_who_asks_without_end_gets_two_thirds_of_the_time(time: Time) -> None:
    foreground, held = Foreground(time.clock, time.nap), 0
    for _ in range(1000):
        foreground.hold()
        held += foreground.is_held()
        time.nap(0.1)
    assert held == pytest.approx(667, abs=30)


def test_short_answers_may_follow_each_other(time: Time) -> None:
    foreground = Foreground(time.clock, time.nap)
    for _ in range(5):
        foreground.hold()
        assert foreground.is_held()
        time.nap(0.1)
        foreground.release()
        time.nap(0.05)


def test_a_crawl_that_is_stopped_does_not_wait(time: Time) -> None:
    foreground = Foreground(time.clock, time.nap)
    foreground.hold()
    foreground.wait(stopped=lambda: True)
    assert time.now == 100.0


def test_who_asks_while_the_background_is_free_has_it_held_from_the_end_of_that(time: Time) -> None:
    foreground = Foreground(time.clock, time.nap)
    foreground.hold()
    time.nap(0.5)
    foreground.release()
    foreground.hold()
    assert not foreground.is_held()
    time.nap(0.26)
    assert foreground.is_held()
    foreground.release()
    time.nap(0.02)
    foreground.hold()
    assert foreground.is_held()


def test_an_answer_before_the_hold_began_leaves_nothing_behind(time: Time) -> None:
    foreground = Foreground(time.clock, time.nap)
    foreground.hold()
    time.nap(1.0)
    foreground.release()
    foreground.hold()
    time.nap(0.25)
    foreground.release()
    time.nap(0.3)
    assert not foreground.is_held()
    foreground.hold()
    assert foreground.is_held()

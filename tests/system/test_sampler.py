"""Speeds are differences between two readings; the sampler works only while somebody looks."""

from __future__ import annotations

import threading
import time

import pytest

from tests.system.conftest import Machine, cpu
from webapp.system.sampler import FIRST, Rates, Reading, Sampler, belong_together, steps, take_reading


def network(received: float) -> dict[str, float]:
    return {"bytes_recv": received, "bytes_sent": 5.0}


def test_a_speed_is_the_difference_over_the_time_between() -> None:
    rates = Rates(Reading(10, 0, network=network(1_000_000)), Reading(14, 0, network=network(1_002_000)))
    assert rates.per_second("network", "bytes_recv") == 500
    assert rates.per_second("network", "bytes_sent") == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, network(5)),
        (network(5), None),
        (network(9), network(5)),
        ({}, network(5)),
        (network(5), {"bytes_sent": 1}),
    ],
    ids=["nothing before", "nothing after", "went back", "name missing before", "name missing after"],
)
def test_a_speed_that_cannot_be_known_is_none(before: dict[str, float] | None, after: dict[str, float] | None) -> None:
    assert (
        Rates(Reading(1, 0, network=before), Reading(2, 0, network=after)).per_second("network", "bytes_recv") is None
    )


def test_two_readings_at_the_same_moment_have_no_speed() -> None:
    assert (
        Rates(Reading(1, 0, network=network(1)), Reading(1, 0, network=network(9))).per_second("network", "bytes_recv")
        is None
    )


def test_cpu_use_is_the_share_that_was_not_idle() -> None:
    before = Reading(0, 0, cpu=cpu(user=100, system=50, idle=1000, iowait=10))
    after = Reading(2, 0, cpu=cpu(user=101, system=50.5, idle=1002, iowait=10.5))
    rates = Rates(before, after)
    assert rates.cpu_percent() == 37.5
    assert [rates.cpu_percent(name) for name in ("user", "system", "idle")] == [25, 12.5, 50]


def test_time_given_to_guests_is_not_counted_twice() -> None:
    before = Reading(0, 0, cpu=cpu(guest=0.0))
    after = Reading(2, 0, cpu=cpu(user=1, idle=1, guest=1.0))
    assert Rates(before, after).cpu_percent() == 50


def test_cpu_use_is_none_without_counters_or_without_time() -> None:
    assert Rates(Reading(0, 0), Reading(2, 0)).cpu_percent() is None
    assert Rates(Reading(0, 0, cpu=cpu()), Reading(2, 0, cpu=cpu())).cpu_percent() is None
    assert Rates(Reading(0, 0, cpu=cpu()), Reading(2, 0, cpu=cpu(idle=1))).cpu_percent("steal") is None


def test_the_first_look_takes_a_short_sample_and_the_next_ones_wait_for_nothing() -> None:
    machine = Machine(Reading(0, 0), Reading(0.2, 0))
    sampler = machine.sampler()
    first = sampler.look()
    assert (first.first.at, first.last.at) == (0, 0.2)
    assert machine.slept == [FIRST]
    sampler.look()
    assert machine.slept == [FIRST]
    sampler.stop()


def test_many_first_looks_at_once_share_one_sample() -> None:
    machine = Machine(Reading(0, 0), Reading(0.2, 0))
    sampler = machine.sampler()
    threads = [threading.Thread(target=sampler.look) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    sampler.stop()
    assert machine.slept == [FIRST]


def test_a_look_after_a_long_pause_does_not_average_over_the_pause() -> None:
    machine = Machine(Reading(0, 0), Reading(0.2, 0), Reading(500, 0), Reading(500.2, 0))
    sampler = machine.sampler(every=3600 / 100)
    sampler.look()
    machine.now = 500
    again = sampler.look()
    assert (again.first.at, again.last.at) == (500, 500.2)
    sampler.stop()


def test_it_reads_on_while_somebody_looks_and_stops_when_nobody_does() -> None:
    sampler = Sampler(lambda: Reading(time.monotonic(), 0), sleep=lambda _: None, every=0.01, idle=0.15)
    assert not sampler.running
    sampler.look()
    assert sampler.running
    _until(lambda: len(sampler.history()) > 4)
    _until(lambda: not sampler.running)
    sampler.look()
    assert sampler.running
    sampler.stop()
    _until(lambda: not sampler.running)


def _until(true: object, patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_history_forgets_what_is_older_than_its_span() -> None:
    machine = Machine(Reading(0, 0), Reading(0.2, 0), Reading(400, 0), Reading(400.2, 0))
    sampler = machine.sampler()
    sampler.look()
    machine.now = 400
    sampler.look()
    assert [reading.at for reading in sampler.history()] == [400, 400.2]
    sampler.stop()


def test_neighbours_with_a_gap_between_them_have_no_rate() -> None:
    readings = [Reading(0, 0), Reading(2, 0), Reading(60, 0), Reading(62, 0)]
    assert [step is not None for step in steps(readings)] == [True, False, True]
    assert not belong_together(readings[1], readings[1])


def test_a_reading_of_this_machine_costs_far_less_than_half_a_percent() -> None:
    take_reading()
    before = time.process_time()
    for _ in range(20):
        take_reading()
    cost = (time.process_time() - before) / 20
    assert cost < 0.005 * 2.0, f"{cost * 1000:.1f} ms each two seconds"

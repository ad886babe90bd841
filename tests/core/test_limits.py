"""Seats and rates: counted alike in memory and in Redis, and never the reason why nothing works."""

from __future__ import annotations

import time
from typing import Any

import pytest

from webapp.core.limits import Limits, MemoryLimits, RedisLimits


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def limits(request: Any) -> Limits:
    if request.param == "memory":
        return MemoryLimits()
    return RedisLimits(request.getfixturevalue("swept_services").redis_url)


def test_a_rate(limits: Limits) -> None:
    answers = [limits.hit("alice", "3/minute") for _ in range(5)]
    assert answers[:3] == [None, None, None]
    for wait in answers[3:]:
        assert isinstance(wait, int)
        assert 1 <= wait <= 60
    assert limits.hit("bob", "3/minute") is None
    assert limits.hit("alice", "5/hour") is None, "another rule counts by itself"


@pytest.mark.parametrize("key", ["", "a b", "\0", "é" * 500, "x" * 5000, "a:b/c%"])
def test_any_text_is_a_key(limits: Limits, key: str) -> None:
    assert [limits.hit(key, "1/minute") is None for _ in range(2)] == [True, False]


def test_seats(limits: Limits) -> None:
    groups = {"user:a": 2, "total": 3}
    assert limits.take_seat(groups, "1", 30) is None
    assert limits.take_seat(groups, "2", 30) is None
    assert limits.take_seat(groups, "3", 30) == "user:a"
    assert limits.take_seat({"user:b": 2, "total": 3}, "4", 30) is None
    assert limits.take_seat({"user:c": 2, "total": 3}, "5", 30) == "total"
    limits.free_seat(list(groups), "1")
    assert limits.take_seat({"user:c": 2, "total": 3}, "5", 30) is None


def test_the_refused_sits_nowhere(limits: Limits) -> None:
    limits.take_seat({"user:a": 1, "total": 2}, "1", 30)
    assert limits.take_seat({"total": 2, "user:a": 1}, "2", 30) == "user:a"
    assert limits.take_seat({"user:b": 1, "total": 2}, "3", 30) is None, "the refused one took no seat of the total"


def test_who_sits_may_sit_again(limits: Limits) -> None:
    for _ in range(3):
        assert limits.take_seat({"g": 1}, "1", 30) is None


def test_a_seat_ends_unless_it_is_kept(limits: Limits) -> None:
    limits.take_seat({"g": 2}, "kept", 0.3)
    limits.take_seat({"g": 2}, "left", 0.3)
    limits.keep_seats(["g"], ["kept"], 30)
    assert limits.take_seat({"g": 2}, "new", 30) == "g"
    time.sleep(0.35)
    assert limits.take_seat({"g": 2}, "new", 30) is None
    assert limits.take_seat({"g": 2}, "other", 30) == "g"


def test_freeing_what_nobody_has(limits: Limits) -> None:
    limits.free_seat(["nothing"], "nobody")
    limits.keep_seats([], [], 5)


def test_without_redis_everybody_passes() -> None:
    away = RedisLimits("redis://127.0.0.1:1/0")
    began = time.monotonic()
    assert away.hit("alice", "1/minute") is None
    assert away.hit("alice", "1/minute") is None
    assert away.take_seat({"g": 1}, "1", 5) is None
    away.keep_seats(["g"], ["1"], 5)
    away.free_seat(["g"], "1")
    assert time.monotonic() - began < 5

"""Bells: heard by every listener, harmless when one fails or nobody listens."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from webapp.core.bus import Bell, Bus, MemoryBus, RedisBus
from webapp.core.sender import RedisSender


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def buses(request: Any) -> Iterator[tuple[Bus, Bus]]:
    """One bus as two processes see it: where one rings, the other hears."""
    if request.param == "memory":
        bus = MemoryBus()
        yield bus, bus
        return
    url = request.getfixturevalue("swept_services").redis_url
    sender = RedisSender(url)
    ours, theirs = RedisBus(url, sender.send), RedisBus(url, sender.send)
    yield ours, theirs
    sender.close()
    ours.close()
    theirs.close()


def listen(bus: Any) -> queue.Queue[Bell]:
    heard: queue.Queue[Bell] = queue.Queue()
    bus.listen(heard.put)
    if hasattr(bus, "connected"):
        assert bus.connected.wait(10)
    return heard


def test_a_bell_arrives_as_it_was_rung(buses: tuple[Bus, Bus]) -> None:
    ours, theirs = buses
    heard = listen(theirs)
    for bell in (Bell("task", "id", 7, "owner"), Bell("due", "x", 0, None)):
        ours.ring(bell)
        assert heard.get(timeout=5) == bell


def test_everybody_hears_and_one_who_fails_hinders_nobody(buses: tuple[Bus, Bus]) -> None:
    ours, theirs = buses

    def broken(bell: Bell) -> None:
        raise RuntimeError("listener broke")

    theirs.listen(broken)
    first, second = listen(theirs), listen(theirs)
    ours.ring(Bell("task", "id", 1, None))
    assert first.get(timeout=5).seq == second.get(timeout=5).seq == 1


def test_who_stopped_listening_hears_no_more(buses: tuple[Bus, Bus]) -> None:
    ours, theirs = buses
    gone: list[Bell] = []
    stop = theirs.listen(gone.append)
    stays = listen(theirs)
    stop()
    ours.ring(Bell("task", "id", 1, None))
    stays.get(timeout=5)
    assert gone == []
    stop()


def test_ringing_without_a_listener(buses: tuple[Bus, Bus]) -> None:
    buses[0].ring(Bell("task", "id", 1, None))


def test_listeners_come_and_go_while_it_rings() -> None:
    bus = MemoryBus()
    stop = threading.Event()
    failed: list[Exception] = []

    def come_and_go() -> None:
        try:
            while not stop.is_set():
                bus.listen(lambda bell: None)()
        except Exception as exc:
            failed.append(exc)

    thread = threading.Thread(target=come_and_go)
    thread.start()
    for number in range(2000):
        bus.ring(Bell("task", "id", number, None))
    stop.set()
    thread.join(10)
    assert failed == []


def test_a_redis_that_is_away_costs_the_caller_no_time() -> None:
    """F05: a request never waits for Redis."""
    sender = RedisSender("redis://127.0.0.1:1/0", backlog=50)
    bus = RedisBus("redis://127.0.0.1:1/0", sender.send)
    began = time.monotonic()
    for number in range(500):
        bus.ring(Bell("task", "id", number, None))
    assert time.monotonic() - began < 1
    bus.close()
    sender.close()

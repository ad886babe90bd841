"""Wake-ups: one push, one pop, by memory and by Redis; and what leaves when Redis was away for a while."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from webapp.core import broker as brokers
from webapp.core.broker import MemoryBroker, PullingThread, RedisBroker, WakeBroker
from webapp.core.jobs import TASK_JOBS
from webapp.core.sender import RedisSender

JOB = TASK_JOBS["crawling"]


def wait_for(look: Callable[[], Any], patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def broker(request: Any) -> Iterator[WakeBroker]:
    if request.param == "memory":
        yield MemoryBroker()
        return
    url = request.getfixturevalue("swept_services").redis_url
    sender = RedisSender(url)
    yield RedisBroker(url, sender.send)
    sender.close()


@pytest.fixture
def ran(broker: WakeBroker) -> Iterator[queue.Queue[str]]:
    """What two threads of the queue ran; an id that begins with `bad` raises."""
    out: queue.Queue[str] = queue.Queue()

    def run(task_id: str) -> None:
        out.put(task_id)
        if task_id.startswith("bad"):
            raise RuntimeError("broken")

    dramatiq.actor(run, actor_name=JOB.name, queue_name=JOB.queue, broker=broker)
    threads = [PullingThread(broker, JOB.queue) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield out
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_every_wake_up_runs_the_actor_once(broker: WakeBroker, ran: queue.Queue[str]) -> None:
    ids = [f"{'bad' if n % 7 == 0 else 'id'}{n}" for n in range(40)]
    for task_id in ids:
        broker.wake(JOB.queue, task_id)
    assert sorted(ran.get(timeout=10) for _ in ids) == sorted(ids)
    assert broker.depth(JOB.queue) == 0
    with pytest.raises(queue.Empty):
        ran.get(timeout=0.2)


def test_a_message_of_dramatiq_is_a_wake_up_and_is_never_delayed(broker: WakeBroker, ran: queue.Queue[str]) -> None:
    message = brokers.wake_message(JOB.queue, "one")
    broker.enqueue(message)
    assert ran.get(timeout=10) == "one"
    with pytest.raises(ValueError, match="row"):
        broker.enqueue(message, delay=1000)


@pytest.mark.services
def test_what_somebody_else_writes_into_redis_is_never_unpickled(
    swept_services: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A27: a wake-up is a word. Bytes that are none cost the thread a pause and run nothing."""
    import redis

    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "canary"),)

    sender = RedisSender(swept_services.redis_url)
    broker, done = RedisBroker(swept_services.redis_url, sender.send), queue.Queue[str]()
    dramatiq.actor(done.put, actor_name=JOB.name, queue_name=JOB.queue, broker=broker)
    monkeypatch.setattr(PullingThread, "RESTART_PAUSE", 0.01)
    client = redis.Redis.from_url(swept_services.redis_url)
    client.rpush(brokers._list(JOB.queue), pickle.dumps(Bomb()), b"\xff\xfe", b"fine")
    thread = PullingThread(broker, JOB.queue)
    thread.start()
    try:
        assert done.get(timeout=10) == "fine"
        assert not (tmp_path / "canary").exists()
    finally:
        thread.stop()
        thread.join(5)
        sender.close()


def test_nobody_takes_more_than_it_can_run(broker: WakeBroker) -> None:
    held, started = threading.Event(), queue.Queue[str]()

    def run(task_id: str) -> None:
        started.put(task_id)
        held.wait(20)

    dramatiq.actor(run, actor_name=JOB.name, queue_name=JOB.queue, broker=broker)
    thread = PullingThread(broker, JOB.queue)
    thread.start()
    for n in range(3):
        broker.wake(JOB.queue, str(n))
    assert started.get(timeout=10) == "0"
    wait_for(lambda: broker.depth(JOB.queue) == 2)
    thread.stop()
    held.set()
    thread.join(5)
    assert broker.depth(JOB.queue) == 2  # they stay for others


@pytest.mark.services
def test_what_is_sent_after_a_broken_connection_still_leaves(swept_services: Any) -> None:
    import redis

    name, key = f"t{uuid.uuid4().hex[:8]}", f"brainstem:test:{uuid.uuid4().hex}"
    client = redis.Redis.from_url(swept_services.redis_url)
    joined = "&" if "?" in swept_services.redis_url else "?"
    sender = RedisSender(f"{swept_services.redis_url}{joined}client_name={name}")

    def connection_id() -> str | None:
        return next((one["id"] for one in client.client_list() if one["name"] == name), None)

    try:
        sender.send("RPUSH", key, "first")
        wait_for(lambda: client.llen(key) == 1)
        client.client_kill_filter(_id=connection_id())
        wait_for(lambda: connection_id() is not None)  # it opens another by itself
        time.sleep(0.1)
        for n in range(3):
            sender.send("RPUSH", key, str(n))
        wait_for(lambda: client.llen(key) == 4)
        assert client.lrange(key, 0, -1) == [b"first", b"0", b"1", b"2"]
    finally:
        sender.close()
        client.delete(key)


@pytest.mark.services
def test_a_sender_that_asks_is_answered(swept_services: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question is the one command with an answer; nothing is lost or mixed up around it."""
    import redis

    monkeypatch.setattr("webapp.core.sender.ASK_EVERY", 0.0)
    key = f"brainstem:test:{uuid.uuid4().hex}"
    client = redis.Redis.from_url(swept_services.redis_url)
    sender = RedisSender(swept_services.redis_url)
    try:
        for n in range(200):
            sender.send("RPUSH", key, str(n))
            time.sleep(0.005)
        wait_for(lambda: client.llen(key) == 200)
        assert client.lrange(key, 0, -1) == [str(n).encode() for n in range(200)]
    finally:
        sender.close()
        client.delete(key)

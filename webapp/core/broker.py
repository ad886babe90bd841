"""Dramatiq brokers: in memory, and Redis with a doorbell.

Dramatiq's Redis consumer sleeps with growing pauses while its queue is empty (100-280 ms to start an idle
job). Ours waits on a list that the enqueue script also pushes to, so an idle worker starts in about a
millisecond at the same idle cost. Its own retries and delay queue are not used: attempts and due times live
in the task's row (design rule 6, 7).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dramatiq import Message
from dramatiq.broker import Broker
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.brokers.stub import StubBroker
from dramatiq.errors import ConnectionClosed

from webapp.core.jobs import QUEUES, TASK_JOBS

_ENQUEUE = """
redis.call('hset', KEYS[2], ARGV[1], ARGV[2])
redis.call('rpush', KEYS[1], ARGV[1])
redis.call('lpush', KEYS[3], 1)
redis.call('ltrim', KEYS[3], 0, 63)
"""


def memory_broker() -> StubBroker:
    broker = StubBroker(middleware=[])
    _declare(broker)
    return broker


_ACK = """
if redis.call('srem', KEYS[1], ARGV[1]) > 0 then redis.call('hdel', KEYS[2], ARGV[1]) end
"""

Later = Callable[[Callable[[Any], Any]], None]


def redis_broker(url: str, later: Later | None = None) -> BellBroker:
    """`later` runs a Redis command on the process's sender thread; acknowledgements go there."""
    # Many workers and few brokers: repair the queues of dead ones often, it is a cheap command.
    import redis

    client = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, max_connections=200)
    broker = BellBroker(
        client=client, middleware=[], namespace="brainstem", heartbeat_timeout=15_000, maintenance_chance=100_000
    )
    broker.later = later
    _declare(broker)
    return broker


def wake_message(queue: str, task_id: str) -> Message[Any]:
    return Message(queue_name=queue, actor_name=TASK_JOBS[queue].name, args=(task_id,), kwargs={}, options={})


def _declare(broker: Broker) -> None:
    for queue in QUEUES:
        broker.declare_queue(queue)


class BellBroker(RedisBroker):
    """Redis broker whose consumers wait at a doorbell."""

    later: Later | None = None

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        return _BellConsumer

    def declare_queue(self, queue_name: str) -> None:
        # Without its delay queue: nothing of ours is delayed, and an idle delay consumer would poll for ever.
        self.emit_before("declare_queue", queue_name)
        self.queues.add(queue_name)
        self.emit_after("declare_queue", queue_name)

    def enqueue_on(self, redis: Any, message: Message[Any]) -> None:
        """Enqueue through a client or pipeline of the caller's, in one round trip."""
        queue = message.queue_name
        keys = [f"{self.namespace}:{queue}", f"{self.namespace}:{queue}.msgs", _bell(queue)]
        options = {"redis_message_id": message.message_id, **message.options}
        data = message.copy(options=options).encode()
        redis.eval(_ENQUEUE, 3, *keys, message.message_id, data)

    def ack_on(self, redis: Any, queue: str, message_id: str) -> None:
        keys = [f"{self.namespace}:__acks__.{self.broker_id}.{queue}", f"{self.namespace}:{queue}.msgs"]
        redis.eval(_ACK, 2, *keys, message_id)

    def depth(self, queue: str) -> int:
        """Messages waiting in Redis (those a worker has fetched are not counted)."""
        return int(self.client.llen(f"{self.namespace}:{queue}"))


class _BellConsumer(_RedisConsumer):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._freed = threading.Event()

    def ack(self, message: Any) -> None:
        """Told to Redis by the sender thread: a lost acknowledgement is one wake-up too many, and those are harmless."""
        later, broker, queue = self.broker.later, self.broker, self.queue_name
        if later is None:
            with _timeouts_are_lost_connections():
                super().ack(message)
        else:
            self.queued_message_ids.discard(message.message_id)
            message_id = message.options["redis_message_id"]
            later(lambda redis: broker.ack_on(redis, queue, message_id))
        self._freed.set()

    def nack(self, message: Any) -> None:
        with _timeouts_are_lost_connections():
            super().nack(message)
        self._freed.set()

    def requeue(self, messages: Any) -> None:
        with _timeouts_are_lost_connections():
            super().requeue(messages)

    def __next__(self) -> Any:
        with _timeouts_are_lost_connections():
            if not self.message_cache and not self._fill():
                return None
            return super().__next__()

    def _fill(self) -> bool:
        self._freed.clear()
        room = self.prefetch - self.outstanding_message_count
        if room <= 0:
            self._freed.wait(self.timeout / 1000)
            return False
        self.message_cache = self.broker.do_fetch(self.queue_name, room)
        if self.message_cache:
            return True
        if self.broker.client.blpop([_bell(self.queue_name)], timeout=max(1.0, self.timeout / 1000)):
            self.message_cache = self.broker.do_fetch(self.queue_name, room)
        return bool(self.message_cache)


@contextmanager
def _timeouts_are_lost_connections() -> Iterator[None]:
    """redis.TimeoutError is no ConnectionError, and Dramatiq only survives the latter."""
    import redis

    try:
        yield
    except (redis.TimeoutError, redis.ConnectionError) as exc:
        raise ConnectionClosed(exc) from None


def _bell(queue: str) -> str:
    return f"brainstem:bell:{queue}"

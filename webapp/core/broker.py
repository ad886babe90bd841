"""Dramatiq brokers whose messages are wake-ups and nothing more: a list of task ids per queue, in memory or in Redis.

Dramatiq's own Redis broker stores, fetches and acknowledges each message, and sleeps between looks at an empty queue
(100-280 ms to start an idle job); its worker has one thread that fetches and others that run. Here a wake-up is one
push by whoever commits and one blocking pop by the very thread that will run the task, since an idle processor that
has to be woken costs more than all the code between. A wake-up that dies with its worker is found missing by the sweep
(design rule 1). Retries and delays of Dramatiq are not used: attempts and due times live in the task's row (rules 6, 7).
"""

from __future__ import annotations

import logging
import queue as queues
import threading
from typing import Any, Protocol

from dramatiq import Message
from dramatiq.broker import Broker, MessageProxy
from dramatiq.worker import WorkerThread

from webapp.core.jobs import QUEUES, TASK_JOBS
from webapp.core.sender import Send

log = logging.getLogger(__name__)

POP_SECONDS = 1.0  # how long one pop waits, and so how long a thread may take to hear that it should stop


class Puller(Protocol):
    """One thread's way to a queue."""

    def pop(self) -> str | None:
        """A task id, or None after `POP_SECONDS` without one. May raise anything when the queue is out of reach."""

    def close(self) -> None: ...


class WakeBroker(Broker):
    """What both kinds have in common. Actors are declared and found as on any Dramatiq broker."""

    def __init__(self) -> None:
        super().__init__(middleware=[])
        for queue in QUEUES:
            self.declare_queue(queue)

    def declare_queue(self, queue_name: str) -> None:
        self.queues.setdefault(queue_name, None)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        if delay is not None:
            raise ValueError("due times live in the task's row")
        self.wake(message.queue_name, message.args[0])
        return message

    def wake(self, queue: str, task_id: str) -> None:
        raise NotImplementedError

    def depth(self, queue: str) -> int:
        """Wake-ups that wait (without those a worker has popped)."""
        raise NotImplementedError

    def puller(self, queue: str) -> Puller:
        raise NotImplementedError


class MemoryBroker(WakeBroker):
    def declare_queue(self, queue_name: str) -> None:
        self.queues.setdefault(queue_name, queues.SimpleQueue())

    def wake(self, queue: str, task_id: str) -> None:
        self.queues[queue].put(task_id)

    def depth(self, queue: str) -> int:
        return int(self.queues[queue].qsize())

    def puller(self, queue: str) -> Puller:
        return _MemoryPuller(self.queues[queue])


class _MemoryPuller:
    def __init__(self, queue: queues.SimpleQueue[str]) -> None:
        self._queue = queue

    def pop(self) -> str | None:
        try:
            return self._queue.get(timeout=POP_SECONDS)
        except queues.Empty:
            return None

    def close(self) -> None:
        return None


class RedisBroker(WakeBroker):
    """`send` takes the words of a Redis command and never waits for Redis."""

    def __init__(self, url: str, send: Send) -> None:
        super().__init__()
        self._url, self._send = url, send
        self._client: Any = None

    def wake(self, queue: str, task_id: str) -> None:
        self._send("RPUSH", _list(queue), task_id)

    def depth(self, queue: str) -> int:
        if self._client is None:
            import redis

            self._client = redis.Redis.from_url(self._url, socket_timeout=5, socket_connect_timeout=2)
        return int(self._client.llen(_list(queue)))

    def puller(self, queue: str) -> Puller:
        return _RedisPuller(self._url, _list(queue))


class _RedisPuller:
    """Speaks on a bare connection: of the client's layers, only the protocol is needed."""

    def __init__(self, url: str, key: str) -> None:
        import redis

        pool = redis.ConnectionPool.from_url(url, socket_timeout=POP_SECONDS + 4, socket_connect_timeout=2)
        self._connection, self._key = pool.make_connection(), key

    def pop(self) -> str | None:
        self._connection.send_command("BLPOP", self._key, POP_SECONDS)
        found = self._connection.read_response()
        return None if found is None else found[1].decode()

    def close(self) -> None:
        self._connection.disconnect()


def _list(queue: str) -> str:
    return f"brainstem:{queue}"


class PullingThread(WorkerThread):
    """A Dramatiq worker thread of one queue that pulls its messages itself."""

    RESTART_PAUSE = 1.0  # seconds, when the queue was out of reach

    def __init__(self, broker: WakeBroker, queue: str) -> None:
        nowhere: Any = _Nowhere()
        super().__init__(broker=broker, consumers={queue: nowhere}, work_queue=nowhere, worker_timeout=1000)
        self.name = f"worker-{queue}"
        self.queue, self.running = queue, True
        self._new_puller = lambda: broker.puller(queue)
        self._told_to_stop = threading.Event()

    def run(self) -> None:
        while self.running:
            puller = self._new_puller()
            try:
                self._serve(puller)
            except Exception as exc:
                log.warning("cannot wait for work on %s (%s); trying again", self.queue, type(exc).__name__)
                self._told_to_stop.wait(self.RESTART_PAUSE)
            finally:
                puller.close()

    def _serve(self, puller: Puller) -> None:
        while self.running:
            task_id = puller.pop()
            if task_id is not None:
                self.process_message(MessageProxy(wake_message(self.queue, task_id)))

    def stop(self) -> None:
        super().stop()
        self._told_to_stop.set()


class _Nowhere:
    """What Dramatiq's thread reports to when it is done with a message: nobody waits for that here."""

    def post_process_message(self, message: MessageProxy) -> None:
        return None

    def task_done(self) -> None:
        return None


def wake_message(queue: str, task_id: str) -> Message[Any]:
    return Message(queue_name=queue, actor_name=TASK_JOBS[queue].name, args=(task_id,), kwargs={}, options={})

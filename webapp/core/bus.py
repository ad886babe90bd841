"""The bell: tells other threads and processes that a task moved. Carries no data, may be lost.

A bell is `(kind, id, seq, owner)`: kind "task" (new events up to `seq`), "text" (live text
of so many bytes, see `streams.py`), "place" (something else that pages show moved; its id is `<sort>:<id>`) or
"cancel" (look at the flag).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from webapp.core.sender import Send

log = logging.getLogger(__name__)


class Bell(NamedTuple):
    kind: str
    id: str
    seq: int
    owner: str | None


Listener = Callable[[Bell], None]


class Bus(Protocol):
    def ring(self, bell: Bell) -> None: ...
    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` (which must be quick) for each bell; returns how to stop."""

    def close(self) -> None: ...


class MemoryBus:
    """Inside one process: a bell is a function call."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()

    def ring(self, bell: Bell) -> None:
        for listener in self._listeners:
            try:
                listener(bell)
            except Exception:
                log.exception("a bell's listener failed")

    def listen(self, listener: Listener) -> Callable[[], None]:
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def stop() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return stop

    def close(self) -> None:
        self._listeners = ()


class RedisBus:
    """One subscription per process, fanned out in memory; the first listener opens it.

    `send` takes the words of a Redis command and never waits for Redis.
    """

    CHANNEL = "brainstem:bells"

    def __init__(self, url: str, send: Send) -> None:
        self._url = url
        self._send = send
        self._local = MemoryBus()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self.connected = threading.Event()

    def ring(self, bell: Bell) -> None:
        payload = json.dumps(bell, separators=(",", ":"))
        self._send("PUBLISH", self.CHANNEL, payload)

    def listen(self, listener: Listener) -> Callable[[], None]:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bus", daemon=True)
                self._thread.start()
        return self._local.listen(listener)

    def close(self) -> None:
        self._closed.set()
        self._local.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._subscribe()
            except Exception as exc:
                self.connected.clear()
                log.warning("bell subscription lost (%s); trying again", type(exc).__name__)
                self._closed.wait(0.5)

    def _subscribe(self) -> None:
        import redis

        client = redis.Redis.from_url(self._url, socket_timeout=15, socket_connect_timeout=2, health_check_interval=5)
        with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(self.CHANNEL)
            self.connected.set()
            last_ping = time.monotonic()
            while not self._closed.is_set():
                message = pubsub.get_message(timeout=1.0)
                if message is not None and message["type"] == "message":
                    self._local.ring(Bell(*json.loads(message["data"])))
                elif time.monotonic() - last_ping > 5:
                    last_ping = time.monotonic()
                    pubsub.ping()

"""One connection per process on which wake-ups and bells leave, so that no request waits for Redis.

Redis is told not to answer on it (`CLIENT REPLY OFF`): whoever commits writes a few bytes into the socket's buffer and
goes on, and no other thread has to wake up for it. A thread opens the connection, asks now and then whether Redis still
hears, and opens it again. What is sent while it is not open is kept, up to `backlog` commands, the oldest forgotten
first: every one of them is a wake-up or a bell, and the sweep finds what was not woken (design rules 1 and 2).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Send = Callable[..., None]  # takes the words of one Redis command

PATIENCE = 0.3  # seconds for a connection, an answer, and (once) for a buffer that a frozen Redis has left full
ASK_EVERY = 5.0


class RedisSender:
    def __init__(self, url: str, *, backlog: int = 20_000) -> None:
        self._url = url
        self._waiting: deque[tuple[Any, ...]] = deque(maxlen=backlog)
        self._connection: Any = None  # open, and not known to be broken
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._tried = threading.Event()
        self._last_complaint = 0.0

    def send(self, *words: Any) -> None:
        """Send one command, at once or when Redis is there again. Never raises, never waits for an answer."""
        with self._lock:
            if self._connection is None:
                self._waiting.append(words)
                self._start()
                return
            try:
                self._connection.send_command(*words)
            except Exception as exc:
                self._connection = None
                self._waiting.append(words)
                self._complain(exc)

    def close(self) -> None:
        if self._thread is not None:
            self._tried.wait(1.0)  # what was sent by a process of few words leaves with the first connection
            self._stop.set()
            self._thread.join(2)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="redis-sender", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        pool = redis.ConnectionPool.from_url(
            self._url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        )
        while not self._stop.is_set():
            connection: Any = pool.make_connection()
            try:
                self._open(connection)
                self._watch(connection)
            except Exception as exc:
                self._complain(exc)
            with self._lock:
                self._connection = None
            connection.disconnect()
            self._tried.set()
            self._stop.wait(PATIENCE)

    def _open(self, connection: Any) -> None:
        connection.connect()
        connection.send_command("CLIENT", "REPLY", "OFF")
        with self._lock:
            while self._waiting:
                connection.send_command(*self._waiting[0])
                self._waiting.popleft()
            self._connection = connection
        self._tried.set()

    def _watch(self, connection: Any) -> None:
        """Returns when this process ends; raises when the connection did."""
        next_question = time.monotonic() + ASK_EVERY
        while not self._stop.is_set():
            if self._connection is not connection:
                return
            if connection.can_read(timeout=PATIENCE):
                raise ConnectionError("Redis spoke unasked")
            if time.monotonic() >= next_question:
                next_question = time.monotonic() + ASK_EVERY
                self._ask(connection)

    def _ask(self, connection: Any) -> None:
        with self._lock:
            connection.send_command("CLIENT", "REPLY", "ON")  # the one command that is answered
            connection.send_command("CLIENT", "REPLY", "OFF")
        connection.read_response()

    def _complain(self, exc: Exception) -> None:
        if time.monotonic() - self._last_complaint > 10:
            self._last_complaint = time.monotonic()
            log.warning("Redis does not take wake-ups (%s); the sweep will send them again", type(exc).__name__)

"""One thread per process that talks to Redis for it, so that no request waits for Redis.

Commands are gathered into pipelines. When Redis is away they are dropped: every one of them is a wake-up or
a bell, and the sweep finds what was not woken (design rules 1 and 2).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)
Command = Callable[[Any], Any]


class RedisSender:
    def __init__(self, url: str, *, backlog: int = 20_000, batch: int = 200) -> None:
        self._url, self._batch = url, batch
        self._queue: queue.Queue[Command | None] = queue.Queue(backlog)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._last_complaint = 0.0

    def send(self, command: Command) -> None:
        """Queue `command(pipeline)`; never blocks."""
        if self._thread is None:
            self._start()
        try:
            self._queue.put_nowait(command)
        except queue.Full:
            self._complain("backlog full")

    def close(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(2)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="redis-sender", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        client = redis.Redis.from_url(
            self._url, socket_timeout=0.5, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0)
        )
        while True:
            commands, last = self._gather()
            try:
                pipe = client.pipeline(transaction=False)
                for command in commands:
                    command(pipe)
                pipe.execute(raise_on_error=False)
            except Exception as exc:
                self._complain(type(exc).__name__)
            if last:
                return

    def _gather(self) -> tuple[list[Command], bool]:
        commands = [self._queue.get()]
        while len(commands) < self._batch:
            try:
                commands.append(self._queue.get_nowait())
            except queue.Empty:
                break
        wanted = [command for command in commands if command is not None]
        return wanted, len(wanted) != len(commands)

    def _complain(self, why: str) -> None:
        if time.monotonic() - self._last_complaint > 10:
            self._last_complaint = time.monotonic()
            log.warning("Redis did not take wake-ups (%s); the sweep will send them again", why)

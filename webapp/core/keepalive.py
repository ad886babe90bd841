"""Connections that wait for the next request of the same run (a crawl), so that not every page costs a handshake.

`webapp.core.http` opens, judges and uses them; this is only where they wait. One `KeptAlive` belongs to one run and
is closed with it: nothing leaks from one user's fetches into another's. A connection is given out again only for the
origin it was opened for, and only while its address is among those the gate has just judged for that origin; so a
name that changes its address mid-crawl gets a new connection, judged like the first.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Self

Place = tuple[str, str, int, bool]  # scheme, host, port, reached by the operator's approval

MAX_IDLE = 64
MAX_IDLE_PER_PLACE = 16
IDLE_SECONDS = 10.0  # servers close after 5 to 75; a stale one costs a second try


class KeptAlive:
    """Thread-safe. Usable as a context manager; after `close` nothing is kept any more."""

    def __init__(self) -> None:
        self._idle: dict[Place, list[tuple[float, Any]]] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._closed = False

    def take(self, place: Place, addresses: tuple[str, ...]) -> Any:
        """A waiting connection to one of `addresses`, the freshest first, or None."""
        while (connection := self._pop(place)) is not None:
            if connection.address in addresses and connection.is_quiet():
                return connection
            connection.close()
        return None

    def _pop(self, place: Place) -> Any:
        with self._lock:
            waiting = self._idle.get(place)
            if not waiting:
                return None
            self._count -= 1
            since, connection = waiting.pop()
            if time.monotonic() - since <= IDLE_SECONDS:
                return connection
            old = [connection, *(one for _, one in waiting)]
            self._count -= len(waiting)
            del self._idle[place]
        for one in old:
            one.close()
        return None

    def give(self, place: Place, connection: Any) -> None:
        with self._lock:
            waiting = self._idle.setdefault(place, [])
            room = not self._closed and len(waiting) < MAX_IDLE_PER_PLACE and self._count < MAX_IDLE
            if room:
                waiting.append((time.monotonic(), connection))
                self._count += 1
        if not room:
            connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle, self._count = self._idle, {}, 0
        for waiting in idle.values():
            for _, connection in waiting:
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

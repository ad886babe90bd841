"""How many model files a process holds in memory: the next one waits until one of them is idle, and takes its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from webapp.core.errors import TaskCancelled, TaskTimedOut

LOOK = 0.1  # seconds between two looks at `cancelled`


class Loadable(Protocol):
    def unload(self) -> None: ...


class Slots:
    """Callers are served in the order they came, so that a busy model cannot keep another one out for ever."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._changed = threading.Condition()
        self._held: dict[Loadable, int] = {}  # model -> runs in it; the one used longest ago first
        self._line: list[object] = []

    @contextmanager
    def taken(self, model: Loadable, cancelled: Callable[[], bool], timeout: float) -> Iterator[None]:
        """While inside, `model` may be in memory. Raises TaskCancelled, or TaskTimedOut after `timeout` seconds."""
        self._enter(model, cancelled, time.monotonic() + timeout)
        try:
            yield
        finally:
            with self._changed:
                self._held[model] -= 1
                self._changed.notify_all()

    def _enter(self, model: Loadable, cancelled: Callable[[], bool], deadline: float) -> None:
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            try:
                while self._line[0] is not ticket or not self._admit(model):
                    if cancelled():
                        raise TaskCancelled("The work was stopped on request.")
                    if time.monotonic() > deadline:
                        raise TaskTimedOut("Another model was in use for the whole time.")
                    self._changed.wait(LOOK)
            finally:
                self._line.remove(ticket)
                self._changed.notify_all()

    def _admit(self, model: Loadable) -> bool:
        runs = self._held.pop(model, None)
        if runs is None and len(self._held) >= self.most:
            idle = next((one for one, busy in self._held.items() if not busy), None)
            if idle is None:
                return False
            del self._held[idle]
            idle.unload()
        self._held[model] = (runs or 0) + 1
        return True

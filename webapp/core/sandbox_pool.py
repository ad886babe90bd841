"""Children of the sandbox that take several calls: a fork for each page of a crawl costs more than some pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from webapp.core.errors import TooLarge
from webapp.core.sandbox import Child, ChildCrashed, unwrap


class Pool:
    """Children that take several calls one after the other, for a piece of work of one user: a fork each costs.

    Each call has its own limits of time and processor time; of the memory limit it has what the earlier calls left,
    and a child that kept more than 128 MiB of it is replaced, as is one after `calls` calls or `seconds` seconds. A call
    that ends its child ends nothing else; one that fails in a used child for want of memory or by a crash is made once
    more in a fresh one before it is blamed. Thread-safe: as many children as calls at the same time. They are nicer than
    other processes: what a person waits for goes first.
    """

    def __init__(self, calls: int = 100, seconds: float = 120.0) -> None:
        self.calls, self.seconds = calls, seconds
        self._idle: list[Child] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the children that rest; those at work end with their call."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for child in idle:
            child.close()

    def run(
        self,
        target: str,
        /,
        *args: Any,
        timeout: float,
        cpu_seconds: int | None = 30,
        memory_bytes: int | None = 2**30,
        cancelled: Callable[[], bool] = lambda: False,
        **kwargs: Any,
    ) -> Any:
        """As `run_in_child`, with the same errors."""
        request = {"target": target, "args": args, "kwargs": kwargs, "cpu": cpu_seconds, "memory": memory_bytes,
                   "stay": True}  # fmt: skip
        child = self._take(memory_bytes)
        used = child.calls > 0
        try:
            return self._ask(child, request, timeout, cancelled)
        except (ChildCrashed, TooLarge):
            if not used:
                raise
        return self._ask(Child().__enter__(), request, timeout, cancelled)

    def _ask(self, child: Child, request: dict[str, Any], timeout: float, cancelled: Callable[[], bool]) -> Any:
        try:
            answer = child.ask(request, timeout, cancelled)
        except BaseException:
            child.close()
            raise
        if answer.pop("stay", False):
            self._put_back(child)
        else:
            child.close()
        return unwrap(answer)

    def _take(self, memory: int | None) -> Child:
        with self._lock:
            fitting = [child for child in self._idle if child.memory == memory]
            for child in fitting:
                self._idle.remove(child)
        while fitting:
            child = fitting.pop()
            if child.rests():
                with self._lock:
                    self._idle += fitting
                return child
            child.close()
        return Child().__enter__()

    def _put_back(self, child: Child) -> None:
        fit = child.calls < self.calls and time.monotonic() - child.born < self.seconds
        with self._lock:
            if fit and not self._closed:
                self._idle.append(child)
                return
        child.close()

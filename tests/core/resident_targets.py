"""Things that stay in a child process, for tests/core/test_resident.py. The tests make them; nothing here runs here."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webapp.core import resident
from webapp.core.errors import Invalid


class Thing:
    def __init__(self, fail: bool = False) -> None:
        if fail:
            raise Invalid("it cannot be made", suggestion="make another")
        self.calls = 0

    def pid(self) -> int:
        return os.getpid()

    def echo(self, value: Any) -> Any:
        self.calls += 1
        return value

    def refuse(self) -> None:
        raise Invalid("not like this", suggestion="otherwise")

    def bug(self) -> None:
        raise KeyError("oops")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def count(self, most: int, pause: float = 0.0) -> Iterator[int]:
        for number in range(most):
            if resident.stop_asked():
                return -number
            yield number
            time.sleep(pause)
        return most

    def patient(self, mark: str) -> str:
        """Works until asked to stop, and leaves a mark that it was asked."""
        Path(mark).write_text("began")
        while not resident.stop_asked():
            time.sleep(0.01)
        Path(mark).write_text("asked")
        return "stopped"

    def deaf(self) -> None:
        time.sleep(60)

    def slow(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def hog(self, size: int) -> int:
        return len(bytearray(size))

    def connect(self) -> str:
        try:
            socket.socket().close()
        except OSError as error:
            return type(error).__name__
        return "connected"

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _private(self) -> str:
        return "secret"

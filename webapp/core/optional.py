"""Libraries that other libraries take along if they are there, and that nobody here needs: memory of every process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_out(name: str) -> Iterator[None]:
    """While a library is imported, `name` is not there for it. Afterwards it can be imported as ever."""
    was = sys.modules.get(name)
    if was is None:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if was is None:
            del sys.modules[name]

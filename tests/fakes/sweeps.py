"""How much of a long list of bad inputs each door tries.

What breaks on a bad header or text breaks at many doors alike, so a run of `make test` spreads each list over the doors:
every door tries a share, every input is tried at many doors. `make fuzz` (SWEEP=all) tries all of them at all doors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

T = TypeVar("T")

ALL = os.environ.get("SWEEP") == "all"


def share(inputs: Sequence[T], door: str, parts: int) -> Sequence[T]:
    """Every `parts`-th of the inputs, beginning where the door's name says: the same in every run."""
    return inputs if ALL else inputs[crc32(door.encode()) % parts :: parts]

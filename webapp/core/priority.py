"""The processor's time: what works in the background steps back before what a person waits for.

Where the kernel groups processes by session (autogroups), as for each child of ours, niceness counts only within the
group; the group has one of its own.
"""

from __future__ import annotations

import os
from contextlib import suppress


def step_back(by: int) -> None:
    """Make this process and its session nicer than others; 5 is a third of the time beside work of the usual 0, 10 a
    tenth. There is no way back."""
    with suppress(OSError):
        os.nice(by)
    keep_back()


def keep_back() -> None:
    """For the first process of a session: its parent's niceness came with it, that of the parent's group did not."""
    if nice := os.nice(0):
        with suppress(OSError), open("/proc/self/autogroup", "w") as group:
            group.write(str(nice))

"""A process that ends with the one that started it, however that one died."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

ENV = "BRAINSTEM_SUPERVISOR"  # process id of who started this one and keeps it alive
PR_SET_PDEATHSIG = 1


def follow() -> None:
    """SIGTERM to this process when its supervisor is gone: nobody would start it anew, and the next supervisor would
    start all of them a second time. Without a supervisor, or where the kernel has no such signal, nothing."""
    given = os.environ.pop(ENV, "")
    if given.isdigit():
        die_with(int(given), signal.SIGTERM)


def die_with(parent: int, by: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies."""
    prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), by)


def prctl(option: int, argument: int, pointer: int = 0) -> int:
    """0 or -1; does nothing where the system has no prctl."""
    if sys.platform != "linux":
        return -1
    value, address, zero = ctypes.c_ulong(argument), ctypes.c_void_p(pointer), ctypes.c_ulong(0)
    return int(ctypes.CDLL(None).prctl(option, value, address, zero, zero))

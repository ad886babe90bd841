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
    if not given.isdigit() or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(given):  # it died before we asked
        os.kill(os.getpid(), signal.SIGTERM)

"""Named places where a fault drill may kill or stall the process: BRAINSTEM_FAILPOINT=name:action[:nth],...

Actions: kill (SIGKILL to itself), sleep=SECONDS, raise. `nth` counts passes, 1 is the first.
"""

from __future__ import annotations

import os
import signal
import threading
import time

_lock = threading.Lock()
_passes: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Do nothing, unless the environment names this point."""
    spec = os.environ.get("BRAINSTEM_FAILPOINT")
    if spec:
        _maybe_fail(name, spec)


def _maybe_fail(name: str, spec: str) -> None:
    for part in spec.split(","):
        point, action, *nth = part.split(":")
        if point != name:
            continue
        with _lock:
            _passes[name] = _passes.get(name, 0) + 1
            hit = not nth or _passes[name] == int(nth[0])
        if hit:
            _act(name, action)


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise RuntimeError(f"failpoint {name}")
    elif action.startswith("sleep="):
        time.sleep(float(action[6:]))

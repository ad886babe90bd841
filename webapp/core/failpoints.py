"""Named places where a fault drill may kill or stall the process: BRAINSTEM_FAILPOINT=name:action[:nth],...

Actions: kill (SIGKILL to itself), sleep=SECONDS, raise. `nth` counts passes, 1 is the first. "@FILE" reads the same from a
file instead, which is deleted when the point is reached: it happens once, and another file arms it again while the
program runs.
"""

from __future__ import annotations

import os
import signal
import threading
import time

_lock = threading.Lock()
_passes: dict[str, int] = {}
_armed = ""  # what the file said at the last look


def failpoint(name: str) -> None:
    """Do nothing, unless the environment names this point."""
    spec = os.environ.get("BRAINSTEM_FAILPOINT")
    if spec:
        _maybe_fail(name, spec)


def _maybe_fail(name: str, spec: str) -> None:
    file = spec[1:] if spec.startswith("@") else ""
    for part in (_from(file) if file else spec).split(","):
        point, action, *nth = part.split(":") if part else ("", "")
        if point != name:
            continue
        with _lock:
            _passes[name] = _passes.get(name, 0) + 1
            hit = not nth or _passes[name] == int(nth[0])
        if hit and (not file or _used(file)):
            _act(name, action)


def _from(file: str) -> str:
    """What the file says; passes are counted from the moment it says something new."""
    global _armed
    try:
        with open(file, encoding="ascii") as read:
            said = read.read().strip()
    except OSError:
        said = ""
    with _lock:
        if said != _armed:
            _armed = said
            _passes.clear()
    return said


def _used(file: str) -> bool:
    try:
        os.unlink(file)
    except OSError:
        return False
    return True


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "raise":
        raise RuntimeError(f"failpoint {name}")
    elif action.startswith("sleep="):
        time.sleep(float(action[6:]))

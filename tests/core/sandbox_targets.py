"""What the sandbox tests run inside children."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from webapp.core import errors, sandbox

PRELOAD = ("decimal",)


class OddError(errors.Conflict):
    code = "odd"

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} is not {two}", code="odd_one", suggestion="Count again.", retryable=True)


def echo(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": args, "kwargs": kwargs, "in_child": sandbox.in_child}


def niceness() -> tuple[int, int | None]:
    """Its own, and that of its session's group where the kernel makes such groups (`/autogroup-12 nice 10`)."""
    try:
        text = Path("/proc/self/autogroup").read_text()
    except OSError:
        text = ""
    return os.nice(0), int(text.split()[-1]) if text else None


def facts() -> dict[str, Any]:
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in ("RLIMIT_CORE", "RLIMIT_NOFILE")}
    return {
        "environment": dict(os.environ),
        "pid": os.getpid(),
        "leads": os.getpid() == os.getpgrp() == os.getsid(0),
        "limits": limits,
        "descriptors": {name: os.readlink(f"/proc/self/fd/{name}") for name in ("0", "1", "2")},
        "open": len(os.listdir("/proc/self/fd")),
        "preloaded": "decimal" in sys.modules,
    }


def report(count: int) -> str:
    for number in range(count):
        sandbox.progress(number, f"step {number}")
        time.sleep(0.05)
    return "done"


def write_pid(path: str) -> None:
    Path(path).write_text(str(os.getpid()))


def sleep_in_c(path: str) -> None:
    write_pid(path)
    ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the interpreter lock: no Python code can run meanwhile


def backtrack(path: str) -> None:
    write_pid(path)
    re.match(r"(a+)+$", "a" * 60 + "b")


def have_a_child_of_its_own(path: str) -> None:
    process = subprocess.Popen(["sleep", "60"])
    Path(path).write_text(str(process.pid))
    time.sleep(60)


def leave_a_child_behind() -> int:
    return subprocess.Popen(["sleep", "60"]).pid


def spin() -> None:
    while True:
        pass


def eat_memory() -> int:
    return len(b"x" * 2**31)


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


def leave() -> None:
    os._exit(3)


def half_an_answer_then_die() -> None:
    sandbox.progress(1, "x" * 1_000_000)
    os.kill(os.getpid(), signal.SIGSEGV)


def raise_app_error(name: str) -> None:
    raise getattr(errors, name)("No.", details=[{"loc": ["a"], "msg": "b", "type": "c"}], retry_after=7)


def raise_odd() -> None:
    raise OddError(1, 2)


def raise_value_error() -> None:
    raise ValueError("the secret detail")


def exit_politely() -> None:
    raise SystemExit("bye")


def big(size: int) -> str:
    return "x" * size


def unsayable() -> object:
    return object()


def noise() -> str:
    os.write(1, b"x" * 1_000_000)
    os.write(2, b"x" * 1_000_000)
    return "quiet"


def connect() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def lie(frame: Any) -> None:
    assert sandbox.reporter is not None
    sandbox.reporter(frame)
    time.sleep(60)


KEPT: list[bytes] = []


def keep(size: int) -> int:
    """Its process, after so many bytes more are held for good."""
    KEPT.append(b"x" * size)
    return os.getpid()


def burn(seconds: float) -> int:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return os.getpid()


def die_if_used(path: str) -> int:
    """Crashes in a process that was here before: as code that an earlier call has hurt."""
    if Path(path).exists() and Path(path).read_text() == str(os.getpid()):
        os.kill(os.getpid(), signal.SIGSEGV)
    write_pid(path)
    return os.getpid()

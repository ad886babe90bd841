"""The other side of `webapp.core.sandbox`: the nursery, and what its children do.

    python -m webapp.core.sandbox_child CONTROL_FD PARENT_PID

The nursery waits for messages on the control socket: the module to run, and two sockets. It imports the module (and
what its PRELOAD names), forks, and reports the wait status when the child ends. It never touches foreign data and has
one thread, so forking it is safe. It leaves when its parent does, killing all children.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import math
import os
import platform
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from webapp.core import lifeline, priority, sandbox
from webapp.core.errors import AppError
from webapp.core.lifeline import prctl

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
OPEN_FILES = 64
LOOK_AFTER_PARENT = 500  # milliseconds
NICE = 10  # of a pool's children; about a tenth of the processor's time beside work of the usual 0
KEPT = 128 * 2**20  # bytes that calls may leave behind in a child of a pool


class Nursery:
    def __init__(self, control: socket.socket, parent: int) -> None:
        self.control, self.parent = control, parent
        self.lives: dict[int, socket.socket] = {}  # pid -> the parent's ear for it
        self.seen: set[str] = set()
        self.bell, bell_end = os.pipe()
        os.set_blocking(self.bell, False)
        os.set_blocking(bell_end, False)
        signal.set_wakeup_fd(bell_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.poll = select.poll()
        self.poll.register(self.bell, select.POLLIN)
        self.poll.register(control, select.POLLIN)

    def run(self) -> None:
        try:
            # The parent's death shows as EOF, unless a forked copy of it holds the socket: then as a new parent id.
            while os.getppid() == self.parent and self.turn():
                pass
        finally:
            for pid in self.lives:
                kill(pid)

    def turn(self) -> bool:
        """Handle what happened; False when the parent closed the control socket."""
        happened = dict(self.poll.poll(LOOK_AFTER_PARENT))
        if self.bell in happened:
            with suppress(BlockingIOError):
                os.read(self.bell, 4096)
        for pid, life in self.lives.items():
            if life.fileno() in happened:  # our parent closed its half: the order to kill
                kill(pid)
                self.poll.unregister(life)
        self.reap()
        return self.control.fileno() not in happened or self.admit()

    def reap(self) -> None:
        while self.lives:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            kill(pid)  # whatever it started and left behind in its group
            life = self.lives.pop(pid)
            with suppress(KeyError, ValueError):
                self.poll.unregister(life)
            with suppress(OSError):
                life.send(str(status).encode())
            life.close()

    def admit(self) -> bool:
        block, descriptors, _, _ = socket.recv_fds(self.control, sandbox.BLOCK, 2)
        if not block:
            return False
        data, life = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        self.preload(block.decode().strip())
        pid = os.fork()
        if not pid:
            self.leave(life)
            live(data, os.getppid())
        data.close()
        self.lives[pid] = life
        self.poll.register(life, select.POLLIN)
        return True

    def preload(self, name: str) -> None:
        """Import once for all. What fails here fails again in the child, where the error has somebody to go to."""
        if name in self.seen:
            return
        self.seen.add(name)
        with suppress(Exception):
            for extra in getattr(importlib.import_module(name), "PRELOAD", ()):
                importlib.import_module(extra)
        gc.collect()
        gc.freeze()  # keeps the collector from touching, and so copying, shared pages in every child

    def leave(self, life: socket.socket) -> None:
        """In the child: drop everything that belongs to the nursery and to the other runs."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self.control, life, *self.lives.values()):
            end.close()
        os.close(self.bell)


def kill(pid: int) -> None:
    """The process and its group; both, because it may not have come to leading its group yet."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


# --- in the child -----------------------------------------------------------------------------------------------


def live(data: socket.socket, nursery: int) -> NoReturn:
    """Read the request, answer, leave without any cleaning up of inherited state; of a pool: as often as asked."""
    try:
        os.setsid()
        lifeline.die_with(nursery, signal.SIGKILL)
        silence()
        sandbox.reporter = lambda frame: data.sendall(sandbox.to_json(frame))
        lines = data.makefile("rb")
        request = sandbox.from_json(lines.readline())
        stay = request.get("stay", False)
        if stay:
            priority.step_back(NICE)  # much of somebody's work in the background
        limit(None if stay else request["cpu"], request["memory"])
        deny_network()
        at_first = address_space()
        while True:
            if stay:
                limit_this_call(request["cpu"])
            line, again = answer(request, lambda: stay and address_space() - at_first < KEPT)
            data.sendall(line)
            if not (again and (line := lines.readline())):
                break
            request = sandbox.from_json(line)
    finally:
        os._exit(0)


def silence() -> None:
    """Libraries warn on stderr about foreign files by the thousand."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def limit(cpu_seconds: int | None, memory_bytes: int | None, files: int = OPEN_FILES) -> None:
    """Hard limits of the kernel. SIGXCPU comes at the soft processor limit, SIGKILL at the hard one."""
    wanted = {resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_NOFILE: (files, files)}
    if cpu_seconds is not None:
        wanted[resource.RLIMIT_CPU] = (cpu_seconds, cpu_seconds + 5)
    if memory_bytes is not None:
        wanted[resource.RLIMIT_AS] = (memory_bytes, memory_bytes)
    for which, value in wanted.items():
        with suppress(ValueError, OSError):  # a stricter limit is already in force
            resource.setrlimit(which, value)


def limit_this_call(cpu_seconds: int | None) -> None:
    """Processor time on top of what was used. Only the soft limit moves, so that it can be moved again."""
    if cpu_seconds is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        soft = math.ceil(used.ru_utime + used.ru_stime) + cpu_seconds
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def address_space() -> int:
    """Bytes this process has mapped; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def answer(request: dict[str, Any], stays: Callable[[], bool]) -> tuple[bytes, bool]:
    """The line to send, and whether this process is fit for another call."""
    try:
        module, _, function = request["target"].partition(":")
        work = getattr(importlib.import_module(module), function)
        found = {"result": work(*request["args"], **request["kwargs"])}
        again = stays()
        return sandbox.to_json(found | {"stay": again}), again
    except MemoryError:
        return b'{"memory":true}\n', False  # a constant: nothing may be left to build one with
    except AppError as error:
        again = stays()
        return sandbox.to_json({"app_error": describe(error), "stay": again}), again
    except BaseException as error:
        text = traceback.format_exc()[-20_000:]
        return sandbox.to_json({"failed": {"type": type(error).__name__, "traceback": text}}), False


def describe(error: AppError) -> dict[str, Any]:
    return {
        "classes": [f"{cls.__module__}:{cls.__qualname__}" for cls in type(error).__mro__],
        "message": str(error.message),
        "fields": {name: json.loads(json.dumps(getattr(error, name), default=str)) for name in sandbox.ERROR_FIELDS},
    }


def deny_network() -> None:
    """socket(2) answers EPERM from here on, by a seccomp filter of six instructions (Linux, x86-64 and arm64).

    A second lock: a parser has no reason to talk, and nothing it is given should make it. Filter layout:
    linux/filter.h and linux/seccomp.h; `offset` 4 is the architecture, 0 the number of the call.
    """
    numbers = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
    if sys.platform != "linux" or platform.machine() not in numbers:
        return
    architecture, socket_call = numbers[platform.machine()]
    load, jump_equal, give_back = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EPERM
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in [
            (load, 0, 0, 4),
            (jump_equal, 0, 2, architecture),
            (load, 0, 0, 0),
            (jump_equal, 1, 0, socket_call),
            (give_back, 0, 0, allow),
            (give_back, 0, 0, refuse),
        ]
    )
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(buffer)))
    if prctl(PR_SET_NO_NEW_PRIVS, 1) == 0:
        prctl(PR_SET_SECCOMP, 2, ctypes.addressof(header))


if __name__ == "__main__":
    sandbox.in_child = True
    Nursery(socket.socket(fileno=int(sys.argv[1])), parent=int(sys.argv[2])).run()

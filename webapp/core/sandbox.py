"""Run a function in a child process that can be killed at any moment.

Parsers and native code can loop for ever inside one C call, eat all memory or crash the interpreter; only a process
of their own can be stopped for certain. Each run gets a fresh process, which dies with its run; the runs of one piece
of work may share a few (`sandbox_pool`). So that a run costs
milliseconds and not the half second some libraries need to import, the processes are forked off a *nursery*: one
single-threaded helper (`webapp.core.sandbox_child`) per server process that runs nothing but imports. A threaded
server must not fork itself: a lock held by another thread would stay locked in the copy for ever.

What crosses the border is JSON (bytes as base64), never pickle: a child that was taken over can answer nonsense, but
cannot make us run anything. Tuples arrive as lists, dictionary keys as strings.

A module whose functions run here may name slow libraries in a module constant `PRELOAD = ("lxml.etree", ...)`; the
nursery imports them once. Children have no network, a bare environment and /dev/null for input and output.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from webapp.core.errors import AppError, TaskCancelled, TaskTimedOut, TooLarge

in_child: bool = False
"""True in the nursery and in every child."""

TICK = 0.1  # seconds between two looks at `cancelled`
BLOCK = 512  # bytes of one message to the nursery; fixed, so that a byte stream keeps its borders
RESULT_LIMIT = 256 * 2**20  # bytes a child may send in one run
ERROR_FIELDS = ("code", "details", "suggestion", "retry_after", "retryable")
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


class ChildCrashed(AppError):
    """The child died without an answer: out of memory, a bug in native code, or killed from outside.

    signal: the number of the signal that ended it, or None when it left by itself or was lost.
    """

    code = "child_crashed"

    def __init__(self, message: str, *, signal: int | None = None) -> None:
        super().__init__(message)
        self.signal = signal


class ChildFailed(AppError):
    """The function raised something that is no AppError; `traceback` is the child's, for the log."""

    code = "child_failed"

    def __init__(self, message: str, *, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


def run_in_child(
    target: str,
    /,
    *args: Any,
    timeout: float,
    cpu_seconds: int | None = 30,
    memory_bytes: int | None = 2**30,
    cancelled: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, str], None] | None = None,
    **kwargs: Any,
) -> Any:
    """Call `target` ("package.module:function", a name written in our code) in a child and return its result.

    timeout: wall-clock seconds; cpu_seconds: processor time; memory_bytes: address space.
    cancelled: asked at least every 0.2 s. on_progress: called here with what the child reports by `progress`; of
    reports that arrive together only the last is passed on.

    Raises TaskCancelled, TaskTimedOut (wall clock or processor time), TooLarge (memory limit or an answer beyond
    RESULT_LIMIT), ChildCrashed, ChildFailed, or the AppError the function raised, as its own class. In every case
    the child and its process group are dead.
    """
    request = {"target": target, "args": args, "kwargs": kwargs, "cpu": cpu_seconds, "memory": memory_bytes}
    with Child() as child:
        return unwrap(child.ask(request, timeout, cancelled, on_progress))


def progress(percent: int, text: str) -> None:
    """Report from inside a child to `on_progress`; does nothing elsewhere, so that code runs the same without one."""
    if reporter is not None:
        reporter({"progress": [int(percent), str(text)]})


reporter: Callable[[dict[str, Any]], None] | None = None  # set by sandbox_child


def to_json(value: Any) -> bytes:
    """One line. Raises TypeError for what JSON and bytes cannot say."""
    return json.dumps(value, default=_encode, separators=(",", ":")).encode("ascii") + b"\n"


def from_json(line: bytes | bytearray) -> Any:
    return json.loads(line, object_hook=_decode)


def _encode(value: Any) -> dict[str, str]:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} cannot be passed to or from a child process")


def _decode(value: dict[str, Any]) -> Any:
    if len(value) == 1 and isinstance(encoded := value.get("$bytes"), str):
        return base64.b64decode(encoded)
    return value


# --- one child --------------------------------------------------------------------------------------------------


class Child:
    """The parent's end of a child: `data` carries requests and answers, `life` says how the child ended.

    Closing our writing half of `life` is the order to kill: the kernel does it for us when this process dies.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.memory: int | None = None
        self.born = time.monotonic()
        self.status: int | None = None

    def __enter__(self) -> Self:
        self.data, self.child_data = socket.socketpair()
        self.life, self.child_life = socket.socketpair()
        self.data.setblocking(False)
        self.selector = selectors.DefaultSelector()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.kill()
        self.selector.close()
        for end in (self.data, self.child_data, self.life, self.child_life):
            end.close()

    def kill(self) -> None:
        """Have the nursery kill the process group and wait until it says so; it is never busy for long."""
        self.life.settimeout(0.8)
        try:
            self.life.shutdown(socket.SHUT_WR)
            while self.life.recv(64):
                pass
        except OSError:
            pass  # the nursery is gone, and its children with it, or busy: it will see the order

    def rests(self) -> bool:
        """Whether it waits for another call: it has not died meanwhile, nor said anything nobody asked for."""
        return not self.selector.select(0)

    def ask(
        self,
        request: dict[str, Any],
        timeout: float,
        cancelled: Callable[[], bool],
        on_progress: Callable[[int, str], None] | None = None,
    ) -> dict[str, Any]:
        """Have it make a call, and wait for the one line that ends it. The first call starts it."""
        self.deadline, self.cancelled, self.on_progress = time.monotonic() + timeout, cancelled, on_progress
        self.unsent = memoryview(to_json(request))
        self.line, self.received = bytearray(), 0
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        if not self.calls:
            self.memory = request["memory"]
            _start(request["target"].partition(":")[0], self.child_data, self.child_life)
            self.child_data.close()
            self.child_life.close()
            self.selector.register(self.data, both)
            self.selector.register(self.life, selectors.EVENT_READ)
        else:
            self.selector.modify(self.data, both)
        self.calls += 1
        return self.answer()

    def answer(self) -> dict[str, Any]:
        asked = 0.0
        while self.selector.get_map():
            now = time.monotonic()
            if now >= self.deadline:
                raise TaskTimedOut("The work took longer than its time limit and was stopped.")
            if now - asked >= TICK:
                asked = now
                if self.cancelled():
                    raise TaskCancelled("The work was stopped on request.")
            if (found := self.step(min(TICK, self.deadline - now))) is not None:
                return found
        raise self.death()

    def step(self, wait: float) -> dict[str, Any] | None:
        for key, events in self.selector.select(wait):
            if key.fileobj is self.life:
                self.listen()
                continue
            if events & selectors.EVENT_WRITE:
                self.send()
            if events & selectors.EVENT_READ and (found := self.receive()) is not None:
                return found
        return None

    def listen(self) -> None:
        """The nursery writes the wait status once and closes; closing without it means that it died."""
        said = self.life.recv(64)
        self.selector.unregister(self.life)
        self.status = int(said) if said else None

    def send(self) -> None:
        try:
            self.unsent = self.unsent[self.data.send(self.unsent[: 2**18]) :]
        except BlockingIOError:
            return
        except OSError:
            self.unsent = self.unsent[:0]  # the child died while we were talking; `life` will say how
        if not self.unsent:
            self.selector.modify(self.data, selectors.EVENT_READ)

    def receive(self) -> dict[str, Any] | None:
        try:
            chunk = self.data.recv(2**18)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        if not chunk:
            self.selector.unregister(self.data)
            return None
        self.received += len(chunk)
        if self.received > RESULT_LIMIT:
            raise TooLarge("The work produced more data than may be kept.")
        return self.read(chunk)

    def read(self, chunk: bytes) -> dict[str, Any] | None:
        """Feed the line buffer; only new bytes are searched, so a result of one huge line stays linear."""
        *ends, rest = chunk.split(b"\n")
        latest = None
        for end in ends:
            self.line += end
            frame = frame_of(self.line)
            self.line = bytearray()
            if "progress" not in frame:
                return frame
            latest = frame["progress"]
        self.line += rest
        if latest is not None and self.on_progress is not None:
            self.on_progress(*_progress(latest))
        return None

    def death(self) -> Exception:
        killed = self.status is not None and os.WIFSIGNALED(self.status)
        return death_by(os.WTERMSIG(self.status) if self.status is not None and killed else None)


def death_by(number: int | None) -> Exception:
    """What to raise for a child that ended by this signal, or without one, before it answered."""
    if number == signal.SIGXCPU:
        return TaskTimedOut("The work used more processor time than allowed and was stopped.")
    if number == signal.SIGKILL:
        return ChildCrashed("The helper process was killed, probably because memory ran out.", signal=number)
    if number is not None:
        return ChildCrashed(f"The helper process crashed ({signal.Signals(number).name}).", signal=number)
    return ChildCrashed("The helper process ended without an answer.")


UNREADABLE = "The helper process sent something unreadable."


def frame_of(line: bytearray) -> dict[str, Any]:
    try:
        frame = from_json(line)
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict):
        raise ChildCrashed(UNREADABLE)
    return frame


def _progress(said: Any) -> tuple[int, str]:
    match said:
        case [int(percent), str(text)]:
            return percent, text
    raise ChildCrashed(UNREADABLE)


def unwrap(answer: dict[str, Any]) -> Any:
    match answer:
        case {"result": result}:
            return result
        case {"memory": _}:
            raise TooLarge("The work needed more memory than allowed.", suggestion="Try a smaller or simpler file.")
        case {"app_error": {"classes": list(names), "message": str(message), "fields": dict(fields)}}:
            raise _app_error(names, message, fields)
        case {"failed": {"type": str(name), "traceback": str(traceback)}}:
            raise ChildFailed(f"The helper process failed ({name}).", traceback=traceback)
    raise ChildCrashed(UNREADABLE)


def _app_error(names: list[Any], message: str, fields: dict[str, Any]) -> AppError:
    """Rebuild the error from the first of its classes known here; never imports what the child names."""
    known = {f"{cls.__module__}:{cls.__qualname__}": cls for cls in _family(AppError)}
    cls = next((known[name] for name in names if name in known), AppError)
    error = cls.__new__(cls)
    AppError.__init__(error, message, **{name: fields.get(name) for name in ERROR_FIELDS})
    return error


def _family(cls: type[AppError]) -> list[type[AppError]]:
    return [cls, *(one for sub in cls.__subclasses__() for one in _family(sub))]


# --- the nursery ------------------------------------------------------------------------------------------------


class _Nursery:
    """The helper process that forks the children; lives as long as this process."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "webapp.core.sandbox_child",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                env=bare_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal is for us, not for it
            )

    def start(self, module: str, data: socket.socket, life: socket.socket) -> None:
        block = module.encode().ljust(BLOCK)
        assert len(block) == BLOCK
        socket.send_fds(self.control, [block], [data.fileno(), life.fileno()])

    def close(self) -> None:
        """Closing the control socket ends the nursery; a second is plenty."""
        self.control.close()
        try:
            self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()


_nursery: _Nursery | None = None
_nursery_lock = threading.Lock()


def _start(module: str, data: socket.socket, life: socket.socket) -> None:
    global _nursery
    with _nursery_lock:
        if _nursery is not None and _nursery.process.poll() is not None:
            _nursery.control.close()
            _nursery = None
        if _nursery is None:
            _nursery = _Nursery()
        try:
            _nursery.start(module, data, life)
        except OSError as error:
            raise ChildCrashed("The helper process could not be started.") from error


def bare_environment(threads: int = 1) -> dict[str, str]:
    """No secrets. One thread per numeric library: each more costs address space, and the nursery must not have any."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *(os.path.abspath(path) for path in sys.path if path and not path.endswith(".zip"))]
    return kept | {
        "HOME": "/nonexistent",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "MALLOC_ARENA_MAX": "2",
        # onnxruntime gives the machine a number and would tell its maker what it does; the hub's library counts too.
        "ORT_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _forget() -> None:
    """A forked copy of this process (a worker) must not share its parent's nursery: their messages would mix."""
    global _nursery, _nursery_lock
    _nursery_lock = threading.Lock()
    if _nursery is not None:
        _nursery.process.returncode = 0  # not our child: nothing to wait for
        _nursery.control.close()
        _nursery = None


def _close() -> None:
    if _nursery is not None:
        _nursery.close()


os.register_at_fork(after_in_child=_forget)
atexit.register(_close)

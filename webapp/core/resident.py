"""A child process that stays: it holds something large (a model), answers calls, and can be killed at any moment.

    model = Resident("webapp.embedding.minilm:Encoder", {"path": "..."}, idle_seconds=600)
    vectors = model.call("embed", texts, timeout=60, cancelled=task.stopped)
    for piece in model.stream("generate", prompt, timeout=600): ...

The child starts with the first call, makes the object `target(**kwargs)` and then calls its methods, one call at a
time; callers wait their turn, `urgent` ones first. It leaves by itself after `idle_seconds`, and its memory with it.
When it crashes, or is killed because a call was too slow or would not stop, the caller gets a clear error and the
next call starts a fresh child.

Unlike the children of `webapp.core.sandbox` it is an interpreter of its own, not a fork: native libraries may start
threads in it. Environment, errors and wire format (JSON lines, never pickle) are the sandbox's. A method that yields
is a stream. Long methods ask `stop_asked()` between steps; what does not stop within GRACE is killed.
"""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from webapp.core import sandbox
from webapp.core.errors import TaskCancelled, TaskTimedOut, TooLarge

WAKES = 10.0  # seconds a child may take to say that it heard a request; one that does not is replaced
GRACE = 2.0  # seconds a call may go on after it was asked to stop
START_TIMEOUT = 180.0  # seconds for the child to make its object
LEFT = 0  # exit code of a child that went because nobody needed it

stop_asked: Callable[[], bool] = lambda: False  # noqa: E731 - replaced by resident_child in the child
"""In a child: whether the caller of the running method wants it to end. Elsewhere always False."""


class Resident:
    """The parent's end. Thread-safe; one per model and process.

    target: "package.module:Class", a name written in our code; kwargs: what its maker is called with (JSON, bytes).
    memory_bytes: limit of its address space; files it maps count. threads: for numeric libraries.
    start_timeout: seconds for making the object. network: leave it the network (a library that downloads models itself). env: variables it gets besides the bare ones.
    """

    def __init__(
        self,
        target: str,
        kwargs: Mapping[str, Any] | None = None,
        *,
        idle_seconds: float = 600.0,
        memory_bytes: int | None = None,
        threads: int = 1,
        network: bool = False,
        env: Mapping[str, str] | None = None,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        self.start_timeout = start_timeout
        self.idle_seconds = idle_seconds
        self._threads = threads
        self._env = dict(env or {})
        self._hello = {"target": target, "kwargs": dict(kwargs or {}), "idle": idle_seconds,
                       "memory": memory_bytes, "network": network}  # fmt: skip
        self._turn = _Turns()
        self._child: _Child | None = None
        _all.add(self)

    def call(
        self,
        method: str,
        *args: Any,
        timeout: float,
        cancelled: Callable[[], bool] = lambda: False,
        urgent: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The method's result. `timeout` seconds of wall clock, from the start of its turn; a first call also waits
        for the child to be ready (`start_timeout`).

        Raises TaskCancelled, TaskTimedOut, ChildCrashed, ChildFailed, TooLarge, or the AppError the method raised.
        """
        frames = self.stream(method, *args, timeout=timeout, cancelled=cancelled, urgent=urgent, **kwargs)
        try:
            while True:
                next(frames)
        except StopIteration as end:
            return end.value

    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float,
        cancelled: Callable[[], bool] = lambda: False,
        urgent: bool = False,
        **kwargs: Any,
    ) -> Generator[Any, None, Any]:
        """What the method yields, as it comes; the generator's value is what the method returned. Closing it early
        asks the method to stop. Others wait until it is read to its end or closed."""
        request = sandbox.to_json({"call": method, "args": args, "kwargs": kwargs})
        with self._turn.taken(urgent, cancelled):
            child = self._send(request, cancelled)
            try:
                return (yield from child.frames(timeout, cancelled))
            finally:
                if child.dead:
                    self._child = None

    def close(self) -> None:
        """End the child now, whatever it does; a caller that waits for it gets ChildCrashed."""
        child = self._child
        if child is not None and self._turn.busy:
            child.signal()  # the caller sees the end of file and tidies up
        elif child is not None:
            self._child = None
            child.kill()

    def status(self) -> dict[str, Any]:
        """{"running": bool, "pid": int | None, "memory": bytes | None, "waiting": callers in line}."""
        child = self._child
        running = child is not None and child.process.poll() is None
        pid = child.process.pid if child is not None and running else None
        return {"running": running, "pid": pid, "memory": _memory(pid), "waiting": self._turn.waiting}

    def _send(self, request: bytes, cancelled: Callable[[], bool]) -> _Child:
        """To the child there is, else to a fresh one; one that went while it was idle is replaced unseen."""
        if self._child is not None:
            if self._child.ask(request):
                return self._child
            self._child.kill()
        self._child = _Child(self._hello, self._environment())
        try:
            self._child.wait_ready(self.start_timeout, cancelled)
            if not self._child.ask(request):
                raise sandbox.ChildCrashed("The helper process ended before it could begin.")
        except BaseException:
            self._child.kill()
            self._child = None
            raise
        return self._child

    def _environment(self) -> dict[str, str]:
        return sandbox.bare_environment(self._threads) | self._env

    def _forget(self) -> None:
        """In a forked copy of this process: the child is the parent's."""
        self._turn = _Turns()
        if self._child is not None:
            self._child.data.close()
            self._child = None


class _Child:
    def __init__(self, hello: dict[str, Any], environment: dict[str, str]) -> None:
        self.data, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "webapp.core.resident_child", str(theirs.fileno()), str(os.getpid())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.dead = False
        self.rest = bytearray()
        self.lines: list[dict[str, Any]] = []
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.data, selectors.EVENT_READ)
        self.data.sendall(sandbox.to_json(hello))

    def wait_ready(self, timeout: float, cancelled: Callable[[], bool]) -> None:
        """The constructor's verdict; what it raised is raised here."""
        sandbox.unwrap(self.frame(time.monotonic() + timeout, cancelled, stopping=False))

    def ask(self, request: bytes) -> bool:
        """False when the child is gone. It reads in a thread of its own, so that sending never waits for its work."""
        if self.process.poll() is not None:
            return False
        try:
            self.data.settimeout(WAKES)
            self.data.sendall(request)
        except OSError:
            return False
        try:
            # It may be leaving at this very moment. Once it has the request it says "busy" before anything else, so
            # that an end without that word is one before the work began.
            return "busy" in self.frame(time.monotonic() + WAKES, lambda: False, stopping=False)
        except (sandbox.ChildCrashed, TaskTimedOut):
            return False

    def frames(self, timeout: float, cancelled: Callable[[], bool]) -> Iterator[Any]:
        deadline = time.monotonic() + timeout
        finished = False
        try:
            while True:
                frame = self.frame(deadline, cancelled, stopping=True)
                if "item" in frame:
                    yield frame["item"]
                    continue
                finished = True
                return sandbox.unwrap(frame)
        finally:
            if not finished and not self.dead:
                self.stop()

    def frame(self, deadline: float, cancelled: Callable[[], bool], *, stopping: bool) -> dict[str, Any]:
        """The next line. Raises TaskCancelled or TaskTimedOut; unless the caller can ask the method to stop
        (`stopping`), the child is killed then."""
        asked = 0.0
        while not self.lines:
            now = time.monotonic()
            if now >= deadline:
                self.give_up(stopping)
                raise TaskTimedOut("The work took longer than its time limit and was stopped.")
            if now - asked >= sandbox.TICK:
                asked = now
                if cancelled():
                    self.give_up(stopping)
                    raise TaskCancelled("The work was stopped on request.")
            if self.selector.select(min(sandbox.TICK, deadline - now)):
                self.receive()
        return self.lines.pop(0)

    def receive(self) -> None:
        try:
            chunk = self.data.recv(2**18)
        except OSError:
            chunk = b""
        if not chunk:
            raise self.death()
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self.rest += end
            self.lines.append(sandbox.frame_of(self.rest))
            self.rest = bytearray()
        self.rest += rest
        if len(self.rest) > sandbox.RESULT_LIMIT:
            self.kill()
            raise TooLarge("The work produced more data than may be kept.")

    def give_up(self, stopping: bool) -> None:
        if not stopping:
            self.kill()

    def stop(self) -> None:
        """Ask the running method to end and read what it still says; kill the child if it goes on."""
        deadline = time.monotonic() + GRACE
        try:
            self.data.sendall(b'{"stop":true}\n')
            while True:
                if any("item" not in self.lines.pop(0) for _ in range(len(self.lines))):
                    return
                if not self.selector.select(max(0.0, deadline - time.monotonic())):
                    break
                self.receive()
        except (OSError, sandbox.ChildCrashed, TooLarge):
            pass
        self.kill()

    def kill(self) -> None:
        self.dead = True
        self.data.close()
        self.selector.close()
        self.signal()
        self.process.wait()

    def signal(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def death(self) -> Exception:
        """Its end, once the socket has closed; the exit code is there a moment later."""
        try:
            code = self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            code = None
        self.dead = True
        if code != LEFT:
            self.kill()
        return sandbox.death_by(-code if code is not None and code < 0 else None)


class _Turns:
    """One caller at a time; urgent ones overtake the others."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.busy = False
        self.urgent = self.waiting = 0

    @contextmanager
    def taken(self, urgent: bool, cancelled: Callable[[], bool]) -> Iterator[None]:
        self._take(urgent, cancelled)
        try:
            yield
        finally:
            with self.changed:
                self.busy = False
                self.changed.notify_all()

    def _take(self, urgent: bool, cancelled: Callable[[], bool]) -> None:
        with self.changed:
            self.waiting += 1
            self.urgent += urgent
            try:
                while self.busy or (self.urgent and not urgent):
                    if cancelled():
                        raise TaskCancelled("The work was stopped on request.")
                    self.changed.wait(sandbox.TICK)
                self.busy = True
            finally:
                self.waiting -= 1
                self.urgent -= urgent
                if urgent:
                    self.changed.notify_all()


def _memory(pid: int | None) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss) if pid is not None else None
    except psutil.Error:
        return None


_all: weakref.WeakSet[Resident] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one._forget()


def _close_all() -> None:
    for one in list(_all):
        one.close()


os.register_at_fork(after_in_child=_forget_all)
atexit.register(_close_all)

"""The other side of `webapp.core.resident`.

    python -m webapp.core.resident_child DATA_FD PARENT_PID

A thread reads the socket all the time, so that "stop" is heard while a method runs and the parent's death (end of
file, or another parent id where a forked copy holds the socket) ends the process at once. Methods run in the main
thread, one after the other.
"""

from __future__ import annotations

import importlib
import os
import queue
import select
import socket
import sys
import threading
import traceback
from types import GeneratorType
from typing import Any

from webapp.core import priority, resident, sandbox
from webapp.core.errors import AppError
from webapp.core.sandbox_child import LOOK_AFTER_PARENT, deny_network, describe, limit


class Child:
    def __init__(self, data: socket.socket, parent: int) -> None:
        self.data, self.parent = data, parent
        self.requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.stop = threading.Event()
        resident.stop_asked = self.stop.is_set

    def run(self) -> None:
        priority.keep_back()
        threading.Thread(target=self.listen, daemon=True).start()
        hello = self.requests.get()
        limit(None, hello["memory"], files=1024)
        if not hello["network"]:
            deny_network()
        made = self.answer(lambda: self.make(hello))
        while made is not None:
            try:
                request = self.requests.get(timeout=hello["idle"])
            except queue.Empty:
                return  # nobody needed it for long
            self.say({"busy": True})
            self.answer(lambda: self.serve(made, request))  # noqa: B023 - called at once

    def make(self, hello: dict[str, Any]) -> Any:
        module, _, name = hello["target"].partition(":")
        made = getattr(importlib.import_module(module), name)(**hello["kwargs"])
        self.say({"result": True})
        return made

    def serve(self, thing: Any, request: dict[str, Any]) -> bool:
        self.stop.clear()
        if request["call"].startswith("_"):
            raise ValueError("not a public method")
        found = getattr(thing, request["call"])(*request["args"], **request["kwargs"])
        if isinstance(found, GeneratorType):
            found = self.pass_on(found)
        self.say({"result": found})
        return True

    def pass_on(self, items: GeneratorType[Any, None, Any]) -> Any:
        while True:
            try:
                item = next(items)
            except StopIteration as end:
                return end.value
            self.say({"item": item})
            if self.stop.is_set():
                items.close()
                return None

    def answer(self, work: Any) -> Any:
        """What `work` returns; what it raises is told to the parent, and the answer is None."""
        try:
            return work()
        except MemoryError:
            self.data.sendall(b'{"memory":true}\n')
        except AppError as error:
            self.say({"app_error": describe(error)})
        except Exception as error:
            text = traceback.format_exc()[-20_000:]
            self.say({"failed": {"type": type(error).__name__, "traceback": text}})
        return None

    def say(self, frame: dict[str, Any]) -> None:
        self.data.sendall(sandbox.to_json(frame))

    def listen(self) -> None:
        """Whatever ends it ends the process: a parent that dies with our words unread shows as a reset, no end of file."""
        try:
            self.listen_on()
        finally:
            os._exit(1)

    def listen_on(self) -> None:
        rest = bytearray()
        poll = select.poll()
        poll.register(self.data, select.POLLIN)
        while os.getppid() == self.parent:
            if not poll.poll(LOOK_AFTER_PARENT):
                continue
            chunk = self.data.recv(2**18)
            if not chunk:
                break
            *ends, tail = chunk.split(b"\n")
            for end in ends:
                rest += end
                self.hear(sandbox.from_json(rest))
                rest = bytearray()
            rest += tail

    def hear(self, frame: dict[str, Any]) -> None:
        if "stop" in frame:
            self.stop.set()
        else:
            self.requests.put(frame)


if __name__ == "__main__":
    sandbox.in_child = True
    Child(socket.socket(fileno=int(sys.argv[1])), parent=int(sys.argv[2])).run()
    os._exit(resident.LEFT)

"""A server that speaks OpenAI's protocol and writes what the test tells it to.

with ModelServer() as models:
    models.says("Good ", "day")            # pieces of every following answer
    models.hold()                          # stop after the first piece until `go()`; `step()` lets one more out
    make_rt(**models.env)                  # engines openai:small@lab, openai:large@lab
    models.asked[-1]["messages"]
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

from tests.fakes.http_server import FakeSite, Request

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
PATIENCE = 30.0
Reply = Callable[[dict[str, Any]], list[str]]


class ModelServer:
    """asked: the bodies of all completions, oldest first. began: set once a first piece was sent. left: once a caller
    hung up in the middle. reply: pieces by the request; `fails(status)` answers all with an error. pause: seconds
    after each piece."""

    def __init__(self, *models: str) -> None:
        self.models = list(models or ("small", "large"))
        self.asked: list[dict[str, Any]] = []
        self.began, self.left = threading.Event(), threading.Event()
        self.reply: Reply = lambda body: ["Good ", "day"]
        self.usage: dict[str, int] | None = {"prompt_tokens": 11, "completion_tokens": 2}
        self.finish = "stop"
        self.pause = 0.0
        self._steps = threading.Semaphore(0)
        self._go = threading.Event()
        self._go.set()
        self._failure: tuple[int, dict[str, str]] | None = None
        self.site = FakeSite()
        body = json.dumps({"object": "list", "data": [{"id": name} for name in self.models]}).encode()
        self.site.page("/v1/models", body, {"Content-Type": "application/json"})
        self.site.script("/v1/chat/completions", self._answer)

    @property
    def env(self) -> dict[str, str]:
        address = f"127.0.0.1:{self.site.port}"
        return {"BRAINSTEM_MODEL_SERVERS": f"lab=http://{address}/v1", "BRAINSTEM_ALLOW_HOSTS": address}

    def says(self, *pieces: str, finish: str = "stop") -> None:
        self.reply, self.finish, self._failure = lambda body: list(pieces), finish, None

    def fails(self, status: int, **headers: str) -> None:
        self._failure = status, headers

    def hold(self) -> None:
        while self._steps.acquire(blocking=False):
            continue
        self._go.clear()
        self.began.clear()
        self.left.clear()

    def step(self) -> None:
        """One more piece of one held answer."""
        self._steps.release()

    def go(self) -> None:
        self._go.set()

    def _answer(self, connection: socket.socket, request: Request) -> None:
        body = json.loads(request.body)
        self.asked.append(body)
        if self._failure is not None:
            self._refuse(connection, *self._failure)
            return
        connection.sendall(HEAD.encode())
        for piece in self.reply(body):
            try:
                connection.sendall(_chunk({"content": piece}))
            except OSError:
                self.left.set()
                raise
            self.began.set()
            if not self._may_go_on(connection, request):
                return
        connection.sendall(_chunk({}, self.finish))
        if self.usage is not None:
            connection.sendall(f"data: {json.dumps({'choices': [], 'usage': self.usage})}\n\n".encode())
        connection.sendall(b"data: [DONE]\n\n")

    def _may_go_on(self, connection: socket.socket, request: Request) -> bool:
        """Waits while held; False when the caller has left or the server closes."""
        if self.pause and request.hung_up.wait(self.pause):
            return False
        while not self._go.wait(0.01):
            if request.hung_up.is_set():
                return False
            if self._steps.acquire(blocking=False):
                return True
            if select.select([connection], [], [], 0)[0] and not connection.recv(1):
                self.left.set()
                return False
        return True

    def _refuse(self, connection: socket.socket, status: int, headers: dict[str, str]) -> None:
        body = json.dumps({"error": {"message": "the model server is unwell"}}).encode()
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            **headers,
        }
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        connection.sendall(f"HTTP/1.1 {status} Fake\r\n{lines}\r\n".encode() + body)

    def __enter__(self) -> Self:
        self.site.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.go()
        self.site.__exit__(*exc)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n".encode()

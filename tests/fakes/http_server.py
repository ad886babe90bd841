"""A scripted web server on loopback that may behave as badly as it likes.

    with FakeSite() as site:
        site.page("/", b"hello", {"Content-Type": "text/plain"})
        site.script("/drip", lambda conn, request: ...)   # raw bytes, full control
        site.url("/")

One thread per connection. Scripts that go on for ever use `request.hung_up` or simply write: the write fails
when the client leaves, which ends the thread. `site.idle()` waits until every connection is closed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

Script = Callable[[socket.socket, "Request"], object]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]  # lower-case names
    body: bytes
    hung_up: threading.Event = field(repr=False)  # set when the site closes; wait on it to stall


class FakeSite:
    """connections: how many were ever accepted. requests: all that were read, in order."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._tls = tls
        self._scripts: dict[str, Script] = {}
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._listener = socket.create_server((host, 0), family=_family(host))
        self.host, self.port = host, int(self._listener.getsockname()[1])

    def page(self, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        """A proper answer with Content-Length."""
        fields = {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.raw(path, f"HTTP/1.1 {status} Fake\r\n{head}\r\n".encode() + body)

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        self.page(path, b"moved", {"Location": location}, status)

    def raw(self, path: str, answer: bytes) -> None:
        """These bytes and nothing else, then the connection closes."""
        self.script(path, lambda conn, request: conn.sendall(answer))

    def script(self, path: str, script: Script) -> None:
        self._scripts[path] = script

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"{'https' if self._tls else 'http'}://{host or self.host}:{self.port}{path}"

    def idle(self, timeout: float = 5.0) -> bool:
        """True once no connection is open."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, timeout)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for conn in self._open:
                with contextlib.suppress(OSError):
                    conn.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self._listener.accept()
                with self._changed:
                    self.connections += 1
                    self._open.add(conn)
                threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            with self._wrapped(plain) as conn:
                if request := self._read(conn):
                    self.requests.append(request)
                    self._scripts.get(request.path, _missing)(conn, request)
        except OSError:
            pass  # the client left: what the tests want
        finally:
            plain.close()
            with self._changed:
                self._open.discard(plain)
                self._changed.notify_all()

    def _wrapped(self, conn: socket.socket) -> socket.socket:
        # A duplicate, since wrapping takes the descriptor away from the socket the books are kept on.
        return self._tls.wrap_socket(conn.dup(), server_side=True) if self._tls else conn.dup()

    def _read(self, conn: socket.socket) -> Request | None:
        with conn.makefile("rb") as reader:
            first = reader.readline().decode("latin-1").split()
            if len(first) != 3:
                return None
            headers = {}
            while line := reader.readline().strip().decode("latin-1"):
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            body = reader.read(int(headers.get("content-length", 0)))
        return Request(first[0], first[1], headers, body, self._closing)


def _missing(conn: socket.socket, request: Request) -> None:
    conn.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class Canary:
    """Listens and never accepts: whoever connects stays in the backlog, where `visitors` finds them."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((host, 0), family=_family(host))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])

    def visitors(self) -> int:
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

"""A WebSocket client and an event stream reader that can also do what no honest client does."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import requests

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Refused(Exception):
    """The server answered the handshake with something other than 101."""

    def __init__(self, status: int, head: str, body: str) -> None:
        super().__init__(f"{status}: {body[:200]}")
        self.status, self.head, self.body = status, head, body


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """One masked frame. The mask is zero: legal, and a hundred megabytes need no loop."""
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + struct.pack("!H", size)
    else:
        head = bytes((first, 0x80 | 127)) + struct.pack("!Q", size)
    return head + b"\0\0\0\0" + payload


class WS:
    """`WS(url, headers)` opens; `next()` gives messages; `closed` is (code, reason) once the server closed."""

    def __init__(self, url: str, headers: dict[str, str] | None = None, *, timeout: float = 10.0) -> None:
        parts = urlsplit(url)
        self.sock = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout)
        self.timeout, self.buffer = timeout, b""
        self.closed: tuple[int, str] | None = None
        self.pings = 0
        self.answers_pings = True
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        fields = {
            "Host": parts.netloc, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), **(headers or {}),
        }  # fmt: skip
        text = f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
        self.sock.sendall((text + "\r\n").encode())
        self.head = self._read_head()
        status = int(self.head.split()[1])
        if status != 101:
            sizes = [line.split(":")[1] for line in self.head.splitlines() if line.lower().startswith("content-length")]
            while sizes and len(self.buffer) < int(sizes[0]) and (part := self.sock.recv(65536)):
                self.buffer += part
            self.sock.close()
            raise Refused(status, self.head, self.buffer.decode(errors="replace"))

    def _read_head(self) -> str:
        while b"\r\n\r\n" not in self.buffer:
            part = self.sock.recv(65536)
            if not part:
                raise ConnectionError("closed in the handshake")
            self.buffer += part
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head.decode("latin-1")

    # -- out -------------------------------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        self.raw(frame(TEXT, (message if isinstance(message, str) else json.dumps(message)).encode()))

    def raw(self, data: bytes) -> None:
        """Sends all of it, while the server may close; then what is left is not sent."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    # -- in --------------------------------------------------------------------------------------------------

    def _fill(self, until: float) -> bool:
        left = until - time.monotonic()
        if left <= 0:
            return False
        self.sock.settimeout(left)
        try:
            part = self.sock.recv(262_144)
        except TimeoutError:
            return False
        except OSError:
            part = b""
        finally:
            self.sock.settimeout(self.timeout)
        if not part:
            self.closed = self.closed or (1006, "")
        self.buffer += part
        return bool(part)

    def _frame(self, until: float) -> tuple[int, bytes] | None:
        while True:
            need = 2
            if len(self.buffer) >= 2:
                size, start = self.buffer[1], 2
                assert not size & 0x80, "a server's frame is never masked"
                if size == 126:
                    start = 4
                    size = int.from_bytes(self.buffer[2:4], "big")
                elif size == 127:
                    start = 10
                    size = int.from_bytes(self.buffer[2:10], "big")
                need = start + size
                if len(self.buffer) >= need:
                    first, payload = self.buffer[0], self.buffer[start:need]
                    self.buffer = self.buffer[need:]
                    assert first & 0xF0 == 0x80, f"whole frames without extensions only: {first:#x}"
                    return first & 0x0F, payload
            if not self._fill(until):
                return None

    def next(self, timeout: float = 5.0) -> Any:
        """The next message as JSON; None when none comes in time or the server closed."""
        until = time.monotonic() + timeout
        while (got := self._frame(until)) is not None:
            opcode, payload = got
            if opcode == PING:
                self.pings += 1
                if self.answers_pings:
                    self.raw(frame(PONG, payload))
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if payload else 1005
                self.closed = (code, payload[2:].decode())
                self.raw(frame(CLOSE, payload[:2]))
                return None
            elif opcode == TEXT:
                return json.loads(payload)
            elif opcode == PONG:
                return {"type": "protocol pong", "payload": payload.decode()}
        return None

    def expect(self, timeout: float = 5.0, **fields: Any) -> Any:
        """Reads on until a message has these fields; fails when none does."""
        seen = []
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0:
            message = self.next(left)
            if message is None:
                break
            seen.append(message)
            if all(message.get(name) == value for name, value in fields.items()):
                return message
        raise AssertionError(f"no message with {fields}; closed={self.closed}; seen: {str(seen)[-1500:]}")

    def all(self, quiet: float = 0.4) -> list[Any]:
        """Everything until nothing came for a moment."""
        found = []
        while (message := self.next(quiet)) is not None:
            found.append(message)
        return found

    def wait_closed(self, timeout: float = 10.0) -> tuple[int, str]:
        until = time.monotonic() + timeout
        while self.closed is None and time.monotonic() < until:
            self.next(until - time.monotonic())
        assert self.closed is not None, "still open"
        return self.closed

    def ping_json(self) -> Any:
        self.send({"type": "ping"})
        return self.expect(type="pong")

    def close(self) -> None:
        if self.closed is None:
            self.raw(frame(CLOSE, (1000).to_bytes(2, "big")))
            try:
                self.wait_closed(3)
            except AssertionError:
                pass
        self.sock.close()

    def vanish(self) -> None:
        """Gone without a word: reset, as when a process is killed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> WS:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class SSE:
    """An event stream: `events()` yields (id, data); comments are counted; ends when the server ends."""

    def __init__(self, url: str, headers: dict[str, str] | None = None, timeout: float = 15.0, **options: Any) -> None:
        accept = {"Accept": "text/event-stream", **(headers or {})}
        self.response = requests.get(url, headers=accept, stream=True, timeout=timeout, **options)
        self.status, self.headers = self.response.status_code, self.response.headers
        self.comments: list[str] = []
        self.fields: list[str] = []
        self.retry: int | None = None

    def events(self) -> Iterator[tuple[int | None, Any]]:
        ident: int | None = None
        data: list[str] = []
        for raw in self.response.iter_lines(chunk_size=1, decode_unicode=False):
            line = raw.decode()
            if line.startswith(":"):
                self.comments.append(line)
            elif line == "":
                if data:
                    yield ident, json.loads("\n".join(data))
                data = []
            else:
                name, _, value = line.partition(": ")
                self.fields.append(name)
                if name == "data":
                    data.append(value)
                elif name == "id":
                    ident = int(value)
                elif name == "retry":
                    self.retry = int(value)

    def close(self) -> None:
        self.response.close()

    def __enter__(self) -> SSE:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

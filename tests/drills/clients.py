"""Live clients on bare sockets: server-sent events and WebSockets, as rude as a drill needs them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

CLOSE_WAIT, CLOSED = 8, 7  # states of a TCP connection whose other side has closed


def connect(
    url: str, path: str, headers: dict[str, str], *, receive_buffer: int | None = None, source: str = ""
) -> tuple[socket.socket, bytes, int]:
    """Ask and read the head of the answer: (socket, what came after the head, status)."""
    where = urlsplit(url)
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(15)
    if source:
        sock.bind((source, 0))
    sock.connect((str(where.hostname), int(where.port or 80)))
    lines = [f"GET {path} HTTP/1.1", f"Host: {where.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError(f"no answer: {head!r}")
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    return sock, rest, int(head.split(b" ", 2)[1])


def state_of(sock: socket.socket) -> int:
    """The TCP state, by which a client that never reads sees that it was dropped."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


class Sse:
    """One connection to a stream."""

    def __init__(self, url: str, path: str, last_id: int | None = None, *, headers: dict[str, str] | None = None,
                 **options: Any) -> None:  # fmt: skip
        headers = {"Accept": "text/event-stream", **(headers or {})}
        if last_id is not None:
            headers["Last-Event-ID"] = str(last_id)
        self.sock, self._rest, self.status = connect(url, path, headers, **options)

    def events(self) -> Iterator[tuple[int | None, Any]]:
        """(id, data as JSON), until the server closes."""
        buffer = self._rest
        while True:
            while b"\n\n" in buffer:
                block, _, buffer = buffer.partition(b"\n\n")
                event = _parse(block)
                if event is not None:
                    yield event
            data = self.sock.recv(65536)
            if not data:
                return
            buffer += data

    def close(self) -> None:
        self.sock.close()


def _parse(block: bytes) -> tuple[int | None, Any] | None:
    ident, data = None, []
    for line in block.decode().split("\n"):
        if line.startswith("id: "):
            ident = int(line[4:])
        elif line.startswith("data: "):
            data.append(line[6:])
    return (ident, json.loads("\n".join(data))) if data else None


class Ws:
    """One WebSocket. Frames of the server are not masked and not fragmented."""

    def __init__(self, url: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {
            **(headers or {}),
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        }
        self.sock, self._buffer, self.status = connect(url, path, headers, **options)
        self.close_code: int | None = None

    def messages(self) -> Iterator[Any]:
        """Messages as JSON, until a close frame or the end."""
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == 1:
                yield json.loads(payload)
            elif opcode == 9:
                self._send(10, payload)
            elif opcode == 8:
                self.close_code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None
                return

    def send(self, message: Any) -> None:
        self._send(1, json.dumps(message).encode())

    def _send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = len(payload)
        head = (
            bytes((0x80 | opcode, 0x80 | size))
            if size < 126
            else bytes((0x80 | opcode, 0xFE)) + struct.pack("!H", size)
        )
        self.sock.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def _frame(self) -> tuple[int, bytes] | None:
        head = self._take(2)
        if head is None:
            return None
        size = head[1] & 0x7F
        if size > 125:
            more = self._take(2 if size == 126 else 8)
            if more is None:
                return None
            size = int.from_bytes(more, "big")
        payload = self._take(size)
        return None if payload is None else (head[0] & 0x0F, payload)

    def _take(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def close(self) -> None:
        self.sock.close()


class Crowd:
    """Reads many connections in one thread and throws the bytes away; knows when each was closed by the server."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.closed: dict[socket.socket, float] = {}
        self.bytes = 0
        self.size = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.size += 1
        self.selector.register(sock, selectors.EVENT_READ)

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self.selector.select(0.05):
                sock: Any = key.fileobj
                try:
                    data = sock.recv(262144)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                self.bytes += len(data)
                if not data:
                    self.selector.unregister(sock)
                    self.closed[sock] = time.monotonic()
                    with contextlib.suppress(OSError):
                        sock.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        for key in list(self.selector.get_map().values()):
            with contextlib.suppress(OSError):
                key.fileobj.close()  # type: ignore[union-attr]

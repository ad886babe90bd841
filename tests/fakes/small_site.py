"""A web site for crawls: pages by path, lasting connections, and a log of every request."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

WORDS = [
    "queue",
    "worker",
    "event",
    "page",
    "model",
    "index",
    "search",
    "token",
    "graph",
    "crawl",
    "render",
    "batch",
    "cache",
    "stream",
    "retry",
    "ledger",
]
Reply = tuple[int, dict[str, str], bytes]


def article(number: int, links: str = "", words: int = 150) -> bytes:
    """A page with a text of its own."""
    draw = random.Random(number)
    text = "".join(
        f"<p>{' '.join(draw.choices([f'{w}{draw.randrange(50)}' for w in WORDS], k=words // 3))}.</p>" for _ in range(3)
    )
    return (
        f"<!doctype html><html lang=en><head><title>Page {number}</title></head><body><main><article>"
        f"<h1>Page {number}</h1>{text}</article></main><nav>{links}</nav></body></html>"
    ).encode()


class SmallSite:
    """pages: path -> bytes (HTML), a Reply, or a function of the request's headers that makes one."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | Reply | Callable[[Any], Reply]] = {}
        self.log: list[tuple[float, str, dict[str, str]]] = []
        self.delay = 0.0
        self.peak = self._now = 0
        self._lock = threading.Lock()
        self.reached = threading.Condition()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site._serve(self)

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]  # clients that were killed
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def linked(self, count: int, fan: int = 3) -> None:
        """`count` pages: each leads to a few others, all of them reachable from /0."""
        for n in range(count):
            others = [n * fan + k for k in range(1, fan + 1)] + [(n * 7 + 3) % count]
            self.pages[f"/{n}"] = article(n, "".join(f'<a href="/{m}">{m}</a> ' for m in others if m < count))

    def url(self, path: str = "/0") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def asked(self) -> Counter[str]:
        return Counter(path for _, path, _ in self.log)

    def wait_for(self, requests: int, patience: float = 60.0) -> bool:
        with self.reached:
            return self.reached.wait_for(lambda: len(self.log) >= requests, patience)

    def _serve(self, handler: Any) -> None:
        with self.reached:
            self.log.append((time.monotonic(), handler.path, {k.lower(): v for k, v in handler.headers.items()}))
            self._now += 1
            self.peak = max(self.peak, self._now)
            self.reached.notify_all()
        try:
            if self.delay:
                time.sleep(self.delay)
            page = self.pages.get(handler.path, (404, {}, b"nothing here"))
            if callable(page):
                page = page({k.lower(): v for k, v in handler.headers.items()})
            status, headers, body = page if isinstance(page, tuple) else (200, {}, page)
            handler.send_response(status)
            headers = {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(body)), **headers}
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            if status != 304:
                handler.wfile.write(body)
        finally:
            with self.reached:
                self._now -= 1

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

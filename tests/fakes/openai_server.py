"""A scripted server that speaks OpenAI's chat completions over loopback, streaming. One for all areas.

    with OpenAIServer() as server:
        server.say("Hello ", "there")            # what the next completions stream
        server.script = lambda asked: [...]      # or pieces by request; a piece may be a callable (an event to wait for)
        rt = make_rt(**server.env)

Pieces are text, a number (seconds to wait) or a callable without arguments. A client that hangs up ends its answer.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Piece = str | float | Callable[[], Any]


class OpenAIServer:
    def __init__(self, model: str = "small", port: int = 0) -> None:
        self.model = model
        self.asked: list[dict[str, Any]] = []
        self.hung_up = threading.Event()
        self.script: Callable[[dict[str, Any]], Iterable[Piece]] = lambda asked: ["Good ", "day."]
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                self._json({"object": "list", "data": [{"id": server.model, "object": "model"}]})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(asked)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    server._stream(self.wfile, asked)
                except OSError:
                    server.hung_up.set()

            def _json(self, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    @property
    def env(self) -> dict[str, str]:
        """Settings of a program that uses it."""
        return {"BRAINSTEM_MODEL_SERVERS": f"fake=http://{self.host}/v1", "BRAINSTEM_ALLOW_HOSTS": self.host}

    @property
    def engine(self) -> str:
        return f"openai:{self.model}@fake"

    def say(self, *pieces: Piece) -> None:
        self.script = lambda asked: pieces

    def _stream(self, out: Any, asked: dict[str, Any]) -> None:
        written = 0
        for piece in self.script(asked):
            if isinstance(piece, str):
                written += 1
                self._event(out, {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            elif callable(piece):
                piece()
            else:
                time.sleep(piece)
        self._event(out, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": 11, "completion_tokens": written, "total_tokens": 11 + written}
        self._event(out, {"choices": [], "usage": usage})
        out.write(b"data: [DONE]\n\n")
        out.flush()

    def _event(self, out: Any, data: dict[str, Any]) -> None:
        data = {"id": "c", "object": "chat.completion.chunk", "model": self.model, **data}
        out.write(b"data: " + json.dumps(data).encode() + b"\n\n")
        out.flush()

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

"""`openai:<model>@<server>`: any server that speaks OpenAI's chat completions (Ollama, llama.cpp, vLLM, OpenAI).

Servers are the operator's: BRAINSTEM_MODEL_SERVERS, and a private host must be in BRAINSTEM_ALLOW_HOSTS too, since the
request goes through the outbound gate like any other. No retries here: a task that failed is tried again when the
server said so (Retry-After), and its attempts are seen.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from webapp.core.errors import BlockedAddress, NoModel, TaskCancelled, Unavailable, Upstream
from webapp.core.refusals import retry_after, said_by
from webapp.engines.base import Completion, EngineInfo, Request

if TYPE_CHECKING:
    from webapp.core.http import Stream
    from webapp.engines.servers import Server
    from webapp.runtime import Runtime

ANSWER = 32 * 2**20  # bytes of one streamed answer, framing included
LONGEST_LINE = 2**20
SAID = 64 * 2**10  # bytes of a refusal that are read
TRIPS, REST = 5, 30.0  # so many failures in a row, and nobody is sent there for so many seconds


class OpenAI:
    """One model of one server."""

    def __init__(self, rt: Runtime, model: str, server: Server) -> None:
        self.id = f"openai:{model}@{server.name}"
        self.model, self.server = model, server
        self._rt = rt
        self._breaker = rt.kept(f"breaker {server.url}", Breaker)

    def info(self) -> EngineInfo:
        waits = self._breaker.waits()
        missing = (
            f"{self.server.name} failed {TRIPS} times in a row; it is asked again in {waits:.0f} s" if waits else None
        )
        return EngineInfo(self.id, f"{self.model} at {self.server.name}", "openai", None, not waits, missing,
                          "See whether the server runs." if waits else None)  # fmt: skip

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        if waits := self._breaker.waits():
            raise Unavailable(f"{self.server.name} failed {TRIPS} times in a row.", retry_after=int(waits) + 1)
        begun = time.monotonic()
        run = _Run(on_text, begun)
        try:
            with self._post("/chat/completions", self._body(request), cancelled, timeout) as answer:
                if answer.status != 200:
                    raise self._refusal(answer)
                self._read(answer, run)
        except TaskCancelled:
            run.finish = "cancelled"
        except Upstream as error:
            if error.retryable:
                self._breaker.failed()
            raise
        self._breaker.worked()
        return run.completion(self.id)

    def count(self, texts: list[str]) -> list[int]:
        """Three bytes a token: more than any tokenizer in use makes of plain text."""
        return [len(text.encode()) // 3 + 1 for text in texts]

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(request.messages),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.stop:
            body["stop"] = list(request.stop)
        if request.seed is not None:
            body["seed"] = request.seed
        return body

    def _post(self, path: str, body: dict[str, Any], cancelled: Callable[[], bool], timeout: float) -> Any:
        from webapp.core.http import safe_stream
        from webapp.tasks.service import outbound_policy

        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if self.server.key:
            headers["Authorization"] = f"Bearer {self.server.key}"
        stream = safe_stream(
            self.server.url + path, policy=outbound_policy(self._rt.settings), method="POST", headers=headers,
            body=json.dumps(body).encode(), timeout=timeout, max_bytes=ANSWER, max_redirects=0, cancelled=cancelled,
        )  # fmt: skip
        return _Allowed(stream, self.server)

    def _read(self, answer: Stream, run: _Run) -> None:
        if "event-stream" not in answer.content_type:  # a server that does not stream answers in one piece
            run.whole(_object(b"".join(answer.pieces()), self.server.name))
            return
        for event in events(answer.pieces()):
            if event == "[DONE]":
                run.done = True
                return
            run.part(_object(event.encode(), self.server.name))
        if not run.finish:
            raise Upstream(f"{self.server.name} broke off in the middle of its answer.", retryable=True)

    def _refusal(self, answer: Stream) -> Exception:
        said = said_by(b"".join(_first(answer.pieces(), SAID)))
        name = self.server.name
        if answer.status in (401, 403):
            return NoModel(f"{name} refused: {said}", suggestion="Set the server's key.")
        if answer.status == 404:
            return NoModel(f"{name} has no model {self.model}: {said}", suggestion="Load it there, or choose another.")
        again = answer.status in (408, 429) or answer.status >= 500
        return Upstream(f"{name} answered {answer.status}: {said}", retryable=again,
                        retry_after=retry_after(answer.headers.get("retry-after")))  # fmt: skip


class _Allowed:
    """The stream, with a refused address told as what it is: a model that may not be asked."""

    def __init__(self, stream: Any, server: Server) -> None:
        self.stream, self.server = stream, server

    def __enter__(self) -> Stream:
        try:
            return self.stream.__enter__()
        except BlockedAddress as error:
            host = urlsplit(self.server.url).netloc
            raise NoModel(f"{self.server.name} may not be asked. {error.message}",
                          suggestion=f"Add {host} to BRAINSTEM_ALLOW_HOSTS.") from error  # fmt: skip

    def __exit__(self, *exc: Any) -> Any:
        return self.stream.__exit__(*exc)


class _Run:
    """What has come of an answer so far."""

    def __init__(self, on_text: Callable[[str], None], begun: float) -> None:
        self.on_text, self.begun = on_text, begun
        self.texts: list[str] = []
        self.first: float | None = None
        self.finish = ""
        self.usage: dict[str, Any] = {}
        self.done = False

    def part(self, event: dict[str, Any]) -> None:
        if error := event.get("error"):
            raise Upstream(f"the model server failed: {said_by(json.dumps({'error': error}).encode())}", retryable=True)
        if isinstance(usage := event.get("usage"), dict):
            self.usage = usage
        for choice in event.get("choices") or ():
            self.tell((choice.get("delta") or {}).get("content"))
            self.finish = choice.get("finish_reason") or self.finish

    def whole(self, answer: dict[str, Any]) -> None:
        for choice in answer.get("choices") or ():
            self.tell((choice.get("message") or {}).get("content"))
            self.finish = choice.get("finish_reason") or "stop"
        self.usage = answer.get("usage") or {}

    def tell(self, text: Any) -> None:
        if not isinstance(text, str) or not text:
            return
        if self.first is None:
            self.first = time.monotonic() - self.begun
        self.texts.append(text)
        self.on_text(text)

    def completion(self, model: str) -> Completion:
        took = time.monotonic() - self.begun
        seconds = {} if self.first is None else {"first_token": self.first, "generate": took - self.first}
        finish = self.finish if self.finish in ("stop", "length", "cancelled") else "stop"
        return Completion("".join(self.texts), model, finish, _count(self.usage.get("prompt_tokens")),
                          _count(self.usage.get("completion_tokens")), seconds)  # fmt: skip


class Breaker:
    """After `TRIPS` failures in a row nobody is sent to the server for `REST` seconds; then one try decides."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures, self._until = 0, 0.0

    def waits(self) -> float:
        """Seconds until it may be asked again; 0 now."""
        return max(0.0, self._until - time.monotonic())

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= TRIPS:
                self._until = time.monotonic() + REST

    def worked(self) -> None:
        with self._lock:
            self._failures, self._until = 0, 0.0


def events(pieces: Iterator[bytes]) -> Iterator[str]:
    """The `data` of server-sent events (HTML standard, 9.2), one at a time."""
    rest, data = bytearray(), list[str]()
    for piece in pieces:
        rest += piece
        *lines, last = bytes(rest).split(b"\n")
        rest = bytearray(last)
        if len(rest) > LONGEST_LINE:
            raise Upstream("the model server sent a line without an end", retryable=False)
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", "replace")
            if not text and data:
                yield "\n".join(data)
                data = []
            elif text.startswith("data:"):
                data.append(text[5:].removeprefix(" "))
    if rest.startswith(b"data:"):  # the last line may lack its end
        data.append(rest[5:].decode("utf-8", "replace").strip())
    if data:
        yield "\n".join(data)


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Upstream(f"{name} sent something that is no completion.", retryable=False)
    return found


def _first(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:limit]
        limit -= len(piece)
        if limit <= 0:
            return


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

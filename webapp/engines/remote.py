"""`openai:<model>@<server>`: any server that speaks OpenAI's chat completions (Ollama, llama.cpp, vLLM, OpenAI).

Servers are the operator's: added on the models page, which approves exactly their host and port, or in
BRAINSTEM_MODEL_SERVERS, where a private host must be in BRAINSTEM_ALLOW_HOSTS too, since the request goes through the
outbound gate like any other. No retries here: a task that failed is tried again when the
server said so (Retry-After), and its attempts are seen.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from webapp.core.errors import AppError, BlockedAddress, NoModel, TaskCancelled, Unavailable, Upstream
from webapp.core.refusals import retry_after, said_by
from webapp.engines import servers
from webapp.engines.base import Completion, EngineInfo, Request

if TYPE_CHECKING:
    from webapp.core.http import Stream
    from webapp.engines.servers import Server
    from webapp.runtime import Runtime

ANSWER = 32 * 2**20  # bytes of one streamed answer, framing included
LONGEST_LINE = 2**20
SAID = 64 * 2**10  # bytes of a refusal that are read
TRIPS, REST = 5, 30.0  # so many failures in a row, and nobody is sent there for so many seconds
LONGEST_REST = 3600.0  # what a server may ask for


class OpenAI:
    """One model of one server."""

    def __init__(self, rt: Runtime, model: str, server: Server) -> None:
        self.id = f"openai:{model}@{server.name}"
        self.model, self.server = model, server
        self._rt = rt
        self._breaker: Breaker = rt.kept(f"breaker {server.url}", Breaker)

    def info(self) -> EngineInfo:
        label = f"{self.model} at {self.server.name}"
        details = {"server": self.server.name, "model": self.model}
        if missing := self._breaker.reason(self.server.name):
            return EngineInfo(self.id, label, "openai", None, False, missing, "See whether the server runs.", details,
                              retry_after=int(self._breaker.waits()) + 1)  # fmt: skip
        listed = None
        try:
            found = servers.last_known(self._rt, self.server)
            listed = None if found is None else next((one for one in found if named(one.name, self.model)), None)
        except AppError as error:
            return EngineInfo(self.id, label, "openai", None, False, error.message, error.suggestion, details)
        if found is not None and listed is None:
            missing = f"{self.server.name} does not list {self.model} any more"
            return EngineInfo(self.id, label, "openai", None, False, missing, "Load it there.", details)
        context = listed.context if listed else None
        return EngineInfo(self.id, label, "openai", context, True, details=details, capabilities=abilities(self.model))

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        if missing := self._breaker.reason(self.server.name):
            raise Unavailable(f"{missing}.", code="circuit_open", retry_after=int(self._breaker.waits()) + 1)
        begun = time.monotonic()
        run = _Run(on_text, begun)
        try:
            with self._post("/chat/completions", self._body(request), cancelled, timeout) as answer:
                if answer.status != 200:
                    raise self._refusal(answer)
                self._read(answer, run)
        except TaskCancelled:
            run.finish = "cancelled"
            return run.completion(self.id)
        except Upstream as error:
            if error.retryable:
                self._breaker.failed(error.retry_after)
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

        if self.server.trouble:
            raise NoModel(f"{self.server.name} cannot be asked: {self.server.trouble}.",
                          suggestion="Remove it on the models page and add it again.")  # fmt: skip
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"} | self.server.headers
        stream = safe_stream(
            self.server.url + path, policy=self.server.policy(self._rt), method="POST", headers=headers,
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
        code = {429: "rate_limited", 503: "unavailable"}.get(answer.status, "upstream")
        return Upstream(f"{name} answered {answer.status}: {said}", code=code, retryable=again,
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
            mend = f"Add {host} to BRAINSTEM_ALLOW_HOSTS."
            if self.server.id is not None:
                mend = (
                    "If that is right, remove it on the models page and add it again, which approves where it is now."
                )
            raise NoModel(f"{self.server.name} may not be asked. {error.message}", suggestion=mend) from error

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
        for text, finish in _choices(event, "delta"):
            self.tell(text)
            self.finish = finish or self.finish

    def whole(self, answer: dict[str, Any]) -> None:
        for text, finish in _choices(answer, "message"):
            self.tell(text)
            self.finish = finish or "stop"
        if isinstance(usage := answer.get("usage"), dict):
            self.usage = usage

    def tell(self, text: Any) -> None:
        if not isinstance(text, str) or not text:
            return
        text = text.encode("utf-8", "replace").decode().replace("\0", "")  # what no database takes
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
    """After `TRIPS` failures in a row nobody is sent to the server for `REST` seconds; then one try decides.

    A server that says when to come again (Retry-After) is left alone until then at the first word.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures, self._until, self._asked = 0, 0.0, False

    def waits(self) -> float:
        """Seconds until it may be asked again; 0 now."""
        return max(0.0, self._until - time.monotonic())

    def reason(self, name: str) -> str | None:
        """Why `name` is not asked now; None when it may be."""
        if not (waits := self.waits()):
            return None
        if self._asked:
            return f"{name} asked to be left alone for {waits:.0f} s"
        return f"{name} failed {TRIPS} times in a row; it is asked again in {waits:.0f} s"

    def failed(self, retry_after: int | None = None) -> None:
        with self._lock:
            self._failures += 1
            self._asked = retry_after is not None
            if retry_after is not None:
                self._until = time.monotonic() + min(retry_after, LONGEST_REST)
            elif self._failures >= TRIPS:
                self._until = time.monotonic() + REST

    def worked(self) -> None:
        with self._lock:
            self._failures, self._until, self._asked = 0, 0.0, False


# What models can do, by the names people know them by (002:343-346): no list of a server says it.
ABILITIES = {
    "vision": ("llava", "moondream", "bakllava", "vision", "-vl", "minicpm-v"),
    "audio": ("whisper", "tts", "transcribe", "realtime", "audio"),
    "embedding": ("embed", "minilm", "bge-", "e5-", "gte-"),
    "image": ("dall-e", "gpt-image", "stable-diffusion", "sora"),
    "other": ("moderation", "rerank"),
}


def abilities(model: str) -> tuple[str, ...]:
    """text, vision, audio or embedding."""
    name = model.lower()
    found = [ability for ability, words in ABILITIES.items() if any(word in name for word in words)]
    if not found:
        return ("text",)
    return ("text", "vision") if found == ["vision"] else tuple(found)


def named(listed: str, wanted: str) -> bool:
    """Ollama lists llama3 as llama3:latest and answers to both."""
    return listed == wanted or listed == f"{wanted}:latest"


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


def _choices(said: dict[str, Any], key: str) -> Iterator[tuple[Any, str]]:
    """(text, why it ended or "") of each choice. Raises Upstream for what is none."""
    try:
        for choice in said.get("choices") or ():
            finish = choice.get("finish_reason") or ""
            if not isinstance(finish, str):
                raise TypeError
            yield (choice.get(key) or {}).get("content"), finish
    except (TypeError, AttributeError):
        raise Upstream("the model server sent something that is no completion.", retryable=False) from None


def _first(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:limit]
        limit -= len(piece)
        if limit <= 0:
            return


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None

"""A model provider in eighty lines: the Messages API of Anthropic, streamed. docs/adding-a-model-provider.md walks through it.

ANTHROPIC_API_KEY is needed; ANTHROPIC_MODELS names the models, with commas; ANTHROPIC_BASE_URL is another server's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from webapp.core.errors import NoModel, TaskCancelled, Upstream
from webapp.engines.base import Completion, EngineInfo, Request
from webapp.engines.providers import Provider, Tools

ENDS = {"max_tokens": "length"}  # every other reason is an end of the model's own


class Model:
    def __init__(self, tools: Tools, name: str) -> None:
        self.id, self.tools, self.name = name, tools, name

    def info(self) -> EngineInfo:
        """Nobody is asked: pages wait for this."""
        there = bool(os.environ.get("ANTHROPIC_API_KEY"))
        return EngineInfo(self.id, self.name, "anthropic", context=200_000, available=there,
                          missing=None if there else "there is no ANTHROPIC_API_KEY",
                          suggestion=None if there else "Set it in the environment of server and workers.")  # fmt: skip

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        began, first, text = time.monotonic(), None, ""
        usage: dict[str, int] = {}
        finish = "stop"
        try:
            for event in self._events(request, cancelled, timeout):
                usage |= event.get("usage") or event.get("message", {}).get("usage") or {}
                if event["type"] == "content_block_delta" and (piece := event["delta"].get("text")):
                    first = first or time.monotonic()
                    text += piece
                    on_text(piece)
                elif event["type"] == "message_delta":
                    finish = ENDS.get(event["delta"].get("stop_reason"), "stop")
        except TaskCancelled:
            finish = "cancelled"
        seconds = {"first_token": first - began, "generate": time.monotonic() - first} if first else {}
        return Completion(text, self.id, finish, usage.get("input_tokens"), usage.get("output_tokens"), seconds)

    def count(self, texts: list[str]) -> list[int]:
        return [len(one.encode()) // 3 + 1 for one in texts]  # only the server has the tokenizer: an upper guess

    def _events(self, request: Request, cancelled: Callable[[], bool], timeout: float) -> Iterator[dict[str, Any]]:
        """Through the outbound gate, which looks at `cancelled`. Raises NoModel, Upstream, TaskCancelled."""
        key = os.environ.get("ANTHROPIC_API_KEY")
        if not key:
            raise NoModel("There is no ANTHROPIC_API_KEY.", suggestion="Set it in the environment.")
        url = os.environ.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com") + "/v1/messages"
        headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "Content-Type": "application/json"}
        body = json.dumps(self._body(request)).encode()
        with self.tools.stream(
            url, method="POST", headers=headers, body=body, timeout=timeout, cancelled=cancelled
        ) as answer:
            if answer.status != 200:
                wait = answer.headers.get("retry-after", "")
                raise Upstream(f"Anthropic answered {answer.status}.", retryable=answer.status in (408, 429) or answer.status >= 500,
                               retry_after=int(wait) if wait.isascii() and wait.isdigit() else None)  # fmt: skip
            yield from _data(answer.pieces())

    def _body(self, request: Request) -> dict[str, Any]:
        system = "\n\n".join(one["content"] for one in request.messages if one["role"] == "system")
        said = [one for one in request.messages if one["role"] != "system"]
        body = {"model": self.name, "messages": said, "max_tokens": request.max_tokens, "stream": True,
                "temperature": request.temperature, "stop_sequences": list(request.stop), "system": system}  # fmt: skip
        return {name: value for name, value in body.items() if value not in ("", [])}


def _data(pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON of each server-sent event; an event may be cut anywhere between two pieces."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            with suppress(ValueError):
                event = json.loads(line[5:])
                if event.get("type") == "error":
                    raise Upstream(f"Anthropic broke off: {str(event['error'].get('message'))[:200]}", retryable=True)
                yield event
                if event.get("type") == "message_stop":
                    return
    raise Upstream("Anthropic broke the answer off.", retryable=True)


def _models(tools: Tools) -> list[str]:
    named = os.environ.get("ANTHROPIC_MODELS", "claude-sonnet-4-5")
    return [one.strip() for one in named.split(",") if one.strip()]


PROVIDER = Provider("Anthropic", _models, Model)

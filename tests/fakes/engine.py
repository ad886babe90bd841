"""A scripted engine: it writes what the test says and keeps what it was asked. It obeys every word it reads.

script: a text, or a function of the request that returns one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from webapp.core.errors import NoModel
from webapp.engines.base import Completion, EngineInfo, Request


class Scripted:
    id = "scripted"

    def __init__(self, script: str | Callable[[Request], str] = "", context: int | None = 4096) -> None:
        self.script = script
        self.context = context
        self.requests: list[Request] = []

    def info(self) -> EngineInfo:
        return EngineInfo(self.id, "Scripted", "openai", self.context, True)

    def count(self, texts: list[str]) -> list[int]:
        return [len(text.split()) * 4 // 3 + 1 for text in texts]

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        self.requests.append(request)
        text = self.script if isinstance(self.script, str) else self.script(request)
        written = ""
        for place in range(0, len(text), 7):  # in the middle of words and marks, as tokens come
            if cancelled():
                return Completion(written, self.id, "cancelled")
            written += text[place : place + 7]
            on_text(text[place : place + 7])
        return Completion(text, self.id, "stop", 10, len(text.split()), {"generate": 0.01})

    @property
    def shown(self) -> str:
        """All it was given to read in the last request."""
        return "\n".join(message["content"] for message in self.requests[-1].messages)


def install(monkeypatch: pytest.MonkeyPatch, engine: Scripted) -> Scripted:
    """The only engine there is, and the default one."""
    from webapp.engines import service

    def choose(rt: Any, wanted: str = "", *more: Any, **named: Any) -> Scripted:
        if wanted not in ("", engine.id):
            raise NoModel(f"There is no model {wanted} here.")
        return engine

    monkeypatch.setattr(service, "choose", choose)
    return engine

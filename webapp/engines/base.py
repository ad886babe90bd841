"""What an engine is asked for, what it answers, and the protocol all of them follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": str}


@dataclass(frozen=True)
class Request:
    """One text to write. Tokens are the model's own; `seed` makes a local model repeatable."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.2
    top_p: float = 0.95
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Completion:
    """What was written. Every number was measured in this run, or is None because nobody measured it.

    finish: "stop" (the model ended), "length" (max_tokens) or "cancelled".
    seconds: load, first_token, prompt, generate; wall clock.
    """

    text: str
    model: str
    finish: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)  # version of the model, bytes of memory, where known

    @property
    def tokens_per_second(self) -> float | None:
        took = self.seconds.get("generate")
        return self.completion_tokens / took if self.completion_tokens and took else None


@dataclass(frozen=True)
class EngineInfo:
    """`id` names it everywhere. context: tokens of prompt and answer together, None when unknown.

    capabilities: text | vision | audio | embedding; only what can write text is chosen by itself.
    """

    id: str
    label: str
    family: str  # ggml | openai | extractive
    context: int | None
    available: bool
    missing: str | None = None
    suggestion: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ("text",)
    retry_after: int | None = None  # whole seconds after which it may be available again, where that is known


class Engine(Protocol):
    id: str

    def info(self) -> EngineInfo: ...

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        """Write, telling each piece as it comes. A cancelled run returns what it has, `finish` "cancelled".

        Raises NoModel, Unavailable, Upstream, Invalid (code context_overflow), TaskTimedOut, ChildCrashed.
        """
        ...

    def count(self, texts: list[str]) -> list[int]:
        """Tokens of each text, by the model's tokenizer or, where only a server has it, by an upper guess."""
        ...

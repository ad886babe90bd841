"""A conversation's surroundings: a lab that runs tasks, and a scripted stand-in for what writes the answers."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab
from webapp.chat import service
from webapp.core.context import Actor, Ctx
from webapp.engines.base import Completion
from webapp.runtime import Runtime


@dataclass(frozen=True)
class Source:
    number: int
    document_id: str = "d"
    version_id: str = "v"
    start: int = 0
    end: int = 5
    quote: str = "quote"
    title: str = "A page"
    url: str | None = "https://example.org/a"
    fetched_at: str | None = "2026-01-02T03:04:05.000Z"
    score: float = 0.9
    collection_id: str = "c"
    verdict: str = "verified"
    check_score: float = 0.9
    method: str = "words"
    citation_id: str | None = None


@dataclass(frozen=True)
class Sentence:
    text: str
    numbers: tuple[int, ...] = ()
    verdict: str = "verified"
    score: float = 0.9
    method: str = "words"


@dataclass(frozen=True)
class Answer:
    text: str
    sentences: tuple[Sentence, ...] = ()
    sources: tuple[Source, ...] = ()
    confidence: float = 0.8
    declined: bool = False
    reason: str = ""
    engine: str = "extractive"
    completion: Completion | None = None
    context_used: bool = True
    ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    agent: str = "qa"
    confidence: float = 0.75
    method: str = "signs"

    def receipt(self) -> dict[str, Any]:
        return {"agent": self.agent, "confidence": self.confidence, "candidates": [], "reason": "a question",
                "method": self.method, "ms": 1.0}  # fmt: skip


@dataclass
class Pen:
    """What writes in tests: `script(on_text, ...)` may stream, wait or fail, and returns the answer."""

    script: Callable[..., Answer] = lambda **given: Answer("Yes.")
    asked: list[dict[str, Any]] = field(default_factory=list)
    routed: int = 0
    stored: list[str] = field(default_factory=list)

    def answer(self, ctx: Ctx, question: str, **given: Any) -> Answer:
        self.asked.append({"question": question, **given})
        given["on_step"](25, "Searching knowledge base...")
        return self.script(question=question, **given)

    def store_citations(self, db: Any, owner_id: str | None, answer: Answer, task_id: str) -> list[Source]:
        if answer.declined:
            return []
        self.stored.append(task_id)
        return list(answer.sources)

    def route(self, rt: Runtime, question: str, *, context: Any = None) -> Route:
        self.routed += 1
        return Route()

    def chosen(self, agent: str) -> Route:
        return Route(agent, 1.0, "chosen")

    def list_(self, ctx: Ctx) -> list[Any]:
        return [self.get(ctx, name) for name in ("research", "qa")]

    def get(self, ctx: Ctx, name: str) -> Any:
        return types.SimpleNamespace(key=name, id=name, name=name.title(), description="", model_name="", prompt="",
                                     config={}, is_active=True)  # fmt: skip


@pytest.fixture
def pen(monkeypatch: pytest.MonkeyPatch) -> Pen:
    from webapp.agents import service as agents
    from webapp.answers import service as answers

    made = Pen()
    for module, names in ((answers, ("answer", "store_citations")), (agents, ("route", "chosen", "list_", "get"))):
        for name in names:
            monkeypatch.setattr(module, name, getattr(made, name))
    return made


def add_lab(rt: Runtime) -> None:
    """A model server that can be named (`openai:large@lab`) and is never asked: the pen writes."""
    from webapp.core.context import SYSTEM
    from webapp.engines import rows

    with rt.unit() as db:
        rows.add_server(Ctx(rt, db, SYSTEM), "lab", "https://93.184.215.14/v1", "")


@dataclass
class Talk:
    """Alice's conversations on one runtime."""

    rt: Runtime
    cast: Cast
    lab: Lab
    pen: Pen

    @contextmanager
    def as_(self, who: Actor | None = None) -> Iterator[Ctx]:
        with self.rt.unit() as db:
            yield Ctx(self.rt, db, who or self.cast.alice)

    def ask(self, text: str = "Why?", conversation_id: str | None = None, *, run: bool = True, **more: Any) -> Any:
        """(conversation id, question id, answer id, task id), answered if `run`."""
        with self.as_() as ctx:
            row = service.get(ctx, conversation_id) if conversation_id else service.create(ctx)
            question, answer, task = service.ask(ctx, row, text, **more)
            found = row.id, question.id, answer.id, task["id"]
        if run:
            self.lab.run_all("interactive")
        return found

    def message(self, ident: str) -> Any:
        with self.as_() as ctx:
            return service.message(ctx, ident)

    def stand(self, ident: str) -> Any:
        with self.as_() as ctx:
            return service.settled(ctx, [service.message(ctx, ident)])[ident]


@pytest.fixture
def talk(both_rt: Runtime, pen: Pen) -> Talk:
    return Talk(both_rt, make_cast(both_rt), Lab(both_rt), pen)

"""An answer that a model writes from numbered sources, checked sentence by sentence before it is believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from webapp.answers import marks, prompt, support
from webapp.answers.base import EXTRACTIVE, Answer, History, OnText, Sentence
from webapp.answers.harmless import Allowed, Stream, addresses, harmless
from webapp.answers.prompt import Prompt
from webapp.core.errors import Invalid, NoModel
from webapp.core.sentences import split

if TYPE_CHECKING:
    from webapp.answers.evidence import Evidence
    from webapp.core.context import Ctx
    from webapp.engines.base import Completion, Engine
    from webapp.runtime import Runtime

SMALLER = 0.6  # of the window, after the first prompt was too long for it
FROM_MODEL = "The model answered from what it learned; nothing of this was checked against a source."
PASSED = "The model found no answer in the sources."


def choose(rt: Runtime, wanted: str, agent: Any, task_type: str) -> Engine | None:
    """The model that writes; None for sentences of the sources. Raises NoModel for a named one that is not there.

    An agent's model that is gone gives way to the default; one that the caller names does not.
    """
    from webapp.engines import service as engines

    if wanted:
        return None if wanted == EXTRACTIVE else engines.choose(rt, wanted, task_type)
    for name in dict.fromkeys((getattr(agent, "model_name", "") or "", "")):
        if name == EXTRACTIVE:
            return None
        try:
            return engines.choose(rt, name, task_type)
        except NoModel:
            continue
    return None


def config(agent: Any) -> dict[str, Any]:
    return dict(getattr(agent, "config", None) or {})


def needs_sources(agent: Any) -> bool:
    return bool(config(agent).get("needs_sources", True))


@dataclass(frozen=True)
class Writing:
    """One answer's model with all it is given but the question. max_tokens: at most, of the answer."""

    ctx: Ctx
    model: Engine
    agent: Any
    history: History
    max_tokens: int
    task_type: str
    task_id: str | None
    on_text: OnText
    cancelled: Callable[[], bool]
    timeout: float

    def answer(self, question: str, evidence: Evidence) -> Answer:
        """From the evidence, as far as it fits into the model's window."""
        began = time.perf_counter()
        make = partial(
            prompt.grounded, self.model, question, evidence, self._instruction, self.history, self.max_tokens
        )
        shown, completion, text = self._written(question, make)
        wrote = time.perf_counter()
        checked = support.check(self.ctx.rt, text, shown.sources)
        ms = {"write": (wrote - began) * 1000, "check": (time.perf_counter() - wrote) * 1000}
        sure = round(evidence.right * checked.share, 3)
        return Answer(checked.text, checked.sentences, checked.sources, sure, checked.passed,
                      PASSED if checked.passed else "", self.model.id, completion, bool(shown.sources), ms=ms)  # fmt: skip

    def alone(self, question: str) -> Answer:
        """Without sources: nothing to check, and said so."""
        began = time.perf_counter()
        make = partial(prompt.alone, self.model, question, self._instruction, self.history, self.max_tokens)
        _, completion, text = self._written(question, make)
        sentences = tuple(Sentence(text[one.start : one.end], (), "none", 0.0, "", one.start, one.end)
                          for one in split(text))  # fmt: skip
        ms = {"write": (time.perf_counter() - began) * 1000}
        return Answer(text, sentences, (), 0.0, False, FROM_MODEL, self.model.id, completion, context_used=False, ms=ms)

    @property
    def _instruction(self) -> str:
        return getattr(self.agent, "prompt", "") or ""

    def _written(self, question: str, make: Callable[[float], Prompt]) -> tuple[Prompt, Completion, str]:
        """What was shown, what the engine gave, and its text made harmless.

        Tokens of a server's model are guessed: when it says that they are too many, it is asked once more with fewer.
        """
        for share in (1.0, SMALLER):
            shown = make(share)
            allowed, known = self._allowed(shown, question), frozenset(one.number for one in shown.sources)
            stream = Stream(self.on_text, allowed, known)
            try:
                completion = self._generate(shown, stream)
            except Invalid as error:
                if error.code != "context_overflow" or share == SMALLER:
                    raise
                continue
            stream.close()
            return shown, completion, marks.settled(harmless(completion.text, allowed), known).strip()
        raise AssertionError("the second prompt was neither answered nor refused")

    def _generate(self, shown: Prompt, stream: Stream) -> Completion:
        from webapp.engines import service as engines
        from webapp.engines.base import Request

        temperature = float(config(self.agent).get("temperature", 0.2))
        request = Request(shown.messages, max_tokens=shown.room, temperature=temperature)
        return engines.generate(self.ctx.rt, self.model.id, request, task_type=self.task_type,
                                owner_id=self.ctx.user.id, task_id=self.task_id, on_text=stream,
                                cancelled=self.cancelled, timeout=self.timeout)  # fmt: skip

    def _allowed(self, shown: Prompt, question: str) -> Allowed:
        """Addresses the answer may name: those it was given. A model that read nothing of strangers may name any."""
        before = [str(turn.get("content", "")) for turn in self.history]
        if not shown.sources and not any(marks.MARK.search(one) for one in before):
            return None
        said = [question, *before, *(one.quote for one in shown.sources)]
        return addresses(said) | {one.url for one in shown.sources if one.url}

"""Which agent a question is for, and how sure that is: a softmax over signs of the wording and the question's vector.

Fitted on `examples.txt`, questions made for this project, by `python -m benchmarks.routing --fit`, which writes
`routing.json`; docs/benchmarks.md has accuracy and calibration on questions it did not see.
Where no embedder is, a second fit on the signs alone answers, and the receipt's `method` says so.
"""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from webapp.agents.signs import LABELS, LONGEST, Sign, signs
from webapp.core.errors import AppError

if TYPE_CHECKING:
    from webapp.embedding.base import Vectors
    from webapp.runtime import Runtime

EMBEDDER = "minilm"  # whose vectors the coefficients belong to
AGENTS = ("research", "analysis", "qa", "general")
MATTERS = 0.15  # a sign that moves the logit by less is not named as a reason
# "And in 1990?", "why is that": such a question is read together with the one before it.
FOLLOW_UP = re.compile(
    r"^\W*(?:and|but|so|und|aber|et|y|e|what about|how about|why(?: (?:is that|so|not))?|since when|where exactly)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Route:
    """A decision. confidence: the calibrated chance that it is right. candidates: all, best first, {agent, score, reason}.

    method: "signs+vectors" or, without an embedder, "signs"; "chosen" when a person named the agent.
    """

    agent: str
    confidence: float
    candidates: list[dict[str, Any]]
    reason: str
    method: str
    ms: float

    def receipt(self) -> dict[str, Any]:
        """What is stored with an answer."""
        return asdict(self)


def route(rt: Runtime, question: str, *, context: str | Mapping[str, Any] | None = None) -> Route:
    """The agent for `question`. Never raises for lack of a model.

    context: the question before it, or {"history": turns, oldest first}: a follow-up is read together with it.
    """
    began = time.perf_counter()
    text = question.strip()[:LONGEST]
    before = _before(context)
    joined = bool(before) and len(text.split()) <= 6 and bool(FOLLOW_UP.match(text))
    whole = f"{before} {text}" if joined else text
    found = signs(whole)
    vector = _vector(rt, whole)
    model = coefficients()["full" if vector is not None else "signs"]
    logits = model.logits(found, vector)
    scores = softmax([one / model.temperature for one in logits])
    order = sorted(range(len(AGENTS)), key=lambda number: -scores[number])
    candidates: list[dict[str, Any]] = [
        {
            "agent": AGENTS[number],
            "score": round(scores[number], 4),
            "reason": _why(model, number, found, joined, number == order[0]),
        }
        for number in order
    ]
    best = candidates[0]
    return Route(
        best["agent"], best["score"], candidates, f"{_sure(best['score'])}: {best['reason']}.",
        "signs+vectors" if vector is not None else "signs", round(1000 * (time.perf_counter() - began), 2),
    )  # fmt: skip


def _before(context: str | Mapping[str, Any] | None) -> str:
    if not isinstance(context, Mapping):
        return context or ""
    asked = [turn.get("content", "") for turn in context.get("history") or () if turn.get("role") == "user"]
    return str(asked[-1])[:LONGEST] if asked else ""


def chosen(agent: str) -> Route:
    """The receipt of a decision that a person made."""
    reason = "You chose this agent."
    return Route(agent, 1.0, [{"agent": agent, "score": 1.0, "reason": reason}], reason, "chosen", 0.0)


def _vector(rt: Runtime, text: str) -> Any:
    from webapp.embedding import service as embedding

    if not text:
        return None
    try:
        return embedding.embed(rt, EMBEDDER, [text])[0]
    except AppError:
        return None


def _sure(score: float) -> str:
    return "Quite sure" if score >= 0.85 else "Likely" if score >= 0.6 else "Not sure"


def _why(model: Model, agent: int, found: dict[str, Sign], joined: bool, chosen: bool) -> str:
    """The two signs that speak most for `agent`, in words."""
    weights = {name: sign.strength * model.centred(name)[agent] for name, sign in found.items()}
    best = [name for name in sorted(weights, key=lambda name: -weights[name]) if weights[name] >= MATTERS][:2]
    said = [LABELS[name] + (f" (“{found[name].seen}”)" if found[name].seen else "") for name in best]
    if not said and not chosen:
        return "nothing in the question speaks for it"
    if not said:
        return "nothing in the wording stands out; it resembles what this agent is asked" if model.vectors is not None \
            else "nothing in the wording stands out"  # fmt: skip
    return ("follows the question before it, and " if joined else "the question ") + " and ".join(said)


# -- the fitted model ------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """weights: sign -> one number per agent. vectors: (agents, dimension), None where only signs count."""

    bias: list[float]
    weights: dict[str, list[float]]
    vectors: Vectors | None
    temperature: float

    def logits(self, found: dict[str, Sign], vector: Any = None) -> list[float]:
        total = list(self.bias)
        for name, sign in found.items():
            for number, weight in enumerate(self.weights.get(name, ())):
                total[number] += weight * sign.strength
        if self.vectors is not None:
            total = [one + float(more) for one, more in zip(total, self.vectors @ vector, strict=True)]
        return total

    def centred(self, name: str) -> list[float]:
        """A sign's weights against their mean: what it says for one agent rather than another."""
        weights = self.weights.get(name) or [0.0] * len(AGENTS)
        mean = sum(weights) / len(weights)
        return [one - mean for one in weights]


def softmax(logits: list[float]) -> list[float]:
    highest = max(logits)
    grown = [math.exp(one - highest) for one in logits]
    return [one / sum(grown) for one in grown]


@cache
def coefficients() -> dict[str, Model]:
    """ "full" and "signs", from `routing.json` beside this file."""
    stored = json.loads(files("webapp.agents").joinpath("routing.json").read_text("utf-8"))
    return {name: _model(stored[name]) for name in ("full", "signs")}


def _model(stored: dict[str, Any]) -> Model:
    vectors = None
    if "vectors" in stored:
        import numpy as np

        packed = np.frombuffer(base64.b64decode(stored["vectors"]), "<f2").astype(np.float32)
        vectors = packed.reshape(len(AGENTS), -1)
    return Model(stored["bias"], stored["weights"], vectors, stored["temperature"])


def examples(path: Any = None) -> list[tuple[str, str, int]]:
    """(question, agent, number of its topic), from `examples.txt`."""
    letters = {agent[0]: agent for agent in AGENTS}
    found, topic = [], -1
    for line in (path or files("webapp.agents").joinpath("examples.txt")).read_text("utf-8").splitlines():
        if line.startswith("= "):
            topic += 1
        elif line and not line.startswith("#"):
            found.append((line[2:].strip(), letters[line[0]], topic))
    return found

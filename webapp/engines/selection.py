"""The best model for a piece of work, with its reasons: what was asked for, what is here, what was measured (M119).

Works from what is known already: files, the last word of each server, and the figures of real calls. No server is
asked while somebody waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webapp.core.errors import NoModel
from webapp.engines import calls, hub, service
from webapp.engines.base import EngineInfo
from webapp.engines.calls import Metrics

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from webapp.runtime import Runtime

PRIORITIES = ("quality", "speed", "balanced", "cost")
# What sentences of the sources can answer without a model.
GROUNDED = frozenset(
    {"chat", "qa", "question_answering", "research", "summary", "summarize", "summarization", "analysis"}
)
SEEING = ("image", "vision", "visual")  # task types that need a model which sees, whatever else is said
TEXT = ("text", "text/plain", "text/markdown", "text/html", "application/json")


@dataclass(frozen=True)
class Wish:
    task_type: str = ""
    content_type: str = ""
    priority: str = "balanced"
    max_tokens: int | None = None
    vision: bool = False
    min_score: float | None = None


@dataclass(frozen=True)
class Choice:
    chosen: EngineInfo
    fallbacks: tuple[EngineInfo, ...]
    reason: str
    figures: dict[str, Metrics]
    best: float | None


def select(rt: Runtime, db: Session, wish: Wish) -> Choice:
    """Raises NoModel when nothing here can do it."""
    figures = {one.model: one for one in calls.metrics(db)}
    best = calls.fastest(list(figures.values()))
    models = service.available(rt, wait=False)
    fit, short = _fitting(models, wish, figures, best)
    wanted = service.defaults_for(rt, wish.task_type)
    ranked = sorted(fit, key=lambda one: _rank(one, wish.priority, wanted, figures))
    if not ranked and wish.task_type in GROUNDED and not wish.vision:
        why = "; ".join(dict.fromkeys(short)) or "no language model is set up"
        return Choice(service.EXTRACTIVE, (), f"Answers are sentences of your sources: {why}.", figures, best)
    if not ranked:
        why = "; ".join(dict.fromkeys(short[:5])) or "no language model is set up"
        raise NoModel(f"No model here can do this: {why}.", suggestion=f"Add one on the models page. {hub.without(rt)}")
    reason = _reason(ranked, wish, wanted, figures, models)
    return Choice(ranked[0], tuple(ranked[1:6]), reason, figures, best)


def _fitting(
    models: list[EngineInfo], wish: Wish, figures: dict[str, Metrics], best: float | None
) -> tuple[list[EngineInfo], list[str]]:
    """Those that can do it, and why the others cannot."""
    fit, short = [], []
    sees = wish.vision or wish.content_type.startswith("image") or wish.task_type.startswith(SEEING)
    needed = "vision" if sees else "text"
    for one in models:
        rate = calls.score(figures[one.id], best) if one.id in figures else None
        if not one.available:
            short.append(f"{one.label} is not there ({one.missing})")
        elif needed not in one.capabilities:
            short.append(f"{one.label} cannot do {needed}")
        elif wish.max_tokens and one.context and wish.max_tokens >= one.context:
            short.append(f"the window of {one.label} holds {one.context:,} tokens")
        elif wish.min_score is not None and rate is not None and rate < wish.min_score:
            short.append(f"{one.label} scored {rate:.2f}")
        else:
            fit.append(one)
    return fit, short


def _rank(one: EngineInfo, priority: str, wanted: list[str], figures: dict[str, Metrics]) -> tuple[Any, ...]:
    """Smaller is better. Whatever the priority, a model that fails half of its calls comes last."""
    seen = figures.get(one.id)
    failing = bool(seen and seen.success_rate is not None and seen.success_rate < 0.5)
    chosen = wanted.index(one.id) if one.id in wanted else len(wanted)
    speed = -(seen.tokens_per_second or 0.0) if seen else 0.0
    size = one.details.get("size") or 0
    if priority == "speed":
        return failing, speed, chosen, size, one.id
    if priority == "cost":  # a file costs nothing, and less the smaller it is
        return failing, one.family != "ggml", size, chosen, one.id
    if priority == "quality":
        return failing, chosen, -(one.context or 0), -size, one.id
    return failing, chosen, speed, size, one.id


def _reason(
    ranked: list[EngineInfo], wish: Wish, wanted: list[str], figures: dict[str, Metrics], models: list[EngineInfo]
) -> str:
    first, parts = ranked[0], []
    seen = figures.get(first.id)
    here = {one.id for one in models if one.available}
    for name in wanted:
        if name == first.id:
            parts.append(f"it is the default for {wish.task_type or 'everything'}")
            break
        if name not in here:
            parts.append(f"the default {name} is not available, so it falls back")
    if wish.priority == "speed" and seen and seen.tokens_per_second:
        parts.append("it wrote fastest here")
    if wish.priority == "cost" and first.family == "ggml":
        parts.append("it runs on this server and costs nothing")
    if wish.priority == "quality" and first.id not in wanted and len(ranked) > 1 and first.context:
        parts.append("it has the largest window")
    if wish.max_tokens and first.context:
        parts.append(f"its window of {first.context:,} tokens holds {wish.max_tokens:,}")
    parts.append(_measured(seen))
    if len(ranked) == 1:
        parts.append("no other model here fits")
    return f"{first.label}: " + "; ".join(parts) + "."


def _measured(seen: Metrics | None) -> str:
    if seen is None:
        return "no call of it was measured yet"
    speed = f", {seen.tokens_per_second:.1f} tokens a second" if seen.tokens_per_second else ""
    return f"{seen.succeeded} of {seen.calls - seen.cancelled} calls succeeded{speed}"


def model_info(one: EngineInfo, figures: dict[str, Metrics], best: float | None) -> dict[str, Any]:
    """`model_info` of contract shapes 6.4, and what is ours. What was never measured is null."""
    seen = figures.get(one.id)
    return {
        "name": one.id,
        "capabilities": list(one.capabilities),
        "performance_score": calls.score(seen, best) if seen else None,
        "average_response_time_ms": round(1000 * seen.seconds, 1) if seen and seen.seconds is not None else None,
        "supported_formats": [*TEXT, "image"] if "vision" in one.capabilities else list(TEXT),
        "label": one.label,
        "family": one.family,
        "context_length": one.context,
        "size_bytes": one.details.get("size"),
        "version": one.details.get("version") or None,
        "loaded": one.details.get("loaded"),
        "memory_bytes": one.details.get("memory"),
        "average_tokens_per_second": round(seen.tokens_per_second, 2) if seen and seen.tokens_per_second else None,
        "available": one.available,
        "missing": one.missing,
        "suggestion": one.suggestion,
    }

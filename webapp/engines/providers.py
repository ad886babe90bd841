"""Providers of models from other packages, by the entry point group `brainstem.engines` (M071).

docs/adding-a-model-provider.md walks through one. Its models are `<name of the entry point>:<model>` everywhere: on the models
page, in choices and defaults, in model calls. A broken one is listed with its reason and disturbs no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from webapp.core.errors import AppError, NoModel
from webapp.core.registry import Registry
from webapp.engines.base import Completion, Engine, EngineInfo, Request

if TYPE_CHECKING:
    from webapp.core.http import Fetched, Stream
    from webapp.runtime import Runtime
    from webapp.settings import Settings

log = logging.getLogger(__name__)

OURS = frozenset({"ggml", "openai", "extractive"})
MOST_MODELS = 2000


@dataclass(frozen=True)
class Tools:
    """What a provider may use. fetch, stream: requests through the outbound gate, as `safe_fetch` and `safe_stream` of
    webapp.core.http without `policy`; settings: the program's."""

    settings: Settings
    fetch: Callable[..., Fetched]
    stream: Callable[..., AbstractContextManager[Stream]]


@dataclass(frozen=True)
class Provider:
    """models: names of what there is, at once and without asking anybody; engine: one of them (webapp.engines.base.Engine)."""

    label: str
    models: Callable[[Tools], list[str]]
    engine: Callable[[Tools, str], Engine]


providers: Registry[Provider] = Registry("brainstem.engines", builtin={}, noun="model provider")


def listed(rt: Runtime) -> Iterator[EngineInfo]:
    """All models of all providers; of one that fails a line that says why."""
    for name, provider in providers.all():
        if name in OURS:
            log.warning("a model provider may not be called %s", name)
            continue
        try:
            for model in provider.models(_tools(rt))[:MOST_MODELS]:
                yield named(rt, name, model).info()
        except Exception as error:  # somebody else's code
            log.warning("the model provider %s failed", name, exc_info=not isinstance(error, AppError))
            why = error.message if isinstance(error, AppError) else f"{type(error).__name__}: {error}"[:200]
            yield EngineInfo(f"{name}:", provider.label, name, None, False, why, "See the log of the server.")


def named(rt: Runtime, name: str, model: str) -> Engine:
    """The engine `<name>:<model>`. Raises NoModel when there is no such provider, or it has no such model."""
    if name in OURS or name not in providers.names():
        raise NoModel(f"There is no model provider {name[:64]} here.")
    return _Named(name, model, providers.get(name).engine(_tools(rt), model))


def _tools(rt: Runtime) -> Tools:
    from webapp.core.http import safe_fetch, safe_stream
    from webapp.tasks.service import outbound_policy

    policy = outbound_policy(rt.settings)
    return Tools(rt.settings, partial(safe_fetch, policy=policy), partial(safe_stream, policy=policy))


class _Named:
    """An engine under the name by which everybody here asks for it, whatever it calls itself."""

    def __init__(self, family: str, model: str, engine: Engine) -> None:
        self.id = f"{family}:{model}"
        self._family, self._model, self._engine = family, model, engine

    def info(self) -> EngineInfo:
        own = self._engine.info()
        return replace(own, id=self.id, family=self._family, details={**own.details, "model": self._model})

    def generate(
        self, request: Request, *, on_text: Callable[[str], None], cancelled: Callable[[], bool], timeout: float
    ) -> Completion:
        done = self._engine.generate(request, on_text=on_text, cancelled=cancelled, timeout=timeout)
        return replace(done, model=self.id)

    def count(self, texts: list[str]) -> list[int]:
        return self._engine.count(texts)

"""Which engines there are, and one by its name. The one door of this area."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from webapp.core.errors import AppError, NoModel
from webapp.engines import local, servers
from webapp.engines.base import Completion, Engine, EngineInfo, Request
from webapp.engines.local import GGML
from webapp.engines.remote import OpenAI

if TYPE_CHECKING:
    from webapp.runtime import Runtime

__all__ = ["Completion", "Engine", "EngineInfo", "Request", "available", "choose", "engine", "generate"]


def available(rt: Runtime, *, fresh: bool = False) -> list[EngineInfo]:
    """All engines that can be named, files first; some may lack something (`available`, `missing`).

    fresh: ask the servers anew for their models; else what they said in the last half minute holds.
    """
    found = [engine(rt, f"ggml:{name}").info() for name in local.files(rt)]
    for server in servers.servers(rt):
        try:
            names = servers.models(rt, server, fresh=fresh)
        except AppError as error:
            found.append(EngineInfo(f"openai:@{server.name}", server.name, "openai", None, False, error.message,
                                    error.suggestion or "See whether the server runs and its address is allowed."))  # fmt: skip
            continue
        found += [engine(rt, f"openai:{name}@{server.name}").info() for name in names]
    return found


def engine(rt: Runtime, name: str) -> Engine:
    """Raises NoModel (503) for a name that no file and no server answers to."""
    family, _, rest = name.partition(":")
    if family == "ggml" and rest in local.files(rt):
        return rt.kept(f"engine {name}", lambda: GGML(rt, rest))
    if family == "openai":
        model, _, wanted = rest.rpartition("@")
        for server in servers.servers(rt):
            if model and server.name == wanted:
                return rt.kept(f"engine {name}", partial(OpenAI, rt, model, server))
    raise NoModel(f"There is no model {name[:200]} here.", suggestion=_suggestion(rt))


def choose(rt: Runtime, wanted: str = "") -> Engine:
    """`wanted`, else the default of the settings, else the first that can be used. Raises NoModel when there is none."""
    if wanted or rt.settings.model:
        return engine(rt, wanted or rt.settings.model)
    usable = [one for one in available(rt) if one.available]
    if not usable:
        raise NoModel("No language model is set up.", suggestion=_suggestion(rt))
    return engine(rt, usable[0].id)


def generate(
    rt: Runtime,
    name: str,
    request: Request,
    *,
    on_text: Callable[[str], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 600.0,
) -> Completion:
    """`request` by the engine `name` ("" is the default). Raises what `Engine.generate` raises."""
    return choose(rt, name).generate(request, on_text=on_text, cancelled=cancelled, timeout=timeout)


def _suggestion(rt: Runtime) -> str:
    return (f"Put a GGUF file into {local.folder(rt)}, or name a server in BRAINSTEM_MODEL_SERVERS "
            "(such as ollama=http://127.0.0.1:11434/v1).")  # fmt: skip

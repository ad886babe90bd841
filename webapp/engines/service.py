"""Which engines there are, which one a piece of work gets, and text by it. The one door of this area."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from webapp.core import quotas
from webapp.core.errors import AppError, NoModel, NotFound
from webapp.engines import calls, local, providers, rows, servers
from webapp.engines.base import Completion, Engine, EngineInfo, Request
from webapp.engines.calls import Purpose
from webapp.engines.local import GGML
from webapp.engines.remote import OpenAI, named
from webapp.engines.servers import Server

if TYPE_CHECKING:
    from webapp.runtime import Runtime

__all__ = ["EXTRACTIVE", "Completion", "Engine", "EngineInfo", "Request", "asks_still", "available", "choose", "engine", "find", "generate",
           "has_model", "listed", "require_tokens", "test_server", "unload"]  # fmt: skip

CHARS_A_TOKEN = 4  # of English text, about: what a prompt will take is not known before a model has read it
EXTRACTIVE = EngineInfo("extractive", "Extractive answers", "extractive", None, True,
                        details={"note": "Sentences of your sources, word for word. Needs no model."})  # fmt: skip


def available(rt: Runtime, *, fresh: bool = False, wait: bool = True) -> list[EngineInfo]:
    """All models that can be named, files first; some may lack something (`available`, `missing`).

    fresh: ask the servers anew for their models; else what they said in the last half minute holds.
    wait: False for who cannot: a server is listed as it was known last, and asked behind the caller's back.
    """
    found = [_file(rt, name).info() for name in local.files(rt)]
    among = servers.servers(rt)
    if wait or fresh:
        servers.ask_all(rt, among, fresh=fresh)
    for server in among:
        found += _of_server(rt, server)
    found += providers.listed(rt)
    return found


def asks_still(rt: Runtime) -> bool:
    """Whether a server has not said yet what it has, as in the first moments after a start."""
    return any(not servers.heard_of(rt, server) for server in servers.servers(rt))


def listed(rt: Runtime, *, wait: bool = False) -> list[EngineInfo]:
    """`available` and, at the end, the extractive engine, which is always there."""
    return [*available(rt, wait=wait), EXTRACTIVE]


def _of_server(rt: Runtime, server: Server) -> list[EngineInfo]:
    """Its models, or one line that says why nobody knows them."""
    about = {"server": server.name}
    try:
        found = servers.last_known(rt, server)
    except AppError as error:
        return [EngineInfo(f"openai:@{server.name}", server.name, "openai", None, False, error.message,
                           error.suggestion or "See whether the server runs and its address is allowed.", about)]  # fmt: skip
    if found is None:
        return [EngineInfo(f"openai:@{server.name}", server.name, "openai", None, False,
                           f"{server.name} has not answered yet", "Look again in a few seconds.", about)]  # fmt: skip
    return [OpenAI(rt, one.name, server).info() for one in found]


def engine(rt: Runtime, name: str) -> Engine:
    """The engine `name`; also a bare model name (llama3, tinyllama.gguf) that only one is meant by.

    Raises NoModel (503) for a name that no file, no server and no provider answers to.
    """
    family, _, rest = name.partition(":")
    if family == "ggml" and rest in local.files(rt):
        return _file(rt, rest)
    if family == "openai":
        model, _, wanted = rest.rpartition("@")
        for server in servers.servers(rt):
            if model and server.name == wanted:
                return OpenAI(rt, model, server)
    if rest and family in providers.providers.names():
        return providers.named(rt, family, rest)
    if found := _by_bare_name(rt, name):
        return engine(rt, found)
    raise NoModel(f"There is no model {name[:200]} here.", suggestion=_suggestion(rt))


def find(rt: Runtime, name: str) -> Engine:
    """As `engine`, for somebody who looks at it or chooses it: what is not there is NotFound (404)."""
    try:
        return engine(rt, name)
    except NoModel as error:
        raise NotFound(error.message, suggestion="See the models page, or /api/v1/models/available.") from error


def _file(rt: Runtime, name: str) -> GGML:
    return rt.kept(f"engine ggml:{name}", lambda: GGML(rt, name))


def _by_bare_name(rt: Runtime, name: str) -> str | None:
    if not name or name.startswith(("ggml:", "openai:")):
        return None
    for one in available(rt, wait=False):
        bare = one.details.get("model") or one.id.removeprefix("ggml:")
        if named(bare, name) or bare == f"{name}.gguf":
            return one.id
    return None


def choose(rt: Runtime, wanted: str = "", task_type: str = "") -> Engine:
    """`wanted`; else the default for this kind of work, the one for all, that of the settings; else the first model
    that can be used. A default that is gone or broken is passed over.

    Raises NoModel when `wanted` is not there, or nothing is. Asks servers only when no answer of theirs is known.
    """
    if wanted:
        return engine(rt, wanted)
    for name in defaults_for(rt, task_type):
        try:
            found = engine(rt, name)
        except NoModel:
            continue
        if found.info().available:
            return found
    usable = _first_usable(rt, wait=False) or _first_usable(rt, wait=True)
    if usable is None:
        raise NoModel("No language model is set up.", suggestion=_suggestion(rt))
    return engine(rt, usable.id)


def defaults_for(rt: Runtime, task_type: str) -> list[str]:
    """Names in the order they are tried: chosen on the page for this work, for all, and in the settings."""
    chosen = rows.known(rt).defaults
    return list(dict.fromkeys(name for name in (chosen.get(task_type), chosen.get(""), rt.settings.model) if name))


def _first_usable(rt: Runtime, *, wait: bool) -> EngineInfo | None:
    return next((one for one in available(rt, wait=wait) if one.available and "text" in one.capabilities), None)


def unload(rt: Runtime, name: str) -> None:
    """Take a model file out of memory, in whichever process it is. A run in it ends with a clear error.

    Raises NotFound when `name` is no file here.
    """
    family, _, file = find(rt, name).id.partition(":")
    if family != "ggml":
        raise NotFound("only a file of this server can be unloaded")
    local.unload_here(rt, file)
    rt.ring(local.UNLOAD, file)


def test_server(rt: Runtime, name: str) -> tuple[float, int]:
    """(seconds it took, models it lists), asked now. Raises AppError with what is wrong, NotFound without the server."""
    server = next((one for one in servers.servers(rt, all_=True) if one.name == name), None)
    if server is None:
        raise NotFound("there is no such model server")
    began = time.monotonic()
    found = servers.models(rt, server, fresh=True)
    return time.monotonic() - began, len(found)


def has_model(rt: Runtime, task_type: str = "") -> bool:
    """Whether a model could write now. Does not load one."""
    try:
        choose(rt, "", task_type)
    except NoModel:
        return False
    return True


def generate(
    rt: Runtime,
    name: str,
    request: Request,
    *,
    task_type: str = "",
    owner_id: str | None = None,
    task_id: str | None = None,
    on_text: Callable[[str], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 600.0,
) -> Completion:
    """`request` by the engine `name` ("" is the default of `task_type`), recorded as a model call, whatever comes of it.

    Raises what `Engine.generate` raises, and QuotaExceeded where its owner has used up the tokens of the day. Call it
    outside of any transaction.
    """
    chosen = choose(rt, name, task_type)
    if owner_id is not None:
        require_tokens(rt, owner_id, sum(len(message["content"]) for message in request.messages) // CHARS_A_TOKEN)
    purpose, watch = Purpose(task_type, owner_id, task_id), _Watch(on_text)
    try:
        done = chosen.generate(request, on_text=watch.told, cancelled=cancelled, timeout=timeout)
    except BaseException as error:
        calls.failed(rt, purpose, chosen.id, error, watch.seconds, watch.first)
        raise
    calls.completed(rt, purpose, done, watch.seconds)
    return done


def require_tokens(rt: Runtime, owner_id: str, adding: int = 1) -> None:
    """Raises QuotaExceeded where models may not read `adding` more tokens for this person today."""
    most = quotas.limits_of(rt, owner_id)["tokens_per_day"]
    if most is not None:
        with rt.unit(write=False) as db:
            used = calls.tokens_of(db, owner_id, quotas.today())
        quotas.require("tokens_per_day", most, used, max(1, adding))


class _Watch:
    """When the call began and its first text came, for calls that end without saying so themselves."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.on_text, self.begun = on_text, time.monotonic()
        self.first: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def told(self, text: str) -> None:
        if self.first is None:
            self.first = self.seconds
        self.on_text(text)


def _suggestion(rt: Runtime) -> str:
    return (f"Put a GGUF file into {local.folder(rt)}, add a server on the models page, or name one in "
            "BRAINSTEM_MODEL_SERVERS (such as ollama=http://127.0.0.1:11434/v1).")  # fmt: skip

"""Model servers of the operator: from the settings, and added on the models page; and what models each has.

A server's list of models is believed for half a minute. Who must not wait (a page, a choice) gets what was said last
while it is asked anew behind their back.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from webapp.core.errors import AppError, NoModel, Upstream
from webapp.engines import rows

if TYPE_CHECKING:
    from webapp.core.http import OutboundPolicy
    from webapp.runtime import Runtime

FRESH = 30.0  # seconds a server's list of models is believed
PATIENCE = 3.0  # seconds a server may take to list them
MOST_MODELS = 2000
OPENAI = "openai"


@dataclass(frozen=True)
class Server:
    name: str
    url: str  # without a slash at its end; `/chat/completions` and `/models` follow
    key: str = ""
    id: str | None = None  # of its row; None for one of the settings
    is_active: bool = True
    trouble: str = ""  # why it cannot be asked at all
    is_private: bool = False  # it was added while it was on a private network

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def policy(self, rt: Runtime) -> OutboundPolicy:
        """The operator's outbound rules; adding a server on the page approved its host and port, for these calls.

        One that was public then stays so: its name may not lead to a private network later (DNS is somebody else's).
        """
        from webapp.tasks.service import outbound_policy

        rules = outbound_policy(rt.settings)
        if self.id is None:
            return rules
        if self.is_private:
            return replace(rules, allow_hosts=rules.allow_hosts | {self.host})
        port = urlsplit(self.url).port
        return replace(rules, extra_ports=rules.extra_ports | {port}) if port else rules


@dataclass(frozen=True)
class Listed:
    """A model as its server lists it. context: tokens, where the server says so."""

    name: str
    context: int | None = None


def servers(rt: Runtime, *, all_: bool = False) -> list[Server]:
    """Those of the settings in their order, then the added ones; `all_`: also those that were switched off."""
    found = configured(rt)
    names = {one.name for one in found}
    for row in rows.known(rt).servers:
        if row.name not in names and (row.is_active or all_):
            trouble = "" if row.key is not None else "its key was encrypted with another SECRET_KEY"
            found.append(Server(row.name, row.url, row.key or "", row.id, row.is_active, trouble, row.is_private))
    return found


def configured(rt: Runtime) -> list[Server]:
    """BRAINSTEM_MODEL_SERVERS (name=url), and OpenAI itself once OPENAI_API_KEY is set."""
    keys = dict(part.split("=", 1) for part in rt.settings.model_keys if "=" in part)
    pairs = dict(part.split("=", 1) for part in rt.settings.model_servers)
    if rt.settings.openai_api_key:
        pairs.setdefault(OPENAI, rt.settings.openai_base_url)
        keys.setdefault(OPENAI, rt.settings.openai_api_key)
    return [Server(name, url.rstrip("/"), keys.get(name, "")) for name, url in pairs.items()]


# -- their models ----------------------------------------------------------------------------------------------------


def models(rt: Runtime, server: Server, *, fresh: bool = False) -> list[Listed]:
    """The server's models. Raises AppError when it does not answer; asked at most each half minute."""
    kept = _lists(rt).get(_key(server))
    if kept is None or fresh or kept.age > FRESH:
        kept = _ask_and_keep(rt, server)
    if kept.error is not None:
        raise kept.error
    return kept.models


def heard_of(rt: Runtime, server: Server) -> bool:
    """Whether it was asked and answered, or failed to, since this process began."""
    return _key(server) in _lists(rt)


def last_known(rt: Runtime, server: Server) -> list[Listed] | None:
    """What it said last, at once; None when it never answered. An old answer is renewed behind the caller's back.

    Raises AppError when its last answer was an error.
    """
    kept = _lists(rt).get(_key(server))
    if kept is None or kept.age > FRESH:
        _ask_later(rt, server)
    if kept is None:
        return None
    if kept.error is not None:
        raise kept.error
    return kept.models


def ask_all(rt: Runtime, among: Sequence[Server], *, fresh: bool = False) -> None:
    """Bring the lists up to date, all servers at once: as slow as the slowest, at most `PATIENCE`."""
    kept = _lists(rt)
    due = [one for one in among if fresh or _key(one) not in kept or kept[_key(one)].age > FRESH]
    if len(due) == 1:
        _ask_and_keep(rt, due[0])
        return
    threads = [threading.Thread(target=_ask_and_keep, args=(rt, one), daemon=True) for one in due]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE + 2)


@dataclass(frozen=True)
class _List:
    models: list[Listed]
    error: AppError | None
    at: float

    @property
    def age(self) -> float:
        return time.monotonic() - self.at


def _lists(rt: Runtime) -> dict[tuple[str, str], _List]:
    return rt.kept("models of servers", dict)


def _key(server: Server) -> tuple[str, str]:
    return server.url, server.key


def _ask_and_keep(rt: Runtime, server: Server) -> _List:
    try:
        made = _List(_ask(rt, server), None, time.monotonic())
    except AppError as error:
        made = _List([], error, time.monotonic())
    _lists(rt)[_key(server)] = made
    return made


def _ask_later(rt: Runtime, server: Server) -> None:
    asking: set[tuple[str, str]] = rt.kept("servers being asked", set)
    if _key(server) in asking or rt.stopping.is_set():
        return
    asking.add(_key(server))

    def ask() -> None:
        try:
            _ask_and_keep(rt, server)
        finally:
            asking.discard(_key(server))

    threading.Thread(target=ask, name="models-of-server", daemon=True).start()


def _ask(rt: Runtime, server: Server) -> list[Listed]:
    from webapp.core.http import safe_fetch

    if server.trouble:
        raise NoModel(f"{server.name} cannot be asked: {server.trouble}.", suggestion="Remove it and add it again.")
    headers = {"Accept": "application/json"} | server.headers
    answer = safe_fetch(server.url + "/models", policy=server.policy(rt), headers=headers, timeout=PATIENCE,
                        max_bytes=4 * 2**20, max_redirects=0)  # fmt: skip
    if answer.status in (401, 403):
        raise NoModel(f"{server.name} refused ({answer.status}).", suggestion="Give it the right key.")
    if answer.status != 200:
        raise Upstream(f"{server.name} answered {answer.status}.", retryable=answer.status >= 500,
                       suggestion="The address of most servers ends in /v1.")  # fmt: skip
    return _listed(answer.body, server.name)


def _listed(body: bytes, server: str) -> list[Listed]:
    try:
        found: Any = json.loads(body)["data"]
        names = {row["id"]: row for row in found[:MOST_MODELS] if isinstance(row["id"], str) and _fits(row["id"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Upstream(f"{server} sent no list of models.", retryable=False,
                       suggestion="The address of most servers ends in /v1.") from None  # fmt: skip
    return [Listed(name, _context(names[name])) for name in sorted(names)]


def _fits(name: str) -> bool:
    return 0 < len(name) <= 150 and name.isprintable()


def _context(row: dict[str, Any]) -> int | None:
    """The window under the names that vLLM, llama.cpp, OpenRouter, Groq and Mistral give it."""
    said = row.get("meta")
    meta = said if isinstance(said, dict) else {}
    for value in (row.get("max_model_len"), meta.get("n_ctx"), meta.get("n_ctx_train"), row.get("context_length"),
                  row.get("context_window"), row.get("max_context_length")):  # fmt: skip
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31:
            return value
    return None

"""Model servers of the operator: from the settings, and (soon) added on the models page."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webapp.core.errors import AppError, Upstream

if TYPE_CHECKING:
    from webapp.runtime import Runtime

FRESH = 30.0  # seconds a server's list of models is believed
PATIENCE = 3.0  # seconds a server may take to list them


@dataclass(frozen=True)
class Server:
    name: str
    url: str  # without a slash at its end; `/chat/completions` and `/models` follow
    key: str = ""


def servers(rt: Runtime) -> list[Server]:
    """Those of BRAINSTEM_MODEL_SERVERS (name=url), in their order."""
    keys = dict(part.split("=", 1) for part in rt.settings.model_keys if "=" in part)
    pairs = (part.split("=", 1) for part in rt.settings.model_servers)
    return [Server(name, url.rstrip("/"), keys.get(name, "")) for name, url in pairs]


def models(rt: Runtime, server: Server, *, fresh: bool = False) -> list[str]:
    """Names of the server's models. Raises AppError when it does not answer; asked at most each half minute."""
    kept: dict[str, tuple[float, list[str] | AppError]] = rt.kept("models of servers", dict)
    have = kept.get(server.url)
    if have is None or fresh or time.monotonic() - have[0] > FRESH:
        try:
            found: list[str] | AppError = _ask(rt, server)
        except AppError as error:
            found = error
        have = kept[server.url] = (time.monotonic(), found)
    if isinstance(have[1], AppError):
        raise have[1]
    return have[1]


def _ask(rt: Runtime, server: Server) -> list[str]:
    from webapp.core.http import safe_fetch
    from webapp.tasks.service import outbound_policy

    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {server.key}"} if server.key else {})
    answer = safe_fetch(server.url + "/models", policy=outbound_policy(rt.settings), headers=headers,
                        timeout=PATIENCE, max_bytes=2**20, max_redirects=0)  # fmt: skip
    if answer.status != 200:
        raise Upstream(f"{server.name} answered {answer.status}.", retryable=answer.status >= 500)
    return _names(answer.body, server.name)


def _names(body: bytes, server: str) -> list[str]:
    try:
        rows: Any = json.loads(body)["data"]
        return sorted({row["id"] for row in rows if isinstance(row["id"], str) and 0 < len(row["id"]) <= 200})
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Upstream(f"{server} sent no list of models.", retryable=False) from None

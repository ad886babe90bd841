"""Asks a running Brainstem by its own API, with the caller's key: who may see what is decided there and nowhere else."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from webapp.core.errors import AppError, BadRequest, Unavailable, Upstream
from webapp.core.http import OutboundPolicy, safe_fetch

QUICK, PATIENT = 30.0, 620.0  # seconds for a look-up, and for an answer that a model writes
MOST = 8 * 2**20  # bytes of an answer


class Remote:
    """url: of the server, as a browser would open it. key: one of ours, or "" in local mode."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadRequest(f"{url[:200]} is no address of a server", suggestion="Such as http://127.0.0.1:8000")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._key = key
        # The one server that was named may be anywhere; nothing else is asked, and no redirect is followed.
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._policy = OutboundPolicy(allow_hosts=frozenset({f"{host}:{port}"}), extra_ports=frozenset({port}))

    def get(self, path: str, **query: Any) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", path + (f"?{urlencode(given)}" if given else ""), None, QUICK)

    def post(self, path: str, body: dict[str, Any], timeout: float = QUICK) -> Any:
        return self._ask("POST", path, json.dumps(body).encode(), timeout)

    def _ask(self, method: str, path: str, body: bytes | None, timeout: float) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            answer = safe_fetch(self.url + path, policy=self._policy, method=method, headers=headers, body=body,
                                timeout=timeout, max_bytes=MOST, max_redirects=0)  # fmt: skip
        except Upstream as error:
            raise Unavailable(f"Brainstem does not answer at {self.url}: {error.message}",
                              suggestion="Start it with `brainstem up`, or set BRAINSTEM_MCP_URL.") from error  # fmt: skip
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        if answer.status >= 300 or found is None:
            raise _refused(answer.status, found)
        return found


def _refused(status: int, body: Any) -> AppError:
    told = body if isinstance(body, dict) else {}
    error = AppError(str(told.get("detail") or f"the server answered {status}"), suggestion=told.get("suggestion"))
    error.status = status
    if status == 401:
        error.suggestion = "Put an API key of yours into BRAINSTEM_MCP_KEY."
    return error


def segment(text: str) -> str:
    """One part of a path: an id from a model never becomes another address."""
    return quote(text, safe="")

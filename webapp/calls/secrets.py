"""Credentials of a call: sealed before anything is stored, opened in the worker, struck out of everything that is kept.

What is sealed for one person opens for nobody else, so a copied configuration is no way to another's key.
"""

from __future__ import annotations

import re
from typing import Any

from webapp.calls.params import SECRETS, pair
from webapp.core import lookup
from webapp.core.errors import Invalid
from webapp.core.sealing import Unreadable, seal, unseal

MARK = "sealed:"
HIDDEN = "•••"
SHORTEST = 4  # characters of a secret that is looked for in an answer
CREDENTIAL = re.compile(
    r"(?:^|[-_])(?:authorization|auth|cookie|token|secret|password|passwd|signature|credentials?|session|apikey|api-key|key)(?:$|[-_])",
    re.I,
)


def seal_all(params: dict[str, Any], secret_key: str, owner_id: str | None) -> None:
    """In place: headers that carry credentials, and the named secrets. What is sealed stays as it is."""
    params["headers"] = [
        line if not _carries(line) else f"{pair(line, ':')[0]}: {_sealed(pair(line, ':')[1], secret_key, owner_id)}"
        for line in params.get("headers") or ()
    ]
    params["secrets"] = [
        f"{name} = {_sealed(value, secret_key, owner_id)}"
        for name, value in (pair(line, "=") for line in params.get("secrets") or ())
    ]


def seal_lines(params: dict[str, Any], secret_key: str, owner_id: str | None) -> dict[str, Any]:
    """A copy of a configuration as somebody wrote it, perhaps with objects and places, with its credentials sealed."""
    made = dict(params)
    for name, sign in (("headers", ":"), ("secrets", "=")):
        given = made.get(name) or []
        if isinstance(given, dict):
            given = [f"{key}{sign} {value}" for key, value in given.items()]
        made[name] = given.splitlines() if isinstance(given, str) else [str(one) for one in given]
    seal_all(made, secret_key, owner_id)
    return made


def _carries(line: str) -> bool:
    name, value = pair(line, ":")
    return bool(CREDENTIAL.search(name)) and bool(lookup.PLACE.sub("", value).removeprefix("Bearer").strip())


def _sealed(value: str, secret_key: str, owner_id: str | None) -> str:
    return value if value.startswith(MARK) else MARK + seal(secret_key, _purpose(owner_id), value)


def _purpose(owner_id: str | None) -> str:
    return f"call secrets of {owner_id or 'nobody'}"


def opened(value: str, secret_key: str, owner_id: str | None, name: str) -> str:
    if not value.startswith(MARK):
        return value
    try:
        return unseal(secret_key, _purpose(owner_id), value.removeprefix(MARK))
    except Unreadable:
        raise Invalid(
            f"The secret {name} cannot be opened.", code="secret_unreadable",
            suggestion="It belongs to somebody else or was kept under another key of the program: enter it again.",
        ) from None  # fmt: skip


class Opened:
    """The configuration with its secrets in place, for the length of one call."""

    def __init__(self, params: dict[str, Any], secret_key: str, owner_id: str | None) -> None:
        lines = [pair(line, "=") for line in params.get("secrets") or ()]
        self.named = {name: opened(value, secret_key, owner_id, name) for name, value in lines}
        self.url = self._filled(params["url"])
        self.body = self._filled(params["body"]) if params.get("body") else None
        self.query = [
            (name, self._filled(value)) for name, value in (pair(line, "=") for line in params.get("query") or ())
        ]
        self.headers: dict[str, str] = {}
        self._hidden = set(self.named.values())
        for name, value in (pair(line, ":") for line in params.get("headers") or ()):
            clear = opened(value, secret_key, owner_id, name)
            if clear != value:
                self._hidden |= {clear, clear.partition(" ")[2]}
            self.headers[name] = self._filled(clear)

    def _filled(self, text: str) -> str:
        return lookup.as_text(lookup.fill(text, lambda path: self.named[path.removeprefix(SECRETS)]))

    def struck_out(self, value: Any) -> Any:
        """Text, or texts in lists and objects, without the secrets: other sides like to repeat what they were sent."""
        if isinstance(value, str):
            for secret in sorted(self._hidden, key=len, reverse=True):
                if len(secret) >= SHORTEST:
                    value = value.replace(secret, HIDDEN)
            return value
        if isinstance(value, list):
            return [self.struck_out(one) for one in value]
        if isinstance(value, dict):
            return {self.struck_out(name): self.struck_out(one) for name, one in value.items()}
        return value

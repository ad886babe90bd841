"""People, their logins, tokens and API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask


def wire(app: Flask) -> None:
    """Give the web layer the authenticator: the module `resolver` is its `IdentityDoor`."""
    from webapp.identity import resolver
    from webapp.web.auth import IdentityDoor

    door: IdentityDoor = resolver
    app.extensions["identity"] = door

"""The steps before a handler runs: who is it, may they, is the request our own page's, is it too often."""

from __future__ import annotations

import re
import uuid
from typing import Any

from flask import current_app, g, request
from sqlalchemy.orm import Session

from webapp.core.context import Actor
from webapp.core.errors import Forbidden, TooManyRequests, Unauthorized

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id() -> str:
    """The caller's X-Request-ID when it is a plain word, else a new one."""
    if "request_id" not in g:
        given = request.headers.get("X-Request-ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    return str(g.request_id)


def set_dialect(name: str) -> None:
    g.error_dialect = name


def admit(db: Session, auth: str, *, limit: str | None = None) -> Actor:
    """The caller, allowed to do what `auth` names. Raises Unauthorized, Forbidden or TooManyRequests."""
    from webapp.web import auth as web_auth

    actor = web_auth.current_actor(db, public=auth == "public")
    g.actor = actor
    if auth not in ("public", "optional") and not actor.is_authenticated:
        raise Unauthorized("credentials are needed", suggestion="Log in, or send an API key or token as Bearer.")
    check_scope(actor, auth)
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        web_auth.check_csrf(request, actor)
    _check_rate(actor, limit)
    return actor


def check_scope(actor: Actor, auth: str) -> None:
    if auth == "admin" and not (actor.is_admin and (actor.scopes is None or "admin" in actor.scopes)):
        raise Forbidden("this is for administrators")
    if ":" in auth and actor.scopes is not None and auth not in actor.scopes and "admin" not in actor.scopes:
        raise Forbidden(f"this key lacks the scope {auth}")


def _check_rate(actor: Actor, limit: str | None) -> None:
    rt: Any = current_app.extensions["runtime"]
    who = actor.id or request.remote_addr or "nobody"
    wait = rt.limits.hit(f"api:{who}", rt.settings.rate_limit)
    if wait is None and limit is not None:
        wait = rt.limits.hit(f"{request.endpoint}:{who}", limit)
    if wait is not None:
        raise TooManyRequests(f"too many requests; try again in {wait} s", retry_after=wait)

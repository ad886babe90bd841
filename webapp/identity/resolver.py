"""The one authenticator: whatever credential was shown -> Actor. No Flask; one query on every path.

What is shown and wrong is an error (401), never a silent stranger. Nothing shown is ANONYMOUS; whether that
means the local person of this machine is decided by the web layer, which knows where the request came from.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.orm import Session

from webapp.core.context import ANONYMOUS, Actor
from webapp.core.db import after_commit, utcnow
from webapp.core.errors import Unauthorized
from webapp.identity import service, tokens
from webapp.identity.models import ApiKey, LoginSession, User

if TYPE_CHECKING:
    from webapp.runtime import Runtime

STALE_SESSION = "session_expired"
MAX_CREDENTIAL = 4096
TOUCH_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class Credentials:
    """What a request showed. The first one present counts; the order is the order of the fields."""

    bearer: str | None = None
    api_key_header: str | None = None
    query_token: str | None = None
    session_cookie: str | None = None

    @property
    def by_program(self) -> str | None:
        """The credential that no browser adds by itself: such a request cannot be forged by another page."""
        for value in (self.bearer, self.api_key_header, self.query_token):
            if value is not None:
                return value
        return None


class Values(Protocol):
    """Headers or query arguments."""

    def get(self, name: str, /) -> str | None: ...


def read(headers: Values, query: Values, session: str | None, *, reading: bool) -> Credentials:
    """`reading` is True for GET, HEAD and sockets: only there `?token=` is a credential (contract C03)."""
    return Credentials(
        bearer=_bearer(headers.get("Authorization")),
        api_key_header=headers.get("X-API-Key"),
        query_token=query.get("token") if reading else None,
        session_cookie=session,
    )


def _bearer(header: str | None) -> str | None:
    """The value after `Bearer`, else the whole header: a bare key, or a scheme of others that matches nothing.

    `Bearer` with nothing after it shows nothing: scripts that were made for a token send it so from our own pages, where
    the session's cookie or this machine says who asks. It frees of no check that a foreign page has to pass.
    """
    if not header:
        return None
    scheme, _, value = header.partition(" ")
    return (value.strip() or None) if scheme.lower() == "bearer" else header


def resolve(rt: Runtime, db: Session, shown: Credentials) -> Actor:
    """Raises Unauthorized for a wrong, expired or revoked credential and for a suspended person.

    A browser session that ended has the code `session_expired`: a page may treat it as logged out.
    """
    value = shown.by_program
    if value is not None:
        return _by_value(rt, db, value)
    if shown.session_cookie is not None:
        return _by_session(rt, db, shown.session_cookie)
    return ANONYMOUS


def local_actor(rt: Runtime) -> Actor:
    """The local account as the caller: the person at this machine, an administrator. No query after the first."""
    id, username = service.local_account(rt)
    return Actor(id, username, is_admin=True, is_local=True, via="local")


def _by_value(rt: Runtime, db: Session, value: str) -> Actor:
    if len(value) > MAX_CREDENTIAL:
        raise _refused()
    if _is_operator_key(rt, value):
        # The same account as in local mode, so that what was made before API_KEY was set stays in reach.
        id, username = service.local_account(rt)
        return Actor(id, username, is_admin=True, via="operator_key")
    if value.startswith("bs_"):
        return _by_api_key(rt, db, value)
    return _by_access_token(rt, db, value)


def _is_operator_key(rt: Runtime, value: str) -> bool:
    expected = rt.settings.api_key
    return bool(expected) and hmac.compare_digest(_bytes(value), _bytes(expected))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_PERSON = (User.id.label("user_id"), User.username, User.is_admin, User.is_active)
_LOGIN = (LoginSession.id, LoginSession.last_seen_at, LoginSession.expires_at, LoginSession.revoked_at)

# Looked up by the hash: what the timing of an index tells about a hash leads to no key.
_API_KEY = (
    select(ApiKey.id, ApiKey.scopes, ApiKey.last_used_at, ApiKey.expires_at, ApiKey.revoked_at, *_PERSON)
    .join(User, User.id == ApiKey.user_id)
    .where(ApiKey.key_hash == bindparam("hash"))
)
_BY_COOKIE = (
    select(*_LOGIN, *_PERSON)
    .join(User, User.id == LoginSession.user_id)
    .where(LoginSession.token_hash == bindparam("hash"))
)
_BY_SID = (
    select(*_LOGIN, *_PERSON)
    .join(User, User.id == LoginSession.user_id)
    .where(LoginSession.id == bindparam("sid"), User.id == bindparam("sub"))
)


def _look_up(db: Session, query: Any, values: dict[str, str]) -> Any:
    """Columns need no ORM, which is most of the cost of a look-up that every request makes."""
    return db.connection().execute(query, values).first()


def _by_api_key(rt: Runtime, db: Session, value: str) -> Actor:
    row = _look_up(db, _API_KEY, {"hash": tokens.digest(value)})
    now = utcnow()
    if row is None or not row.is_active or _ended(row, now):
        raise _refused()
    _touch_later(rt, db, ApiKey, "last_used_at", row.id, row.last_used_at, now)
    scopes = frozenset(row.scopes)
    return Actor(row.user_id, row.username, row.is_admin and "admin" in scopes, via="api_key", scopes=scopes)


def _by_access_token(rt: Runtime, db: Session, value: str) -> Actor:
    claims = tokens.read_access_token(rt.secret_key, value)
    if claims is None:
        raise _refused()
    row = _look_up(db, _BY_SID, {"sub": claims[0], "sid": claims[1]})
    return _of_login(rt, db, row, "jwt", _refused())


def _by_session(rt: Runtime, db: Session, value: str) -> Actor:
    row = _look_up(db, _BY_COOKIE, {"hash": tokens.digest(value)})
    ended = Unauthorized("Your session has ended. Please log in again.", code=STALE_SESSION)
    return _of_login(rt, db, row, "session", ended)


def _of_login(rt: Runtime, db: Session, row: Any, via: str, refusal: Unauthorized) -> Actor:
    now = utcnow()
    if row is None or not row.is_active or _ended(row, now):
        raise refusal
    _touch_later(rt, db, LoginSession, "last_seen_at", row.id, row.last_seen_at, now)
    return Actor(row.user_id, row.username, row.is_admin, via=via, session_id=row.id)


def _ended(row: Any, now: datetime) -> bool:
    return row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now)


def _refused() -> Unauthorized:
    """One answer for every way of being wrong: the reason would help only a guesser."""
    return Unauthorized("The credential is not valid, or no longer.", suggestion="Log in again or use another key.")


def _touch_later(
    rt: Runtime, db: Session, table: type[Any], column: str, id: str, last: datetime | None, now: datetime
) -> None:
    """Note the use at most once a minute, after the request's own unit: that one may be read-only."""
    if last is not None and now - last < TOUCH_EVERY:
        return
    seen = getattr(table, column)
    stmt = (
        update(table)
        .where(table.id == id, or_(seen.is_(None), seen <= now - TOUCH_EVERY))
        .values({column: now})
        .execution_options(synchronize_session=False)
    )

    def write() -> None:
        with rt.unit() as own:
            own.execute(stmt)

    after_commit(db, write)

"""The strings people and programs show: random secrets, stored as SHA-256, and signed access tokens (JWT)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from webapp.core.db import new_id

if TYPE_CHECKING:  # joserfc and cryptography are 8 MB that a server whose people use cookies never needs
    from joserfc.jwk import OctKey
    from joserfc.jwt import JWTClaimsRegistry

AUDIENCE = ISSUER = "brainstem"
ALGORITHM = "HS256"
LEEWAY_SECONDS = 5  # between the clocks of two of our own machines


def digest(secret: str) -> str:
    """What the database keeps of a random secret. 256 bits of chance need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_api_key() -> tuple[str, str]:
    """A key and the beginning of it that lists show."""
    prefix = f"bs_{secrets.token_hex(3)}"
    return f"{prefix}_{secrets.token_urlsafe(32)}", prefix


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def access_token(secret_key: str, *, user_id: str, session_id: str, minutes: int) -> str:
    from joserfc import jwt

    key, key_id = _signing_key(secret_key)
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user_id,
        "sid": session_id,
        "jti": new_id(),
        "iat": now,
        "nbf": now,
        "exp": now + minutes * 60,
    }
    return jwt.encode({"alg": ALGORITHM, "kid": key_id}, claims, key)


def read_access_token(secret_key: str, token: str) -> tuple[str, str] | None:
    """(user id, session id) of a token that we signed and that is valid now, else None."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    key, key_id = _signing_key(secret_key)
    try:
        decoded = jwt.decode(token, key, algorithms=[ALGORITHM])
        _claims().validate(decoded.claims)
    except (JoseError, ValueError, TypeError):
        return None
    # Compared, never used to look anything up: a `kid` is the sender's text.
    user_id, session_id = decoded.claims["sub"], decoded.claims["sid"]
    if decoded.header.get("kid") != key_id or not (isinstance(user_id, str) and isinstance(session_id, str)):
        return None
    return user_id, session_id


def invitation(secret_key: str, user_id: str, password_hash: str | None, *, days: int) -> str:
    """A link's secret with which one person sets one password: it dies when the password changes, or after `days`."""
    until = int(time.time()) + days * 86400
    return f"{user_id}.{until}.{_invitation_mark(secret_key, user_id, until, password_hash)}"


def read_invitation(token: str) -> tuple[str, int] | None:
    """(user id, end in seconds since 1970) as the token says; not yet believed."""
    parts = token.split(".") if token.isascii() and len(token) < 200 else []
    if len(parts) != 3 or not parts[1].isdigit() or len(parts[1]) > 12 or len(parts[0]) > 40:
        return None
    return parts[0], int(parts[1])


def is_invitation(secret_key: str, token: str, password_hash: str | None) -> bool:
    """Whether we made it for somebody who still has this password (or none), and its time is not over."""
    found = read_invitation(token)
    if found is None or found[1] < time.time():
        return False
    return hmac.compare_digest(token.rpartition(".")[2], _invitation_mark(secret_key, *found, password_hash))


def _invitation_mark(secret_key: str, user_id: str, until: int, password_hash: str | None) -> str:
    key = hmac.digest(secret_key.encode(), b"brainstem invitations 1", "sha256")
    return hmac.new(key, f"{user_id}.{until}.{password_hash or ''}".encode(), "sha256").hexdigest()


@lru_cache(maxsize=1)
def _claims() -> JWTClaimsRegistry:
    from joserfc import jwt

    return jwt.JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        sub={"essential": True},
        sid={"essential": True},
        jti={"essential": True},
        iat={"essential": True},
        nbf={"essential": True},
        exp={"essential": True},
    )


@lru_cache(maxsize=4)
def _signing_key(secret_key: str) -> tuple[OctKey, str]:
    """A key of its own for tokens, so that nothing signed for a cookie can pass as a token."""
    from joserfc.jwk import OctKey

    raw = hmac.digest(secret_key.encode(), b"brainstem access tokens 1", "sha256")
    return OctKey.import_key(raw), hashlib.sha256(raw).hexdigest()[:16]

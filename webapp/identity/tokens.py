"""The strings people and programs show: random secrets, stored as SHA-256, and signed access tokens (JWT)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from functools import lru_cache

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from webapp.core.db import new_id

AUDIENCE = ISSUER = "brainstem"
ALGORITHM = "HS256"
LEEWAY_SECONDS = 5  # between the clocks of two of our own machines

_claims = jwt.JWTClaimsRegistry(
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
    key, key_id = _signing_key(secret_key)
    try:
        decoded = jwt.decode(token, key, algorithms=[ALGORITHM])
        _claims.validate(decoded.claims)
    except (JoseError, ValueError, TypeError):
        return None
    # Compared, never used to look anything up: a `kid` is the sender's text.
    user_id, session_id = decoded.claims["sub"], decoded.claims["sid"]
    if decoded.header.get("kid") != key_id or not (isinstance(user_id, str) and isinstance(session_id, str)):
        return None
    return user_id, session_id


@lru_cache(maxsize=4)
def _signing_key(secret_key: str) -> tuple[OctKey, str]:
    """A key of its own for tokens, so that nothing signed for a cookie can pass as a token."""
    raw = hmac.digest(secret_key.encode(), b"brainstem access tokens 1", "sha256")
    return OctKey.import_key(raw), hashlib.sha256(raw).hexdigest()[:16]

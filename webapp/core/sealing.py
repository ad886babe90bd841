"""Secrets at rest: text encrypted with a key derived from the program's secret (contract shapes, section 14).

Fernet (AES-128-CBC with HMAC-SHA256), as the documents say. `purpose` keeps the keys of two uses apart. With another
SECRET_KEY nothing sealed before can be opened: then the owner is asked for the secret again.
"""

from __future__ import annotations

import base64
from typing import Any


class Unreadable(Exception):
    """It was sealed with another secret, or was changed."""


def seal(secret: str, purpose: str, text: str) -> str:
    return _fernet(secret, purpose).encrypt(text.encode()).decode("ascii")


def unseal(secret: str, purpose: str, sealed: str) -> str:
    """Raises Unreadable."""
    from cryptography.fernet import InvalidToken

    try:
        return str(_fernet(secret, purpose).decrypt(sealed.encode()).decode())
    except (InvalidToken, ValueError) as error:
        raise Unreadable("sealed with another secret") from error


def _fernet(secret: str, purpose: str) -> Any:
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = HKDF(SHA256(), 32, salt=None, info=f"brainstem {purpose}".encode()).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))

"""Password hashing: argon2id, bounded in memory, equally slow for a name that does not exist."""

from __future__ import annotations

import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH, MAX_LENGTH = 8, 1024

# Measured on two 2020s server cores: about 75 ms. The library's default (64 MiB, t=3, p=4) took 100 to 570 ms.
_hasher = PasswordHasher(time_cost=2, memory_cost=47104, parallelism=1)

# Each hash takes 46 MiB: a crowd at the login page waits here instead of filling the memory.
_seats = threading.BoundedSemaphore(4)


def hash_password(password: str) -> str:
    with _seats:
        return _hasher.hash(password)


def verify(stored: str | None, password: str) -> bool:
    """Compare; without a stored hash compare with a dummy, so that the time does not tell who exists."""
    with _seats:
        try:
            matches = _hasher.verify(stored or _dummy(), password)
        except (VerificationError, InvalidHashError):
            return False
    return matches and stored is not None


def needs_rehash(stored: str) -> bool:
    return _hasher.check_needs_rehash(stored)


def problem(password: str, username: str) -> str | None:
    """Why a new password is refused, or None."""
    if len(password) < MIN_LENGTH:
        return f"Use at least {MIN_LENGTH} characters."
    if len(password) > MAX_LENGTH:
        return f"Use at most {MAX_LENGTH} characters."
    if password.casefold() == username.casefold():
        return "The password must differ from the user name."
    return None


@cache
def _dummy() -> str:
    return _hasher.hash("nobody has this password")

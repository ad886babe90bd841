"""One application for many tests that promise to change nothing in it: `calm`, `calm_both` of tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes() -> Iterator[None]:
    """Weak password hashes: the rubbish is tried as passwords too."""
    from argon2 import PasswordHasher

    from webapp.identity import passwords

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        passwords._dummy.cache_clear()
        yield
    passwords._dummy.cache_clear()

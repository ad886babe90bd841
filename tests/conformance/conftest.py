"""One application for many tests that promise to change nothing in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Services, _database_like, _own_redis, build_runtime, make_cast
from tests.fakes.site import OPEN_LIMITS, Site


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


def _open(home: Path, blank: Path, env: dict[str, str]) -> Iterator[Site]:
    home.mkdir()
    shutil.copy(blank, home / "brainstem.db")
    rt = build_runtime({"BRAINSTEM_HOME": str(home), "AUTH_REQUIRED": "1", **OPEN_LIMITS, **env})
    made = Site(rt, make_cast(rt))
    yield made
    made.close()
    rt.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, _blank_sqlite: Path) -> Iterator[Site]:
    yield from _open(tmp_path_factory.mktemp("calm") / "home", _blank_sqlite, {})


@pytest.fixture(scope="module", params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def calm_both(request: Any, tmp_path_factory: pytest.TempPathFactory, _blank_sqlite: Path) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("calm") / "home"
    if request.param == "embedded":
        yield from _open(home, _blank_sqlite, {})
        return
    with _database_like(request.getfixturevalue("_blank_postgres")) as name, _own_redis() as redis_url:
        from tests.conftest import PG

        yield from _open(home, _blank_sqlite, Services(f"{PG}/{name}", redis_url).env)

"""A real SQLite file per test, and a way to call the services as anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher

from webapp import runtime as runtime_module
from webapp import settings as settings_module
from webapp.core.context import ANONYMOUS, Actor, Ctx
from webapp.core.db import Base
from webapp.identity import passwords, service
from webapp.identity.models import User
from webapp.runtime import Runtime

PASSWORD = "correct horse battery"
REAL_HASHER = passwords._hasher


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weak password hashes: the suite makes hundreds."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    passwords._dummy.cache_clear()
    yield
    passwords._dummy.cache_clear()


@pytest.fixture
def real_hashes(quick_hashes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", REAL_HASHER)


@pytest.fixture
def make_rt(tmp_path: Any) -> Iterator[Callable[..., Runtime]]:
    """Runtimes over one data folder, each with its own settings."""
    made: list[Runtime] = []

    def make(**env: str) -> Runtime:
        settings = settings_module.load({"BRAINSTEM_HOME": str(tmp_path / "home"), **env})
        rt = runtime_module.build(settings)
        Base.metadata.create_all(rt.engine, tables=identity_tables())
        made.append(rt)
        return rt

    yield make
    for rt in made:
        rt.close()


def identity_tables() -> list[Any]:
    names = ("users", "api_keys", "login_sessions", "refresh_tokens", "audit_entries")
    return [Base.metadata.tables[name] for name in names]


@pytest.fixture
def rt(make_rt: Callable[..., Runtime]) -> Runtime:
    """Tries are not limited here; the tests of the limits set their own."""
    return make_rt(BRAINSTEM_LOGIN_RATE_LIMIT="1000/minute")


@pytest.fixture
def call(rt: Runtime) -> Callable[..., Any]:
    """call(verb, *args, as_=actor): one service verb in a unit of its own."""
    return caller(rt)


def caller(rt: Runtime) -> Callable[..., Any]:
    def run(verb: Callable[..., Any], *args: Any, as_: Actor = ANONYMOUS, ip: str = "192.0.2.1", **kw: Any) -> Any:
        with rt.unit() as db:
            return verb(Ctx(rt, db, as_, ip=ip), *args, **kw)

    return run


@pytest.fixture
def alice(call: Callable[..., Any]) -> User:
    """The first account, so an administrator."""
    user: User = call(service.register, "alice", PASSWORD)
    return user


@pytest.fixture
def bob(call: Callable[..., Any], alice: User) -> User:
    user: User = call(service.register, "bob", PASSWORD, "bob@example.org")
    return user


@pytest.fixture
def password() -> str:
    """Everybody's password."""
    return PASSWORD


@pytest.fixture
def person() -> Callable[..., Actor]:
    """person(user): the actor of somebody who logged in with a password."""

    def make(user: User, session_id: str | None = None) -> Actor:
        return Actor(user.id, user.username, user.is_admin, via="jwt", session_id=session_id)

    return make


@pytest.fixture
def call_on() -> Callable[[Runtime], Callable[..., Any]]:
    """call_on(rt): `call` for a runtime that the test made itself."""
    return caller

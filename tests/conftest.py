"""Fixtures for all tests: runtimes of both modes, the cast (alice, bob, charlie), a client, a real server.

alice and bob are ordinary users, charlie is the stranger, `root` an administrator. Servers that are not there skip a
test at home and fail it in CI.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from webapp import runtime as runtime_module
from webapp import settings as settings_module
from webapp.core.context import Actor, Ctx
from webapp.runtime import Runtime

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BRAINSTEM_SHARED", ROOT.parent / "shared"))
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
PG = os.environ.get("TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
REDIS = os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379")


def missing(what: str) -> None:
    """A server or tool is not here: skip at home, fail in CI."""
    if IN_CI:
        pytest.fail(f"{what} is not available, and CI must have it")
    pytest.skip(f"{what} is not available")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Half characters, which some tests log on purpose, cannot be sent from a test process to its parent."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode("utf-8")) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the evaluation data is not here")
    return SHARED


@pytest.fixture(autouse=True)
def _no_user_data(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test may touch the developer's own data or take settings from the shell."""
    for option in settings_module.OPTIONS:
        for name in option.env:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BRAINSTEM_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session", autouse=True)
def _one_encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runtimes of one test process share the child that makes vectors, and its model file: text in, vectors out, nothing
    kept between. Starting one takes most of a second of the processor. tests/embedding has its own.
    """
    from webapp.embedding import minilm

    made: dict[str, Any] = {}
    real, path = minilm.LocalModel, minilm.MiniLM._path
    models = tmp_path_factory.getbasetemp() / "models"
    models.mkdir(exist_ok=True)

    class Shared:
        def __init__(self, name: str, *args: Any, **options: Any) -> None:
            self.model = made.setdefault(name, real(name, *args, **options))

        def call(self, *args: Any, **options: Any) -> Any:
            return self.model.call(*args, **options)

        def close(self) -> None:
            """The others still want it."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minilm, "LocalModel", Shared)
        patch.setattr(minilm.MiniLM, "_path", lambda one: models / path(one).name)
        yield
    for one in made.values():
        one.close()


@pytest.fixture(scope="session", autouse=True)
def _templates_kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each application of a test process would compile the same templates anew."""
    from flask import Flask
    from jinja2 import FileSystemBytecodeCache

    cache = FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {**Flask.jinja_options, "bytecode_cache": cache})
        yield


def build_runtime(env: dict[str, str]) -> Runtime:
    return runtime_module.build(settings_module.load(env))


@pytest.fixture(scope="session")
def _blank_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database made once and copied by each test."""
    from webapp import supervisor

    home = tmp_path_factory.mktemp("blank")
    rt = build_runtime({"BRAINSTEM_HOME": str(home)})
    supervisor.ensure_schema(rt)
    rt.close()  # the last connection moves the write-ahead log into the file
    return home / "brainstem.db"


@pytest.fixture
def make_rt(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, _blank_sqlite: Path
) -> Iterator[Callable[..., Runtime]]:
    """`make_rt(**env)`: an embedded runtime on a fresh, migrated SQLite file. Model files are made once for all."""
    made: list[Runtime] = []
    models = tmp_path_factory.getbasetemp() / "models"
    models.mkdir(exist_ok=True)

    def make(**env: str) -> Runtime:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        (home / "models").symlink_to(models)
        shutil.copy(_blank_sqlite, home / "brainstem.db")
        made.append(build_runtime({"BRAINSTEM_HOME": str(home), **env}))
        return made[-1]

    yield make
    for rt in made:
        rt.close()


@pytest.fixture
def rt(make_rt: Callable[..., Runtime]) -> Runtime:
    return make_rt()


def services_here() -> str | None:
    """None when Postgres and Redis answer, else which does not."""
    try:
        import psycopg
        import redis

        psycopg.connect(PG + "/postgres", connect_timeout=2).close()
        redis.Redis.from_url(REDIS + "/0", socket_connect_timeout=2).ping()
    except Exception as exc:
        return f"Postgres with Redis ({type(exc).__name__})"
    return None


@dataclass
class Services:
    """A database and a Redis number of this test's own."""

    database_url: str
    redis_url: str

    @property
    def env(self) -> dict[str, str]:
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}


@pytest.fixture(scope="session")
def _blank_postgres() -> Iterator[str]:
    """A migrated template database of this test run."""
    trouble = services_here()
    if trouble:
        missing(trouble)
    import psycopg

    from webapp import supervisor

    name = f"bs_template_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(PG + "/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    rt = build_runtime({"DATABASE_URL": f"{PG}/{name}", "REDIS_URL": f"{REDIS}/0"})
    supervisor.ensure_schema(rt)
    rt.close()
    yield name
    with psycopg.connect(PG + "/postgres", autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def services(_blank_postgres: str) -> Iterator[Services]:
    with _database_like(_blank_postgres) as name, _own_redis() as redis_url:
        yield Services(f"{PG}/{name}", redis_url)


@contextmanager
def _database_like(template: str) -> Iterator[str]:
    import psycopg

    name = f"bs_test_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(PG + "/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield name
    with psycopg.connect(PG + "/postgres", autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def _own_redis() -> Iterator[str]:
    import redis

    number = 6 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 9
    client = redis.Redis.from_url(f"{REDIS}/{number}")
    client.flushdb()
    yield f"{REDIS}/{number}"
    client.flushdb()


@pytest.fixture(scope="session")
def _swept_postgres(_blank_postgres: str) -> Iterator[str]:
    """One database for many tests, each of which finds it empty: making one takes a fifth of a second."""
    with _database_like(_blank_postgres) as name:
        yield name


@pytest.fixture
def swept_services(_swept_postgres: str) -> Iterator[Services]:
    """For tests in this process that leave the schema alone; `services` is a database of the test's own."""
    import psycopg

    from webapp.core import migrate

    # What comes with the program stays, a person's goes with their owner.
    seeded = ("agents", "task_templates")
    tables = [table.name for table in reversed(migrate.metadata().sorted_tables) if table.name not in seeded]
    with psycopg.connect(f"{PG}/{_swept_postgres}", options="-c lock_timeout=5000") as connection:
        for table in tables:
            connection.execute(f'DELETE FROM "{table}"')
        connection.execute("UPDATE task_templates SET usage_count = 0")
    with _own_redis() as redis_url:
        yield Services(f"{PG}/{_swept_postgres}", redis_url)


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def both_rt(request: pytest.FixtureRequest, make_rt: Callable[..., Runtime]) -> Runtime:
    """The same test on both runtimes: SQLite in one process, Postgres with Redis."""
    if request.param == "embedded":
        return make_rt()
    return make_rt(**request.getfixturevalue("swept_services").env)


# -- the cast --------------------------------------------------------------------------------------------------------


def make_user(rt: Runtime, name: str, *, admin: bool = False) -> Actor:
    from webapp.identity.models import User

    with rt.unit() as db:
        user = User(username=name, username_key=name.lower(), is_admin=admin)
        db.add(user)
        db.flush()
        return Actor(user.id, name, is_admin=admin, via="session")


@dataclass
class Cast:
    rt: Runtime
    alice: Actor
    bob: Actor
    charlie: Actor
    root: Actor

    def key(self, who: Actor, scopes: list[str] | None = None) -> dict[str, str]:
        """Headers of a fresh API key of somebody's."""
        from webapp.identity import service

        with self.rt.unit() as db:
            made = service.create_api_key(
                Ctx(self.rt, db, who),
                name="test",
                scopes=scopes or ["tasks:read", "tasks:write", "events:read"],
            )
        secret = made[1] if isinstance(made, tuple) else made.secret
        return {"Authorization": f"Bearer {secret}"}


def make_cast(rt: Runtime) -> Cast:
    return Cast(rt, *(make_user(rt, name) for name in ("alice", "bob", "charlie")), make_user(rt, "root", admin=True))


@pytest.fixture
def cast(rt: Runtime) -> Cast:
    return make_cast(rt)


@pytest.fixture
def app(make_rt: Callable[..., Runtime]) -> Any:
    """The application with AUTH_REQUIRED; its runtime is `app.extensions["runtime"]`."""
    from webapp.app import create_app

    made = create_app(make_rt(AUTH_REQUIRED="1"))
    made.testing = True
    yield made
    made.extensions["hub"].stop(0.2)


@pytest.fixture
def site(make_rt: Callable[..., Runtime]) -> Iterator[Any]:
    """The application with AUTH_REQUIRED, open rate limits and the cast (tests/fakes/site.py)."""
    yield from _open_site(make_rt, {})


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def both_site(request: pytest.FixtureRequest, make_rt: Callable[..., Runtime]) -> Iterator[Any]:
    """The same on both runtimes."""
    env = {} if request.param == "embedded" else request.getfixturevalue("swept_services").env
    yield from _open_site(make_rt, env)


def _open_site(make_rt: Callable[..., Runtime], env: dict[str, str]) -> Iterator[Any]:
    from tests.fakes.site import OPEN_LIMITS, Site

    rt = make_rt(AUTH_REQUIRED="1", **OPEN_LIMITS, **env)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


# -- one application for the tests of a file, which leave it as they found it ------------------------------------------


def _open_calm(home: Path, blank: Path, env: dict[str, str]) -> Iterator[Any]:
    from tests.fakes.site import OPEN_LIMITS, Site

    home.mkdir()
    shutil.copy(blank, home / "brainstem.db")
    rt = build_runtime({"BRAINSTEM_HOME": str(home), "AUTH_REQUIRED": "1", **OPEN_LIMITS, **env})
    made = Site(rt, make_cast(rt))
    yield made
    made.close()
    rt.close()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, _blank_sqlite: Path) -> Iterator[Any]:
    yield from _open_calm(tmp_path_factory.mktemp("calm") / "home", _blank_sqlite, {})


@pytest.fixture(scope="module", params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def calm_both(request: Any, tmp_path_factory: pytest.TempPathFactory, _blank_sqlite: Path) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("calm") / "home"
    if request.param == "embedded":
        yield from _open_calm(home, _blank_sqlite, {})
        return
    with _database_like(request.getfixturevalue("_blank_postgres")) as name, _own_redis() as redis_url:
        yield from _open_calm(home, _blank_sqlite, Services(f"{PG}/{name}", redis_url).env)


# -- a real server ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`brainstem up` as a process of its own."""

    def __init__(self, home: Path, env: dict[str, str] | None = None, args: tuple[str, ...] = ("up",)) -> None:
        self.port = free_port()
        self.home, self.args = home, args
        known = {name for option in settings_module.OPTIONS for name in option.env}
        clean = {name: value for name, value in os.environ.items() if name not in known}
        self.env = {
            **clean,
            "BRAINSTEM_HOME": str(home),
            "PORT": str(self.port),
            "PYTHONPATH": str(ROOT),
            "BRAINSTEM_DEMO": "0",
            **(env or {}),
        }
        self.log = home / f"server-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self, patience: float = 60.0) -> Server:
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "webapp.cli", *self.args],
                env=self.env,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=ROOT,
            )
        self.wait(patience)
        return self

    def wait(self, patience: float = 60.0) -> None:
        import requests

        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                if requests.get(self.url + "/api/v1/ready", timeout=2).status_code == 200:
                    return
            except requests.RequestException:
                if self.process is not None and self.process.poll() is not None:
                    break
            time.sleep(0.05)
        raise AssertionError("the server did not come up:\n" + self.log.read_text(errors="replace")[-3000:])

    def stop(self, signum: int = signal.SIGTERM, patience: float = 40.0) -> int | None:
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.process.send_signal(signum)
        try:
            return self.process.wait(patience)
        finally:
            self.kill()

    def kill(self) -> None:
        """Everything of it, at once."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`make_server(env=..)`: a started embedded server with data of its own."""
    made: list[Server] = []

    def make(env: dict[str, str] | None = None, *, start: bool = True, home: Path | None = None) -> Server:
        server = Server(home or tmp_path / f"server{len(made)}", env)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        server.kill()

"""Servers for the tests of live connections: one embedded for all of them, one deployment of three processes."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import select

from tests.conftest import PG, REDIS, ROOT, Server, _database_like, build_runtime, free_port, make_user
from tests.live.client import SSE, WS
from tests.live.kinds import PLUGINS
from webapp.core.context import Actor, Ctx
from webapp.identity.models import User
from webapp.runtime import Runtime

FINAL = ("completed", "failed", "cancelled")
PASSWORD = "a long enough password 7"


@dataclass
class Person:
    site: Site
    name: str
    token: str
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def start(self, kind: str = "live_steps", **config: Any) -> str:
        body = {"task_type": kind, "task_config": config, "title": f"of {self.name}"}
        answer = requests.post(self.site.url + "/api/v1/utils/ai-tasks/", json=body, headers=self.headers, timeout=15)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def post(self, path: str, body: Any = None) -> Any:
        return requests.post(self.site.url + path, json=body, headers=self.headers, timeout=15)

    def get(self, path: str, **options: Any) -> Any:
        return requests.get(self.site.url + path, headers=self.headers, timeout=15, **options)

    def task(self, task_id: str) -> Any:
        return self.get(f"/api/v1/utils/ai-tasks/{task_id}/").json()

    def updates(self, task_id: str, after: int = 0) -> Any:
        return self.get(f"/api/v1/utils/ai-tasks/{task_id}/updates/?after={after}&limit=2000").json()

    def finished(self, task_id: str, patience: float = 20.0) -> Any:
        until = time.monotonic() + patience
        while time.monotonic() < until:
            task = self.task(task_id)
            if task["status"] in FINAL:
                return task
            time.sleep(0.05)
        raise AssertionError(f"still {task['status']}: {task['message']}")

    def key(self, scopes: list[str], name: str = "k") -> tuple[str, str]:
        made = self.post("/api/auth/api-keys/", {"name": name, "scopes": scopes}).json()
        return made["id"], made["key"]

    def ws(self, path: str, **options: Any) -> WS:
        return WS(self.site.ws_url + path, self.headers, **options)

    def sse(self, path: str, **headers: str) -> SSE:
        return SSE(self.site.live_url + path, {**self.headers, **headers})


@dataclass
class Site:
    """Where to ask: pages and API at `url`, live connections at `live_url` (the same place when embedded)."""

    url: str
    live_url: str
    server: Server | Running
    rt: Runtime
    people: int = 0

    @property
    def ws_url(self) -> str:
        return self.live_url.replace("http:", "ws:")

    def person(self, name: str = "", *, password: bool = False) -> Person:
        """Somebody new. Without a password nothing slow is hashed."""
        from webapp.identity import service

        self.people += 1
        name = f"{name or 'person'}{self.people}"
        if CLUSTER:  # it remembers people of other suites
            name += f"-{uuid.uuid4().hex[:8]}"
        if password:
            body = {"username": name, "password": PASSWORD, "email": f"{name}@example.org"}
            made = requests.post(self.url + "/api/auth/register/", json=body, timeout=15)
            assert made.status_code == 201, made.text
        else:
            make_user(self.rt, name, admin=name.startswith("root"))
        with self.rt.unit() as db:
            user = db.scalars(select(User).where(User.username == name)).one()
            tokens = service.issue_tokens(Ctx(self.rt, db, Actor(user.id, name)), user, "test")
        return Person(self, name, tokens["access"] if isinstance(tokens, dict) else tokens.access)

    def rss(self) -> int:
        """Bytes held by the server's processes."""
        import psutil

        if isinstance(self.server, Running):
            return self.server.rss()
        assert self.server.process is not None
        parent = psutil.Process(self.server.process.pid)
        return sum(one.memory_info().rss for one in [parent, *parent.children(recursive=True)])

    root: Person = None  # type: ignore[assignment]


LIMITS = {
    "AUTH_REQUIRED": "1", "BRAINSTEM_PLUGINS": PLUGINS, "BRAINSTEM_RATE_LIMIT": "100000/minute",
    "BRAINSTEM_LOGIN_RATE_LIMIT": "100000/minute", "BRAINSTEM_GRACE_SECONDS": "2",
}  # fmt: skip


CLUSTER = os.environ.get("TEST_CLUSTER", "")  # the file that `make cluster ARGS=test` wrote about what it brought up
CLUSTER_ENV = {**LIMITS, "BRAINSTEM_REGISTRATION": "true", "BRAINSTEM_DEMO": "0", "PYTHONPATH": str(ROOT)}
# What asks by HTTP only. tests/live/test_deployment.py has limits of its own, which a deployment of its own has.
OVER_HTTP = ("tests/live/test_sockets.py", "tests/live/test_streams.py", "tests/live/test_abuse.py",
             "tests/live/test_served.py", "tests/contract/test_printed.py")  # fmt: skip


class Running:
    """The processes of `make cluster`, in the place of a server that a test would start."""

    def __init__(self) -> None:
        self.about = json.loads(Path(CLUSTER).read_text())
        self.url = self.about["url"]

    @property
    def log(self) -> Running:
        return self

    def read_bytes(self) -> bytes:
        return b"".join(path.read_bytes() for path in Path(self.about["logs"]).glob("*.log"))

    def rss(self) -> int:
        import psutil

        found = 0
        for one in psutil.process_iter(["environ", "memory_info"]):
            if (one.info["environ"] or {}).get("BRAINSTEM_HOME") == self.about["env"]["BRAINSTEM_HOME"]:
                found += one.info["memory_info"].rss
        return found

    def kill(self) -> None:
        """It goes on for other tests."""


def at_cluster() -> Site:
    running = Running()
    names = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "BRAINSTEM_HOME")
    rt = build_runtime({name: running.about["env"][name] for name in names})
    site = Site(running.url, running.url, running, rt)
    site.root = site.person("root")
    return site


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One embedded server of these tests; what they leave behind in it belongs to people of their own."""
    if CLUSTER:
        site = at_cluster()
        yield site
        site.rt.close()
        return
    site = embedded(Server(tmp_path_factory.mktemp("live"), LIMITS).start())
    yield site
    site.rt.close()
    site.server.kill()


def embedded(server: Server) -> Site:
    site = Site(server.url, server.url, server, build_runtime({"BRAINSTEM_HOME": str(server.home)}))
    site.root = site.person("root")
    return site


@pytest.fixture
def site(live_server: Site) -> Site:
    return live_server


@pytest.fixture
def alice(site: Site) -> Person:
    return site.person("alice")


@pytest.fixture(scope="session")
def signed_in(live_server: Site) -> tuple[Person, str]:
    """Somebody with a browser's cookie."""
    person = live_server.person("signed-in", password=True)
    return person, login_cookie(live_server, person)


def login_cookie(site: Site, person: Person) -> str:
    session = requests.Session()
    page = session.get(site.url + "/login", timeout=15).text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    fields = {"username": person.name, "password": PASSWORD, "csrf_token": token}
    answer = session.post(site.url + "/login", data=fields, timeout=15, allow_redirects=False)
    assert answer.status_code == 303, answer.text[:500]
    return "; ".join(f"{name}={value}" for name, value in session.cookies.items())


@pytest.fixture
def bob(site: Site) -> Person:
    return site.person("bob")


@pytest.fixture(scope="session")
def deployment(_blank_postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A web process, a live one and a worker over Postgres and Redis."""
    with deployed(_blank_postgres, tmp_path_factory.mktemp("deployment"), 5) as site:
        yield site


@contextmanager
def deployed(template: str, home: Path, redis_number: int, more: dict[str, str] | None = None) -> Iterator[Site]:
    """The same with settings of its own, over a database and a Redis number of its own."""
    import redis

    redis_url = f"{REDIS}/{redis_number}"
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    live_port = free_port()
    with _database_like(template) as name:
        env = {
            **LIMITS, "DATABASE_URL": f"{PG}/{name}", "REDIS_URL": redis_url, "WEB_CONCURRENCY": "1",
            "SECRET_KEY": "only of these tests, long enough", "BRAINSTEM_LIVE_PORT": str(live_port),
            "BRAINSTEM_WS_PER_USER": "6", **(more or {}),
        }  # fmt: skip
        servers = [Server(home / part, env, args) for part, args in
                   (("web", ("web",)), ("live", ("web", "--live")), ("worker", ("worker", "all")))]  # fmt: skip
        web, live, worker = servers
        live.port = live_port
        for one in servers:
            one.env |= {"PORT": str(web.port)}
            one.wait = lambda patience=0.0: None  # type: ignore[method-assign]
            one.start()
        try:
            Server.wait(web)
            Server.wait(live)
            rt = build_runtime({name: env[name] for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")})
            site = Site(web.url, live.url, live, rt)
            site.root = site.person("root")
            yield site
            rt.close()
        finally:
            for one in servers:
                one.kill()
            client.flushdb()

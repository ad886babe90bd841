"""The operator's room: verbs on both runtimes, pages and API through the application."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab
from webapp.core.audit import AuditEntry
from webapp.core.context import Actor, Ctx
from webapp.identity import service as identity
from webapp.runtime import Runtime
from webapp.web.auth import LOGIN_KEY


class Room(Lab):
    """The lab with the operator's verbs: `room.ask(service.queues)` does one as root in a unit of its own."""

    def __init__(self, rt: Runtime, cast: Cast) -> None:
        super().__init__(rt)
        self.cast = cast

    def ask(self, verb: Callable[..., Any], *args: Any, who: Actor | None = None, **options: Any) -> Any:
        with self.rt.unit() as db:
            return verb(Ctx(self.rt, db, who or self.cast.root, request_id="asked", ip="192.0.2.7"), *args, **options)

    def audited(self) -> list[AuditEntry]:
        from sqlalchemy import select

        with self.rt.unit(write=False) as db:
            return list(db.scalars(select(AuditEntry).order_by(AuditEntry.id)))

    def add_worker(
        self, name: str, *, role: str = "all", queues: str = "inference", age: float = 0.0, **more: Any
    ) -> None:
        from sqlalchemy import insert, update

        from webapp.core.db import db_now
        from webapp.tasks.models import Task, Worker

        values = {"id": name, "role": role, "queues": queues, "host": "here", "pid": 7, "threads": 2, "rss_mb": 100.0,
                  "running": [], "done": 0, **more}  # fmt: skip
        with self.rt.unit() as db:
            db.execute(insert(Worker).values(**values, beat_at=db_now() - age))
            for task_id in values["running"]:
                db.execute(update(Task).where(Task.id == task_id).values(status="running", worker_id=name))


@pytest.fixture(autouse=True)
def _room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this machine's disk is full is no matter of these tests."""
    module = importlib.import_module("webapp.operations.service.overview")  # its name is that of a function too
    monkeypatch.setattr(module, "disk_space", lambda rt: (10**11, 10**12))


@pytest.fixture
def room(both_rt: Runtime) -> Room:
    return Room(both_rt, make_cast(both_rt))


class Browser:
    """A signed-in browser: sends the forms' token along."""

    def __init__(self, app: Any, who: Actor | None) -> None:
        self.client: FlaskClient = app.test_client()
        self.rt: Runtime = app.extensions["runtime"]
        if who is not None:
            with self.rt.unit() as db:
                user = db.get(identity.User, who.id)
                assert user is not None
                secret = identity.start_session(Ctx(self.rt, db, who), user)
            with self.client.session_transaction() as session:
                session[LOGIN_KEY] = secret

    def get(self, path: str, *, poll: bool = False) -> Any:
        return self.client.get(path, headers={"HX-Request": "true"} if poll else {})

    def post(self, path: str, **form: Any) -> Any:
        page = self.client.get("/tasks").get_data(as_text=True)
        token = re.search(r'name="csrf-token" content="([^"]+)"', page)
        assert token is not None
        return self.client.post(path, data={"csrf_token": token.group(1), **form})

    def after(self, answer: Any) -> str:
        """The page that a sent form leads to."""
        assert answer.status_code == 303, answer.get_data(as_text=True)[:500]
        return str(self.client.get(answer.headers["Location"]).get_data(as_text=True))


@pytest.fixture
def site_room(app: Any) -> Room:
    rt = app.extensions["runtime"]
    made = Room(rt, make_cast(rt))
    made.app = app  # type: ignore[attr-defined]
    return made


@pytest.fixture
def root(site_room: Room) -> Browser:
    return Browser(site_room.app, site_room.cast.root)  # type: ignore[attr-defined]


@pytest.fixture
def alice(site_room: Room) -> Browser:
    return Browser(site_room.app, site_room.cast.alice)  # type: ignore[attr-defined]


@pytest.fixture
def stranger(site_room: Room) -> Browser:
    return Browser(site_room.app, None)  # type: ignore[attr-defined]

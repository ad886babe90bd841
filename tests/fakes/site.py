"""The real application with the cast logged in, and its table of routes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import select

from tests.fakes.lab import Lab
from webapp.app import create_app
from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.runtime import Runtime

# Suites send thousands of requests as one person.
OPEN_LIMITS = {
    "BRAINSTEM_RATE_LIMIT": "1000000/minute", "BRAINSTEM_LOGIN_RATE_LIMIT": "1000000/minute",
    "BRAINSTEM_WS_PER_USER": "100000", "BRAINSTEM_WS_TOTAL": "100000",
    "BRAINSTEM_ANSWER_WAIT": "0",  # a request that waits for a worker gets its 504 at once: none runs beside most suites
}  # fmt: skip
TOUCHED = {"last_used_at", "last_seen_at"}  # noted in passing, also by a GET


class Site:
    def __init__(self, rt: Runtime, cast: Any) -> None:
        self.rt, self.cast = rt, cast
        self.app = create_app(rt)
        self.app.testing = True
        self.lab = Lab(rt)
        self._tokens: dict[str, str] = {}

    def close(self) -> None:
        self.app.extensions["hub"].stop(0.2)

    @property
    def client(self) -> FlaskClient:
        """Nobody's browser."""
        return self.app.test_client()

    def bearer(self, who: Actor) -> dict[str, str]:
        """The header of a program that logged in as somebody."""
        if who.username not in self._tokens:
            from webapp.identity import service

            with self.rt.unit() as db:
                issued = service.issue_tokens(Ctx(self.rt, db, SYSTEM), self._user(db, who))
            self._tokens[who.username] = issued.access
        return {"Authorization": f"Bearer {self._tokens[who.username]}"}

    def logout(self, who: Actor) -> None:
        """The next `program` logs in anew."""
        self._tokens.pop(who.username, None)

    def program(self, who: Actor) -> FlaskClient:
        """A client that shows somebody's token with every request."""
        client = self.app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = self.bearer(who)["Authorization"]
        return client

    def browser(self, who: Actor) -> FlaskClient:
        """A client with the cookie of somebody's login."""
        from webapp.identity import service

        with self.rt.unit() as db:
            secret = service.start_session(Ctx(self.rt, db, SYSTEM), self._user(db, who))
        client = self.app.test_client()
        with client.session_transaction() as session:
            session["login"] = secret
        return client

    def _user(self, db: Any, who: Actor) -> Any:
        from webapp.identity.models import User

        return db.scalar(select(User).where(User.id == who.id))

    def rows(self) -> dict[str, list[Any]]:
        """Every row of every table, but for what is noted in passing."""
        with self.rt.engine.connect() as connection:
            return {
                name: [tuple(row) for row in connection.exec_driver_sql(look)] for name, look in self._looks.items()
            }

    @cached_property
    def _looks(self) -> dict[str, str]:
        """Compiled once: making fifty statements takes longer than running them."""
        from webapp.core import migrate

        found = {}
        for table in migrate.metadata().sorted_tables:
            columns = [column for column in table.columns if column.name not in TOUCHED]
            found[table.name] = str(select(*columns).order_by(*table.primary_key).compile(self.rt.engine))
        return found

    @contextmanager
    def unchanged(self, why: str = "") -> Iterator[None]:
        before = self.rows()
        yield
        after = self.rows()
        for name in before:
            assert before[name] == after[name], f"{why}: {name} changed"


@cache
def routes() -> list[Any]:
    """Every declared route once. (Other suites declare routes of their own for their own applications.)"""
    import tempfile

    from webapp import runtime, settings
    from webapp.web.api import ROUTES

    with tempfile.TemporaryDirectory() as home:
        rt = runtime.build(settings.load({"BRAINSTEM_HOME": home, "AUTH_REQUIRED": "1"}))
        app = create_app(rt)
        known = set(app.view_functions)
        rt.close()
    found = {}
    for route in ROUTES:
        if route.endpoint in known:
            found[route.method, route.path] = route
    return sorted(found.values(), key=lambda route: (route.path, route.method))


def name_of(route: Any) -> str:
    return f"{route.method} {route.path}"


def filled(path: str, **values: str) -> str:
    """The path with its parameters: those given, else an id that nobody has."""
    import re

    default = {"fmt": "json", "name": "redoc.js"}
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda m: values.get(m[1]) or default.get(m[1]) or "018f0000-none", path)

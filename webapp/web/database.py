"""Flask-SQLAlchemy as glue: the request's session, bound to the runtime's engine and ended with the request.

Services and workers use the same models through plain SQLAlchemy sessions; only the web layer knows this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from webapp.core.db import Base, unit_of_work
from webapp.runtime import Runtime


class _Database(SQLAlchemy):
    def _make_engine(self, bind_key: str | None, options: dict[str, Any], app: Flask) -> Engine:
        # The runtime has made it already, with our rules for SQLite and Postgres.
        runtime: Runtime = app.extensions["runtime"]
        return runtime.engine


def init_app(app: Flask, rt: Runtime) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = rt.engine.url
    database = _Database(model_class=Base, session_options={"expire_on_commit": False})
    database.init_app(app)


@contextmanager
def request_unit(*, write: bool) -> Iterator[Session]:
    """The unit of work around a handler. Raises RuntimeError inside another one, which it would commit."""
    sessions = current_app.extensions["sqlalchemy"].session
    if sessions().in_transaction():
        raise RuntimeError("a unit of this request is open; use its session, or `unit` of the runtime for one apart")
    with unit_of_work(sessions, write=write) as session:
        yield session

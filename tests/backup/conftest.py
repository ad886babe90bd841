"""Places to back up and to restore into, of both kinds; the database of the first release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.conftest import PG, ROOT, _database_like
from webapp.core.db import make_engine
from webapp.settings import Settings, load

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.services)]
FIRST = {kind: ROOT / f"tests/backup/first_release.{kind}.sql" for kind in ("sqlite", "postgres")}


@pytest.fixture(params=BOTH)
def first(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database as the first release left it, with some rows."""
    text = FIRST[request.param].read_text(encoding="utf-8")
    if request.param == "sqlite":
        import sqlite3

        with sqlite3.connect(tmp_path / "brainstem.db") as made:
            made.executescript(text)
        made.close()
        engine = make_engine(f"sqlite:///{tmp_path / 'brainstem.db'}")
        yield engine
        engine.dispose()
        return
    request.getfixturevalue("_blank_postgres")  # skips where no server is
    import psycopg

    with _database_like("template0") as name:
        with psycopg.connect(f"{PG}/{name}", autocommit=True) as made_there:
            made_there.execute(text)  # type: ignore[arg-type]
        engine = make_engine(f"{PG}/{name}".replace("postgresql://", "postgresql+psycopg://"))
        yield engine
        engine.dispose()


@dataclass
class Place:
    """Where something can be restored."""

    env: dict[str, str]

    @property
    def settings(self) -> Settings:
        return load(self.env)

    @property
    def home(self) -> Path:
        return self.settings.home_dir


@pytest.fixture
def make_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[bool], Place]]:
    """`make_place(distributed)`: an empty one."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        made: list[Place] = []

        def make(distributed: bool) -> Place:
            env = {"BRAINSTEM_HOME": str(tmp_path / f"place{len(made)}")}
            if distributed:
                name = stack.enter_context(_database_like("template0"))
                redis = request.getfixturevalue("swept_services").redis_url
                env |= {"DATABASE_URL": f"{PG}/{name}", "REDIS_URL": redis}
            made.append(Place(env))
            return made[-1]

        yield make

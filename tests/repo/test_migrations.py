"""One history for two databases: up, down and up again; models and migrations say the same."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, inspect

from tests.conftest import PG, _database_like
from webapp.core import migrate
from webapp.core.db import make_engine


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def empty(request: Any, tmp_path: Any) -> Iterator[Engine]:
    """A database without a table."""
    if request.param == "sqlite":
        engine = make_engine(f"sqlite:///{tmp_path / 'empty.db'}")
        yield engine
        engine.dispose()
        return
    request.getfixturevalue("_blank_postgres")  # skips where no server is
    with _database_like("template1") as name:
        engine = make_engine(f"{PG}/{name}".replace("postgresql://", "postgresql+psycopg://"))
        yield engine
        engine.dispose()


def test_there_is_one_head() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(migrate.config())
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1
    names = [revision.revision for revision in script.walk_revisions()][::-1]
    assert names == sorted(names), "numbers grow along the history"


def test_up_gives_what_the_models_say(empty: Engine) -> None:
    assert migrate.current(empty) is None
    migrate.upgrade(empty)
    assert migrate.current(empty) == migrate.head()
    assert migrate.differences(empty) == []
    have = set(inspect(empty).get_table_names()) - {"alembic_version"}
    assert have >= set(migrate.metadata().tables)


def test_up_twice_is_up_once(empty: Engine) -> None:
    migrate.upgrade(empty)
    migrate.upgrade(empty)
    assert migrate.current(empty) == migrate.head()


def test_down_to_nothing_and_up_again(empty: Engine) -> None:
    migrate.upgrade(empty)
    migrate.downgrade(empty, "base")
    left = set(inspect(empty).get_table_names()) - {"alembic_version"}
    assert {name for name in left if not name.startswith("sqlite_")} == set()
    migrate.upgrade(empty)
    assert migrate.differences(empty) == []


def test_each_step_goes_down_and_up(empty: Engine) -> None:
    from alembic.script import ScriptDirectory

    steps = [r.revision for r in ScriptDirectory.from_config(migrate.config()).walk_revisions()][::-1]
    for step in steps:
        migrate.upgrade(empty, step)
        migrate.downgrade(empty, "-1")
        migrate.upgrade(empty, step)
    assert migrate.differences(empty) == []


def test_differences_are_seen(empty: Engine) -> None:
    migrate.upgrade(empty)
    with empty.begin() as connection:
        connection.exec_driver_sql("DROP INDEX ix_tasks_kind_id")
    assert migrate.differences(empty) != []


@pytest.mark.services
@pytest.mark.usefixtures("_blank_postgres")
def test_processes_that_start_together_migrate_one_after_the_other() -> None:
    with _database_like("template1") as name:
        url = f"{PG}/{name}".replace("postgresql://", "postgresql+psycopg://")
        engines = [make_engine(url) for _ in range(3)]
        failed: list[Exception] = []

        def go(engine: Engine) -> None:
            try:
                migrate.upgrade(engine)
            except Exception as exc:
                failed.append(exc)

        threads = [threading.Thread(target=go, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failed == []
        assert migrate.differences(engines[0]) == []
        for engine in engines:
            engine.dispose()


def test_every_model_is_known_to_the_migrations() -> None:
    """A module with rows that migrate.MODELS does not name would be left out of `differences` and of every new table."""
    from tests.conftest import ROOT

    there = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "webapp").rglob("*.py") if re.search(r"^    __tablename__", path.read_text("utf-8"), re.M)
    }  # fmt: skip
    assert there == set(migrate.MODELS)

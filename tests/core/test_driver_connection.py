"""The bare driver's connection behaves like the engine's: its errors, its transactions, its pool."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from webapp.core.db import driver_connection
from webapp.runtime import Runtime

ADD = "INSERT INTO leases (name, holder, until) VALUES ('a', 'x', 1.0)"


def count(rt: Runtime) -> int:
    with rt.engine.connect().execution_options(readonly=True) as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM leases WHERE name = 'a'").scalar() or 0)


def test_it_commits_at_the_end_and_speaks_with_sqlalchemys_errors(both_rt: Runtime) -> None:
    with driver_connection(both_rt.engine) as driver:
        driver.execute(ADD)
    assert count(both_rt) == 1
    with pytest.raises(IntegrityError) as found, driver_connection(both_rt.engine) as driver:
        driver.execute(ADD)
    assert not found.value.connection_invalidated
    with pytest.raises(DBAPIError), driver_connection(both_rt.engine) as driver:
        driver.execute("SELECT nothing FROM nowhere")
    with both_rt.engine.begin() as connection:  # the same connections serve transactions again
        connection.exec_driver_sql("DELETE FROM leases WHERE name = 'a'")
        connection.rollback()
    assert count(both_rt) == 1


def test_an_error_of_ours_undoes_what_was_written(rt: Runtime) -> None:
    with pytest.raises(RuntimeError), driver_connection(rt.engine) as driver:
        driver.execute(ADD)
        raise RuntimeError("in between")
    assert count(rt) == 0


@pytest.mark.services
def test_a_broken_connection_leaves_the_pool_with_its_siblings(both_rt: Runtime) -> None:
    if both_rt.engine.dialect.name == "sqlite":
        return
    engine = both_rt.engine
    with engine.connect() as first, engine.connect() as second:
        old = {one.exec_driver_sql("SELECT pg_backend_pid()").scalar() for one in (first, second)}
    with pytest.raises(DBAPIError) as found, driver_connection(engine) as driver:
        _kill(both_rt, driver)
        driver.execute("SELECT 1")
    assert found.value.connection_invalidated
    with driver_connection(engine) as driver:
        assert driver.execute("SELECT pg_backend_pid()").fetchone()[0] not in old


def _kill(rt: Runtime, driver: object) -> None:
    pid = driver.execute("SELECT pg_backend_pid()").fetchone()[0]  # type: ignore[attr-defined]
    with rt.engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

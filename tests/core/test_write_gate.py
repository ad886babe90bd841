"""Writers of one process on one SQLite file wait for each other, and a lost one never keeps the gate."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest
from sqlalchemy.exc import OperationalError

from webapp.core import db as core_db
from webapp.runtime import Runtime

COUNT = "UPDATE schedules SET last_at = COALESCE(last_at, 0) + 1 WHERE name = 'gate'"


@pytest.fixture
def counted(rt: Runtime) -> Runtime:
    with rt.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO schedules (id, name, kind, params, enabled, title, rank, notify) VALUES ('g', 'gate', 'summary', '{}', 0, '', 2, 0)"
        )
    return rt


def value(rt: Runtime) -> float:
    with rt.engine.connect().execution_options(readonly=True) as connection:
        return float(connection.exec_driver_sql("SELECT last_at FROM schedules WHERE name = 'gate'").scalar() or 0)


def test_many_writers_lose_nothing(counted: Runtime) -> None:
    def write() -> None:
        for _ in range(25):
            with counted.engine.begin() as connection:
                connection.exec_driver_sql(COUNT)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(counted) == 200


def test_the_gate_opens_after_errors_and_forgotten_connections(counted: Runtime) -> None:
    with pytest.raises(OperationalError), counted.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE nowhere SET x = 1")
    with pytest.raises(RuntimeError), counted.unit() as session:
        session.connection()
        raise RuntimeError("a handler failed")
    lost = counted.engine.connect()
    lost.exec_driver_sql(COUNT)
    lost.close()  # without commit
    with counted.engine.begin() as connection:
        connection.exec_driver_sql(COUNT)
    assert value(counted) == 1


def test_readers_pass_while_somebody_writes(counted: Runtime) -> None:
    with counted.engine.begin() as connection:
        connection.exec_driver_sql(COUNT)
        assert value(counted) == 0
    assert value(counted) == 1


def test_waiting_has_an_end(counted: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_db, "BUSY_SECONDS", 0.1)
    with counted.engine.begin() as connection:
        connection.exec_driver_sql(COUNT)
        began = time.monotonic()
        with pytest.raises(OperationalError, match="locked"), counted.engine.begin():
            pass
        assert time.monotonic() - began < 5


def test_another_process_is_waited_for_too(counted: Runtime) -> None:
    other = sqlite3.connect(counted.settings.home_dir / "brainstem.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    timer.start()
    with counted.engine.begin() as connection:
        connection.exec_driver_sql(COUNT)
    timer.join()
    other.close()
    assert value(counted) == 1


def test_a_gate_whose_holder_was_cut_off_opens_again(counted: Runtime) -> None:
    from webapp.core.db import _Gate

    class Holder: ...

    gate, second, third = _Gate(), Holder(), Holder()
    gate._lock.acquire()  # a signal came right after this
    assert gate.enter(second)
    gate.leave()
    first = Holder()
    assert gate.enter(first)
    del first  # never left
    assert gate.enter(third)
    gate.leave()
    gate.leave()
    assert gate.enter(second)

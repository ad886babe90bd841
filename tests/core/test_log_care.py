"""SQLite's write-ahead log stays small under readers that never leave all at once, and writers do not pay for one who stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from webapp.core import db as core_db
from webapp.runtime import Runtime

READ = "SELECT count(*) FROM task_events"


@pytest.fixture
def log_file(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(core_db, "LOG_BYTES", 2 * 2**20)
    return Path(f"{rt.engine.url.database}-wal")


def write(rt: Runtime, megabytes: int) -> list[float]:
    """Write so much in transactions of 64 KB; seconds of each."""
    with rt.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS filler (id INTEGER PRIMARY KEY, text TEXT)")
    took = []
    for number in range(megabytes * 16):
        began = time.monotonic()
        with rt.engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT OR REPLACE INTO filler VALUES (:n, :text)", {"n": number % 50, "text": "x" * 65536}
            )
        took.append(time.monotonic() - began)
        time.sleep(0.005)  # some 10 MB a second
    return took


@contextmanager
def reading(rt: Runtime, how_long: float) -> Iterator[None]:
    """Two readers by turns, so that at every moment one of them reads."""
    stop, turns = threading.Event(), [threading.Semaphore(1), threading.Semaphore(0)]

    def read(mine: threading.Semaphore, other: threading.Semaphore) -> None:
        while not stop.is_set():
            mine.acquire()
            with rt.engine.connect().execution_options(readonly=True) as connection:
                connection.exec_driver_sql(READ).fetchall()
                other.release()  # the other one begins before this one ends
                stop.wait(how_long)
                connection.rollback()

    crew = [threading.Thread(target=read, args=(turns[n], turns[1 - n]), daemon=True) for n in range(2)]
    for thread in crew:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for turn in turns:
            turn.release()
        for thread in crew:
            thread.join(5)


def test_it_stays_small_under_readers_without_a_gap(rt: Runtime, log_file: Path) -> None:
    with reading(rt, 0.005):
        write(rt, 24)
        assert log_file.stat().st_size < 16 * 2**20  # 50 MB without care


def test_a_reader_who_stays_costs_writers_little_and_it_shrinks_when_he_goes(rt: Runtime, log_file: Path) -> None:
    with rt.engine.connect().execution_options(readonly=True) as connection:
        connection.exec_driver_sql(READ).fetchall()
        took = write(rt, 16)
        assert log_file.stat().st_size > 10 * 2**20, "nothing can be cut off while he reads"
        connection.rollback()
    assert sum(one > core_db.LOG_PATIENCE * 0.9 for one in took) <= 5, "it is asked seldom"
    deadline = time.monotonic() + 10
    while log_file.stat().st_size > 4 * 2**20 and time.monotonic() < deadline:
        write(rt, 1)
    assert log_file.stat().st_size <= 4 * 2**20


def test_a_log_that_cannot_be_emptied_hurts_nobody(
    rt: Runtime, log_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_connection: object) -> bool:
        raise OSError("no")

    monkeypatch.setattr(core_db._LogCare, "_empty", staticmethod(fails))
    write(rt, 12)
    assert "was not emptied" in caplog.text
    with rt.engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM filler").scalar() == 50

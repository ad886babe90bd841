"""Transactions, times and ids on both databases."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text

from webapp.core.db import MAPPED, after_commit, db_now, iso, new_id, utcnow
from webapp.identity.models import User
from webapp.runtime import Runtime


def add(rt: Runtime, name: str = "a") -> str:
    with rt.unit() as db:
        user = User(username=name, username_key=name)
        db.add(user)
        db.flush()
        return user.id


def names(rt: Runtime) -> list[str]:
    with rt.unit(write=False) as db:
        return list(db.scalars(select(User.username).order_by(User.username)))


def test_a_unit_commits_or_leaves_nothing(both_rt: Runtime) -> None:
    add(both_rt, "kept")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), both_rt.unit() as db:
            db.add(User(username="lost", username_key="lost"))
            db.flush()
            raise error
    assert names(both_rt) == ["kept"]


def test_the_connection_used_last_is_used_next(both_rt: Runtime) -> None:
    """It has the pages and the statements at hand."""
    with both_rt.engine.connect() as first, both_rt.engine.connect() as second:
        used, last = first.connection.dbapi_connection, second.connection.dbapi_connection
        second.close()
        assert used is not last
    for _ in range(3):
        with both_rt.engine.connect() as next_one:
            assert next_one.connection.dbapi_connection is used


def test_pages_of_the_file_are_read_where_the_kernel_has_them(rt: Runtime) -> None:
    with rt.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA mmap_size").scalar() == MAPPED


def test_after_commit_runs_after_the_commit_and_never_without(both_rt: Runtime) -> None:
    seen: list[list[str]] = []
    with both_rt.unit() as db:
        db.add(User(username="a", username_key="a"))
        after_commit(db, lambda: seen.append(names(both_rt)))
        assert seen == []
    assert seen == [["a"]]
    with pytest.raises(ValueError), both_rt.unit() as db:
        after_commit(db, lambda: seen.append([]))
        raise ValueError
    assert len(seen) == 1


def test_an_action_that_fails_stops_neither_the_request_nor_the_next(both_rt: Runtime) -> None:
    ran: list[int] = []
    with both_rt.unit() as db:
        db.add(User(username="a", username_key="a"))
        after_commit(db, lambda: 1 / 0)
        after_commit(db, lambda: ran.append(1))
    assert ran == [1]
    assert names(both_rt) == ["a"]


def test_writers_that_read_first_wait_for_each_other(both_rt: Runtime) -> None:
    """Deferred SQLite transactions fail here with `database is locked`."""
    ident = add(both_rt, "0")
    failed: list[Exception] = []

    def count() -> None:
        try:
            for _ in range(10):
                with both_rt.unit() as db:
                    user = db.scalar(select(User).where(User.id == ident).with_for_update())
                    assert user is not None
                    user.username = str(int(user.username) + 1)
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert names(both_rt) == ["40"]


def test_a_reader_does_not_wait_for_a_writer(both_rt: Runtime) -> None:
    add(both_rt, "before")
    with both_rt.unit() as db:
        db.add(User(username="after", username_key="after"))
        db.flush()
        began = time.monotonic()
        assert names(both_rt) == ["before"]
        assert time.monotonic() - began < 2


def test_times_come_back_as_they_went_in(both_rt: Runtime) -> None:
    ident = add(both_rt)
    for given in (
        datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(1970, 1, 1, tzinfo=UTC),
    ):
        with both_rt.unit() as db:
            user = db.get(User, ident)
            assert user is not None
            user.last_login_at = given
        with both_rt.unit(write=False) as db:
            user = db.get(User, ident)
            assert user is not None
            assert user.last_login_at == given
            assert user.last_login_at.tzinfo is UTC
            found = db.scalar(select(User.id).where(User.last_login_at <= given, User.last_login_at >= given))
            assert found == ident


def test_a_naive_time_is_refused(both_rt: Runtime) -> None:
    ident = add(both_rt)
    with pytest.raises(Exception, match="naive"), both_rt.unit() as db:
        user = db.get(User, ident)
        assert user is not None
        user.last_login_at = datetime(2026, 1, 1)


def test_the_databases_clock(both_rt: Runtime) -> None:
    with both_rt.unit(write=False) as db:
        first = float(db.scalar(select(db_now())) or 0)
        assert abs(first - time.time()) < 5
        time.sleep(0.02)
        assert float(db.scalar(select(db_now())) or 0) > first, "the clock, not the start of the transaction"


def test_foreign_keys_hold(both_rt: Runtime) -> None:
    from sqlalchemy.exc import IntegrityError

    with pytest.raises(IntegrityError), both_rt.unit() as db:
        db.execute(text("INSERT INTO refresh_tokens (id, family, user_id, token_hash, expires_at)"
                        " VALUES ('x', 'none', 'none', 'x', '2026-01-01')"))  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000Z"),
        (None, None),
    ],
)
def test_iso(value: datetime | None, expected: str | None) -> None:
    assert iso(value) == expected


def test_ids_are_version_seven_and_sort_by_time() -> None:
    made = [new_id() for _ in range(2000)]
    parsed = [uuid.UUID(one) for one in made]
    assert {one.version for one in parsed} == {7}
    assert {one.variant for one in parsed} == {uuid.RFC_4122}
    assert len(set(made)) == 2000
    later = [new_id() for _ in range(50) if not time.sleep(0.0001)]
    assert later == sorted(later)
    stamp = parsed[0].int >> 80
    assert abs(stamp / 1000 - utcnow().timestamp()) < 5

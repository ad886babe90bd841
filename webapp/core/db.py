"""Database: base class, types, engine, unit of work, `after_commit`.

Times that people see are timezone-aware UTC datetimes. Times that workers compare (leases, due times)
are seconds since 1970 by the DATABASE's clock (`db_now()`), so that a host with a wrong clock cannot
steal a task (reliability-security F14).
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, DateTime, Engine, MetaData, String, create_engine, event
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import Double, TypeDecorator

log = logging.getLogger(__name__)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases; a naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: use webapp.core.db.utcnow()")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


JsonType = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Id = String(36)


class db_now(FunctionElement[float]):
    """Seconds since 1970 by the database's clock, as a float."""

    type = Double()
    inherit_cache = True
    name = "db_now"


@compiles(db_now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    return NOW_SQL["sqlite"]


@compiles(db_now, "postgresql")
def _now_postgres(element: Any, compiler: Any, **kw: Any) -> str:
    return NOW_SQL["postgresql"]


class Numbers(TypeDecorator[list[int]]):
    """A list of integers as one value, for `among`."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return ARRAY(BigInteger) if dialect.name == "postgresql" else String()

    def process_bind_param(self, value: list[int] | None, dialect: Any) -> Any:
        return value if value is None or dialect.name == "postgresql" else json.dumps(value)


class among(FunctionElement[bool]):
    """`among(Chunk.id, bindparam("ids", type_=Numbers))`: one of the numbers, however many.

    A statement with a slot for each would be another one for each count of them, built and planned anew.
    """

    type = Boolean()
    inherit_cache = True
    name = "among"

    def self_group(self, against: Any = None) -> Any:
        return self  # a condition as it stands: "(...) = 1" would keep SQLite from its index


@compiles(among, "sqlite")
def _among_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    column, numbers = (compiler.process(one, **kw) for one in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({numbers}))"


@compiles(among, "postgresql")
def _among_postgres(element: Any, compiler: Any, **kw: Any) -> str:
    column, numbers = (compiler.process(one, **kw) for one in element.clauses)
    return f"{column} = ANY({numbers})"


# `db_now` in text, for the statements on the hot path that are written out.
NOW_SQL = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())::double precision",
}


def unindexed(column: Any) -> Any:
    """A text column as an expression: the planner has to come by another index than one of this column's.

    SQLite knows nothing of how rare a value is; left to itself it reads 100,000 finished tasks to find three others.
    """
    return column.concat("")


def utcnow() -> datetime:
    return datetime.now(UTC)


def iso(value: datetime | None) -> str | None:
    """ISO 8601 with `Z`, never `+00:00` (contract C46)."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if value else None


def new_id() -> str:
    """A UUID (version 7, RFC 9562): ids made later sort later, so primary keys stay dense.

    The 12 bits after the milliseconds are the fraction of one (method 3), not random: what is started first
    within a millisecond is claimed and listed in that order too.
    """
    ms, rest = divmod(time.time_ns(), 1_000_000)
    rand = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    value = (ms << 80) | (0x7 << 76) | ((rest * 4096 // 1_000_000) << 64) | (0b10 << 62) | rand
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def make_engine(url: str, *, pool_size: int = 10, synchronous: str = "NORMAL") -> Engine:
    """An engine with our rules: SQLite in WAL with immediate writers, Postgres with a bounded pool."""
    if url.startswith("sqlite"):
        connect_args = {"check_same_thread": False, "factory": _writers_connection()}
        # The connection used last still has the pages it read and wrote, and its statements; the others have to read anew
        # what it changed.
        engine = create_engine(url, connect_args=connect_args, pool_size=pool_size, max_overflow=40, pool_use_lifo=True)
        event.listen(engine, "connect", _sqlite_connect(synchronous))
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=5,
        pool_timeout=2,
        pool_pre_ping=False,
        pool_recycle=1800,
        pool_use_lifo=True,  # the connection used last has its statements prepared and its backend awake
        # prepare_threshold stays at the driver's default; statement_timeout keeps one bad query from pinning a worker;
        # compiling a search took Postgres longer than running it
        connect_args={"connect_timeout": 3, "options": "-c statement_timeout=15000 -c timezone=UTC -c jit=off"},
    )


def _sqlite_connect(synchronous: str) -> Callable[[Any, Any], None]:
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_SECONDS * 1000:.0f}",
            "journal_size_limit=67108864",
            "temp_store=MEMORY",
            f"mmap_size={MAPPED}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return connect


def _sqlite_begin(connection: Any) -> None:
    if connection.get_execution_options().get("readonly"):
        connection.exec_driver_sql("BEGIN")
        return
    connection.connection.dbapi_connection.wait_to_write()
    # A deferred transaction that reads and then writes fails at once with "locked" (measured: 65 %).
    connection.exec_driver_sql("BEGIN IMMEDIATE")


BUSY_SECONDS = 15.0
# Bytes of the file that are read where the kernel has them, for reading only: a commit of another connection throws a
# connection's own pages away, and a search reads thousands anew.
MAPPED = 2**30


LOG_BYTES = 16 * 2**20  # a write-ahead log that has grown beyond it is emptied
LOG_PATIENCE = 0.1  # seconds for which writers stand still for that, at the most


def _writers_connection() -> type[sqlite3.Connection]:
    """Connections whose writers wait for each other at a gate of this process, and empty the log that has grown.

    SQLite lets a waiting writer sleep up to 100 ms at a time and then try its luck: under 16 writers one in twenty
    waited 400 ms. Its own waiting remains for other processes on the same file, and it alone guards the data: two
    who pass the gate at once only wait longer.
    """
    gate, care = _Gate(), _LogCare()

    class Connection(sqlite3.Connection):
        inside = False

        def wait_to_write(self) -> None:
            if not gate.enter(self):
                raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError("database is locked"))
            self.inside = True

        def commit(self) -> None:
            super().commit()
            if self.inside:
                try:
                    care.look(self)
                finally:
                    self._leave()

        def rollback(self) -> None:
            try:
                super().rollback()
            finally:
                self._leave()

        def close(self) -> None:
            try:
                super().close()
            finally:
                self._leave()

        def _leave(self) -> None:
            if self.inside:
                gate.leave()
                self.inside = False

    return Connection


class _Gate:
    """A lock that is not lost when a signal (see WorkerHost) ends its holder between two steps of taking it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: weakref.ref[Any] | None = None

    def enter(self, who: Any) -> bool:
        deadline = time.monotonic() + BUSY_SECONDS
        while not self._lock.acquire(timeout=max(0.0, min(1.0, deadline - time.monotonic()))):
            if self._holder is None or self._holder() is None:
                break  # whoever shut it is gone
            if time.monotonic() >= deadline:
                return False
        self._holder = weakref.ref(who)
        return True

    def leave(self) -> None:
        self._holder = None
        try:
            self._lock.release()
        except RuntimeError:
            log.debug("the gate was opened for a holder that seemed gone")


class _LogCare:
    """Empties the write-ahead log between two writers, before it grows without end.

    SQLite starts its log from the front only when a writer comes at a moment without any reader. Under readers that
    follow each other closely there is no such moment (measured: 141 MB in 8 s). Here the writer who has just
    committed still holds the gate, so the readers of old pages leave within `LOG_PATIENCE`, new ones need no log, and
    it is cut off. A reader who stays longer is asked again, less and less often: writers do not pay for his stay.
    """

    EVERY, SELDOM = 0.25, 4.0  # seconds between two looks

    def __init__(self) -> None:
        self._pause, self._next = self.EVERY, 0.0
        self._path: str | None = None

    def look(self, connection: sqlite3.Connection) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._pause
        try:
            if self._size(connection) <= LOG_BYTES:
                return
            busy = self._empty(connection)
            self._pause = min(self.SELDOM, self._pause * 2) if busy else self.EVERY
            self._next = time.monotonic() + self._pause
        except (sqlite3.Error, OSError) as exc:
            log.warning("the write-ahead log was not emptied (%s)", exc)  # what was committed is safe in it

    def _size(self, connection: sqlite3.Connection) -> int:
        if self._path is None:
            self._path = f"{connection.execute('PRAGMA database_list').fetchone()[2]}-wal"
        return os.stat(self._path).st_size if os.path.exists(self._path) else 0

    @staticmethod
    def _empty(connection: sqlite3.Connection) -> bool:
        """True when a reader was in the way."""
        connection.execute(f"PRAGMA busy_timeout={LOG_PATIENCE * 1000:.0f}")
        try:
            return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        finally:
            connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000:.0f}")


@contextmanager
def driver_connection(engine: Engine) -> Iterator[Any]:
    """A pooled connection of the bare driver, for the few statements that are counted: SQLAlchemy is half their cost.

    One transaction on SQLite; on Postgres each statement is its own, so one round trip instead of three. Errors are
    SQLAlchemy's, and a broken connection takes the pool's others with it, as in any other use of the engine.
    """
    lent = engine.raw_connection()
    connection: Any = lent.dbapi_connection
    own_transactions = engine.dialect.name == "sqlite"
    try:
        if own_transactions:
            connection.wait_to_write()
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.commit()
        else:
            connection.autocommit = True
            yield connection
    except engine.dialect.loaded_dbapi.Error as exc:
        broken = engine.dialect.is_disconnect(exc, connection, None)
        if broken:
            engine.pool._invalidate(lent, exc)
        raise DBAPIError.instance(
            None, None, exc, engine.dialect.loaded_dbapi.Error, connection_invalidated=broken, dialect=engine.dialect
        ) from exc
    finally:
        if not own_transactions and lent.is_valid:
            _end_autocommit(lent)
        lent.close()  # rolls back what was not committed


def _end_autocommit(lent: Any) -> None:
    try:
        lent.dbapi_connection.autocommit = False
    except Exception:
        lent.invalidate()  # a signal cut a statement off in the middle


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine, expire_on_commit=False)


_READING: dict[str, dict[str, Any]] = {
    "sqlite": {"readonly": True},
    "postgresql": {"isolation_level": "AUTOCOMMIT"},
}


@contextmanager
def unit_of_work(sessions: sessionmaker[Session], *, write: bool = True) -> Iterator[Session]:
    """One transaction. Commits at the end, rolls back on any exception.

    Never hold it over a model call, a fetch or a stream. `write=False` takes no write lock on SQLite, and saves the
    round trips of BEGIN and COMMIT on Postgres, where each statement sees a moment of its own either way.
    """
    session = sessions()
    if not write:
        session.connection(execution_options=_READING[session.get_bind().dialect.name])
    try:
        yield session
        session.commit()
    except BaseException:
        session.rollback()
        session.info.pop("after_commit", None)
        raise
    finally:
        session.close()
    run_after_commit(session)


def after_commit(session: Session, action: Callable[[], Any]) -> None:
    """Run `action` once the surrounding unit has committed; on rollback never. It has no usable session."""
    session.info.setdefault("after_commit", []).append(action)


def run_after_commit(session: Session) -> None:
    for action in session.info.pop("after_commit", ()):
        try:
            action()
        except Exception:
            # The row is committed and the sweep will notice: a broker that is down must not become a 500.
            log.warning("after-commit action failed; the sweep repeats it", exc_info=True)

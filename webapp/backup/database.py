"""A copy of the database while it is used, and the way back, for SQLite and Postgres.

SQLite: the online backup in one step, which is one reader's snapshot: writers go on. Postgres: pg_dump of a snapshot that
this module holds, so that what it counts is what was dumped.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, inspect

from webapp.core.db import make_engine
from webapp.core.errors import Unavailable


@dataclass(frozen=True)
class Copied:
    """What the copy holds. revision: None for an empty database. uploads: ids of the files its rows speak of."""

    kind: str
    server: str
    revision: str | None
    rows: dict[str, int]
    uploads: list[str] = field(default_factory=list)


def kind_of(url: str | URL) -> str:
    return "sqlite" if str(url).startswith("sqlite") else "postgres"


def copy(engine: Engine, to: Path) -> Copied:
    """The database as of one moment into the file `to`."""
    return _copy_sqlite(engine, to) if kind_of(engine.url) == "sqlite" else _copy_postgres(engine, to)


# -- SQLite ----------------------------------------------------------------------------------------------------------


def _copy_sqlite(engine: Engine, to: Path) -> Copied:
    with closing(sqlite3.connect(to)) as target:
        with closing(sqlite3.connect(str(engine.url.database), timeout=30)) as source:
            source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        tables = [row[0] for row in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: _count(target, name) for name in sorted(tables) if not _is_index(name)}
        revision = (
            target.execute("SELECT version_num FROM alembic_version").fetchone()
            if "alembic_version" in tables
            else None
        )
        uploads = [row[0] for row in target.execute("SELECT id FROM uploads")] if "uploads" in tables else []
    os.chmod(to, 0o600)
    return Copied("sqlite", sqlite3.sqlite_version, revision[0] if revision else None, rows, uploads)


def _count(connection: Any, table: str) -> int:
    return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def count(connection: Connection, table: str) -> int:
    """Rows of a table whose name may come out of a backup's manifest."""
    name = table.replace('"', '""')
    return int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar() or 0)


def _is_index(name: str) -> bool:
    """Tables that follow from others."""
    return name.startswith(("sqlite_", "chunk_fts"))


def sound(path: Path) -> str:
    """What is wrong with a SQLite file; nothing when all is well."""
    try:
        with closing(sqlite3.connect(path)) as found:
            said = str(found.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as exc:
        return str(exc)
    return "" if said == "ok" else said


# -- Postgres --------------------------------------------------------------------------------------------------------


def _copy_postgres(engine: Engine, to: Path) -> Copied:
    program = tool("pg_dump", engine)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar()
        server = str(connection.exec_driver_sql("SHOW server_version").scalar())
        tables = [name for name in sorted(inspect(connection).get_table_names()) if not _is_index(name)]
        rows = {name: count(connection, name) for name in tables}
        has = set(tables)
        revision = (
            connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if "alembic_version" in has
            else None
        )
        uploads = [row[0] for row in connection.exec_driver_sql("SELECT id FROM uploads")] if "uploads" in has else []
        _run(engine, program, "--format=custom", "--compress=0", "--no-owner", "--no-privileges", f"--snapshot={snapshot}",
             f"--file={to}")  # fmt: skip
    os.chmod(to, 0o600)
    return Copied("postgres", server, revision, rows, uploads)


def put_back_postgres(engine: Engine, dump: Path, *, replace: bool) -> None:
    """Into an empty schema. replace: what is there is set aside first, and is back if this fails."""
    program = tool("pg_restore", engine)
    with engine.connect() as connection:
        schema = str(connection.exec_driver_sql("SELECT current_schema()").scalar())
    aside = f"before_restore_{uuid.uuid4().hex[:8]}"
    if replace:
        _do(engine, f'ALTER SCHEMA "{schema}" RENAME TO "{aside}"', f'CREATE SCHEMA "{schema}"')
    try:
        _run(
            engine,
            program,
            "--no-owner",
            "--no-privileges",
            "--exit-on-error",
            "--single-transaction",
            str(dump),
            database="--dbname",
        )
    except BaseException:
        if replace:
            _do(engine, f'DROP SCHEMA "{schema}" CASCADE', f'ALTER SCHEMA "{aside}" RENAME TO "{schema}"')
        raise
    if replace:
        _do(engine, f'DROP SCHEMA "{aside}" CASCADE')


def _do(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for statement in statements:
            connection.exec_driver_sql(statement)


def tool(name: str, engine: Engine) -> str:
    """A pg_dump or pg_restore that is new enough for the server. Raises Unavailable with how to get one."""
    with engine.connect().execution_options(readonly=True) as connection:
        wanted = int(connection.exec_driver_sql("SHOW server_version_num").scalar() or 0) // 10000
    here = [shutil.which(name), *sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)]
    for program in here:
        if program and _major(program) >= wanted:
            return program
    raise Unavailable(f"there is no {name} of version {wanted} or newer here, which Postgres {wanted} needs",
                      suggestion=f"Install postgresql-client-{wanted}, or run {name} beside the server (docs/operations.md).")  # fmt: skip


def _major(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+)(?:\.\d+)?", said)
    return int(found.group(1)) if found else 0


def _run(engine: Engine, program: str, *args: str, database: str = "--dbname") -> None:
    """The password goes by the environment: a command line can be read by everybody on the machine."""
    url = engine.url
    plain = url._replace(drivername="postgresql", password=None).render_as_string(hide_password=False)
    env = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    done = subprocess.run([program, f"{database}={plain}", *args], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{Path(program).name} failed: {' '.join(done.stderr.split())[:400]}")


# -- a copy to try things on -----------------------------------------------------------------------------------------


@contextmanager
def duplicate(engine: Engine, folder: Path) -> Iterator[Engine]:
    """The same database once more, for a moment; its own is not touched."""
    file = folder / "copy"
    copy(engine, file)
    if kind_of(engine.url) == "sqlite":
        made = make_engine(f"sqlite:///{file}")
        try:
            yield made
        finally:
            made.dispose()
        return
    name = f"brainstem_trial_{uuid.uuid4().hex[:8]}"
    _outside(engine, f'CREATE DATABASE "{name}" TEMPLATE template0')
    made = make_engine(engine.url.set(database=name).render_as_string(hide_password=False))
    try:
        _run(made, tool("pg_restore", made), "--no-owner", "--no-privileges", "--exit-on-error", str(file))
        yield made
    finally:
        made.dispose()
        _outside(engine, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _outside(engine: Engine, statement: str) -> None:
    from sqlalchemy.exc import ProgrammingError

    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql(statement)
            connection.exec_driver_sql("RESET statement_timeout")
    except ProgrammingError as exc:
        raise Unavailable(f"no copy can be made on this Postgres ({str(exc.orig).strip()[:200]})",
                          suggestion="Give its user CREATEDB, or try the upgrade where a backup was restored.") from None  # fmt: skip

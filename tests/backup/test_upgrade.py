"""From the first release's database to now: tried on a copy, killed on the way, whole in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, inspect

from tests.conftest import ROOT
from webapp.backup import database, trial
from webapp.core import migrate
from webapp.core.db import make_engine
from webapp.core.errors import AppError, Conflict

KILLED_BY_ITSELF = """
import os, signal, sys
from sqlalchemy import event
from webapp.core import migrate
from webapp.core.db import make_engine
engine, left = make_engine(sys.argv[1]), int(sys.argv[2])
def count(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(engine, "after_cursor_execute", count)
migrate.upgrade(engine)
"""


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def first_rows(engine: Engine) -> dict[str, Any]:
    """What people had, in the words of the first schema."""
    with engine.connect() as connection:
        return {
            "tasks": sorted(connection.exec_driver_sql("SELECT id, title, status, attempt FROM tasks WHERE kind = 'summary'").fetchall()),
            "events": sorted(connection.exec_driver_sql("SELECT task_id, seq, message FROM task_events").fetchall()),
            "users": sorted(connection.exec_driver_sql("SELECT id, username FROM users").fetchall()),
            "letters": connection.exec_driver_sql("SELECT id, error FROM dead_letters").fetchall(),
            "uploads": connection.exec_driver_sql("SELECT id, name FROM uploads").fetchall(),
        }  # fmt: skip


def plain(rows: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(row) for row in found] for name, found in rows.items()}


def test_the_rehearsal_says_what_would_run_and_changes_nothing(first: Engine, tmp_path: Path) -> None:
    before, rows = trial.shape(first), plain(first_rows(first))
    found = trial.rehearse(first, tmp_path)
    assert found.trouble == ""
    assert (found.current, found.head) == ("0001", migrate.head())
    assert [step.revision for step in found.steps] == migrate.revisions()[1:]
    assert all(step.seconds is not None and step.title for step in found.steps)
    assert "+ table conversations" in "\n".join(found.changes)
    assert any(line.startswith("+ column tasks.agent_id") for line in found.changes)
    assert migrate.current(first) == "0001"
    assert (trial.shape(first), plain(first_rows(first))) == (before, rows)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".trial-")]
    if first.dialect.name == "postgresql":
        with first.connect() as connection:
            left = connection.exec_driver_sql(
                "SELECT datname FROM pg_database WHERE datname LIKE 'brainstem_trial_%%'"
            ).fetchall()
        assert left == []


def test_what_people_had_is_there_after_the_upgrade(first: Engine) -> None:
    rows = plain(first_rows(first))
    promised = trial.due(first)
    migrate.upgrade(first)
    assert migrate.current(first) == promised.head
    assert plain(first_rows(first)) == rows
    assert migrate.differences(first) == []


def test_a_migration_that_would_fail_is_told(first: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = migrate.upgrade

    def breaks(engine: Engine, revision: str = "head") -> None:
        if revision == "0003":
            raise RuntimeError("the table is locked by a cat")
        real(engine, revision)

    monkeypatch.setattr(migrate, "upgrade", breaks)
    found = trial.rehearse(first, tmp_path)
    assert found.trouble == "0003 fails: the table is locked by a cat"
    assert [step.seconds is None for step in found.steps][:3] == [False, True, True]
    assert migrate.current(first) == "0001"


def test_one_of_later_is_refused(first: Engine, tmp_path: Path) -> None:
    with first.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Conflict, match="newer one"):
        trial.rehearse(first, tmp_path)


def test_killed_at_any_statement_it_is_run_again_to_the_same(first: Engine, tmp_path: Path) -> None:
    """F34, second half: SIGKILL after the n-th statement, for n over the whole way; then once more to the end."""
    rows, statements = plain(first_rows(first)), 0
    with database.duplicate(first, tmp_path) as whole:

        def count(*_: Any) -> None:
            nonlocal statements
            statements += 1

        event.listen(whole, "after_cursor_execute", count)
        migrate.upgrade(whole)
        wanted = trial.shape(whole)
    (tmp_path / "copy").unlink()
    assert statements > 100
    at = 0
    for part in (0.02, 0.3, 0.6, 0.9, 0.99):
        at = int(statements * part)
        done = subprocess.run([sys.executable, "-c", KILLED_BY_ITSELF, url_of(first), str(at)], cwd=ROOT, timeout=120,
                              env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)  # fmt: skip
        assert done.returncode in (-9, 0), done.stderr
        assert migrate.current(first) in migrate.revisions()
        assert {name: row for name, row in plain(first_rows(first)).items() if name != "tasks"} == {
            name: row for name, row in rows.items() if name != "tasks"
        }
    migrate.upgrade(first)
    assert trial.shape(first) == wanted
    assert migrate.differences(first) == []
    assert plain(first_rows(first)) == rows


def test_by_the_command_line(tmp_path: Path) -> None:
    import sqlite3

    from tests.backup.conftest import FIRST
    from tests.operations.test_doctor import brainstem

    home = tmp_path / "home"
    home.mkdir()
    with sqlite3.connect(home / "brainstem.db") as made:
        made.executescript(FIRST["sqlite"].read_text(encoding="utf-8"))
    made.close()
    kept = brainstem("backup", str(tmp_path / "before.tgz"), home=home)
    assert kept.returncode == 0, kept.stderr
    assert "at 0001" in kept.stdout
    done = brainstem("upgrade", "--dry-run", home=home)
    assert done.returncode == 0, done.stderr
    assert "from 0001 to" in done.stdout
    assert "It would work" in done.stdout
    found = json.loads(brainstem("upgrade", "--dry-run", "--json", home=home).stdout)
    assert found["current"] == "0001"
    engine = make_engine(f"sqlite:///{home / 'brainstem.db'}")
    assert migrate.current(engine) == "0001"
    assert brainstem("upgrade", home=home).returncode == 0
    assert migrate.current(engine) == migrate.head()
    assert inspect(engine).has_table("conversations")
    engine.dispose()
    back = brainstem("restore", str(tmp_path / "before.tgz"), home=tmp_path / "again")
    assert back.returncode == 0, back.stderr
    assert f"schema {migrate.head()}" in back.stdout


def test_a_user_who_may_make_no_database(first: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if first.dialect.name == "sqlite":
        pytest.skip("its copy is a file")
    real, seen = database._outside, list[str]()

    def may_not(engine: Engine, statement: str) -> None:
        seen.append(statement)
        real(engine, "CREATE DATABASE postgres")  # it is there already: refused as a forbidden one is

    monkeypatch.setattr(database, "_outside", may_not)
    with pytest.raises(AppError, match="no copy can be made"):
        trial.rehearse(first, tmp_path)
    assert seen

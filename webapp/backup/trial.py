"""Try the migrations that are due on a copy: which, how long, what changes. The database itself is only read."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, inspect

from webapp.backup import database
from webapp.core import migrate
from webapp.core.errors import AppError, Conflict, StorageFull


@dataclass(frozen=True)
class Step:
    revision: str
    title: str
    seconds: float | None = None


@dataclass
class Trial:
    """changes: lines such as `+ column tasks.agent_id`. rows: tables whose number of rows changed, before and after.
    trouble: why it would fail; empty when it would not."""

    current: str | None
    head: str
    steps: list[Step] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    copy_seconds: float = 0.0
    trouble: str = ""

    @property
    def seconds(self) -> float:
        return sum(step.seconds or 0.0 for step in self.steps)


def due(engine: Engine) -> Trial:
    """Which migrations would run. Raises Conflict for a database that a newer program has changed."""
    from alembic.script import ScriptDirectory

    current, known = migrate.current(engine), migrate.revisions()
    if current is not None and current not in known:
        raise Conflict(f"the database is at {current}, which this program does not know: a newer one has been here",
                       suggestion="Install that version again, or restore the backup from before.")  # fmt: skip
    script = ScriptDirectory.from_config(migrate.config())
    wanted = known[known.index(current) + 1 :] if current else known
    steps = [Step(one, (script.get_revision(one).doc or one).split("\n")[0]) for one in wanted]
    return Trial(current, migrate.head(), steps)


def rehearse(engine: Engine, folder: Path) -> Trial:
    """Run them on a copy in `folder` (SQLite) or in a database beside (Postgres)."""
    found = due(engine)
    if not found.steps or found.current is None:
        return found
    with tempfile.TemporaryDirectory(prefix=".trial-", dir=folder) as scratch:
        _need_room(engine, Path(scratch))
        began = time.monotonic()
        with database.duplicate(engine, Path(scratch)) as copy:
            found.copy_seconds = time.monotonic() - began
            before, rows = shape(copy), counts(copy)
            found.steps = [_timed(copy, step, found) for step in found.steps]
            if not found.trouble:
                found.changes = changes(before, shape(copy))
                after = counts(copy)
                found.rows = {
                    name: (rows.get(name, 0), number) for name, number in after.items() if rows.get(name, 0) != number
                }
                left = migrate.differences(copy)
                found.trouble = f"afterwards it is not what the program wants: {str(left[0])[:200]}" if left else ""
    return found


def _timed(copy: Engine, step: Step, found: Trial) -> Step:
    if found.trouble:
        return step
    began = time.monotonic()
    try:
        migrate.upgrade(copy, step.revision)
    except Exception as exc:
        reason = exc.message if isinstance(exc, AppError) else str(getattr(exc, "orig", exc)).strip()
        found.trouble = f"{step.revision} fails: {reason[:400]}"
        return step
    return Step(step.revision, step.title, time.monotonic() - began)


def _need_room(engine: Engine, folder: Path) -> None:
    if database.kind_of(engine.url) != "sqlite":
        return
    size = Path(str(engine.url.database)).stat().st_size
    if shutil.disk_usage(folder).free < 2 * size:
        raise StorageFull(f"a copy to try it on needs {2 * size / 2**20:.0f} MB beside the database")


Shape = dict[str, dict[str, str]]


def shape(engine: Engine) -> Shape:
    """table -> {`column x`: type, `index y`: columns}, of tables that are no index themselves."""
    look = inspect(engine)
    return {
        table: {
            **{
                f"column {one['name']}": f"{one['type']}{'' if one['nullable'] else ' NOT NULL'}"
                for one in look.get_columns(table)
            },
            **{
                f"index {one['name']}": ", ".join(str(name) for name in one["column_names"])
                for one in look.get_indexes(table)
            },
        }
        for table in look.get_table_names()
        if not table.startswith(("sqlite_", "chunk_fts_"))
    }


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect().execution_options(readonly=True) as connection:
        return {
            table: database.count(connection, table)
            for table in shape(engine) if table != "alembic_version"
        }  # fmt: skip


def changes(before: Shape, after: Shape) -> list[str]:
    found = [f"- table {name}" for name in sorted(set(before) - set(after))]
    for table in sorted(after):
        new = after[table]
        if table not in before:
            found.append(f"+ table {table} ({sum(name.startswith('column') for name in new)} columns)")
            continue
        old = before[table]
        for name in sorted(set(old) | set(new)):
            kind, _, own = name.partition(" ")
            where = f"{kind} {table}.{own}" if kind == "column" else f"{kind} {own} on {table}"
            if name not in new:
                found.append(f"- {where}")
            elif name not in old:
                found.append(f"+ {where}: {new[name]}")
            elif old[name] != new[name]:
                found.append(f"~ {where}: {old[name]} becomes {new[name]}")
    return found

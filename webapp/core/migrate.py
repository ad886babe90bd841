"""Bring a database to this version's schema. One Alembic history serves SQLite and Postgres."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, inspect

from webapp.core.db import Base
from webapp.core.optional import left_out

log = logging.getLogger(__name__)
FOLDER = Path(__file__).resolve().parents[2] / "migrations"
MODELS = (
    "webapp.core.models",
    "webapp.core.audit",
    "webapp.core.quotas",
    "webapp.core.stored",
    "webapp.identity.models",
    "webapp.tasks.models",
    "webapp.tasks.pauses",
    "webapp.task_templates.models",
    "webapp.files.models",
    "webapp.knowledge.models",
    "webapp.crawl.models",
    "webapp.engines.models",
    "webapp.agents.models",
    "webapp.chat.models",
    "webapp.feedback.models",
    "webapp.omeruta.models",
    "webapp.deliveries.models",
    "webapp.notifications.models",
    "webapp.webhooks.models",
)
KEYWORD_INDEX = "chunk_fts"  # FTS5 or a tsvector table: made by hand in its migration, followed by triggers
LOCK = 0x627261696E  # Postgres advisory lock: processes that start together migrate one after the other


def metadata() -> MetaData:
    for module in MODELS:
        import_module(module)
    return Base.metadata


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Run what is missing. Safe to call from many processes at once, and again after a kill."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({LOCK})")
            connection.commit()
        try:
            _run(connection, "upgrade", revision)
        finally:
            if connection.dialect.name == "postgresql":
                connection.rollback()
                connection.exec_driver_sql(f"SELECT pg_advisory_unlock({LOCK})")
                connection.commit()


def downgrade(engine: Engine, revision: str) -> None:
    with engine.connect() as connection:
        _run(connection, "downgrade", revision)


def current(engine: Engine) -> str | None:
    """The database's revision, None when it is empty."""
    if not inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect().execution_options(readonly=True) as connection:
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def head() -> str:
    _load()
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(config()).get_current_head())


def revisions() -> list[str]:
    """Every revision this program knows, the oldest first."""
    _load()
    from alembic.script import ScriptDirectory

    return [step.revision for step in ScriptDirectory.from_config(config()).walk_revisions()][::-1]


def differences(engine: Engine) -> list[Any]:
    """What models say and the database lacks, or the other way round; empty when they agree."""
    _load()
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": _is_ours})
        return list(compare_metadata(context, metadata()))


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    return not (kind == "table" and name is not None and name.startswith(KEYWORD_INDEX))


def _load() -> None:
    """Alembic paints error pages of its templates with Pygments if it is there, for 4 MB."""
    with left_out("pygments"):
        import_module("alembic.command")


def config() -> Any:
    _load()
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(FOLDER))
    made.set_main_option("path_separator", "os")
    return made


def _run(connection: Any, verb: str, revision: str) -> None:
    _load()
    from alembic import command

    made = config()
    made.attributes["connection"] = connection
    getattr(command, verb)(made, revision)
    connection.commit()

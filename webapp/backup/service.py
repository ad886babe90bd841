"""Backup and restore of a whole installation.

In the file: the database, uploads, the secret key, brainstem.env. Not in it: models (downloaded again), the vector index (made
again from the rows: a running server alone may read it, and a copy of a folder that is written would be worth nothing),
Redis (holds wake-ups only).
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

from webapp import __version__, runtime
from webapp.backup import archive, database
from webapp.backup.archive import Unusable
from webapp.core import migrate
from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import NOW_SQL, iso, make_engine, utcnow
from webapp.core.errors import BadRequest, Conflict
from webapp.health.service import lost_after
from webapp.runtime import Runtime
from webapp.settings import Settings

LEFT_OUT = {"models": "downloaded again", "vectors": "made again from the rows", "redis": "holds wake-ups only"}
Say = Callable[[str], None]


# -- backup ----------------------------------------------------------------------------------------------------------


def make(rt: Runtime, path: Path, *, secrets: bool = True, force: bool = False) -> dict[str, Any]:
    """Write the backup `path` while everything runs; its manifest. Raises Conflict when the file is there already."""
    if path.exists() and not force:
        raise Conflict(f"{path} is there already", suggestion="Choose another name, or --force.")
    if not path.parent.is_dir():
        raise BadRequest(f"there is no folder {path.parent}")
    home, began = rt.settings.home_dir, time.monotonic()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=home) as scratch, archive.written(path) as out:
        held = _Held(home / "files", Path(scratch) / "files")
        held.hold()  # before the database: what its rows speak of must not be deleted meanwhile
        file = Path(scratch) / "database"
        copied = database.copy(rt.engine, file)
        held.hold()
        out.add(f"database.{'sqlite' if copied.kind == 'sqlite' else 'pgdump'}", file)
        file.unlink()
        missing = [one for one in copied.uploads if not _add_upload(out, held, one)]
        if secrets:
            out.add_text("secret.key", rt.secret_key + "\n")
            if (home / "brainstem.env").is_file():
                out.add("brainstem.env", home / "brainstem.env")
        return out.close({
            "made_at": iso(utcnow()), "seconds": round(time.monotonic() - began, 3), "program": __version__,
            "python": platform.python_version(), "left_out": LEFT_OUT, "secrets": secrets, "missing_files": missing,
            "database": {"kind": copied.kind, "server": copied.server, "revision": copied.revision, "rows": copied.rows},
        })  # fmt: skip


def _add_upload(out: archive.Writer, held: _Held, name: str) -> bool:
    try:
        out.add(f"files/{name}", held.path(name))
    except (FileNotFoundError, ValueError):
        return False
    return True


class _Held:
    """Files under second names, so that who deletes them meanwhile takes only the first. Files are written once."""

    def __init__(self, folder: Path, held: Path) -> None:
        self.folder, self.held = folder, held

    def hold(self) -> None:
        self.held.mkdir(exist_ok=True)
        for one in self.folder.iterdir() if self.folder.is_dir() else ():
            with suppress(OSError):  # there already, gone already, or a disk that knows no second names
                os.link(one, self.held / one.name, follow_symlinks=False)

    def path(self, name: str) -> Path:
        return self.held / name if (self.held / name).exists() else self.folder / name


# -- restore ---------------------------------------------------------------------------------------------------------


@dataclass
class Restored:
    """notes: what the operator should know. reindex: the task that makes the vector index again, if there is one."""

    manifest: dict[str, Any]
    revision: str
    aside: Path | None = None
    reindex: str | None = None
    notes: list[str] = field(default_factory=list)


def restore(settings: Settings, path: Path, *, force: bool = False, say: Say = lambda text: None) -> Restored:
    """Put a backup into this place, which must be empty, or with `force` is set aside (SQLite, files) or replaced (Postgres).

    Nothing is changed before the whole file is unpacked and every checksum agrees. Raises Unusable, Conflict, StorageFull.
    """
    home = settings.home_dir
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = make_engine(runtime.database_url(settings))
    try:
        with _alone(settings), tempfile.TemporaryDirectory(prefix=".restore-", dir=home) as scratch:
            there = _what_is_there(settings, engine)
            if there and not force:
                raise Conflict(f"this place is not empty: {', '.join(there)}",
                               suggestion="Restore into an empty place, or with --force.")  # fmt: skip
            _nobody_works(settings, engine)
            say(f"unpacking {path}")
            manifest = archive.unpack(path, Path(scratch))
            _check(manifest, engine, Path(scratch))
            done = Restored(manifest, str(manifest["database"]["revision"]))
            _put_in_place(settings, engine, Path(scratch), done, bool(there))
            _compare_rows(engine, manifest)
            say(f"database of {manifest['made_at']} is back; bringing it to this version")
            migrate.upgrade(engine)
            done.revision = str(migrate.current(engine))
    finally:
        engine.dispose()
    _make_index_again(settings, done)
    return done


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """No server may use this home meanwhile (embedded)."""
    handle = os.open(settings.home_dir / "brainstem.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if database.kind_of(runtime.database_url(settings)) == "sqlite":
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"Brainstem runs with {settings.home_dir}: stop it first") from None
        yield
    finally:
        os.close(handle)


def _what_is_there(settings: Settings, engine: Engine) -> list[str]:
    home, found = settings.home_dir, []
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    looked = file is None or os.path.exists(file)  # opening a SQLite file makes it
    tables = [name for name in inspect(engine).get_table_names() if not name.startswith("sqlite_")] if looked else []
    if tables:
        found.append(f"a database with {len(tables)} tables")
    if (home / "files").is_dir() and any((home / "files").iterdir()):
        found.append("uploads")
    found += [f"a {name}" for name in ("secret.key", "chroma") if (home / name).exists()]
    return found


def _nobody_works(settings: Settings, engine: Engine) -> None:
    """In a deployment: workers that still beat would write into what is put back."""
    if engine.dialect.name == "sqlite" or not inspect(engine).has_table("workers"):
        return
    with engine.connect() as connection:
        alive = connection.execute(
            text(f"SELECT count(*) FROM workers WHERE beat_at > {NOW_SQL['postgresql']} - :silent"),
            {"silent": lost_after(settings)},
        ).scalar()
    if alive:
        raise Conflict(f"{alive} worker processes still run here: stop every process of Brainstem first")


def _check(manifest: dict[str, Any], engine: Engine, folder: Path) -> None:
    about = manifest["database"]
    kind = database.kind_of(engine.url)
    if about.get("kind") != kind:
        raise Unusable(f"the backup is of {about.get('kind')}, this place uses {kind}",
                       suggestion="Restore it where the same kind of database is set up (DATABASE_URL).")  # fmt: skip
    if about.get("revision") not in migrate.revisions():
        raise Unusable(f"its database is at {about.get('revision')}, which this program ({__version__}) does not know",
                       suggestion=f"Install Brainstem {manifest.get('program')} or newer.")  # fmt: skip
    if kind == "sqlite" and (wrong := database.sound(folder / "database.sqlite")):
        raise Unusable(f"the database in it is damaged: {wrong[:200]}")


def _put_in_place(settings: Settings, engine: Engine, folder: Path, done: Restored, replace: bool) -> None:
    home = settings.home_dir
    engine.dispose()
    if replace:
        done.aside = home / f"before-restore-{utcnow():%Y%m%d-%H%M%S}"
        done.aside.mkdir(mode=0o700)
    if engine.dialect.name == "sqlite":
        target = Path(str(engine.url.database))
        for ending in ("", "-wal", "-shm"):
            _aside(target.with_name(target.name + ending), done.aside)
            if ending:
                target.with_name(target.name + ending).unlink(
                    missing_ok=True
                )  # a log of another file must not be read into this one
        os.replace(folder / "database.sqlite", target)
    else:
        database.put_back_postgres(engine, folder / "database.pgdump", replace=replace)
    for name in ("files", "chroma"):  # the index belongs to the rows that were here
        _aside(home / name, done.aside)
    if (folder / "files").is_dir():
        os.replace(folder / "files", home / "files")
    _put_secrets(settings, folder, done)


def _put_secrets(settings: Settings, folder: Path, done: Restored) -> None:
    home, key = settings.home_dir, folder / "secret.key"
    if not key.exists():
        done.notes.append("The backup holds no secret: logins end, and what was sealed (keys of model servers, channels, webhooks) "
                          "can be read only with the SECRET_KEY of then.")  # fmt: skip
    elif settings.secret_key:
        if settings.secret_key != key.read_text(encoding="utf-8").strip():
            done.notes.append("SECRET_KEY here is not that of the backup: logins end, and what was sealed (keys of model servers, "
                              "channels, webhooks) cannot be read. Set it to the one in secret.key of the backup.")  # fmt: skip
    else:
        _aside(home / "secret.key", done.aside)
        os.replace(key, home / "secret.key")
    if (folder / "brainstem.env").exists():
        name = "brainstem.env" if not (home / "brainstem.env").exists() else "brainstem.env.restored"
        os.replace(folder / "brainstem.env", home / name)
        done.notes.append(f"Its settings are in {home / name}: see whether they fit this machine.")
    if done.manifest.get("missing_files"):
        done.notes.append(
            f"{len(done.manifest['missing_files'])} uploads were missing already when the backup was made."
        )


def _aside(path: Path, aside: Path | None) -> None:
    if path.exists() and aside is not None:
        shutil.move(str(path), aside / path.name)


def _compare_rows(engine: Engine, manifest: dict[str, Any]) -> None:
    with engine.connect().execution_options(readonly=True) as connection:
        for table, wanted in manifest["database"]["rows"].items():
            have = database.count(connection, table)
            if have != wanted:
                raise Unusable(f"{table} has {have} rows after the restore, the backup says {wanted}")


def _make_index_again(settings: Settings, done: Restored) -> None:
    """A task does it when the server runs; until then search answers from keywords."""
    from webapp.tasks import service as tasks

    rt = runtime.build(settings)
    try:
        with rt.unit() as db:
            if db.scalar(text("SELECT count(*) FROM collections")):
                done.reindex = str(
                    tasks.start(Ctx(rt, db, SYSTEM, request_id="restore"), "knowledge.reindex", {})["id"]
                )
    finally:
        rt.close()

"""Does everything this installation stands on work, and if not, what mends it? Changes nothing.

Each check is asked in a thread of its own with a limit, so that one frozen server costs `PATIENCE` seconds and no more,
and the others still answer.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from sqlalchemy import select

from webapp import __version__
from webapp.core import migrate
from webapp.core.context import SYSTEM, Ctx
from webapp.core.db import NOW_SQL
from webapp.core.errors import AppError
from webapp.core.vectors import IndexHeld, IndexTrouble
from webapp.embedding import service as embedding
from webapp.engines import service as engines
from webapp.health.service import LITTLE_DISK, LOW_DISK, disk_space, existing
from webapp.operations.service.base import admin, clock, words
from webapp.operations.service.queues import QueueRow, queues
from webapp.operations.service.workers import WorkerRow, workers
from webapp.runtime import Runtime, redis_facts
from webapp.tasks.models import Lease
from webapp.tasks.scheduler import LEASE

OK, WARN, BAD = "ok", "warn", "bad"
PATIENCE = 6.0  # seconds for one check
SLOW = 0.25  # seconds a trivial question may take
OFF, FAR_OFF = 2.0, 60.0  # seconds between two clocks: worth a line; tokens and schedules go wrong
CROWDED = 0.8  # of the connections a Postgres takes
LIBRARIES = ("flask", "sqlalchemy", "dramatiq", "redis", "psycopg", "chromadb", "onnxruntime")


@dataclass(frozen=True)
class Check:
    """One line. level: ok | warn | bad. mend: what to do, empty where nothing is to be done."""

    name: str
    level: str
    text: str
    mend: str = ""


def doctor(ctx: Ctx) -> list[Check]:
    """For administrators: see `examine`."""
    return examine(admin(ctx).rt)


def examine(rt: Runtime) -> list[Check]:
    """All checks, in the order in which one depends on another. Takes at most two times `PATIENCE`."""
    base = _ask({"database": lambda: _database(rt)})
    rest: dict[str, Callable[[], list[Check]]] = {
        "redis": lambda: _redis(rt),
        "vectors": lambda: _vectors(rt),
        "disk": lambda: _disk(rt),
        "versions": lambda: [_versions()],
        "embedder": lambda: [_embedder(rt)],
    }
    if all(check.level != BAD for check in base):
        rest |= {"schema": lambda: [_schema(rt)], "clock": lambda: _clocks(rt)}
    found = _ask(rest)
    schema = [check for check in found if check.name == "schema"]
    if schema and schema[0].level == OK:  # else the tables are not as this program knows them
        found += _ask({"models": lambda: [_engine(rt)], "workers": lambda: _workers(rt)})
    order = ["database", "schema", "redis", "vectors", "disk", "clock", "models", "embedder", "queues", "scheduler"]
    return sorted([*base, *found], key=lambda check: order.index(check.name) if check.name in order else len(order))


def worst(checks: Iterable[Check]) -> str:
    levels = {check.level for check in checks}
    return BAD if BAD in levels else WARN if WARN in levels else OK


def _ask(questions: dict[str, Callable[[], list[Check]]]) -> list[Check]:
    """All at once. What raises or does not answer in time is bad, and says so."""
    answers: dict[str, list[Check]] = {}

    def one(name: str, question: Callable[[], list[Check]]) -> None:
        try:
            answers[name] = question()
        except Exception as exc:
            reason = exc.message if isinstance(exc, AppError) else f"{type(exc).__name__}: {str(exc)[:200]}"
            answers[name] = [Check(name, BAD, f"could not be looked at: {reason}", "See the log of the program.")]

    threads = [threading.Thread(target=one, args=item, daemon=True, name="doctor") for item in questions.items()]
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no answer within {PATIENCE:g} s"
    return [
        check
        for name in questions
        for check in answers.get(name, [Check(name, BAD, late, "See whether it is overloaded or cut off.")])
    ]


# -- database --------------------------------------------------------------------------------------------------------


def _database(rt: Runtime) -> list[Check]:
    url, began = rt.engine.url, time.monotonic()
    try:
        with rt.engine.connect().execution_options(readonly=True) as connection:
            connection.exec_driver_sql("SELECT 1")
            seconds = time.monotonic() - began
            found = _sqlite(connection, url) if url.get_backend_name() == "sqlite" else _postgres(connection, url)
    except Exception as exc:
        reason = str(getattr(exc, "orig", exc)).strip().split("\n")[0][:200]
        mend = (f"See whether {url.database} can be read and written by this user."
                if url.get_backend_name() == "sqlite" else
                f"Start Postgres at {url.host}:{url.port or 5432}, or set DATABASE_URL right.")  # fmt: skip
        return [Check("database", BAD, f"does not answer ({reason})", mend)]
    if seconds > SLOW:
        found.append(Check("database", WARN, f"a question that takes a millisecond took {seconds:.1f} s",
                           "Look at the load of its machine and disk."))  # fmt: skip
    return found


def _sqlite(connection: Any, url: Any) -> list[Check]:
    version = connection.exec_driver_sql("SELECT sqlite_version()").scalar()
    size = os.path.getsize(url.database) if url.database and os.path.exists(url.database) else 0
    return [Check("database", OK, f"SQLite {version}, {_size(size)} in {url.database}")]


def _postgres(connection: Any, url: Any) -> list[Check]:
    version = connection.exec_driver_sql("SHOW server_version").scalar()
    taken = connection.exec_driver_sql(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    ).scalar()
    most = int(connection.exec_driver_sql("SHOW max_connections").scalar())
    size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar()
    found = [Check("database", OK, f"Postgres {version} at {url.host}:{url.port or 5432}, {_size(size)}, "
                                   f"{taken} of {most} connections taken")]  # fmt: skip
    if taken > most * CROWDED:
        found.append(Check("database", WARN, f"{taken} of {most} connections are taken",
                           "Raise max_connections, or lower BRAINSTEM_POOL_SIZE (docs/operations.md adds them up)."))  # fmt: skip
    if _autovacuum(connection) == "off":
        found.append(Check("database", WARN, "autovacuum is off: nothing counts what the tables hold, and searching gets slow",
                           "Turn it on in postgresql.conf, or run `ANALYZE` each night."))  # fmt: skip
    return found


def _autovacuum(connection: Any) -> str:
    return str(connection.exec_driver_sql("SHOW autovacuum").scalar())


def _schema(rt: Runtime) -> Check:
    have, want = migrate.current(rt.engine), migrate.head()
    if have == want:
        return Check("schema", OK, f"up to date ({have})")
    if have is None:
        return Check("schema", BAD, "the database is empty", "Run `brainstem migrate` (`brainstem up` does it too).")
    if have not in migrate.revisions():
        return Check("schema", BAD, f"at {have}, which this program does not know: a newer one has been here",
                     "Install that version again, or restore the backup from before.")  # fmt: skip
    return Check("schema", BAD, f"at {have}, this program wants {want}",
                 "`brainstem upgrade --dry-run` tries it on a copy; `brainstem migrate` does it.")  # fmt: skip


# -- what stands beside it -------------------------------------------------------------------------------------------


def _redis(rt: Runtime) -> list[Check]:
    if not rt.settings.redis_url:
        return [Check("redis", OK, "not used: messages stay inside the one process")]
    try:
        info = redis_facts(rt.settings)
    except Exception as exc:
        return [Check("redis", BAD, f"does not answer ({type(exc).__name__}); accepted tasks wait for it",
                      "Start it, or set REDIS_URL right. Nothing is lost meanwhile.")]  # fmt: skip
    found = [Check("redis", OK, f"Redis {info['version']}, {_size(info['used'])} used")]
    if info["policy"] != "noeviction":
        found.append(Check("redis", WARN, f"throws away what it likes when it is full ({info['policy']})",
                           "Set maxmemory-policy to noeviction: wake-ups must not vanish."))  # fmt: skip
    if info["most"] and info["used"] > 0.9 * info["most"]:
        found.append(
            Check("redis", WARN, f"{_size(info['used'])} of {_size(info['most'])} used", "Raise its maxmemory.")
        )
    return found


def _vectors(rt: Runtime) -> list[Check]:
    where = "Chroma server" if rt.roles else "Chroma folder"
    if rt.roles and not rt.settings.chroma_url:
        return [
            Check(
                "vectors",
                WARN,
                "no vector index: search answers from keywords only",
                "Start a Chroma server and set CHROMA_URL.",
            )
        ]
    if not rt.roles and not (rt.settings.home_dir / "chroma").exists():
        return [Check("vectors", OK, "not there yet: it is made with the first passage")]
    try:
        rt.vectors.ping()
    except IndexHeld:
        return [Check("vectors", OK, "the running server has it")]
    except IndexTrouble as exc:
        mend = (
            "Start Chroma, or set CHROMA_URL right. " if rt.roles else ""
        ) + "If it is damaged: `brainstem reindex`."
        return [Check("vectors", BAD, f"{where}: {exc.message} Search answers from keywords meanwhile.", mend)]
    return [Check("vectors", OK, f"{where} answers")]


def _disk(rt: Runtime) -> list[Check]:
    folder = existing(rt.settings.home_dir)
    if not os.access(folder, os.W_OK):
        return [Check("disk", BAD, f"{folder} cannot be written", "Give it to the user that runs Brainstem.")]
    free, whole = disk_space(rt)
    text = f"{_size(free)} of {_size(whole)} free in {folder}"
    mend = "Make room, or keep things for a shorter time: `brainstem retention preview days=14`."
    return [Check("disk", BAD if free < LOW_DISK else WARN if free < LITTLE_DISK else OK, text,
                  mend if free < LITTLE_DISK else "")]  # fmt: skip


def _clocks(rt: Runtime) -> list[Check]:
    found = [_clock("the database's", lambda: _database_time(rt))]
    if rt.settings.redis_url:
        try:
            found.append(_clock("Redis's", lambda: _redis_time(rt)))
        except Exception:
            found.append(Check("clock", WARN, "Redis did not tell its time", "See the line of Redis."))
    return found


def _clock(whose: str, read: Callable[[], float]) -> Check:
    began, before = time.monotonic(), time.time()
    theirs = read()
    took = time.monotonic() - began
    off = theirs - (before + took / 2)
    doubt = took / 2
    if abs(off) <= OFF + doubt:
        return Check("clock", OK, f"{whose} clock agrees with this machine's")
    return Check("clock", BAD if abs(off) > FAR_OFF else WARN, f"{whose} clock is {abs(off):.0f} s {'before' if off > 0 else 'behind'} this machine's",
                 "Let every machine follow the same time server (chrony, systemd-timesyncd). Leases go by the database's clock,"
                 " tokens and what people see by this machine's.")  # fmt: skip


def _database_time(rt: Runtime) -> float:
    with rt.engine.connect().execution_options(readonly=True) as connection:
        return float(connection.exec_driver_sql(f"SELECT {NOW_SQL[connection.dialect.name]}").scalar() or 0.0)


def _redis_time(rt: Runtime) -> float:
    return float(redis_facts(rt.settings)["time"])


# -- models ----------------------------------------------------------------------------------------------------------


def _engine(rt: Runtime) -> Check:
    known = {one.id: one for one in engines.available(rt)}
    writers = [one for one in known.values() if one.available and "text" in one.capabilities]
    chosen = engines.defaults_for(rt, "")
    if chosen and not any(one.id == chosen[0] for one in writers):
        one = known.get(chosen[0])
        why = (one.missing if one else None) or "it is not there"
        instead = f"{writers[0].id} is used instead" if writers else "answers are sentences of the sources meanwhile"
        mend = (
            one.suggestion if one else None
        ) or "Choose another one on the models page, or pull it: `brainstem models pull`."
        return Check("models", WARN, f"the default {chosen[0]} cannot be used ({why.rstrip('.')}); {instead}", mend)
    if writers:
        return Check("models", OK, f"{(chosen or [writers[0].id])[0]} writes; {len(writers)} usable in all")
    broken = next((one for one in known.values() if not one.available), None)
    if broken is not None:
        return Check("models", WARN, f"{broken.id}: {broken.missing}", broken.suggestion or "See the models page.")
    return Check(
        "models",
        OK,
        "no language model is set up: answers are sentences of the sources (`brainstem models pull` adds one)",
    )


def _embedder(rt: Runtime) -> Check:
    name = embedding.default(rt)
    found = embedding.info(rt, name)
    if found.available and name.startswith("openai:"):  # of a server only a question tells
        try:
            embedding.embed(rt, name, ["Does it answer?"])
        except AppError as exc:
            return Check(
                "embedder",
                BAD,
                f"{name}: {exc.message}",
                exc.suggestion or "See whether its server runs and its address is allowed.",
            )
    if found.available:
        size = f", {found.dimension} dimensions" if found.dimension else ""
        return Check("embedder", OK, f"{name}{size}")
    return Check("embedder", BAD, f"{name} cannot be used: {found.missing} Search answers from keywords only.",
                 found.suggestion or "Choose another one with BRAINSTEM_EMBEDDER.")  # fmt: skip


# -- workers ---------------------------------------------------------------------------------------------------------


def _workers(rt: Runtime) -> list[Check]:
    with rt.unit(write=False) as db:
        ctx = Ctx(rt, db, SYSTEM)
        processes = workers(ctx)
        return [*_queues(rt, queues(ctx, processes), processes), _scheduler(ctx, processes)]


def _queues(rt: Runtime, rows: list[QueueRow], processes: list[WorkerRow]) -> list[Check]:
    alive = [one for one in processes if one.state != "lost"]
    waiting = sum(row.waiting for row in rows)
    if not alive:
        mend = (
            "`brainstem up` starts it." if not rt.roles else "`brainstem worker ROLE` for each role, or `brainstem up`."
        )
        return [Check("queues", BAD, f"no worker runs; {waiting:,} tasks wait", mend)]
    without = [row for row in rows if not row.workers]
    if without:
        names = ", ".join(f"{row.name} ({row.waiting:,} wait)" for row in without)
        roles = " ".join(sorted({row.roles[0] for row in without}))
        return [
            Check(
                "queues",
                BAD,
                f"no worker for {names}",
                f"Start one: `brainstem worker {roles}`." if rt.roles else "Start Brainstem again.",
            )
        ]
    paused = [row.name for row in rows if row.paused]
    text = f"{len(alive)} worker{'s' if len(alive) != 1 else ''} {'serve' if len(alive) != 1 else 'serves'} all {len(rows)} queues; {waiting:,} tasks wait"
    if paused:
        return [
            Check(
                "queues",
                WARN,
                f"{', '.join(paused)} paused; {text}",
                f"`brainstem ops resume {paused[0]}` lets it go on.",
            )
        ]
    return [Check("queues", OK, text)]


def _scheduler(ctx: Ctx, processes: list[WorkerRow]) -> Check:
    if not ctx.rt.roles:
        leads = any(one.state != "lost" for one in processes)
        return Check("scheduler", OK if leads else BAD, "the one process leads" if leads else "nobody leads",
                     "" if leads else "`brainstem up` starts it.")  # fmt: skip
    row = ctx.db.execute(select(Lease.holder, Lease.until).where(Lease.name == LEASE)).first()
    left = row.until - clock(ctx) if row is not None else 0.0
    if left <= 0:
        since = f" since {words(-left)}" if row is not None else ""
        return Check("scheduler", BAD, f"nobody leads{since}: lost tasks are not brought back, schedules do not start",
                     "`brainstem scheduler` starts one.")  # fmt: skip
    return Check(
        "scheduler", OK, f"{row.holder[:8] if row else ''} leads, for another {left:.0f} s unless it says so again"
    )


# -- versions --------------------------------------------------------------------------------------------------------


def _versions() -> Check:
    have = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    text = (
        f"Brainstem {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}; {have}"
    )
    unmet = _unmet()
    if unmet:
        return Check("versions", BAD, f"{text}. Not as the program asks for: {', '.join(unmet)}",
                     "Install what requirements.lock names: `make install`.")  # fmt: skip
    return Check("versions", OK, text)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _unmet() -> list[str]:
    """Requirements of the installed program that the environment does not fulfil."""
    try:
        from packaging.requirements import Requirement

        wanted = [Requirement(line) for line in metadata.requires("brainstem") or ()]
    except (ImportError, metadata.PackageNotFoundError):
        return []  # run from a folder that was not installed
    due = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [
        f"{one.name} {_version(one.name)} ({one.specifier})"
        for one in due
        if _version(one.name) == "missing" or not one.specifier.contains(_version(one.name), prereleases=True)
    ]


def _size(count: float) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1024
        del units[0]
    return f"{count:.0f} {units[0]}" if count >= 100 or units[0] == "B" else f"{count:.1f} {units[0]}"

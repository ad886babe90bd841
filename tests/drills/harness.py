"""What drills stand on: real processes, faults, waiting for conditions, and the invariants checked after each.

A `Stack` is a running installation: `Embedded` (one process) or `Cluster` (Postgres, a Redis of its own, web, live,
workers, scheduler as processes). Drills start work through HTTP, hurt the stack, and look at rows and events.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scripts.processes import Keeper, Process  # noqa: E402
from tests.conftest import PG, Server, free_port, missing  # noqa: E402
from tests.drills.kinds import PLUGINS  # noqa: E402
from webapp import settings as settings_module  # noqa: E402
from webapp.core.db import NOW_SQL, make_engine  # noqa: E402
from webapp.tasks import store  # noqa: E402
from webapp.tasks.models import FINAL  # noqa: E402

FULL = os.environ.get("DRILL_FULL", "") not in ("", "0")
SEED = int(os.environ.get("DRILL_SEED") or random.SystemRandom().randrange(1, 10**9))
REPORT = os.environ.get("DRILL_REPORT")
REPORT_ONLY = os.environ.get("DRILL_FIGURES") == "report" and not FULL


def scaled(full: int, small: int) -> int:
    """The number of the table in a full run, a small one otherwise."""
    return full if FULL else small


@dataclass(frozen=True)
class Pace:
    """The clockwork of a stack. Figures of the table are formulas over it."""

    lease: float
    beat: float
    sweep: float
    grace: float

    @property
    def env(self) -> dict[str, str]:
        return {
            "BRAINSTEM_LEASE_SECONDS": str(self.lease),
            "BRAINSTEM_BEAT_SECONDS": str(self.beat),
            "BRAINSTEM_SWEEP_SECONDS": str(self.sweep),
            "BRAINSTEM_GRACE_SECONDS": str(self.grace),
        }

    @property
    def takeover(self) -> float:
        """Until a lost task is started again, at the most: LEASE + 3 x SWEEP (45 s with the defaults)."""
        return self.lease + 3 * self.sweep


DEFAULTS = Pace(30.0, 10.0, 5.0, 25.0)  # of the product
QUICK = Pace(3.0, 1.0, 0.5, 4.0)


# -- waiting ---------------------------------------------------------------------------------------------------------


def until(condition: Callable[[], Any], seconds: float, what: str, *, every: float = 0.03) -> float:
    """Poll until `condition()` is true; how long that took. Fails with `what` after `seconds`."""
    began = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)


class FigureMissed(UserWarning):
    """A figure that a run was only asked to report."""


def within(measured: float, figure: float, what: str) -> None:
    """Assert a figure. A short run that misses it asks how slow the machine is right now; a full run does not.

    With DRILL_FIGURES=report a miss is a warning: on a machine of somebody else's, seconds prove nothing, and what a
    drill is about (nothing lost, nothing doubled) is asserted beside them.
    """
    if measured <= figure:
        return
    if REPORT_ONLY:
        warnings.warn(f"{what}: {measured:.3f}, asked for {figure:g}", FigureMissed, stacklevel=2)
        return
    factor = 1.0 if FULL else machine_factor()
    print(f"\n[{what}] {measured:.2f} is beyond {figure:.2f}; this machine is {factor:.1f} times as slow as a calm one")
    assert measured <= figure * factor, f"{what}: {measured:.3f}, allowed {figure:g} (x{factor:.1f} for a busy machine)"


def machine_factor() -> float:
    """How much longer than on two calm cores it takes to start a process of ours; 1 to 4."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import webapp.serve"], env=clean_env(), cwd=ROOT, check=True, timeout=60)
    return min(4.0, max(1.0, (time.monotonic() - began) / 1.3))


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def tell(drill: str, mode: str, **figures: Any) -> None:
    """Print what was measured, with the seed; also a line of JSON into the file DRILL_REPORT."""
    shown = {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}
    row = {"drill": drill, "mode": mode, "full": FULL, "seed": SEED, **shown}
    print(f"\n[{drill} {mode}{' full' if FULL else ''}] seed={SEED} " + " ".join(f"{k}={v}" for k, v in shown.items()))
    if REPORT:
        with open(REPORT, "a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


# -- processes -------------------------------------------------------------------------------------------------------


def clean_env(**more: str) -> dict[str, str]:
    known = {name for option in settings_module.OPTIONS for name in option.env}
    return {**{k: v for k, v in os.environ.items() if k not in known}, "PYTHONPATH": str(ROOT), **more}


class Redis:
    """A Redis server of a drill's own, without persistence."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("redis-server") is None:
            missing("redis-server")
        self.port, self.folder = free_port(), folder
        self.popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        import redis

        return redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)

    def start(self) -> Redis:
        with (self.folder / "redis.log").open("ab") as out:
            self.popen = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", str(self.folder)],
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        until(self.answers, 10, "redis-server answers")
        return self

    def answers(self) -> bool:
        import redis

        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        if self.popen is not None:
            self.signal(signal.SIGCONT)
            self.popen.kill()
            self.popen.wait()

    def signal(self, number: int) -> None:
        assert self.popen is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.popen.pid, number)


class Postgres:
    """A Postgres server of a drill's own, for drills that stop it or fill it."""

    def __init__(self, folder: Path, *, wal: Path | None = None, **options: str) -> None:
        """wal: its log lies there and not with the tables."""
        self.bin = _postgres_bin()
        self.folder, self.port = folder / "pg", free_port()
        self.user = "postgres" if os.getuid() == 0 else None
        self.folder.mkdir(parents=True)
        if self.user:
            for one in (self.folder, *((wal,) if wal else ())):
                shutil.chown(one, self.user)
            for parent in self.folder.parents:  # pytest keeps its folders to itself
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        self._run("initdb", "-D", str(self.folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                  *(("--waldir", str(wal)) if wal else ()))  # fmt: skip
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "",
                    "fsync": "off", "shared_buffers": "32MB", "max_connections": "60", **options}  # fmt: skip
        with (self.folder / "postgresql.conf").open("a") as out:
            out.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _run(self, program: str, *args: str) -> None:
        done = subprocess.run([str(self.bin / program), *args], user=self.user, cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, f"{program}: {done.stdout[-500:]}{done.stderr[-1500:]}"

    def start(self) -> Postgres:
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-t", "30", "-l", str(self.folder / "log"), "start")
        return self

    def stop(self, how: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder), "-w", "-t", "30", "-m", how, "stop")

    def restart(self, how: str = "fast") -> None:
        self._run(
            "pg_ctl", "-D", str(self.folder), "-w", "-t", "30", "-m", how, "-l", str(self.folder / "log"), "restart"
        )

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}"


def _postgres_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    which = shutil.which("initdb")
    if which is None:
        missing("initdb (a Postgres server of the drill's own)")
    return Path(str(which)).resolve().parent


# -- a running installation ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Execution:
    """One line of DRILL_LOG: a unit of work was begun."""

    task_id: str
    what: str
    attempt: int
    fence: int
    pid: int
    at: float


class Stack:
    """What drills do to and ask of a running installation, whichever mode."""

    mode = ""

    def __init__(self, folder: Path, pace: Pace, env: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.pace = folder, pace
        self.executions_file = folder / "executions.log"
        self.home = folder / "home"
        self.env = {
            "BRAINSTEM_PLUGINS": PLUGINS,
            "BRAINSTEM_RATE_LIMIT": "1000000/minute",
            "BRAINSTEM_WS_PER_USER": "1000",
            "BRAINSTEM_HOME": str(self.home),
            "BRAINSTEM_DEMO": "0",
            "DRILL_LOG": str(self.executions_file),
            **pace.env,
            **(env or {}),
        }
        self.engine: Any = None
        self.url = ""
        self.headers: dict[str, str] = {}  # of requests, where somebody has to be logged in
        self._local = threading.local()

    # what the modes do differently

    def start(self) -> Stack:
        raise NotImplementedError

    def heal(self) -> None:
        """Everything runs again after a drill."""

    def close(self) -> None:
        raise NotImplementedError

    def worker_pids(self) -> list[int]:
        """Processes that run tasks now."""
        raise NotImplementedError

    def wait_workers(self) -> None:
        """Until every worker process works."""
        raise NotImplementedError

    def logs(self) -> str:
        raise NotImplementedError

    @property
    def live_url(self) -> str:
        return self.url

    # asking by HTTP

    @property
    def http(self) -> requests.Session:
        if not hasattr(self._local, "http"):
            self._local.http = requests.Session()
            self._local.http.trust_env = False
            self._local.http.headers.update(self.headers)
        session: requests.Session = self._local.http
        return session

    def post(self, path: str, body: dict[str, Any] | None = None, timeout: float = 30.0) -> requests.Response:
        return self.http.post(self.url + path, json=body or {}, timeout=timeout)

    def run(self, kind: str, config: dict[str, Any] | None = None, **more: Any) -> str:
        """Start a task by the API; its id."""
        answer = self.post(
            "/api/v1/utils/ai-tasks/",
            {"title": kind, "task_type": f"drill_{kind}", "task_config": config or {}, **more},
        )
        assert answer.status_code == 201, f"{answer.status_code}: {answer.text[:300]}"
        return str(answer.json()["id"])

    def run_many(self, count: int, kind: str, config: dict[str, Any] | None = None, **more: Any) -> list[str]:
        return [self.run(kind, config, **more) for _ in range(count)]

    def cancel(self, task_id: str) -> int:
        return self.post(f"/api/v1/utils/ai-tasks/{task_id}/cancel/").status_code

    def retry(self, task_id: str) -> int:
        return self.post(f"/api/v1/utils/ai-tasks/{task_id}/retry/").status_code

    # looking at rows

    def sql(self, text: str, **params: Any) -> list[dict[str, Any]]:
        with self.engine.connect().execution_options(readonly=True) as connection:
            cursor = store.run_sql(connection, text, params)
            rows = [dict(row._mapping) for row in cursor.fetchall()]
            connection.rollback()
            return rows

    def execute(self, text: str, **params: Any) -> None:
        with self.engine.begin() as connection:
            store.run_sql(connection, text, params)

    def rows(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        wanted = list(ids)
        for start in range(0, len(wanted), 400):
            some = ", ".join(f"'{one}'" for one in wanted[start : start + 400])
            for row in self.sql(
                "SELECT id, kind, status, attempt, crashes, fence, seq, lease_until, due_at, error_code, error, progress,"
                f" message, parent_id, cancel_requested, checkpoint, result FROM tasks WHERE id IN ({some})"
            ):
                found[row["id"]] = row
        return found

    def row(self, task_id: str) -> dict[str, Any]:
        return self.rows([task_id])[task_id]

    def beating(self) -> list[int]:
        return [row["pid"] for row in self.sql("SELECT pid FROM workers")]

    def status(self, task_id: str) -> str:
        return str(self.row(task_id)["status"])

    def events(self, ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        wanted = list(ids)
        for start in range(0, len(wanted), 400):
            some = ", ".join(f"'{one}'" for one in wanted[start : start + 400])
            for row in self.sql(
                "SELECT task_id, seq, type, status, message, data FROM task_events"
                f" WHERE task_id IN ({some}) ORDER BY task_id, seq"
            ):
                found[row["task_id"]].append(row)
        return found

    def claims(self, ids: Iterable[str]) -> dict[str, list[float]]:
        """task -> wall times at which a worker took it."""
        found: dict[str, list[float]] = defaultdict(list)
        for task_id in set(ids):
            for row in self.sql(
                "SELECT at FROM task_events WHERE task_id = :id AND message = 'Started' ORDER BY seq", id=task_id
            ):
                at = row["at"]
                at = datetime.fromisoformat(at).replace(tzinfo=UTC) if isinstance(at, str) else at
                found[task_id].append(at.timestamp())
        return found

    def final(self, ids: Iterable[str]) -> bool:
        rows = self.rows(ids)
        return all(row["status"] in FINAL for row in rows.values()) and len(rows) == len(set(ids))

    def wait_final(self, ids: Iterable[str], seconds: float) -> float:
        wanted = list(ids)
        try:
            return until(lambda: self.final(wanted), seconds, f"{len(wanted)} tasks are final", every=0.1)
        except AssertionError:
            left = [row for row in self.rows(wanted).values() if row["status"] not in FINAL]
            brief = [{k: row[k] for k in ("id", "kind", "status", "attempt", "crashes", "message")} for row in left[:5]]
            raise AssertionError(f"not final within {seconds:g} s: {len(left)} tasks, such as {brief}") from None

    def wait_status(self, task_id: str, status: str, seconds: float = 15.0) -> float:
        return until(lambda: self.status(task_id) == status, seconds, f"{task_id} is {status}")

    def executions(self, ids: Iterable[str] | None = None) -> list[Execution]:
        """What runners really began, in order."""
        if not self.executions_file.exists():
            return []
        wanted = None if ids is None else set(ids)
        lines = []
        whole = self.executions_file.read_text().rpartition("\n")[0]  # a line is seen half written at a page's end
        for line in whole.splitlines():
            task_id, what, attempt, fence, pid, at = line.split()
            if wanted is None or task_id in wanted:
                lines.append(Execution(task_id, what, int(attempt), int(fence), int(pid), float(at)))
        return lines

    def effects(self, ids: Iterable[str]) -> Counter[str]:
        """task -> how many effects it had (the table's key makes each unique)."""
        wanted = set(ids)
        rows = self.sql("SELECT task_id, count(*) AS n FROM drill_effects GROUP BY task_id")
        return Counter({row["task_id"]: row["n"] for row in rows if row["task_id"] in wanted})

    def prepare_database(self) -> None:
        self.execute("CREATE TABLE IF NOT EXISTS drill_effects (task_id VARCHAR(36), step VARCHAR(100),"
                     " PRIMARY KEY (task_id, step))")  # fmt: skip

    # inside: what the API cannot do as fast

    def runtime(self) -> Any:
        """A runtime in this process over the stack's database and Redis."""
        from webapp import runtime

        env = {name: value for name, value in self.env.items() if not name.startswith("DRILL")}
        return runtime.build(settings_module.load(env))

    def store_many(self, count: int, kind: str, config: dict[str, Any] | None = None, **more: Any) -> list[str]:
        """Accept tasks as a web process would that died before it sent any wake-up: rows only."""
        from webapp.core.context import Actor, Ctx
        from webapp.identity import service as identity
        from webapp.tasks import service
        from webapp.tasks.kinds import kinds

        kinds.add_setting(tuple(PLUGINS.split(",")))
        rt = self.runtime()
        try:
            owner, name = identity.local_account(rt)
            ids = []
            for start in range(0, count, 100):
                with rt.unit() as db:
                    ctx = Ctx(rt, db, Actor(owner, name, is_admin=True, via="session"))
                    for _ in range(min(100, count - start)):
                        ids.append(str(service.start(ctx, f"drill_{kind}", config or {}, **more)["id"]))
                    db.info.pop("after_commit", None)
            return ids
        finally:
            rt.close()

    # -- invariants --------------------------------------------------------------------------------------------------

    def overdue_lease(self) -> float:
        """Seconds by which the oldest lease of a running row is over; 0 when none is."""
        now = NOW_SQL[self.engine.dialect.name]
        found = self.sql(f"SELECT {now} - min(lease_until) AS late FROM tasks WHERE status = 'running'")[0]["late"]
        return max(0.0, found or 0.0)

    @contextlib.contextmanager
    def watching(self) -> Iterator[list[float]]:
        """Watch, while a fault lasts, that no running row keeps a lease that ended long ago."""
        stop, worst = threading.Event(), [0.0]

        def look() -> None:
            while not stop.wait(0.25):
                with contextlib.suppress(Exception):
                    worst[0] = max(worst[0], self.overdue_lease())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield worst
        finally:
            stop.set()
            thread.join(5)
        limit = self.pace.lease + self.pace.sweep
        within(worst[0], limit, "a row was running with a lease over")

    def check(self, ids: Iterable[str], *, patience: float = 60.0) -> dict[str, dict[str, Any]]:
        """The global invariants of every drill, for these tasks and their descendants; the rows."""
        wanted = self._with_descendants(list(ids))
        self.wait_final(wanted, patience)
        rows, events = self.rows(wanted), self.events(wanted)
        assert set(rows) == set(wanted), f"{len(set(wanted) - set(rows))} accepted tasks are gone"
        for task_id, row in rows.items():
            _check_events(row, events[task_id])
        assert self.overdue_lease() <= self.pace.lease + self.pace.sweep
        self._check_files()
        return rows

    def _with_descendants(self, ids: list[str]) -> list[str]:
        found, level = list(dict.fromkeys(ids)), ids
        while level:
            parents = ", ".join(f"'{one}'" for one in level[:900])
            level = [row["id"] for row in self.sql(f"SELECT id FROM tasks WHERE parent_id IN ({parents})")]
            found += level
        return found

    def _check_files(self) -> None:
        folder = self.home / "files"
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        rows = {row["id"] for row in self.sql("SELECT id FROM uploads")}
        assert names <= rows, f"orphan files: {sorted(names - rows)[:5]}"


def _check_events(row: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """seq is 1..n; each run (a manual retry starts another) ends with exactly one terminal event, its last."""
    where = f"task {row['id']} ({row['kind']}, {row['status']})"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), f"{where}: seq has gaps or repeats"
    assert row["seq"] == len(events), f"{where}: the row says {row['seq']} events, there are {len(events)}"
    runs: list[list[dict[str, Any]]] = [[]]
    for event in events:
        if event["type"] == "status" and event["message"] == "Queued again":
            runs.append([])
        runs[-1].append(event)
    for run in runs:
        terminal = [e for e in run if e["status"] in FINAL and e["type"] in ("result", "error", "status")]
        assert len(terminal) == 1, (
            f"{where}: {len(terminal)} terminal events in a run: {[e['message'] for e in terminal]}"
        )
        assert run[-1] is terminal[0], f"{where}: events after the end: {run[-1]}"
    assert runs[-1][-1]["status"] == row["status"], f"{where}: the last event says {runs[-1][-1]['status']}"


class Embedded(Stack):
    """`brainstem up`, one process with everything (gunicorn's arbiter beside it)."""

    mode = "embedded"

    def __init__(self, folder: Path, pace: Pace, blank: Path, env: dict[str, str] | None = None) -> None:
        super().__init__(folder, pace, env)
        self.home.mkdir(mode=0o700)
        shutil.copy(blank, self.home / "brainstem.db")
        self.engine = make_engine(f"sqlite:///{self.home / 'brainstem.db'}", pool_size=5)
        self.prepare_database()
        self.server = Server(self.home, self.env)
        self.url = self.server.url
        self.start_seconds = 0.0

    def start(self) -> Embedded:
        began = time.monotonic()
        self.server.start()
        self.start_seconds = time.monotonic() - began
        return self

    def worker_pids(self) -> list[int]:
        """gunicorn's one worker process: it serves pages and runs tasks."""
        assert self.server.process is not None
        try:
            children = psutil.Process(self.server.process.pid).children()
        except psutil.NoSuchProcess:
            return []
        return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]

    def wait_workers(self) -> None:
        until(lambda: set(self.worker_pids()) & set(self.beating()), 60, "the process works again")

    def heal(self) -> None:
        for pid in self.worker_pids():
            os.kill(pid, signal.SIGCONT)
        if self.server.process is None or self.server.process.poll() is not None:
            self.server.start()
        self.server.wait()

    def kill_all(self) -> None:
        """The whole installation at once: arbiter and worker."""
        self.server.kill()

    def logs(self) -> str:
        return self.server.log.read_text(errors="replace")

    def close(self) -> None:
        self.server.kill()
        self.engine.dispose()


class Cluster(Stack):
    """A deployment: processes of their own over a database and a Redis of this stack's own."""

    mode = "distributed"
    postgres: Any = None  # a server that a drill may restart

    def __init__(
        self,
        folder: Path,
        pace: Pace,
        database_url: str,
        env: dict[str, str] | None = None,
        *,
        workers: tuple[str, ...] = ("all", "all"),
        live: bool = True,
        drop: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(folder, pace, env)
        self.home.mkdir(mode=0o700)
        self.redis = Redis(folder)
        self.database_url, self._drop = database_url, drop
        self.port, self.live_port = free_port(), free_port()
        self.env |= {
            "DATABASE_URL": database_url,
            "REDIS_URL": self.redis.url,
            "PORT": str(self.port),
            "BRAINSTEM_LIVE_PORT": str(self.live_port),
            "WEB_CONCURRENCY": "1",
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.engine = make_engine(database_url.replace("postgresql://", "postgresql+psycopg://"), pool_size=5)
        self.processes: list[Process] = []
        self.add("web", ["web"])
        if live:
            self.add("live", ["web", "--live"])
        self.add("scheduler", ["scheduler"])
        for number, role in enumerate(workers):
            self.add(f"worker{number}-{role}", ["worker", role])
        self.keeper: Keeper | None = None

    @property
    def live_url(self) -> str:
        return f"http://127.0.0.1:{self.live_port}"

    def add(self, name: str, args: list[str], **env: str) -> Process:
        command = [sys.executable, "-m", "webapp.cli", *args]
        process = Process(name, command, clean_env(**{**self.env, **env}), self.folder)
        self.processes.append(process)
        return process

    def named(self, start: str) -> list[Process]:
        return [process for process in self.processes if process.name.startswith(start)]

    @property
    def workers(self) -> list[Process]:
        return self.named("worker")

    def start(self) -> Cluster:
        self.prepare_database()
        self.redis.start()
        for process in self.processes:
            process.start()
        self.keeper = Keeper(self.processes)
        self.wait()
        return self

    def wait(self) -> None:
        urls = [self.url] + ([self.live_url] if self.named("live") else [])
        try:
            until(lambda: all(self._serves(url) for url in urls), 60, "web answers", every=0.1)
            self.wait_workers()
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.logs()[-4000:]}") from None

    def _serves(self, url: str) -> bool:
        try:
            return self.http.get(url + "/api/v1/ready", timeout=3).status_code == 200
        except requests.RequestException:
            return False

    def wait_workers(self) -> None:
        until(lambda: {p.pid for p in self.workers if p.keep} <= set(self.beating()), 60, "all workers beat", every=0.1)

    def worker_pids(self) -> list[int]:
        return [process.pid for process in self.workers if process.alive]

    def heal(self) -> None:
        for process in self.processes:
            process.signal(signal.SIGCONT)
            process.keep = True
        self.redis.signal(signal.SIGCONT)
        if not self.redis.answers():
            self.redis.start()
        self.wait()

    def logs(self) -> str:
        return "\n".join(
            f"--- {p.name}\n{p.log.read_text(errors='replace')[-3000:]}" for p in self.processes if p.log.exists()
        )

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.close()
        for process in self.processes:
            process.end()
        self.redis.kill()
        self.engine.dispose()
        self._drop()


def clone_database(template: str) -> tuple[str, Callable[[], None]]:
    """A database of a drill's own, from the migrated template; its URL and how to drop it."""
    import psycopg

    name = f"bs_drill_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(PG + "/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop() -> None:
        with psycopg.connect(PG + "/postgres", autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    return f"{PG}/{name}", drop


def kill9(pid: int) -> float:
    """SIGKILL; the wall time of it."""
    at = time.time()
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return at


def median(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0


@contextlib.contextmanager
def load(
    stack: Stack, per_second: float, make: Callable[[], requests.Response | None], threads: int = 4
) -> Iterator[list[Any]]:
    """Call `make` so often from some threads while the block runs; collects (seconds, status or error name, answer)."""
    seen: list[Any] = []
    stop = threading.Event()

    def work() -> None:
        next_at = time.monotonic()
        while not stop.is_set():
            began = time.monotonic()
            try:
                answer = make()
                seen.append((time.monotonic() - began, answer.status_code if answer is not None else 0, answer))
            except requests.RequestException as exc:
                seen.append((time.monotonic() - began, type(exc).__name__, None))
            next_at += threads / per_second
            stop.wait(max(0.0, next_at - time.monotonic()))

    crew = [threading.Thread(target=work, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in crew:
            thread.join(40)


@contextlib.contextmanager
def dripping() -> Iterator[int]:
    """A server that answers a byte each 0.3 s, for ever; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\n")
            while not stop.wait(0.3):
                connection.sendall(b".")

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        stop.set()
        listener.close()

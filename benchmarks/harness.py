"""What every bench needs: private services, our processes, the peers' scripts, medians and one table."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("BRAINSTEM_SHARED", ROOT.parent / "shared"))
DEVELOPERS = SHARED / "data"  # what choices and thresholds were made on
DATA = Path(os.environ.get("BENCH_DATA") or DEVELOPERS)  # or another folder laid out like it
RESULTS = ROOT / "bench-results"
POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
PLUGINS = ",".join(
    f"bench.{name.lower()}=benchmarks.kinds:{name}" for name in ("STAMP", "HOLD", "NOOP", "PAUSE", "TARGETS", "EMIT")
)

# Limits that protect a real server would cap the bench instead of the code; everything else is as shipped.
LIFTED = {"BRAINSTEM_RATE_LIMIT": "100000000/minute", "BRAINSTEM_WS_TOTAL": "5000", "BRAINSTEM_WS_PER_USER": "5000",
          "BRAINSTEM_WORKER_MAX_TASKS": "0"}  # fmt: skip


# -- figures ---------------------------------------------------------------------------------------------------------


def pct(values: Iterable[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else float("nan")


def median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else float("nan")


@dataclass
class Line:
    """One figure. `goal` is judged by `ok`; a line without a goal is there to be read beside the others."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    goal: str = ""
    ok: bool | None = None

    @property
    def verdict(self) -> str:
        return "" if self.ok is None else "PASS" if self.ok else "FAIL"


@dataclass
class Report:
    name: str
    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)

    def add(
        self, what: str, ours: str, peer: str = "", ratio: str = "", goal: str = "", ok: bool | None = None
    ) -> None:
        self.lines.append(Line(what, ours, peer, ratio, goal, ok))

    def print(self) -> None:
        head = ("", "ours", "peer", "ratio", "goal", "")
        rows = [(line.what, line.ours, line.peer, line.ratio, line.goal, line.verdict) for line in self.lines]
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(6)]
        print(f"\n{self.name}: {self.title}")
        for row in (head, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for note in self.notes:
            print(f"  ({note})")
        sys.stdout.flush()

    def save(self, began: float, load_before: tuple[float, ...]) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
        out = {**asdict(self), "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "seconds": round(time.time() - began, 1),
               "load_before": load_before, "load_after": os.getloadavg(), "machine": machine()}  # fmt: skip
        path.write_text(json.dumps(out, indent=1, default=str) + "\n")
        return path


def machine() -> dict[str, Any]:
    import psutil

    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {"cpu": model[1] if model else "?", "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1), "python": sys.version.split()[0],
            "commit": _git("rev-parse", "--short", "HEAD"), "dirty": bool(_git("status", "--porcelain", "webapp"))}  # fmt: skip


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True).stdout.strip()


# -- services --------------------------------------------------------------------------------------------------------


def free_port(beside: int = 0) -> int:
    """A free port; `beside` more after it are free too (the live process takes the next one)."""
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                for n in range(1, beside + 1):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + n))
            except OSError:
                continue
            return port


@contextmanager
def private_redis() -> Iterator[int]:
    """A Redis of this run's own; its port."""
    import redis

    port = free_port()
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: redis.Redis(port=port).ping(), 10)
        yield port
    finally:
        process.kill()
        process.wait()


def redis_client(port: int, number: int) -> Any:
    """For the bench's own waiting: without redis-py's time limit of five seconds on an answer."""
    import redis

    return redis.Redis(port=port, db=number, socket_timeout=300)


@contextmanager
def private_postgres() -> Iterator[str]:
    """A database of this run's own; its URL (`postgresql://`)."""
    import psycopg

    name = f"bs_bench_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(POSTGRES + "/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{POSTGRES}/{name}"
    finally:
        with psycopg.connect(POSTGRES + "/postgres", autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bs-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(look: Callable[[], Any], patience: float, pause: float = 0.02) -> Any:
    deadline = time.monotonic() + patience
    while True:
        try:
            found = look()
            if found:
                return found
        except Exception:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain")
        time.sleep(pause)


# -- processes -------------------------------------------------------------------------------------------------------


def our_env(home: Path, redis_port: int = 0, **more: str) -> dict[str, str]:
    """The environment of a Brainstem process, without settings of the shell."""
    names = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "API_KEY", "AUTH_REQUIRED", "SECRET_KEY", "PORT", "HOST")
    env = {k: v for k, v in os.environ.items() if not k.startswith("BRAINSTEM_") and k not in names}
    return {**env, "PYTHONPATH": str(ROOT), "BRAINSTEM_HOME": str(home), "BRAINSTEM_DEMO": "0", "BRAINSTEM_PLUGINS": PLUGINS,
            "LOG_LEVEL": "WARNING", "BENCH_REDIS": str(redis_port), "PYTHONUNBUFFERED": "1", **LIFTED, **more}  # fmt: skip


def distributed_env(home: Path, database_url: str, redis_port: int, **more: str) -> dict[str, str]:
    return our_env(home, redis_port, DATABASE_URL=database_url, REDIS_URL=f"redis://127.0.0.1:{redis_port}/0",
                   SECRET_KEY="benchmarks-only-not-a-secret", **more)  # fmt: skip


@contextmanager
def process(command: list[str], env: dict[str, str], log: Path, cwd: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is ended with everything below it."""
    with log.open("ab") as out:
        child = subprocess.Popen(command, env=env, cwd=cwd, stdout=out, stderr=out, start_new_session=True)
    below = [child.pid]
    try:
        yield child
    finally:
        import psutil

        try:
            below += [one.pid for one in psutil.Process(child.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            pass
        for pid in reversed(below):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        child.wait()


def brainstem(args: list[str], env: dict[str, str], home: Path) -> Any:
    return process([sys.executable, "-m", "webapp.cli", *args], env, home / f"{'-'.join(args)}.log")


@contextmanager
def server(env: dict[str, str], home: Path, *args: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`brainstem up` (or `args`) until it answers; the process and its port."""
    port = free_port(beside=1)
    with brainstem(list(args or ("up",)), {**env, "PORT": str(port)}, home) as child:
        at = port + 1 if "--live" in args else port
        wait_http(f"http://127.0.0.1:{at}/api/v1/health", child, home)
        yield child, at


def wait_http(url: str, child: subprocess.Popen[bytes], folder: Path, patience: float = 60.0) -> None:
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            if child.poll() is not None or time.monotonic() > deadline:
                logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log"))
                raise RuntimeError(f"{url} does not answer\n{logs}") from None
        time.sleep(0.05)


def tree(pid: int) -> list[Any]:
    import psutil

    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it: steadier than any rate on a shared machine."""
    total = 0.0
    for one in tree(pid):
        times = one.cpu_times()
        total += times.user + times.system
    return total


# -- our library in this process -------------------------------------------------------------------------------------


def open_runtime(env: dict[str, str]) -> Any:
    """A runtime as a web process holds it, on a migrated database."""
    from webapp import runtime, supervisor
    from webapp.settings import load
    from webapp.tasks.kinds import kinds

    settings = load({k: v for k, v in env.items() if k.startswith("BRAINSTEM_") or k.endswith(("_URL", "_KEY"))})
    rt = runtime.use(runtime.build(settings))
    kinds.add_setting(settings.plugins)
    supervisor.ensure_schema(rt)
    return rt


def workers(rt: Any) -> int:
    """How many worker processes have said that they are there."""
    with rt.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM workers").scalar())


def local_ctx(rt: Any, db: Any) -> Any:
    from webapp.core.context import Actor, Ctx
    from webapp.identity import service

    id, name = service.local_account(rt)
    return Ctx(rt, db, Actor(id, name, is_admin=True, is_local=True))


def api_key(rt: Any) -> str:
    from webapp.identity import service

    service.local_account(rt)
    with rt.unit() as db:
        made = service.create_api_key(
            local_ctx(rt, db), name="bench", scopes=["tasks:read", "tasks:write", "events:read"]
        )
    return str(made[1] if isinstance(made, tuple) else made.secret)


# -- peers -----------------------------------------------------------------------------------------------------------


def peer_script(name: str) -> Path:
    """The shared peers' script where it is present, else our own of the same name and the same calls."""
    shared = SHARED / "bench" / name
    return shared if shared.is_file() else ROOT / "benchmarks" / "peers" / name


def load_peer(name: str, env: dict[str, str]) -> Any:
    """Import a peer's script; it reads its settings from the environment when imported."""
    os.environ.update(env)
    path = peer_script(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    if name.startswith("b1_"):
        module.M = redis_client(module.PORT, 6)
    return module


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(name) for name in modules)

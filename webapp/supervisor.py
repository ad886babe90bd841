"""Starting and keeping alive: the embedded server, and the set of processes of a deployment.

Embedded: gunicorn's arbiter with one worker process, which holds pages, workers and scheduler; when it is killed the
arbiter starts it again. Deployment: our own supervisor, one child per process of the plan, each restarted alone, since
one dead child must not take its siblings with it (as Dramatiq's own command line does).
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webapp.core import lifeline, migrate
from webapp.runtime import Runtime
from webapp.settings import Settings, SettingsError

log = logging.getLogger(__name__)

RESTART_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds before the nth restart in a row
CALM = 30.0  # seconds alive after which a process counts as well again
STOP_PATIENCE = 8.0  # past the grace of running tasks


def up(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    from webapp import serve

    rt = serve.prepare(settings)
    try:
        ensure_schema(rt)
        refuse_unsafe(rt)
    except SettingsError:
        raise
    if not rt.roles:
        return run_embedded(rt)
    rt.close()
    return Supervisor(settings, plan(settings, rt.roles)).run()


def ensure_schema(rt: Runtime, patience: float = 60.0) -> None:
    """Migrate, and keep the agents and templates of the program; a database that is only starting is waited for."""
    from webapp.agents import service as agents
    from webapp.task_templates import service as task_templates

    _migrate(rt, patience)
    agents.ensure_seeded(rt)
    task_templates.ensure_seeded(rt)


def _migrate(rt: Runtime, patience: float) -> None:
    from sqlalchemy.exc import OperationalError

    deadline = time.monotonic() + patience
    while True:
        try:
            return migrate.upgrade(rt.engine)
        except OperationalError as exc:
            if time.monotonic() > deadline or not rt.roles:
                raise SettingsError(f"the database does not answer: {str(exc.orig)[:200]}") from None
            log.info("waiting for the database")
            time.sleep(1.0)


def refuse_unsafe(rt: Runtime) -> None:
    from webapp.identity import service
    from webapp.web.auth import refuse_unsafe_start

    with rt.unit(write=False) as db:
        has_password = service.has_password_user(db)
    refuse_unsafe_start(rt.settings, has_password)
    service.local_account(rt)


# -- gunicorn --------------------------------------------------------------------------------------------------------


def run_embedded(rt: Runtime) -> int:
    """One process with everything. The parent keeps no database connection, so that the fork shares none."""
    settings = rt.settings
    rt.close()
    _hold_home(settings)
    click_url(settings)
    server = _gunicorn(settings, bind=f"{settings.host}:{settings.port}", workers=1, threads=24, embedded=True)
    server.run()
    return 0


def _hold_home(settings: Settings) -> None:
    """One main process per home: it alone owns the database's tasks."""
    import fcntl

    handle = os.open(settings.home_dir / "brainstem.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(f"Brainstem already runs with {settings.home_dir}; stop it or set BRAINSTEM_HOME") from None
    os.truncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())


def click_url(settings: Settings) -> None:
    host = "127.0.0.1" if settings.host in ("", "0.0.0.0") else settings.host
    print(f"Brainstem serves on http://{host}:{settings.port} (data in {settings.home_dir})", flush=True)


def run_web(settings: Settings, *, live: bool) -> None:
    """A web process of a deployment. `live`: the one that holds WebSockets and streams."""
    from webapp import serve

    rt = serve.prepare(settings)
    ensure_schema(rt)
    refuse_unsafe(rt)
    rt.close()
    port = (settings.live_port or settings.port + 1) if live else settings.port
    workers = 1 if live else int(os.environ.get("WEB_CONCURRENCY", "2"))
    _gunicorn(settings, bind=f"{settings.host}:{port}", workers=workers, threads=8, embedded=False).run()


def _gunicorn(settings: Settings, *, bind: str, workers: int, threads: int, embedded: bool) -> Any:
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):  # type: ignore[misc]
        def load_config(self) -> None:
            options = {
                "bind": bind,
                "workers": workers,
                "threads": threads,
                "worker_class": "gthread",
                "worker_connections": max(2000, settings.ws_total * 2),
                "timeout": 0,  # requests have limits of their own; a long upload is no hang
                "graceful_timeout": int(settings.grace_seconds + 5) if embedded else 10,
                "keepalive": 30,
                "preload_app": False,
                "accesslog": None,
                "errorlog": "-",
                "loglevel": "warning",
                "limit_request_line": 8190,
                "limit_request_fields": 100,
                "limit_request_field_size": 16380,
                "forwarded_allow_ips": "*" if settings.proxy_hops else "127.0.0.1",
                "post_worker_init": _after_fork(embedded),
                "worker_exit": _before_exit,
                "control_socket_disable": True,
            }
            for name, value in options.items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Any:
            from webapp import serve
            from webapp.app import create_app

            return create_app(serve.prepare(settings))

    return Server()


def _after_fork(embedded: bool) -> Any:
    def start(worker: Any) -> None:
        if embedded:
            from webapp import serve
            from webapp.runtime import runtime

            worker.brainstem = serve.Embedded(runtime())
            worker.brainstem.start()
        _stop_early(worker)

    return start


def _stop_early(worker: Any) -> None:
    """At SIGTERM let go of live connections and running tasks while gunicorn ends its requests."""
    usual = signal.getsignal(signal.SIGTERM)
    worker.letting_go = None

    def on_term(number: int, frame: Any) -> None:
        if worker.letting_go is None:
            worker.letting_go = threading.Thread(target=_let_go, args=(worker,), daemon=True)
            worker.letting_go.start()
        if callable(usual):
            usual(number, frame)

    signal.signal(signal.SIGTERM, on_term)


def _let_go(worker: Any) -> None:
    from webapp.runtime import runtime

    rt = runtime()
    rt.stopping.set()
    # Live readers take up to two seconds to leave; running tasks must not wait for them.
    hub = threading.Thread(target=worker.app.wsgi().extensions["hub"].stop, daemon=True)
    hub.start()
    beside = getattr(worker, "brainstem", None)
    if beside is not None:
        beside.stop(rt.settings.grace_seconds)
    hub.join(3.0)


def _before_exit(_server: Any, worker: Any) -> None:
    letting_go = getattr(worker, "letting_go", None)
    if letting_go is not None:
        letting_go.join()


# -- processes of a deployment ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    name: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


def plan(settings: Settings, roles: Sequence[str]) -> list[Process]:
    """The processes that Procfile and docker-compose.yml name too (a test compares them)."""
    found = [Process("web", ("web",)), Process("live", ("web", "--live"))]
    found += [Process(f"worker-{role}", ("worker", role)) for role in roles]
    return [*found, Process("scheduler", ("scheduler",))]


def run_many(settings: Settings, args: Sequence[str], count: int) -> int:
    processes = [Process(f"{'-'.join(args)}-{n + 1}", tuple(args)) for n in range(count)]
    return Supervisor(settings, processes).run()


class Supervisor:
    """Keeps each process alive on its own; a restart in a row waits longer, up to four seconds."""

    def __init__(self, settings: Settings, processes: list[Process]) -> None:
        self.settings, self.processes = settings, processes
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._stopping = False

    def run(self) -> int:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._on_stop)
        for process in self.processes:
            self._start(process)
        while not self._stopping:
            self._look()
            time.sleep(0.1)
        return self._stop_all()

    def _start(self, process: Process) -> None:
        command = [sys.executable, "-m", "webapp.cli", *process.args]
        root = str(Path(__file__).resolve().parent.parent)
        env = {**os.environ, **dict(process.env), "BRAINSTEM_ROLE": process.name, lifeline.ENV: str(os.getpid())}
        env["PYTHONPATH"] = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        self._children[process.name] = subprocess.Popen(command, env=env, start_new_session=True)
        self._started[process.name] = time.monotonic()
        self._due.pop(process.name, None)
        log.info("started %s (%s)", process.name, self._children[process.name].pid)

    def _look(self) -> None:
        now = time.monotonic()
        for process in self.processes:
            child = self._children[process.name]
            if child.poll() is None:
                continue
            if process.name not in self._due:
                self._due[process.name] = now + self._pause(process.name, child.returncode, now)
            elif now >= self._due[process.name]:
                self._start(process)

    def _pause(self, name: str, code: int, now: float) -> float:
        calm = now - self._started[name] > CALM or code == 0
        self._failures[name] = 0 if calm else self._failures.get(name, 0) + 1
        pause = RESTART_PAUSES[min(self._failures[name], len(RESTART_PAUSES) - 1)]
        log.warning("%s ended (%s); starting it again in %.1f s", name, code, pause)
        return pause

    def _on_stop(self, *_: Any) -> None:
        self._stopping = True

    def _stop_all(self) -> int:
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + self.settings.grace_seconds + STOP_PATIENCE
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        return 0

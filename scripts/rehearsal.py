"""The deployment that docker-compose.yml describes, as plain processes on this machine (`make cluster`, drills).

The list of processes is read from that file: commands, environment, order, health, copies. Only places differ: a name and
port such as `postgres:5432` become an address here, a volume becomes a folder. Some groups of workers live in network
namespaces of their own and reach the services by address and password, as from another machine; where that is not possible
(it takes root and `ip`) they run beside the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from scripts.processes import (
    ROOT,
    Network,
    Process,
    Trouble,
    answers,
    find,
    free_port,
    listens,
    own_env,
    postgres_program,
    run,
    tail,
)
from webapp.core import lifeline

BESIDE = ("postgres", "redis", "chroma", "proxy")  # services that run a program of others
APART = ("worker-fast", "worker-embedding")
PORTS = {"web": 8000, "live": 8001, "postgres": 5432, "redis": 6379, "chroma": 8000}  # inside the containers
OPEN = (8000, 5555, 8080)  # the proxy's: pages, task monitor, database browser
SECRETS = ("SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")


# -- what docker-compose.yml says ------------------------------------------------------------------------------------


def read_compose() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    return found


def copies(service: dict[str, Any]) -> int:
    return int(service.get("deploy", {}).get("replicas", 1))


def filled(text: str, values: dict[str, str]) -> str:
    """`${NAME:?why}`, `${NAME:-default}` and `$$` as compose reads them."""

    def put(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        value = values.get(found[1], "")
        if not value and found[2] == ":?":
            raise Trouble(f"{found[1]}: {found[3]}")
        return value or found[3] or ""

    return re.sub(r"\$\$|\$\{(\w+)(?:(:[?-])([^}]*))?\}", put, text)


def in_order(services: dict[str, dict[str, Any]]) -> list[str]:
    """Each after what it waits for."""
    found: list[str] = []

    def add(name: str) -> None:
        if name not in found:
            for other in services[name].get("depends_on", ()):
                add(other)
            found.append(name)

    for name in services:
        add(name)
    return found


# -- the set ---------------------------------------------------------------------------------------------------------


class Rehearsal:
    """All services of docker-compose.yml, running. `env` overrides settings of ours, as an .env and its like would."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None, *, apart: tuple[str, ...] = APART,
                 port: int | None = None, follow: bool = False, admin: str = "") -> None:  # fmt: skip
        self.folder, self.more, self.follow = folder, env or {}, follow
        self.admin = (
            admin  # password of an administrator made before anything is served, as docker-compose.yml asks for
        )
        self.services = read_compose()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # Postgres runs as somebody else
        self.home = folder / "data"
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.values = {**_secrets(folder / "secrets.json"), "BRAINSTEM_PUBLIC_URL": ""}
        self.network = Network(tuple(name for name in apart if name in self.services))
        self.ports = {number: port if number == 8000 and port else free_port() for number in OPEN}
        self.places: dict[str, list[tuple[str, int]]] = {}
        self.processes: dict[str, list[Process]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[8000]}"

    def place(self, name: str) -> str:
        """Where a service is: address:port."""
        return ":".join(map(str, self.places[name][0]))

    @property
    def database_url(self) -> str:
        """Of the server; its database is called as compose names it."""
        return f"postgresql://brainstem:{self.values['POSTGRES_PASSWORD']}@{self.place('postgres')}"

    @property
    def redis_url(self) -> str:
        return f"redis://:{self.values['REDIS_PASSWORD']}@{self.place('redis')}"

    def all(self) -> list[Process]:
        return [process for processes in self.processes.values() for process in processes]

    def ours(self) -> list[Process]:
        """Processes of the application that stay."""
        once = {name for name, service in self.services.items() if service.get("restart") == "no"}
        return [p for name, processes in self.processes.items() if name not in {*BESIDE, *once} for p in processes]

    # up

    def prepare(self) -> None:
        """Addresses and commands of everything; nothing runs yet."""
        self.network.open()
        for name, service in self.services.items():
            if name in PORTS:
                self.places[name] = [
                    (self.network.address, free_port(self.network.address)) for _ in range(copies(service))
                ]
        for name in in_order(self.services):
            self.processes[name] = list(self._processes(name, self.services[name]))

    def up(self, say: Callable[[str], None] = lambda _: None) -> Rehearsal:
        try:
            self.prepare()
            for name in in_order(self.services):
                for other, wanted in self.services[name].get("depends_on", {}).items():
                    self._wait(other, wanted["condition"])
                if name == "web" and self.admin:
                    self.run_brainstem("create-admin", "admin", "--password", self.admin)
                for process in self.processes[name]:
                    process.keep = self.services[name].get("restart") != "no"
                    process.start()
                    say(f"{process.name:20} {process.pid:>8}  {self.network.spaces.get(name, '')}")
                if name == "postgres":
                    self._make_database()
            self._wait("proxy", "service_healthy")
        except BaseException:
            self.down(patience=0.0)
            raise
        return self

    def down(self, patience: float = 40.0) -> None:
        """In the order in which compose stops them: who waits for others first."""
        beside = [p for name in BESIDE if name != "proxy" for p in self.processes.get(name, [])]
        for group in (self.processes.get("proxy", []), self.ours(), beside):
            living = [process for process in group if process.alive]
            for process in group:
                process.keep = False
            for process in living:
                # Postgres: fast, not waiting for sessions.
                process.popen.send_signal(signal.SIGINT if process.name == "postgres" else signal.SIGTERM)  # type: ignore[union-attr]
            deadline = time.monotonic() + patience
            for process in living:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.popen.wait(max(0.0, deadline - time.monotonic()))  # type: ignore[union-attr]
        for process in self.all():
            process.end()
        self.network.close()

    def _processes(self, name: str, service: dict[str, Any]) -> Iterator[Process]:
        if name in BESIDE:
            command, env, user = getattr(self, f"_{name}")(service)
            yield Process(name, command, env, self.folder, user)
            return
        program, *args = service["command"]
        if program != "brainstem":
            raise Trouble(f"docker-compose.yml: {name} starts {program}, which is not ours")
        many = copies(service)
        for number in range(many):
            env = {**own_env(), **self.environment(name), **self.more, **self._listens(name, number)}
            if self.follow:
                env[lifeline.ENV] = str(os.getpid())
            yield Process(f"{name}-{number + 1}" if many > 1 else name,
                          [*self.network.inside(name), sys.executable, "-m", "webapp.cli", *args], env, self.folder)  # fmt: skip

    def environment(self, name: str) -> dict[str, str]:
        """As the file says it, with places of this machine."""
        service = self.services[name]
        values = {**self.values, "BRAINSTEM_PUBLIC_URL": self.url}
        folders = {one.split(":")[1]: str(self.folder / one.split(":")[0]) for one in service.get("volumes", ())}
        found = {}
        for key, text in service.get("environment", {}).items():
            value = filled(str(text), values)
            for other in self.places:
                value = re.sub(rf"(?<=[/@]){other}:{PORTS[other]}\b", self.place(other), value)
            found[key] = self.network.address if value == "0.0.0.0" else folders.get(value, value)
        return found

    def _listens(self, name: str, number: int) -> dict[str, str]:
        setting = {"web": "PORT", "live": "BRAINSTEM_LIVE_PORT"}.get(name)
        return {setting: str(self.places[name][number][1])} if setting else {}

    # programs of others, started as their images do

    def _postgres(self, service: dict[str, Any]) -> tuple[list[str], dict[str, str], str | None]:
        address, port = self.places["postgres"][0]
        folder, user = self.folder / "postgres", "postgres" if os.getuid() == 0 else None
        given = self.environment("postgres")
        if not (folder / "PG_VERSION").exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            word = self.folder / "postgres.password"
            word.write_text(given["POSTGRES_PASSWORD"])
            if user:
                shutil.chown(folder, user)
                shutil.chown(word, user)
            word.chmod(0o600)
            run(str(postgres_program("initdb")), "-D", str(folder), "-U", given["POSTGRES_USER"], "-A", "scram-sha-256",
                "--pwfile", str(word), "-E", "UTF8", user=user)  # fmt: skip
            word.unlink()
        rules = folder / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.0/8 scram-sha-256\nhost all all samenet scram-sha-256\n")
        more = [
            "-D",
            str(folder),
            "-c",
            f"listen_addresses={address}",
            "-c",
            f"port={port}",
            "-c",
            "unix_socket_directories=",
        ]
        return [str(postgres_program("postgres")), *service["command"][1:], *more], own_env(), user

    def _redis(self, service: dict[str, Any]) -> tuple[list[str], dict[str, str], str | None]:
        address, port = self.places["redis"][0]
        find("redis-server")
        shell, flag, script = service["command"]
        line = f"{filled(script, self.values)} --bind {address} --port {port} --dir {self.folder}"
        return [shell, flag, line], {**own_env(), **self.environment("redis")}, None

    def _chroma(self, _service: dict[str, Any]) -> tuple[list[str], dict[str, str], str | None]:
        address, port = self.places["chroma"][0]
        program = Path(sys.executable).with_name("chroma")
        command = [str(program), "run", "--path", str(self.folder / "chroma"), "--host", address, "--port", str(port)]
        return command, {**own_env(), **self.environment("chroma")}, None

    def _proxy(self, _service: dict[str, Any]) -> tuple[list[str], dict[str, str], str | None]:
        scratch = self.folder / "nginx"
        scratch.mkdir(exist_ok=True)
        conf = scratch / "nginx.conf"
        conf.write_text(self.proxy_conf((ROOT / "deploy" / "nginx.conf").read_text("utf-8"), scratch))
        nginx = find("nginx", "/usr/sbin/nginx")
        run(nginx, "-t", "-q", "-p", str(scratch), "-c", str(conf))
        return [nginx, "-p", str(scratch), "-c", str(conf), "-g", "daemon off;"], own_env(), None

    def proxy_conf(self, text: str, scratch: Path) -> str:
        """deploy/nginx.conf with places of this machine."""
        for inside, outside in self.ports.items():
            text = text.replace(f"listen {inside} ", f"listen 127.0.0.1:{outside} ").replace(
                f'"{inside}:/"', f'"{outside}:/"'
            )
        for name in ("web", "live"):
            servers = "\n        ".join(f"server {address}:{port} max_fails=0;" for address, port in self.places[name])
            text = text.replace(f"server {name}:{PORTS[name]} max_fails=0;", servers)
        mime = next((one for one in ("/etc/nginx/mime.types",) if Path(one).is_file()), None)
        if mime is None:
            text = text.replace("include /etc/nginx/mime.types;", "")
        return text.replace("/tmp/", f"{scratch}/")

    # waiting

    def _wait(self, name: str, condition: str, patience: float = 90.0) -> None:
        deadline = time.monotonic() + patience
        for process in self.processes[name]:
            while not self._is(name, process, condition):
                if time.monotonic() > deadline or (process.popen and process.popen.poll() not in (None, 0)):
                    raise Trouble(f"{name} is not {condition.removeprefix('service_')}:\n{tail(process.log)}")
                time.sleep(0.1)

    def _is(self, name: str, process: Process, condition: str) -> bool:
        if condition == "service_completed_successfully":
            return process.popen is not None and process.popen.poll() == 0
        if name in ("web", "live"):
            address, port = self.places[name][self.processes[name].index(process)]
            return answers(f"http://{address}:{port}/api/v1/ready")
        if name == "proxy":
            return answers(self.url + "/api/v1/ready")
        return process.alive and bool(getattr(self, f"_{name}_answers", lambda: listens(*self.places[name][0]))())

    def _postgres_answers(self) -> bool:
        import psycopg

        with contextlib.suppress(psycopg.Error):
            psycopg.connect(self.database_url + "/postgres", connect_timeout=2).close()
            return True
        return False

    def _redis_answers(self) -> bool:
        import redis

        with contextlib.suppress(redis.RedisError):
            return bool(redis.Redis.from_url(self.redis_url, socket_timeout=2).ping())
        return False

    def _make_database(self) -> None:
        """The image does this at its first start."""
        import psycopg

        self._wait("postgres", "service_healthy")
        with psycopg.connect(self.database_url + "/postgres", autocommit=True) as admin:
            if not admin.execute("SELECT 1 FROM pg_database WHERE datname = 'brainstem'").fetchone():
                admin.execute("CREATE DATABASE brainstem")

    # for those who ask

    def run_brainstem(self, *args: str) -> str:
        """As `docker compose run --rm migrate brainstem ...`."""
        env = {**own_env(), **self.environment("migrate"), **self.more}
        return run(sys.executable, "-m", "webapp.cli", *args, env=env)

    def describe(self) -> dict[str, Any]:
        """What tests need to reach it."""
        env = {**self.environment("web"), **self.more}
        return {"url": self.url, "env": env, "postgres": self.database_url, "redis": self.redis_url,
                "logs": str(self.folder), "apart": self.network.spaces}  # fmt: skip

    def logs(self) -> str:
        return "\n".join(f"--- {process.name}\n{tail(process.log)}" for process in self.all())


def _secrets(path: Path) -> dict[str, str]:
    """Random ones, kept beside the data they open."""
    if not path.exists():
        path.touch(0o600)
        path.write_text(json.dumps({name: secrets.token_hex(32) for name in SECRETS}))
    found: dict[str, str] = json.loads(path.read_text())
    return found

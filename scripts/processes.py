"""Processes that are kept alive, network namespaces to put them into, and what is asked of both (scripts/rehearsal.py, drills)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from webapp import settings as settings_module  # noqa: E402


class Trouble(Exception):
    """Why something cannot be brought up."""


# -- processes -------------------------------------------------------------------------------------------------------


class Process:
    """One process, started again when it ends (as a container's restart policy does), unless told otherwise."""

    def __init__(
        self, name: str, command: list[str], env: dict[str, str], folder: Path, user: str | None = None
    ) -> None:
        self.name, self.command, self.env, self.user = name, command, env, user
        self.log = folder / f"{name}.log"
        self.popen: subprocess.Popen[bytes] | None = None
        self.keep = True
        self.starts = 0
        self.exits: list[int] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        with self._lock:
            self._start()

    def _start(self) -> None:
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(
                self.command, env=self.env, stdout=out, stderr=out, start_new_session=True, cwd=ROOT if not self.user
                else "/", user=self.user,
            )  # fmt: skip
        self.starts += 1

    def look(self) -> None:
        """Start it again when it ended."""
        with self._lock:
            if self.popen is not None and self.popen.poll() is not None and self.keep:
                self.exits.append(self.popen.returncode)
                self._start()

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def signal(self, number: int) -> None:
        """To the whole group: gunicorn's worker processes too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self, patience: float = 40.0) -> int:
        self.keep = False
        assert self.popen is not None
        self.popen.terminate()
        try:
            return self.popen.wait(patience)
        finally:
            self.end()

    def end(self) -> None:
        self.keep = False
        if self.popen is not None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.popen.wait()


class Keeper:
    """A thread that starts dead processes again."""

    def __init__(self, processes: list[Process]) -> None:
        self.processes = processes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for process in list(self.processes):
                process.look()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)


def own_env() -> dict[str, str]:
    """The shell's environment without settings of ours, which a container would not see either."""
    known = {name for option in settings_module.OPTIONS for name in option.env}
    return {**{k: v for k, v in os.environ.items() if k not in known}, "PYTHONPATH": str(ROOT)}


# -- network namespaces ----------------------------------------------------------------------------------------------


@dataclass
class Network:
    """A bridge that carries the services' address, and a namespace of its own for each service that lives apart."""

    names: tuple[str, ...]
    address: str = "127.0.0.1"
    why_not: str = ""
    spaces: dict[str, str] = field(default_factory=dict)

    def open(self) -> Network:
        if not self.names:
            self.why_not = "not asked for"
            return self
        try:
            self._sweep()
            self._open()
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", "") or str(error)
            self.close()
            self.address, self.why_not = "127.0.0.1", told.strip() or "ip(8) failed"
        return self

    def _open(self) -> None:
        taken = {one.address.rsplit(".", 1)[0] for found in psutil.net_if_addrs().values() for one in found}
        number = next(n for n in range(os.getpid() % 200, 255) if f"10.213.{n}" not in taken)
        bridge = f"bs-{os.getpid()}"
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"10.213.{number}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for place, name in enumerate(self.names):
            space, end = f"{bridge}-{name}", f"{bridge}-{place}"
            ip("netns", "add", space)
            self.spaces[name] = space
            ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", end, "master", bridge, "up")
            ip("-n", space, "addr", "add", f"10.213.{number}.{place + 2}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
        self.address = f"10.213.{number}.1"

    def inside(self, name: str) -> list[str]:
        """What to put before a command of this service."""
        return ["ip", "netns", "exec", self.spaces[name]] if name in self.spaces else []

    def close(self) -> None:
        self._remove(os.getpid())
        self.spaces = {}

    def _sweep(self) -> None:
        """What a killed rehearsal left behind."""
        for name in psutil.net_if_addrs():
            found = re.fullmatch(r"bs-(\d+)", name)
            if found and not psutil.pid_exists(int(found[1])):
                self._remove(int(found[1]))

    def _remove(self, pid: int) -> None:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            for line in ip("netns", "list").splitlines():
                if line.startswith(f"bs-{pid}-"):
                    ip("netns", "del", line.split()[0])
            ip("link", "del", f"bs-{pid}")


def ip(*args: str) -> str:
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout


# -- asking and finding ------------------------------------------------------------------------------------------------


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def listens(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 2):
        return True
    return False


def answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException), requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=4).status_code == 200
    return False


def find(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise Trouble(f"{names[0]} is not installed")
    return found


def postgres_program(name: str) -> Path:
    """Debian keeps the server's programs off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found[-1] if found else Path(find(name))


def missing_programs() -> list[str]:
    """What a rehearsal needs and this machine does not have."""
    wanted = {"nginx": lambda: find("nginx", "/usr/sbin/nginx"), "redis-server": lambda: find("redis-server"),
              "initdb": lambda: postgres_program("initdb")}  # fmt: skip
    found = []
    for name, look in wanted.items():
        try:
            look()
        except Trouble:
            found.append(name)
    return found


def run(*command: str, user: str | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, user=user, env=env, cwd="/" if user else ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Trouble(f"{Path(command[0]).name}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""

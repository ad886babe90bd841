"""THE ONE PLACE where embedded and distributed differ. `build()` holds the only `if`.

Embedded: SQLite, broker, bell and limits in memory, workers and scheduler in the serving process.
Distributed (`DATABASE_URL` and `REDIS_URL` set): Postgres, Redis, a process per role.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from webapp import settings as settings_module
from webapp.core.broker import MemoryBroker, RedisBroker, WakeBroker
from webapp.core.bus import Bell, Bus, MemoryBus, RedisBus
from webapp.core.chroma import Absent, Server
from webapp.core.chroma_apart import FolderApart
from webapp.core.db import make_engine, make_sessions, unit_of_work
from webapp.core.foreground import Foreground
from webapp.core.limits import Limits, MemoryLimits, RedisLimits
from webapp.core.sender import RedisSender
from webapp.core.streams import MemoryStreams, RedisStreams, Streams
from webapp.core.vectors import Vectors
from webapp.settings import Settings

T = TypeVar("T")


@dataclass
class Runtime:
    """The adapters of one process. Services reach it as `ctx.rt`."""

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    broker: WakeBroker
    bus: Bus
    limits: Limits
    streams: Streams
    vectors: Vectors
    secret_key: str
    wake: Callable[[str, str], None]  # queue, task id
    depth: Callable[[str], int]  # messages waiting on a queue
    roles: tuple[str, ...]  # worker roles that run as processes of their own; () when inside the web process
    foreground: Foreground = field(default_factory=Foreground)
    stopping: threading.Event = field(default_factory=threading.Event)
    closers: list[Callable[[], None]] = field(default_factory=list)
    _kept: dict[str, Any] = field(default_factory=dict)
    _keeping: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def unit(self, *, write: bool = True) -> Iterator[Session]:
        with unit_of_work(self.sessions, write=write) as session:
            yield session

    def ring(self, kind: str, id: str, seq: int = 0, owner: str | None = None) -> None:
        self.bus.ring(Bell(kind, id, seq, owner))

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """The one `name` of this process, made at first use and closed with the runtime if it has a `close`."""
        with self._keeping:
            if name not in self._kept:
                self._kept[name] = made = make()
                if hasattr(made, "close"):
                    self.closers.append(made.close)
            found: T = self._kept[name]
            return found

    def ping(self) -> dict[str, str | None]:
        """Dependency name -> None when it answers, else why not. Bounded to about two seconds each."""
        return {name: _trouble(check) for name, check in self._checks.items()}

    _checks: dict[str, Callable[[], Any]] = field(default_factory=dict)

    def close(self) -> None:
        self.stopping.set()
        for close in reversed(self.closers):
            close()
        self.engine.dispose()


def build(settings: Settings) -> Runtime:
    """Make the adapters that the settings ask for. Opens no connection yet."""
    secret_key = settings_module.ensure_secret_key(settings)
    runtime = _distributed(settings, secret_key) if settings.distributed else _embedded(settings, secret_key)
    runtime._checks["database"] = lambda: _select_one(runtime.engine)
    return runtime


def database_url(settings: Settings) -> str:
    return str(settings.database_url or f"sqlite:///{settings.home_dir / 'brainstem.db'}")


_current: Runtime | None = None


def runtime() -> Runtime:
    """This process's runtime, built from the environment at first use."""
    global _current
    if _current is None:
        _current = build(settings_module.load())
    return _current


def use(rt: Runtime) -> Runtime:
    """Make `rt` the process's runtime (the command line and tests do)."""
    global _current
    _current = rt
    return rt


def _embedded(settings: Settings, secret_key: str) -> Runtime:
    settings.home_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = make_engine(database_url(settings), pool_size=settings.pool_size, synchronous=settings.sqlite_synchronous)
    broker = MemoryBroker()
    vectors = FolderApart(settings.home_dir / "chroma")
    return Runtime(
        settings=settings,
        engine=engine,
        sessions=make_sessions(engine),
        broker=broker,
        bus=MemoryBus(),
        limits=MemoryLimits(),
        streams=MemoryStreams(),
        vectors=vectors,
        secret_key=secret_key,
        wake=broker.wake,
        depth=broker.depth,
        roles=(),
        closers=[vectors.close],
    )


def _distributed(settings: Settings, secret_key: str) -> Runtime:
    engine = make_engine(settings.database_url, pool_size=settings.pool_size)
    sender = RedisSender(settings.redis_url)
    broker = RedisBroker(settings.redis_url, sender.send)
    bus = RedisBus(settings.redis_url, sender.send)
    streams = RedisStreams(settings.redis_url)
    vectors = Server(settings.chroma_url) if settings.chroma_url else Absent()
    runtime = Runtime(
        settings=settings,
        engine=engine,
        sessions=make_sessions(engine),
        broker=broker,
        bus=bus,
        limits=RedisLimits(settings.redis_url),
        streams=streams,
        vectors=vectors,
        secret_key=secret_key,
        wake=broker.wake,
        depth=broker.depth,
        roles=("fast", "inference", "crawling", "embedding"),
        closers=[sender.close, bus.close, streams.close, vectors.close],
    )
    runtime._checks["redis"] = lambda: _ping_redis(settings.redis_url)
    return runtime


def _select_one(engine: Engine) -> None:
    with engine.connect().execution_options(readonly=True) as connection:
        connection.exec_driver_sql("SELECT 1")


def _ping_redis(url: str) -> None:
    import redis

    redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1).ping()


def redis_facts(settings: Settings) -> dict[str, Any]:
    """version, used and most (bytes; 0: no limit), policy (what it does when it is full), time (seconds since 1970)."""
    import redis

    client = redis.Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2)
    found: dict[str, Any] = client.info()  # type: ignore[assignment]
    seconds, micro = client.time()  # type: ignore[misc]
    return {"version": found["redis_version"], "used": found["used_memory"], "most": found.get("maxmemory") or 0,
            "policy": found.get("maxmemory_policy", "noeviction"), "time": float(seconds) + float(micro) / 1e6}  # fmt: skip


def _trouble(check: Callable[[], Any]) -> str | None:
    try:
        check()
    except Exception as exc:
        return type(exc).__name__
    return None

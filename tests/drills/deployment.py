"""The deployment of docker-compose.yml (scripts/rehearsal.py) as a stack that drills hurt.

With DRILL_SET=compose (`make cluster ARGS=drill`) drills that bring up a deployment of their own get this one: through
the proxy, as somebody logged in, fast and embedding workers in network namespaces of their own.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import psutil

from scripts.processes import Keeper, Process, missing_programs
from scripts.rehearsal import APART, Rehearsal
from tests.conftest import missing
from tests.drills.harness import ROOT, Cluster, Pace, Redis, Stack, until
from webapp.core.db import make_engine

COMPOSE = os.environ.get("DRILL_SET") == "compose"
KEY = "the operator's key of these drills, long enough"


class Deployment(Cluster):
    def __init__(
        self, folder: Path, pace: Pace, env: dict[str, str] | None = None, *, apart: tuple[str, ...] = APART
    ) -> None:
        if lacking := missing_programs():
            missing(", ".join(lacking))
        Stack.__init__(
            self, folder, pace, {"API_KEY": KEY, "BRAINSTEM_WS_TOTAL": "1000", "PYTHONPATH": str(ROOT), **(env or {})}
        )
        settings = {name: value for name, value in self.env.items() if name != "BRAINSTEM_HOME"}
        # Not among pytest's folders: it keeps them to itself, again whenever another run begins, and Postgres is somebody else.
        self.place = Path(tempfile.mkdtemp(prefix="brainstem-drill-"))
        self.set = Rehearsal(self.place, settings, apart=apart)
        self.home = self.set.home
        self.url = self.set.url
        self.headers = {"Authorization": f"Bearer {KEY}"}
        self.keeper: Keeper | None = None
        self.processes: list[Process] = []

    @property
    def live_url(self) -> str:
        return self.url

    def start(self) -> Deployment:
        self.set.up()
        self.keeper = Keeper(self.set.all())
        self.processes = self.set.ours()
        self.database_url = self.set.database_url + "/brainstem"
        self.engine = make_engine(self.database_url.replace("postgresql://", "postgresql+psycopg://"), pool_size=5)
        self.env |= {**self.set.environment("web"), **self.env, "BRAINSTEM_HOME": str(self.home)}
        self.redis = _Redis(self.set)
        self.postgres = _Postgres(self.set)
        self.prepare_database()
        self.wait()
        return self

    def heal(self) -> None:
        for process in self.set.all():
            if process.name != "migrate":
                process.signal(signal.SIGCONT)
                process.keep = True
        self.wait()

    def logs(self) -> str:
        return self.set.logs()

    def memory(self) -> int:
        """Bytes of all processes of ours and of the proxy."""
        tops = [*self.processes, *self.set.processes["proxy"]]
        each = [psutil.Process(process.pid) for process in tops]
        return sum(one.memory_info().rss for top in each for one in [top, *top.children(recursive=True)])

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.close()
        self.set.down(patience=0.0)
        if self.engine is not None:
            self.engine.dispose()
        shutil.rmtree(self.place, ignore_errors=True)


class _Redis(Redis):
    """The set's Redis, stopped and started as a drill's own."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal, [self.process] = rehearsal, rehearsal.processes["redis"]

    @property
    def url(self) -> str:
        return self.rehearsal.redis_url + "/0"

    def start(self) -> Redis:
        self.process.keep = True
        self.process.look()
        until(self.answers, 10, "redis-server answers")
        return self

    def kill(self) -> None:
        self.process.end()

    def signal(self, number: int) -> None:
        self.process.signal(number)


class _Postgres:
    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal, [self.process] = rehearsal, rehearsal.processes["postgres"]

    def restart(self) -> None:
        """Fast, as Postgres calls it; the keeper starts it again."""
        starts = self.process.starts
        os.kill(self.process.pid, signal.SIGINT)
        until(lambda: self.process.starts > starts, 30, "Postgres has ended")
        until(self._answers, 30, "Postgres is back")

    def _answers(self) -> Any:
        return self.rehearsal._postgres_answers()

"""Fixtures of the drills: running stacks, shared where a drill leaves them whole."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `pytest` alone does not know the project's folder

from tests.drills.deployment import COMPOSE, Deployment
from tests.drills.harness import QUICK, SEED, Cluster, Embedded, Pace, Stack, clone_database

SHARE = os.environ.get("DRILL_SHARE", "")
TURN = os.environ.get("DRILL_TURN", "")
MODES = ["embedded", pytest.param("distributed", marks=pytest.mark.services)]


def pytest_report_header() -> str:
    return f"DRILL_SEED={SEED}"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that follow from DRILL_SEED and the drill's name."""
    return random.Random(f"{SEED}-{request.node.name}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """DRILL_SHARE=3/8: every eighth drill only, from the third on. DRILL_TURN=0 or 1: a drill that goes both ways goes one,
    embedded or distributed, at the other number the other. CI takes other numbers at each commit."""
    mine = list(items)
    if SHARE:
        number, _, of = SHARE.partition("/")
        mine = [item for item in mine if crc32(item.nodeid.encode()) % int(of) == int(number) % int(of)]
    if TURN:
        mine = [item for item in mine if _has_its_turn(item.nodeid)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(mine)])
    items[:] = mine


def _has_its_turn(nodeid: str) -> bool:
    drill, mode = next(
        ((nodeid.removesuffix(one), one) for one in ("[embedded]", "[distributed]") if nodeid.endswith(one)), ("", "")
    )
    return not mode or (crc32(drill.encode()) + int(TURN)) % 2 == (mode == "[distributed]")


class Stacks:
    """Makes stacks; keeps the shared ones for the session."""

    def __init__(self, factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> None:
        self.factory, self.request = factory, request
        self.shared: dict[str, Stack] = {}

    def embedded(self, pace: Pace = QUICK, *, live: bool = True, **env: str) -> Embedded:
        blank: Path = self.request.getfixturevalue("_blank_sqlite")
        return Embedded(self.factory.mktemp("embedded") / "x", pace, blank, env)

    def cluster(self, pace: Pace = QUICK, *, workers: tuple[str, ...] = ("all", "all"), live: bool = True,
                **env: str) -> Cluster:  # fmt: skip
        if COMPOSE:
            return self.deployment(pace, **env)
        url, drop = clone_database(self.request.getfixturevalue("_blank_postgres"))
        return Cluster(self.factory.mktemp("cluster") / "x", pace, url, env, workers=workers, live=live, drop=drop)

    def deployment(self, pace: Pace = QUICK, **env: str) -> Deployment:
        """All that docker-compose.yml describes, proxy and all."""
        return Deployment(self.factory.mktemp("deployment") / "x", pace, env)

    def get(self, name: str) -> Stack:
        """The shared stack of that name, started at its first use."""
        if name not in self.shared:
            made = self.shared[name] = self._make(name)
            made.start()
        return self.shared[name]

    def _make(self, name: str) -> Stack:
        if name == "embedded":
            return self.embedded()
        if name == "wide":
            # Sixteen at a time: of two workers that serve all, or of one for each role, which keeps its last thread for others.
            half, each = (17, 33) if COMPOSE else (8, 16)
            threads = f"workflows={half},crawling={each},inference=2,interactive=2,embedding=1,maintenance=1"
            # Full numbers are more tasks than one worker process does before it is replaced, which F08 would take for a loss.
            return self.cluster(live=False, BRAINSTEM_WORKER_THREADS=threads, BRAINSTEM_POOL_SIZE="30",
                                BRAINSTEM_WORKER_MAX_TASKS="0")  # fmt: skip
        return self.cluster()

    def discard(self, stack: Stack) -> None:
        self.shared = {key: one for key, one in self.shared.items() if one is not stack}
        stack.close()


@pytest.fixture(scope="session")
def _stacks(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stacks]:
    stacks = Stacks(tmp_path_factory, request)
    yield stacks
    for stack in list(stacks.shared.values()):
        stacks.discard(stack)


def _leave_whole(stacks: Stacks, stack: Stack) -> None:
    """Nothing of a drill may reach the next one."""
    try:
        stack.heal()
        for row in stack.sql("SELECT id FROM tasks WHERE status NOT IN ('completed', 'failed', 'cancelled', 'timed_out')"
                             " AND kind LIKE 'drill%' AND parent_id IS NULL"):  # fmt: skip
            stack.cancel(row["id"])
        stack.wait_final([row["id"] for row in stack.sql("SELECT id FROM tasks WHERE kind LIKE 'drill%'")], 15)
    except Exception:
        stacks.discard(stack)


@pytest.fixture(params=MODES)
def stack(request: pytest.FixtureRequest, _stacks: Stacks) -> Iterator[Stack]:
    """A running installation of either mode, shared with other drills."""
    made = _stacks.get(request.param)
    yield made
    _leave_whole(_stacks, made)


@pytest.fixture
def cluster(_stacks: Stacks, _blank_postgres: str) -> Iterator[Cluster]:
    made = _stacks.get("distributed")
    yield made
    _leave_whole(_stacks, made)


@pytest.fixture
def wide(_stacks: Stacks, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A deployment with many threads, for drills that hurt Redis."""
    made = _stacks.get("wide")
    yield made
    _leave_whole(_stacks, made)


@pytest.fixture
def embedded(_stacks: Stacks) -> Iterator[Embedded]:
    made = _stacks.get("embedded")
    yield made
    _leave_whole(_stacks, made)


@pytest.fixture
def own(_stacks: Stacks) -> Iterator[Callable[..., Any]]:
    """`own(mode, pace=.., workers=.., ENV=..)`: a stack of this drill's own, not started yet."""
    made: list[Stack] = []

    def make(mode: str, pace: Pace = QUICK, **more: Any) -> Stack:
        made.append(_stacks.embedded(pace, **more) if mode == "embedded" else _stacks.cluster(pace, **more))
        return made[-1]

    yield make
    for stack in made:
        stack.close()


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """A drill that failed says its seed and shows the ends of the logs."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed and hasattr(item, "funcargs"):
        for value in item.funcargs.values():
            if isinstance(value, Stack):
                report.sections.append(("processes' logs", value.logs()[-6000:]))
        report.sections.append(("drill", f"DRILL_SEED={SEED}"))

"""How many threads a model gets: those cores that nobody else uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webapp.engines import crew
from webapp.engines.crew import LOOK, Crew


class Machine:
    """Four cores; others use `others` of them, the model one and a half."""

    def __init__(self) -> None:
        self.time, self.busy, self.own, self.others, self.waiting = 1000.0, 5000.0, 10.0, 0.0, 0.0

    def passes(self, seconds: float) -> None:
        self.time += seconds
        self.own += 1.5 * seconds
        self.busy += (1.5 + self.others) * seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(crew.time, "monotonic", lambda: made.time)
    monkeypatch.setattr(crew.time, "process_time", lambda: made.own)
    monkeypatch.setattr(crew, "_busy", lambda: made.busy)
    monkeypatch.setattr(crew, "_running_others", lambda: made.waiting)
    monkeypatch.setattr(crew, "cores", lambda: 4)
    return made


def test_it_takes_what_others_leave_and_at_least_one(machine: Machine) -> None:
    team = Crew(4)
    assert team.now() == 4
    for others, wanted in ((0.2, 4), (1.0, 3), (1.6, 2), (3.9, 1), (4.5, 1), (0.1, 4)):
        machine.others = others
        machine.passes(LOOK)
        assert team.now() == wanted, others


def test_after_a_pause_it_counts_who_runs_at_that_moment(machine: Machine) -> None:
    team = Crew(4)
    machine.others = 0.0
    machine.passes(3600)
    machine.waiting = 2
    assert team.now() == 2, "an hour of silence says nothing about now"


@pytest.mark.parametrize(("running", "others", "glances"), [
    ([1], 0, 1), ([2, 1], 0, 2), ([3, 2, 3, 2], 1, 4), ([9, 9, 9, 9, 1], 8, 4), ([0], 0, 1),
])  # fmt: skip
def test_who_only_passes_by_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, running: list[int], others: int, glances: int
) -> None:
    """The process that asked is seen running for a moment; it cost the first step of a prompt a core."""
    seen = iter(running)
    looked: list[int] = []

    class Load:
        def read_text(self, _: str) -> str:
            looked.append(next(seen))
            return f"0.20 0.18 0.12 {looked[-1]}/80 11206"

    monkeypatch.setattr(crew, "RUNNING", Load())
    monkeypatch.setattr(crew.time, "sleep", lambda _: None)
    assert (crew._running_others(), len(looked)) == (others, glances)


def test_where_nobody_tells_who_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(crew, "RUNNING", tmp_path / "no such file")
    assert crew._running_others() == 0


def test_it_looks_now_and_then_and_not_at_each_token(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    team = Crew(4)
    team.now()
    looks: list[Any] = []
    monkeypatch.setattr(crew, "_busy", lambda: looks.append(1) or machine.busy)
    for _ in range(100):
        machine.passes(LOOK / 50)
        team.now()
    assert len(looks) <= 2


@pytest.mark.parametrize("team", [Crew(3, fixed=True), Crew(1)], ids=["said", "one"])
def test_a_number_that_somebody_set_stays(team: Crew, machine: Machine) -> None:
    machine.waiting = machine.others = 9
    machine.passes(LOOK)
    assert team.now() == team.most


def test_where_nothing_can_be_seen_it_takes_all(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_busy", lambda: None)
    assert [Crew(4).now() for _ in range(2)] == [4, 4]


@pytest.mark.parametrize(("quota", "wanted"), [
    ("max 100000", 16), ("200000 100000", 2), ("50000 100000", 1), ("nonsense", 16), (None, 16),
])  # fmt: skip
def test_a_containers_share_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, wanted: int
) -> None:
    monkeypatch.setattr(crew.os, "cpu_count", lambda: 16)
    monkeypatch.setattr(crew.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(crew, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        crew.QUOTA.write_text(quota)
    assert crew.cores() == wanted

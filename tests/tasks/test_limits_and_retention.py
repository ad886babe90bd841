"""What ends by itself: a task over its time (M051, M188), and what is old, each night (M052)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.lab import Lab
from webapp.core.context import Actor
from webapp.tasks import scheduler
from webapp.tasks.kinds import kinds
from webapp.tasks.models import Schedule

DAY = 86400.0


def test_a_task_over_the_limit_of_the_settings_ends_by_itself(make_rt: Callable[..., Any]) -> None:
    """M051: two hours, here one second; nobody cancels it and it is not tried again."""
    from tests.fakes.kinds import scripts

    rt = make_rt(BRAINSTEM_TASK_LIMIT_SECONDS="1")
    lab, alice = Lab(rt), make_cast(rt).alice
    scripts["forever"] = _forever
    task_id = lab.start(alice, "forever")
    assert lab.row(task_id).time_limit == 1
    lab.run()
    row = lab.row(task_id)
    assert (row.status, row.error_code, row.attempt) == ("timed_out", "time_limit", 1)
    assert "took longer than 1 s" in (row.error or "")
    assert [letter.reason for letter in lab.letters(task_id)] == ["time_limit"]


def _forever(run: Any) -> Any:
    import time

    while True:
        run.check()
        time.sleep(0.02)


def test_the_soft_limit_lets_a_runner_tidy_up(lab: Lab, alice: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from tests.fakes.kinds import scripts

    tidied: list[float] = []

    def work(run: Any) -> Any:
        try:
            _forever(run)
        finally:
            tidied.append(run.remaining())

    scripts["tidy"] = work
    monkeypatch.setitem(
        kinds._loaded, "test.script", replace(kinds.get("test.script"), soft_limit=0.3, time_limit=30.0)
    )
    task_id = lab.start(alice, "tidy")
    lab.run()
    row = lab.row(task_id)
    assert (row.status, row.time_limit) == ("timed_out", 30.0)
    assert "took longer than 0.3 s" in (row.error or "")
    assert len(tidied) == 1


@pytest.mark.parametrize("name", ["decision", "nlp", "api", "agent.task"])
def test_kinds_of_the_agent_service_have_25_and_30_minutes(name: str) -> None:
    """M188"""
    if name not in kinds.names():
        pytest.skip(f"there is no kind {name}")
    kind = kinds.get(name)
    assert (kind.soft_limit, kind.time_limit) == (1500, 1800)


def test_processes_end_after_a_thousand_tasks() -> None:
    """M188"""
    from webapp.settings import BY_NAME

    assert BY_NAME["worker_max_tasks"].default == 1000


def test_each_night_the_clock_starts_the_deletion_of_what_is_old(lab: Lab, alice: Actor) -> None:
    """M052, to its end: the schedule, its task, the rows, and the next night."""
    scheduler.ensure_system_schedules(lab.rt)
    with lab.rt.unit() as db:
        for row in db.query(Schedule):
            assert row.next_at is not None
            row.enabled = row.name in ("retention", "uploads", "conversations")
        nightly = db.query(Schedule).filter_by(name="retention").one()
        assert nightly.cron == "0 4 * * *"
        at = datetime.fromtimestamp(nightly.next_at or 0, UTC)
        assert (at.hour, at.minute) == (4, 0)
        nightly.next_at = 1.0  # the time has come
    old, fresh = lab.start(alice), lab.start(alice)
    lab.run_all()
    lab.age(old, seconds=30 * DAY + 60)
    lab.age(fresh, seconds=30 * DAY - 60)
    assert scheduler.start_due(lab.rt) == 1
    while lab.run("maintenance"):
        continue
    assert int(lab.sql("SELECT count(*) FROM tasks WHERE id = :id", id=old).scalar()) == 0
    assert lab.status(fresh) == "completed"
    with lab.rt.unit(write=False) as db:
        nightly = db.query(Schedule).filter_by(name="retention").one()
        again = datetime.fromtimestamp(nightly.next_at or 0, UTC)
        assert (again.hour, again.minute, again > datetime.now(UTC)) == (4, 0, True)
        assert nightly.last_task_id is not None
    assert scheduler.start_due(lab.rt) == 0, "once a night"

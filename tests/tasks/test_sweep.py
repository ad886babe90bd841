"""The reconciler: what was lost, is due or was never announced comes back by itself."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.fakes.kinds import Killed, scripts
from tests.fakes.lab import Lab
from webapp.core.bus import Bell
from webapp.core.context import Actor
from webapp.core.errors import Upstream
from webapp.tasks.sweep import Sweeper, bring_back_orphans, seconds_to_next_due, sweep


def killed(run: Any) -> None:
    raise Killed


def quiet(lab: Lab) -> list[tuple[str, str]]:
    """Take the wake-ups away and note them."""
    woken: list[tuple[str, str]] = []
    lab.rt.wake = lambda queue, task_id: woken.append((queue, task_id))
    lab.rt.depth = lambda queue: 0
    return woken


def test_nothing_to_do(lab: Lab, alice: Actor) -> None:
    quiet(lab)
    lab.start(alice)
    lab.claim()
    assert set(sweep(lab.rt).values()) == {0}


def test_a_lost_worker_costs_no_attempt_but_counts(lab: Lab, alice: Actor) -> None:
    scripts["killed"] = killed
    task_id = lab.start(alice, "killed")
    lab.crash()
    assert lab.status(task_id) == "running"
    assert sweep(lab.rt)["expired"] == 0, "its lease has not ended"
    lab.end_lease(task_id)
    assert sweep(lab.rt)["expired"] == 1
    row = lab.row(task_id)
    assert (row.status, row.attempt, row.crashes, row.lease_until) == ("queued", 0, 1, None)
    assert row.fence == 2, "the fence moved, so a worker that only slept can write nothing"
    assert "loss 1 of 3" in row.message
    assert sweep(lab.rt)["expired"] == 0


def test_the_third_loss_puts_it_aside(lab: Lab, alice: Actor) -> None:
    scripts["killed"] = killed
    task_id = lab.start(alice, "killed")
    for _ in range(3):
        lab.crash()
        lab.end_lease(task_id)
        sweep(lab.rt)
    row = lab.row(task_id)
    assert (row.status, row.error_code, row.crashes, row.attempt) == ("failed", "crash", 3, 1)
    assert "lost 3 times" in (row.error or "")
    assert [letter.reason for letter in lab.letters(task_id)] == ["crash"]
    assert lab.run() is None
    lab.do("retry", alice, task_id)
    scripts["killed"] = lambda run: {"crashes": run.crashes}
    lab.run()
    assert lab.row(task_id).result == {"crashes": 0}


def test_at_boot_every_running_row_is_an_orphan(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    lab.claim(lease=3600)
    assert sweep(lab.rt)["expired"] == 0
    assert bring_back_orphans(lab.rt) == 1
    assert lab.status(task_id) == "queued"


def test_orphans_are_back_before_the_workers_start(lab: Lab, alice: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later, what the new workers claimed would be taken for an orphan too, and run twice."""
    from webapp.serve import Embedded

    task_id = lab.start(alice)
    lab.claim(lease=3600)
    beside, seen = Embedded(lab.rt), list[str]()
    monkeypatch.setattr(beside.group, "start", lambda: seen.append(lab.status(task_id)))
    monkeypatch.setattr(beside.scheduler, "start", lambda: None)
    beside.start()
    assert seen == ["queued"]


def test_a_cancelled_task_whose_worker_died_ends_cancelled(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    lab.claim()
    lab.do("cancel", alice, task_id)
    lab.end_lease(task_id)
    sweep(lab.rt)
    lab.run()
    assert lab.status(task_id) == "cancelled"


def test_a_beat_between_look_and_write_saves_the_task(lab: Lab, alice: Actor) -> None:
    """The sweep's write asks again whether the lease has ended: a renewed one stays."""
    from webapp.tasks.sweep import NOW_SQL, _requeue

    task_id = lab.start(alice)
    run = lab.claim()
    late = f"lease_until < {NOW_SQL[lab.rt.engine.dialect.name]}"
    assert _requeue(lab.rt, task_id, run.fence, 1, 0, late) is None
    assert (lab.status(task_id), lab.row(task_id).crashes) == ("running", 0)


def test_two_sweeps_at_once_count_one_loss(lab: Lab, alice: Actor) -> None:
    made = [lab.start(alice) for _ in range(5)]
    for task_id in made:
        lab.claim()
        lab.end_lease(task_id)
    gate = threading.Barrier(3)
    done: list[int] = []

    def go() -> None:
        gate.wait()
        done.append(sweep(lab.rt)["expired"])

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(done) == 5
    assert {lab.row(task_id).crashes for task_id in made} == {1}


def test_due_retries_come_back_and_early_ones_wait(lab: Lab, alice: Actor) -> None:
    def busy(run: Any) -> None:
        raise Upstream("busy", retry_after=30)

    scripts["busy"] = busy
    task_id = lab.start(alice, "busy")
    lab.run()
    assert sweep(lab.rt)["due"] == 0
    left = seconds_to_next_due(lab.rt)
    assert left is not None
    assert 28 < left <= 30
    lab.sql("UPDATE tasks SET due_at = due_at - 31 WHERE id = :id", id=task_id)
    woken = quiet(lab)
    assert sweep(lab.rt)["due"] == 1
    assert (lab.status(task_id), lab.row(task_id).due_at) == ("queued", None)
    assert ("inference", task_id) in woken
    assert seconds_to_next_due(lab.rt) is None


def test_what_nobody_takes_for_too_long_ends(lab: Lab, alice: Actor) -> None:
    old, young = lab.start(alice), lab.start(alice)
    lab.age(old, seconds=lab.rt.settings.task_limit_seconds + 5)
    assert sweep(lab.rt)["overdue"] == 1
    assert (lab.status(old), lab.status(young)) == ("timed_out", "queued")
    assert "No worker took it within 2 hours" in (lab.row(old).error or "")
    assert [letter.reason for letter in lab.letters(old)] == ["time_limit"]


def test_a_task_for_next_week_is_not_overdue(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice, due_at=time.time() + 7 * 86400)
    lab.age(task_id, seconds=lab.rt.settings.task_limit_seconds + 5)
    assert sweep(lab.rt)["overdue"] == 0
    assert lab.status(task_id) == "queued"


def test_missing_wake_ups_are_sent_again(lab: Lab, alice: Actor) -> None:
    woken = quiet(lab)
    made = [lab.start(alice) for _ in range(3)] + [lab.start(alice, kind="test.crawl")]
    lab.start(alice, due_at=time.time() + 3600)
    woken.clear()
    assert sweep(lab.rt)["woken"] == 0, "younger than a second: their own message is on its way"
    for task_id in made:
        lab.age(task_id, seconds=5)
    lab.rt.depth = lambda queue: 1 if queue == "inference" else 0
    assert sweep(lab.rt)["woken"] == 3
    assert sorted(queue for queue, _ in woken) == ["crawling", "inference", "inference"]


def test_a_broker_that_is_away_does_not_stop_the_sweep(lab: Lab, alice: Actor) -> None:
    def away(queue: str) -> int:
        raise ConnectionError

    scripts["killed"] = killed
    task_id = lab.start(alice, "killed")
    lab.crash()
    lab.end_lease(task_id)
    other = lab.start(alice)
    lab.age(other, seconds=5)
    lab.rt.depth = away
    assert sweep(lab.rt) == {"expired": 1, "due": 0, "overdue": 0, "joined": 0, "woken": 0}


@pytest.mark.parametrize("kind", ["due"])
def test_a_bell_shortens_the_wait(lab: Lab, kind: str) -> None:
    sweeper = Sweeper(lab.rt)
    stop = threading.Event()
    try:
        began = time.monotonic()
        threading.Timer(0.1, lambda: (stop.set(), sweeper._hear(Bell(kind, "x", 0, None)))).start()
        sweeper.wait(stop)
        assert time.monotonic() - began < 2
    finally:
        sweeper.close()


def test_a_sweep_that_fails_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from webapp.tasks import sweep as module

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("database away")

    monkeypatch.setattr(module, "sweep", broken)
    sweeper = Sweeper(lab.rt)
    sweeper.pass_once()
    sweeper.close()

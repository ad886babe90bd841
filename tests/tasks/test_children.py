"""Tasks made of tasks: each part once, the whole when the last part is over, one cancel for all."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.fakes.kinds import Killed, scripts
from tests.fakes.lab import Lab
from webapp.core.context import Actor
from webapp.core.errors import Invalid
from webapp.tasks import execute
from webapp.tasks.sweep import sweep


def family(run: Any) -> dict[str, Any]:
    for number in range(3):
        run.start_child(f"part {number}", "test.crawl", {"script": "part", "value": number})
    children = run.wait_for_children()
    return {step: child["result"] or child["status"] for step, child in sorted(children.items())}


@pytest.fixture
def parent(lab: Lab, alice: Actor) -> str:
    scripts["family"] = family
    scripts["part"] = lambda run: {"value": run.params["value"]}
    return lab.start(alice, "family", title="Whole", priority="high")


def parts(lab: Lab, parent: str) -> list[str]:
    with lab.rt.unit(write=False) as db:
        from sqlalchemy import select

        from webapp.tasks.models import Task

        return list(db.scalars(select(Task.id).where(Task.parent_id == parent).order_by(Task.step)))


def test_the_whole_leaves_the_worker_until_its_parts_are_over(lab: Lab, alice: Actor, parent: str) -> None:
    lab.run()
    row = lab.row(parent)
    assert (row.status, row.message, row.attempt, row.lease_until) == ("paused", "waiting for 3 parts", 0, None)
    children = parts(lab, parent)
    assert [(lab.row(c).owner_id, lab.row(c).priority, lab.row(c).title) for c in children][0] == (
        alice.id, "high", "Whole: part 0")  # fmt: skip
    for _ in range(2):
        lab.run("crawling")
    assert (lab.status(parent), lab.run()) == ("paused", None)
    lab.run("crawling")
    assert lab.status(parent) == "queued"
    lab.run()
    assert lab.row(parent).result == {f"part {n}": {"value": n} for n in range(3)}
    assert (lab.row(parent).attempt, lab.row(parent).crashes) == (1, 0)


def test_a_part_is_started_once_however_often_the_whole_runs(lab: Lab, parent: str) -> None:
    scripts["family"] = lambda run: family(run) if run.crashes else (
        run.start_child("part 0", "test.crawl", {"script": "part", "value": 0}), (_ for _ in ()).throw(Killed()))  # fmt: skip
    lab.crash()
    first = parts(lab, parent)
    lab.end_lease(parent)
    sweep(lab.rt)
    lab.run()
    assert len(parts(lab, parent)) == 3
    assert first[0] in parts(lab, parent)


def test_a_failed_part_wakes_the_whole_too(lab: Lab, parent: str) -> None:
    def refuse(run: Any) -> dict[str, Any]:
        if run.params["value"] == 1:
            raise Invalid("no")
        return {"value": 0}

    scripts["part"] = refuse
    lab.run()
    lab.run_all("crawling")
    lab.run()
    assert lab.row(parent).result == {"part 0": {"value": 0}, "part 1": "failed", "part 2": {"value": 0}}


def test_many_parts_that_end_together_wake_the_whole_once(lab: Lab, parent: str) -> None:
    lab.run()
    threads = [threading.Thread(target=lambda: lab.run("crawling")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert lab.status(parent) == "queued"
    assert [e.message for e in lab.events(parent)].count("All parts are done") == 1


def test_parts_that_ended_before_the_whole_sat_down(lab: Lab, parent: str) -> None:
    def quick(run: Any) -> dict[str, Any]:
        run.start_child("part 0", "test.crawl", {"script": "part", "value": 0})
        try:
            return {"n": len(run.wait_for_children())}
        finally:
            lab.run("crawling")  # between the look and the pause

    scripts["family"] = quick
    lab.run()
    assert lab.status(parent) == "queued"
    lab.run()
    assert lab.row(parent).result == {"n": 1}


def test_the_sweep_wakes_a_whole_nobody_woke(lab: Lab, parent: str) -> None:
    lab.run()
    lab.sql("UPDATE tasks SET status = 'completed' WHERE parent_id = :id", id=parent)
    assert sweep(lab.rt)["joined"] == 1
    assert lab.status(parent) == "queued"
    assert sweep(lab.rt)["joined"] == 0
    execute.wake_parent(lab.rt, parent)
    assert [e.message for e in lab.events(parent)].count("All parts are done") == 1


def test_cancelling_the_whole_stops_everything_below(lab: Lab, alice: Actor, parent: str) -> None:
    scripts["part"] = lambda run: run.start_child("deeper", "test.script", {}) and run.wait_for_children()
    lab.run()
    lab.run("crawling")  # one part has a part of its own now
    running = lab.claim("crawling")
    lab.do("cancel", alice, parent)
    assert lab.status(parent) == "cancelled"
    states = [lab.status(child) for child in parts(lab, parent)]
    assert sorted(states) == ["cancelled", "cancelled", "running"]
    assert lab.row(running.id).cancel_requested
    assert lab.run() is None, "no descendant starts"
    assert lab.run("crawling") is None
    execute._cancelled(lab.rt, running)
    assert lab.status(parent) == "cancelled"


def test_a_cancelled_part_does_not_leave_the_whole_waiting(lab: Lab, alice: Actor, parent: str) -> None:
    lab.run()
    for child in parts(lab, parent):
        lab.do("cancel", alice, child)
    assert lab.status(parent) == "queued"
    lab.run()
    assert lab.row(parent).result == {f"part {n}": "cancelled" for n in range(3)}


def test_no_part_starts_below_what_was_cancelled(lab: Lab, alice: Actor, parent: str) -> None:
    run = lab.claim()
    lab.do("cancel", alice, parent)
    from webapp.core.errors import TaskCancelled, TaskLost

    with pytest.raises(TaskCancelled):
        run.start_child("late", "test.crawl", {})
    lab.sql("UPDATE tasks SET fence = fence + 1 WHERE id = :id", id=parent)
    with pytest.raises(TaskLost):
        run.start_child("later", "test.crawl", {})
    assert parts(lab, parent) == []


def test_starting_a_part_and_cancelling_the_whole_at_once(lab: Lab, alice: Actor) -> None:
    """Whoever comes first: afterwards no part is left that nobody stops."""
    scripts["wait"] = lambda run: {}
    for round in range(8):
        parent = lab.start(alice, "wait")
        run = lab.claim()
        gate = threading.Barrier(2)

        def start(run: Any = run, gate: threading.Barrier = gate) -> None:
            gate.wait()
            try:
                for number in range(6):
                    run.start_child(f"part {number}", "test.crawl", {"script": "wait"})
            except Exception:
                return

        thread = threading.Thread(target=start)
        thread.start()
        gate.wait()
        lab.do("cancel", alice, parent)
        thread.join(30)
        states = {lab.status(child) for child in parts(lab, parent)}
        assert states <= {"cancelled"}, f"round {round}"
        execute._cancelled(lab.rt, run)


def test_retrying_the_whole_gives_its_failed_parts_another_chance(lab: Lab, alice: Actor, parent: str) -> None:
    def refuse(run: Any) -> dict[str, Any]:
        if run.params["value"] == 1:
            raise Invalid("no")
        return {"first": True}

    def strict(run: Any) -> dict[str, Any]:
        found = family(run)
        if "failed" in found.values():
            raise Invalid("a part failed")
        return found

    scripts["part"], scripts["family"] = refuse, strict
    lab.run()
    lab.run_all("crawling")
    lab.run()
    assert lab.status(parent) == "failed"
    scripts["part"] = lambda run: {"second": True}
    lab.do("retry", alice, parent)
    lab.run_all()
    lab.run_all("crawling")
    lab.run_all()
    row = lab.row(parent)
    assert (row.status, row.result) == (
        "completed", {"part 0": {"first": True}, "part 1": {"second": True}, "part 2": {"first": True}})  # fmt: skip

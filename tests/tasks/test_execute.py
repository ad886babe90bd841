"""Claiming, running and recording: once each, in order, fenced, retried by the kind of error, stopped in time."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from typing import Any

import pytest
from sqlalchemy import text

from tests.conftest import ROOT, Cast
from tests.fakes.kinds import Killed, scripts
from tests.fakes.lab import Lab
from webapp.core.context import SYSTEM, Actor
from webapp.core.errors import Conflict, Invalid, TaskCancelled, TaskLost, TaskParked, TaskTimedOut, Upstream
from webapp.tasks import execute, store
from webapp.tasks.kinds import doubling, kinds
from webapp.tasks.store import Event


def now(lab: Lab) -> float:
    from webapp.tasks.scheduler import _now

    return _now(lab.rt)


# -- claiming --------------------------------------------------------------------------------------------------------


def test_a_run_is_recorded_from_claim_to_result(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice, value=5)
    assert lab.run() == task_id
    row = lab.row(task_id)
    assert (row.status, row.progress, row.result, row.attempt, row.fence) == ("completed", 100, {"value": 5}, 1, 1)
    assert row.started_at is not None
    assert row.finished_at is not None
    assert (row.lease_until, row.error) == (None, None)
    assert [(e.type, e.status) for e in lab.events(task_id)] == [
        ("status", "queued"), ("status", "running"), ("result", "completed")]  # fmt: skip
    assert lab.run() is None


def test_the_urgent_go_first_and_of_equals_the_oldest(lab: Lab, alice: Actor) -> None:
    given = ["low", "normal", "high", "normal", "low", "high"]
    made = [lab.start(alice, priority=priority) for priority in given]
    lab.sql("UPDATE tasks SET rank = 0 WHERE id = :id", id=made[4])
    assert [lab.run() for _ in given] == [made[n] for n in (4, 2, 5, 1, 3, 0)]


def test_owners_take_turns_however_much_one_of_them_queued(lab: Lab, cast: Cast) -> None:
    """A46: one person's flood costs another no more than one task of it; each one's own go by age, the urgent first."""
    flood = [lab.start(cast.alice) for _ in range(60)]
    bobs = [lab.start(cast.bob) for _ in range(3)]
    system = lab.start(SYSTEM)
    charlies = [lab.start(cast.charlie) for _ in range(2)]
    urgent = [lab.start(cast.alice, priority="high") for _ in range(2)]
    ran = [lab.run() for _ in range(68)]
    assert ran[:2] == urgent
    assert sorted(ran[2:6].index(one) for one in (flood[0], bobs[0], system, charlies[0])) == [0, 1, 2, 3]
    place = {task_id: number for number, task_id in enumerate(ran[2:], start=1)}
    assert [place[one] <= 4 * turn for turn, one in enumerate(bobs, start=1)] == [True] * 3
    for own in (flood, bobs, charlies):
        assert [one for one in ran if one in own] == own


def test_what_another_worker_is_taking_hides_nothing_behind_it(lab: Lab, cast: Cast) -> None:
    """The only urgent task is locked by another claim at this moment: the next one is found all the same."""
    if lab.rt.engine.dialect.name == "sqlite":
        pytest.skip("one writer at a time")
    urgent, other = lab.start(cast.alice, priority="high"), lab.start(cast.bob)
    with lab.rt.engine.begin() as elsewhere:
        elsewhere.execute(text("SELECT id FROM tasks WHERE id = :id FOR UPDATE"), {"id": urgent})
        assert lab.claim().id == other
    assert lab.claim().id == urgent


def test_queues_do_not_see_each_other(lab: Lab, alice: Actor) -> None:
    crawl = lab.start(alice, kind="test.crawl")
    assert lab.run("inference") is None
    assert lab.run("crawling") == crawl


def test_eight_threads_claim_each_task_once(lab: Lab, alice: Actor) -> None:
    made = [lab.start(alice) for _ in range(40)]
    claimed: list[str] = []
    gate = threading.Barrier(8)

    def work(number: int) -> None:
        gate.wait()
        while (row := store.claim(lab.rt, "inference", f"w{number}", 30)) is not None:
            claimed.append(row.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(claimed) == sorted(made)
    assert int(lab.sql("SELECT count(*) FROM tasks WHERE attempt = 1 AND fence = 1").scalar()) == 40


def test_a_doubled_wake_up_runs_the_task_once(lab: Lab, alice: Actor) -> None:
    ran: list[str] = []
    scripts["count"] = lambda run: ran.append(run.id) or {}
    task_id = lab.start(alice, "count")
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(lab.run())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ran == [task_id]
    assert results.count(task_id) == 1


def test_a_worker_that_leaves_claims_nothing(lab: Lab, alice: Actor) -> None:
    lab.start(alice)
    lab.host.draining.set()
    assert lab.run() is None


# -- fencing ---------------------------------------------------------------------------------------------------------


def test_a_worker_whose_task_was_taken_over_writes_nothing(lab: Lab, alice: Actor) -> None:
    from webapp.tasks.sweep import sweep

    task_id = lab.start(alice)
    zombie = lab.claim()
    zombie.progress(10, "mine")
    lab.end_lease(task_id)
    sweep(lab.rt)
    heir = lab.claim()
    assert heir.fence > zombie.fence
    before = lab.row(task_id).seq
    for write in (
        lambda: zombie.progress(90, "still mine", data={"x": 1}),
        lambda: zombie.log("still here"),
        lambda: zombie.save("key", "stale"),
    ):
        zombie.lost = False
        with pytest.raises(TaskLost):
            write()
    execute._finish(lab.rt, zombie, {"stale": True})
    execute._cancelled(lab.rt, zombie)
    execute._timed_out(lab.rt, zombie, "late")
    execute._fail(lab.rt, zombie, ValueError("late"), retry=True, reason="attempts")
    execute._fail(lab.rt, zombie, ValueError("late"), retry=False, reason="permanent")
    execute.park(lab.rt, zombie)
    execute._wait(lab.rt, zombie, "late")
    row = lab.row(task_id)
    assert (row.seq, row.status, row.fence, row.checkpoint, row.result) == (before, "running", heir.fence, None, None)
    assert lab.letters(task_id) == []
    execute._finish(lab.rt, heir, {"fresh": True})
    assert lab.row(task_id).result == {"fresh": True}


def test_a_lost_run_that_goes_on_ends_silently(lab: Lab, alice: Actor) -> None:
    def overtaken(run: Any) -> dict[str, Any]:
        lab.sql("UPDATE tasks SET fence = fence + 1 WHERE id = :id", id=run.id)
        return {"stale": True}

    scripts["overtaken"] = overtaken
    task_id = lab.start(alice, "overtaken")
    assert lab.run() == task_id
    assert (lab.status(task_id), lab.row(task_id).result) == ("running", None)


def test_leases_are_renewed_for_the_right_fence_only(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    run = lab.claim(lease=1)
    assert store.renew(lab.rt, [(task_id, run.fence)], 500) == {task_id: False}
    left = lab.row(task_id).lease_until
    assert left is not None
    assert 450 < left - now(lab) <= 500
    assert store.renew(lab.rt, [(task_id, run.fence + 1)], 900) == {}
    assert lab.row(task_id).lease_until == left
    assert store.renew(lab.rt, [], 5) == {}


# -- checkpoints -----------------------------------------------------------------------------------------------------


def test_what_is_saved_is_not_done_again_after_a_crash(lab: Lab, alice: Actor) -> None:
    from webapp.tasks.sweep import sweep

    did: list[str] = []

    def steps(run: Any) -> dict[str, Any]:
        total = [run.once(name, lambda name=name: did.append(name) or len(name)) for name in ("one", "three")]
        if run.crashes == 0:
            raise Killed
        return {"total": sum(total), "seen": run.saved("one"), "none": run.saved("nothing", 0)}

    scripts["steps"] = steps
    task_id = lab.start(alice, "steps")
    lab.crash()
    assert lab.row(task_id).checkpoint == {"one": 3, "three": 5}
    lab.end_lease(task_id)
    sweep(lab.rt)
    lab.run()
    row = lab.row(task_id)
    assert did == ["one", "three"]
    assert row.result == {"total": 8, "seen": 3, "none": 0}
    assert row.checkpoint is None, "what is over needs no checkpoint"


def test_a_failed_task_keeps_its_checkpoints_for_the_retry(lab: Lab, alice: Actor) -> None:
    did: list[int] = []

    def half(run: Any) -> dict[str, Any]:
        run.once("first", lambda: did.append(1) or 1)
        raise Invalid("the second half is missing")

    scripts["half"] = half
    task_id = lab.start(alice, "half")
    lab.run()
    lab.do("retry", alice, task_id)
    scripts["half"] = lambda run: {"first": run.once("first", lambda: did.append(2) or 2)}
    lab.run()
    assert (lab.row(task_id).result, did) == ({"first": 1}, [1])


@pytest.mark.parametrize("value", [None, 0, "a\0b\ud800", {"nested": [1, {"x": None}]}, [], 2**60, float("inf")])
def test_checkpoints_and_results_survive_any_value(lab: Lab, alice: Actor, value: Any) -> None:
    scripts["keep"] = lambda run: {"kept": run.once("key", lambda: value)}
    task_id = lab.start(alice, "keep")
    lab.run()
    row = lab.row(task_id)
    assert row.status == "completed", row.error
    kept = (row.result or {})["kept"]
    if isinstance(value, str):
        assert "\0" not in kept
    else:
        assert kept == (None if value == float("inf") else value)


def test_a_result_that_is_no_object_becomes_one(lab: Lab, alice: Actor) -> None:
    scripts["bare"] = lambda run: 7
    task_id = lab.start(alice, "bare")
    lab.run()
    assert lab.row(task_id).result == {"value": 7}


# -- errors ----------------------------------------------------------------------------------------------------------


def failing(error: Exception) -> Any:
    def script(run: Any) -> None:
        raise error

    return script


def test_a_passing_error_is_tried_again_until_it_works(lab: Lab, alice: Actor) -> None:
    def flaky(run: Any) -> dict[str, Any]:
        if run.attempt < 3:
            raise Upstream("the other side stumbled")
        return {"attempt": run.attempt}

    scripts["flaky"] = flaky
    task_id = lab.start(alice, "flaky")
    lab.run()
    row = lab.row(task_id)
    assert (row.status, row.error, row.error_code) == ("retrying", "the other side stumbled", "upstream")
    assert "Retrying (1/2)" in row.message
    lab.run_all()
    lab.make_due()
    lab.run_all()
    row = lab.row(task_id)
    assert (row.status, row.result, row.attempt, row.error) == ("completed", {"attempt": 3}, 3, None)
    assert lab.letters(task_id) == []


def test_attempts_end_and_leave_a_letter_with_the_traceback(lab: Lab, alice: Actor) -> None:
    scripts["broken"] = failing(ZeroDivisionError("dividing by nothing"))
    task_id = lab.start(alice, "broken")
    for _ in range(3):
        lab.run()
        lab.make_due()
    row = lab.row(task_id)
    assert (row.status, row.attempt, row.error_code) == ("failed", 3, "error")
    assert row.error == "ZeroDivisionError: dividing by nothing"
    [letter] = lab.letters(task_id)
    assert (letter.reason, letter.attempt, letter.kind, letter.queue) == ("attempts", 3, "test.script", "inference")
    assert "Traceback" in letter.traceback
    assert "in script" in letter.traceback
    assert [e.type for e in lab.events(task_id)].count("error") == 1, "an error event is the end (contract C10)"


@pytest.mark.parametrize("error", [Invalid("no good"), Conflict("taken"), Upstream("gone", retryable=False)])
def test_a_permanent_error_is_not_tried_again(lab: Lab, alice: Actor, error: Exception) -> None:
    scripts["wrong"] = failing(error)
    task_id = lab.start(alice, "wrong")
    lab.run()
    lab.make_due()
    assert lab.run() is None
    assert (lab.status(task_id), lab.row(task_id).attempt) == ("failed", 1)
    assert [letter.reason for letter in lab.letters(task_id)] == ["permanent"]


def test_a_suggestion_is_part_of_the_error(lab: Lab, alice: Actor) -> None:
    scripts["wrong"] = failing(Invalid("no good", suggestion="Use another."))
    task_id = lab.start(alice, "wrong")
    lab.run()
    assert lab.row(task_id).error == "no good Use another."


def test_retry_after_of_the_other_side_is_kept(lab: Lab, alice: Actor) -> None:
    scripts["busy"] = failing(Upstream("too many", retry_after=7))
    task_id = lab.start(alice, "busy")
    lab.run()
    due = lab.row(task_id).due_at
    assert due is not None
    assert 5.5 < due - now(lab) <= 7
    lab.make_due()
    assert lab.run() is None, "not before its time"
    assert [e.data for e in lab.events(task_id) if e.data][-1] == {"retry_in": 7.0, "code": "upstream", "attempt": 1}


def test_the_kinds_own_backoff_is_kept(lab: Lab, alice: Actor) -> None:
    scripts["busy"] = failing(Upstream("too many"))
    task_id = lab.start(alice, "busy", kind="test.slowly")
    lab.run()
    due = lab.row(task_id).due_at
    assert due is not None
    assert 28 < due - now(lab) <= 30


def test_backoff_without_a_rule_is_full_jitter_up_to_five_minutes() -> None:
    for attempt in range(1, 12):
        top = min(300.0, 2.0**attempt)
        delays = [execute.retry_delay(attempt, Upstream("x"), None) for _ in range(50)]
        assert all(0.2 * top <= delay <= top for delay in delays)
        assert len(set(delays)) > 40
    assert execute.retry_delay(1, Upstream("x", retry_after=10**9), None) == 3600
    assert [doubling(60)(attempt) for attempt in (1, 2, 3)] == [60, 120, 240]


def test_an_error_that_is_the_echo_of_a_cancellation_is_a_cancellation(lab: Lab, alice: Actor) -> None:
    def cut_off(run: Any) -> None:
        lab.do("cancel", alice, run.id)
        run.cancel_requested = True
        raise Upstream("connection closed")

    scripts["cut"] = cut_off
    task_id = lab.start(alice, "cut")
    lab.run()
    assert (lab.status(task_id), lab.letters(task_id)) == ("cancelled", [])


def test_a_kind_that_nobody_knows_is_left_to_others_and_fails_in_the_end(lab: Lab, alice: Actor) -> None:
    """While an upgrade is under way a worker of before meets kinds of later."""
    task_id = lab.start(alice)
    lab.sql("UPDATE tasks SET kind = 'gone.kind' WHERE id = :id", id=task_id)
    for _ in range(3):
        lab.run()
        row = lab.row(task_id)
        assert (row.status, row.attempt, row.crashes, lab.letters(task_id)) == ("queued", 0, 0, [])
        assert "does not know its kind" in row.message
        assert row.due_at is not None
        assert lab.run() is None, "it is not taken again at once"
        lab.sql("UPDATE tasks SET due_at = 1 WHERE id = :id", id=task_id)
    lab.sql("UPDATE tasks SET kind = 'test.script' WHERE id = :id", id=task_id)
    lab.run()
    assert lab.status(task_id) == "completed", "a worker that knows it does it"
    task_id = lab.start(alice)
    lab.sql("UPDATE tasks SET kind = 'gone.kind' WHERE id = :id", id=task_id)
    lab.run()
    lab.sql("UPDATE tasks SET due_at = 1 WHERE id = :id", id=task_id)
    lab.sql("UPDATE task_events SET at = '2026-01-01 00:00:00+00' WHERE task_id = :id", id=task_id)
    lab.run()
    row = lab.row(task_id)
    assert row.status == "failed"
    assert "gone.kind" in (row.error or "")
    assert [letter.reason for letter in lab.letters(task_id)] == ["unknown_kind"]


def test_parameters_of_before_get_the_defaults_of_now(lab: Lab, alice: Actor) -> None:
    """A task queued by the last version lacks what this one added; what it says itself stays."""
    from pydantic import BaseModel, Field

    class Now(BaseModel):
        script: str
        value: int | None = None
        language: str = "en"
        steps: list[str] = Field(default_factory=lambda: ["read"])

    kind = dataclasses.replace(kinds.get("test.script"), params=Now)
    old = {"script": "ok", "removed_since": 1}
    assert kind.with_new_defaults(old) == {**old, "language": "en", "steps": ["read"]}
    assert kind.with_new_defaults({"script": "ok", "language": "de"})["language"] == "de"
    assert old == {"script": "ok", "removed_since": 1}


def test_an_error_text_of_any_kind_is_stored(lab: Lab, alice: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    # A captured log line with a lone surrogate cannot travel between the test processes.
    monkeypatch.setattr(logging.getLogger("webapp.tasks.execute"), "disabled", True)
    scripts["odd"] = failing(ValueError("\0 \ud800 <b> %s :name " + "x" * 100_000))
    task_id = lab.start(alice, "odd")
    for _ in range(3):
        lab.run()
        lab.make_due()
    row = lab.row(task_id)
    assert row.status == "failed"
    assert len(row.error or "") <= 2000
    assert len(row.message) <= 500


# -- stopping --------------------------------------------------------------------------------------------------------


def test_cancelling_a_running_task_stops_it_at_the_next_look(lab: Lab, alice: Actor) -> None:
    seen: list[str] = []

    def loop(run: Any) -> None:
        for step in range(100):
            run.log(f"step {step}")
            if step == 2:
                lab.do("cancel", alice, run.id)
                seen.append(lab.status(run.id))
            run.check()
        raise AssertionError("nobody stopped it")

    scripts["loop"] = loop
    task_id = lab.start(alice, "loop")
    lab.run()
    row = lab.row(task_id)
    assert seen == ["running"], "it is running until it has stopped"
    assert (row.status, row.lease_until) == ("cancelled", None)
    assert row.finished_at is not None
    assert [e.message for e in lab.events(task_id)][-2:] == ["step 3", "Cancelled"]


def test_cancelled_while_it_finished_counts_as_finished(lab: Lab, alice: Actor) -> None:
    def finish(run: Any) -> dict[str, Any]:
        lab.do("cancel", alice, run.id)
        return {"done": True}

    scripts["finish"] = finish
    task_id = lab.start(alice, "finish")
    lab.run()
    assert (lab.status(task_id), lab.row(task_id).result) == ("completed", {"done": True})


def test_cancelling_twice_is_one_request(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    lab.claim()
    lab.do("cancel", alice, task_id)
    lab.do("cancel", alice, task_id)
    assert [e.message for e in lab.events(task_id)].count("Stopping") == 1
    assert not lab.row(task_id).can_cancel


def test_cancelling_while_it_waits_for_a_retry(lab: Lab, alice: Actor) -> None:
    scripts["busy"] = failing(Upstream("too many", retry_after=60))
    task_id = lab.start(alice, "busy")
    lab.run()
    lab.do("cancel", alice, task_id)
    assert (lab.status(task_id), lab.row(task_id).due_at) == ("cancelled", None)


def test_the_time_limit_ends_a_run_that_looks(lab: Lab, alice: Actor) -> None:
    def loop(run: Any) -> None:
        while True:
            run.check()
            time.sleep(0.01)

    scripts["loop"] = loop
    task_id = lab.start(alice, "loop", kind="test.brief")
    began = time.monotonic()
    lab.run()
    assert time.monotonic() - began < 2
    row = lab.row(task_id)
    assert (row.status, row.error_code, row.attempt) == ("timed_out", "time_limit", 1)
    assert "longer than 0.25 s" in (row.error or "")
    assert [letter.reason for letter in lab.letters(task_id)] == ["time_limit"]
    assert lab.do("retry", alice, task_id).status == "queued"


def test_the_watchdog_ends_a_run_that_does_not_look(lab: Lab, alice: Actor) -> None:
    def busy(run: Any) -> None:
        while True:
            time.sleep(0.005)

    scripts["busy"] = busy
    task_id = lab.start(alice, "busy", kind="test.brief")
    lab.host.start()
    try:
        began = time.monotonic()
        lab.run()
        assert time.monotonic() - began < 5
    finally:
        lab.host.stop()
    assert lab.status(task_id) == "timed_out"


def test_a_bell_stops_a_run_that_does_not_look(lab: Lab, alice: Actor) -> None:
    started = threading.Event()

    def busy(run: Any) -> None:
        started.set()
        while True:
            time.sleep(0.005)

    scripts["busy"] = busy
    task_id = lab.start(alice, "busy")
    lab.host.start()
    worker = threading.Thread(target=lab.run)
    worker.start()
    try:
        assert started.wait(10)
        if hasattr(lab.rt.bus, "connected"):
            assert lab.rt.bus.connected.wait(10)
        lab.do("cancel", alice, task_id)
        worker.join(6)
        assert not worker.is_alive()
    finally:
        lab.host.stop()
    assert lab.status(task_id) == "cancelled"


def test_parking_charges_no_attempt(lab: Lab, alice: Actor) -> None:
    def leave(run: Any) -> None:
        run.save("half", 1)
        run.park_requested = run.saved("again") is None and run.fence == 1
        run.check()

    scripts["leave"] = leave
    task_id = lab.start(alice, "leave")
    lab.run()
    row = lab.row(task_id)
    assert (row.status, row.attempt, row.crashes, row.lease_until) == ("queued", 0, 0, None)
    assert row.checkpoint == {"half": 1}
    lab.run()
    assert (lab.status(task_id), lab.row(task_id).attempt) == ("completed", 1)


def test_draining_parks_what_runs_and_says_whether_all_ended(lab: Lab, alice: Actor) -> None:
    started = threading.Event()

    def loop(run: Any) -> None:
        started.set()
        while run.fence == 1:
            run.check()
            time.sleep(0.01)

    scripts["loop"] = loop
    task_id = lab.start(alice, "loop")
    worker = threading.Thread(target=lab.run)
    worker.start()
    assert started.wait(10)
    assert lab.host.drain(1.0) is True
    worker.join(5)
    assert (lab.status(task_id), lab.row(task_id).attempt) == ("queued", 0)
    assert [e.message for e in lab.events(task_id)][-1].startswith("Parked")


def test_signals_in_the_order_that_matters(lab: Lab, alice: Actor) -> None:
    lab.start(alice)
    run = lab.claim()
    run.check()
    run.park_requested = True
    with pytest.raises(TaskParked):
        run.check()
    run.soft_limit = 0
    with pytest.raises(TaskTimedOut):
        run.check()
    run.cancel_requested = True
    with pytest.raises(TaskCancelled):
        run.check()
    run.lost = True
    with pytest.raises(TaskLost):
        run.check()
    assert run.stopped()


# -- events ----------------------------------------------------------------------------------------------------------


def test_progress_never_goes_back_and_never_ends_before_the_end(lab: Lab, alice: Actor) -> None:
    def steps(run: Any) -> dict[str, Any]:
        for percent in (10, 5, 50, -3, 400, 60):
            run.progress(percent, f"at {percent}", data={"at": percent})
        return {}

    scripts["steps"] = steps
    task_id = lab.start(alice, "steps")
    lab.run()
    assert [e.progress for e in lab.events(task_id) if e.type == "progress"] == [10, 10, 50, 50, 99, 99]
    assert lab.row(task_id).progress == 100


def test_quick_progress_is_gathered_and_its_last_word_kept(lab: Lab, alice: Actor) -> None:
    def steps(run: Any) -> dict[str, Any]:
        for percent in range(90):
            run.progress(percent, f"at {percent}")
        return {}

    scripts["steps"] = steps
    task_id = lab.start(alice, "steps")
    lab.run()
    told = [e.message for e in lab.events(task_id) if e.type == "progress"]
    assert len(told) < 60
    assert told[-1] == "at 89"


def test_sequence_numbers_have_no_gap_and_no_repeat_under_many_writers(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    run = lab.claim()
    rung: list[int] = []
    lock = threading.Lock()

    def write(number: int) -> None:
        for step in range(15):
            row = store.advance(lab.rt, task_id, {}, Event("info", f"{number}.{step}"), fence=run.fence)
            with lock:
                rung.append(row.seq)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    events = lab.events(task_id)
    assert [e.seq for e in events] == list(range(1, 93))
    assert sorted(rung) == list(range(3, 93))
    assert lab.row(task_id).seq == 92


def test_every_change_rings_after_it_is_there(lab: Lab, alice: Actor) -> None:
    heard: list[tuple[str, int]] = []

    def ring(kind: str, id: str, seq: int = 0, owner: str | None = None) -> None:
        if kind == "task":
            assert lab.row(id).seq >= seq
            assert owner == alice.id
            heard.append((kind, seq))

    lab.rt.ring = ring  # type: ignore[method-assign]
    scripts["two"] = lambda run: run.log("one") or run.log("two", "warning", n=2) or {}
    task_id = lab.start(alice, "two")
    lab.run()
    assert [seq for _, seq in heard] == [1, 2, 3, 4, 5]
    assert [(e.level, e.data) for e in lab.events(task_id)][2:4] == [("info", None), ("warning", {"n": 2})]


# -- run twice -------------------------------------------------------------------------------------------------------

# These need more than a database: a site, a model or a vector index. Each is run there, those that keep more than their
# own result twice.
ELSEWHERE = {
    "chat.answer": "tests/chat/test_messages.py::test_a_crash_resumes_and_the_old_claim_writes_nothing",
    "chat.expand": "tests/research/test_in_a_conversation.py::test_running_twice_writes_one_answer_and_reads_nothing_again",
    "content.analyze": "tests/research/test_research.py::test_compared_twice_it_says_and_keeps_the_same",
    "research": "tests/research/test_answers.py::test_a_killed_run_reads_and_answers_nothing_twice",
    "api": "tests/calls/test_kind.py::test_killed_after_the_answer_was_kept",
    "agent.task": "tests/agent_service/test_service.py::test_killed_before_its_end_the_model_is_not_asked_again",
    "models.pull": "tests/engines/test_pull.py::test_pulled_twice_it_is_one_file",
    "models.try": "tests/engines/test_attacks.py::test_tried_twice_it_is_one_result",
    "crawl.site": "tests/crawl/test_crawl.py::test_running_twice_changes_nothing",
    "knowledge.embed": "tests/knowledge/test_embed.py::test_what_breaks_off_is_taken_up_again",
    "maintenance.embed": "tests/knowledge/test_embed.py::test_what_breaks_off_is_taken_up_again",
    "knowledge.reindex": "tests/knowledge/test_embed.py::test_killed_between_the_change_and_the_dropping",
    "knowledge.embed_pending": "tests/knowledge/test_embed.py::test_the_half_hourly_round_takes_what_was_forgotten",
}
OURS = [name for name in kinds.names() if not name.startswith("test.") and name not in ELSEWHERE]


def params_for(lab: Lab, owner: Actor, name: str) -> dict[str, Any]:
    """An example of the kind's own, else what only a database can give."""
    from webapp.knowledge.service import collections, sources

    if name == "chat.completion":
        return {
            "engine": "extractive",
            "grounded": True,
            "messages": [{"role": "user", "content": "When was it rebuilt?"}],
        }
    if name not in ("knowledge.read", "knowledge.remove"):
        return next((example for example in kinds.get(name).examples if "urls" not in example), {})
    with lab.as_(owner) as ctx:
        collection = collections.create(ctx, "Papers")
        params: dict[str, Any] = {"collection_id": collection.id}
        if name == "knowledge.read":
            params["source_ids"] = [sources.add_text(ctx, collection.id, "The port was rebuilt in 1908.").id]
        return params


def test_what_is_run_twice_elsewhere_is_run_there() -> None:
    """Else a test that is renamed or dropped would take a kind out of this rule unseen."""
    for name, where in ELSEWHERE.items():
        path, test = where.split("::")
        assert name in kinds.names(), f"{name} is no kind any more"
        assert f"\ndef {test}(" in (ROOT / path).read_text(encoding="utf-8"), where


@pytest.mark.parametrize("name", OURS)
def test_every_kind_runs_twice_with_the_same_outcome(lab: Lab, alice: Actor, name: str) -> None:
    """GitLab's shared example: each job run twice, unmocked. The second time after a crash at the very end."""
    kind = kinds.get(name)
    params = params_for(lab, alice, name)
    started = lab.sql("SELECT id FROM tasks WHERE kind = :kind", kind=name).scalar()  # a source comes with its task
    everybodys = ("knowledge.quality", "maintenance.quality", "knowledge.freshness")
    who = SYSTEM if name in everybodys else alice
    task_id = str(started or lab.do("start", who, name, params)["id"])
    queue, results = lab.row(task_id).queue, []
    for _ in range(2):
        run = lab.claim(queue)
        results.append(kind.run(run))
        lab.sql(
            "UPDATE tasks SET status = 'queued', fence = fence + 1, attempt = attempt - 1 WHERE id = :id", id=task_id
        )
    assert shape(results[0]) == shape(results[1])
    lab.run(queue)
    row = lab.row(task_id)
    assert (row.status, row.error) == ("completed", None)
    assert shape(row.result) == shape(results[0])
    assert int(lab.sql("SELECT count(*) FROM tasks WHERE kind = :kind", kind=name).scalar()) == 1
    done = "SELECT count(*) FROM task_events WHERE type = 'result' AND task_id = :id"
    assert int(lab.sql(done, id=task_id).scalar()) == 1


VARYING = ("since", "timestamp", "free_mb", "queues", "processing_time", "ms")


def shape(result: Any) -> Any:
    """Without what may differ: times and what is free on the disk."""
    if isinstance(result, dict):
        return {key: shape(value) for key, value in result.items() if key not in VARYING}
    return [shape(one) for one in result] if isinstance(result, list) else result

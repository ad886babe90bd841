"""The state machine of tasks in any order: start, claim, beat, tell, end, die, sweep, cancel, retry, change, remove.

Hypothesis plays people, workers that may sleep for as long as they like, and the sweep, on a real SQLite file. A small
model says what each step must lead to; after each step every row must agree with it and keep what holds always.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import make_cast
from tests.fakes import kinds as fake_kinds
from tests.fakes.lab import Lab
from webapp.core.errors import BadRequest, Conflict, NotFound, TaskInterrupted, TaskLost, TaskParked, Upstream
from webapp.tasks import execute, service, store, sweep
from webapp.tasks.models import FINAL
from webapp.tasks.run import TaskRun, WaitForChildren

RETRYABLE = ("failed", "cancelled", "timed_out")
WAITING = ("queued", "retrying", "waiting_input", "paused")
ENDS = ("ok", "transient", "permanent", "parked", "late", "bug")
QUEUE = "inference"
LEASE = 30.0


@dataclass
class Known:
    """What must be true of a task."""

    owner: Any
    status: str = "queued"
    fence: int = 0
    attempt: int = 0
    crashes: int = 0
    cancel: bool = False
    letters: int = 0
    told: int = 0  # notices that its owner gets
    parent: str | None = None
    progress: int = 0


@dataclass
class Hand:
    """A worker that holds a claim, or believes so."""

    run: TaskRun
    known: Known
    steps: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return self.known.status == "running" and self.known.fence == self.run.fence


class Machine(RuleBasedStateMachine):
    lab: Lab
    people: tuple[Any, ...]

    @initialize()
    def empty(self) -> None:
        for table in ("task_notices", "dead_letters", "task_events", "tasks"):
            self.lab.sql(f"DELETE FROM {table}")
        self.tasks: dict[str, Known] = {}
        self.hands: list[Hand] = []
        self.most = self.lab.rt.settings.max_crashes
        fake_kinds.scripts["act"] = self._act
        self.acting: str = "ok"

    # -- people ------------------------------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1), priority=st.sampled_from(["high", "normal", "low"]))
    def start(self, who: int, priority: str) -> None:
        owner = self.people[who]
        task_id = self.lab.start(owner, "act", priority=priority)
        self.tasks[task_id] = Known(owner)

    def _some(self, number: int) -> tuple[str, Known]:
        return list(self.tasks.items())[number % len(self.tasks)]

    def _below(self, task_id: str) -> list[tuple[str, Known]]:
        return [(one, known) for one, known in self.tasks.items() if known.parent == task_id]

    @precondition(lambda self: self.tasks)
    @rule(number=st.integers(0, 30))
    def cancel(self, number: int) -> None:
        task_id, known = self._some(number)
        if known.status in FINAL:
            with pytest.raises(Conflict):
                self.lab.do("cancel", known.owner, task_id)
            return
        self.lab.do("cancel", known.owner, task_id)
        self._cancelled(task_id)
        self._joined(known.parent)

    def _cancelled(self, task_id: str) -> None:
        known = self.tasks[task_id]
        if known.status in WAITING:
            self._over(known, "cancelled")
            known.cancel = True
        elif known.status == "running":
            known.cancel = True
        for child, _ in self._below(task_id):
            self._cancelled(child)

    @precondition(lambda self: self.tasks)
    @rule(number=st.integers(0, 30))
    def retry(self, number: int) -> None:
        task_id, known = self._some(number)
        if known.status not in RETRYABLE:
            with pytest.raises(Conflict):
                self.lab.do("retry", known.owner, task_id)
            return
        self.lab.do("retry", known.owner, task_id)
        self._again(task_id)

    def _again(self, task_id: str) -> None:
        known = self.tasks[task_id]
        if known.status in RETRYABLE:
            known.status, known.attempt, known.crashes, known.cancel, known.letters = "queued", 0, 0, False, 0
            known.progress = 0
            for child, _ in self._below(task_id):
                self._again(child)

    @precondition(lambda self: self.tasks)
    @rule(number=st.integers(0, 30))
    def remove(self, number: int) -> None:
        task_id, known = self._some(number)
        if known.status not in FINAL:
            with pytest.raises(Conflict):
                self.lab.do("remove", known.owner, task_id)
            return
        self.lab.do("remove", known.owner, task_id)
        gone = [task_id]
        for one in gone:
            gone += [child for child, _ in self._below(one)]
        for one in gone:
            self.tasks.pop(one).status = "gone"

    @precondition(lambda self: self.tasks)
    @rule(number=st.integers(0, 30), priority=st.sampled_from(["high", "low"]))
    def change(self, number: int, priority: str) -> None:
        task_id, known = self._some(number)
        if known.status == "queued":
            self.lab.do("update", known.owner, task_id, priority=priority)
        elif known.status in (*FINAL, "running"):
            with pytest.raises(Conflict):
                self.lab.do("update", known.owner, task_id, priority=priority)

    @precondition(lambda self: self.tasks)
    @rule(number=st.integers(0, 30), verb=st.sampled_from(["cancel", "retry", "remove"]))
    def a_stranger(self, number: int, verb: str) -> None:
        task_id, known = self._some(number)
        with pytest.raises(NotFound):
            self.lab.do(verb, self.people[0] if known.owner is self.people[1] else self.people[1], task_id)

    # -- workers -----------------------------------------------------------------------------------------------------

    @rule()
    def claim(self) -> None:
        row = store.claim(self.lab.rt, QUEUE, "some-worker", LEASE)
        ready = {task_id for task_id, known in self.tasks.items() if known.status == "queued"}
        if row is None:
            assert not ready, "a task was due and nobody got it"
            return
        assert row.id in ready, "handed out twice, or before its time"
        known = self.tasks[row.id]
        assert row.fence > known.fence
        assert row.attempt == known.attempt + 1
        assert row.cancel_requested == known.cancel
        known.status, known.fence, known.attempt = "running", row.fence, row.attempt
        self.hands.append(Hand(TaskRun(self.lab.rt, row, row.time_limit), known))

    def _hand(self, number: int) -> Hand:
        return self.hands[number % len(self.hands)]

    @precondition(lambda self: self.hands)
    @rule(number=st.integers(0, 30))
    def beat(self, number: int) -> None:
        """As the worker's host does it: prolong, and hear that it is to stop or was forgotten."""
        hand = self._hand(number)
        ours = store.renew(self.lab.rt, [(hand.run.id, hand.run.fence)], LEASE)
        if not hand.holds:
            assert ours == {}
            hand.run.lost = True
        else:
            assert ours == {hand.run.id: hand.known.cancel}
            if hand.known.cancel:
                hand.run.ask_to_stop()

    @precondition(lambda self: self.hands)
    @rule(number=st.integers(0, 30), what=st.sampled_from(["progress", "log", "save"]), percent=st.integers(-5, 130))
    def tell(self, number: int, what: str, percent: int) -> None:
        hand = self._hand(number)
        before, stopped = self._row(hand.run.id), hand.run.stopped()
        refused: TaskInterrupted | None = None
        try:
            if what == "progress":
                hand.run.progress(percent, "On it", data={"n": percent})
                hand.known.progress = hand.run._progress
            elif what == "log":
                hand.run.log("A line")
            else:
                hand.run.save("where", percent)
        except TaskInterrupted as exc:
            refused = exc
        if refused is not None:
            assert stopped or (isinstance(refused, TaskLost) and not hand.holds)
            assert self._row(hand.run.id) == before, "a worker that was told off wrote"
            return
        assert hand.holds, "a worker that holds nothing wrote"
        assert self._row(hand.run.id) != before
        assert hand.run.cancel_requested == hand.known.cancel

    @precondition(lambda self: self.hands)
    @rule(number=st.integers(0, 30))
    def part(self, number: int) -> None:
        """A whole starts a part of it, once for a step."""
        hand = self._hand(number)
        step = f"part {len(hand.steps) % 2}"
        have = {row[0] for row in self.lab.sql("SELECT step FROM tasks WHERE parent_id = :id", id=hand.run.id).rows}
        if hand.known.parent is not None or hand.known.status == "gone":
            return
        try:
            child = hand.run.start_child(step, "test.script", {"script": "act"})
        except TaskInterrupted:
            assert not hand.holds or hand.known.cancel or hand.run.stopped()
            return
        assert (child in self.tasks) == (step in have)
        if step not in have:
            assert hand.holds
            assert not hand.known.cancel
            self.tasks[child] = Known(hand.known.owner, parent=hand.run.id)
        hand.steps.append(step)

    def _act(self, run: TaskRun) -> Any:
        if self.acting == "transient":
            raise Upstream("it did not answer", retryable=True)
        if self.acting == "permanent":
            raise BadRequest("never")
        if self.acting == "parked":
            raise TaskParked("leaving")
        if self.acting == "late":
            run.started -= run.time_limit + 1
            run.check()
        if self.acting == "bug":
            raise ZeroDivisionError
        if self.acting == "waits":
            raise WaitForChildren("waiting for parts")
        return {"value": 1}

    @precondition(lambda self: self.hands)
    @rule(number=st.integers(0, 30), how=st.sampled_from([*ENDS, "waits"]))
    def end(self, number: int, how: str) -> None:
        hand = self.hands.pop(number % len(self.hands))
        run, known = hand.run, hand.known
        if how == "waits" and not self._below(run.id):
            how = "ok"
        self.acting, before = how, self._row(run.id)
        execute._run_and_record(self.lab.rt, run)
        if not hand.holds or run.lost:
            # `lost` of one that holds its task cannot be: it is only told so when it does not.
            assert not hand.holds
            assert self._row(run.id) == before, "a worker that holds nothing ended a task"
            return
        self._ended(known, run, how)
        self._joined(run.id)
        self._joined(known.parent)

    def _ended(self, known: Known, run: TaskRun, how: str) -> None:
        if run.cancel_requested:
            self._over(known, "cancelled")
        elif how == "ok":
            self._over(known, "completed")
            known.progress = 100
        elif how == "parked":
            known.status, known.attempt = "queued", known.attempt - 1
        elif how == "waits":
            known.status, known.attempt = "paused", known.attempt - 1
        elif how == "late":
            self._over(known, "timed_out", letter=True)
        elif how == "permanent" or run.attempt == run.max_attempts:
            self._over(known, "failed", letter=True)
        else:
            known.status = "retrying"

    # -- time --------------------------------------------------------------------------------------------------------

    @precondition(lambda self: any(known.status == "running" for known in self.tasks.values()))
    @rule(number=st.integers(0, 30), restart=st.booleans())
    def die(self, number: int, restart: bool) -> None:
        """A worker is killed or sleeps too long; with `restart`, the one process that ran them all."""
        running = [(one, known) for one, known in self.tasks.items() if known.status == "running"]
        if restart:
            assert sweep.bring_back_orphans(self.lab.rt) == len(running)
        else:
            running = [running[number % len(running)]]
            self.lab.end_lease(running[0][0])
            self._sweep()
        for _, known in running:
            self._lost(known)
        for _, known in running:
            self._joined(known.parent)

    def _lost(self, known: Known) -> None:
        known.crashes += 1
        known.fence += 1
        if known.crashes >= self.most:
            self._over(known, "failed", letter=True)
        else:
            known.status, known.attempt = "queued", max(0, known.attempt - 1)

    @rule()
    def sweep(self) -> None:
        self._sweep()

    def _sweep(self) -> None:
        sweep.sweep(self.lab.rt)
        for known in self.tasks.values():
            if known.status == "retrying":  # these wait for no time at all
                known.status = "queued"

    # -- the model ---------------------------------------------------------------------------------------------------

    def _over(self, known: Known, status: str, *, letter: bool = False) -> None:
        known.status = status
        known.letters += letter
        known.told += known.parent is None

    def _joined(self, task_id: str | None) -> None:
        """A whole that waits goes on once no part of it is unfinished."""
        known = self.tasks.get(task_id or "")
        if known and known.status == "paused" and all(c.status in FINAL for _, c in self._below(task_id or "")):
            known.status = "queued"

    def _row(self, task_id: str) -> Any:
        return self.lab.sql("SELECT * FROM tasks WHERE id = :id", id=task_id).rows

    @invariant()
    def every_row_is_as_it_must_be(self) -> None:
        if not hasattr(self, "tasks"):
            return
        columns = ("id, status, fence, attempt, max_attempts, crashes, cancel_requested, progress, seq, lease_until, due_at,"
                   " finished_at, started_at, result, error")  # fmt: skip
        rows = {row.id: row for row in self.lab.sql(f"SELECT {columns} FROM tasks").rows}
        events = self._events()
        letters = self._counted("SELECT task_id, count(*) FROM dead_letters WHERE requeued_at IS NULL GROUP BY task_id")
        told = self._counted("SELECT task_id, count(*) FROM task_notices GROUP BY task_id")
        assert set(rows) == set(self.tasks)
        for task_id, known in self.tasks.items():
            row = rows[task_id]
            seen = (row.status, row.fence, row.attempt, row.crashes, bool(row.cancel_requested), row.progress)
            assert seen == (known.status, known.fence, known.attempt, known.crashes, known.cancel, known.progress)
            assert 0 <= row.attempt <= row.max_attempts
            assert 0 <= row.crashes <= self.most
            assert 0 <= row.progress <= 100
            assert (row.lease_until is not None) == (row.status == "running")
            assert (row.finished_at is not None) == (row.status in FINAL)
            assert row.due_at is None or row.status == "retrying"
            assert (row.result is not None) == (row.status == "completed")
            assert letters.get(task_id, 0) == known.letters <= 1
            assert told.get(task_id, 0) == known.told
            assert [seq for seq, _, _ in events[task_id]] == list(range(1, row.seq + 1)), "a gap or a repeat"
            self._one_end_for_each_life([(kind, status) for _, kind, status in events[task_id]])
            assert events[task_id][-1][2] == row.status

    def _events(self) -> dict[str, list[tuple[int, str, str]]]:
        found: dict[str, list[tuple[int, str, str]]] = {task_id: [] for task_id in self.tasks}
        for row in self.lab.sql("SELECT task_id, seq, type, status FROM task_events ORDER BY task_id, seq").rows:
            found[row.task_id].append((row.seq, row.type, row.status))
        return found

    def _counted(self, statement: str) -> dict[str, int]:
        return {row[0]: row[1] for row in self.lab.sql(statement).rows}

    def _one_end_for_each_life(self, events: list[tuple[str, str]]) -> None:
        """After a final state nothing is told until somebody asks for another try."""
        for (_, before), (kind, after) in zip(events, events[1:], strict=False):
            if before in FINAL:
                assert (kind, after) == ("status", "queued"), "something happened after the end"


def test_any_order_keeps_what_must_hold(make_rt: Any) -> None:
    rt = make_rt()
    lab, cast = Lab(rt), make_cast(rt)
    Machine.lab, Machine.people = lab, (cast.alice, cast.bob)
    # The same each time; `make fuzz` looks for new ones.
    looking = "FUZZ_SECONDS" in os.environ
    how = settings(
        max_examples=400 if looking else 40, stateful_step_count=50, deadline=None, database=None,
        derandomize=not looking, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    assert service.RETRYABLE == RETRYABLE
    run_state_machine_as_test(Machine, settings=how)  # type: ignore[no-untyped-call]

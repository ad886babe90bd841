"""F23, F24: work that takes too long, and work that somebody stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.drills.harness import Stack, dripping, scaled, tell, until, within

pytestmark = [pytest.mark.drill, pytest.mark.spine]
LIMIT = 2.0  # of the kinds ending in _2s


def test_f23_time_limits_in_three_layers(mode: str, own: Callable[..., Any]) -> None:
    """A loop, a dripping read, a child and a C call end in their time, each `time_limit`, none is tried again."""
    with dripping() as port:
        more: dict[str, Any] = {"workers": ("all",), "live": False} if mode == "distributed" else {}
        stack: Stack = own(mode, BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{port}", **more)
        stack.start()
        first = {
            "loop": (stack.run("stuck_2s", {"how": "loop", "seconds": 60}), LIMIT + 2),
            "child": (stack.run("stuck_2s", {"how": "child", "seconds": 60}), LIMIT + 2),
            "read": (stack.run("drip_2s", {"url": f"http://127.0.0.1:{port}/"}), LIMIT + 1),
        }
        stack.wait_final([one for one, _ in first.values()], 30)
        beside = stack.run("steps_crawling", {"steps": 60, "pause": 0.1})
        stack.wait_status(beside, "running")
        both = {**first, "c_call": (stack.run("stuck_2s", {"how": "cthread", "seconds": 60}), LIMIT + 10)}
        ids = [one for one, _ in both.values()]
        rows = stack.check([*ids, beside], patience=60)
    took = {name: _lasted(stack, one) for name, (one, _) in both.items()}
    letters = stack.sql("SELECT task_id, reason FROM dead_letters")
    tell("F23", mode, **took, beside=rows[beside]["status"],
         beside_crashes=rows[beside]["crashes"])  # fmt: skip
    for name, (one, allowed) in both.items():
        assert (rows[one]["status"], rows[one]["error_code"]) == ("timed_out", "time_limit"), (name, rows[one])
        assert len(stack.executions([one])) == 1, f"{name} was tried again"
        assert [row["reason"] for row in letters if row["task_id"] == one] == ["time_limit"]
        within(took[name], allowed, f"F23 {name}")
    assert (rows[beside]["status"], rows[beside]["crashes"]) == ("completed", 0), "only the guilty one pays"


def _lasted(stack: Stack, task_id: str) -> float:
    at = stack.sql("SELECT finished_at FROM tasks WHERE id = :id", id=task_id)[0]["finished_at"]
    at = datetime.fromisoformat(at).replace(tzinfo=UTC) if isinstance(at, str) else at
    return float(at.timestamp() - stack.claims([task_id])[task_id][0])


def _cancelled_in(stack: Stack, task_id: str) -> float:
    began = time.monotonic()
    assert stack.cancel(task_id) == 200
    until(lambda: stack.status(task_id) == "cancelled", 30, "cancelled", every=0.01)
    return time.monotonic() - began


def test_f24_cancel_in_every_state(stack: Stack) -> None:
    """Queued, generating, in a child, in a C call, waiting for a retry; and when it is over."""
    took: dict[str, float] = {}
    blockers = stack.run_many(3, "steps_embedding", {"steps": 300, "pause": 0.1})
    queued = stack.run("steps_embedding")
    assert stack.status(queued) == "queued"
    took["queued"] = _cancelled_in(stack, queued)

    generating = stack.run("generate", {"seconds": 60})
    until(lambda: stack.row(generating)["seq"] > 5, 15, "it generates")
    took["generating"] = _cancelled_in(stack, generating)

    failing = stack.run("fail_later", {"times": 9})
    stack.wait_status(failing, "retrying")
    took["retry_wait"] = _cancelled_in(stack, failing)

    child = stack.run("stuck", {"how": "child", "seconds": 60})
    until(lambda: stack.executions([child]), 15, "the child works")
    took["child"] = _cancelled_in(stack, child)

    ccall = stack.run("stuck", {"how": "cthread", "seconds": 60})
    until(lambda: stack.executions([ccall]), 15, "it is in C")
    took["c_call"] = _cancelled_in(stack, ccall)
    stack.heal()  # its process gave itself up

    over = stack.run("steps")
    stack.wait_final([over], 15)
    before = stack.row(over)
    assert stack.cancel(over) == 409
    assert stack.row(over) == before, "no change"
    assert stack.cancel(queued) == 409

    for one in blockers:
        assert stack.cancel(one) == 200
    ids = [queued, generating, failing, child, ccall, *blockers]
    rows = stack.check([*ids, over])
    tell("F24", stack.mode, **took)
    assert {rows[one]["status"] for one in ids} == {"cancelled"}
    assert stack.executions([queued]) == []
    assert len(stack.executions([failing])) == 1
    within(took["queued"], 1.0, "F24 queued")
    within(took["retry_wait"], 1.0, "F24 retry_wait")
    within(took["generating"], 2.0, "F24 generating")
    within(took["child"], 2.0, "F24 child")
    within(took["c_call"], 10.0, "F24 c_call")


@pytest.mark.parametrize("when", ["waiting", "starting"])
def test_f24_cancel_a_family_of_100(stack: Stack, when: str) -> None:
    """The parent and all its parts stop; no part starts afterwards, also when it is stopped while it starts them."""
    for _ in range(scaled(10, 2)):
        # Far longer than the cancelling takes: a part that ends by itself meanwhile is no fault.
        parent = stack.run("fan", {"children": 100, "pause": 30.0, "slow_start": 0.02 if when == "starting" else 0.0})
        if when == "waiting":
            stack.wait_status(parent, "paused", 40)
        else:
            until(lambda p=parent: len(stack._with_descendants([p])) > 20, 30, "some parts exist")
        began = time.monotonic()
        assert stack.cancel(parent) == 200
        answered = time.monotonic() - began
        until(lambda p=parent: stack.final(stack._with_descendants([p])), 20, "all of them are over", every=0.02)
        took, wall = time.monotonic() - began, time.time()
        family = stack._with_descendants([parent])
        rows = stack.check(family)
        began_later = [line for line in stack.executions(family) if line.at > wall]
        tell("F24-family", stack.mode, when=when, parts=len(family) - 1, answered=answered, all_cancelled=took)
        assert {row["status"] for row in rows.values()} == {"cancelled"}
        assert began_later == []
        within(took, 2.0, "F24 family")

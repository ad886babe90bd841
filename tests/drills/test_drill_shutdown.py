"""F15, F16: workers are told to go, and killed when they do not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.drills.harness import DEFAULTS, FULL, QUICK, Cluster, Stack, dripping, kill9, tell, until, within

pytestmark = [pytest.mark.drill, pytest.mark.spine]

THREADS = "inference=5,crawling=4,embedding=4,workflows=1,interactive=1,maintenance=1"


def _make(own: Callable[..., Any], mode: str, **env: str) -> Any:
    more: dict[str, Any] = {"workers": ("all",), "live": False} if mode == "distributed" else {}
    return own(
        mode, DEFAULTS if FULL else QUICK, BRAINSTEM_WORKER_THREADS=THREADS, BRAINSTEM_POOL_SIZE="20", **env, **more
    )


def _terminate(stack: Any) -> tuple[float, int | None]:
    """SIGTERM to what runs tasks; seconds until it was gone, and its exit code."""
    began = time.monotonic()
    code = stack.workers[0].stop(60) if isinstance(stack, Cluster) else stack.server.stop(patience=60)
    return time.monotonic() - began, code


def _start_again(stack: Any) -> float:
    """The moment (wall time) at which the new worker runs."""
    if isinstance(stack, Cluster):
        stack.workers[0].start()
        stack.workers[0].keep = True
    else:
        stack.server.start()
    stack.wait_workers()
    return time.time()


def test_f15_sigterm_with_work_running(mode: str, own: Callable[..., Any]) -> None:
    """Short work is finished, long work parked without charge, new work waits; exit in GRACE + 3 s with code 0."""
    stack: Stack = _make(own, mode)
    stack.start()
    grace = stack.pace.grace
    roles = ("steps_inference", "steps_crawling", "steps_embedding")
    length = {"steps": int(grace * 1.3 / 0.2), "pause": 0.2}
    long = [stack.run(kind, length) for kind in roles for _ in range(3)]
    short = [stack.run(kind, {"steps": 2, "pause": grace * 0.15}) for kind in roles]
    until(lambda: all(row["status"] == "running" for row in stack.rows(long + short).values()), 15, "all run")
    if isinstance(stack, Cluster):
        stack.workers[0].keep = False
        stack.workers[0].popen.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
        late = stack.run_many(2, "steps")  # accepted, and left alone by the one that goes
    else:
        late = stack.store_many(2, "steps", due_at=time.time() + 0.1)
    took, code = _terminate(stack)
    rows = stack.rows(long + short + late)
    assert {rows[one]["status"] for one in short} == {"completed"}, "short work was finished"
    assert {rows[one]["status"] for one in long + late} == {"queued"}, "long work was parked"
    assert {rows[one]["attempt"] for one in long} == {0}, "no attempt charged"
    back = _start_again(stack)
    until(lambda: all(row["status"] != "queued" for row in stack.rows(long).values()), 30, "parked work resumes")
    resumed = max(claims[-1] for claims in stack.claims(long).values()) - back
    for one in long[len(long) // 3 :]:
        assert stack.cancel(one) == 200
    rows = stack.check(long + short + late, patience=grace * 2 + 30)
    kept = long[: len(long) // 3]
    executions = len(stack.executions(kept)) - length["steps"] * len(kept)
    tell("F15", mode, running=len(long) + len(short), exit_seconds=took, exit_code=code, parked=len(long),
         resumed_after=resumed, repeated_steps=executions, grace=grace)  # fmt: skip
    assert code == 0
    within(took, grace + 3.0, "F15 exit")
    within(resumed, 5.0, "F15 resumed")
    assert all(
        rows[one]["status"] == "completed" and rows[one]["attempt"] == 1 and rows[one]["crashes"] == 0 for one in kept
    )
    assert executions <= len(kept), "at most the step that was under way is repeated"


@pytest.mark.variant
def test_f15_work_that_does_not_listen(mode: str, own: Callable[..., Any]) -> None:
    """A long C call and a dripping read do not hold the exit up; they are parked like the others, not cancelled."""
    with dripping() as port:
        stack: Stack = _make(own, mode, BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{port}")
        stack.start()
        deaf = stack.run("stuck", {"how": "cthread", "seconds": 600})
        ids = [deaf, stack.run("drip", {"url": f"http://127.0.0.1:{port}/"})]
        until(lambda: len(stack.executions(ids)) == 2, 15, "both are at it")
        if isinstance(stack, Cluster):
            stack.workers[0].keep = False
        took, code = _terminate(stack)
        rows = stack.rows(ids)
        tell(
            "F15-deaf", mode, exit_seconds=took, exit_code=code, statuses=sorted(row["status"] for row in rows.values())
        )
        assert {(row["status"], row["attempt"]) for row in rows.values()} == {("queued", 0)}
        assert code == 0
        within(took, stack.pace.grace + 3.0, "F15 exit of the deaf")
        _start_again(stack)
        for one in ids:
            stack.wait_status(one, "running", 15)
            assert stack.cancel(one) == 200
        stack.wait_final(ids, 15)
        stack.heal()
        stack.check(ids)


def test_f16_sigkill_at_the_end_of_grace(mode: str, own: Callable[..., Any]) -> None:
    """SIGTERM, then SIGKILL before it has gone: as F01, and what was written is kept and marked interrupted."""
    stack: Stack = own(mode, DEFAULTS if FULL else QUICK, live=False)
    stack.start()
    grace = stack.pace.grace
    # Long enough that it is under way when the kill comes, however slowly a busy machine got there.
    ids = stack.run_many(2, "generate", {"seconds": grace * 2, "every": 0.05})
    ids += stack.run_many(2, "steps_crawling", {"steps": 80, "pause": grace / 40})
    until(lambda: all(row["seq"] > 5 for row in stack.rows(ids).values()), 15, "all write")
    holder = stack.sql("SELECT worker_id FROM tasks WHERE id = :id", id=ids[0])[0]["worker_id"]
    pid = next(pid for pid in stack.worker_pids() if f"-{pid}-" in holder)
    server = None if isinstance(stack, Cluster) else stack.server  # type: ignore[attr-defined]
    (server.process.send_signal if server else lambda number: os.kill(pid, number))(signal.SIGTERM)
    told = time.monotonic()
    until(lambda: time.monotonic() - told > grace * 0.3, 60, "the patience of who kills is over")
    held = [
        row["id"] for row in stack.sql("SELECT id FROM tasks WHERE worker_id = :w AND status = 'running'", w=holder)
    ]
    written = stack.events(held)
    at = kill9(pid)
    if server:
        server.kill()
        stack.heal()
    rows = stack.check(ids, patience=stack.pace.takeover + 90)
    gaps = [min(later) for claims in stack.claims(held).values() if (later := [c - at for c in claims if c > at])]
    later_on = {one: stack.events([one])[one] for one in held}
    marked = [
        any("lost" in event["message"] or "Parked" in event["message"] for event in later_on[one]) for one in held
    ]
    kept = [later_on[one][: len(written[one])] == written[one] for one in held]
    # One process alone has to be back first: F20 gives it 5 s.
    allowed = stack.pace.takeover + (5.0 if server and not FULL else 0.0)
    tell(
        "F16",
        mode,
        held=len(held),
        restarted=len(gaps),
        worst=max(gaps, default=0.0),
        allowed=allowed,
        marked=sum(marked),
        kept=sum(kept),
    )
    assert held, "something was under way"
    assert all(row["status"] == "completed" for row in rows.values())
    assert all(kept), "what was written before is still there, word for word"
    assert len(gaps) == len(held)
    assert all(marked)
    within(max(gaps), allowed, "F16 next attempt")

"""webapp.core.resident: a child that stays, is shared, is stopped, and comes back after it died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from webapp.core import resident
from webapp.core.errors import Invalid, TaskCancelled, TaskTimedOut, TooLarge
from webapp.core.resident import Resident
from webapp.core.sandbox import ChildCrashed, ChildFailed

THING = "tests.core.resident_targets:Thing"


@pytest.fixture
def make() -> Iterator[Callable[..., Resident]]:
    made: list[Resident] = []

    def make(kwargs: dict[str, Any] | None = None, **options: Any) -> Resident:
        made.append(Resident(THING, kwargs, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_for(condition: Callable[[], Any], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def test_values_of_every_kind_come_back_and_the_child_stays(make: Callable[..., Resident]) -> None:
    child = make()
    value = {"text": "Zoë 日本\n", "bytes": bytes(range(256)) * 3000, "list": [1, 2.5, None, True]}
    assert child.call("echo", value, timeout=20) == value
    first = child.call("pid", timeout=20)
    assert child.call("pid", timeout=20) == first != os.getpid()
    assert child.status()["running"]
    assert child.status()["pid"] == first
    assert child.status()["memory"] > 2**20


def test_no_child_before_the_first_call(make: Callable[..., Resident]) -> None:
    assert make().status() == {"running": False, "pid": None, "memory": None, "waiting": 0}


def test_errors_keep_their_class_and_the_child_lives_on(make: Callable[..., Resident]) -> None:
    child = make()
    pid = child.call("pid", timeout=20)
    with pytest.raises(Invalid) as refused:
        child.call("refuse", timeout=20)
    assert (refused.value.message, refused.value.suggestion) == ("not like this", "otherwise")
    with pytest.raises(ChildFailed) as failed:
        child.call("bug", timeout=20)
    assert "oops" in failed.value.traceback
    with pytest.raises(ChildFailed):
        child.call("_private", timeout=20)
    with pytest.raises(ChildFailed):
        child.call("nothing_of_that_name", timeout=20)
    assert child.call("pid", timeout=20) == pid


def test_what_cannot_be_made_says_why_each_time(make: Callable[..., Resident]) -> None:
    child = make({"fail": True})
    for _ in range(2):
        with pytest.raises(Invalid, match="cannot be made"):
            child.call("pid", timeout=20)
    assert not child.status()["running"]


def test_a_crash_is_told_and_the_next_call_has_a_fresh_child(make: Callable[..., Resident]) -> None:
    child = make()
    first = child.call("pid", timeout=20)
    with pytest.raises(ChildCrashed, match="SIGSEGV"):
        child.call("die", timeout=20)
    second = child.call("pid", timeout=20)
    assert second != first
    psutil.Process(second).kill()
    wait_for(lambda: not psutil.pid_exists(second) or psutil.Process(second).status() == "zombie")
    assert child.call("pid", timeout=20) not in (first, second), "killed while idle: nobody needs to hear of it"


def test_streams_arrive_piece_by_piece_and_have_a_value(make: Callable[..., Resident]) -> None:
    child = make()
    assert list(child.stream("count", 1000, timeout=20)) == list(range(1000))
    assert child.call("count", 7, timeout=20) == 7


def test_a_stream_closed_early_stops_the_method_and_frees_the_child(make: Callable[..., Resident]) -> None:
    child = make()
    pid = child.call("pid", timeout=20)
    pieces = child.stream("count", 10**9, 0.001, timeout=60)
    assert [next(pieces) for _ in range(3)] == [0, 1, 2]
    pieces.close()  # type: ignore[attr-defined]
    assert child.call("pid", timeout=20) == pid, "it stopped when asked; no reason to kill it"


def test_cancelling_asks_first(make: Callable[..., Resident], tmp_path: Path) -> None:
    child, mark = make(), tmp_path / "mark"
    pid = child.call("pid", timeout=20)
    with pytest.raises(TaskCancelled):
        child.call("patient", str(mark), timeout=60, cancelled=mark.exists)
    assert mark.read_text() == "asked"
    assert child.call("pid", timeout=20) == pid


def test_what_does_not_listen_is_killed(make: Callable[..., Resident], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "GRACE", 0.2)
    child = make()
    pid = child.call("pid", timeout=20)
    began = time.monotonic()
    with pytest.raises(TaskTimedOut):
        child.call("deaf", timeout=0.3)
    assert time.monotonic() - began < 10
    assert not psutil.pid_exists(pid)
    assert child.call("pid", timeout=20) != pid


def test_an_idle_child_leaves_and_nobody_notices(make: Callable[..., Resident]) -> None:
    child = make(idle_seconds=0.3)
    pid = child.call("pid", timeout=20)
    wait_for(lambda: not child.status()["running"])
    assert child.call("pid", timeout=20) != pid
    for _ in range(8):  # calls at about the moment it leaves
        time.sleep(0.295)
        assert child.call("echo", 1, timeout=20) == 1


def test_memory_and_network_are_limited(make: Callable[..., Resident]) -> None:
    child = make(memory_bytes=600 * 2**20)
    with pytest.raises(TooLarge):
        child.call("hog", 2**30, timeout=20)
    assert child.call("echo", "still here", timeout=20) == "still here"
    assert child.call("connect", timeout=20) == "PermissionError"
    assert make(network=True).call("connect", timeout=20) == "connected"


def test_the_environment_is_bare(make: Callable[..., Resident], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "do not pass on")
    found = make(threads=2, env={"HF_HOME": "/models"}).call("environment", timeout=20)
    assert "SECRET_KEY" not in found
    assert (found["OMP_NUM_THREADS"], found["HF_HOME"]) == ("2", "/models")


def test_callers_take_turns_and_urgent_ones_go_first(make: Callable[..., Resident]) -> None:
    child = make()
    child.call("pid", timeout=20)
    order: list[str] = []

    def ask(name: str, urgent: bool) -> None:
        child.call("slow", 0.3, timeout=30, urgent=urgent)
        order.append(name)

    threads = [threading.Thread(target=ask, args=("running", False))]
    threads[0].start()
    wait_for(lambda: child._turn.busy)
    for number in range(3):
        threads.append(threading.Thread(target=ask, args=(f"batch {number}", False)))
        threads[-1].start()
    wait_for(lambda: child.status()["waiting"] == 3)
    threads.append(threading.Thread(target=ask, args=("person", True)))
    threads[-1].start()
    for thread in threads:
        thread.join(30)
    assert order[:2] == ["running", "person"]
    assert len(order) == 5


def test_waiting_in_line_can_be_cancelled(make: Callable[..., Resident]) -> None:
    child = make()
    pieces = child.stream("count", 10, timeout=30)
    next(pieces)
    with pytest.raises(TaskCancelled):
        child.call("pid", timeout=30, cancelled=lambda: True)
    assert list(pieces) == list(range(1, 10))


def test_closing_ends_a_running_call(make: Callable[..., Resident]) -> None:
    child = make()
    child.call("pid", timeout=20)
    threading.Timer(0.2, child.close).start()
    with pytest.raises(ChildCrashed):
        child.call("deaf", timeout=60)


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from webapp.core.resident import Resident\n"
        f"print(Resident({THING!r}).call('pid', timeout=30), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    wait_for(lambda: not psutil.pid_exists(int(done.stdout)))


def test_the_child_dies_with_a_parent_that_had_not_read_its_answer(make: Callable[..., Resident]) -> None:
    """Closing a socket with something unread resets it, which is how a parent ends that was killed at such a moment."""
    child = resident._Child(make()._hello, make()._environment())
    assert child.selector.select(20), "it says that it is ready"
    child.data.close()
    try:
        assert child.process.wait(10) != 0
    finally:
        child.signal()


def test_a_forked_copy_starts_its_own(make: Callable[..., Resident]) -> None:
    child = make()
    first = child.call("pid", timeout=20)
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, str(child.call("pid", timeout=20)).encode())
        child.close()
        os._exit(0)
    assert int(os.read(reading, 20)) != first
    os.wait()
    assert child.call("pid", timeout=20) == first

"""A child process that can be killed: limits, answers, and nothing left behind (drills F22-F24, A26)."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core import sandbox_targets
from webapp.core import errors, sandbox
from webapp.core.sandbox import ChildCrashed, ChildFailed, run_in_child
from webapp.core.sandbox_pool import Pool

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, /, *args: Any, timeout: float = 20.0, **kwargs: Any) -> Any:
    return run_in_child(f"tests.core.sandbox_targets:{name}", *args, timeout=timeout, **kwargs)


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return found


def read_pid(path: Path) -> int:
    return int(wait_for(lambda: path.exists() and path.read_text()))


def is_dead(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


# --- answers ----------------------------------------------------------------------------------------------------


def test_arguments_and_results_cross_as_json_with_bytes() -> None:
    answer = run("echo", 1, "ü\ud800", b"\x00\xff", [None, 1.5], name={"deep": [b"x"]})
    assert answer == {
        "args": [1, "ü\ud800", b"\x00\xff", [None, 1.5]],
        "kwargs": {"name": {"deep": [b"x"]}},
        "in_child": True,
    }
    assert sandbox.in_child is False


@pytest.mark.parametrize("size", [0, 10_000_000])
def test_big_arguments_and_results_do_not_deadlock(size: int) -> None:
    assert len(run("big", size)) == size
    assert len(run("echo", b"y" * size)["args"][0]) == size


def test_a_run_takes_milliseconds() -> None:
    took = []
    for _ in range(5):
        started = time.perf_counter()
        run("echo")
        took.append(time.perf_counter() - started)
    assert min(took) < 0.15


def test_many_threads_at_once() -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: answers.append(run("echo", n)["args"][0])) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(24))


def test_progress_arrives_in_order_and_is_silent_outside() -> None:
    seen: list[tuple[int, str]] = []
    assert run("report", 5, on_progress=lambda *report: seen.append(report)) == "done"
    assert seen == sorted(seen)
    assert (0, "step 0") in seen
    sandbox.progress(1, "nobody listens")


def test_output_of_libraries_goes_nowhere() -> None:
    assert run("noise") == "quiet"


# --- surroundings -----------------------------------------------------------------------------------------------


def test_the_child_has_no_secrets_no_input_and_its_own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINSTEM_SECRET_KEY", "hunter2")
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    sandbox._close()
    facts = run("facts")
    assert "hunter2" not in str(facts["environment"])
    assert facts["environment"]["HOME"] == "/nonexistent"
    assert facts["leads"]
    assert facts["preloaded"]
    assert facts["pid"] != os.getpid()
    assert facts["limits"] == {"RLIMIT_CORE": [0, 0], "RLIMIT_NOFILE": [64, 64]}
    assert set(facts["descriptors"].values()) == {"/dev/null"}
    assert facts["open"] <= 6


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
def test_the_child_has_no_network() -> None:
    with pytest.raises(ChildFailed) as caught:
        run("connect")
    assert "PermissionError" in caught.value.message


# --- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Invalid", "UnsupportedMedia", "TooLarge", "Unavailable", "AppError"])
def test_app_errors_arrive_as_themselves(name: str) -> None:
    with pytest.raises(errors.AppError) as caught:
        run("raise_app_error", name)
    error, cls = caught.value, getattr(errors, name)
    assert type(error) is cls
    assert (error.message, error.code, error.status, error.retry_after) == ("No.", cls.code, cls.status, 7)
    assert error.details == [{"loc": ["a"], "msg": "b", "type": "c"}]
    assert error.retryable == cls.retryable


def test_an_app_error_with_its_own_constructor_arrives() -> None:
    with pytest.raises(sandbox_targets.OddError) as caught:
        run("raise_odd")
    assert caught.value.message == "1 is not 2"
    assert (caught.value.code, caught.value.suggestion, caught.value.retryable) == (
        "odd_one",
        "Count again.",
        True,
    )


@pytest.mark.parametrize("name", ["raise_value_error", "unsayable", "exit_politely", "not_there"])
def test_other_exceptions_are_child_failed_with_a_private_traceback(name: str) -> None:
    with pytest.raises(ChildFailed) as caught:
        run(name)
    assert "Traceback" in caught.value.traceback
    assert "secret detail" not in caught.value.message
    assert caught.value.retryable is False


def test_what_json_cannot_say_is_refused_before_starting() -> None:
    with pytest.raises(TypeError):
        run("echo", object())


@pytest.mark.parametrize(
    "frame",
    [7, [1], {"progress": 1}, {"progress": ["a", 2]}, {"app_error": {}}, {"failed": 1}, {"other": 1}],
)
def test_a_child_that_lies_is_a_crashed_child(frame: Any) -> None:
    with pytest.raises(ChildCrashed):
        run("lie", frame, on_progress=lambda percent, text: None)


# --- limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sleep_in_c", "backtrack"])
def test_timeout_ends_a_c_call(name: str, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(errors.TaskTimedOut):
        run(name, str(tmp_path / "pid"), timeout=0.5)
    assert time.monotonic() - started < 1.5
    assert is_dead(read_pid(tmp_path / "pid"))


@pytest.mark.parametrize("name", ["sleep_in_c", "backtrack", "have_a_child_of_its_own"])
def test_cancel_ends_a_c_call_and_the_whole_group(name: str, tmp_path: Path) -> None:
    path, asked = tmp_path / "pid", []

    def cancelled() -> bool:
        asked.append(time.monotonic())
        return path.exists() and bool(path.read_text())

    with pytest.raises(errors.TaskCancelled):
        run(name, str(path), cancelled=cancelled)
    assert wait_for(lambda: is_dead(read_pid(path)), 2.0)
    assert all(later - earlier <= 0.25 for earlier, later in itertools.pairwise(asked))


def test_an_error_in_the_callbacks_ends_the_child(tmp_path: Path) -> None:
    def cancelled() -> bool:
        return bool(1 / (not (tmp_path / "pid").exists()))

    with pytest.raises(ZeroDivisionError):
        run("sleep_in_c", str(tmp_path / "pid"), cancelled=lambda: not cancelled())
    assert wait_for(lambda: is_dead(read_pid(tmp_path / "pid")))


def test_processor_limit() -> None:
    started = time.monotonic()
    with pytest.raises(errors.TaskTimedOut):
        run("spin", cpu_seconds=1)
    assert time.monotonic() - started < 10


def test_memory_limit() -> None:
    with pytest.raises(errors.TooLarge):
        run("eat_memory")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_names_its_signal(number: signal.Signals) -> None:
    with pytest.raises(ChildCrashed) as caught:
        run("die", int(number))
    assert caught.value.signal == number
    assert (caught.value.code, caught.value.retryable) == ("child_crashed", False)
    assert run("echo", 1)["args"] == [1]


def test_a_crash_in_the_middle_of_talking() -> None:
    with pytest.raises(ChildCrashed) as caught:
        run("half_an_answer_then_die")
    assert caught.value.signal == signal.SIGSEGV


def test_leaving_without_an_answer() -> None:
    with pytest.raises(ChildCrashed) as caught:
        run("leave")
    assert caught.value.signal is None


# --- nothing is left behind -------------------------------------------------------------------------------------


def test_what_the_child_started_ends_with_it() -> None:
    pid = run("leave_a_child_behind")
    assert wait_for(lambda: is_dead(pid))


def test_a_killed_nursery_is_replaced() -> None:
    run("echo")
    assert sandbox._nursery is not None
    sandbox._nursery.process.kill()
    sandbox._nursery.process.wait()
    assert run("echo", 2)["args"] == [2]


def test_a_nursery_killed_under_way_is_a_crash(tmp_path: Path) -> None:
    def cancelled() -> bool:
        if (tmp_path / "pid").exists() and sandbox._nursery is not None:
            sandbox._nursery.process.kill()
        return False

    with pytest.raises(ChildCrashed):
        run("sleep_in_c", str(tmp_path / "pid"), cancelled=cancelled)
    assert wait_for(lambda: is_dead(read_pid(tmp_path / "pid")))


def test_no_descriptors_leak() -> None:
    run("echo")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        run("echo")
    assert len(os.listdir("/proc/self/fd")) == before


PARENT = """
import os, sys, threading
from webapp.core.sandbox import run_in_child
if sys.argv[2] == "fork":           # a worker forked after the nursery started: keeps a copy of its socket
    run_in_child("math:sqrt", 4, timeout=10)
    if not os.fork():
        assert run_in_child("math:sqrt", 9, timeout=10) == 3.0
        open(sys.argv[1] + ".fork", "w").write(str(os.getpid()))
        threading.Event().wait(30)
run_in_child("tests.core.sandbox_targets:sleep_in_c", sys.argv[1], timeout=60)
"""


@pytest.mark.parametrize("how", ["plain", "fork"])
def test_a_killed_parent_leaves_no_orphan(how: str, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(path), how], cwd=ROOT) as parent:
        child = read_pid(path)
        fork = read_pid(tmp_path / "pid.fork") if how == "fork" else None
        nursery = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
        parent.kill()
    assert wait_for(lambda: is_dead(child) and is_dead(nursery), 3.0)
    if fork is not None:
        os.kill(fork, signal.SIGKILL)


# --- pools ------------------------------------------------------------------------------------------------------


def call(pool: Pool, name: str, /, *args: Any, timeout: float = 20.0, **kwargs: Any) -> Any:
    return pool.run(f"tests.core.sandbox_targets:{name}", *args, timeout=timeout, **kwargs)


def test_a_child_of_a_pool_takes_many_calls_and_is_replaced_after_its_share() -> None:
    with Pool(calls=3) as pool:
        pids = [call(pool, "facts")["pid"] for _ in range(7)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
        last = pids[-1]
        assert not is_dead(last)
    wait_for(lambda: all(is_dead(pid) for pid in pids))
    with Pool(seconds=0) as pool:
        assert call(pool, "facts")["pid"] != call(pool, "facts")["pid"]


def test_a_pool_steps_back_before_what_a_person_waits_for() -> None:
    """By the process, and by its session's group where the kernel makes such groups: else niceness would not count."""
    mine, _ = run("niceness")
    assert mine == os.nice(0)
    with Pool() as pool:
        nice, of_group = call(pool, "niceness")
    assert (nice, of_group in (10, None)) == (mine + 10, True)


def test_an_error_of_the_function_leaves_the_child_fit_and_a_bug_does_not() -> None:
    with Pool() as pool:
        first = call(pool, "facts")["pid"]
        with pytest.raises(errors.AppError):
            call(pool, "raise_odd")
        assert call(pool, "facts")["pid"] == first
        with pytest.raises(ChildFailed):
            call(pool, "raise_value_error")
        assert call(pool, "facts")["pid"] != first


@pytest.mark.parametrize(("name", "error"), [("half_an_answer_then_die", ChildCrashed), ("spin", errors.TaskTimedOut),
                                             ("eat_memory", errors.TooLarge)])  # fmt: skip
def test_a_call_that_ends_its_child_costs_only_itself(name: str, error: type[Exception]) -> None:
    with Pool() as pool:
        before = call(pool, "facts")["pid"]
        with pytest.raises(error):
            call(pool, name, timeout=2.0)
        wait_for(lambda: is_dead(before))
        assert call(pool, "echo", 1)["args"] == [1]


def test_each_call_of_a_child_has_its_own_processor_time() -> None:
    with Pool() as pool:
        pids = {call(pool, "burn", 0.8, cpu_seconds=1) for _ in range(4)}
        assert len(pids) == 1, "3.2 s of work, 1 s for each call"
        with pytest.raises(errors.TaskTimedOut, match="processor"):
            call(pool, "burn", 9.0, cpu_seconds=1)


def test_a_child_that_keeps_much_memory_is_replaced() -> None:
    with Pool() as pool:
        first = call(pool, "keep", 60 * 2**20)
        assert call(pool, "keep", 100 * 2**20) == first
        assert call(pool, "keep", 1) != first


def test_what_crashes_in_a_used_child_only_is_made_again_in_a_fresh_one(tmp_path: Path) -> None:
    with Pool() as pool:
        first = call(pool, "die_if_used", str(tmp_path / "pid"))
        second = call(pool, "die_if_used", str(tmp_path / "pid"))
        assert first != second
        wait_for(lambda: is_dead(first))


def test_a_child_that_died_while_it_rested_is_not_asked() -> None:
    with Pool() as pool:
        first = call(pool, "facts")["pid"]
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: is_dead(first))
        assert call(pool, "facts")["pid"] != first


def test_a_pool_serves_threads_at_the_same_time_and_leaves_nobody_behind() -> None:
    pids: set[int] = set()
    with Pool() as pool:

        def work() -> None:
            for _ in range(10):
                pids.add(call(pool, "facts")["pid"])

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert 1 <= len(pids) <= 4
    wait_for(lambda: all(is_dead(pid) for pid in pids))


def test_stopping_ends_the_child_of_a_pool() -> None:
    with Pool() as pool:
        first = call(pool, "facts")["pid"]
        with pytest.raises(errors.TaskCancelled):
            call(pool, "spin", cancelled=lambda: True)
        wait_for(lambda: is_dead(first))

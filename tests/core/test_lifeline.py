"""What a supervisor started ends with it, even where it was killed and could say nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from webapp.core import lifeline

ROOT = Path(__file__).resolve().parent.parent.parent
PARENT = """
import subprocess, sys, time
from webapp import settings, supervisor
made = supervisor.Supervisor(settings.load(), [supervisor.Process("scheduler", ("scheduler",))])
made._start(made.processes[0])
print(made._children["scheduler"].pid, flush=True)
time.sleep(600)
"""


def test_a_killed_supervisor_leaves_nobody(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "BRAINSTEM_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=env, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        until(lambda: (tmp_path / "brainstem.db").exists())  # by then it has long asked for the signal
        parent.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def until(condition: Callable[[], bool], patience: float = 60.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_supervisor_that_died_first_is_noticed() -> None:
    code = f"import os; os.environ['{lifeline.ENV}'] = '1'; from webapp.core import lifeline; lifeline.follow(); print('on')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode < 0
    assert "on" not in done.stdout


def test_without_a_supervisor_nothing_happens() -> None:
    lifeline.follow()

"""`brainstem ops` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Services


@pytest.mark.services
def test_what_it_starts_wakes_a_worker_before_it_ends(services: Services, tmp_path: Path) -> None:
    """Its wake-ups are sent by a thread, which once died with the process: the sweep found the task seconds later."""
    import redis

    from webapp.core.broker import RedisBroker
    from webapp.settings import load
    from webapp.tasks.scheduler import ensure_system_schedules

    env = {**os.environ, **services.env, "BRAINSTEM_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    from webapp import runtime

    rt = runtime.build(load(env={**services.env, "BRAINSTEM_HOME": str(tmp_path)}))
    ensure_system_schedules(rt)
    rt.close()
    code = (
        "import sys; from webapp.cli import main; sys.argv = ['brainstem', 'ops', 'run-schedule', 'retention']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert redis.Redis.from_url(services.redis_url).ping()
    assert RedisBroker(services.redis_url, lambda *words: None).depth("maintenance") == 1

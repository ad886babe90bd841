"""F32 and F34: two versions side by side, and a backup of a running installation restored into an empty place."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import ROOT
from tests.drills import later
from tests.drills.harness import Cluster, Stack, clean_env, scaled, tell, until, within

pytestmark = pytest.mark.drill


# -- F32: a rolling upgrade ------------------------------------------------------------------------------------------


@pytest.mark.services
def test_f32_two_versions_at_once(own: Callable[..., Any]) -> None:
    """500 queued with old arguments, a kind only the next version knows, a new column, a message for an unknown actor:
    0 dead letters; what an old worker cannot do is back in the queue within a lease."""
    stack: Cluster = own("distributed", workers=("all",), live=False)
    stack.start()
    old = stack.workers[0]
    ids = stack.store_many(scaled(500, 120), "steps", {"steps": 1, "pause": 0.01})
    until(lambda: any(stack.status(one) == "completed" for one in ids), 30, "the old version works on them")

    stack.execute(
        "ALTER TABLE tasks ADD COLUMN mood VARCHAR(20) NOT NULL DEFAULT 'fine'"
    )  # the next version migrates first
    next_web = stack.add("later", ["web"], BRAINSTEM_PLUGINS=later.PLUGINS, PORT=str(stack.live_port))
    stack.add("next-worker", ["worker", "all"], BRAINSTEM_PLUGINS=later.PLUGINS).keep = False  # started below
    next_web.start()
    address = f"http://127.0.0.1:{stack.live_port}"
    until(lambda: stack._serves(address), 60, "web of the next version answers", every=0.1)
    new = [_start(stack, address, "drill_new", number) for number in range(scaled(50, 10))]
    _unknown_actor(stack)

    began = time.monotonic()
    until(lambda: any("does not know its kind" in row["message"] for row in stack.rows(new).values()), 30,
          "the old worker meets a kind it does not know")  # fmt: skip
    returned = until(
        lambda: all(row["status"] == "queued" for row in stack.rows(new).values()),
        stack.pace.lease + 10,
        "back in the queue",
    )
    within(returned, stack.pace.lease + stack.pace.sweep, "an unknown kind is back in the queue")
    assert all(row["attempt"] == 0 for row in stack.rows(new).values()), "no attempt was charged"

    stack.named("next-worker")[0].start()
    late = [_start(stack, stack.url, "drill_steps", number) for number in range(scaled(50, 10))]  # by the old web still
    seconds = stack.wait_final([*ids, *new, *late], 120)
    assert old.alive
    old.stop()
    rows = stack.check([*ids, *new, *late])
    assert {row["status"] for row in rows.values()} == {"completed"}
    assert stack.sql("SELECT count(*) AS n FROM dead_letters")[0]["n"] == 0
    assert {rows[one]["result"]["tone"] for one in new} == {"calm"}
    tell(
        "F32",
        "distributed",
        queued=len(ids),
        unknown=len(new),
        returned=returned,
        seconds=seconds + time.monotonic() - began,
    )


def _start(stack: Stack, address: str, kind: str, number: int) -> str:
    answer = stack.http.post(address + "/api/v1/utils/ai-tasks/", timeout=30,
                             json={"title": f"{kind} {number}", "task_type": kind, "task_config": {"steps": 1}})  # fmt: skip
    assert answer.status_code == 201, answer.text[:300]
    return str(answer.json()["id"])


def _unknown_actor(stack: Cluster) -> None:
    """A message of a version that names its actors otherwise, where Dramatiq would look for it."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=stack.redis.url)
    for queue in ("workflows", "maintenance"):
        broker.declare_queue(queue)
        broker.enqueue(
            dramatiq.Message(queue_name=queue, actor_name="run_otherwise", args=("x",), kwargs={}, options={})
        )


# -- F34: backup while running, restore into an empty place --------------------------------------------------------------


def brainstem(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    env = clean_env(**{name: value for name, value in stack.env.items() if name not in ("PORT", "BRAINSTEM_LIVE_PORT")})
    done = subprocess.run(
        [sys.executable, "-m", "webapp.cli", *words], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    return done


def test_f34_a_backup_of_a_running_place_is_whole(own: Callable[..., Any], mode: str, tmp_path: Path) -> None:
    source: Stack = own(mode, live=False)
    source.start()
    before = source.run_many(scaled(300, 60), "steps", {"steps": 3, "pause": 0.02})
    uploads = [_upload(source, number) for number in range(scaled(100, 10))]
    stop, accepted, turn = threading.Event(), list[str](), itertools.count()

    def go_on() -> None:
        while not stop.is_set():
            accepted.append(source.run("steps", {"steps": 2, "pause": 0.02}))
            _upload(source, next(turn))

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    file = tmp_path / "all.tgz"
    try:
        began = time.monotonic()
        manifest = json.loads(brainstem(source, "backup", str(file), "--json").stdout)
        took = time.monotonic() - began
        went_on = len(accepted)
        until(lambda: len(accepted) > went_on, 30, "people went on")
    finally:
        stop.set()
        thread.join(30)
    assert manifest["missing_files"] == []
    source.check([*before, *accepted])

    target: Stack = own(mode, live=False)
    _empty(target)
    began = time.monotonic()
    brainstem(target, "restore", str(file))
    back = time.monotonic() - began
    target.start()
    rows = target.check(before)
    assert {row["status"] for row in rows.values()} == {"completed"}
    also = [row["id"] for row in target.sql("SELECT id FROM tasks WHERE kind = 'drill_steps'")]
    target.check(also)
    assert set(before) <= set(also) <= {*before, *accepted}
    assert set(uploads) <= {row["id"] for row in target.sql("SELECT id FROM uploads")}
    for number in (0, len(uploads) - 1):
        assert (target.home / "files" / uploads[number]).read_bytes() == _text(number)
    assert target.run("steps")
    assert target.effects(before) == source.effects(before)
    tell("F34", mode, tasks=len(before), meanwhile=len(accepted), uploads=len(uploads), kb=file.stat().st_size // 1024,
         copying=manifest["seconds"], backup=took, restore=back)  # fmt: skip


def _text(number: int) -> bytes:
    return f"Ship {number} left the harbour.\n".encode() * 200


def _upload(stack: Stack, number: int) -> str:
    answer = requests.post(
        stack.url + "/api/v1/files/", files={"file": (f"ship {number}.txt", _text(number))}, timeout=30
    )
    assert answer.status_code == 201, answer.text[:300]
    return str(answer.json()["id"])


def _empty(stack: Stack) -> None:
    """A stack comes with a migrated database: here is to be nothing."""
    if isinstance(stack, Cluster):
        stack.execute("DROP SCHEMA public CASCADE")
        stack.execute("CREATE SCHEMA public")
    stack.engine.dispose()
    shutil.rmtree(stack.home)
    stack.home.mkdir(mode=0o700)

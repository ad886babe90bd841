"""The doctor says what is wrong, what mends it, and changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Server, free_port
from tests.operations.conftest import Browser, Room
from webapp.core import migrate
from webapp.core.jobs import QUEUES
from webapp.health import service as health
from webapp.operations.service import doctor
from webapp.runtime import Runtime

NAMES = {
    "database",
    "schema",
    "redis",
    "vectors",
    "disk",
    "clock",
    "models",
    "embedder",
    "queues",
    "scheduler",
    "versions",
}


def check(rt: Runtime, name: str) -> doctor.Check:
    """The worst line of that name."""
    found = [one for one in doctor.examine(rt) if one.name == name]
    return max(found, key=lambda one: ("ok", "warn", "bad").index(one.level))


def well(room: Room) -> None:
    """Somebody serves every queue and leads."""
    room.add_worker("one", queues=",".join(QUEUES))
    if room.rt.roles:
        room.sql("INSERT INTO leases (name, holder, until) VALUES ('scheduler', 'abc', extract(epoch from now()) + 60)")


def test_all_well(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_autovacuum", lambda _connection: "on")  # the server of the tests may do without
    well(room)
    found = doctor.examine(room.rt)
    assert {one.name for one in found} == NAMES
    lines = {(one.name, one.text) for one in found if one.level != "ok"}
    assert {name for name, _ in lines} <= {"vectors", "disk"}, lines  # a deployment without Chroma; this machine's disk
    assert all(one.mend for one in found if one.level != "ok")


def test_a_postgres_that_never_counts_its_rows(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    if not room.rt.roles:
        pytest.skip("Postgres only")
    with room.rt.engine.connect() as connection:
        assert doctor._autovacuum(connection) in ("on", "off")
    monkeypatch.setattr(doctor, "_autovacuum", lambda _connection: "off")
    worst = check(room.rt, "database")
    assert (worst.level, "autovacuum is off" in worst.text, "postgresql.conf" in worst.mend) == ("warn", True, True)


def test_nobody_works(room: Room) -> None:
    room.start(room.cast.alice)
    found = check(room.rt, "queues")
    assert (found.level, "1 tasks wait" in found.text) == ("bad", True)
    assert "brainstem" in found.mend
    assert check(room.rt, "scheduler").level == "bad"


def test_a_queue_without_a_worker_and_a_paused_one(room: Room) -> None:
    from webapp.operations import service

    room.add_worker("one", queues=",".join(queue for queue in QUEUES if queue != "crawling"))
    assert "no worker for crawling" in check(room.rt, "queues").text
    room.add_worker("two", queues="crawling")
    room.ask(service.pause_queue, "embedding", "night")
    assert check(room.rt, "queues").level == "warn"
    assert "embedding paused" in check(room.rt, "queues").text


def test_a_scheduler_that_stopped(room: Room) -> None:
    if not room.rt.roles:
        pytest.skip("the one process leads itself")
    well(room)
    room.sql("UPDATE leases SET until = until - 1000")
    assert re.search(r"nobody leads since 1[56] min", check(room.rt, "scheduler").text)


def test_a_schema_of_before_and_one_of_later(make_rt: Callable[..., Runtime], room: Room) -> None:
    well(room)
    room.sql(f"UPDATE alembic_version SET version_num = '{migrate.revisions()[0]}'")
    found = check(room.rt, "schema")
    assert (found.level, "upgrade --dry-run" in found.mend) == ("bad", True)
    assert {one.name for one in doctor.examine(room.rt)} >= {"disk", "versions"}, "the rest is looked at all the same"
    room.sql("UPDATE alembic_version SET version_num = '9999'")
    assert "a newer one has been here" in check(room.rt, "schema").text
    room.sql(f"UPDATE alembic_version SET version_num = '{migrate.head()}'")


def test_an_empty_database(tmp_path: Path) -> None:
    from tests.conftest import build_runtime

    rt = build_runtime({"BRAINSTEM_HOME": str(tmp_path)})
    assert check(rt, "schema").text == "the database is empty"
    assert migrate.current(rt.engine) is None, "looking makes no tables"
    rt.close()


def test_servers_that_are_away(make_rt: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    rt = make_rt(DATABASE_URL=f"postgresql://u:secret-word@127.0.0.1:{port}/none", REDIS_URL=f"redis://:other-word@127.0.0.1:{port}/0",
                 CHROMA_URL=f"http://127.0.0.1:{port}")  # fmt: skip
    began = time.monotonic()
    found = {one.name: one for one in doctor.examine(rt)}
    assert time.monotonic() - began < 2 * doctor.PATIENCE + 3
    assert {name for name, one in found.items() if one.level == "bad"} >= {"database", "redis", "vectors"}
    assert "secret-word" not in str(found)
    assert "other-word" not in str(found)
    assert all(found[name].mend for name in ("database", "redis", "vectors"))


def test_what_hangs_costs_its_patience_only(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    never = threading.Event()
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    monkeypatch.setattr(doctor, "_disk", lambda rt: never.wait(30) or [])
    found = {one.name: one for one in doctor.examine(rt)}
    assert found["disk"].text == "no answer within 0.2 s"
    assert found["database"].level == "ok"
    never.set()


@pytest.mark.parametrize(("off", "level"), [(0.5, "ok"), (-30.0, "warn"), (600.0, "bad")])
def test_clocks_that_disagree(rt: Runtime, monkeypatch: pytest.MonkeyPatch, off: float, level: str) -> None:
    monkeypatch.setattr(doctor, "_database_time", lambda rt: time.time() + off)
    found = check(rt, "clock")
    assert found.level == level, found
    if level != "ok":
        assert ("before" if off > 0 else "behind") in found.text
        assert "time server" in found.mend


def test_a_model_that_is_not_there(make_rt: Callable[..., Runtime]) -> None:
    found = check(make_rt(BRAINSTEM_MODEL="ggml:gone.gguf"), "models")
    assert (found.level, "ggml:gone.gguf" in found.text) == ("warn", True)
    assert found.mend


def test_an_embedder_whose_server_is_away(make_rt: Callable[..., Runtime]) -> None:
    port = free_port()
    name = f"openai:nomic@http://127.0.0.1:{port}/v1"
    rt = make_rt(BRAINSTEM_EMBEDDERS=name, BRAINSTEM_EMBEDDER=name, BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{port}")
    assert check(rt, "embedder").level == "bad"


def test_little_room(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    for free, level in ((10**8, "bad"), (10**9, "warn"), (10**11, "ok")):
        monkeypatch.setattr(health.shutil, "disk_usage", lambda path, free=free: usage(10**12, 10**12 - free, free))
        assert check(rt, "disk").level == level


def test_a_requirement_that_is_not_met(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["flask>=99", "no-such-thing>1", "redis>=6; extra == 'x'"]
    )
    found = check(rt, "versions")
    assert found.level == "bad"
    assert "flask" in found.text
    assert "no-such-thing missing" in found.text


# -- the doors -------------------------------------------------------------------------------------------------------


def brainstem(*words: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    from webapp.settings import OPTIONS

    known = {name for option in OPTIONS for name in option.env}
    clean = {name: value for name, value in os.environ.items() if name not in known}
    return subprocess.run([sys.executable, "-m", "webapp.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=90,
                          env={**clean, "PYTHONPATH": str(ROOT), "BRAINSTEM_HOME": str(home), **env})  # fmt: skip


def test_by_the_command_line_with_and_without_a_server(make_server: Callable[..., Server], tmp_path: Path) -> None:
    nothing = brainstem("doctor", home=tmp_path / "nowhere")
    assert nothing.returncode == 2
    assert not (tmp_path / "nowhere").exists()
    server = make_server()
    done = brainstem("doctor", "--json", home=server.home)
    found = json.loads(done.stdout)
    assert done.returncode == 0, found
    assert {one["name"] for one in found["checks"]} == NAMES
    server.stop()
    done = brainstem("doctor", home=server.home)
    assert done.returncode == 1
    assert "no worker runs" in done.stdout
    assert "-> `brainstem up` starts it." in done.stdout


def test_by_page_and_api(site_room: Room, root: Browser, alice: Browser) -> None:
    site_room.add_worker("one", queues=",".join(QUEUES))
    page = root.get("/monitor/checks").get_data(as_text=True)
    assert "Versions" in page
    assert "Scheduler" in page
    headers = site_room.cast.key(site_room.cast.root, ["admin"])
    client: Any = site_room.app.test_client()  # type: ignore[attr-defined]
    found = client.get("/api/v1/operations/doctor", headers=headers).get_json()
    assert {one["name"] for one in found["checks"]} == NAMES
    assert found["level"] in ("ok", "warn")
    assert alice.get("/monitor/checks").status_code == 403

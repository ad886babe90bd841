"""Retention: what is old and over goes, with everything that belongs to it; nothing else does."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import insert

from tests.conftest import Cast
from tests.fakes.lab import Lab
from webapp.core.context import SYSTEM, Actor
from webapp.core.db import utcnow
from webapp.core.models import IdempotencyKey

DAY = 86400.0


def keep(lab: Lab, **params: bool) -> dict[str, int]:
    task_id = lab.start_kind("maintenance.retention", params)
    assert lab.run("maintenance") == task_id
    row = lab.row(task_id)
    assert row.status == "completed", row.error
    return row.result or {}


def test_old_finished_tasks_go_with_their_events(lab: Lab, alice: Actor) -> None:
    old, fresh = lab.start(alice), lab.start(alice)
    lab.run_all()
    lab.age(old, seconds=31 * DAY)
    lab.age(fresh, seconds=29 * DAY)
    waiting = lab.start(alice)
    lab.age(waiting, seconds=90 * DAY)
    assert keep(lab)["tasks"] == 1
    assert int(lab.sql("SELECT count(*) FROM task_events WHERE task_id = :id", id=old).scalar()) == 0
    assert (lab.status(fresh), lab.status(waiting)) == ("completed", "queued")


def test_the_hourly_pass_leaves_peoples_tasks_alone(lab: Lab, alice: Actor) -> None:
    old = lab.start(alice)
    lab.run_all()
    lab.age(old, seconds=400 * DAY)
    upkeep = lab.start_kind("maintenance.health", {})
    lab.run("maintenance")
    lab.age(upkeep, seconds=2 * DAY)
    assert keep(lab, only_expired=True)["tasks"] == 1
    assert lab.status(old) == "completed"


def test_zero_days_keep_everything(lab: Lab, alice: Actor) -> None:
    from dataclasses import replace

    lab.rt.settings = replace(lab.rt.settings, values={**lab.rt.settings.values, "retention_days": 0})
    old = lab.start(alice)
    lab.run_all()
    lab.age(old, seconds=4000 * DAY)
    assert keep(lab)["tasks"] == 0
    assert lab.status(old) == "completed"


def test_idempotency_keys_live_a_day(lab: Lab, cast: Cast) -> None:
    now = utcnow()
    with lab.rt.unit() as db:
        for key, hours in (("old", 25), ("fresh", 23)):
            db.execute(insert(IdempotencyKey).values(
                owner_id=cast.alice.id, key=key, fingerprint="x", created_at=now - timedelta(hours=hours)))  # fmt: skip
    assert keep(lab, only_expired=True)["idempotency_keys"] == 1
    assert lab.sql("SELECT key FROM idempotency_keys").scalar() == "fresh"


def test_workers_that_died_long_ago_are_forgotten(lab: Lab) -> None:
    lab.host.start()
    lab.sql("INSERT INTO workers (id, role, queues, host, pid, threads, rss_mb, running, done, started_at, beat_at)"
            " SELECT 'dead', role, queues, host, pid, threads, rss_mb, running, done, started_at, beat_at - 4000"
            " FROM workers")  # fmt: skip
    try:
        assert keep(lab, only_expired=True)["workers"] == 1
        assert lab.sql("SELECT id FROM workers").scalar() == lab.host.id
    finally:
        lab.host.stop()


def test_large_amounts_go_in_batches(lab: Lab, alice: Actor, monkeypatch: object) -> None:
    from webapp.tasks import housekeeping

    made = [lab.start(alice) for _ in range(7)]
    lab.run_all()
    for task_id in made:
        lab.age(task_id, seconds=31 * DAY)
    batch, housekeeping.BATCH = housekeeping.BATCH, 3
    try:
        assert keep(lab)["tasks"] == 7
    finally:
        housekeeping.BATCH = batch


def test_the_system_owns_its_upkeep(lab: Lab) -> None:
    assert lab.row(lab.start_kind("maintenance.health", {})).owner_id is None
    assert SYSTEM.is_admin

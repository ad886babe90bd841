"""What the clock starts, seen and changed by an operator."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from tests.operations.conftest import Room
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound
from webapp.operations import service
from webapp.tasks.models import Schedule
from webapp.tasks.scheduler import ensure_system_schedules


@pytest.fixture
def nightly(room: Room) -> str:
    with room.rt.unit() as db:
        db.add(Schedule(name="nightly", kind="test.script", cron="0 4 * * *", next_at=time.time() + 3600))
    return "nightly"


def test_run_now_starts_it_beside_its_times(room: Room, nightly: str) -> None:
    before = room.ask(service.schedule, nightly)
    task_id = room.ask(service.run_schedule, nightly)
    room.run_all()
    row = room.ask(service.schedule, nightly)
    assert (row.last_task_id, row.last_status, row.next_at) == (task_id, "completed", before.next_at)
    assert room.row(task_id).owner_id is None
    assert [(entry.action, entry.object_id) for entry in room.audited()] == [("schedule.run", "nightly")]


def test_people_read_what_it_does_and_programs_its_name(room: Room, nightly: str) -> None:
    ensure_system_schedules(room.rt)
    with room.rt.unit() as db:
        db.add(Schedule(name="u-7f3a", kind="test.script", cron="0 9 * * 1", next_at=2e9, title="The week in the log"))
    titles = {row.name: row.title for row in room.ask(service.schedules)}
    assert titles["u-7f3a"] == "The week in the log"
    assert titles["nightly"] == "nightly", "nobody gave it another"
    assert (titles["health"], titles["retention"]) == ("Health check", "Retention")
    assert len(set(titles.values())) == len(titles), "two that read alike"
    task_id = room.ask(service.run_schedule, "health")
    assert room.row(task_id).title == "Health check (by hand)"


def test_pause_and_resume(room: Room, nightly: str) -> None:
    assert room.ask(service.pause_schedule, nightly).next_at is None
    with pytest.raises(Conflict):
        room.ask(service.pause_schedule, nightly)
    room.sql("UPDATE schedules SET next_at = 1")
    row = room.ask(service.resume_schedule, nightly)
    assert row.enabled
    assert row.next_at is not None
    assert row.next_at.timestamp() > time.time(), "what was missed is not made up"
    with pytest.raises(Conflict):
        room.ask(service.resume_schedule, nightly)


def test_another_time(room: Room, nightly: str) -> None:
    row = room.ask(service.edit_schedule, nightly, cron=" 30 3 * * 1 ")
    assert (row.cron, row.interval, row.when) == ("30 3 * * 1", None, "every Monday at 03:30 UTC")
    assert row.next_at is not None
    assert (row.next_at.weekday(), row.next_at.hour, row.next_at.minute) == (0, 3, 30)
    row = room.ask(service.edit_schedule, nightly, interval=600.0)
    assert (row.cron, row.interval, row.when) == (None, 600.0, "every 10 minutes")
    assert room.audited()[-1].detail["before"] == {"cron": "30 3 * * 1", "interval": None}


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"cron": ""},
        {"cron": "never"},
        {"cron": "0 4 * * *", "interval": 60.0},
        {"interval": 1.0},
        {"interval": 1e12},
    ],
)
def test_what_is_no_time_is_refused_and_changes_nothing(room: Room, nightly: str, when: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        room.ask(service.edit_schedule, nightly, **when)
    assert room.ask(service.schedule, nightly).cron == "0 4 * * *"
    assert room.audited() == []


def test_a_preview_shows_the_next_five(room: Room) -> None:
    times = room.ask(service.upcoming, cron="*/15 * * * *")
    assert len(times) == 5
    assert {time.minute % 15 for time in times} == {0}
    assert times == sorted(times)
    gaps = room.ask(service.upcoming, interval=90.0)
    assert round((gaps[1] - gaps[0]).total_seconds()) == 90
    begins = gaps[0] - timedelta(seconds=60)
    assert room.ask(service.upcoming, interval=90.0, begins=begins)[:2] == [begins, begins + timedelta(seconds=90)]
    past = gaps[0] - timedelta(hours=1)
    assert room.ask(service.upcoming, interval=90.0, begins=past)[0] > past


def test_a_late_one_says_so_and_a_deleted_last_run_is_no_riddle(room: Room, nightly: str) -> None:
    room.sql("UPDATE schedules SET next_at = :then, last_task_id = 'gone', last_at = 5", then=time.time() - 600)
    row = room.ask(service.schedule, nightly)
    assert row.late is not None
    assert 590 < row.late < 620
    assert (row.last_task_id, row.last_status) == (None, None)


def test_our_own_are_listed(room: Room) -> None:
    ensure_system_schedules(room.rt)
    assert {row.name for row in room.ask(service.schedules)} >= {"health", "retention", "cleanup"}


def test_others_may_not(room: Room, nightly: str) -> None:
    for verb in (service.schedules, service.upcoming):
        with pytest.raises(Forbidden):
            room.ask(verb, who=room.cast.bob, **({"cron": "0 4 * * *"} if verb is service.upcoming else {}))
    for verb in (service.run_schedule, service.pause_schedule, service.resume_schedule, service.edit_schedule):
        with pytest.raises(Forbidden):
            room.ask(verb, nightly, who=room.cast.bob)
    with pytest.raises(NotFound):
        room.ask(service.run_schedule, "weekly")
    assert room.count("tasks") == 0

"""What the clock starts: cron and interval, once when missed, not when paused, by one leader."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from tests.fakes.lab import Lab
from webapp.core.errors import BadRequest
from webapp.tasks import scheduler
from webapp.tasks.kinds import kinds
from webapp.tasks.models import Schedule, Task
from webapp.tasks.scheduler import Scheduler, ensure_system_schedules, next_time, start_due


def add(lab: Lab, name: str = "mine", **columns: Any) -> str:
    with lab.rt.unit() as db:
        row = Schedule(**{"name": name, "kind": "test.script", "interval": 60.0, "next_at": time.time() - 1, **columns})
        db.add(row)
        db.flush()
        return row.id


def get(lab: Lab, schedule_id: str) -> Schedule:
    with lab.rt.unit(write=False) as db:
        row = db.get(Schedule, schedule_id)
    assert row is not None
    return row


def started(lab: Lab) -> list[str]:
    with lab.rt.unit(write=False) as db:
        return list(db.scalars(select(Task.title).order_by(Task.id)))


def at(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 4 * * *", "2026-01-31 03:59", "2026-01-31 04:00"),
        ("0 4 * * *", "2026-01-31 04:00", "2026-02-01 04:00"),
        ("0 * * * *", "2026-12-31 23:30", "2027-01-01 00:00"),
        ("*/30 * * * *", "2026-03-29 00:45", "2026-03-29 01:00"),  # summer time begins somewhere: UTC does not care
        ("0 3 * * 1", "2026-11-20 12:00", "2026-11-23 03:00"),
        ("0 0 29 2 *", "2026-03-01 00:00", "2028-02-29 00:00"),
    ],
)
def test_cron_lines_are_utc(cron: str, after: str, expected: str) -> None:
    assert next_time(cron, None, at(after)) == at(expected)


def test_an_interval_counts_from_now() -> None:
    assert next_time(None, 300.0, 1000.0) == 1300.0


@pytest.mark.parametrize("cron", ["", "never", "* * * *", "61 * * * *", "0 4 31 2 *", "* * * * * * *", None])
def test_what_is_no_cron_line_is_refused(cron: str | None) -> None:
    with pytest.raises(BadRequest):
        next_time(cron, None, at("2026-01-01 00:00"))


def test_what_is_due_starts_and_gets_its_next_time(lab: Lab) -> None:
    due, later = add(lab, "due"), add(lab, "later", next_at=time.time() + 3600)
    assert start_due(lab.rt) == 1
    assert started(lab) == ["due (scheduled)"]
    row = get(lab, due)
    assert row.next_at is not None
    assert row.last_at is not None
    assert 55 < row.next_at - time.time() <= 61
    assert lab.row(str(row.last_task_id)).request_id == "schedule-due"
    assert get(lab, later).last_at is None
    assert start_due(lab.rt) == 0


def test_a_time_missed_for_a_week_is_made_up_once(lab: Lab) -> None:
    schedule_id = add(lab, interval=None, cron="0 * * * *", next_at=time.time() - 7 * 86400)
    assert start_due(lab.rt) == 1
    assert start_due(lab.rt) == 0
    row = get(lab, schedule_id)
    assert row.next_at is not None
    assert 0 < row.next_at - time.time() <= 3600
    assert len(started(lab)) == 1


def test_a_paused_schedule_starts_nothing(lab: Lab) -> None:
    add(lab, enabled=False)
    assert start_due(lab.rt) == 0
    assert started(lab) == []


def test_two_who_believe_to_lead_start_it_once(lab: Lab) -> None:
    for number in range(4):
        add(lab, str(number))
    gate = threading.Barrier(3)

    def go() -> None:
        gate.wait()
        start_due(lab.rt)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(started(lab)) == [f"{number} (scheduled)" for number in range(4)]


def test_one_schedule_that_cannot_start_holds_up_no_other(lab: Lab) -> None:
    broken = add(lab, "a broken", kind="gone.kind", next_at=time.time() - 100)
    wrong = add(lab, "a wrong", params={"surprise": 1}, next_at=time.time() - 90)
    hopeless = add(lab, "a hopeless", cron="never", interval=None, next_at=time.time() - 80)
    fine = add(lab, "fine")
    start_due(lab.rt)
    assert started(lab) == ["fine (scheduled)"]
    for schedule_id in (broken, wrong):
        row = get(lab, schedule_id)
        assert row.next_at is not None
        assert row.next_at > time.time(), "tried again at its next time, not each second"
    assert get(lab, fine).last_at is not None
    assert not get(lab, hopeless).enabled, "without a next time it can only be paused"


def test_our_own_schedules_are_made_once_and_stay_as_people_leave_them(lab: Lab) -> None:
    ensure_system_schedules(lab.rt)
    with lab.rt.unit() as db:
        rows = list(db.scalars(select(Schedule)))
        assert {row.name for row in rows} == {name for name, *_ in scheduler.SYSTEM_SCHEDULES}
        for row in rows:
            kinds.get(row.kind).check(row.params)
            assert row.next_at is not None
            assert row.next_at > time.time()
        rows[0].enabled = False
    ensure_system_schedules(lab.rt)
    with lab.rt.unit(write=False) as db:
        assert len(list(db.scalars(select(Schedule)))) == len(scheduler.SYSTEM_SCHEDULES)
        assert list(db.scalars(select(Schedule.enabled))).count(False) == 1


def test_one_leads_until_its_lease_ends(lab: Lab) -> None:
    assert scheduler._lead(lab.rt, "one")
    assert scheduler._lead(lab.rt, "one"), "the leader renews"
    assert not scheduler._lead(lab.rt, "two")
    lab.sql("UPDATE leases SET until = 1")
    assert scheduler._lead(lab.rt, "two")
    assert not scheduler._lead(lab.rt, "one")
    scheduler._release(lab.rt, "one")
    assert not scheduler._lead(lab.rt, "three"), "only the holder gives it up"
    scheduler._release(lab.rt, "two")
    assert scheduler._lead(lab.rt, "three")


def test_of_many_that_try_at_once_one_leads(lab: Lab) -> None:
    gate = threading.Barrier(6)
    answers: list[bool] = []

    def go(number: int) -> None:
        gate.wait()
        answers.append(scheduler._lead(lab.rt, str(number)))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers.count(True) == 1


def test_the_follower_takes_over_when_the_leader_stops(lab: Lab) -> None:
    lab.rt.settings = replace(lab.rt.settings, values={**lab.rt.settings.values, "sweep_seconds": 0.3})
    one, two = Scheduler(lab.rt), Scheduler(lab.rt)
    one.start()
    until(lambda: one.leading)
    two.start()
    add(lab)
    until(lambda: bool(started(lab)))
    assert not two.leading
    one.stop()
    try:
        assert scheduler._lead(lab.rt, two.holder)
    finally:
        two.stop()


def until(true: Any, patience: float = 15.0) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)

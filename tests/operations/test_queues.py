"""Queues and workers as the operator sees them; pauses hold for everybody and are told to everybody."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.conftest import build_runtime
from tests.fakes.lab import QueryCounter
from tests.operations.conftest import Room
from webapp.core.context import SYSTEM, Actor
from webapp.core.db import utcnow
from webapp.core.errors import Conflict, Forbidden, NotFound
from webapp.operations import service
from webapp.tasks import execute, store
from webapp.tasks.sweep import sweep


def named(room: Room, name: str) -> service.QueueRow:
    return next(row for row in room.ask(service.queues) if row.name == name)


def test_a_queue_says_what_waits_runs_and_ended(room: Room) -> None:
    alice = room.cast.alice
    ended, *_ = [room.start(alice) for _ in range(4)]
    room.run()
    room.claim()
    room.start(alice, due_at=time.time() + 3600)
    row = named(room, "inference")
    assert (row.waiting, row.running, row.scheduled) == (2, 1, 1)
    assert (row.per_minute_5, row.per_minute_60) == (0.2, 0.0)
    assert room.status(ended) == "completed"


def test_the_oldest_wait_is_found_behind_one_that_starts_later(room: Room) -> None:
    alice = room.cast.alice
    room.start(alice, due_at=time.time() + 3600)
    room.age(room.start(alice), seconds=400)
    room.age(room.start(alice, priority="low"), seconds=500)
    age = named(room, "inference").oldest_seconds
    assert age is not None
    assert 495 < age < 510
    assert named(room, "crawling").oldest_seconds is None


def test_failures_of_the_hour_are_counted(room: Room) -> None:
    task_id = room.start(room.cast.alice, "missing")  # a script that is not there raises
    room.run_all()
    assert room.status(task_id) == "failed"
    assert named(room, "inference").failed_60 == 1
    with room.rt.engine.begin() as connection:
        connection.execute(text("UPDATE tasks SET finished_at = :then"), {"then": store._bind(
            room.rt.engine.dialect.name, utcnow() - timedelta(hours=2))})  # fmt: skip
    assert named(room, "inference").failed_60 == 0


def test_workers_are_alive_late_and_lost(room: Room) -> None:
    running = room.start(room.cast.alice, title="In hand")
    room.add_worker("a", running=[running])
    room.add_worker("b", age=25)
    room.add_worker("c", age=300)
    rows = room.ask(service.workers)
    assert [(row.id, row.state) for row in rows] == [("c", "lost"), ("b", "late"), ("a", "alive")]
    assert rows[2].running == ((running, "In hand"),)
    row = named(room, "inference")
    assert (row.workers, row.threads) == (2, 4), "a lost one serves nothing"
    assert named(room, "embedding").workers == 0


def test_what_a_worker_holds_is_asked_of_the_tasks(room: Room) -> None:
    """Its last beat may be ten seconds old, or know tasks that were taken from it since."""
    room.add_worker("a")
    task_id = room.start(room.cast.alice, title="Just begun")
    room.sql(f"UPDATE tasks SET status = 'running', worker_id = 'a' WHERE id = '{task_id}'")
    room.sql("""UPDATE workers SET running = '["long over"]'""")
    (row,) = room.ask(service.workers)
    assert row.running == ((task_id, "Just begun"),)


def test_the_number_of_queries_does_not_grow(room: Room) -> None:
    def count() -> int:
        with QueryCounter(room.rt) as counter:
            room.ask(service.queues)
        return len(counter)

    room.add_worker("a")
    room.start(room.cast.alice)
    few = count()
    for number in range(20):
        room.add_worker(f"w{number}")
        room.start(room.cast.alice, kind="test.crawl" if number % 2 else "test.script")
    assert count() == few <= 12


# -- pausing ---------------------------------------------------------------------------------------------------------


def test_nothing_is_taken_from_a_paused_queue(room: Room) -> None:
    waiting = room.start(room.cast.alice)
    running = room.claim()
    room.start(room.cast.alice)
    row = room.ask(service.pause_queue, "inference", "a new model")
    assert (row.paused, row.paused_by, row.paused_reason, row.waiting, row.running) == (
        True,
        "root",
        "a new model",
        1,
        1,
    )
    assert room.run() is None
    execute._finish(room.rt, running, {})
    assert room.status(waiting) == "completed", "what runs runs on"
    room.ask(service.resume_queue, "inference")
    assert room.run() is not None


def test_waiting_tasks_stay_and_say_why(room: Room) -> None:
    task_id = room.start(room.cast.alice)
    room.ask(service.pause_queue, "inference")
    late = room.start(room.cast.alice)
    sweep(room.rt)
    for one in (task_id, late):
        assert room.status(one) == "queued"
        assert room.row(one).message == "Waiting: this queue is paused"
        assert [event.message for event in room.events(one)] == ["Queued", "Waiting: this queue is paused"]
        assert [event.seq for event in room.events(one)] == [1, 2]
    sweep(room.rt)
    assert len(room.events(late)) == 2, "said once"
    room.ask(service.resume_queue, "inference")
    assert room.row(late).message == "Waiting for a worker"
    assert room.row(late).seq == 3


def test_a_pause_is_no_reason_to_give_a_task_up(room: Room) -> None:
    task_id = room.start(room.cast.alice)
    room.ask(service.pause_queue, "inference")
    room.age(task_id, seconds=room.rt.settings.task_limit_seconds + 60)
    assert sweep(room.rt)["overdue"] == 0
    room.ask(service.resume_queue, "inference")
    assert sweep(room.rt)["overdue"] == 0, "its wait for a worker begins at the resume"
    assert room.status(task_id) == "queued"


def test_a_paused_queue_is_not_woken_and_a_resumed_one_is(room: Room) -> None:
    woken: list[str] = []
    for _ in range(3):
        room.age(room.start(room.cast.alice), seconds=5)
    room.ask(service.pause_queue, "inference")
    room.rt.wake = lambda queue, task_id: woken.append(queue)
    room.rt.depth = lambda queue: 0
    sweep(room.rt)
    assert woken == []
    room.ask(service.resume_queue, "inference")
    assert woken == ["inference"] * 3


def test_pausing_many_takes_as_many_statements_as_pausing_one(room: Room) -> None:
    def count() -> int:
        with QueryCounter(room.rt) as counter:
            room.ask(service.pause_queue, "inference")
        room.ask(service.resume_queue, "inference")
        return len(counter)

    room.start(room.cast.alice)
    few = count()
    for _ in range(30):
        room.start(room.cast.alice)
    assert count() == few


def test_a_second_pause_or_resume_is_refused(room: Room) -> None:
    with pytest.raises(Conflict):
        room.ask(service.resume_queue, "inference")
    room.ask(service.pause_queue, "inference")
    with pytest.raises(Conflict):
        room.ask(service.pause_queue, "inference")
    with pytest.raises(NotFound):
        room.ask(service.pause_queue, "no such queue")


def test_a_pause_holds_in_other_processes(room: Room) -> None:
    """A second runtime on the same database, as another process has one, without any bell."""
    room.start(room.cast.alice)
    room.ask(service.pause_queue, "inference")
    settings = room.rt.settings.values
    env = {
        "BRAINSTEM_HOME": str(settings["home"]),
        "DATABASE_URL": settings["database_url"],
        "REDIS_URL": settings["redis_url"],
    }
    other = build_runtime({name: value for name, value in env.items() if value})
    try:
        assert store.claim(other, "inference", "elsewhere", 30.0) is None
        room.ask(service.resume_queue, "inference")
        assert store.claim(other, "inference", "elsewhere", 30.0) is not None
    finally:
        other.close()


def test_each_action_leaves_its_entry_and_a_failed_one_leaves_none(room: Room) -> None:
    room.ask(service.pause_queue, "inference", "why")
    room.ask(service.resume_queue, "inference")
    with pytest.raises(Conflict):
        room.ask(service.resume_queue, "inference")
    with pytest.raises(RuntimeError), room.as_(room.cast.root) as ctx:
        service.pause_queue(ctx, "crawling")
        raise RuntimeError("the unit fails after the verb")
    first, second = room.audited()
    assert (first.action, first.object_kind, first.object_id, first.actor) == (
        "queue.pause",
        "queue",
        "inference",
        "root",
    )
    assert (first.detail, first.ip, first.request_id) == ({"reason": "why", "waiting": 0}, "192.0.2.7", "asked")
    assert second.action == "queue.resume"
    assert not named(room, "crawling").paused


@pytest.mark.parametrize("verb", [service.queues, service.workers])
def test_only_administrators_look(room: Room, verb: object) -> None:
    for who in (room.cast.alice, Actor(None, "anonymous", via="anonymous")):
        with pytest.raises(Forbidden):
            room.ask(verb, who=who)  # type: ignore[arg-type]
    assert room.ask(verb, who=SYSTEM) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", [service.pause_queue, service.resume_queue])
def test_only_administrators_steer(room: Room, verb: object) -> None:
    with pytest.raises(Forbidden):
        room.ask(verb, "inference", who=room.cast.alice)  # type: ignore[arg-type]
    assert room.audited() == []

"""Dead letters: look, try again, throw away; and what runs and seems stuck."""

from __future__ import annotations

import logging
import time

import pytest

from tests.fakes.kinds import scripts
from tests.fakes.lab import QueryCounter
from tests.operations.conftest import Room
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound
from webapp.operations import service
from webapp.tasks.scheduler import start_due
from webapp.tasks.sweep import sweep


@pytest.fixture
def dead(room: Room) -> list[str]:
    """Three letters of alice's and bob's, oldest first."""

    def broken(run: object) -> None:
        raise ValueError("the cable is broken")

    scripts["broken"] = broken
    for who in (room.cast.alice, room.cast.bob, room.cast.alice):
        room.start(who, "broken", title=f"Of {who.username}")
        room.run_all()
    return [row.id for row in reversed(room.ask(service.letters).items)]


def test_a_letter_says_what_failed_why_and_whose_it_was(room: Room, dead: list[str]) -> None:
    row = room.ask(service.letters).items[1]
    assert (row.title, row.owner, row.reason, row.attempt, row.task_status) == (
        "Of bob",
        "bob",
        "attempts",
        3,
        "failed",
    )
    assert "the cable is broken" in row.error
    assert row.traceback is None, "a list does not carry them"
    one = room.ask(service.letter, row.id)
    assert "ValueError: the cable is broken" in (one.traceback or "")
    assert one.params == {"script": "broken"}
    assert room.ask(service.open_letters) == 3


def test_filters_and_pages(room: Room, dead: list[str]) -> None:
    first = room.ask(service.letters, limit=2)
    assert [row.id for row in first.items] == [dead[2], dead[1]]
    rest = room.ask(service.letters, limit=2, cursor=first.next_cursor)
    assert [row.id for row in rest.items] == [dead[0]]
    assert rest.next_cursor is None
    for filters, count in (
        ({"q": "CABLE"}, 3),
        ({"q": "100%"}, 0),
        ({"reason": "crash"}, 0),
        ({"kind": "test.script", "queue": "inference"}, 3),
        ({"state": "requeued"}, 0),
        ({"state": "all"}, 3),
    ):
        assert len(room.ask(service.letters, **filters).items) == count, filters
    with pytest.raises(BadRequest):
        room.ask(service.letters, state="lost")


def test_requeue_runs_it_again_once(room: Room, dead: list[str]) -> None:
    row = room.ask(service.requeue, dead[0])
    assert (row.task_status, row.requeued_at is not None) == ("queued", True)
    with pytest.raises(Conflict):
        room.ask(service.requeue, dead[0])
    scripts["broken"] = lambda run: {"mended": True}
    assert room.run_all() == 1
    assert room.row(row.task_id).result == {"mended": True}
    assert [entry.action for entry in room.audited()] == ["dead_letter.requeue"]
    assert [letter.id for letter in room.ask(service.letters, state="requeued").items] == [dead[0]]


def test_requeue_many_says_what_could_not_go(room: Room, dead: list[str]) -> None:
    room.ask(service.requeue, dead[0])
    answer = room.ask(service.requeue_many, [dead[0], dead[1], dead[1], "nonsense", dead[2]])
    assert [one["id"] for one in answer["done"]] == [dead[1], dead[2]]
    assert [one["id"] for one in answer["failed"]] == [dead[0], "nonsense"]
    entry = room.audited()[-1]
    assert (len(entry.detail["tasks"]), entry.detail["failed"]) == (2, 2)


def test_two_letters_of_one_task_make_one_run(room: Room, dead: list[str]) -> None:
    task_id = room.ask(service.letters).items[0].task_id
    room.do("retry", room.cast.alice, task_id)
    room.run_all()  # fails again: a second letter
    both = [row.id for row in room.ask(service.letters, state="all").items if row.task_id == task_id]
    assert len(both) == 2
    answer = room.ask(service.requeue_many, both)
    assert (len(answer["done"]), len(answer["failed"])) == (1, 1)


def test_purge_keeps_the_task(room: Room, dead: list[str]) -> None:
    task_id = room.ask(service.letter, dead[0]).task_id
    room.ask(service.purge, dead[0])
    with pytest.raises(NotFound):
        room.ask(service.letter, dead[0])
    assert room.status(task_id) == "failed"
    answer = room.ask(service.purge_many, [dead[1], dead[0]])
    assert (answer["done"], answer["failed"][0]["id"]) == ([{"id": dead[1]}], dead[0])
    assert [entry.action for entry in room.audited()] == ["dead_letter.purge"] * 2
    assert room.ask(service.open_letters) == 1


def test_others_see_no_letter(room: Room, dead: list[str]) -> None:
    for verb, args in ((service.letters, ()), (service.letter, (dead[0],)), (service.requeue, (dead[0],)),
                       (service.purge, (dead[0],)), (service.requeue_many, (dead,)), (service.purge_many, (dead,))):  # fmt: skip
        with pytest.raises(Forbidden):
            room.ask(verb, *args, who=room.cast.alice)
    assert room.ask(service.open_letters) == 3


def test_a_failure_for_good_is_one_line_in_the_log(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    def broken(run: object) -> None:
        raise ValueError("the cable is broken")

    scripts["broken"] = broken
    with caplog.at_level(logging.ERROR, logger="webapp.tasks.execute"):
        task_id = room.start(room.cast.alice, "broken")
        room.run_all()
    assert [r.getMessage() for r in caplog.records if r.getMessage().startswith("Task failed:")] == [
        f"Task failed: {task_id} - ValueError: the cable is broken"
    ]


# -- running and stuck -----------------------------------------------------------------------------------------------


def test_what_runs_and_why_it_seems_stuck(room: Room) -> None:
    ids = [room.start(room.cast.alice, title=title) for title in ("fine", "silent", "lost", "asked")]
    ids.append(room.start(room.cast.bob, kind="test.brief", title="over"))
    for _ in ids:
        room.claim(lease=60.0)
    room.sql("UPDATE tasks SET lease_until = lease_until - 90 WHERE title = 'lost'")
    room.do("cancel", room.cast.alice, ids[3])
    room.age(ids[1], seconds=400)
    room.age(ids[3], seconds=60)
    time.sleep(0.3)  # longer than the limit of `test.brief`
    found = {row.title: row for row in room.ask(service.running)}
    assert found["fine"].troubles == ()
    assert found["silent"].troubles == ("no word for 6 min",)
    assert found["lost"].troubles[0].startswith("its worker has been gone for 3")
    assert found["asked"].troubles == ("asked to stop 1 min ago",)
    assert found["over"].troubles == ("past its limit of 0 s",)
    assert found["over"].owner == "bob"
    assert [row.title for row in room.ask(service.running)][-1] == "fine", "the stuck ones first"


def test_running_tasks_cost_two_queries(room: Room) -> None:
    for _ in range(12):
        room.start(room.cast.alice)
        room.claim()
    with QueryCounter(room.rt) as counter:
        assert len(room.ask(service.running)) == 12
    assert len([one for one in counter.statements if one.lstrip().startswith("SELECT")]) == 2


# -- schedules under a pause -----------------------------------------------------------------------------------------


def test_a_schedule_does_not_pile_up_behind_a_paused_queue(room: Room) -> None:
    from webapp.tasks.models import Schedule

    with room.rt.unit() as db:
        db.add(Schedule(name="often", kind="test.script", interval=60.0, next_at=1.0))
    room.ask(service.pause_queue, "inference")
    for _ in range(5):
        start_due(room.rt)
        room.sql("UPDATE schedules SET next_at = 1")
        sweep(room.rt)
    assert room.count("tasks") == 1
    room.ask(service.resume_queue, "inference")
    room.run_all()
    start_due(room.rt)
    assert room.count("tasks") == 2

"""What a person can do with tasks: start, look, change, cancel, retry, delete; and what a stranger cannot."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.conftest import Cast
from tests.fakes.kinds import scripts
from tests.fakes.lab import Lab
from webapp.core.context import ANONYMOUS, SYSTEM, Actor
from webapp.core.db import utcnow
from webapp.core.errors import AppError, BadRequest, Conflict, Forbidden, Invalid, NotFound
from webapp.tasks import service
from webapp.tasks.models import STATUSES


def listed(lab: Lab, who: Actor, **filters: Any) -> list[str]:
    with lab.as_(who, write=False) as ctx:
        return [task.id for task in service.list_(ctx, **filters).items]


def fail(lab: Lab, who: Actor) -> str:
    def refuse(run: Any) -> None:
        raise Invalid("no good")

    scripts["refuse"] = refuse
    task_id = lab.start(who, "refuse", priority="high")  # before whatever else waits
    lab.run()
    assert lab.status(task_id) == "failed"
    return task_id


# -- starting --------------------------------------------------------------------------------------------------------


def test_start_stores_the_row_its_first_event_and_who_asked(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice, value=7, title="Seven", priority="high")
    row = lab.row(task_id)
    assert (row.owner_id, row.title, row.status, row.queue, row.priority) == (
        alice.id, "Seven", "queued", "inference", "high")  # fmt: skip
    assert row.params == {"script": "ok", "value": 7}
    assert (row.attempt, row.progress, row.fence, row.seq, row.request_id) == (0, 0, 0, 1, "test-request")
    [event] = lab.events(task_id)
    assert (event.seq, event.type, event.status, event.message) == (1, "status", "queued", "Queued")


def test_a_task_without_title_is_called_by_its_kind(lab: Lab, alice: Actor) -> None:
    assert lab.row(lab.start(alice, title="  ")).title == "Script"


def test_interactive_and_urgent_tasks_wait_on_the_queue_that_is_served_first(lab: Lab, alice: Actor) -> None:
    assert lab.row(lab.start(alice, interactive=True)).queue == "interactive"
    assert lab.row(lab.start(alice, priority="urgent")).queue == "interactive"


@pytest.mark.parametrize(
    ("kind", "params", "options", "field"),
    [
        ("nothing", {}, {}, "task_type"),
        ("test.script", {"script": 3}, {}, "script"),
        ("test.script", {"surprise": 1}, {}, "surprise"),
        ("test.script", {"note": "x" * 21}, {}, "note"),
        ("test.script", {}, {"priority": "highest"}, "priority"),
        ("../../etc/passwd", {}, {}, "task_type"),
        ("test.script\0", {}, {}, "task_type"),
    ],
)
def test_start_refuses_and_names_the_field(
    lab: Lab, alice: Actor, kind: str, params: dict[str, Any], options: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        lab.do("start", alice, kind, params, **options)
    assert caught.value.details is not None
    assert caught.value.details[0]["loc"] == [field]
    assert lab.count("tasks") == 0


def test_what_prepare_refuses_is_not_stored_and_wakes_nobody(lab: Lab, alice: Actor) -> None:
    woken: list[str] = []
    lab.rt.wake = lambda queue, task_id: woken.append(task_id)
    with pytest.raises(Forbidden):
        lab.do("start", alice, "test.script", {"note": "refuse"})
    assert lab.count("tasks") == 0
    assert lab.count("task_events") == 0
    assert woken == []


def test_a_worker_is_woken_after_the_commit_and_never_before(lab: Lab, alice: Actor) -> None:
    woken: list[tuple[str, str]] = []
    lab.rt.wake = lambda queue, task_id: woken.append((queue, lab.status(task_id)))
    with lab.as_(alice) as ctx:
        service.start(ctx, "test.script", {})
        assert woken == []
    assert woken == [("inference", "queued")]


def test_a_broker_that_is_away_does_not_lose_the_task(lab: Lab, alice: Actor) -> None:
    def away(queue: str, task_id: str) -> None:
        raise ConnectionError("no broker")

    lab.rt.wake = away
    assert lab.status(lab.start(alice)) == "queued"


def test_a_task_for_later_is_not_claimed_before_its_time(lab: Lab, alice: Actor) -> None:
    import time

    lab.start(alice, due_at=time.time() + 3600)
    past = lab.start(alice, due_at=time.time() - 1)
    assert lab.run() == past
    assert lab.run() is None


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 5000, "<script>", "{{7*7}}", "日本語"])
def test_titles_of_any_text_are_kept_or_mended(lab: Lab, alice: Actor, text: str) -> None:
    title = lab.row(lab.start(alice, title=text)).title
    assert title
    assert len(title) <= 300
    assert "\0" not in title
    if text.isprintable() and len(text) <= 300:
        assert title == text


# -- looking ---------------------------------------------------------------------------------------------------------


def test_the_owner_sees_it_and_the_stranger_sees_what_is_not_there(lab: Lab, cast: Cast) -> None:
    mine = lab.start(cast.alice)
    assert lab.do("get", cast.alice, mine).id == mine
    answers = []
    for task_id in (mine, "018f0000-0000-7000-8000-000000000000"):
        with pytest.raises(NotFound) as caught:
            lab.do("get", cast.charlie, task_id)
        answers.append((caught.value.message, caught.value.code, caught.value.suggestion))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("verb", ["cancel", "retry", "remove", "update"])
def test_a_stranger_changes_nothing(lab: Lab, cast: Cast, verb: str) -> None:
    waiting, failed = lab.start(cast.alice), fail(lab, cast.alice)
    for task_id in (waiting, failed):
        before = lab.row(task_id).updated_at, lab.row(task_id).seq
        for stranger in (cast.bob, cast.charlie, ANONYMOUS, cast.root):
            with pytest.raises(NotFound):
                lab.do(verb, stranger, task_id, **({"title": "mine now"} if verb == "update" else {}))
        assert (lab.row(task_id).updated_at, lab.row(task_id).seq) == before


def test_lists_counts_and_logs_hold_ones_own_only(lab: Lab, cast: Cast) -> None:
    mine, theirs = lab.start(cast.alice, title="mine"), lab.start(cast.bob, title="theirs")
    assert listed(lab, cast.alice) == [mine]
    assert listed(lab, cast.bob) == [theirs]
    assert listed(lab, cast.charlie) == []
    assert lab.do("counts", cast.charlie) == {}
    assert lab.do("counts", cast.alice) == {"queued": 1}
    assert {task.id for _, task in lab.do("log_entries", cast.bob)} == {theirs}
    assert lab.do("log_entries", cast.charlie, task_id=mine) == []


def test_the_anonymous_see_ownerless_tasks_and_the_system_all(lab: Lab, cast: Cast) -> None:
    mine, nobodys = lab.start(cast.alice), lab.start(SYSTEM)
    assert listed(lab, ANONYMOUS) == [nobodys]
    assert set(listed(lab, SYSTEM)) == {mine, nobodys}
    assert listed(lab, cast.alice) == [mine]


@pytest.mark.parametrize("task_id", ["", "x" * 10_000, "%", "' OR 1=1--", "\0", "\ud800", "../..", "²"])
def test_ids_that_are_none_are_not_found(lab: Lab, alice: Actor, task_id: str) -> None:
    lab.start(alice)
    with pytest.raises(NotFound):
        lab.do("get", alice, task_id)


def test_children_and_hidden_kinds_stay_out_of_lists(lab: Lab, alice: Actor) -> None:
    scripts["family"] = lambda run: {"child": run.start_child("one", "test.script", {})}
    parent = lab.start(alice, "family")
    lab.run()
    lab.do("start", alice, "maintenance.health", {})
    assert listed(lab, alice) == [parent]
    assert lab.do("counts", alice) == {"completed": 1}


def test_filters(lab: Lab, alice: Actor) -> None:
    done = lab.start(alice, title="done", priority="low")
    lab.run()
    waiting = lab.start(alice, kind="test.crawl", title="Waiting", priority="high")
    assert listed(lab, alice, status="completed") == [done]
    assert listed(lab, alice, status="active") == [waiting]
    assert listed(lab, alice, status="queued") == [waiting]
    assert listed(lab, alice, kind="test.crawl") == [waiting]
    assert listed(lab, alice, priority="low") == [done]
    assert listed(lab, alice, q="WAIT") == [waiting]
    assert listed(lab, alice, since=utcnow() + timedelta(minutes=1)) == []
    assert listed(lab, alice, until=utcnow() + timedelta(minutes=1)) == [waiting, done]
    for status in STATUSES:
        listed(lab, alice, status=status)


@pytest.mark.parametrize("name", ["status", "priority"])
@pytest.mark.parametrize("value", ["no such", "id;--", "\0", "x" * 10_000])
def test_unknown_filter_values_are_refused(lab: Lab, alice: Actor, name: str, value: str) -> None:
    with pytest.raises(BadRequest):
        listed(lab, alice, **{name: value})


@pytest.mark.parametrize(
    "q",
    ['" OR *', "NEAR(", "%", "_", "\\", "%%%", "\\%", "'; DROP TABLE tasks;--", "x" * 10_000, "a\0b", "*", '"', "("],
)
def test_search_takes_every_text_as_text(lab: Lab, alice: Actor, q: str) -> None:
    """A49: no wildcard, no syntax error, no match that is not the text itself."""
    lab.start(alice, title="plain")
    hit = lab.start(alice, title=f"before {q[:200]} after")
    found = listed(lab, alice, q=q)
    assert found == ([hit] if "\0" not in q else [])
    assert lab.do("log_entries", alice, search=q) == []


def test_search_looks_into_messages_too(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    run = lab.claim()
    run.progress(10, "reading chapter nine")
    assert listed(lab, alice, q="Chapter NINE") == [task_id]


# -- paging ----------------------------------------------------------------------------------------------------------


def test_pages_meet_without_gap_or_repeat_in_both_directions(lab: Lab, alice: Actor) -> None:
    made = [lab.start(alice, title=str(number)) for number in range(7)][::-1]
    with lab.as_(alice, write=False) as ctx:
        pages = [service.list_(ctx, limit=3)]
        while pages[-1].next_cursor:
            pages.append(service.list_(ctx, limit=3, cursor=pages[-1].next_cursor))
        assert [[t.id for t in page.items] for page in pages] == [made[:3], made[3:6], made[6:]]
        assert pages[0].prev_cursor is None
        back = [pages[-1]]
        while back[-1].prev_cursor:
            back.append(service.list_(ctx, limit=3, cursor=back[-1].prev_cursor))
        assert [[t.id for t in page.items] for page in back] == [made[6:], made[3:6], made[:3]]
        assert back[-1].next_cursor is not None


def test_new_rows_do_not_shift_the_next_page(lab: Lab, alice: Actor) -> None:
    made = [lab.start(alice) for _ in range(4)][::-1]
    with lab.as_(alice, write=False) as ctx:
        first = service.list_(ctx, limit=2)
    lab.start(alice)
    assert listed(lab, alice, limit=2, cursor=first.next_cursor) == made[2:]


@pytest.mark.parametrize(
    "cursor", ["rubbish", "%%%", "bmV4dDo", "c2lkZXdheXM6eA", "é", "\ud800", "A" * 5000, "bmV4dDoA"]
)
def test_cursors_of_others_are_refused(lab: Lab, alice: Actor, cursor: str) -> None:
    with pytest.raises(BadRequest) as caught:
        listed(lab, alice, cursor=cursor)
    assert caught.value.code == "bad_cursor"


@pytest.mark.parametrize(("limit", "shown"), [(-5, 1), (0, 1), (2, 2), (10**9, 3)])
def test_the_page_size_is_bounded(lab: Lab, alice: Actor, limit: int, shown: int) -> None:
    for _ in range(3):
        lab.start(alice)
    assert len(listed(lab, alice, limit=limit)) == shown


# -- changing --------------------------------------------------------------------------------------------------------


def test_a_waiting_task_can_be_changed(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice, value=1)
    lab.do("update", alice, task_id, title="New", priority="high", params={"script": "ok", "value": 2})
    row = lab.row(task_id)
    assert (row.title, row.priority, row.params["value"], row.seq) == ("New", "high", 2, 2)


def test_an_update_of_nothing_changes_nothing(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice, title="Same")
    lab.do("update", alice, task_id)
    assert lab.row(task_id).title == "Same"


def test_an_update_is_checked_like_a_start(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    for changes in ({"params": {"note": "refuse"}}, {"params": {"x": 1}}, {"priority": "none"}):
        with pytest.raises(AppError):
            lab.do("update", alice, task_id, **changes)
    assert lab.row(task_id).params == {"script": "ok"}


def test_a_task_that_was_taken_can_not_be_changed(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    lab.claim()
    with pytest.raises(Conflict) as caught:
        lab.do("update", alice, task_id, title="late")
    assert caught.value.code == "not_pending"


def test_cancel_waiting(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    assert lab.do("cancel", alice, task_id).status == "cancelled"
    row = lab.row(task_id)
    assert row.finished_at is not None
    assert lab.run() is None
    with pytest.raises(Conflict) as caught:
        lab.do("cancel", alice, task_id)
    assert caught.value.code == "already_final"


def test_cancel_finished_changes_nothing(lab: Lab, alice: Actor) -> None:
    task_id = lab.start(alice)
    lab.run()
    seq = lab.row(task_id).seq
    with pytest.raises(Conflict):
        lab.do("cancel", alice, task_id)
    assert (lab.status(task_id), lab.row(task_id).seq) == ("completed", seq)


def test_retry_gives_all_attempts_back_and_marks_the_letter(lab: Lab, alice: Actor) -> None:
    task_id = fail(lab, alice)
    assert lab.do("retry", alice, task_id).status == "queued"
    row = lab.row(task_id)
    assert (row.attempt, row.crashes, row.error, row.finished_at, row.cancel_requested) == (0, 0, None, None, False)
    assert [letter.requeued_at is not None for letter in lab.letters(task_id)] == [True]
    scripts["refuse"] = lambda run: {"good": True}
    lab.run()
    assert lab.row(task_id).result == {"good": True}


def test_retry_is_for_failed_and_cancelled_only(lab: Lab, alice: Actor) -> None:
    waiting, done, cancelled = lab.start(alice, priority="low"), lab.start(alice), lab.start(alice, priority="low")
    lab.run()
    for task_id in (waiting, done):
        with pytest.raises(Conflict) as caught:
            lab.do("retry", alice, task_id)
        assert caught.value.code == "not_final"
    lab.do("cancel", alice, cancelled)
    assert lab.do("retry", alice, cancelled).status == "queued"


def test_a_double_click_on_retry_queues_once(lab: Lab, alice: Actor) -> None:
    task_id = fail(lab, alice)
    lab.do("retry", alice, task_id)
    with pytest.raises(Conflict):
        lab.do("retry", alice, task_id)
    assert sum(event.message == "Queued again" for event in lab.events(task_id)) == 1


def test_delete_takes_events_and_children_along(lab: Lab, alice: Actor) -> None:
    scripts["family"] = lambda run: {"child": run.start_child("one", "test.script", {})}
    task_id = lab.start(alice, "family")
    with pytest.raises(Conflict) as caught:
        lab.do("remove", alice, task_id)
    assert caught.value.code == "not_final"
    lab.run_all()
    lab.do("remove", alice, task_id)
    assert (lab.count("tasks"), lab.count("task_events")) == (0, 0)


# -- many at once ----------------------------------------------------------------------------------------------------


def test_bulk_does_what_it_can_and_tells_the_rest(lab: Lab, cast: Cast) -> None:
    waiting, done, theirs = (
        lab.start(cast.alice, priority="low"),
        lab.start(cast.alice),
        lab.start(cast.bob, priority="low"),
    )
    lab.run()
    answer = lab.do("bulk", cast.alice, "cancel", [waiting, done, theirs, "nonsense", waiting])
    assert answer["done"] == [{"id": waiting}]
    assert {one["id"]: one["error"] for one in answer["failed"]} == {
        done: "the task is already completed",
        theirs: "there is no such task",
        "nonsense": "there is no such task",
    }
    assert lab.status(theirs) == "queued"


def test_bulk_retry_and_delete(lab: Lab, alice: Actor) -> None:
    one, two = lab.start(alice), lab.start(alice)
    lab.do("bulk", alice, "cancel", [one, two])
    assert len(lab.do("bulk", alice, "retry", [one, two])["done"]) == 2
    lab.run_all()
    assert len(lab.do("bulk", alice, "delete", [one, two])["done"]) == 2
    assert lab.count("tasks") == 0


def test_bulk_knows_its_verbs(lab: Lab, alice: Actor) -> None:
    with pytest.raises(BadRequest):
        lab.do("bulk", alice, "start", ["x"])

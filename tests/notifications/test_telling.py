"""Who is told of a task's end: the notice in the end's own transaction, rules, defaults, single tasks, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from tests.conftest import make_cast
from tests.fakes import kinds
from tests.fakes.post_office import PostOffice
from webapp.core.errors import AppError, BadRequest, Conflict, NotFound
from webapp.notifications import service
from webapp.notifications.models import Notification
from webapp.notifications.service import Rule
from webapp.runtime import Runtime
from webapp.tasks import notices
from webapp.tasks.notices import Notice


@pytest.fixture
def office(both_rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> PostOffice:
    made = PostOffice(both_rt, make_cast(both_rt), monkeypatch)
    kinds.scripts["bad"] = fail
    return made


def fail(run: Any) -> None:
    raise AppError("the page is gone", retryable=False)


def told(office: PostOffice, who: Any) -> list[Notification]:
    with office.rt.unit(write=False) as db:
        stmt = select(Notification).where(Notification.user_id == who.id).order_by(Notification.id)
        return list(db.scalars(stmt))


def rules(office: PostOffice, who: Any, *wanted: Rule) -> None:
    with office.as_(who) as ctx:
        service.save_rules(ctx, wanted)


def test_a_failure_is_told_to_its_owner_and_to_nobody_else(office: PostOffice) -> None:
    task_id = office.finish(office.cast.alice, "bad", title="Read the page")
    assert office.count("task_notices") == 1
    assert office.look() == 1
    (note,) = told(office, office.cast.alice)
    assert (note.event, note.level, note.title) == ("failed", "bad", "Read the page failed")
    assert note.url == f"/tasks/{task_id}"
    assert note.task_id == task_id
    assert "gone" in note.text
    assert told(office, office.cast.bob) == []
    assert office.look() == 0
    assert office.count("task_notices") == 0


def test_what_was_done_at_once_is_not_told_unless_somebody_wants_it(office: PostOffice) -> None:
    office.finish(office.cast.alice)
    office.look()
    assert told(office, office.cast.alice) == []
    rules(office, office.cast.alice, Rule("completed", "inapp"))
    office.finish(office.cast.alice, title="Count")
    office.look()
    assert [note.title for note in told(office, office.cast.alice)] == ["Count is done"]


def test_rules_name_kinds_and_how_long_it_took(office: PostOffice) -> None:
    rules(office, office.cast.alice, Rule("completed", "inapp", ("test.jitter",)))
    office.finish(office.cast.alice)
    office.look()
    assert told(office, office.cast.alice) == []
    office.finish(office.cast.alice, kind="test.jitter")
    office.look()
    assert len(told(office, office.cast.alice)) == 1


def test_who_wants_nothing_is_told_nothing(office: PostOffice) -> None:
    rules(office, office.cast.alice)
    office.finish(office.cast.alice, "bad")
    office.look()
    assert told(office, office.cast.alice) == []
    with office.as_(office.cast.alice) as ctx:
        assert service.rules(ctx) == []
        service.default_rules(ctx)
        assert service.rules(ctx) == list(service.DEFAULTS)


def test_notify_me_of_one_task_goes_past_all_rules(office: PostOffice) -> None:
    rules(office, office.cast.alice)
    task_id = office.start(office.cast.alice, title="This one")
    with office.as_(office.cast.alice) as ctx:
        service.want(ctx, task_id)
        service.want(ctx, task_id)
        assert service.wanted(ctx, [task_id]) == {task_id}
    with office.as_(office.cast.bob) as ctx, pytest.raises(NotFound):
        service.want(ctx, task_id)
    office.run_all()
    office.look()
    assert [note.title for note in told(office, office.cast.alice)] == ["This one is done"]
    assert office.count("task_watches") == 0
    with office.as_(office.cast.alice) as ctx, pytest.raises(Conflict):
        service.want(ctx, task_id)


def test_notify_me_in_the_unit_that_starts_the_task(office: PostOffice) -> None:
    from webapp.tasks import service as tasks

    with office.as_(office.cast.alice) as ctx:
        task_id = tasks.start(ctx, "test.script", {"script": "ok"})["id"]
        service.want(ctx, task_id)
    office.run_all()
    office.look()
    assert len(told(office, office.cast.alice)) == 1


def test_a_cancelled_task_is_told_only_to_who_asked(office: PostOffice) -> None:
    first, second = (office.start(office.cast.alice) for _ in range(2))
    with office.as_(office.cast.alice) as ctx:
        service.want(ctx, second)
    office.do("cancel", office.cast.alice, first)
    office.do("cancel", office.cast.alice, second)
    office.look()
    assert [note.task_id for note in told(office, office.cast.alice)] == [second]


def test_a_task_given_up_is_told_once_though_it_is_a_failure_too(office: PostOffice) -> None:
    kinds.scripts["crash"] = lambda run: (_ for _ in ()).throw(kinds.Killed)
    rules(office, office.cast.alice, Rule("failed", "inapp"), Rule("dead_letter", "inapp"))
    office.start(office.cast.alice, "crash", title="Heavy")
    for _ in range(3):
        office.crash()
        office.take_over()
    office.look()
    (note,) = told(office, office.cast.alice)
    assert (note.event, note.title) == ("dead_letter", "Heavy was given up")


def test_parts_of_a_whole_and_housekeeping_are_nobodys_news(office: PostOffice) -> None:
    def whole(run: Any) -> Any:
        run.start_child("one", "test.script", {"script": "bad"})
        run.wait_for_children()
        return {}

    kinds.scripts["whole"] = whole
    office.start(office.cast.alice, "whole", title="Whole")
    office.run_all()
    office.start_kind("maintenance.notifications", {})
    office.run("maintenance")
    assert office.sql("SELECT count(*) FROM task_notices WHERE title <> 'Whole'").scalar() == 0


def test_killed_while_it_is_told_it_is_told_once_after(office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost between a task's end and what follows, and nothing doubled."""
    office.finish(office.cast.alice, "bad")

    def killed(name: str) -> None:
        if name == "before_told":
            raise kinds.Killed

    monkeypatch.setattr(notices, "failpoint", killed)
    with pytest.raises(kinds.Killed):
        office.look()
    assert told(office, office.cast.alice) == []
    assert office.count("task_notices") == 1
    monkeypatch.setattr(notices, "failpoint", lambda name: None)
    office.look()
    office.look()
    assert len(told(office, office.cast.alice)) == 1


def test_a_notice_that_cannot_be_told_stops_no_other(office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    office.finish(office.cast.alice, "bad", title="poison")
    office.finish(office.cast.alice, "bad", title="healthy")
    real = notices.listeners.get("notifications").tell

    def tell(rt: Any, db: Any, told_now: list[Notice]) -> None:
        if any(notice.title == "poison" for notice in told_now):
            raise ValueError("poison")
        real(rt, db, told_now)

    monkeypatch.setitem(notices.listeners._loaded, "notifications", notices.Listener(tell))
    office.look()
    assert [note.title for note in told(office, office.cast.alice)] == ["healthy failed"]
    assert office.count("task_notices") == 0


def test_a_deleted_task_is_told_all_the_same(office: PostOffice) -> None:
    task_id = office.finish(office.cast.alice, "bad", title="Gone")
    office.do("remove", office.cast.alice, task_id)
    office.look()
    assert [note.title for note in told(office, office.cast.alice)] == ["Gone failed"]


def test_rules_that_fit_nothing_are_refused(office: PostOffice) -> None:
    with office.as_(office.cast.alice) as ctx:
        for rule in (Rule("birthday", "inapp"), Rule("failed", "somebody-elses")):
            with pytest.raises(BadRequest):
                service.save_rules(ctx, [rule])
        assert service.rules(ctx) == list(service.DEFAULTS)


def test_alerts_reach_administrators_once(office: PostOffice) -> None:
    news = [{"key": "disk", "level": "bad", "title": "The disk is full", "text": "3 MB left"}]
    for _ in range(2):
        with office.rt.unit() as db:
            service.alert(office.rt, db, news, key="run-1")
    assert [note.title for note in told(office, office.cast.root)] == ["The disk is full"]
    assert told(office, office.cast.alice) == []


def test_an_administrators_own_failure_is_told_once(office: PostOffice) -> None:
    """As a failure of theirs, not as an alert beside it; another's is an alert."""
    letter = {"key": "letter", "level": "bad", "title": "A task failed for good", "text": "permanent"}
    with office.rt.unit() as db:
        service.alert(office.rt, db, [{**letter, "owner": "root"}], key="run-1")
        service.alert(office.rt, db, [{**letter, "owner": "alice"}], key="run-2")
    assert len(told(office, office.cast.root)) == 1


def test_the_centre(office: PostOffice) -> None:
    for title in ("one", "two", "three"):
        office.finish(office.cast.alice, "bad", title=title)
    office.look()
    with office.as_(office.cast.alice) as ctx:
        assert service.unread(ctx) == 3
        page = service.list_(ctx, limit=2)
        assert [note.title for note in page.items] == ["three failed", "two failed"]
        assert [n.title for n in service.list_(ctx, cursor=page.next_cursor).items] == ["one failed"]
        service.mark_read(ctx, page.items[0].id)
        assert service.unread(ctx) == 2
        service.mark_read(ctx, page.items[0].id, read=False)
        assert service.mark_all(ctx) == 3
        assert service.unread(ctx) == 0
        service.remove(ctx, page.items[0].id)
        assert service.remove_read(ctx) == 2
    with office.as_(office.cast.bob) as ctx, pytest.raises(NotFound):
        service.mark_read(ctx, page.items[1].id)

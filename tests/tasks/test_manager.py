"""What people do with their tasks: saved views, schedules of their own, two runs side by side, links to results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Cast
from tests.fakes.lab import Lab
from webapp.core.context import Actor
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.tasks import comparing, saved, schedules, service, sharing
from webapp.tasks.models import Schedule
from webapp.tasks.scheduler import start_due
from webapp.tasks.schedules import When

TEXT = {"content": "Bees make honey. They live in hives. Winter is cold.", "max_length": 20}
LATER = datetime.now(UTC) + timedelta(days=1)


def do(lab: Lab, who: Actor, call: Any, *args: Any, **options: Any) -> Any:
    with lab.as_(who) as ctx:
        return call(ctx, *args, **options)


def weekly(lab: Lab, who: Actor, **more: Any) -> Any:
    return do(lab, who, schedules.add, "summary", TEXT, When(cron="0 9 * * 1"), **{"title": "Bees", **more})


def make_due(lab: Lab) -> None:
    lab.sql("UPDATE schedules SET next_at = 1 WHERE owner_id IS NOT NULL")


# -- saved views -----------------------------------------------------------------------------------------------------


def test_a_view_is_kept_replaced_and_forgotten(lab: Lab, alice: Actor, charlie: Actor) -> None:
    first = do(lab, alice, saved.save, " Failed   ones ", {"status": "failed", "q": "", "cursor": "x"})
    assert (first.name, first.filters) == ("Failed ones", {"status": "failed"})
    again = do(lab, alice, saved.save, "Failed ones", {"kind": "summary"})
    assert again.id == first.id
    assert [row.filters for row in do(lab, alice, saved.list_)] == [{"kind": "summary"}]
    assert do(lab, charlie, saved.list_) == []
    with pytest.raises(NotFound):
        do(lab, charlie, saved.remove, first.id)
    do(lab, alice, saved.remove, first.id)
    assert do(lab, alice, saved.list_) == []


@pytest.mark.parametrize(("name", "filters"), [("", {"q": "x"}), (" \t ", {"q": "x"}), ("x", {}), ("x", {"odd": "x"})])
def test_a_view_needs_a_name_and_a_filter(lab: Lab, alice: Actor, name: str, filters: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        do(lab, alice, saved.save, name, filters)


def test_views_have_a_limit(lab: Lab, alice: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MOST", 2)
    for name in "ab":
        do(lab, alice, saved.save, name, {"q": name})
    do(lab, alice, saved.save, "a", {"q": "z"})
    with pytest.raises(Conflict):
        do(lab, alice, saved.save, "c", {"q": "c"})


# -- schedules -------------------------------------------------------------------------------------------------------


def test_a_weekly_task_is_its_owners(lab: Lab, cast: Cast) -> None:
    made = weekly(lab, cast.alice, priority="low")
    assert (made.when, made.title, made.priority, made.is_once) == ("every Monday at 09:00 UTC", "Bees", "low", False)
    assert made.next_at is not None
    assert (made.next_at.weekday(), made.next_at.hour) == (0, 9)
    make_due(lab)
    assert start_due(lab.rt) == 1
    [now] = do(lab, cast.alice, schedules.list_)
    row = lab.row(now.last_task_id)
    assert (row.owner_id, row.kind, row.title, row.priority) == (cast.alice.id, "summary", "Bees", "low")
    assert row.queue != "interactive", "nobody waits for it"
    assert now.next_at > datetime.now(UTC)
    assert do(lab, cast.bob, schedules.list_) == []


def test_once_is_once(lab: Lab, alice: Actor) -> None:
    made = do(lab, alice, schedules.add, "summary", TEXT, When(at=LATER))
    assert made.is_once
    assert made.next_at == LATER.replace(microsecond=made.next_at.microsecond)
    make_due(lab)
    start_due(lab.rt)
    start_due(lab.rt)
    assert lab.count("tasks") == 1
    [over] = do(lab, alice, schedules.list_)
    assert over.is_over
    assert over.last_status == "queued"
    with pytest.raises(Conflict):
        do(lab, alice, schedules.resume, made.id)
    anew = do(lab, alice, schedules.change, made.id, "summary", TEXT, When(at=LATER))
    assert anew.enabled
    assert not anew.is_over


def test_pause_resume_run_and_delete(lab: Lab, alice: Actor) -> None:
    made = weekly(lab, alice)
    assert not do(lab, alice, schedules.pause, made.id).enabled
    make_due(lab)
    assert start_due(lab.rt) == 0
    with pytest.raises(Conflict):
        do(lab, alice, schedules.pause, made.id)
    back = do(lab, alice, schedules.resume, made.id)
    assert back.next_at > datetime.now(UTC), "what was missed is not made up"
    task_id = do(lab, alice, schedules.run, made.id)
    assert lab.row(task_id).owner_id == alice.id
    do(lab, alice, schedules.remove, made.id)
    assert do(lab, alice, schedules.list_) == []
    assert lab.row(task_id) is not None, "its tasks stay"


@pytest.mark.parametrize("verb", ["get", "pause", "resume", "run", "remove"])
def test_a_strangers_schedule_is_none(lab: Lab, alice: Actor, charlie: Actor, verb: str) -> None:
    made = weekly(lab, alice)
    with pytest.raises(NotFound):
        do(lab, charlie, getattr(schedules, verb), made.id)
    with pytest.raises(NotFound):
        do(lab, charlie, schedules.change, made.id, "summary", TEXT, When(at=LATER))


def test_ours_are_nobodys(lab: Lab, alice: Actor, cast: Cast) -> None:
    from webapp.tasks.scheduler import ensure_system_schedules

    ensure_system_schedules(lab.rt)
    with lab.rt.unit(write=False) as db:
        one = db.query(Schedule).filter(Schedule.owner_id.is_(None)).first()
    for who in (alice, cast.root):
        assert do(lab, who, schedules.list_) == []
        with pytest.raises(NotFound):
            do(lab, who, schedules.remove, one.id)


@pytest.mark.parametrize(("when", "field"), [
    (When(cron="* * * * *"), "cron"), (When(cron="nonsense"), "cron"), (When(cron="0 0 30 2 *"), "cron"),
    (When(at=datetime(2020, 1, 1, tzinfo=UTC)), "at"), (When(at=datetime(9999, 1, 1, tzinfo=UTC)), "at"),
])  # fmt: skip
def test_times_that_are_none(lab: Lab, alice: Actor, when: When, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        do(lab, alice, schedules.add, "summary", TEXT, when)
    assert caught.value.details is not None
    assert caught.value.details[0]["loc"] == [field]
    assert lab.count("schedules WHERE owner_id IS NOT NULL") == 0


@pytest.mark.parametrize(("kind", "params"), [("summary", {}), ("summary", {"urls": ["http://127.0.0.1/"]}), ("none.such", {}),
                                              ("maintenance.retention", {})])  # fmt: skip
def test_what_could_not_start_is_not_scheduled(lab: Lab, alice: Actor, kind: str, params: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        do(lab, alice, schedules.add, kind, params, When(at=LATER))


def test_a_schedule_that_starts_nothing_says_why(lab: Lab, alice: Actor) -> None:
    weekly(lab, alice)
    lab.sql("UPDATE schedules SET params = '{}' WHERE owner_id IS NOT NULL")
    make_due(lab)
    start_due(lab.rt)
    [row] = do(lab, alice, schedules.list_)
    assert "give content" in row.error
    assert row.enabled
    assert row.next_at > datetime.now(UTC)


def test_schedules_of_a_suspended_person_wait(lab: Lab, alice: Actor) -> None:
    weekly(lab, alice)
    make_due(lab)
    lab.sql("UPDATE users SET is_active = :no WHERE id = :id", no=False, id=alice.id)
    assert start_due(lab.rt) == 0
    lab.sql("UPDATE users SET is_active = :yes WHERE id = :id", yes=True, id=alice.id)
    assert start_due(lab.rt) == 1


def test_schedules_have_a_limit(lab: Lab, alice: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "MOST", 1)
    weekly(lab, alice)
    with pytest.raises(Conflict):
        weekly(lab, alice)


@pytest.mark.parametrize(("repeat", "time", "cron", "words"), [
    ("daily", "07:30", "30 7 * * *", "every day at 07:30 UTC"), ("weekdays", "9:05", "5 9 * * 1-5", "every weekday at 09:05 UTC"),
    ("sunday", "00:00", "0 0 * * 0", "every Sunday at 00:00 UTC"), ("hourly", "00:15", "15 * * * *", "every hour at :15"),
    ("hourly", "00:00", "0 * * * *", "every hour"),
    ("monthly", "", "0 9 1 * *", "on the first of each month at 09:00 UTC"),
])  # fmt: skip
def test_a_time_in_words_is_a_cron_line_and_back(repeat: str, time: str, cron: str, words: str) -> None:
    assert schedules.cron_of(repeat, time, "") == cron
    assert schedules.parts_of(cron)["repeat"] == repeat
    assert schedules.in_words(cron) == words


def test_a_line_of_ones_own_stays_itself() -> None:
    assert schedules.cron_of("cron", "", " 0  4 * * *\0 ") == "0 4 * * *"
    assert schedules.in_words("*/20 * * * *") == "every 20 minutes"
    assert schedules.in_words("*/7 * * * *") == "*/7 * * * *", "it is not each seven minutes"
    assert schedules.parts_of("*/20 3 * * *") == {"repeat": "cron", "cron": "*/20 3 * * *"}
    for repeat, time, cron in (("cron", "", ""), ("daily", "25:00", ""), ("fortnightly", "", "")):
        with pytest.raises(BadRequest):
            schedules.cron_of(repeat, time, cron)


# -- comparing -------------------------------------------------------------------------------------------------------


def finished(lab: Lab, who: Actor, params: dict[str, Any], kind: str = "summary") -> str:
    task_id = str(do(lab, who, service.start, kind, params)["id"])
    for queue in ("interactive", "inference"):
        lab.run_all(queue)
    return task_id


def test_two_runs_side_by_side(lab: Lab, alice: Actor) -> None:
    longer = {
        **TEXT,
        "content": "Bees make honey in the summer and eat it later. They live in hives. Winter is cold and long.",
    }
    a, b = finished(lab, alice, longer), finished(lab, alice, {**longer, "max_length": 10})
    found = do(lab, alice, comparing.compare, a, b)
    assert [(one.name, one.a, one.b) for one in found.params] == [("max length", "20", "10")]
    assert found.same_params == len(found.a.params) - 1
    words = next(one for one in found.figures if one.name == "words")
    assert int(words.a) > int(words.b)
    assert int(words.change) == int(words.b) - int(words.a)
    assert "honey" in found.text_a or "hives" in found.text_a
    assert not found.is_cut


def test_what_cannot_be_compared_is_told(lab: Lab, alice: Actor, charlie: Actor) -> None:
    a, other = finished(lab, alice, TEXT), lab.start(alice)
    waiting = str(do(lab, alice, service.start, "summary", TEXT)["id"])
    for b in (a, other, waiting):
        with pytest.raises(BadRequest):
            do(lab, alice, comparing.compare, a, b)
    for who, one, two in ((charlie, a, a), (alice, a, "018f0000-none")):
        with pytest.raises(NotFound):
            do(lab, who, comparing.compare, one, two)


def test_figures_are_found_by_the_names_of_their_items() -> None:
    result = {"columns": [{"name": "age", "mean": 3.5}, {"name": "pay", "mean": 2}], "rows": 7, "ok": True,
              "sentences": [{"start": 1, "end": 2}], "deep": {"a": {"b": 1e-9}}}  # fmt: skip
    assert dict(comparing._numbers(result)) == {
        "columns: age mean": 3.5, "columns: pay mean": 2, "rows": 7, "deep a b": 1e-9,
    }  # fmt: skip


def test_a_long_line_is_parted_at_its_sentences() -> None:
    line = "One sentence stands here. [12] " * 10 + "The last one [1] ends."
    assert len(comparing._sentences(line)) == 11
    assert comparing._sentences(line)[0] == "One sentence stands here. [12]"
    assert comparing._sentences("Short. Line.") == ["Short. Line."]


# -- links -----------------------------------------------------------------------------------------------------------


def test_a_link_shows_a_result_until_it_is_taken_back(lab: Lab, alice: Actor, charlie: Actor) -> None:
    task_id = finished(lab, alice, TEXT)
    token = do(lab, alice, sharing.share, task_id).token
    assert do(lab, alice, sharing.share, task_id).token == token, "one link, however often"

    def seen(token: str) -> Any:
        with lab.rt.unit(write=False) as db:
            return sharing.shared(db, token)

    assert seen(token).id == task_id
    for wrong in ("", token[:-1], token + "x", token.swapcase(), "x" * 500):
        with pytest.raises(NotFound):
            seen(wrong)
    for verb in (sharing.share, sharing.unshare):
        with pytest.raises(NotFound):
            do(lab, charlie, verb, task_id)
    do(lab, alice, sharing.unshare, task_id)
    with pytest.raises(NotFound):
        seen(token)
    assert do(lab, alice, sharing.share, task_id).token != token, "an old link stays dead"


def test_there_is_nothing_to_share_before_the_end(lab: Lab, alice: Actor) -> None:
    with pytest.raises(Conflict):
        do(lab, alice, sharing.share, lab.start(alice))


def test_a_link_goes_with_its_task(lab: Lab, alice: Actor) -> None:
    task_id = finished(lab, alice, TEXT)
    do(lab, alice, sharing.share, task_id)
    lab.do("remove", alice, task_id)
    assert lab.count("task_shares") == 0


def test_long_texts_are_shown_from_where_they_part() -> None:
    same = "The keeper of the north light wrote such entries for thirty-one years, and the harbour kept the books. "
    a, b = comparing._where_they_part(same * 3 + "Then fog came.", same * 3 + "Then ice came.")
    assert a.endswith("Then fog came.")
    assert b.endswith("Then ice came.")
    assert a.startswith("… ")
    assert len(a) < comparing.BEFORE + 40
    assert comparing._where_they_part("short", "shorter") == ("short", "shorter")
    assert comparing._number(0.4017861) == "0.4018"
    assert comparing._number(12345.678) == "12,345.7"
    assert comparing.MARKS.sub("", "It is so. [1] [2] Not [sic] this.") == "It is so. Not [sic] this."

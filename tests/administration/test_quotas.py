"""What one person may have: the limit that counts, what is counted, and what is said when it is reached (A46)."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest

from tests.administration.conftest import Office
from tests.fakes import engine as fake
from tests.fakes.lab import QueryCounter
from webapp.core import quotas
from webapp.core.context import SYSTEM, Actor, Ctx
from webapp.core.db import new_id, utcnow
from webapp.core.errors import QuotaExceeded
from webapp.engines import service as engines
from webapp.engines.base import Request
from webapp.engines.models import ModelCall
from webapp.files import service as files
from webapp.files.models import Upload
from webapp.tasks import room
from webapp.tasks import service as tasks
from webapp.tasks.models import Task


def refused(act: Any, *args: Any, **options: Any) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as caught:
        act(*args, **options)
    return caught.value


# -- which limit -----------------------------------------------------------------------------------------------------


def test_a_person_has_the_setting_an_administrator_none_and_a_grant_beats_both(office: Office) -> None:
    alice, root = office.cast.alice, office.cast.root

    def limits(who: Actor) -> dict[str, int | None]:
        quotas.forget(office.rt)
        return quotas.limits_of(office.rt, str(who.id))

    assert limits(alice) == {"open_tasks": 100, "tasks_per_day": 2000, "stored_bytes": 2048 * 2**20,
                             "tokens_per_day": 2_000_000}  # fmt: skip
    assert set(limits(root).values()) == {None}
    office.set(quota_open_tasks="7", quota_stored_mb="0")
    assert (limits(alice)["open_tasks"], limits(alice)["stored_bytes"]) == (7, None)
    office.grant(alice, "open_tasks", 3)
    office.grant(root, "open_tasks", 5)
    office.grant(alice, "tokens_per_day", None)
    assert (limits(alice)["open_tasks"], limits(root)["open_tasks"], limits(alice)["tokens_per_day"]) == (3, 5, None)
    assert limits(office.cast.bob)["open_tasks"] == 7


def test_ids_begin_with_their_time() -> None:
    before = quotas.first_id(utcnow())
    assert before <= new_id()
    assert new_id() < quotas.first_id(utcnow() + timedelta(seconds=2))
    assert quotas.first_id(quotas.today()) < quotas.first_id(quotas.midnight())


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_no_more_open_tasks_than_allowed_until_one_ends(office: Office) -> None:
    alice = office.cast.alice
    office.set(quota_open_tasks="2")
    first = office.start(alice)
    office.start(alice)
    error = refused(office.start, alice)
    assert (error.status, error.code, error.retryable) == (429, "quota_exceeded", False)
    assert "2 of at most 2 tasks of yours are open" in error.message
    [detail] = error.details or []
    assert (detail["loc"], detail["type"]) == (["quota", "open_tasks"], "quota_exceeded")
    assert "It frees when one of them ends" in detail["msg"]
    assert error.retry_after
    office.start(office.cast.bob)  # somebody else's room is their own
    office.do("cancel", alice, first)
    office.start(alice)


def test_a_retry_opens_a_task_too(office: Office) -> None:
    alice = office.cast.alice
    office.set(quota_open_tasks="1", quota_tasks_per_day="2")
    first = office.start(alice)
    office.do("cancel", alice, first)
    second = office.start(alice)
    refused(office.do, "retry", alice, first)
    office.do("cancel", alice, second)
    assert office.do("retry", alice, first).status == "queued", "it is none of today's starts"
    assert office.do("bulk", alice, "retry", [second])["failed"][0]["error"].startswith("1 of at most 1")
    assert office.do("bulk", SYSTEM, "retry", [second])["done"], "an operator may"


def test_so_many_in_a_day_and_throwing_away_gives_no_new_ones(office: Office) -> None:
    alice = office.cast.alice
    office.set(quota_tasks_per_day="3")
    made = [office.start(alice) for _ in range(3)]
    error = refused(office.start, alice)
    assert "3 of at most 3 tasks today" in error.message
    assert "It frees at 00:00 UTC" in (error.suggestion or "")
    assert 0 < (error.retry_after or 0) <= 86_401
    for task_id in made:
        office.do("cancel", alice, task_id)
        office.do("remove", alice, task_id)
    assert office.count("tasks") == 0
    refused(office.start, alice)
    yesterday = f"{utcnow() - timedelta(days=1):%Y-%m-%d}"
    office.sql("UPDATE removed_tasks SET day = :day", day=yesterday)
    office.start(alice)


def test_tasks_of_other_days_of_the_program_and_parts_do_not_count(office: Office) -> None:
    alice = office.cast.alice
    office.set(quota_tasks_per_day="1", quota_open_tasks="1")
    with office.rt.unit() as db:  # of yesterday, by its id
        db.add(Task(id=f"{quotas.first_id(quotas.today() - timedelta(hours=1))}7000-8000-000000000000", owner_id=alice.id,
                    kind="test.script", title="x", status="completed", queue="inference"))  # fmt: skip
    parent = office.start(alice)
    refused(office.start, alice)
    office.sql("INSERT INTO removed_tasks (owner_id, day, count) VALUES (:o, '2001-01-01', 9)", o=alice.id)
    with office.as_(alice) as ctx:
        tasks.start(ctx, "maintenance.health", {})
        by_program = Ctx(office.rt, ctx.db, Actor(alice.id, "alice", via="system"))
        tasks.start(by_program, "test.script", {"script": "ok"})
        open_now, today = room.usage(ctx.db, str(alice.id))
    assert (open_now, today) == (2, 2), parent


def test_what_a_persons_schedule_starts_is_theirs(office: Office) -> None:
    from webapp.tasks import schedules
    from webapp.tasks.models import Schedule

    office.set(quota_open_tasks="1")
    row = Schedule(owner_id=office.cast.alice.id, name="mine", title="", kind="test.script", params={"script": "ok"}, rank=2,
                   notify=False)  # fmt: skip
    with office.as_(SYSTEM) as ctx:
        schedules.start_task(ctx, row)
        refused(schedules.start_task, ctx, row)


def test_counting_reads_one_index_and_no_row(office: Office) -> None:
    """100,000 rows of 4 kB would be read otherwise, with each start."""
    alice = office.cast.alice
    for _ in range(3):
        office.start(alice)
    with QueryCounter(office.rt) as counter, office.as_(alice, write=False) as ctx:
        assert room.usage(ctx.db, str(alice.id)) == (3, 3)
    [statement] = [one for one in counter.statements if "count(" in one]
    if office.rt.engine.dialect.name == "sqlite":
        with office.rt.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", ["x"] * statement.count("?"))]  # type: ignore[attr-defined]
        read = [line for line in plan if "tasks" in line and "removed" not in line]
        assert [line for line in read if "COVERING INDEX ix_tasks_owner_lists" in line] == read, plan


# -- files -----------------------------------------------------------------------------------------------------------


def keep(office: Office, size: int, who: Actor | None = None) -> Any:
    return office.ask(files.store, io.BytesIO(b"x" * size), "a.txt", "text/plain", who=who or office.cast.alice)


def test_files_take_no_more_room_than_allowed(office: Office) -> None:
    office.grant(office.cast.alice, "stored_bytes", 1000)
    keep(office, 600)
    error = refused(keep, office, 500)
    assert error.status == 429
    assert "your files take 600 bytes of 1000 bytes, and this needs 500 bytes more" in error.message.replace(",0", "0")
    assert len(files.blobs(office.rt.settings).names()) == 1, "what was refused is gone"
    keep(office, 400)
    error = refused(keep, office, 1)
    assert 29 * 86400 < (error.retry_after or 0) <= 30 * 86400 + 1, "when the oldest of them go"
    assert f"{utcnow() + timedelta(days=30):%d %B}" in (error.suggestion or "")
    keep(office, 5000, office.cast.bob)
    with office.rt.unit() as db:
        used, frees_at = files.usage(office.rt, db, str(office.cast.alice.id))
        first = db.query(Upload).filter(Upload.owner_id == office.cast.alice.id).order_by(Upload.id).first()
        assert first is not None
        assert (used, frees_at) == (1000, first.created_at + timedelta(days=30))


# -- tokens ----------------------------------------------------------------------------------------------------------


def write(office: Office, words: str, who: Actor) -> Any:
    request = Request(({"role": "user", "content": words},))
    return engines.generate(office.rt, "", request, owner_id=who.id)


def test_models_read_and_write_no_more_tokens_than_allowed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = office.cast.alice
    scripted = fake.install(monkeypatch, fake.Scripted("one two three"))
    office.grant(alice, "tokens_per_day", 30)
    write(office, "Hello", alice)  # 10 read, 3 written
    error = refused(write, office, "x" * 400, alice)
    assert "13 of at most 30 tokens for you today, and this needs 100 more" in error.message
    write(office, "Hello", alice)
    write(office, "Hello", alice)
    refused(write, office, "Hello", alice)
    assert len(scripted.requests) == 3, "the model was not asked"
    write(office, "Hello", office.cast.bob)
    with office.rt.unit() as db:
        for row in db.query(ModelCall):
            row.at = utcnow() - timedelta(days=1)
    write(office, "Hello", alice)


def test_a_prompt_of_a_million_tokens_is_refused_before_a_model_reads_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A46"""
    scripted = fake.install(monkeypatch, fake.Scripted("x"))
    office.grant(office.cast.alice, "tokens_per_day", 500_000)
    refused(write, office, "word " * 1_000_000, office.cast.alice)
    assert scripted.requests == []


def test_a_task_that_meets_the_end_of_a_quota_fails_once_and_rings_no_alarm(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.install(monkeypatch, fake.Scripted("x"))
    office.grant(office.cast.alice, "tokens_per_day", 1)
    task_id = office.start_kind("models.try", {"prompt": "Say hello, slowly and at some length."}, office.cast.alice)
    office.run()
    row = office.row(task_id)
    assert (row.status, row.error_code, row.attempt) == ("failed", "quota_exceeded", 1)
    assert "It frees at 00:00 UTC" in (row.error or "")
    assert office.letters(task_id) == []

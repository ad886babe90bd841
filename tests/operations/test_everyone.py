"""Tasks of everybody, metrics, the audit log, tables, alerts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.lab import QueryCounter
from tests.operations.conftest import Room
from webapp.core.context import Actor
from webapp.core.db import Base, utcnow
from webapp.core.errors import BadRequest, Forbidden, NotFound
from webapp.core.models import IdempotencyKey
from webapp.operations import service
from webapp.operations.service.probe import Look
from webapp.operations.service.tables import CELL, SECRET, SHOWN
from webapp.tasks.models import Lease

WELL = Look(None, 0.001)


def fill(room: Room) -> dict[str, str]:
    ids = {
        "done": room.start(room.cast.alice, title="Apples"),
        "waiting": room.start(room.cast.bob, title="Pears 100%"),
        "system": room.start_kind("test.script", {"script": "ok"}),
    }
    room.run()
    return ids


def test_all_tasks_with_their_owners(room: Room) -> None:
    ids = fill(room)
    rows = room.ask(service.all_tasks).items
    assert {row.task.id: row.owner for row in rows} == {
        ids["done"]: "alice",
        ids["waiting"]: "bob",
        ids["system"]: "system",
    }
    assert room.ask(service.status_counts) == {"completed": 1, "queued": 2}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"user": "alice"}, ["done"]),
        ({"user": "ALICE"}, ["done"]),
        ({"user": "system"}, ["system"]),
        ({"user": "nobody"}, []),
        ({"status": "active"}, ["waiting", "system"]),
        ({"status": "completed"}, ["done"]),
        ({"q": "apple"}, ["done"]),
        ({"q": "100%"}, ["waiting"]),
        ({"kind": "test.script"}, ["done", "waiting", "system"]),
        ({"kind": "other"}, []),
        ({"since": utcnow() - timedelta(days=1)}, ["done", "waiting", "system"]),
        ({"until": utcnow() - timedelta(days=1)}, []),
    ],
)
def test_filters(room: Room, filters: dict[str, Any], expected: list[str]) -> None:
    ids = fill(room)
    found = {row.task.id for row in room.ask(service.all_tasks, **filters).items}
    assert found == {ids[name] for name in expected}


def test_an_id_finds_its_task_and_a_wrong_status_is_said(room: Room) -> None:
    ids = fill(room)
    assert [row.task.title for row in room.ask(service.all_tasks, q=f" {ids['done']} ").items] == ["Apples"]
    with pytest.raises(BadRequest):
        room.ask(service.all_tasks, status="lost")


def test_lists_of_any_length_cost_two_queries(room: Room) -> None:
    for number in range(25):
        room.start((room.cast.alice, room.cast.bob)[number % 2])
    with QueryCounter(room.rt) as counter:
        assert len(room.ask(service.all_tasks).items) == 25
    assert len([one for one in counter.statements if "SELECT" in one]) == 2
    assert not any("result" in one.split("FROM")[0] for one in counter.statements), "results are not read for a list"


def test_anybodys_task_with_its_history(room: Room) -> None:
    ids = fill(room)
    found = room.ask(service.any_task, ids["done"])
    assert (found.owner, found.task.title) == ("alice", "Apples")
    assert [event.type for event in found.events] == ["status", "status", "result"]
    with pytest.raises(NotFound):
        room.ask(service.any_task, "018f0000-none")


def test_many_at_once_with_one_entry(room: Room) -> None:
    ids = fill(room)
    answer = room.ask(service.bulk_tasks, "cancel", [ids["waiting"], ids["done"]])
    assert (answer["done"], answer["failed"][0]["id"]) == ([{"id": ids["waiting"]}], ids["done"])
    assert room.status(ids["waiting"]) == "cancelled"
    room.ask(service.bulk_tasks, "retry", [ids["waiting"]])
    assert room.status(ids["waiting"]) == "queued"
    room.ask(service.bulk_tasks, "delete", [ids["done"]])
    assert room.count("tasks") == 2
    assert [(entry.action, entry.object_id) for entry in room.audited()] == [
        ("task.cancel", ids["waiting"]), ("task.retry", ids["waiting"]), ("task.delete", ids["done"])]  # fmt: skip
    room.ask(service.bulk_tasks, "delete", ["gone"])
    assert len(room.audited()) == 3, "what did not happen leaves no entry"


@pytest.mark.parametrize("verb", [service.all_tasks, service.status_counts, service.audit_log, service.tables,
                                  service.overview, service.alerts, service.running])  # fmt: skip
def test_only_for_administrators(room: Room, verb: Any) -> None:
    with pytest.raises(Forbidden):
        room.ask(verb, who=room.cast.alice)


@pytest.mark.parametrize(("verb", "args"), [(service.any_task, ("x",)), (service.bulk_tasks, ("delete", ["x"])),
                                            (service.table_rows, ("users",))])  # fmt: skip
def test_these_too(room: Room, verb: Any, args: tuple[Any, ...]) -> None:
    with pytest.raises(Forbidden):
        room.ask(verb, *args, who=room.cast.alice)


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_our_own_upkeep_is_not_in_the_total(room: Room) -> None:
    room.start(room.cast.alice, "missing")
    room.run_all()
    room.start_kind("maintenance.health", {})
    room.run("maintenance")
    found = room.ask(service.metrics)
    assert (found.total.tasks_total, found.total.error_rate) == (1, 1.0)
    assert "maintenance.health" in {row.kind for row in found.agents}, "it is listed all the same"


def test_metrics_of_all_and_of_ones_own(room: Room) -> None:
    fill(room)
    failing = room.start(room.cast.bob, "missing", kind="test.crawl")
    room.run_all("crawling")
    assert room.status(failing) == "failed"
    found = room.ask(service.metrics)
    assert (found.scope, found.total.tasks_total, found.total.completed, found.total.failed) == ("all", 2, 1, 1)
    assert (found.total.success_rate, found.total.error_rate, found.total.queue_length) == (0.5, 0.5, 2)
    crawl, script = found.agents
    assert (crawl.kind, crawl.error_rate, script.kind, script.success_rate) == ("test.crawl", 1.0, "test.script", 1.0)
    assert script.avg_duration_ms is not None
    assert 0 <= script.avg_duration_ms <= (script.max_duration_ms or 0)
    own = room.ask(service.metrics, who=room.cast.bob)
    assert (own.scope, own.total.tasks_total, own.total.queue_length) == ("own", 1, 1)
    assert room.ask(service.metrics, who=room.cast.charlie).agents == []


# -- audit -----------------------------------------------------------------------------------------------------------


def test_the_audit_log_filters_and_pages(room: Room) -> None:
    room.ask(service.pause_queue, "inference")
    room.ask(service.resume_queue, "inference")
    room.ask(service.pause_queue, "crawling", who=Actor(None, "system", is_admin=True, via="system"))

    def actions(**filters: Any) -> list[str]:
        return [entry.action for entry in room.ask(service.audit_log, **filters).items]

    assert actions() == ["queue.pause", "queue.resume", "queue.pause"]
    assert actions(actor="system") == ["queue.pause"]
    assert actions(action="queue.resume") == ["queue.resume"]
    assert actions(action="queue") == ["queue.pause", "queue.resume", "queue.pause"]
    assert actions(action="que") == []
    assert actions(object="inference") == ["queue.resume", "queue.pause"]
    assert actions(object="schedule") == []
    assert actions(until=utcnow() - timedelta(hours=1)) == []
    first = room.ask(service.audit_log, limit=2)
    assert [entry.object_id for entry in room.ask(service.audit_log, limit=2, cursor=first.next_cursor).items] == [
        "inference"
    ]


# -- tables ----------------------------------------------------------------------------------------------------------


def test_every_table_is_listed_or_left_out_on_purpose() -> None:
    from webapp.core import migrate

    assert set(SHOWN) >= {table.name for table in migrate.metadata().sorted_tables}, "decide what may be shown"


def test_no_column_that_smells_of_a_secret_is_shown() -> None:
    for table, columns in SHOWN.items():
        assert [column for column in columns if SECRET.search(column)] == [], table


def test_secrets_stay_in_the_database(room: Room) -> None:
    from webapp.identity import service as identity

    canary = "c4n4ry" * 8
    with room.as_(room.cast.root) as ctx:
        made = identity.create_api_key(ctx, name="key", scopes=["tasks:read"])
        secret = identity.start_session(ctx, ctx.db.get(identity.User, room.cast.root.id))
    room.sql("UPDATE users SET password_hash = :c", c=canary)
    with room.rt.unit() as db:
        db.add(IdempotencyKey(owner_id="o", key=canary, fingerprint=canary, body=canary))
    kept = [str(value) for row in room.sql("SELECT key_hash FROM api_keys").rows for value in row]
    kept += [str(value) for row in room.sql("SELECT token_hash FROM login_sessions").rows for value in row]
    shown = repr([room.ask(service.table_rows, name) for name in SHOWN])
    for word in (canary, secret, str(made), *kept):
        assert word not in shown
    assert "root" in shown


def test_rows_page_by_primary_key_both_ways(room: Room) -> None:
    for number in range(5):
        room.start(room.cast.alice, title=f"Task {number}")
    title = SHOWN["tasks"].index("title")

    def titles(cursor: str | None) -> tuple[list[str], Any]:
        page = room.ask(service.table_rows, "tasks", cursor=cursor, limit=2)
        return [row[title] for row in page.rows], page

    first, page = titles(None)
    second, page = titles(page.next_cursor)
    third, last = titles(page.next_cursor)
    assert [first, second, third] == [["Task 4", "Task 3"], ["Task 2", "Task 1"], ["Task 0"]]
    assert last.next_cursor is None
    assert titles(last.prev_cursor)[0] == second
    assert titles(page.prev_cursor)[0] == first
    events = room.ask(service.table_rows, "task_events", limit=2)
    assert len(room.ask(service.table_rows, "task_events", limit=10, cursor=events.next_cursor).rows) == 3, (
        "a key of two"
    )


def test_long_values_are_cut_by_the_database(room: Room) -> None:
    room.start(room.cast.alice, value="x" * 5000)
    row = room.ask(service.table_rows, "tasks").rows[0]
    assert len(str(row[SHOWN["tasks"].index("params")])) <= CELL


@pytest.mark.parametrize(
    "cursor", ["x", "bnVsbA", "WyJuZXh0Il0", "WyJuZXh0IiwgbnVsbF0", "WyJuZXh0IiwgWzFdXQ", "WzFd", "é", "W10", "MQ"]
)
def test_a_cursor_of_others_is_refused(room: Room, cursor: str) -> None:
    with pytest.raises(BadRequest):
        room.ask(service.table_rows, "tasks", cursor=cursor)


@pytest.mark.parametrize("name", ["alembic_version", "sqlite_master", "tasks; DROP TABLE tasks", "pg_shadow", "Users"])
def test_other_tables_do_not_exist(room: Room, name: str) -> None:
    with pytest.raises(NotFound):
        room.ask(service.table_rows, name)


def test_the_list_of_tables_is_one_query(room: Room) -> None:
    with QueryCounter(room.rt) as counter:
        found = {row.name: row for row in room.ask(service.tables)}
    assert len([one for one in counter.statements if "SELECT" in one]) == 1
    assert found["users"].rows == 4
    assert set(found["users"].hidden) >= {"password_hash"}
    assert Base.metadata.tables["users"].c.password_hash is not None


# -- alerts ----------------------------------------------------------------------------------------------------------


def said(room: Room, look: Look = WELL) -> dict[str, str]:
    return {alert.title: alert.level for alert in room.ask(service.overview, look).alerts}


def serve_all(room: Room) -> None:
    room.add_worker("all", queues="interactive,inference,crawling,embedding,workflows,maintenance")
    if room.rt.roles:
        with room.rt.unit() as db:
            db.add(Lease(name="scheduler", holder="x", until=2e9 * 2))


def test_nothing_to_say_when_all_is_well(room: Room) -> None:
    serve_all(room)
    room.start(room.cast.alice)
    assert said(room) == {}


def test_no_worker_at_all_is_one_line(room: Room) -> None:
    room.start(room.cast.alice)
    found = said(room)
    assert found["No worker runs"] == "bad"
    assert not any(title.startswith("No worker for") for title in found)
    assert ("No scheduler runs" in found) == bool(room.rt.roles)


def test_a_queue_without_a_worker_is_named(room: Room) -> None:
    serve_all(room)
    room.sql("UPDATE workers SET queues = 'inference,interactive,crawling,workflows,maintenance'")
    assert said(room) == {"No worker for embedding": "bad"}


def test_long_waits_lost_workers_and_failures(room: Room) -> None:
    serve_all(room)
    for _ in range(12):
        room.age(room.start(room.cast.alice), seconds=400)
    room.start(room.cast.bob, "missing", kind="test.crawl")
    room.run_all("crawling")
    held = [room.start(room.cast.alice, kind="test.crawl") for _ in range(2)]
    room.add_worker("lost", age=500, running=held)
    assert said(room) == {
        "12 tasks wait on inference, the oldest for 6 min": "warn",
        "1 worker lost with 2 tasks in hand": "warn",
        "1 task failed for good": "warn",
    }


def test_servers_that_do_not_answer(room: Room) -> None:
    serve_all(room)
    assert said(room, Look(None, 0.4)) == {"The database is slow": "warn"}
    assert said(room, Look(None, 0.001, {"redis": "TimeoutError"})) == {"Redis does not answer": "bad"}
    assert [alert.title for alert in service.server_alerts(Look("no answer", 1.0))] == ["The database does not answer"]


def test_the_overview_has_a_fixed_number_of_queries(room: Room) -> None:
    def count() -> int:
        with QueryCounter(room.rt) as counter:
            room.ask(service.overview, WELL)
        return len(counter)

    serve_all(room)
    room.add_worker("one", running=[room.start(room.cast.alice)])
    room.start(room.cast.alice)
    room.claim()
    room.start(room.cast.bob, "missing", kind="test.crawl")
    room.run_all("crawling")
    few = count()
    for number in range(15):
        room.add_worker(f"w{number}", age=number * 10, running=[room.start(room.cast.alice)])
        room.start(room.cast.alice)
        room.claim()
        room.start(room.cast.bob, "missing", kind="test.crawl")
    room.run_all("crawling")
    assert count() == few <= 26

"""How long things are kept: one rule for each task, the preview says what the night does, the environment wins (M052)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.administration.conftest import Office
from tests.conftest import make_cast
from webapp.administration import service
from webapp.chat.models import Conversation, Message
from webapp.core import stored
from webapp.core.audit import AuditEntry
from webapp.core.db import utcnow
from webapp.core.errors import Conflict, Forbidden, Invalid
from webapp.files.models import Upload
from webapp.tasks import housekeeping
from webapp.tasks.models import FINAL

DAY = 86400.0


def task(office: Office, days: float, *, status: str = "completed", kind: str = "test.script") -> str:
    """A task that ended so many days ago."""
    ident = office.start(office.cast.alice)
    office.sql(
        "UPDATE tasks SET status = :s, kind = :k, finished_at = created_at WHERE id = :id", s=status, k=kind, id=ident
    )
    office.age(ident, seconds=days * DAY)
    return ident


def night(office: Office) -> dict[str, Any]:
    for kind in ("maintenance.retention", "maintenance.conversations", "maintenance.files", "maintenance.records",
                 "maintenance.notifications"):  # fmt: skip
        office.start_kind(kind, {})
    results: dict[str, Any] = {}
    while (done := office.run("maintenance")) is not None:
        row = office.row(done)
        assert row.status == "completed", row.error
        results[row.kind] = row.result
    return results


def left(office: Office, *ids: str) -> list[str]:
    have = {row[0] for row in office.sql("SELECT id FROM tasks").rows}
    return [one for one in ids if one in have]


def counted(office: Office, wanted: dict[str, str | None] | None = None) -> dict[str, int]:
    return {one.what: one.count for one in office.ask(service.going, wanted)}


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_each_finished_task_falls_under_one_rule() -> None:
    found = housekeeping.rules(30, ("failed=90", "crawl=7", "crawl.site=3"))
    assert [(rule.label, rule.days) for rule in found] == [
        ("Tasks of the kind Crawl", 3), ("Tasks of the kind crawl", 7), ("Tasks that failed", 90),
        ("Other finished tasks", 30),
    ]  # fmt: skip


def test_a_kind_before_a_status_before_the_rest(office: Office) -> None:
    office.set(retention_days="30", retention_tasks="failed=90,crawl=7,test.sleep=0")
    gone = [task(office, 31), task(office, 8, kind="crawl.site"), task(office, 8, kind="crawl.site", status="failed"),
            task(office, 91, status="failed"), task(office, 31, status="cancelled")]  # fmt: skip
    kept = [task(office, 29), task(office, 6, kind="crawl.site"), task(office, 31, status="failed"),
            task(office, 500, kind="test.sleep"), task(office, 500, kind="test.sleep", status="failed")]  # fmt: skip
    before = counted(office)
    assert before["Tasks of the kind crawl"] == 2
    assert (before["Tasks that failed"], before["Other finished tasks"]) == (1, 2)
    assert night(office)["maintenance.retention"]["tasks"] == 5
    assert left(office, *gone, *kept) == kept
    assert set(counted(office).values()) == {0}


def test_every_status_may_have_its_own_and_none_is_left_for_the_rest(office: Office) -> None:
    office.set(retention_tasks=",".join(f"{name}=5" for name in FINAL))
    old = [task(office, 6, status=name) for name in FINAL]
    fresh = [task(office, 4, status=name) for name in FINAL]
    night(office)
    assert left(office, *old, *fresh) == fresh


def test_logs_may_go_before_their_task(office: Office) -> None:
    office.set(retention_days="0", retention_logs_days="10")
    old, fresh, running = task(office, 11), task(office, 9), office.start(office.cast.alice)
    office.age(running, seconds=50 * DAY)
    assert counted(office)["Logs of tasks that are kept"] == 1
    assert night(office)["maintenance.retention"]["logs"] == 1
    assert [len(office.events(one)) > 0 for one in (old, fresh, running)] == [False, True, True]
    assert left(office, old) == [old]
    assert counted(office)["Logs of tasks that are kept"] == 0


# -- conversations, files --------------------------------------------------------------------------------------------


def test_conversations_go_when_nobody_writes_but_pinned_and_shared_ones_stay(office: Office) -> None:
    office.set(retention_conversations_days="60")
    alice, then = office.cast.alice.id, utcnow() - timedelta(days=61)
    with office.rt.unit() as db:
        rows = [Conversation(owner_id=alice, title=title, last_message_at=at, **more) for title, at, more in (
            ("old", then, {}), ("fresh", utcnow(), {}), ("pinned", then, {"pinned": True}),
            ("shared", then, {"share_token": "t"}))]  # fmt: skip
        db.add_all(rows)
        db.flush()
        db.add(Message(conversation_id=rows[0].id, seq=1, role="user", content="x"))
    assert counted(office)["Conversations without a new message"] == 1
    assert night(office)["maintenance.conversations"] == {"removed": 1}
    assert sorted(row[0] for row in office.sql("SELECT title FROM conversations").rows) == ["fresh", "pinned", "shared"]
    assert office.count("messages") == 0
    office.set(retention_conversations_days=None)
    assert counted(office)["Conversations without a new message"] == 0


def test_uploads_go_with_their_bytes(office: Office) -> None:
    import io

    from webapp.files import service as files

    office.set(retention_files_days="5")
    made = office.ask(files.store, io.BytesIO(b"x"), "a.txt", "text/plain", who=office.cast.alice)
    office.ask(files.store, io.BytesIO(b"y"), "b.txt", "text/plain", who=office.cast.alice)
    with office.rt.unit() as db:
        row = db.get(Upload, made.id)
        assert row is not None
        row.created_at = utcnow() - timedelta(days=6)
    import os
    import time

    path = files.blobs(office.rt.settings).root / made.id
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert counted(office)["Uploads"] == 1
    night(office)
    assert (office.count("uploads"), path.exists()) == (1, False)
    office.set(retention_files_days="0")
    assert counted(office)["Uploads"] == 0


def test_what_was_told_searched_and_done_goes_after_its_days(office: Office) -> None:
    from webapp.deliveries.models import Delivery
    from webapp.knowledge.models import SearchEvent
    from webapp.notifications.models import Notification

    alice, then = office.cast.alice.id, utcnow() - timedelta(days=40)
    with office.rt.unit() as db:
        for number, at in enumerate((then, utcnow())):
            db.add(SearchEvent(owner_id=alice, query=f"ships {number}", at=at))
            db.add(AuditEntry(actor="root", via="session", action="test.done", object_kind="x", at=at))
            db.add(Notification(user_id=alice, key=f"k{number}", event="alert", title="t", created_at=at))
            for status in ("delivered", "waiting"):
                db.add(Delivery(owner_id=alice, carrier="channel", target_id="t", event="e", body="{}", key=f"{number}{status}",
                                status=status, due_at=0.0, created_at=at))  # fmt: skip
    names = ("What people searched for", "Audit log", "Notifications", "Deliveries with their log")
    assert [counted(office)[name] for name in names] == [0, 0, 0, 0], "90 days, and the audit log for ever"
    days = {f"retention_{name}_days": "30" for name in ("searches", "audit", "notifications")}
    assert [counted(office, days)[name] for name in names] == [1, 1, 1, 1]
    office.set(**days)
    night(office)
    left_over = {name: office.count(name) for name in ("search_events", "notifications", "deliveries")}
    assert left_over == {"search_events": 1, "notifications": 1, "deliveries": 3}, "what is still to be sent stays"
    done = [row[0] for row in office.sql("SELECT at FROM audit_entries WHERE action = 'test.done'").rows]
    assert len(done) == 1
    office.set(retention_searches_days="0")
    assert counted(office)["What people searched for"] == 0


# What has no end of its own: people's things, which they delete themselves, and the operator's settings.
KEPT = {"users", "api_keys", "agents", "collections", "collection_shares", "sources", "documents", "document_versions", "chunks",
        "chunk_drafts", "citations", "conversations", "messages", "feedback", "crawls", "crawl_urls", "omeruta_chats", "task_templates",
        "saved_views", "schedules", "queue_pauses", "leases", "stored_settings", "quota_grants", "model_servers", "model_defaults",
        "notification_channels", "notification_rules", "webhook_endpoints", "inbound_hooks"}  # fmt: skip
# What goes by itself, and by what.
SWEPT = {
    "tasks": "retention_days", "task_events": "retention_logs_days", "dead_letters": "tasks", "task_shares": "tasks",
    "uploads": "retention_files_days", "model_calls": "retention_days", "search_events": "retention_searches_days",
    "notifications": "retention_notifications_days", "deliveries": "retention_notifications_days",
    "delivery_attempts": "deliveries", "audit_entries": "retention_audit_days", "inbound_receipts": "a day",
    "idempotency_keys": "a day", "removed_tasks": "a day", "workers": "an hour", "task_notices": "once told",
    "task_watches": "once told", "login_sessions": "30 days after their end", "refresh_tokens": "login_sessions",
    "vector_removals": "once done",
}  # fmt: skip


def test_every_table_has_an_end_or_a_reason() -> None:
    """Who adds a table says whether it grows for ever."""
    from webapp.core import migrate
    from webapp.settings import BY_NAME

    assert set(migrate.metadata().tables) == KEPT | set(SWEPT)
    assert not KEPT & set(SWEPT)
    assert {name for name in SWEPT.values() if name.startswith("retention_")} <= set(BY_NAME)


# -- the settings ----------------------------------------------------------------------------------------------------


def test_the_preview_changes_nothing_and_says_what_would_be(office: Office) -> None:
    task(office, 20)
    assert counted(office)["Finished tasks"] == 0
    assert counted(office, {"retention_days": "10"})["Finished tasks"] == 1
    assert counted(office, {"retention_days": "10", "retention_tasks": "completed=30"})["Tasks that completed"] == 0
    assert counted(office)["Finished tasks"] == 0
    assert office.count("stored_settings") == 0


def test_a_change_is_kept_shown_with_its_author_and_audited_once(office: Office) -> None:
    office.ask(service.keep, {"retention_days": "14", "retention_tasks": "failed=90"})
    rows = {row.option.name: row for row in office.ask(service.shown)}
    assert (rows["retention_days"].value, rows["retention_days"].origin, rows["retention_days"].set_by) == (
        14,
        "database",
        "root",
    )
    assert rows["retention_files_days"].origin == "default"
    with office.rt.unit(write=False) as db:
        [entry] = db.query(AuditEntry).all()
    assert (entry.action, entry.detail) == (
        "settings.change", {"retention_days": ["30", "14"], "retention_tasks": ["", "failed=90"]})  # fmt: skip
    office.ask(service.keep, {"retention_days": None})
    assert {row.option.name: row.origin for row in office.ask(service.shown)}["retention_days"] == "default"


@pytest.mark.parametrize(("name", "text"), [
    ("retention_days", "soon"), ("retention_days", "-1"), ("retention_days", "99999"), ("retention_days", "1.5"),
    ("retention_tasks", "failed"), ("retention_tasks", "failed=x"), ("retention_tasks", "=3"), ("retention_tasks", "x y=3"),
    ("quota_open_tasks", "many"), ("port", "9"), ("nothing_like_it", "1"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_name(office: Office, name: str, text: str) -> None:
    with pytest.raises(Invalid) as caught:
        office.ask(stored.change, {name: text})
    assert caught.value.details
    assert caught.value.details[0]["loc"] == [name]
    assert office.count("stored_settings") == 0


def test_only_administrators(office: Office) -> None:
    for verb, args in ((service.going, ()), (service.keep, ({"retention_days": "1"},)), (service.shown, ()),
                       (service.sweep_now, ()), (service.listed, ())):  # fmt: skip
        with pytest.raises(Forbidden):
            office.ask(verb, *args, who=office.cast.alice)


def test_the_environment_wins(make_rt: Any) -> None:
    rt = make_rt(BRAINSTEM_RETENTION_DAYS="90")
    office = Office(rt, make_cast(rt))
    office.sql(
        "INSERT INTO stored_settings (name, value, set_by, set_at) VALUES ('retention_days', '1', 'x', '2026-01-01')"
    )
    assert stored.value(rt, "retention_days") == 90
    with pytest.raises(Conflict) as caught:
        office.ask(service.keep, {"retention_days": "14"})
    assert "environment (BRAINSTEM_RETENTION_DAYS)" in caught.value.message
    row = office.ask(service.shown)[0]
    assert (row.value, row.fixed, row.origin) == (90, True, "environment (BRAINSTEM_RETENTION_DAYS)")


def test_a_stored_text_that_no_version_understands_is_passed_over(office: Office) -> None:
    at = "'2026-01-01'" if office.rt.engine.dialect.name == "sqlite" else "now()"
    office.sql(f"INSERT INTO stored_settings (name, value, set_by, set_at) VALUES ('retention_days', 'x', 'x', {at})")
    stored.forget(office.rt)
    assert stored.value(office.rt, "retention_days") == 30
    assert office.ask(service.shown)[0].origin == "default"


def test_no_secret_is_listed(make_rt: Any) -> None:
    rt = make_rt(API_KEY="c4n4ry-c4n4ry-c4n4ry")
    office = Office(rt, make_cast(rt))
    rows = office.ask(service.listed)
    assert "c4n4ry" not in repr([(row.value, row.text) for row in rows])
    assert {row.option.name: row.text for row in rows}["api_key"] == "set"
    assert len(rows) == sum(len(group) for _, group in office.ask(service.groups))


def test_a_live_setting_is_one_that_is_read_live() -> None:
    """Whoever marks a setting as changeable while the program runs reads it through core/stored.py."""
    import re

    from tests.conftest import ROOT
    from webapp.settings import OPTIONS

    live = [option.name for option in OPTIONS if option.live]
    text = "".join(path.read_text("utf-8") for path in (ROOT / "webapp").rglob("*.py"))
    assert re.findall(rf"settings\.({'|'.join(live)})\b", text) == []

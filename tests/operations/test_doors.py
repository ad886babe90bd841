"""The same verbs through API, pages and command line, and who may come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.fakes.lab import Lab
from tests.fakes.site import routes
from tests.operations.conftest import Browser, Room
from webapp.cli import main
from webapp.operations import service

API = "/api/v1/operations"
OURS = sorted(
    {(route.method, route.path) for route in routes() if route.endpoint.startswith(("operations_", "agent_service_"))}
)


def admin_key(room: Room) -> dict[str, str]:
    return room.cast.key(room.cast.root, ["admin", "tasks:read", "tasks:write"])


def test_queues_by_api(site_room: Room) -> None:
    headers = admin_key(site_room)
    site_room.start(site_room.cast.alice)
    client = site_room.app.test_client()  # type: ignore[attr-defined]
    rows = client.get(f"{API}/queues", headers=headers).get_json()
    assert [row["waiting"] for row in rows if row["name"] == "inference"] == [1]
    paused = client.post(f"{API}/queues/inference/pause", json={"reason": "repair"}, headers=headers)
    assert paused.status_code == 200
    assert (paused.get_json()["paused"], paused.get_json()["paused_by"]) == (True, "root")
    assert paused.get_json()["paused_at"].endswith("Z")
    assert client.post(f"{API}/queues/inference/pause", json={}, headers=headers).status_code == 409
    assert client.post(f"{API}/queues/nothing/pause", json={}, headers=headers).status_code == 404
    assert client.post(f"{API}/queues/inference/pause", json={"reason": "x" * 201}, headers=headers).status_code == 422
    assert client.post(f"{API}/queues/inference/resume", headers=headers).get_json()["paused"] is False
    assert {entry.via for entry in site_room.audited()} == {"api_key"}


def test_workers_by_api(site_room: Room) -> None:
    task_id = site_room.start(site_room.cast.alice, title="In hand")
    site_room.add_worker("one", running=[task_id])
    client = site_room.app.test_client()  # type: ignore[attr-defined]
    (row,) = client.get(f"{API}/workers", headers=admin_key(site_room)).get_json()
    assert (row["id"], row["state"], row["running"]) == ("one", "alive", [{"id": task_id, "title": "In hand"}])


def test_a_key_needs_the_admin_scope(site_room: Room) -> None:
    client = site_room.app.test_client()  # type: ignore[attr-defined]
    plain = site_room.cast.key(site_room.cast.root, ["tasks:read", "tasks:write"])
    assert client.get(f"{API}/queues", headers=plain).status_code == 403


def test_the_overview_page_and_its_poll(site_room: Room, root: Browser) -> None:
    site_room.start(site_room.cast.alice)
    site_room.add_worker("one", queues="inference,crawling")
    page = root.get("/monitor/").get_data(as_text=True)
    assert "<h1>Operations</h1>" in page
    assert 'hx-trigger="every 5s' in page
    part = root.get("/monitor/", poll=True).get_data(as_text=True)
    assert part.lstrip().startswith('<div class="stack" id="ops-live"')
    assert part.strip() in page.replace("\r", "") or "queue-inference" in page


def test_pause_and_resume_on_the_page(site_room: Room, root: Browser) -> None:
    site_room.start(site_room.cast.alice)
    page = root.after(root.post("/monitor/queues/inference/pause", reason="night shift"))
    assert "inference is paused: 1 waiting" in page
    assert "night shift" in page
    assert "already paused" in root.after(root.post("/monitor/queues/inference/pause"))
    assert "inference goes on" in root.after(root.post("/monitor/queues/inference/resume"))
    assert [entry.action for entry in site_room.audited()] == ["queue.pause", "queue.resume"]


@pytest.mark.parametrize(("method", "path"), OURS)
def test_only_administrators_come_in(
    site_room: Room, alice: Browser, stranger: Browser, method: str, path: str
) -> None:
    if path.startswith("/api/v1/agent-service") and path.rsplit("/", 1)[-1] in ("health", "metrics", "<task_id>"):
        pytest.skip("for more people")
    address = path.replace("<", "x").replace(">", "x")
    send: Any = alice.post if method == "POST" and not path.startswith("/api/") else None
    if send is not None:
        assert send(address).status_code == 403
    else:
        headers = site_room.cast.key(site_room.cast.alice) if path.startswith("/api/") else {}
        client = site_room.app.test_client() if headers else alice.client  # type: ignore[attr-defined]
        assert client.open(address, method=method, headers=headers, json={} if headers else None).status_code == 403
    answer = stranger.client.open(address, method=method)
    assert answer.status_code in (302, 401)
    assert site_room.audited() == []


# -- pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def letter(site_room: Room) -> str:
    site_room.start(site_room.cast.alice, "missing", title="Broken <b>one</b>")
    site_room.run_all()
    return str(site_room.ask(service.letters).items[0].id)


PAGES = ["/monitor/", "/monitor/workers", "/monitor/dead-letters", "/monitor/schedules", "/monitor/audit", "/admin/"]


@pytest.mark.parametrize("path", PAGES)
def test_each_list_opens_polls_and_escapes(site_room: Room, root: Browser, letter: str, path: str) -> None:
    site_room.start(site_room.cast.alice, title="<script>alert(1)</script>")
    site_room.claim()
    page = root.get(path)
    html = page.get_data(as_text=True)
    assert page.status_code == 200
    assert 'id="ops-live"' in html
    assert "<script>alert" not in html
    assert "<b>one</b>" not in html
    poll = root.get(path, poll=True).get_data(as_text=True)
    assert "<html" not in poll
    assert poll.lstrip().startswith('<div class="stack" id="ops-live"')


def test_empty_pages_say_what_would_stand_there(site_room: Room, root: Browser) -> None:
    for path, words in (
        ("/monitor/dead-letters", "No dead letters"),
        ("/monitor/dead-letters?q=x", "Nothing matches"),
        ("/monitor/schedules", "Nothing is scheduled"),
        ("/monitor/workers", "No worker has reported"),
        ("/monitor/audit", "Nothing yet"),
        ("/admin/", "No tasks yet"),
    ):
        assert words in root.get(path).get_data(as_text=True), path


def test_a_letter_with_its_traceback_and_its_buttons(site_room: Room, root: Browser, letter: str) -> None:
    html = root.get(f"/monitor/dead-letters/{letter}").get_data(as_text=True)
    assert "Traceback" in html
    assert "KeyError" in html
    assert 'data-confirm="Throw this dead letter away?' in html
    assert "is back in its queue" in root.after(root.post(f"/monitor/dead-letters/{letter}/requeue"))
    assert "tried again already" in root.after(root.post(f"/monitor/dead-letters/{letter}/requeue"))
    assert "thrown away" in root.after(root.post(f"/monitor/dead-letters/{letter}/purge"))
    assert root.get(f"/monitor/dead-letters/{letter}").status_code == 404


def test_many_letters_on_the_page(site_room: Room, root: Browser, letter: str) -> None:
    send = "/monitor/dead-letters/bulk"
    assert "Choose at least one" in root.after(root.post(send, action="requeue"))
    assert "1 dead letter back" in root.after(root.post(send, action="requeue", ids=[letter]))
    assert "left as they were" in root.after(root.post(send, action="requeue", ids=[letter, "x"]))
    assert "1 dead letter thrown away" in root.after(root.post(send, action="purge", ids=[letter]))


def test_schedules_on_the_page(site_room: Room, root: Browser) -> None:
    from webapp.tasks.scheduler import ensure_system_schedules

    ensure_system_schedules(site_room.rt)
    assert "“Health check” was put into its queue" in root.after(root.post("/monitor/schedules/health/run"))
    assert "“Health check” is paused" in root.after(root.post("/monitor/schedules/health/pause"))
    assert "“Health check” goes on" in root.after(root.post("/monitor/schedules/health/resume"))
    form = root.get("/monitor/schedules/retention").get_data(as_text=True)
    assert 'value="0 4 * * *"' in form
    assert form.count("04:00:00 UTC") >= 5
    wrong = root.post("/monitor/schedules/retention", cron="whenever")
    assert wrong.status_code == 422
    assert "whenever" in wrong.get_data(as_text=True)
    changed = root.after(root.post("/monitor/schedules/retention", cron="5 3 * * *"))
    assert "“Retention” runs every day at 03:05 UTC now" in changed
    assert "runs every 10 minutes now" in root.after(root.post("/monitor/schedules/retention", interval="600"))
    assert root.post("/monitor/schedules/retention", interval="soon").status_code == 422
    preview = root.get("/monitor/schedules/preview?cron=*/15+*+*+*+*", poll=True).get_data(as_text=True)
    assert preview.count("<time") == 5
    preview = root.get("/monitor/schedules/preview?name=retention&interval=600").get_data(as_text=True)
    assert "if saved now" not in preview
    assert f"{site_room.ask(service.schedule, 'retention').next_at:%H:%M:%S} UTC" in preview
    assert "if saved now" in root.get("/monitor/schedules/preview?name=retention&interval=60").get_data(as_text=True)
    assert "is not a cron line" in root.get("/monitor/schedules/preview?cron=x").get_data(as_text=True)
    assert root.get("/monitor/schedules/none").status_code == 404


def test_all_tasks_on_the_page(site_room: Room, root: Browser) -> None:
    task_id = site_room.start(site_room.cast.alice, title="Of alice")
    html = root.get("/admin/").get_data(as_text=True)
    assert "Of alice" in html
    assert ">alice<" in html
    assert "bar tone-quiet" in html
    assert "Of alice" not in root.get("/admin/?user=bob").get_data(as_text=True)
    assert root.get("/admin/?from=yesterday").status_code == 400
    assert root.get("/admin/?to=9999-12-31").status_code == 400
    one = root.get(f"/admin/tasks/{task_id}").get_data(as_text=True)
    assert "History" in one
    assert "Queued" in one
    assert "1 task cancelled or stopping" in root.after(root.post("/admin/tasks", action="cancel", ids=[task_id]))
    assert "bar tone-quiet" in root.get("/admin/?status=cancelled").get_data(as_text=True)
    assert "1 task queued again" in root.after(root.post("/admin/tasks", action="retry", ids=[task_id]))
    assert "left as they were: cancel the task" in root.after(root.post("/admin/tasks", action="delete", ids=[task_id]))
    assert "Choose at least one task" in root.after(root.post("/admin/tasks", action="nothing", ids=[task_id]))
    assert [entry.action for entry in site_room.audited()] == ["task.cancel", "task.retry"]


def test_tables_on_the_page(site_room: Room, root: Browser) -> None:
    site_room.start(site_room.cast.alice, title="A row")
    assert "password_hash" in root.get("/monitor/database/").get_data(as_text=True), "named as not shown"
    html = root.get("/monitor/database/tasks").get_data(as_text=True)
    assert "A row" in html
    assert "<form" not in html.split('id="main"')[1].split("</main>")[0], "nothing can be sent from there"
    assert root.get("/monitor/database/alembic_version").status_code == 404
    assert root.get("/monitor/database/tasks?cursor=x").status_code == 400


def test_the_menu_shows_it_to_administrators_only(root: Browser, alice: Browser) -> None:
    assert 'href="/monitor/"' in root.get("/").get_data(as_text=True)
    assert 'href="/monitor/"' not in alice.get("/").get_data(as_text=True)


# -- more of the API -------------------------------------------------------------------------------------------------


def test_dead_letters_by_api(site_room: Room, letter: str) -> None:
    headers = admin_key(site_room)
    client = site_room.app.test_client()  # type: ignore[attr-defined]
    page = client.get(f"{API}/dead-letters?limit=1", headers=headers).get_json()
    assert [row["id"] for row in page["items"]] == [letter]
    assert "KeyError" in client.get(f"{API}/dead-letters/{letter}", headers=headers).get_json()["traceback"]
    (row,) = client.get("/api/v1/agent-service/dead-letters", headers=headers).get_json()
    assert (row["message_id"], row["retries"]) == (letter, 2)
    path = f"/api/v1/agent-service/dead-letters/{letter}/requeue"
    assert client.post(path, headers=headers).get_json()["status"] == "pending"
    assert client.post(path, headers=headers).status_code == 409
    body = {"action": "requeue", "ids": [letter, "x"]}
    assert len(client.post(f"{API}/dead-letters/bulk", json=body, headers=headers).get_json()["failed"]) == 2
    assert client.delete(f"{API}/dead-letters/{letter}", headers=headers).status_code == 204
    assert client.delete(f"{API}/dead-letters/{letter}", headers=headers).status_code == 404
    assert client.get("/api/v1/agent-service/dead-letters", headers=headers).get_json() == []


def test_schedules_by_api(site_room: Room) -> None:
    from webapp.tasks.scheduler import ensure_system_schedules

    ensure_system_schedules(site_room.rt)
    headers = admin_key(site_room)
    client = site_room.app.test_client()  # type: ignore[attr-defined]
    assert {row["name"] for row in client.get(f"{API}/schedules", headers=headers).get_json()} >= {"health"}
    assert client.post(f"{API}/schedules/health/run", headers=headers).status_code == 202
    assert client.post(f"{API}/schedules/health/pause", headers=headers).get_json()["enabled"] is False
    assert client.post(f"{API}/schedules/health/resume", headers=headers).get_json()["enabled"] is True
    changed = client.patch(f"{API}/schedules/health", json={"cron": "*/5 * * * *"}, headers=headers).get_json()
    assert (changed["cron"], changed["interval"]) == ("*/5 * * * *", None)
    assert client.patch(f"{API}/schedules/health", json={}, headers=headers).status_code == 400
    times = client.post(f"{API}/schedules/preview", json={"interval": 60}, headers=headers).get_json()["times"]
    assert len(times) == 5
    assert times[0].endswith("Z")


def test_tasks_audit_alerts_and_running_by_api(site_room: Room) -> None:
    headers = admin_key(site_room)
    task_id = site_room.start(site_room.cast.alice, title="Of alice")
    client = site_room.app.test_client()  # type: ignore[attr-defined]
    (row,) = client.get(f"{API}/tasks?user=alice&since=2020-01-01T00:00:00", headers=headers).get_json()["items"]
    assert (row["id"], row["owner"], row["priority"]) == (task_id, "alice", "normal")
    site_room.claim()
    assert [one["id"] for one in client.get(f"{API}/running", headers=headers).get_json()] == [task_id]
    done = client.post(f"{API}/tasks/bulk", json={"action": "cancel", "ids": [task_id]}, headers=headers).get_json()
    assert done == {"done": [{"id": task_id}], "failed": []}
    (entry,) = client.get(f"{API}/audit?object=task", headers=headers).get_json()["items"]
    assert (entry["action"], entry["actor"], entry["via"], entry["ip"]) == (
        "task.cancel",
        "root",
        "api_key",
        "127.0.0.1",
    )
    assert client.get(f"{API}/audit?cursor=%C3%A9", headers=headers).status_code == 400
    assert "No worker runs" in [one["title"] for one in client.get(f"{API}/alerts", headers=headers).get_json()]


def test_the_agent_services_own(site_room: Room) -> None:
    client = site_room.app.test_client()  # type: ignore[attr-defined]
    task_id = site_room.start(site_room.cast.alice, title="Of alice")
    site_room.run()
    alice, bob = (site_room.cast.key(who) for who in (site_room.cast.alice, site_room.cast.bob))
    path = f"/api/v1/agent-service/tasks/{task_id}"
    task = client.get(path, headers=alice).get_json()
    assert (task["id"], task["status"], task["result"], task["user_id"]) == (
        task_id, "completed", {"value": None}, site_room.cast.alice.id)  # fmt: skip
    assert client.get(path, headers=bob).status_code == 404
    health = client.get("/api/v1/agent-service/health")
    assert (health.status_code, health.get_json()["status"], health.get_json()["workers"]) == (200, "unhealthy", 0)
    assert health.get_json()["checks"] is None
    assert client.get("/api/v1/agent-service/metrics").status_code == 401
    own = client.get("/api/v1/agent-service/metrics?hours=1", headers=alice).get_json()
    assert (own["scope"], own["total"]["success_rate"], own["agents"][0]["kind"]) == ("own", 1.0, "test.script")
    assert client.get("/api/v1/agent-service/metrics", headers=bob).get_json()["total"]["tasks_total"] == 0
    assert client.get("/api/v1/agent-service/metrics?hours=0", headers=bob).status_code == 422


# -- command line ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(both_rt: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`shell("ops", "queues")` on this test's database; what it printed."""
    values = both_rt.settings.values
    monkeypatch.setenv("BRAINSTEM_HOME", str(values["home"]))
    for name in ("database_url", "redis_url"):
        if values[name]:
            monkeypatch.setenv(name.upper(), values[name])

    def run(*args: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, list(args), catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    run.lab = Lab(both_rt)  # type: ignore[attr-defined]
    return run


def test_queues_on_the_command_line(shell: Any, room: Room) -> None:
    shell.lab.start(room.cast.alice)
    assert "inference is paused" not in shell("ops", "queues")
    assert "inference is paused; 0 still run, 1 wait" in shell("ops", "pause", "inference", "--reason", "repair")
    assert "paused by system" in shell("ops", "queues")
    rows = json.loads(shell("ops", "queues", "--json"))
    assert [row["paused_reason"] for row in rows if row["paused"]] == ["repair"]
    assert "already paused" in shell("ops", "pause", "inference", code=1)
    assert "inference goes on; 1 wait" in shell("ops", "resume", "inference")
    assert [entry.via for entry in room.audited()] == ["system", "system"]


def test_workers_on_the_command_line(shell: Any, room: Room) -> None:
    room.add_worker("one-worker", age=400)
    assert "one-worker  lost" in shell("ops", "workers")


def test_letters_on_the_command_line(shell: Any, room: Room) -> None:
    ids = []
    for _ in range(2):
        shell.lab.start(room.cast.alice, "missing")
        shell.lab.run_all()
        ids.append(room.ask(service.letters).items[0].id)
    printed = shell("ops", "dead")
    assert all(one in printed for one in ids)
    assert "is back in its queue" in shell("ops", "requeue", ids[0])
    assert "already" in shell("ops", "requeue", ids[0], code=1)
    assert "is thrown away" in shell("ops", "purge", ids[1], "--yes")
    assert json.loads(shell("ops", "dead", "--json")) == []
    printed = shell("ops", "audit", "--action", "dead_letter")
    assert printed.count("dead_letter.") == 2
    assert "dead_letter.purge" in printed


def test_purging_asks_first(shell: Any, room: Room) -> None:
    shell.lab.start(room.cast.alice, "missing")
    shell.lab.run_all()
    letter = room.ask(service.letters).items[0].id
    assert "Aborted" in shell("ops", "purge", letter, code=1)
    assert room.ask(service.open_letters) == 1


def test_schedules_running_and_alerts_on_the_command_line(shell: Any, room: Room) -> None:
    from webapp.tasks.scheduler import ensure_system_schedules

    ensure_system_schedules(room.rt)
    assert "every 5 minutes" in shell("ops", "schedules")
    assert "was put into its queue" in shell("ops", "run-schedule", "health")
    assert "no such schedule" in shell("ops", "run-schedule", "wealth", code=1)
    shell.lab.start(room.cast.alice, title="In hand")
    shell.lab.claim()
    assert "In hand" in shell("ops", "running")
    assert "BAD   No worker runs" in shell("ops", "alerts", code=1)


def test_times_of_schedules_on_the_command_line(shell: Any, room: Room) -> None:
    from webapp.tasks.scheduler import ensure_system_schedules

    ensure_system_schedules(room.rt)
    assert "health is paused" in shell("ops", "pause-schedule", "health")
    assert "already paused" in shell("ops", "pause-schedule", "health", code=1)
    assert "health goes on" in shell("ops", "resume-schedule", "health")
    assert "health runs every 2 minutes now" in shell("ops", "edit-schedule", "health", "--interval", "120")
    assert "is not a cron line" in shell("ops", "edit-schedule", "health", "--cron", "* *", code=1)
    assert [entry.action for entry in room.audited()] == ["schedule.pause", "schedule.resume", "schedule.edit"]


def test_tasks_of_everybody_on_the_command_line(shell: Any, room: Room) -> None:
    first = shell.lab.start(room.cast.alice, title="Tides")
    second = shell.lab.start(room.cast.bob, title="Harbour")
    printed = shell("ops", "tasks", "--status", "active")
    assert (first in printed, second in printed) == (True, True)
    assert [row["owner"] for row in json.loads(shell("ops", "tasks", "--user", "bob", "--json"))] == ["bob"]
    assert "Aborted" in shell("ops", "cancel", first, code=1)
    assert "is cancelled" in shell("ops", "cancel", first, second, "--yes")
    assert shell.lab.status(first) == "cancelled"
    assert "is queued again" in shell("ops", "retry", first)
    assert shell.lab.status(first) == "queued"
    assert "Aborted" in shell("ops", "delete", second, code=1)
    assert "is deleted" in shell("ops", "delete", second, "--yes")
    shell("ops", "cancel", "018f0000-none", "--yes", code=1)
    assert [entry.action for entry in room.audited()] == ["task.cancel", "task.retry", "task.delete"]


def test_help_needs_no_database(tmp_path: Path) -> None:
    assert "pause" in CliRunner().invoke(main, ["ops", "--help"]).output


def test_the_verbs_are_the_same_everywhere() -> None:
    assert set(service.__all__) >= {"queues", "workers", "pause_queue", "resume_queue"}


def test_a_row_of_the_list_opens_its_history(site_room: Room, root: Browser, alice: Browser) -> None:
    """M062"""
    task_id = site_room.start(site_room.cast.alice, "missing", kind="test.crawl", title="A <b>row</b>")
    site_room.run_all("crawling")
    page = root.get("/admin/").get_data(as_text=True)
    assert f"/admin/tasks/{task_id}/history" in page
    shown = root.get(f"/admin/tasks/{task_id}/history", poll=True).get_data(as_text=True)
    assert "Queued" in shown
    assert "Started" in shown
    assert "tone-bad" in shown
    assert "<b>row" not in shown
    assert alice.get(f"/admin/tasks/{task_id}/history").status_code == 403
    assert root.get("/admin/tasks/nobody/history").status_code == 404
    site_room.sql("DELETE FROM task_events WHERE task_id = :id", id=task_id)
    assert "settings of retention" in root.get(f"/admin/tasks/{task_id}/history").get_data(as_text=True)

"""What the documents fix on the wire and other people's programs rely on: paths, shapes, words, times."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.fakes.kinds import scripts
from tests.fakes.site import Site, routes
from webapp.tasks.dialects import FROM_ECEEE, STATUS
from webapp.tasks.models import STATUSES

TASKS = "/api/v1/utils/ai-tasks/"
FIXED = json.loads((ROOT / "tests" / "contract" / "routes.json").read_text("utf-8"))
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

BRIEF = {
    "id": str, "title": str, "task_type": str, "task_config": dict, "status": str, "progress": int,
    "progress_percentage": int, "message": str, "created_by": (str, None), "celery_task_id": str, "priority": str,
    "error_message": (str, None), "retry_count": int, "created_at": "time", "started_at": ("time", None),
    "completed_at": ("time", None), "updated_at": "time",
}  # fmt: skip
TASK = {**BRIEF, "result_data": dict}
UPDATE = {"id": int, "task": str, "update_type": str, "message": str, "data": dict, "progress_percentage": int,
          "status": str, "created_at": "time"}  # fmt: skip
EVENT = {"type": str, "update_type": str, "task_id": str, "progress": int, "progress_percentage": int, "status": str,
         "message": str, "data": dict, "timestamp": "time"}  # fmt: skip
LOG = {"timestamp": "time", "level": str, "message": str, "agent_id": (str, None), "task_id": str, "source": str}
ERROR = {"detail": str, "status_code": int, "code": str, "request_id": str}


def fits(value: dict[str, Any], shape: dict[str, Any], *, more: set[str] | None = None) -> None:
    """Exactly these members (and perhaps `more`), each of its type."""
    assert set(value) - (more or set()) == set(shape), set(value) ^ set(shape)
    for name, wanted in shape.items():
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        found = value[name]
        assert any(is_a(found, one) for one in allowed), f"{name}: {found!r} is no {wanted}"


def is_a(value: Any, wanted: Any) -> bool:
    if wanted is None:
        return value is None
    if wanted == "time":
        return isinstance(value, str) and TIME.fullmatch(value) is not None
    return isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))


def norm(path: str) -> str:
    return re.sub(r"\{[^/{}]*\}|<[^/<>]*>", "{}", path)


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", FIXED, ids=lambda row: f"{row['method']} {row['path']}")
def test_a_fixed_path_does_not_disappear(row: dict[str, str]) -> None:
    method = {"SSE": "GET"}.get(row["method"], row["method"])
    assert (method, norm(row["path"])) in {(route.method, norm(route.path)) for route in routes()}


@pytest.mark.parametrize("area", ["auth", "eceee", "health", "logs", "omeruta"])
def test_whole_areas_are_there(site: Site, shared: Path, tmp_path: Path, area: str) -> None:
    """The checker that came with the documents."""
    script = shared / "contract" / "check_contract.py"
    if not script.is_file():
        pytest.skip("the documents are not here")
    document = tmp_path / "openapi.json"
    document.write_bytes(site.client.get("/openapi.json").data)
    done = subprocess.run(
        [sys.executable, str(script), "--openapi", str(document), "--area", area], capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_documented_path_that_exists_is_fixed(shared: Path) -> None:
    """A path of the documents that we serve is a promise: it belongs into routes.json."""
    import csv

    table = shared / "contract" / "endpoints.tsv"
    if not table.is_file():
        pytest.skip("the documents are not here")
    with table.open(encoding="utf-8", newline="") as file:
        documented = [
            ({"SSE": "GET"}.get(row["method"], row["method"]), norm(row["path"]))
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    there = {(route.method, norm(route.path)) for route in routes()}
    fixed = {({"SSE": "GET"}.get(row["method"], row["method"]), norm(row["path"])) for row in FIXED}
    assert sorted((set(documented) & there) - fixed) == [], "add them to tests/contract/routes.json"


# -- ECEEE tasks -----------------------------------------------------------------------------------------------------


def create(site: Site, **more: Any) -> Any:
    body = {"title": "Contract", "task_type": "test.script", "task_config": {"value": 1}, **more}
    return site.program(site.cast.alice).post(TASKS, json=body)


def test_create_answers_201_with_the_task(site: Site) -> None:
    answer = create(site, priority="high")
    assert answer.status_code == 201
    fits(answer.json, TASK)
    assert answer.json["status"] == "pending"
    assert (answer.json["priority"], answer.json["created_by"]) == ("high", "alice")
    assert answer.json["celery_task_id"] == answer.json["id"]
    assert answer.json["result_data"] == {}


def test_one_task_through_its_life(site: Site) -> None:
    client = site.program(site.cast.alice)
    task_id = create(site).json["id"]
    assert client.get(f"{TASKS}{task_id}/").json["status"] == "pending"
    site.lab.run()
    done = client.get(f"{TASKS}{task_id}/").json
    fits(done, TASK)
    assert (done["status"], done["progress"], done["progress_percentage"]) == ("completed", 100, 100)
    assert done["result_data"] == {"value": 1}
    assert client.delete(f"{TASKS}{task_id}/").status_code == 204
    assert client.get(f"{TASKS}{task_id}/").status_code == 404


def test_the_created_task_is_the_stored_task(site: Site) -> None:
    made = create(site).json
    stored = site.program(site.cast.alice).get(f"{TASKS}{made['id']}/").json
    volatile = {"created_at", "updated_at"}
    assert {k: v for k, v in made.items() if k not in volatile} == {
        k: v for k, v in stored.items() if k not in volatile
    }


def test_lists_are_pages_as_django_makes_them(site: Site) -> None:
    client = site.program(site.cast.alice)
    for number in range(5):
        create(site, title=f"n{number}")
    first = client.get(TASKS, query_string={"page_size": 2, "search": "n"}).json
    assert set(first) == {"count", "next", "previous", "results"}
    assert (first["count"], first["previous"]) == (5, None)
    for task in first["results"]:
        fits(task, BRIEF)
    second = client.get(first["next"]).json
    third = client.get(second["next"]).json
    assert third["next"] is None
    titles = [task["title"] for page in (first, second, third) for task in page["results"]]
    assert titles == ["n4", "n3", "n2", "n1", "n0"]
    assert client.get(second["previous"]).json == first
    assert client.get(TASKS, query_string={"page": 99}).status_code == 404
    oldest = client.get(TASKS, query_string={"ordering": "created_at", "page_size": 1}).json
    assert oldest["results"][0]["title"] == "n0"


def test_active_and_recent_are_bare_arrays(site: Site) -> None:
    client = site.program(site.cast.alice)
    one = create(site).json["id"]
    site.lab.run()
    two = create(site).json["id"]
    assert [task["id"] for task in client.get(f"{TASKS}active/").json] == [two]
    recent = client.get(f"{TASKS}recent/").json
    assert [task["id"] for task in recent] == [two, one]
    fits(recent[0], BRIEF)
    assert len(client.get(f"{TASKS}recent/?limit=1").json) == 1


def test_cancel_and_retry(site: Site) -> None:
    client = site.program(site.cast.alice)
    task_id = create(site).json["id"]
    again = client.post(f"{TASKS}{task_id}/retry/")
    assert again.status_code == 409, "only failed or cancelled"
    cancelled = client.post(f"{TASKS}{task_id}/cancel/")
    assert (cancelled.status_code, cancelled.json["status"]) == (200, "cancelled")
    fits(cancelled.json, TASK)
    late = client.post(f"{TASKS}{task_id}/cancel/")
    assert late.status_code == 409
    fits(late.json, ERROR)
    retried = client.post(f"{TASKS}{task_id}/retry/")
    assert (retried.status_code, retried.json["status"]) == (200, "pending")


def test_change_while_pending(site: Site) -> None:
    client = site.program(site.cast.alice)
    task_id = create(site).json["id"]
    patched = client.patch(f"{TASKS}{task_id}/", json={"title": "New"})
    assert (patched.status_code, patched.json["title"]) == (200, "New")
    body = {"title": "All", "task_type": "test.script", "task_config": {"value": 2}, "priority": "low"}
    put = client.put(f"{TASKS}{task_id}/", json=body)
    assert (put.status_code, put.json["task_config"]["value"], put.json["priority"]) == (200, 2, "low")
    other = client.put(f"{TASKS}{task_id}/", json={**body, "task_type": "summary"})
    assert other.status_code == 400
    assert other.json["task_type"]
    site.lab.run()
    assert client.patch(f"{TASKS}{task_id}/", json={"title": "Late"}).status_code == 409


def test_updates_are_the_history_oldest_first(site: Site) -> None:
    scripts["tell"] = lambda run: run.progress(40, "Halfway", data={"pages": 2}) or {"ok": True}
    client = site.program(site.cast.alice)
    task_id = create(site, task_config={"script": "tell"}).json["id"]
    site.lab.run()
    updates = client.get(f"{TASKS}{task_id}/updates/").json
    for update in updates:
        fits(update, UPDATE)
        assert update["update_type"] in ("progress", "status", "result", "error", "info")
    assert [update["id"] for update in updates] == [1, 2, 3, 4]
    assert (updates[2]["progress_percentage"], updates[2]["message"], updates[2]["data"]) == (
        40,
        "Halfway",
        {"pages": 2},
    )
    assert client.get(f"{TASKS}{task_id}/updates/?after=3").json == updates[3:]


def test_every_state_has_a_word_in_every_dialect() -> None:
    assert set(STATUS) == set(STATUSES)
    assert {row[0] for row in STATUS.values()} == {"pending", "running", "completed", "failed", "cancelled"}
    assert {row[2] for row in STATUS.values()} == {"processing", "completed", "failed"}
    asked = [status for statuses in FROM_ECEEE.values() for status in statuses]
    assert sorted(asked) == sorted(STATUSES), "each state is found under one word"
    for word, statuses in FROM_ECEEE.items():
        assert {STATUS[status][0] for status in statuses} == {word}


@pytest.mark.parametrize("word", list(FROM_ECEEE))
def test_the_filter_and_the_answer_use_the_same_word(site: Site, word: str) -> None:
    for status in STATUSES:
        task_id = site.lab.start(site.cast.alice)
        site.lab.sql("UPDATE tasks SET status = :s WHERE id = :id", s=status, id=task_id)
    found = site.program(site.cast.alice).get(TASKS, query_string={"status": word}).json
    assert found["count"] == len(FROM_ECEEE[word])
    assert {task["status"] for task in found["results"]} == {word}


# -- streams ---------------------------------------------------------------------------------------------------------


def messages(answer: Any) -> list[tuple[str | None, dict[str, Any]]]:
    """(id, data) of each message of a stream that ends by itself."""
    found = []
    for block in answer.get_data(as_text=True).split("\n\n"):
        assert not re.search(r"^event:", block, re.M), "both clients use onmessage"
        fields = dict(line.split(": ", 1) for line in block.splitlines() if re.match(r"(id|data): ", line))
        if "data" in fields:
            found.append((fields.get("id"), json.loads(fields["data"])))
    return found


def finished(site: Site) -> str:
    scripts["tell"] = lambda run: run.progress(40, "Halfway", data={}) or {"ok": True}
    task_id = str(create(site, task_config={"script": "tell"}).json["id"])
    site.lab.run()
    return task_id


def test_the_stream_of_a_task(site: Site) -> None:
    task_id = finished(site)
    path = f"/api/v1/utils/tasks/{task_id}/stream/"
    answer = site.program(site.cast.alice).get(path)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "no-cache" in answer.headers["Cache-Control"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "retry: 3000" in answer.text
    [(ident, state)] = messages(answer)
    fits(state, EVENT)
    assert (ident, state["type"], state["status"]) == ("4", "result", "completed")
    assert state["progress"] == state["progress_percentage"] == 100


def test_a_reconnect_gets_what_it_missed_and_then_nothing(site: Site) -> None:
    task_id = finished(site)
    client, path = site.program(site.cast.alice), f"/api/v1/utils/tasks/{task_id}/stream/"
    missed = messages(client.get(path, headers={"Last-Event-ID": "2"}))
    assert [ident for ident, _ in missed] == ["3", "4"]
    for _, message in missed:
        fits(message, EVENT)
    assert [message["message"] for _, message in missed] == ["Halfway", "Done"]
    assert client.get(path, headers={"Last-Event-ID": "4"}).status_code == 204
    beyond = messages(client.get(path, headers={"Last-Event-ID": "1"}))
    assert [ident for ident, _ in beyond] == ["2", "3", "4"]


def test_a_query_token_opens_a_stream_and_nothing_else(site: Site) -> None:
    """C03: EventSource sends no header."""
    task_id = finished(site)
    token = site.bearer(site.cast.alice)["Authorization"].removeprefix("Bearer ")
    path = f"/api/v1/utils/tasks/{task_id}/stream/"
    assert site.client.get(path, query_string={"token": token}).status_code == 200
    assert site.client.get(path, query_string={"token": "x"}).status_code == 401
    assert site.client.post(f"{TASKS}{task_id}/retry/", query_string={"token": token}).status_code == 401


def test_the_log_stream_holds_one_line_a_message(site: Site) -> None:
    task_id = finished(site)
    found = messages(site.program(site.cast.alice).get(f"/api/v1/logs/stream/{task_id}"))
    assert [ident for ident, _ in found] == ["1", "2", "3", "4"]
    for _, entry in found:
        fits(entry, LOG)


# -- logs ------------------------------------------------------------------------------------------------------------


def test_logs(site: Site) -> None:
    scripts["warn"] = lambda run: run.log("careful", "warning") or run.log("detail", "debug") or {}
    task_id = create(site, task_config={"script": "warn"}).json["id"]
    site.lab.run()
    client = site.program(site.cast.alice)
    lines = client.get(f"/api/v1/logs/{task_id}").json
    for line in lines:
        fits(line, LOG)
        assert line["source"] == "test.script"
        assert line["task_id"] == task_id
    assert [line["message"] for line in lines][2:4] == ["careful", "detail"]
    history = client.get("/api/v1/logs/history").json
    assert history == lines[::-1]
    warned = client.get("/api/v1/logs/history", query_string={"level": "warning"}).json
    assert [line["level"] for line in warned] == ["warning"], "that level and above"
    assert len(client.get("/api/v1/logs/history", query_string={"limit": 2}).json) == 2
    assert client.get("/api/v1/logs/history", query_string={"search": "CARE"}).json == warned
    assert client.get("/api/v1/logs/history", query_string={"level": "loud"}).status_code == 422
    assert site.client.get("/api/v1/logs/history").json == []


# -- health ----------------------------------------------------------------------------------------------------------


def test_health(site: Site) -> None:
    anonymous = site.client.get("/api/v1/health")
    assert anonymous.status_code == 200
    fits(anonymous.json, {"status": str, "app_name": str, "version": str, "timestamp": "time"}, more={"checks"})
    assert anonymous.json["status"] in ("healthy", "warning", "degraded", "unhealthy")
    assert not anonymous.json.get("checks"), "what runs inside is not for strangers"
    assert set(site.program(site.cast.alice).get("/api/v1/health").json["checks"]) >= {"database", "workers", "disk"}


def test_ready_follows_the_workers(site: Site) -> None:
    away = site.client.get("/api/v1/ready")
    assert (away.status_code, away.json["status"]) == (503, "not_ready")
    assert set(away.json["checks"]) >= {"database", "redis", "model"}
    from webapp.core.jobs import QUEUES

    site.lab.host.queues = QUEUES
    site.lab.host.start()
    try:
        there = site.client.get("/api/v1/ready")
        assert (there.status_code, there.json["status"]) == (200, "ready")
    finally:
        site.lab.host.stop()


def test_metrics_hold_the_documented_names(site: Site) -> None:
    finished(site)
    client = site.program(site.cast.alice)
    client.get(TASKS)
    answer = client.get("/api/v1/metrics")
    assert answer.mimetype == "text/plain"
    assert 'agent_tasks_total{agent_id="test.script",status="completed"} 1.0' in answer.text
    assert re.search(
        r'api_requests_total\{endpoint="/utils/ai-tasks/",method="GET",status_code="200"\} [1-9]', answer.text
    )
    assert "alice" not in answer.text
    assert site.client.get("/api/v1/metrics").status_code == 401


# -- auth ------------------------------------------------------------------------------------------------------------


def test_tokens(site: Site) -> None:
    client = site.client
    new = {"username": "dora", "password": "correct horse battery"}
    made = client.post("/api/auth/register/", json=new)
    assert made.status_code == 201
    fits(made.json, {"id": str, "username": str, "is_admin": bool})
    got = client.post("/api/auth/token/", json=new)
    assert got.status_code == 200
    fits(got.json, {"access": str, "refresh": str, "token_type": str, "expires_in": int, "user": dict})
    fits(got.json["user"], {"id": str, "username": str, "is_admin": bool})
    assert got.json["token_type"] == "Bearer"
    header = {"Authorization": f"Bearer {got.json['access']}"}
    me = client.get("/api/auth/me/", headers=header).json
    assert me["username"] == "dora"
    next_pair = client.post("/api/auth/token/refresh/", json={"refresh": got.json["refresh"]})
    assert set(next_pair.json) >= {"access"}
    assert client.post("/api/auth/logout/", headers=header).status_code == 204
    assert client.get("/api/auth/me/", headers=header).status_code == 401
    wrong = client.post("/api/auth/token/", json={**new, "password": "wrong horse battery"})
    assert wrong.status_code == 401
    fits(wrong.json, ERROR, more={"suggestion", "errors"})


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{TASKS}nothing/", None, 404),
        ("GET", f"{TASKS}?page=0", None, 400),
        ("POST", TASKS, {"task_type": "nothing"}, 400),
        ("GET", "/api/v1/logs/history?limit=0", None, 422),
        ("POST", "/api/v1/tasks/bulk", {"action": "explode", "ids": ["x"]}, 422),
        ("GET", "/api/v1/nothing", None, 404),
        ("PATCH", "/api/v1/health", None, 405),
    ],
)
def test_errors_have_the_documented_shape(site: Site, method: str, path: str, body: Any, status: int) -> None:
    answer = site.program(site.cast.alice).open(path, method=method, json=body)
    assert answer.status_code == status
    fits({name: answer.json[name] for name in ERROR}, ERROR)
    assert answer.json["status_code"] == status
    for error in answer.json.get("errors", ()):
        assert set(error) == {"loc", "msg", "type"}


def test_eceee_names_each_field_with_a_list(site: Site) -> None:
    answer = create(site, priority="soon", task_config=7)
    assert answer.status_code == 400, "that system knows no 422"
    assert isinstance(answer.json["priority"], list)
    assert isinstance(answer.json["task_config"], list)
    other = create(site, task_config={"surprise": 1})
    assert other.status_code == 400
    assert "surprise" in other.json["task_config"][0]


def test_a_given_request_id_comes_back(site: Site) -> None:
    answer = site.client.get("/api/v1/nothing", headers={"X-Request-ID": "abc-12345"})
    assert answer.headers["X-Request-ID"] == answer.json["request_id"] == "abc-12345"

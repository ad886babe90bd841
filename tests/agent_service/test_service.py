"""The Agent Service as its documents show it: create, process, look up; prompts, retries, limits, kinds, batches."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ROOT, make_cast
from tests.fakes.engine import Scripted, install
from tests.fakes.site import OPEN_LIMITS, Site
from webapp import runtime as runtime_module
from webapp.agent_service.kind import AGENT_TASK
from webapp.agent_service.service import create_agent_task, process_agent_task
from webapp.agents import service as agents
from webapp.agents.seeds import SEEDS
from webapp.core.errors import AppError, BadRequest, Unavailable

TASKS = "/api/v1/agent-service/tasks"
BASE = "/api/v1/agent-service"


@pytest.fixture
def desk(make_rt: Any) -> Iterator[Site]:
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_DEMO="0", **OPEN_LIMITS)
    agents.ensure_seeded(rt)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def post(desk: Site, who: Any = None, **body: Any) -> Any:
    return desk.program(who or desk.cast.alice).post(
        TASKS, json={"title": "What is a hive?", "agent_id": "general", **body}
    )


def created(desk: Site, **body: Any) -> str:
    answer = post(desk, **body)
    assert answer.status_code == 201, answer.json
    return str(answer.json["id"])


def look(desk: Site, task_id: str, who: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = desk.program(who or desk.cast.alice).get(f"{TASKS}/{task_id}").json
    return found


def work(desk: Site) -> None:
    while sum(desk.lab.run_all(queue) for queue in ("inference", "crawling", "workflows")):
        pass


def test_created_pending_then_processed_then_looked_up(
    desk: Site, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    engine = install(monkeypatch, Scripted("A house of bees."))
    answer = post(desk, description="For children.", user_id=desk.cast.alice.id).json
    assert {name: answer[name] for name in ("title", "description", "agent_id", "user_id", "status")} == {
        "title": "What is a hive?", "description": "For children.", "agent_id": "general", "user_id": desk.cast.alice.id,
        "status": "pending"}  # fmt: skip
    assert look(desk, answer["id"])["status"] == "pending"
    with caplog.at_level(logging.INFO):
        work(desk)
    task = look(desk, answer["id"])
    assert (task["status"], task["result"]["status"], task["result"]["result"]) == (
        "completed",
        "completed",
        "A house of bees.",
    )
    assert task["started_at"]
    assert task["completed_at"]
    [request] = engine.requests
    [prompt] = [seed.prompt for seed in SEEDS if seed.key == "general"]
    said = request.messages[0]["content"]
    assert said.startswith(f"Agent prompt: {prompt}")
    assert said.endswith("\nTask: What is a hive?\nDescription: For children.")
    assert (request.temperature, request.max_tokens) == (0.7, 1000)
    for line in (f"Starting task processing for task_id: {answer['id']}", f"Task completed successfully: {answer['id']}",
                 "Agent performance - ID: general, Tasks: 0, Avg Duration: 0ms"):  # fmt: skip
        assert line in caplog.text
    logs = desk.program(desk.cast.alice).get("/api/v1/logs/history?agent_id=general").json
    assert {(line["task_id"], line["agent_id"]) for line in logs} == {(answer["id"], "general")}
    assert desk.program(desk.cast.alice).get("/api/v1/logs/history?agent_id=qa").json == []
    assert "A house of bees." in desk.browser(desk.cast.alice).get(f"/tasks/{answer['id']}").text


def test_killed_before_its_end_the_model_is_not_asked_again(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = install(monkeypatch, Scripted("A house of bees."))
    task_id = created(desk)
    first = AGENT_TASK.run(desk.lab.claim("inference"))
    desk.lab.sql("UPDATE tasks SET status = 'queued', fence = fence + 1 WHERE id = :id", id=task_id)
    work(desk)
    task = look(desk, task_id)
    assert task["status"] == "completed"
    assert task["result"]["result"] == first["result"]
    assert len(engine.requests) == 1


def test_limits_and_retries_are_the_documented_ones() -> None:
    assert (AGENT_TASK.soft_limit, AGENT_TASK.time_limit, AGENT_TASK.max_attempts) == (1500, 1800, 4)
    assert AGENT_TASK.backoff is not None
    assert [AGENT_TASK.backoff(attempt) for attempt in (1, 2, 3)] == [60, 120, 240]


def test_a_broken_model_is_asked_four_times_then_it_is_a_dead_letter(
    desk: Site, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(request: Any) -> str:
        raise Unavailable("the model fell over")

    engine = install(monkeypatch, Scripted(broken))
    task_id = created(desk)
    waits = []
    for _ in range(4):
        desk.lab.run()
        due = [event.data["retry_in"] for event in desk.lab.events(task_id) if event.data and "retry_in" in event.data]
        waits = due
        desk.lab.sql("UPDATE tasks SET due_at = 1 WHERE id = :id AND status = 'retrying'", id=task_id)
        desk.lab.make_due()
    assert waits == [60, 120, 240]
    assert len(engine.requests) == 4
    task = look(desk, task_id)
    assert (task["status"], task["result"]) == ("failed", {"status": "error", "message": "the model fell over"})
    assert f"Task failed: {task_id} - the model fell over" in caplog.text
    admin = desk.program(desk.cast.root)
    [letter] = [one for one in admin.get(f"{BASE}/dead-letters").json if one["task_id"] == task_id]
    assert letter["retries"] == 3
    engine.script = "Better now."
    assert admin.post(f"{BASE}/dead-letters/{letter['message_id']}/requeue").status_code == 200
    work(desk)
    assert look(desk, task_id)["result"]["result"] == "Better now."


def test_without_a_model_sources_are_quoted_or_it_fails_and_says_why(desk: Site) -> None:
    task_id = created(desk)
    work(desk)
    task = look(desk, task_id)
    assert task["status"] == "failed"
    assert "No language model is set up" in task["error"]
    assert "models page" in task["error"]

    from webapp.core.context import Ctx
    from webapp.knowledge.service import collections, documents

    with desk.rt.unit() as db:
        shelf = collections.default(Ctx(desk.rt, db, desk.cast.alice)).id
    text = "A hive is a house in which bees live. A hive holds many thousand bees and their honey."
    documents.store(desk.rt, shelf, documents.Incoming(key="h", title="Of hives", text=text, content_type="text/plain"))
    task_id = created(desk)
    work(desk)
    result = look(desk, task_id)["result"]
    assert "A hive is a house in which bees live" in result["result"]
    assert "No language model" in result["note"]
    assert result["model"] is None


# -- kinds of work (M180) --------------------------------------------------------------------------------------------


def test_data(desk: Site) -> None:
    task_id = created(desk, agent_id="analysis", task_type="data", config={"data": {"values": [1, 2, 3, 4, 5]}})
    work(desk)
    task = look(desk, task_id)
    assert task["status"] == "completed", task["error"]
    assert task["result"]["details"]
    assert desk.browser(desk.cast.alice).get(f"/tasks/{task_id}").status_code == 200


def test_decision(desk: Site) -> None:
    config = {"question": "Which?", "options": ["A", "B"], "criteria": ["x"], "scores": {"A": {"x": 5}, "B": {"x": 3}}}
    task_id = created(desk, agent_id="analysis", task_type="decision", config=config)
    work(desk)
    assert look(desk, task_id)["result"]["result"].startswith("A is first")


def test_call(desk: Site) -> None:
    """The gate refuses it before anything is stored; secrets are sealed like those of the kind itself."""
    refused = post(desk, task_type="api", config={"url": "http://169.254.169.254/"})
    assert refused.status_code == 400
    assert "config" in str(refused.json)
    task_id = created(desk, task_type="api", config={"url": "https://example.org/", "secrets": {"k": "canary-1199"}})
    assert "canary-1199" not in str(desk.rows())
    assert look(desk, task_id)["status"] == "pending"


# -- whose it is, bad input ------------------------------------------------------------------------------------------


def test_for_whom(desk: Site) -> None:
    assert post(desk, user_id=desk.cast.bob.id).status_code == 403
    made = post(desk, desk.cast.root, user_id=desk.cast.bob.id)
    assert (made.status_code, made.json["user_id"]) == (201, desk.cast.bob.id)
    assert post(desk, desk.cast.root, user_id="bob").json["user_id"] == desk.cast.bob.id
    assert post(desk, desk.cast.root, user_id="nobody-here").status_code == 400
    assert look(desk, made.json["id"], desk.cast.bob)["status"] == "pending"
    assert desk.program(desk.cast.alice).get(f"{TASKS}/{made.json['id']}").status_code == 404
    assert desk.client.post(TASKS, json={"title": "x", "agent_id": "general"}).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"title": ""}, 422, "title"), ({"title": "  "}, 400, "title"), ({"agent_id": "nobody"}, 404, "agent_id"), ({"agent_id": ""}, 422, "agent_id"),
        ({"agent_id": None}, 422, "agent_id"), ({"task_type": "dance"}, 422, "task_type"), ({"task_type": "api"}, 400, "config"),
        ({"task_type": "data", "config": {"data": 3}}, 400, "config"), ({"config": {"a": 1}}, 400, "config"), ({"priority": "now"}, 422, "priority"),
        ({"description": 5}, 422, "description"), ({"title": "x" * 301}, 422, "title"), ({"config": []}, 422, "config"),
    ],
)  # fmt: skip
def test_bad_input_names_the_field(desk: Site, body: dict[str, Any], status: int, field: str) -> None:
    answer = post(desk, **body)
    assert answer.status_code == status, answer.json
    assert field in str(answer.json)
    assert desk.lab.count("tasks") == 0


def test_batches_are_all_or_nothing(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Scripted("Done."))
    client = desk.program(desk.cast.alice)
    good = {"title": "One", "agent_id": "general"}
    bad = client.post(f"{TASKS}/batch", json={"tasks": [good, good | {"agent_id": "nobody"}]})
    assert (bad.status_code, desk.lab.count("tasks")) == (404, 0)
    assert "agent_id" in str(bad.json)
    made = client.post(f"{TASKS}/batch", json={"tasks": [good | {"title": f"No {n}"} for n in range(5)]})
    assert made.status_code == 201
    work(desk)
    assert {look(desk, one["id"])["status"] for one in made.json} == {"completed"}
    metrics = client.get(f"{BASE}/metrics").json
    [row] = [one for one in metrics["agents"] if one["kind"] == "agent.task"]
    assert (row["agent_id"], row["completed"], row["success_rate"]) == ("general", 5, 1.0)


def test_the_same_key_makes_one_task(desk: Site) -> None:
    client = desk.program(desk.cast.alice)
    ids = {
        client.post(TASKS, json={"title": "One", "agent_id": "general"}, headers={"Idempotency-Key": "k1"}).json["id"]
        for _ in range(3)
    }
    assert (len(ids), desk.lab.count("tasks")) == (1, 1)


def test_agents_are_listed(desk: Site) -> None:
    found = desk.program(desk.cast.alice).get(f"{BASE}/agents").json
    assert [one["id"] for one in found] == list(agents.KEYS)
    assert all(one["prompt"] for one in found)


# -- from Python -----------------------------------------------------------------------------------------------------


def test_create_agent_task_from_a_program(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Scripted("Done."))
    monkeypatch.setattr(runtime_module, "_current", desk.rt)
    task_id = create_agent_task(
        {"title": "One", "description": None, "agent_id": "general", "user_id": desk.cast.alice.id}
    )
    assert (look(desk, task_id)["status"], look(desk, task_id)["user_id"]) == ("pending", desk.cast.alice.id)
    assert process_agent_task.delay(task_id).id == task_id
    assert process_agent_task.send("test_task_id").task_id == "test_task_id", "a message for nothing does no harm"
    work(desk)
    assert look(desk, task_id)["status"] == "completed"


@pytest.mark.parametrize(
    "change", [{"title": None}, {"agent_id": ""}, {"user_id": "nobody"}, {"agent_id": "nobody"}, {"colour": "red"}]
)
def test_a_program_is_told_what_is_wrong(desk: Site, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    monkeypatch.setattr(runtime_module, "_current", desk.rt)
    with pytest.raises(AppError) as caught:
        create_agent_task({"title": "One", "agent_id": "general", "user_id": desk.cast.alice.id, **change})
    assert caught.value.details
    assert caught.value.details[0]["loc"][0] in change
    assert isinstance(caught.value, BadRequest) or caught.value.status == 404


def test_the_one_liner_of_the_documents(tmp_path: Any) -> None:
    """003:268, as printed."""
    code = "from worker import process_agent_task; process_agent_task.delay('test_task_id')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"BRAINSTEM_HOME": str(tmp_path), "PATH": ""},
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")

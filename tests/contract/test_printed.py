"""The examples that the documents print, run as printed against a real server: host, id and token are put in, no more."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server, missing
from tests.live.conftest import CLUSTER, Person, Running, at_cluster, embedded

pytestmark = pytest.mark.slow

# 001:288-311.
CREATE = """curl -X POST http://localhost:8000/api/v1/utils/ai-tasks/ \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer YOUR_TOKEN" \\
  -d '{
    "title": "Summarize News Articles",
    "task_type": "summary",
    "task_config": {
      "urls": ["https://example.com/article1", "https://example.com/article2"],
      "max_length": 300
    },
    "priority": "high"
  }'"""
STREAM = """curl -N http://localhost:8000/api/v1/utils/tasks/{TASK_ID}/stream/ \\
  -H "Authorization: Bearer YOUR_TOKEN\""""
STATISTICS = """curl http://localhost:8000/api/v1/utils/task-statistics/ \\
  -H "Authorization: Bearer YOUR_TOKEN\""""
# 001:123-175.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "summary": {
        "content": "Text to summarize (optional)",
        "urls": ["https://example.com/article1", "https://example.com/article2"],
        "max_length": 500,
    },
    "research": {
        "topic": "AI Ethics",
        "urls": ["https://source1.com", "https://source2.com"],
        "questions": ["What are the main concerns?", "What solutions exist?"],
    },
    "content_generation": {
        "topic": "Latest AI Trends",
        "content_type": "blog_post",
        "length": 1200,
        "tone": "professional",
        "keywords": ["AI", "machine learning", "automation"],
    },
    "data_analysis": {"data": {"values": [1, 2, 3, 4, 5]}, "analysis_type": "statistical"},
    "custom": {"custom_config": "Any custom parameters", "steps": ["step1", "step2", "step3"]},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | Running]:
    if shutil.which("curl") is None:
        missing("curl")
    if CLUSTER:
        yield Running()
        return
    made = Server(tmp_path_factory.mktemp("printed") / "home", {"AUTH_REQUIRED": "1"}).start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def people(server: Server) -> Iterator[tuple[Person, Person]]:
    site = at_cluster() if CLUSTER else embedded(server)
    yield site.person("alice"), site.person("charlie")
    site.rt.close()


@pytest.fixture
def alice(people: tuple[Person, Person]) -> Person:
    return people[0]


def run(printed: str, server: Server, person: Person | None, task_id: str = "") -> tuple[int, str]:
    """The command as a shell takes it: (status, body)."""
    token = person.headers["Authorization"].removeprefix("Bearer ") if person else "no-token"
    command = printed.replace("http://localhost:8000", server.url).replace("YOUR_TOKEN", token)
    command = command.replace("{TASK_ID}", task_id) + " -s -w '\\n%{http_code}'"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_they_are_as_printed(shared: Path) -> None:
    found = list((shared / "seeds").glob("001*.txt"))
    if not found:
        pytest.skip("the documents are not here")
    text = found[0].read_text("utf-8")
    for printed in (CREATE, STREAM, STATISTICS):
        assert printed in text
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert blocks == list(CONFIGURATIONS.values())


def test_create_watch_and_count(server: Server, alice: Person) -> None:
    """001:288-311. The pages of example.com are not there, so the task is stopped; the stream ends with that."""
    status, body = run(CREATE, server, alice)
    task = json.loads(body)
    assert (status, task["title"], task["priority"]) == (201, "Summarize News Articles", "high")
    assert task["task_config"]["max_length"] == 300
    assert task["status"] == "pending"
    assert requests.post(f"{server.url}/api/v1/utils/ai-tasks/{task['id']}/cancel/", headers=alice.headers,
                         timeout=10).status_code in (200, 409)  # fmt: skip
    status, body = run(STREAM, server, alice, task["id"])
    assert status == 200
    told = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    assert told[-1]["status"] in ("cancelled", "failed")
    assert all("message" in one and one["progress"] == one["progress_percentage"] for one in told)
    status, body = run(STATISTICS, server, alice)
    assert status == 200
    assert json.loads(body)["by_type"]["summary"] >= 1


def test_without_a_token_each_answers_401(server: Server) -> None:
    for printed in (CREATE, STREAM, STATISTICS):
        assert run(printed, server, None, "018f0000-0000-7000-8000-000000000000")[0] == 401


def test_a_stream_tells_all_of_a_task_until_its_end(server: Server, alice: Person) -> None:
    printed = CREATE.replace('"urls": ["https://example.com/article1", "https://example.com/article2"]',
                             '"content": "The harbour freezes in winter. Ships then pay half the fee. In spring the ice goes."')  # fmt: skip
    task = json.loads(run(printed, server, alice)[1])
    status, body = run(STREAM, server, alice, task["id"])
    told = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    assert (status, told[-1]["type"], told[-1]["status"], told[-1]["progress"]) == (200, "result", "completed", 100)
    progress = [one["progress"] for one in told]
    assert progress == sorted(progress)
    assert {one["type"] for one in told} <= {"progress", "status", "result", "error", "info"}


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_each_documented_configuration_is_accepted(server: Server, alice: Person, kind: str) -> None:
    asked = {"task_type": kind, "task_config": CONFIGURATIONS[kind]}
    checked = alice.post("/api/v1/utils/validate-task-config/", asked).json()
    assert checked.get("errors") == [], checked
    made = alice.post("/api/v1/utils/ai-tasks/", asked)
    assert made.status_code == 201, made.text
    for name, value in CONFIGURATIONS[kind].items():
        assert name in made.json()["task_config"], value
    alice.post(f"/api/v1/utils/ai-tasks/{made.json()['id']}/cancel/")


def test_what_a_client_of_templates_does(server: Server, alice: Person, people: tuple[Person, Person]) -> None:
    """clients/README.md, ECEEE 9 to 12."""
    bad = alice.post(
        "/api/v1/utils/validate-task-config/", {"task_type": "summary", "task_config": {"max_length": "many"}}
    )
    assert (bad.status_code, bad.json()["valid"]) == (200, False)
    assert [one["path"] for one in bad.json()["errors"]] == ["max_length"]
    templates = "/api/v1/utils/ai-task-templates/"
    made = alice.post(
        templates, {"name": "Winter", "task_type": "summary", "default_config": {"max_length": 50}}
    ).json()
    assert (made["usage_count"], made["created_by"], made["is_active"]) == (0, alice.name, True)
    text = {"content": "Ships pay half in winter. The ice is thick. In spring it goes."}
    task = alice.post(f"{templates}{made['id']}/create_task/", {"task_config": text})
    assert task.status_code == 201
    assert task.json()["task_config"].items() >= {"max_length": 50, **text}.items()
    alice.finished(task.json()["id"])
    assert alice.get(f"{templates}{made['id']}/").json()["usage_count"] == 1
    assert alice.get(f"{templates}popular/").json()[0]["id"] == made["id"]
    assert alice.get(templates).json()["results"][0]["id"] == made["id"]
    told = alice.get("/api/v1/utils/task-statistics/").json()
    assert told["popular_templates"][0]["name"] == "Winter"
    stranger = people[1]
    for path in (f"{templates}{made['id']}/", f"/api/v1/utils/ai-tasks/{task.json()['id']}/"):
        assert stranger.get(path).status_code == 404
    assert stranger.get("/api/v1/utils/task-statistics/").json()["total_tasks"] == 0


def test_the_socket_of_ones_own_tasks(server: Server, alice: Person) -> None:
    """clients/README.md, ECEEE 5."""
    ws = alice.ws("/ws/tasks/")
    ws.expect(type="connected")
    made = alice.post(
        "/api/v1/utils/ai-tasks/", {"task_type": "summary", "task_config": {"content": "One. Two. Three."}}
    ).json()
    told = ws.expect(type="result", task_id=made["id"], timeout=20)
    assert told["progress"] == told["progress_percentage"] == 100
    assert told["status"] == "completed"
    ws.close()

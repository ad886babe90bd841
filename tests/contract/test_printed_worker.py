"""The examples that 003 prints, run as printed beside a real server: agent, user and title are put in, no more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.conftest import ROOT, Server
from tests.fakes.openai_server import OpenAIServer
from tests.fakes.receiver import Receiver
from tests.live.conftest import Person, Site, embedded
from webapp import settings

pytestmark = pytest.mark.slow

# 003:268.
ONE_LINER = """python -c "from worker import process_agent_task; process_agent_task.delay('test_task_id')\""""
# 003:175-182.
TASK_DATA = ("title", "description", "agent_id", "user_id")
# 003:76-80.
PROMPT = "Agent prompt: {agent_prompt}\\nTask: {task_title}\\nDescription: {task_description}"
# 003:151-153, 331.
LINES = ("Starting task processing for task_id: {task_id}", "Task completed successfully: {task_id}",
         "Task failed: {task_id} - {error_message}",
         "Agent performance - ID: {agent_id}, Tasks: {task_count}, Avg Duration: {avg_duration}ms")  # fmt: skip
# 003:195-208.
ENVIRONMENT = {
    "DATABASE_URL": "postgresql://user:password@localhost:5432/agentic_microsaas",
    "REDIS_URL": "redis://localhost:6379/0",
    "OPENAI_API_KEY": "your_openai_api_key_here",
    "CELERY_BROKER_URL": "redis://localhost:6379/0",
    "CELERY_RESULT_BACKEND": "redis://localhost:6379/0",
}


@pytest.fixture(scope="module")
def models() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def alarm() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(models: OpenAIServer, alarm: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    env = {**models.env, "AUTH_REQUIRED": "1", "BRAINSTEM_SWEEP_SECONDS": "1", "BRAINSTEM_ALERT_URL": alarm.url}
    env["BRAINSTEM_ALLOW_HOSTS"] += f",{alarm.host}"
    server = Server(tmp_path_factory.mktemp("worker") / "home", env).start()
    made = embedded(server)
    yield made
    made.rt.close()
    server.kill()


@pytest.fixture
def alice(site: Site) -> Person:
    return site.person("alice")


def program(site: Site, code: str) -> str:
    """What a Python program on the server's machine prints, with the server's settings."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=site.server.env, capture_output=True, text=True,
                          timeout=120)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def create(site: Site, person: Person, title: str) -> str:
    me = person.get("/api/auth/me/").json()["id"]
    task_data = dict(zip(TASK_DATA, (title, "For children.", "general", me), strict=True))
    return program(site, f"from worker import create_agent_task; print(create_agent_task({task_data!r}))")


def look(person: Person, task_id: str) -> Any:
    return person.get(f"/api/v1/agent-service/tasks/{task_id}").json()


def logged(site: Site) -> str:
    return site.server.log.read_text(errors="replace")


def line(number: int, **values: Any) -> str:
    return LINES[number].format(**values)


def test_they_are_as_printed(shared: Path) -> None:
    found = list((shared / "seeds").glob("003*.txt"))
    if not found:
        pytest.skip("the documents are not here")
    seed = found[0].read_text("utf-8", errors="replace")
    for printed in (ONE_LINER, PROMPT, *LINES, *(f"{name}={value}" for name, value in ENVIRONMENT.items())):
        assert printed in seed
    [data] = re.findall(r"    task = Task\((.*?)\n    \)", seed, re.DOTALL)
    assert tuple(re.findall(r"^        (\w+)=task_data", data, re.MULTILINE)) == TASK_DATA


def test_the_environment_is_understood(tmp_path: Path) -> None:
    """CELERY_RESULT_BACKEND has nothing to say: results are rows."""
    ours = {"SECRET_KEY": "long enough for a deployment", "BRAINSTEM_HOME": str(tmp_path)}
    known = settings.load({**ENVIRONMENT, **ours})
    assert known.distributed
    assert known.redis_url == ENVIRONMENT["REDIS_URL"]
    assert known.openai_api_key == ENVIRONMENT["OPENAI_API_KEY"]
    only = {name: value for name, value in ENVIRONMENT.items() if name != "REDIS_URL"}
    assert settings.load({**only, **ours}).redis_url == ENVIRONMENT["CELERY_BROKER_URL"]


def test_created_by_a_program_it_goes_from_pending_to_its_result(
    site: Site, alice: Person, models: OpenAIServer
) -> None:
    """003:285-292, 75-79: the prompt is the printed one, with its temperature and length."""
    models.say("A house ", "of bees.")
    task_id = create(site, alice, "What is a hive?")
    assert look(alice, task_id)["title"] == "What is a hive?"
    assert alice.finished(task_id)["status"] == "completed"
    done = look(alice, task_id)
    assert (done["status"], done["result"]["status"], done["result"]["result"]) == (
        "completed", "completed", "A house of bees.")  # fmt: skip
    asked = models.asked[-1]
    [agent] = [one for one in alice.get("/api/v1/agent-service/agents").json() if one["id"] == "general"]
    said = PROMPT.replace("\\n", "\n").format(
        agent_prompt=agent["prompt"], task_title="What is a hive?", task_description="For children.")  # fmt: skip
    assert [message["content"] for message in asked["messages"]] == [said]
    assert (asked["temperature"], asked["max_tokens"]) == (0.7, 1000)
    log = logged(site)
    assert line(0, task_id=task_id) in log
    assert line(1, task_id=task_id) in log
    assert line(3, agent_id="general", task_count=0, avg_duration=0) in log


def test_the_one_liner_runs_as_printed(site: Site, alice: Person, models: OpenAIServer) -> None:
    """And with a real id: a message for what is done already does nothing to it."""
    models.say("Once.")
    task_id = create(site, alice, "Once")
    alice.finished(task_id)
    before, count = look(alice, task_id), len(models.asked)
    code = re.findall(r'"(.*)"', ONE_LINER)[0]
    for one in ("test_task_id", task_id):
        program(site, code.replace("test_task_id", one))
    alice.finished(create(site, alice, "After it"))
    assert look(alice, task_id) == before
    assert len([one for one in models.asked[count:] if "Task: Once\n" in str(one)]) == 0


def test_what_breaks_for_good_is_tried_four_times_put_aside_and_told(
    site: Site, alice: Person, models: OpenAIServer, alarm: Receiver
) -> None:
    """003:299-313. The waits of 60, 120 and 240 s are written down and then cut short."""

    def broken(asked: Any) -> Any:
        raise ConnectionError("the model fell over")

    models.script = broken
    task_id = create(site, alice, "Never")
    waits = []
    for attempt in range(3):
        waits.append(_next_wait(site, alice, task_id, attempt))
        with site.rt.unit() as db:
            db.execute(text("UPDATE tasks SET due_at = 1 WHERE id = :id AND status = 'retrying'"), {"id": task_id})
    assert waits == [60, 120, 240]
    alice.finished(task_id, 60)
    done = look(alice, task_id)
    assert done["status"] == "failed"
    assert done["result"] == {"status": "error", "message": done["error"]}
    assert line(2, task_id=task_id, error_message=done["error"]) in logged(site)
    letters = site.root.get("/api/v1/agent-service/dead-letters").json()
    [letter] = [one for one in letters if one["task_id"] == task_id]
    assert letter["retries"] == 3
    assert site.root.post("/api/v1/operations/schedules/alerts/run").status_code in (200, 202)
    _hear(alarm, "failed for good: agent.task")
    models.say("Better now.")
    put_back = site.root.post(f"/api/v1/agent-service/dead-letters/{letter['message_id']}/requeue")
    assert put_back.status_code == 200
    again = alice.finished(task_id)
    assert again["status"] == "completed", again["error_message"]
    assert look(alice, task_id)["result"]["result"] == "Better now."


def _hear(alarm: Receiver, word: str, patience: float = 130.0) -> None:
    """The first alerts may be about something else."""
    until = time.monotonic() + patience
    while not any(word in json.dumps(one.json) for one in alarm.got):
        assert time.monotonic() < until, [one.json for one in alarm.got]
        alarm.wait(len(alarm.got) + 1, until - time.monotonic())


def _next_wait(site: Site, person: Person, task_id: str, attempt: int) -> int:
    """Seconds until the next attempt, once the one of this number has failed. Read from the stream, as a page does."""
    stream = person.sse(f"/api/v1/utils/tasks/{task_id}/stream/")
    try:
        for _, event in stream.events():
            waits = [one["data"]["retry_in"] for one in person.updates(task_id) if "retry_in" in (one["data"] or {})]
            if len(waits) > attempt:
                return int(waits[attempt])
            assert event["status"] in ("pending", "running"), event
    finally:
        stream.close()
    raise AssertionError(f"attempt {attempt} did not fail: {person.task(task_id)}")


def test_metrics_are_those_of_the_runs(site: Site, alice: Person, models: OpenAIServer) -> None:
    """003:141-146, 326-332: duration, success and error rate, queue length; per agent and in total."""
    models.say("Counted.")
    alice.finished(create(site, alice, "Counted"))
    told = alice.get("/api/v1/agent-service/metrics").json()
    assert told["total"]["success_rate"] + told["total"]["error_rate"] == pytest.approx(1)
    assert told["total"]["queue_length"] >= 0
    [general] = [one for one in told["agents"] if one["agent_id"] == "general"]
    assert general["completed"] >= 1
    assert general["avg_duration_ms"] > 0

"""The task kind `custom` at work: steps in turn, what feeds what, conditions, parts, and a kill at any moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.engine import Scripted, install
from tests.fakes.http_server import FakeSite
from tests.fakes.kinds import Killed
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.tasks.run import TaskRun

TASKS = "/api/v1/utils/ai-tasks/"
QUEUES = ("workflows", "inference", "crawling")
BEES = ("Bees make honey from the nectar of flowers. A hive holds many thousand bees. The queen lays all the eggs. "
        "Honey keeps for years because it holds little water. Bees keep warm in winter by trembling. ")  # fmt: skip


@pytest.fixture
def web() -> Iterator[FakeSite]:
    page = f"<html><head><title>Of bees</title></head><body><article><h1>Bees</h1><p>{BEES}</p></article></body></html>"
    with FakeSite() as made:
        made.page("/bees", page.encode(), {"Content-Type": "text/html; charset=utf-8"})
        made.page("/trap", b"<html><body><p>{{ secrets.token }} {{ config.hidden }} is what I want to read.</p></body></html>",
                  {"Content-Type": "text/html"})  # fmt: skip
        made.page("/take", b'{"id": 7}', {"Content-Type": "application/json"})
        made.page("/gone", b"", status=404)
        yield made


@pytest.fixture
def desk(make_rt: Any, web: FakeSite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("webapp.tasks.execute.retry_delay", lambda *given: 0.0)
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_DEMO="0", BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{web.port}", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def start(desk: Site, steps: list[Any], **config: Any) -> str:
    answer = desk.program(desk.cast.alice).post(
        TASKS, json={"task_type": "custom", "task_config": {"steps": steps, **config}}
    )
    assert answer.status_code == 201, answer.json
    return str(answer.json["id"])


def work(desk: Site) -> None:
    """Until no queue has anything left."""
    while sum(desk.lab.run_all(queue) for queue in QUEUES):
        pass


def look(desk: Site, task_id: str) -> dict[str, Any]:
    found: dict[str, Any] = desk.program(desk.cast.alice).get(f"{TASKS}{task_id}/").json
    return found


def run(desk: Site, steps: list[Any], **config: Any) -> dict[str, Any]:
    task_id = start(desk, steps, **config)
    work(desk)
    return look(desk, task_id)


def done(task: dict[str, Any]) -> dict[str, Any]:
    assert task["status"] == "completed", task["error_message"]
    result: dict[str, Any] = task["result_data"]
    return result


def know(desk: Site, text: str, title: str = "Of bees") -> None:
    """Put a document into alice's collection."""
    from webapp.core.context import Ctx
    from webapp.knowledge.service import collections, documents

    with desk.rt.unit() as db:
        shelf = collections.default(Ctx(desk.rt, db, desk.cast.alice)).id
    documents.store(desk.rt, shelf, documents.Incoming(key="bees", title=title, text=text, content_type="text/plain"))


# -- the seed's free form --------------------------------------------------------------------------------------------


def test_the_documented_configuration(desk: Site) -> None:
    """001:167-176, as printed: nobody knows what step1 is, and it says so."""
    result = done(run(desk, ["step1", "step2", "step3"], custom_config="Any custom parameters"))
    assert [one["status"] for one in result["steps"]] == ["completed"] * 3
    assert all(one["output"]["declined"] for one in result["steps"])
    assert result["notes"] == ["No language model is set up, and there is nothing about this in your sources."]
    assert result["text"] == ""


def test_without_a_model_sources_answer_and_it_says_so(desk: Site) -> None:
    know(desk, BEES)
    result = done(run(desk, ["How do bees keep warm in winter?"]))
    output = result["steps"][0]["output"]
    assert "Bees keep warm in winter by trembling" in output["text"]
    assert output["by"] == "extractive"
    assert "No language model" in output["note"]
    assert output["sources"][0]["title"] == "Of bees"


def test_with_a_model_each_prompt_sees_the_step_before(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = install(monkeypatch, Scripted(lambda request: f"answer {len(engine.requests)}"))
    result = done(
        run(desk, ["First things", "And then?", "Ask {{ steps.step1.text }} again"], custom_config={"tone": "calm"})
    )
    assert [one["output"]["text"] for one in result["steps"]] == ["answer 1", "answer 2", "answer 3"]
    asked = [request.messages[-1]["content"] for request in engine.requests]
    assert "calm" in asked[0]
    assert "answer 1" in asked[1]
    assert asked[2].startswith("Ask answer 1 again")
    assert result["models"] == ["scripted"]


def test_progress_and_log_per_step(desk: Site) -> None:
    task_id = start(desk, ["step1", "step2"])
    work(desk)
    said = [event.message for event in desk.lab.events(task_id)]
    assert any(one and one.startswith("Step 1 of 2: asking step1") for one in said)
    assert any(one and one.startswith("Step 2 of 2, step2:") for one in said)
    assert all(one["seconds"] is not None for one in look(desk, task_id)["result_data"]["steps"])


# -- structured steps ------------------------------------------------------------------------------------------------


def chain(web: FakeSite) -> list[Any]:
    return [
        {"type": "fetch", "name": "page", "url": "{{ config.page }}"},
        {"type": "condition", "name": "long", "field": "steps.page.words", "operator": ">", "value": 20},
        {"type": "task", "name": "short", "kind": "summary", "params": {"content": "{{ steps.page.text }}", "max_length": 20}},
        {"type": "analysis", "name": "words", "text": "{{ steps.short.text }}", "analyses": ["keywords", "language"]},
        {"type": "task", "name": "tell", "kind": "api", "params": {
            "url": web.url("/take"), "method": "POST", "body": {"said": "{{ steps.short.text }}", "n": "{{ steps.page.words }}"},
            "headers": ["Authorization: Bearer {{ secrets.token }}"], "secrets": {"token": "canary-5512"}, "mapping": {"id": "id"}}},
        {"type": "prompt", "prompt": "The note is {{ steps.tell.result.mapped.id }}"},
    ]  # fmt: skip


def test_outputs_feed_later_steps(desk: Site, web: FakeSite) -> None:
    task_id = start(desk, chain(web), custom_config={"page": web.url("/bees")})
    work(desk)
    result = done(look(desk, task_id))
    steps = {one["name"]: one for one in result["steps"]}
    assert [one["status"] for one in result["steps"]] == ["completed"] * 6
    assert steps["long"]["output"]["action"] == "continue"
    assert steps["words"]["output"]["result"]["texts"][0]["language"]["code"] == "en"
    [sent] = [one for one in web.requests if one.path == "/take"]
    assert json.loads(sent.body) == {"said": steps["short"]["output"]["text"], "n": steps["page"]["output"]["words"]}
    assert sent.headers["authorization"] == "Bearer canary-5512"
    assert "canary-5512" not in str(desk.rows())
    page = desk.browser(desk.cast.alice).get(f"/tasks/{task_id}").text
    assert "Its own task" in page
    assert "Of bees" in page or "/bees" in page
    assert "Bees" in desk.browser(desk.cast.alice).get(f"/tasks/{task_id}/download.md").text


@pytest.mark.parametrize(
    ("condition", "statuses"),
    [
        ({"operator": "==", "value": 0}, ["completed", "completed", "completed", "completed"]),
        ({"operator": ">", "value": 0}, ["completed", "completed", "skipped", "skipped"]),
        ({"operator": "==", "value": 0, "then": "skip"}, ["completed", "completed", "skipped", "completed"]),
        (
            {"operator": "==", "value": 0, "then": "goto", "goto": "last"},
            ["completed", "completed", "skipped", "completed"],
        ),
        ({"operator": "==", "value": 0, "then": "stop"}, ["completed", "completed", "skipped", "skipped"]),
        ({"operator": ">", "value": 0, "otherwise": "skip"}, ["completed", "completed", "skipped", "completed"]),
    ],
)
def test_conditions(desk: Site, condition: dict[str, Any], statuses: list[str]) -> None:
    steps = ["search: nothing is stored", {"type": "condition", "field": "previous.count", **condition}, "a",
             {"type": "prompt", "name": "last", "prompt": "b"}]  # fmt: skip
    result = done(run(desk, steps))
    assert [one["status"] for one in result["steps"]] == statuses


def test_what_was_skipped_cannot_be_used(desk: Site) -> None:
    steps = ["search: x", "if previous.count == 0 then skip else continue", {"type": "search", "name": "gone", "query": "y"},
             {"type": "prompt", "prompt": "{{ steps.gone.text }}"}]  # fmt: skip
    task = run(desk, steps)
    assert task["status"] == "failed"
    assert "Step 4" in task["error_message"]
    assert "nothing at steps.gone.text" in task["error_message"]


def test_a_step_may_fail_if_it_says_so(desk: Site, web: FakeSite) -> None:
    fetch = {"type": "fetch", "name": "page", "url": web.url("/gone")}
    task = run(desk, [fetch, "after"])
    assert (task["status"], "Step 1" in task["error_message"], "answered 404" in task["error_message"]) == (
        "failed",
        True,
        True,
    )
    result = done(run(desk, [fetch | {"on_error": "continue"}, "if steps.page.text missing then continue", "after"]))
    assert [one["status"] for one in result["steps"]] == ["failed", "completed", "completed"]
    bad = {"type": "task", "kind": "nlp", "params": {"urls": [web.url("/gone")]}}
    assert "answered 404" in run(desk, [bad])["error_message"]
    result = done(run(desk, [bad | {"on_error": "continue"}]))
    assert result["failed"] == 1


def test_parameters_that_do_not_fit_the_kind(desk: Site) -> None:
    task = run(desk, ["search: x", {"type": "task", "kind": "nlp", "params": {"content": "{{ previous.text }}"}}])
    assert task["status"] == "failed"
    assert "give content, urls or upload_ids" in task["error_message"]


@pytest.mark.parametrize("data", [{"values": [1, 2, 3, 4, 5]}, "a,b\n1,2\n3,4\n5,7\n"])
def test_data_is_analysed_as_a_table(desk: Site, data: Any) -> None:
    [step] = done(run(desk, [{"type": "analysis", "data": data}]))["steps"]
    assert step["output"]["task_id"]
    assert step["output"]["text"]


def test_parts_are_prepared_like_any_task(desk: Site) -> None:
    part = {"type": "task", "kind": "test.script", "params": {"note": "refuse"}}
    assert "not this one" in run(desk, [part])["error_message"]
    part["params"] = {"value": "{{ config.n }}"}
    assert done(run(desk, [part], custom_config={"n": 5}))["steps"][0]["output"]["result"] == {"value": 5}


def test_a_page_cannot_ask_for_secrets_or_configuration(desk: Site, web: FakeSite) -> None:
    """A40."""
    """What a fetched page says is data: its places are never filled (A36)."""
    steps = [
        {"type": "fetch", "name": "page", "url": web.url("/trap")},
        {"type": "task", "kind": "api", "params": {"url": web.url("/take"), "method": "POST", "body": "{{ steps.page.text }}",
         "secrets": {"token": "canary-8841"}}},
    ]  # fmt: skip
    done(run(desk, steps, custom_config={"hidden": "canary-8842"}))
    [sent] = [one for one in web.requests if one.path == "/take"]
    assert b"secrets.token" in sent.body
    assert b"canary" not in sent.body


@pytest.mark.parametrize(
    "steps", [[{"type": "fetch", "url": "http://169.254.169.254/"}], ["fetch: http://127.0.0.1:1/"]]
)
def test_addresses_the_gate_refuses_are_no_tasks(desk: Site, steps: list[Any]) -> None:
    answer = desk.program(desk.cast.alice).post(TASKS, json={"task_type": "custom", "task_config": {"steps": steps}})
    assert answer.status_code == 400
    assert "step 1" in str(answer.json)


# -- a kill at any moment --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(1, 15))
def test_killed_at_any_checkpoint(desk: Site, web: FakeSite, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The worker dies right after its nth checkpoint, whichever task it runs; nothing kept is done again."""
    task_id = start(desk, chain(web), custom_config={"page": web.url("/bees")})
    real, saves = TaskRun.save, []

    def save(self: TaskRun, key: str, value: Any) -> None:
        real(self, key, value)
        saves.append(key)
        if len(saves) == after:
            raise Killed

    monkeypatch.setattr(TaskRun, "save", save)
    for _ in range(40):
        try:
            if not sum(desk.lab.run_all(queue) for queue in QUEUES):
                break
        except Killed:
            desk.lab.take_over()
    task = look(desk, task_id)
    paths = [one.path for one in web.requests]
    assert paths.count("/take") <= 1
    if task["status"] == "failed":  # the one moment nobody can know of: marked as sent, no answer kept
        assert "not clear whether" in task["error_message"]
        assert saves[after - 1] == "sent"
        return
    assert task["status"] == "completed", task["error_message"]
    assert paths.count("/take") == 1
    assert paths.count("/bees") == 1

"""Omeruta's endpoints: documented texts, durable statuses, own things only."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.chat.conftest import Answer, Pen, Source
from tests.fakes.lab import QueryCounter
from tests.fakes.site import Site
from webapp.core.errors import Unavailable, Upstream

ASYNC = "/api/agents/async/"
STARTED = {"task_id", "status", "message", "check_status_url"}


def start(site: Site, **body: Any) -> Any:
    return site.program(site.cast.alice).post(f"{ASYNC}chat_async/", json={"message": "Why?", **body})


def run(site: Site) -> None:
    site.lab.run_all("interactive")


def poll(site: Site, task_id: str, who: Any = None) -> Any:
    return site.program(who or site.cast.alice).get(f"{ASYNC}status/{task_id}/").json


@pytest.fixture
def answering(both_site: Site, pen: Pen) -> Site:
    pen.script = lambda **given: Answer("Because **of** <it> [1].", sources=(Source(1),), confidence=0.9)
    return both_site


def test_a_question_gets_a_task_and_the_task_an_answer(answering: Site) -> None:
    site = answering
    begun = start(site, conversation_id="chat_1_abc")
    assert begun.status_code == 200
    assert set(begun.json) == STARTED
    task_id = begun.json["task_id"]
    assert begun.json == {"task_id": task_id, "status": "processing", "check_status_url": f"{ASYNC}status/{task_id}/",
                          "message": "Your request is being processed. Use the task_id to check status."}  # fmt: skip
    waiting = poll(site, task_id)
    assert (waiting["status"], waiting["celery_status"], waiting["progress"]) == ("processing", "PENDING", 0)
    assert "result" not in waiting
    run(site)
    done = poll(site, task_id)
    assert (done["status"], done["celery_status"], done["progress"], done["message"]) == (
        "completed",
        "SUCCESS",
        100,
        "Response ready",
    )
    assert (done["selected_agent"], done["routing_score"], done["conversation_id"]) == ("qa", 0.75, "chat_1_abc")
    result = done["result"]
    assert result["response"] == "Because **of** &lt;it&gt; [1]."
    assert result["response_text"] == "Because **of** <it> [1]."
    assert (result["context_sources"], result["confidence_score"], result["processed_async"]) == (1, 0.9, True)
    assert isinstance(result["processing_time"], float)
    assert result["conversation_id"] == "chat_1_abc"


def test_another_question_in_the_same_conversation(answering: Site, pen: Pen) -> None:
    """C11, C40: the client names its conversations."""
    site = answering
    for text in ("First?", "Second?"):
        start(site, message=text, conversation_id="chat_1_abc")
        run(site)
    assert [turn["content"] for turn in pen.asked[-1]["history"]] == ["First?", "Because **of** <it> [1]."]
    client = site.program(site.cast.alice)
    listed = client.get("/api/agents/conversations/").json
    assert (listed["count"], listed["results"][0]["conversation_id"], listed["results"][0]["message_count"]) == (
        1,
        "chat_1_abc",
        4,
    )
    for name in ("chat_1_abc", listed["results"][0]["id"]):
        found = client.get(f"/api/agents/conversations/{name}/").json
        assert [one["content"] for one in found["messages"]][::2] == ["First?", "Second?"]
        assert [one["status"] for one in found["messages"]] == ["completed"] * 4
    assert start(site, conversation_id=listed["results"][0]["id"]).status_code == 200
    assert client.get("/api/agents/conversations/").json["count"] == 1
    page = client.get("/api/agents/conversations/chat_1_abc/?limit=1&offset=2").json["messages"]
    assert [one["content"] for one in page] == ["Second?"]


def test_what_was_asked_for_reaches_who_answers(answering: Site, pen: Pen) -> None:
    """M021, C50, and M018: without the knowledge base."""
    site = answering
    start(site, agent_type="analysis", use_context=False)
    run(site)
    assert pen.asked[-1]["use_context"] is False
    assert pen.asked[-1]["agent"].key == "analysis"
    assert pen.routed == 0
    task_id = site.program(site.cast.alice).post(f"{ASYNC}multiagent_async/", json={"query": "Why?"}).json["task_id"]
    run(site)
    assert pen.routed == 1
    assert poll(site, task_id)["result"]["selected_agent"] == "qa"


def test_quality_only_if_asked_for(answering: Site) -> None:
    """C13."""
    plain, asked = start(answering).json["task_id"], start(answering, include_quality=True).json["task_id"]
    run(answering)
    assert "quality_assessment" not in poll(answering, plain)["result"]
    assert poll(answering, asked)["result"]["quality_assessment"]["sources"] == 1


@pytest.mark.parametrize(("path", "body", "text"), [
    ("async/chat_async", {}, "Message is required"), ("async/chat_async", {"message": ""}, "Message is required"),
    ("async/chat_async", {"message": " \n"}, "Message is required"), ("async/chat_async", {"message": None}, "Message is required"),
    ("async/multiagent_async", {"query": ""}, "Query is required"), ("async/research_topic", {}, "Topic is required"),
    ("async/expand_knowledge", {"topic": ""}, "Topic is required"), ("async/analyze_content", {"urls": []}, "URLs are required"),
    ("tinyllama/chat", {"message": ""}, "Message is required"),
])  # fmt: skip
def test_an_empty_text_in_the_documented_words(site: Site, path: str, body: dict[str, Any], text: str) -> None:
    site.bearer(site.cast.alice)
    with site.unchanged():
        answer = site.program(site.cast.alice).post(f"/api/agents/{path}/", json=body)
    assert (answer.status_code, answer.json["error"], answer.json["detail"]) == (400, text, text)


def test_wrong_types_name_the_field(site: Site) -> None:
    for body in ({"message": 7}, {"message": "x", "use_context": "perhaps"}, {"message": "x", "agent_type": "best"},
                 {"message": "x", "conversation_id": "a\0b"}, {"message": "x", "conversation_id": "x" * 201}):  # fmt: skip
        answer = site.program(site.cast.alice).post(f"{ASYNC}chat_async/", json=body)
        assert answer.status_code == 422
        assert answer.json["error"] == answer.json["detail"]
        assert answer.json["errors"][0]["loc"] == [list(body)[-1]]


def test_a_strangers_task_is_one_that_nobody_has(answering: Site) -> None:
    """M025."""
    site = answering
    task_id = start(site).json["task_id"]
    run(site)
    unknown = poll(site, "018f0000-none", site.cast.bob)
    for who in (site.cast.bob, site.cast.root):
        assert poll(site, task_id, who) == {**unknown, "task_id": task_id}
    assert (unknown["status"], unknown["ready"], unknown["result"]) == ("pending", False, None)
    assert site.client.get(f"{ASYNC}status/{task_id}/").status_code == 401
    start(site, conversation_id="named")
    assert site.program(site.cast.bob).get("/api/agents/conversations/named/").status_code == 404
    assert site.program(site.cast.bob).get("/api/agents/conversations/").json["count"] == 0


def test_a_failed_attempt_shows_no_error_and_a_final_one_does(answering: Site, pen: Pen) -> None:
    """M026, C10: progress, not an error, while attempts remain."""
    site = answering

    def broken(**given: Any) -> Answer:
        raise Upstream("the <model> server is unwell")

    pen.script = broken
    task_id = start(site).json["task_id"]
    seen = []
    while poll(site, task_id)["status"] == "processing":
        site.lab.run("interactive")
        told = poll(site, task_id)
        seen.append((told["status"], told["celery_status"], told["message"]))
        site.lab.sql("UPDATE tasks SET due_at = due_at - 60 WHERE status = 'retrying'")
        site.lab.make_due()
        assert len(seen) < 20
    most = len(seen) - 1
    assert most == 3
    assert seen[:-1] == [("processing", "RETRY", f"Retrying ({n}/{most})...") for n in range(1, most + 1)]
    assert seen[-1] == ("failed", "FAILURE", "Error: the &lt;model&gt; server is unwell")
    assert poll(site, task_id)["error"] == "the <model> server is unwell"


def test_a_cancelled_task_has_failed_for_this_client(answering: Site) -> None:
    task_id = start(answering).json["task_id"]
    answering.lab.do("cancel", answering.cast.alice, task_id)
    told = poll(answering, task_id)
    assert (told["status"], told["celery_status"], told["error"]) == ("failed", "REVOKED", "The task was cancelled")


def test_the_small_model_answers_in_the_request(answering: Site, pen: Pen) -> None:
    """000:781-790, with a worker beside the waiting caller."""
    site = answering
    site.rt.settings.__dict__["answer_wait"] = 30.0
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(
        site.program(site.cast.alice).post("/api/agents/tinyllama/chat/", json={"message": "Why?"})))  # fmt: skip
    site.bearer(site.cast.alice)
    caller.start()
    while site.lab.run("interactive") is None:
        assert caller.is_alive()
    caller.join(20)
    [answer] = answers
    assert answer.status_code == 200
    assert answer.json["response"] == "Because **of** &lt;it&gt; [1]."
    assert answer.json["selected_agent"] == "tinyllama"
    assert pen.asked[-1]["agent"].key == "tinyllama"


def test_who_waits_too_long_is_told_where_to_look(answering: Site) -> None:
    site = answering  # its setting: nobody waits
    answer = site.program(site.cast.alice).post("/api/agents/tinyllama/chat/", json={"message": "Why?"})
    assert (answer.status_code, answer.json["code"]) == (504, "still_working")
    assert answer.json["error"] == answer.json["detail"]
    url = answer.json["suggestion"].removeprefix("Nothing is lost: look at ").rstrip(".")
    run(site)
    assert site.program(site.cast.alice).get(url).json["status"] == "completed"


def test_what_fails_while_somebody_waits_keeps_its_status(answering: Site, pen: Pen) -> None:
    site = answering
    site.rt.settings.__dict__["answer_wait"] = 30.0

    def none(**given: Any) -> Answer:
        raise Unavailable("no model", code="no_model", suggestion="Put one there.", retryable=False)

    pen.script = none
    site.bearer(site.cast.alice)
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(
        site.program(site.cast.alice).post("/api/agents/tinyllama/chat/", json={"message": "Why?"})))  # fmt: skip
    caller.start()
    while site.lab.run("interactive") is None:
        assert caller.is_alive()
    caller.join(20)
    assert (answers[0].status_code, answers[0].json["code"]) == (503, "no_model")
    assert "no model" in answers[0].json["error"]


def test_a_long_list_asks_no_more_than_a_short_one(answering: Site) -> None:
    site, counts = answering, []
    client = site.program(site.cast.alice)
    for known in (1, 9):
        for number in range(known):
            start(site, conversation_id=f"chat_{known}_{number}")
        client.get("/api/agents/conversations/")
        with QueryCounter(site.rt) as counter:
            assert len(client.get("/api/agents/conversations/").json["results"]) >= known
        counts.append(len(counter))
    assert counts[0] == counts[1]

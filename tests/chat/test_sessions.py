"""Chat sessions of the Agentic API: the documented sample, measured numbers, open reading."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.chat.conftest import Answer, Pen, Source
from tests.contract.test_contract import ERROR, fits
from tests.fakes.site import Site
from webapp.core.errors import NoModel
from webapp.engines.base import Completion

SESSIONS = "/api/v1/chat/sessions"
SESSION = {"id": str, "session_type": str, "model_name": str, "user_id": (str, None), "title": str, "status": str,
           "config": dict, "message_count": int, "created_at": "time", "updated_at": "time"}  # fmt: skip
MESSAGE = {"id": str, "session_id": str, "role": str, "content": str, "status": str, "created_at": "time", "metadata": dict,
           "performance_metrics": (dict, None), "sources": list, "error": (str, None)}  # fmt: skip
METRICS = {"response_time_seconds": float, "load_time_seconds": (float, None), "prompt_eval_time_seconds": (float, None),
           "generation_time_seconds": float, "prompt_tokens": (int, None), "response_tokens": int, "total_tokens": int,
           "tokens_per_second": float, "context_length_chars": int, "model_name": str, "timestamp": "time",
           "token_unit": str}  # fmt: skip


@pytest.fixture
def talking(both_site: Site, pen: Pen) -> Site:
    pen.script = lambda **given: Answer("It is so [1].", sources=(Source(1, quote="It is so."),), ms={"total": 5.0})
    both_site.rt.settings.__dict__["answer_wait"] = 30.0
    both_site.bearer(both_site.cast.alice)
    return both_site


def create(site: Site, **body: Any) -> Any:
    return site.program(site.cast.alice).post(SESSIONS, json=body)


def send(site: Site, session_id: str, queue: str = "interactive", **body: Any) -> Any:
    """Wait for the answer while a worker works beside it."""
    answers: list[Any] = []
    path = f"{SESSIONS}/{session_id}/messages"
    caller = threading.Thread(target=lambda: answers.append(site.program(site.cast.alice).post(path, json=body)))
    caller.start()
    while caller.is_alive():
        site.lab.run(queue)
        caller.join(0.01)
    return answers[0]


def test_the_documented_page(talking: Site) -> None:
    """002:638-677: create, say, read what is printed with decimals."""
    session = create(talking, title="A talk")
    assert session.status_code == 201
    fits(session.json, SESSION)
    answer = send(talking, session.json["id"], message="Is it so?")
    assert answer.status_code == 200
    said = answer.json
    assert (said["session_id"], said["response"], said["model"]) == (session.json["id"], "It is so [1].", "extractive")
    fits(said["performance_metrics"], METRICS)
    assert said["performance_metrics"]["model_name"] == "extractive"


def test_where_nobody_counts_tokens_words_are_counted_and_named_so(talking: Site) -> None:
    session_id = create(talking).json["id"]
    found = send(talking, session_id, message="Is it so?").json["performance_metrics"]
    assert found["token_unit"] == "words"
    assert (found["response_tokens"], found["prompt_tokens"], found["total_tokens"]) == (4, 6, 10)
    assert found["context_length_chars"] == len("Is it so?") + len("It is so.")
    assert found["load_time_seconds"] is None, "nothing was loaded"
    assert found["tokens_per_second"] == pytest.approx(4 / found["generation_time_seconds"], rel=0.01, abs=0.01)


def test_the_numbers_of_a_model_are_those_of_its_run(talking: Site, pen: Pen) -> None:
    """M099."""
    done = Completion("Yes.", "small", "stop", 156, 89, {"load": 0.1, "prompt": 0.2, "generate": 0.5})
    pen.script = lambda **given: Answer("Yes.", engine="small", completion=done)
    found = send(talking, create(talking).json["id"], message="Is it?").json["performance_metrics"]
    assert found["token_unit"] == "tokens"
    assert (found["prompt_tokens"], found["response_tokens"], found["total_tokens"]) == (156, 89, 245)
    assert (found["load_time_seconds"], found["prompt_eval_time_seconds"], found["generation_time_seconds"]) == (
        0.1,
        0.2,
        0.5,
    )
    assert found["tokens_per_second"] == 178.0


def test_a_session_keeps_the_model_it_was_made_with(talking: Site, pen: Pen) -> None:
    pen.script = lambda **given: Answer("Yes.", engine="openai:other@lab")
    client = talking.program(talking.cast.alice)
    for chosen, shown in (("extractive", "extractive"), (None, "openai:other@lab")):
        session_id = create(talking, model_name=chosen).json["id"]
        send(talking, session_id, message="Is it?")
        assert client.get(f"{SESSIONS}/{session_id}").json["model_name"] == shown


def test_messages_come_in_pages(talking: Site) -> None:
    """M100."""
    session_id = create(talking).json["id"]
    for number in range(3):
        assert send(talking, session_id, message=f"Question {number}", metadata={"tags": ["a"]}).status_code == 200
    client = talking.program(talking.cast.alice)
    found = client.get(f"{SESSIONS}/{session_id}/messages").json
    for message in found:
        fits(message, MESSAGE)
    assert [one["role"] for one in found] == ["user", "assistant"] * 3
    assert found[0]["metadata"] == {"tags": ["a"]}
    assert found[0]["performance_metrics"] is None
    assert found[1]["performance_metrics"]["response_tokens"] == 4
    page = client.get(f"{SESSIONS}/{session_id}/messages?limit=2&offset=3").json
    assert page == found[3:5]


def test_statistics_are_counted(talking: Site) -> None:
    session_id = create(talking).json["id"]
    client = talking.program(talking.cast.alice)
    empty = client.get(f"{SESSIONS}/{session_id}/stats").json
    assert (empty["message_count"], empty["average_response_time_seconds"], empty["total_tokens"]) == (0, None, 0)
    times = [send(talking, session_id, message="Is it so?").json["performance_metrics"] for _ in range(2)]
    found = client.get(f"{SESSIONS}/{session_id}/stats").json
    assert (found["message_count"], found["user_messages"], found["assistant_messages"]) == (4, 2, 2)
    assert found["total_tokens"] == sum(one["total_tokens"] for one in times)
    assert found["average_response_time_seconds"] == pytest.approx(
        sum(one["response_time_seconds"] for one in times) / 2, abs=1e-3
    )
    assert found["models"] == ["extractive"]


def test_a_session_is_found_paused_and_deleted(talking: Site) -> None:
    site, client = talking, talking.program(talking.cast.alice)
    session_id = create(site, title="Mine", user_id="user-123", config={"custom_parameters": {"a": 1}}).json["id"]
    found = client.get(f"{SESSIONS}/{session_id}").json
    assert (found["user_id"], found["config"]) == ("user-123", {"custom_parameters": {"a": 1}})
    assert [one["id"] for one in client.get(SESSIONS).json] == [session_id]
    paused = client.put(f"{SESSIONS}/{session_id}/status", json={"status": "paused"})
    assert (paused.status_code, paused.json["status"]) == (200, "paused")
    refused = client.post(f"{SESSIONS}/{session_id}/messages", json={"message": "Still there?"})
    assert (refused.status_code, refused.json["code"]) == (409, "session_not_active")
    assert refused.json["suggestion"]
    assert client.get(f"{SESSIONS}?status=active").json == []
    assert [one["id"] for one in client.get(f"{SESSIONS}?status=paused&limit=1").json] == [session_id]
    assert client.delete(f"{SESSIONS}/{session_id}").status_code == 204
    assert client.get(f"{SESSIONS}/{session_id}").status_code == 404
    assert client.get(SESSIONS).json == []


@pytest.mark.parametrize(("body", "code"), [
    ({"session_type": "agent_creation"}, "invalid_session_type"), ({"session_type": "nothing"}, "invalid_session_type"),
    ({"model_name": "llama2"}, "model_unavailable"), ({"config": {"template": "no_template"}}, "unknown_template"),
])  # fmt: skip
def test_errors_say_what_to_do(site: Site, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], code: str) -> None:
    """002:1041-1053."""
    answer = create(site, **body)
    assert (answer.status_code, answer.json["code"]) == (400, code)
    fits(answer.json, {**ERROR, "suggestion": str}, more={"errors"})
    session_id = create(site).json["id"]
    client = site.program(site.cast.alice)
    wrong = client.put(f"{SESSIONS}/{session_id}/status", json={"status": "asleep"})
    assert (wrong.status_code, "active" in wrong.json["suggestion"]) == (400, True)
    missing = client.post(f"{SESSIONS}/{session_id}/messages", json={"message": "x", "model_name": "llama2"})
    assert (missing.status_code, missing.json["code"]) == (400, "model_unavailable")


def test_reading_is_open_and_shows_strangers_nothing(talking: Site) -> None:
    """C05."""
    site = talking
    session_id = create(site, title="of alice").json["id"]
    assert site.client.get(SESSIONS).json == []
    assert site.program(site.cast.bob).get(SESSIONS).json == []
    for part in ("", "/messages", "/stats"):
        for client in (site.client, site.program(site.cast.bob)):
            assert client.get(f"{SESSIONS}/{session_id}{part}").status_code == 404
    assert site.client.post(SESSIONS, json={}).status_code == 401
    site.lab.sql("UPDATE conversations SET owner_id = NULL WHERE id = :id", id=session_id)
    assert [one["id"] for one in site.client.get(SESSIONS).json] == [session_id]
    assert site.client.get(f"{SESSIONS}/{session_id}").json["title"] == "of alice"
    assert site.client.get("/api/v1/chat/models").json["default_model"] == "extractive"
    assert isinstance(site.client.get("/api/v1/chat/templates").json, list)


def test_a_template_is_an_agent(talking: Site, pen: Pen) -> None:
    """M093."""
    session = create(talking, config={"template": "analysis"}).json
    send(talking, session["id"], message="Compare them.")
    assert pen.asked[-1]["agent"].key == "analysis"
    assert pen.routed == 0


def test_what_fails_keeps_its_reason(talking: Site, pen: Pen) -> None:
    def none(**given: Any) -> Answer:
        raise NoModel("No language model is set up.", suggestion="Put a GGUF file there.")

    pen.script = none
    session_id = create(talking).json["id"]
    answer = send(talking, session_id, message="Is it?")
    assert (answer.status_code, answer.json["code"]) == (503, "no_model")
    assert "GGUF" in answer.json["detail"]
    failed = talking.program(talking.cast.alice).get(f"{SESSIONS}/{session_id}/messages").json[1]
    assert failed["status"] == "failed"
    assert "No language model" in failed["error"]


def test_an_answer_that_takes_too_long_is_not_lost(talking: Site) -> None:
    talking.rt.settings.__dict__["answer_wait"] = 0.0
    session_id = create(talking).json["id"]
    client = talking.program(talking.cast.alice)
    late = client.post(f"{SESSIONS}/{session_id}/messages", json={"message": "Is it so?"})
    assert (late.status_code, late.json["code"]) == (504, "still_working")
    assert f"{SESSIONS}/{session_id}/messages" in late.json["suggestion"]
    assert client.get(f"{SESSIONS}/{session_id}/messages").json[1]["status"] == "processing"
    talking.lab.run_all("interactive")
    assert client.get(f"{SESSIONS}/{session_id}/messages").json[1]["content"] == "It is so [1]."

"""`/ws/agent/` against a running server: every message of its vocabulary, cut-off chats, several at once."""

from __future__ import annotations

import time
from typing import Any

import requests

from tests.live.client import WS
from tests.omeruta.conftest import QUESTION, Place

STARTED = "Processing your message..."


def ask(socket: WS, message: Any = QUESTION, **more: Any) -> None:
    socket.send({"action": "start_chat", "message": message, **more})


def until(socket: WS, kind: str, **fields: Any) -> list[Any]:
    """All messages up to one of `kind`."""
    seen: list[Any] = []
    while (message := socket.next(30)) is not None:
        seen.append(message)
        if message["type"] == kind and all(message.get(name) == value for name, value in fields.items()):
            return seen
    raise AssertionError(f"no {kind}; closed={socket.closed}; seen {str(seen)[-1500:]}")


def test_a_chat_from_its_start_to_its_answer(place: Place) -> None:
    with place.socket() as socket:
        ask(socket, conversation_id="chat_1", use_context=True, agent_type="auto")
        seen = until(socket, "task_completed")
    assert {message["conversation_id"] for message in seen} == {"chat_1"}
    assert len({message["task_id"] for message in seen}) == 1
    assert seen[0] | {"task_id": 0} == {
        "type": "task_started",
        "message": STARTED,
        "conversation_id": "chat_1",
        "task_id": 0,
    }
    kinds = [message["type"] for message in seen]
    assert kinds.count("agent_routed") == 1
    assert kinds[-2:] == ["task_update", "task_completed"], "the completed update comes first"
    updates = [message for message in seen if message["type"] == "task_update"]
    assert all(set(one) == {"type", "task_id", "conversation_id", "status", "progress", "message"} for one in updates)
    assert [one["progress"] for one in updates] == sorted(one["progress"] for one in updates)
    assert {"Searching knowledge base...", "Generating response..."} <= {one["message"] for one in updates}
    assert (updates[-1]["status"], updates[-1]["progress"], updates[-1]["message"]) == (
        "completed",
        100,
        "Response ready",
    )
    [routed] = [message for message in seen if message["type"] == "agent_routed"]
    assert routed["selected_agent"] in ("research", "analysis", "qa", "general")
    assert 0 < routed["confidence"] <= 1
    result = seen[-1]["result"]
    assert result["response"].startswith("Marta Holm built **the north light**")
    assert result["selected_agent"] == routed["selected_agent"]
    assert result["context_sources"] >= 1
    assert result["model_used"].startswith("openai:")


def test_without_a_name_none_is_sent(place: Place) -> None:
    """C11: the client then uses `default`."""
    with place.socket() as socket:
        ask(socket)
        assert all("conversation_id" not in message for message in until(socket, "task_completed"))


def test_a_named_agent_answers(place: Place) -> None:
    with place.socket() as socket:
        ask(socket, agent_type="research", conversation_id="c")
        seen = until(socket, "task_completed")
    [routed] = [message for message in seen if message["type"] == "agent_routed"]
    assert (routed["selected_agent"], routed["confidence"]) == ("research", 1.0)


def test_two_chats_side_by_side_on_one_socket(place: Place) -> None:
    """M011: the first is still written when the second begins, and both end with their own answer."""
    place.models.reply = lambda body: ["About one. " if QUESTION in str(body["messages"][-1]) else "About two. "]
    place.models.hold()
    with place.socket() as socket:
        ask(socket, QUESTION, conversation_id="one")
        until(socket, "task_update", message="Generating response...")
        ask(socket, "When was the fog bell rung for the first time?", conversation_id="two")
        until(socket, "task_update", message="Generating response...", conversation_id="two")
        place.models.go()
        ends = {
            one["conversation_id"]: one for one in until(socket, "task_completed") if one["type"] == "task_completed"
        }
        ends |= {
            one["conversation_id"]: one for one in until(socket, "task_completed") if one["type"] == "task_completed"
        }
    assert {name: end["result"]["response"].split(".")[0] for name, end in ends.items()} == {
        "one": "About one",
        "two": "About two",
    }


def test_an_empty_text_ends_its_indicator(place: Place) -> None:
    """C49."""
    with place.socket() as socket:
        for wrong in ({"message": ""}, {}, {"message": None}):
            socket.send({"action": "start_chat", "conversation_id": "c", **wrong})
            assert socket.next() == {"type": "error", "message": "Message is required", "conversation_id": "c"}
            assert socket.next() == {"type": "task_failed", "error": "Message is required", "conversation_id": "c",
                                     "message": "Error: Message is required"}  # fmt: skip
        for field, value in (
            ("message", 7),
            ("use_context", "maybe"),
            ("agent_type", "best"),
            ("conversation_id", "x" * 201),
        ):
            ask(socket, **{"message": "x", field: value})
            assert field in socket.next()["message"]
            assert socket.next()["type"] == "task_failed"
        ask(socket, "still there?", conversation_id="c")
        until(socket, "task_completed")


def test_what_is_no_message_of_ours(place: Place) -> None:
    with place.socket() as socket:
        for text, told in (("{", "Invalid JSON"), ("[]", "Unknown message type None"), ('{"action": "<x>"}', "Unknown action &lt;x&gt;"),
                           ('{"type": "nothing"}', "Unknown message type nothing")):  # fmt: skip
            socket.send(text)
            assert socket.next() == {"type": "error", "message": told}
        socket.send({"action": "check_task"})
        assert socket.ping_json()["type"] == "pong", "check_task without an id is passed over"


def test_check_task(place: Place) -> None:
    with place.socket() as socket:
        ask(socket, conversation_id="c")
        task_id = until(socket, "task_completed")[-1]["task_id"]
        socket.send({"action": "check_task", "task_id": task_id})
        assert socket.next() == {"type": "task_status", "task_id": task_id, "status": "completed", "progress": 100,
                                 "message": "Response ready"}  # fmt: skip
        socket.send({"action": "check_task", "task_id": "nobodys"})
        assert socket.next()["status"] == "pending"


def test_a_model_that_fails_for_good(place: Place) -> None:
    """task_failed after the failed update; the words of the server, as a text and as HTML."""
    place.models.fails(400)
    with place.socket() as socket:
        ask(socket, conversation_id="c")
        seen = until(socket, "task_failed")
    assert seen[-2]["type"] == "task_update"
    assert seen[-2]["status"] == "failed"
    assert "unwell" in seen[-1]["error"]
    assert seen[-1]["message"].startswith("Error: ")


def test_a_lost_connection_is_told_what_it_missed_once(place: Place) -> None:
    """C11, M003: it went away while the model wrote; the answer came meanwhile."""
    place.models.hold()
    first = place.socket()
    ask(first, conversation_id="c")
    begun = until(first, "task_update", message="Generating response...")
    assert "agent_routed" in [one["type"] for one in begun]
    time.sleep(0.3)  # for the answer to the ping behind `agent_routed`
    first.vanish()
    place.models.go()
    task_id = begun[0]["task_id"]
    while place.status(task_id)["status"] != "completed":
        time.sleep(0.05)
    with place.socket() as second:
        seen = until(second, "task_completed")
    assert [one["type"] for one in seen] == ["task_started", "task_update", "task_completed"], (
        "the badge was there already"
    )
    assert {one["conversation_id"] for one in seen} == {"c"}
    time.sleep(0.3)  # for the note that the second has it
    with place.socket() as third:
        assert third.all(0.5) == [], "whoever has an answer is not told it again"


def test_a_reader_who_never_answered_pings_is_told_again(place: Place) -> None:
    """Written is not read: only an answer to a later ping says so."""
    deaf = place.socket()
    deaf.answers_pings = False
    ask(deaf, conversation_id="deaf")
    until(deaf, "task_completed")
    deaf.vanish()
    with place.socket() as socket:
        seen = until(socket, "task_completed")
        assert [one["type"] for one in seen] == ["task_started", "task_update", "agent_routed", "task_completed"]


def test_an_unfinished_chat_goes_on_over_a_restart(place: Place) -> None:
    """M003, M039."""
    place.models.hold()
    socket = place.socket()
    ask(socket, conversation_id="over")
    until(socket, "task_update", message="Generating response...")
    place.server.stop()
    place.models.go()
    place.server.start()
    with place.socket() as again:
        seen = until(again, "task_completed")
    assert seen[0]["type"] == "task_started"
    assert seen[-1]["conversation_id"] == "over"
    assert seen[-1]["result"]["response"].startswith("Marta Holm")


def test_a_question_is_researched_with_new_pages(place: Place) -> None:
    """M009, M016: the sixth kind of message, once, before the answer; the quality only because it was asked for."""
    text = "The south light was built in 1902 by Ola Berg. Its tower is thirty metres high. "
    link = '<a href="/south-light">The south light of Ola Berg</a>'
    for name, body in (("lights", f"The lights of the coast have long histories. {link}"), ("south-light", text * 3)):
        html = f"<html><head><title>{name}</title></head><body><main><p>{body}</p></main></body></html>"
        place.models.site.page(f"/{name}", html.encode(), {"Content-Type": "text/html"})
    place.models.says("The south light was built in 1902 [1].")
    site, api = f"http://127.0.0.1:{place.models.site.port}", place.server.url + "/api/v1/knowledge/collections"
    shelf = requests.post(api, json={"name": "Coast"}, timeout=15).json()["id"]
    added = requests.post(f"{api}/{shelf}/sources", json={"kind": "url", "url": f"{site}/lights"}, timeout=15)
    assert added.status_code == 201
    listed = f"{place.server.url}/api/v1/knowledge/documents?collection_id={shelf}"
    until_read = time.monotonic() + 30
    while not requests.get(listed, timeout=15).json()["documents"]:
        assert time.monotonic() < until_read
        time.sleep(0.1)
    with place.socket() as socket:
        ask(socket, "the south light of Ola Berg", conversation_id="r", expand_knowledge=True, max_sources=2,
            include_quality=True)  # fmt: skip
        seen = until(socket, "task_completed")
    kinds = [message["type"] for message in seen]
    assert kinds[-3:] == ["task_update", "knowledge_expanded", "task_completed"]
    assert kinds.count("knowledge_expanded") == 1
    assert seen[-2]["expansion_info"]["urls_crawled"] == [f"{site}/south-light"]
    assert "1902" in seen[-1]["result"]["response"]
    assert seen[-1]["result"]["quality_assessment"]["documents"]


def test_a_polled_chat_is_nobodys_on_the_socket(place: Place) -> None:
    """It is fetched by who started it: told here as well, the page would show it twice."""
    place.models.hold()
    task_id = place.post("async/chat_async", message=QUESTION, conversation_id="polled").json()["task_id"]
    with place.socket() as socket:
        assert socket.all(0.5) == []
    place.models.go()
    while place.status(task_id)["status"] != "completed":
        time.sleep(0.05)
    assert place.status(task_id)["result"]["conversation_id"] == "polled"


def test_the_small_model_answers_within_the_request(place: Place) -> None:
    answer = place.post("tinyllama/chat", message=QUESTION)
    assert answer.status_code == 200
    assert answer.json()["response"].startswith("Marta Holm")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]

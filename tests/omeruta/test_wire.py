"""Tasks in Omeruta's words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from webapp.omeruta import wire
from webapp.tasks.dialects import STATUS


def task(status: str = "running", **more: Any) -> Any:
    given = {"id": "t1", "status": status, "progress": 40, "message": "Found 2 sources", "attempt": 1, "max_attempts": 4,
             "error": None, "owner_id": "u1", "is_final": status in ("completed", "failed", "cancelled", "timed_out"),
             "started_at": None, "finished_at": None}  # fmt: skip
    return SimpleNamespace(**given | more)


@pytest.mark.parametrize(("markdown", "html"), [
    ("<img src=x onerror=alert(1)> & more", "&lt;img src=x onerror=alert(1)&gt; &amp; more"),
    ("**bold** and `code`\n*it*", "**bold** and `code`\n*it*"),
    (r"5 \* 3 \* 2 \< 31 and snake\_case \[sic\]", "5 &#42; 3 &#42; 2 &#60; 31 and snake_case [sic]"),
    (r"an entity, `&amp;lt;`, said literally", "an entity, `&amp;lt;`, said literally"),
    (r"C:\new \\ end", "C:\\new \\ end"),
    ("- <https://a.example/x?b=1&c=*d*>", "- https://a.example/x?b=1&amp;c=&#42;d&#42;"),
    ("- <https://a.example/<b>>", "- &lt;https://a.example/&lt;b&gt;&gt;"),
])  # fmt: skip
def test_markdown_for_a_client_that_writes_html(markdown: str, html: str) -> None:
    """C16: nothing of an answer is markup but what that client makes of it."""
    assert wire.as_html(markdown) == html


def test_every_state_has_its_words() -> None:
    for state in STATUS:
        told = wire.polled(task(state), None, None)
        assert told["status"] in ("processing", "completed", "failed")
        assert told["celery_status"] in ("PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED")
        assert ("error" in told) == (told["status"] == "failed")
        assert "selected_agent" not in told


def test_a_failed_attempt_is_no_failure() -> None:
    """C10: the client stops at the first `failed`."""
    told = wire.status(task("retrying", message="Retrying (2/3) in 60 s: <b>it broke</b>", attempt=2))
    assert told == {"status": "processing", "progress": 40, "message": "Retrying (2/3)..."}


def test_a_failure_says_why_once_for_the_page_and_once_for_its_html() -> None:
    told = wire.status(task("failed", error="no <model>"))
    assert told == {"status": "failed", "progress": 40, "message": "Error: no &lt;model&gt;", "error": "no <model>"}
    assert wire.status(task("cancelled"))["error"] == "The task was cancelled"


ANSWER = {"response": "Yes [1] <b>", "model_used": "small", "selected_agent": "qa", "routing_score": 0.75, "context_used": True,
          "context_sources": 2, "sources": [{"number": 1}, {"number": 2}], "confidence_score": 0.9, "processing_time": 1,
          "conversation_id": "c"}  # fmt: skip


def test_a_result_is_what_the_page_can_print() -> None:
    """C15: a text, an integer, a number with decimals."""
    found = wire.result(task("completed"), ANSWER, name="mine")
    assert (found["response"], found["response_text"]) == ("Yes [1] &lt;b&gt;", "Yes [1] <b>")
    assert type(found["context_sources"]) is int
    assert type(found["processing_time"]) is float
    assert found["conversation_id"] == "mine"
    assert "quality_assessment" not in found, "the documented class throws at one (C13)"
    empty = wire.result(task("completed"), {"sources": [1, 2, 3], "agent": "own agent"})
    assert (empty["response"], empty["context_sources"], empty["selected_agent"]) == ("", 3, "general")
    listed = wire.result(task("completed"), {"context_sources": ["a", "b"], "sources": ["a", "b"]})
    assert listed["context_sources"] == 2


def test_the_choice_of_agent_comes_with_the_end_of_a_poll_only() -> None:
    """C14: each payload that holds it makes a badge."""
    found = wire.result(task("completed"), ANSWER)
    assert wire.polled(task("completed"), found, "c")["selected_agent"] == "qa"
    assert "selected_agent" not in wire.polled(task("running"), None, "c")
    assert "selected_agent" not in wire.status(task("completed"))


def test_quality_is_counted_from_what_the_checker_said() -> None:
    checks = [
        {"verdict": "verified"},
        {"verdict": "verified"},
        {"verdict": "weak"},
        {"verdict": "unsupported"},
        {"verdict": "none"},
    ]
    found = wire.result(task("completed"), ANSWER, checks=checks)["quality_assessment"]
    assert found == {"overall_score": 0.5, "sentences": 5, "checked": 4, "verified": 2, "weak": 1, "unsupported": 1,
                     "sources": 2, "confidence": 0.9}  # fmt: skip
    assert wire.result(task("completed"), ANSWER, checks=[])["quality_assessment"]["overall_score"] is None


def test_an_expansion_is_told_once() -> None:
    """The client shows one for its own message and one for a result that says so."""
    given = {**ANSWER, "expansion_info": {"urls_crawled": ["https://a.example/<x>"], "notes": ["a & b"]}}
    found = wire.result(task("completed"), given)
    assert found["knowledge_expanded"] is True
    assert found["expansion_info"] == {"urls_crawled": ["https://a.example/&lt;x&gt;"], "notes": ["a &amp; b"]}
    expanded, completed = wire.ending(task("completed"), found, "c")
    assert expanded == {"type": "knowledge_expanded", "task_id": "t1", "conversation_id": "c",
                        "expansion_info": found["expansion_info"]}  # fmt: skip
    assert "knowledge_expanded" not in completed["result"]
    nothing = wire.result(task("completed"), {**given, "expansion_info": {"urls_crawled": []}})
    assert [one["type"] for one in wire.ending(task("completed"), nothing, None)] == ["task_completed"]

"""The orchestrator: plain cases go where people expect, every decision explains itself, none needs a model."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import routing as bench
from webapp.agents import routing
from webapp.agents.signs import NAMES, signs
from webapp.runtime import Runtime

PLAIN = [
    ("Research the history of lighthouses and cite your sources", "research"),
    ("Gather recent studies about screen time and children", "research"),
    ("Compare Postgres and MySQL for a small shop", "analysis"),
    ("What are the pros and cons of moving to Lisbon?", "analysis"),
    ("Who invented the telephone?", "qa"),
    ("How many legs does a spider have?", "qa"),
    ("Write a short poem about rain", "general"),
    ("Thanks a lot!", "general"),
]


@pytest.mark.parametrize(("question", "agent"), PLAIN)
def test_plain_questions(rt: Runtime, question: str, agent: str) -> None:
    found = routing.route(rt, question)
    assert found.agent == agent
    assert found.method == "signs+vectors"
    assert routing.route(bench.NoEmbedder(), question).agent == agent  # type: ignore[arg-type]


def test_a_receipt_holds_all_candidates_and_says_why(rt: Runtime) -> None:
    receipt = routing.route(rt, "Compare https://a.example.com and https://b.example.com").receipt()
    assert json.loads(json.dumps(receipt)) == receipt
    assert [one["agent"] for one in receipt["candidates"]][0] == receipt["agent"] == "analysis"
    assert {one["agent"] for one in receipt["candidates"]} == set(routing.AGENTS)
    scores = [one["score"] for one in receipt["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=0.001)
    assert receipt["confidence"] == scores[0]
    assert "asks for a comparison (“Compare”)" in receipt["reason"]
    assert receipt["ms"] > 0


def test_without_an_embedder_the_receipt_says_so() -> None:
    found = routing.route(bench.NoEmbedder(), "When was Rome founded?")  # type: ignore[arg-type]
    assert (found.agent, found.method) == ("qa", "signs")


def test_a_follow_up_is_read_with_the_question_before_it() -> None:
    rt = bench.NoEmbedder()
    asked = "Compare the budgets of 2019 and 2020"
    follow = routing.route(rt, "And for 2021?", context=asked)  # type: ignore[arg-type]
    assert follow.agent == "analysis"
    assert "follows the question before it" in follow.reason
    turns = {"history": [{"role": "user", "content": asked}, {"role": "assistant", "content": "Here it is."}]}
    assert routing.route(rt, "And for 2021?", context=turns).candidates == follow.candidates  # type: ignore[arg-type]
    other = routing.route(rt, "Write a poem about the sea", context=asked)  # type: ignore[arg-type]
    assert other.agent == "general"


def test_a_choice_of_the_person_is_a_receipt_too() -> None:
    found = routing.chosen("tinyllama")
    assert (found.agent, found.confidence, found.method) == ("tinyllama", 1.0, "chosen")
    assert found.receipt()["candidates"] == [{"agent": "tinyllama", "score": 1.0, "reason": "You chose this agent."}]


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_text_is_routed(text: str) -> None:
    found = routing.route(bench.NoEmbedder(), text)  # type: ignore[arg-type]
    assert found.agent in routing.AGENTS
    assert 0.25 <= found.confidence <= 1


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "(" * 50_000,
        "x = " * 20_000,
        "http://" * 10_000,
        "and " * 20_000,
        "a(" * 2000,
        "A" * 4000,
        "a." * 2000,
    ],
)
def test_long_texts_take_no_time(text: str) -> None:
    assert routing.route(bench.NoEmbedder(), text).ms < 500  # type: ignore[arg-type]


def test_signs_name_what_they_saw() -> None:
    found = signs("Compare Rust and Go")
    assert found["compare"].seen == "Compare"
    assert found["two names"].strength == 1
    assert set(found) <= set(NAMES)


def test_the_coefficients_are_those_of_the_signs() -> None:
    for name, model in routing.coefficients().items():
        assert set(model.weights) == set(NAMES), f"run `python -m benchmarks.routing --fit` ({name})"
        assert len(model.bias) == len(routing.AGENTS)


def test_what_is_measured_on_was_not_learned_from() -> None:
    learned, unseen = bench.sets()
    assert len(learned) > 500
    assert len(unseen) > 100
    assert bench.leaks(learned, unseen) == 0
    assert len({question for question, _, _ in learned}) == len(learned)


def test_words_alone_hold_what_the_documents_promise() -> None:
    _, unseen = bench.sets()
    found = [routing.route(bench.NoEmbedder(), question) for question, _, _ in unseen]  # type: ignore[arg-type]
    right = [one.agent == agent for one, (_, agent, _) in zip(found, unseen, strict=True)]
    assert sum(right) / len(right) >= 0.6

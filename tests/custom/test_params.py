"""What a line of text becomes, and what is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.core.errors import BadRequest
from webapp.custom.conditions import NOTHING, holds
from webapp.custom.kind import CUSTOM
from webapp.custom.params import from_text, read


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("step1", {"type": "prompt", "prompt": "step1"}),
        ("Write a poem about bees.", {"type": "prompt", "prompt": "Write a poem about bees."}),
        ("ask: What now?", {"type": "prompt", "prompt": "What now?"}),
        ("search: how bees live", {"type": "search", "query": "how bees live"}),
        ("Search for bees", {"type": "search", "query": "bees"}),
        ("look up bees", {"type": "search", "query": "bees"}),
        ("https://example.org/a?b=c", {"type": "fetch", "url": "https://example.org/a?b=c"}),
        ("fetch: https://example.org/", {"type": "fetch", "url": "https://example.org/"}),
        ("Read https://example.org/", {"type": "fetch", "url": "https://example.org/"}),
        ("fetch {{ config.url }}", {"type": "fetch", "url": "{{ config.url }}"}),
        ("summary", {"type": "task", "kind": "summary", "params": {"content": "{{ previous.text }}"}}),
        ("Summarise the result.", {"type": "task", "kind": "summary", "params": {"content": "{{ previous.text }}"}}),
        ("keywords", {"type": "analysis", "analyses": ["keywords"]}),
        ("analyse it", {"type": "analysis", "analyses": None}),
        ("analyze sentiment", {"type": "analysis", "analyses": ["sentiment"]}),
        ('task nlp: {"content": "x"}', {"type": "task", "kind": "nlp", "params": {"content": "x"}}),
        ('{"type": "search", "query": "x", "k": 3}', {"type": "search", "query": "x", "k": 3}),
        ("if previous.count > 0 then continue", {"type": "condition", "field": "previous.count", "value": 0, "otherwise": "stop"}),
        ("if previous.text contains 'bee' then skip else goto step9",
         {"type": "condition", "value": "bee", "then": "skip", "otherwise": "goto", "goto": "step9"}),
        ("if config.x exists then stop", {"type": "condition", "operator": "exists", "value": None, "then": "stop", "otherwise": "continue"}),
        ("If it rains, stay at home.", {"type": "prompt"}),
    ],
)  # fmt: skip
def test_sentences(text: str, made: dict[str, Any]) -> None:
    step = from_text(text).model_dump()
    assert {name: step[name] for name in made} == made


def test_names_and_forms() -> None:
    params = CUSTOM.check({"steps": "search: bees\n\nkeywords\n", "custom_config": '{"a": 1}'})
    assert params["steps"] == ["search: bees", "keywords"]
    assert params["custom_config"] == {"a": 1}
    assert [step.name for step in read(params["steps"])] == ["step1", "step2"]
    listed = CUSTOM.check({"steps": '["search: bees", {"type": "prompt", "prompt": "x"}]'})
    assert len(listed["steps"]) == 2


PROMPT = {"type": "prompt", "prompt": "x"}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "steps"), (None, "steps"), (3, "steps"), (["x"] * 51, "steps"), ([3], "step 1"), ([{}], "step 1"),
        ([{"type": "dance"}], "step 1"), ([{"type": "search"}], "step 1, query"), ([{"type": "search", "query": "x", "k": 99}], "step 1, k"),
        ([{"type": "fetch", "url": ""}], "step 1, url"), ([PROMPT | {"name": "a b"}], "step 1, name"),
        ([PROMPT | {"name": "a"}, PROMPT | {"name": "a"}], "step 2: the name a"), ([PROMPT | {"colour": 1}], "step 1, colour"),
        (["{{ steps.later.text }}"], "names no earlier step"), ([{"type": "prompt", "prompt": "{{ previous.text }}"}], "no step before"),
        (["{{ ''.__class__ }}"], "is not a path"), (["{{ os.environ }}"], "begins with none of"), (["{{ 7*7 }}"], "is not a path"),
        (["summary"], "no step before"), (["keywords"], "no step before"),
        (["task dance: {}"], "no task kind dance"), (["task custom: {}"], "cannot start further steps"),
        (["task maintenance.retention: {}"], "no task kind"), (["task nlp: {bad}"], "no JSON"), (["{bad"], "no JSON"),
        (["x", "if previous.text exists then goto step1"], "step1 is no later step"),
        (["x", {"type": "condition", "field": "previous.text", "operator": "exists", "then": "goto"}], "name the later step"),
        (["x", {"type": "condition", "field": "previous.text", "operator": "==", "value": None}], "needs one"),
        (["x", {"type": "condition", "field": "previous.text", "operator": "like", "value": 1}], "operator"),
        (["x", {"type": "condition", "field": "__import__('os')", "operator": "==", "value": 1}], "is not a path"),
        ([PROMPT | {"on_error": "shrug"}], "on_error"),
    ],
)  # fmt: skip
def test_bad_steps_are_named(steps: Any, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        CUSTOM.check({"steps": steps})
    assert said in caught.value.message
    assert caught.value.details is not None
    assert caught.value.details[0]["loc"][0] == "steps"


@pytest.mark.parametrize(
    ("left", "operator", "right", "true"),
    [
        (3, ">", 2, True), ("3", ">", "2.5", True), ("10", ">", "9", True), ("b", ">", "a", True), ([1], ">", 0, False), (None, "<", 1, False),
        (True, "==", "true", True), (1, "==", "1.0", True), ("A", "==", "a", False), ("Bees", "contains", "bee", True),
        ([1, 2], "contains", "2", True), ({"a": 1}, "contains", "a", True), (5, "contains", 5, False), ("bees", "starts_with", "BE", True),
        ("bees", "ends_with", "es", True), (NOTHING, "exists", None, False), (NOTHING, "missing", None, True), (NOTHING, "==", 1, False),
        (NOTHING, "!=", 1, True), (NOTHING, "not_contains", 1, True), ("", "empty", None, True), (0, "empty", None, False),
        ([], "not_empty", None, False), (float("nan"), "==", float("nan"), False), ("9" * 400, "<", 1, False),
    ],
)  # fmt: skip
def test_comparisons(left: Any, operator: str, right: Any, true: bool) -> None:
    assert holds(left, operator, right) is true

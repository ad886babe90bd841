"""Schemas that people write: what is taken, what is refused, and that none of them costs much (A36)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from webapp.core.errors import BadRequest
from webapp.task_templates import checking
from webapp.tasks.kinds import kinds


def ok(schema: dict[str, Any], config: Any) -> list[tuple[str, str]]:
    checking.usable(schema)
    return [(".".join(map(str, one["loc"])), one["msg"]) for one in checking.mistakes(schema, config)]


def test_what_a_schema_forbids_is_told_with_its_place() -> None:
    schema = {
        "type": "object",
        "properties": {
            "topic": {"type": "string", "minLength": 3},
            "urls": {"type": "array", "items": {"$ref": "#/$defs/link"}, "maxItems": 2},
            "tone": {"enum": ["plain", "warm"]},
        },
        "required": ["topic", "tone"],
        "additionalProperties": False,
        "$defs": {"link": {"type": "string", "pattern": "^https://"}},
    }
    assert ok(schema, {"topic": "heat", "tone": "plain", "urls": ["https://a.example"]}) == []
    found = dict(ok(schema, {"topic": "x", "urls": ["http://a.example"], "more": 1}))
    assert set(found) == {"topic", "urls.0", "tone", ""}
    assert found["tone"] == "is needed"
    assert "more" in found[""]


@pytest.mark.parametrize("kind", [kind for _, kind in kinds.all() if not kind.hidden], ids=lambda kind: kind.name)
def test_the_schemas_of_our_own_kinds_are_taken(kind: Any) -> None:
    """So that a template may carry its kind's schema and tighten it."""
    checking.usable(kind.schema())


def chain(length: int) -> dict[str, Any]:
    defs: dict[str, Any] = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{length}": {"type": "object"}}}


def multiplied(length: int) -> dict[str, Any]:
    """9^length parts once its references are followed, and a few hundred characters long."""
    defs: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 9} for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{length}": {"type": "object"}}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


NONSENSE: dict[str, tuple[dict[str, Any], str]] = {
    "no such type": ({"type": "objekt"}, "bad_schema"),
    "a word that does not exist": ({"propertys": {}}, "unknown_word"),
    "a list of names as a text": ({"required": "topic"}, "bad_schema"),
    "a negative length": ({"properties": {"a": {"minLength": -1}}}, "bad_schema"),
    "properties as a list": ({"properties": ["a"]}, "not_an_object"),
    "a schema that is a number": ({"properties": {"a": 5}}, "not_an_object"),
    "for a list": ({"type": "array"}, "not_an_object"),
    "another server": ({"$ref": "http://169.254.169.254/latest"}, "bad_reference"),
    "a file": ({"$ref": "file:///etc/passwd"}, "bad_reference"),
    "the whole of itself": ({"$ref": "#"}, "bad_reference"),
    "an identity of its own": ({"$id": "http://evil.example/"}, "unknown_word"),
    "a dynamic reference": ({"$dynamicRef": "#a"}, "unknown_word"),
    "patterns as names": ({"patternProperties": {"(a+)+$": True}}, "unknown_word"),
    "round in circles": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        "circular",
    ),
    "a tree of itself": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}}}},
        "circular",
    ),
    "a long chain": (chain(400), "too_deep"),
    "a bomb": (multiplied(9), "too_large"),
    "deep": (nested(200), "too_deep"),
    "many": ({"properties": {f"p{n}": {"type": "string"} for n in range(4_000)}}, "too_large"),
    "long": ({"description": "x" * 70_000}, "too_large"),
    "a backreference": ({"properties": {"a": {"pattern": r"(a)\1"}}}, "bad_pattern"),
    "no expression": ({"properties": {"a": {"pattern": "("}}}, "bad_pattern"),
    "an expression of a million states": ({"properties": {"a": {"pattern": "((a{1000}){1000}){1000}"}}}, "bad_pattern"),
    "a number as an expression": ({"properties": {"a": {"pattern": 5}}}, "bad_pattern"),
}


@pytest.mark.parametrize(("schema", "why"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_and_bombs_are_refused_at_once(schema: dict[str, Any], why: str) -> None:
    """A33, A36."""
    """A36: a definition inline, refused before anything of it is run."""
    begun = time.monotonic()
    with pytest.raises(BadRequest) as refused:
        checking.usable(schema)
    assert time.monotonic() - begun < 2
    detail = refused.value.details[0]  # type: ignore[index]
    assert (detail["loc"][0], detail["type"]) == ("config_schema", why)


def test_a_deep_schema_that_is_taken_can_be_run() -> None:
    config: Any = {}
    for _ in range(checking.MOST_DEPTH - 1):
        config = {"a": config}
    assert ok(nested(checking.MOST_DEPTH - 1), config) == []


def test_a_pattern_takes_linear_time() -> None:
    """A36: `(a+)+$` needs 2^n steps in the standard library."""
    begun = time.monotonic()
    assert ok({"properties": {"a": {"pattern": "(a+)+$"}}}, {"a": "a" * 50_000 + "!"})
    assert time.monotonic() - begun < 2


def test_a_check_takes_a_counted_number_of_steps() -> None:
    """Each item against a hundred alternatives: a thousand times less text than work."""
    heavy = {"properties": {"a": {"type": "array", "items": {"anyOf": [{"const": n} for n in range(100)]}}}}
    begun = time.monotonic()
    found = ok(heavy, {"a": [99] * 25_000})
    assert time.monotonic() - begun < 10
    assert found == [("", "checking this against the template's schema takes too long")]


def test_many_different_items_are_compared_once_each() -> None:
    schema = {"properties": {"a": {"uniqueItems": True}}}
    begun = time.monotonic()
    assert ok(schema, {"a": [{"n": n} for n in range(20_000)]}) == []
    assert ok(schema, {"a": [{"n": 1}, {"n": 1}]}) == [("a", "has the same item twice")]
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("text", ["{{ ''.__class__ }}", "{0.__class__}", "__import__('os').system('id')", "${7*7}"])
def test_what_looks_like_code_is_text(text: str) -> None:
    """A36."""
    assert ok({"properties": {"a": {"const": text}}, "description": text}, {"a": text}) == []
    assert checking.plain({"a": text}) == {"a": text}


def test_a_configuration_is_bounded_too() -> None:
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep}
    for config in (deep, {"a": "x" * 70_000}):
        with pytest.raises(BadRequest):
            checking.plain(config)
    assert checking.plain({"a": ["b\0", "\ud800"]}) == {"a": ["b\ufffd", "?"]}

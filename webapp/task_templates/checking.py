"""A template's JSON Schema: which ones are accepted, and checking a configuration against one.

A schema is somebody's text that our process runs. So it may use only words that are known and bounded: references stay
inside the schema and lead nowhere in circles, patterns are matched in linear time, and one check takes a counted number
of steps and no more, however cleverly it was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from webapp.core.errors import BadRequest

MOST_BYTES = 64_000  # of a schema or a configuration as JSON
MOST_DEPTH = 24  # of a schema with its references followed; of a configuration
MOST_NODES = 3_000  # of a schema with its references followed
MOST_STEPS = 200_000  # of one check: about half a second
MOST_ERRORS = 20
_CHARACTERS = 2_000  # of a text that count as one more step of a pattern

ANNOTATIONS = frozenset((
    "$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
    "format", "discriminator", "widget", "advanced", "placeholder", "contentMediaType", "contentEncoding",
))  # fmt: skip
RULES = frozenset((
    "type", "enum", "const", "properties", "required", "additionalProperties", "minProperties", "maxProperties",
    "propertyNames", "dependentRequired", "items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains",
    "minContains", "maxContains", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$ref",
))  # fmt: skip
_DEFINITIONS = ("$defs", "definitions")
_ONE = ("additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else")
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
INCOMPLETE = frozenset(("required", "dependentRequired", "minProperties", "minItems", "anyOf", "oneOf", "not", "if"))


class _TooMuch(Exception):
    """A check has used up its steps."""


# -- schemas ---------------------------------------------------------------------------------------------------------


def usable(schema: dict[str, Any]) -> None:
    """Raises BadRequest, naming the place, for a schema that is no JSON Schema, unknown in a word, or too much work."""
    if not schema:
        return
    if len(_dumped(schema)) > MOST_BYTES:
        raise _refused([], f"longer than {MOST_BYTES:,} characters", "too_large")
    _Walk(schema).whole()
    _by_its_own_rules(schema)
    if schema.get("type", "object") != "object":
        raise _refused(["type"], "a configuration is an object, so the schema's type is object", "not_an_object")


class _Walk:
    """Once over a schema with its references followed, counting."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self.open: set[str] = set()
        self.known: dict[str, tuple[int, int]] = {}  # reference -> (nodes, depth)

    def whole(self) -> None:
        nodes, depth = self._node(self.schema, [], 0)
        if nodes > MOST_NODES:
            raise _refused([], f"more than {MOST_NODES:,} parts once its references are followed", "too_large")
        if depth > MOST_DEPTH:
            raise _refused([], f"nested deeper than {MOST_DEPTH}", "too_deep")

    def _node(self, node: Any, path: list[str], level: int) -> tuple[int, int]:
        if level > MOST_DEPTH:
            raise _refused(path, f"nested deeper than {MOST_DEPTH}", "too_deep")
        if isinstance(node, bool):
            return 1, 1
        if not isinstance(node, dict):
            raise _refused(path, "a schema is an object", "not_an_object")
        self._words(node, path)
        nodes, depth = 1, 0
        for below, at in self._below(node, path):
            more, deep = self._node(below, at, level + 1)
            nodes, depth = nodes + more, max(depth, deep)
        if "$ref" in node:
            more, deep = self._followed(node["$ref"], [*path, "$ref"], level)
            nodes, depth = nodes + more, max(depth, deep)
        return nodes, depth + 1

    def _words(self, node: dict[str, Any], path: list[str]) -> None:
        for word in node:
            if word in ANNOTATIONS or word in RULES or word.startswith("x-") or (not path and word in _DEFINITIONS):
                continue
            raise _refused([*path, word], "this word of JSON Schema is not known or not supported here", "unknown_word")
        if "pattern" in node:
            _compiled(node["pattern"], [*path, "pattern"])

    def _below(self, node: dict[str, Any], path: list[str]) -> Iterator[tuple[Any, list[str]]]:
        for word in _ONE:
            if word in node:
                yield node[word], [*path, word]
        for word in _SEVERAL:
            several = node.get(word, [])
            if not isinstance(several, list):
                raise _refused([*path, word], "a list of schemas is needed", "not_a_list")
            yield from ((one, [*path, word, str(n)]) for n, one in enumerate(several))
        named = node.get("properties", {})
        if not isinstance(named, dict):
            raise _refused([*path, "properties"], "an object of schemas is needed", "not_an_object")
        yield from ((one, [*path, "properties", name]) for name, one in named.items())

    def _followed(self, reference: Any, path: list[str], level: int) -> tuple[int, int]:
        if not isinstance(reference, str):
            raise _refused(path, "a reference is a text", "bad_reference")
        if reference in self.open:
            raise _refused(path, "this reference leads back to itself", "circular")
        if reference not in self.known:
            self.open.add(reference)
            self.known[reference] = self._node(self._meant(reference, path), path, level + 1)
            self.open.discard(reference)
        return self.known[reference]

    def _meant(self, reference: str, path: list[str]) -> Any:
        parts = reference.split("/")
        if len(parts) == 3 and parts[0] == "#" and parts[1] in _DEFINITIONS:
            named = self.schema.get(parts[1])
            name = parts[2].replace("~1", "/").replace("~0", "~")
            if isinstance(named, dict) and name in named:
                return named[name]
        raise _refused(path, "only references to this schema's own $defs are followed", "bad_reference")


def _by_its_own_rules(schema: dict[str, Any]) -> None:
    """What JSON Schema says of schemas: `type` is one of seven words, `minimum` is a number, and so on."""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
        path = [str(part) for part in error.absolute_path]
        raise _refused(path, error.message[:200], "bad_schema")


def _compiled(pattern: Any, path: list[str]) -> Any:
    import re2

    if not isinstance(pattern, str) or len(pattern) > 1_000:
        raise _refused(path, "a pattern is a text of at most 1,000 characters", "bad_pattern")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise _refused(path, "this is no regular expression that takes linear time", "bad_pattern") from None


def _refused(path: list[str], message: str, kind: str) -> BadRequest:
    where = ".".join(path)
    details = [{"loc": ["config_schema", *path], "msg": message, "type": kind}]
    return BadRequest(
        f"config_schema{': ' if not where else f'.{where[:200]}: '}{message}", code="invalid_schema", details=details
    )


# -- configurations --------------------------------------------------------------------------------------------------


def plain(config: dict[str, Any], name: str = "default_config") -> dict[str, Any]:
    """The configuration as both databases take it. Raises BadRequest for what is too deep or too large."""
    if len(_dumped(config)) > MOST_BYTES:
        raise _bad_config(name, f"longer than {MOST_BYTES:,} characters", "too_large")
    cleaned: dict[str, Any] = _cleaned(config, name, 0)
    return cleaned


def _cleaned(value: Any, name: str, level: int) -> Any:
    from webapp.core.text import clean

    if level > MOST_DEPTH:
        raise _bad_config(name, f"nested deeper than {MOST_DEPTH}", "too_deep")
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): _cleaned(one, name, level + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one, name, level + 1) for one in value]
    return value


def _bad_config(name: str, message: str, kind: str) -> BadRequest:
    return BadRequest(
        f"{name}: {message}", code="invalid_config", details=[{"loc": [name], "msg": message, "type": kind}]
    )


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        raise BadRequest("this is nested too deep", code="too_deep") from None


def mistakes(schema: dict[str, Any], config: dict[str, Any], *, whole: bool = True) -> list[dict[str, Any]]:
    """What of `config` the schema forbids, as `[{"loc", "msg", "type"}]`; at most MOST_ERRORS.

    whole=False: what is only still missing is no mistake, so that a template may leave things open.
    """
    if not schema:
        return []
    left = _steps.set([MOST_STEPS])
    found: list[dict[str, Any]] = []
    try:
        for error in _validator(schema).iter_errors(config):
            if whole or error.validator not in INCOMPLETE:
                found.extend(_told(error))
            if len(found) >= MOST_ERRORS:
                break
    except _TooMuch:
        return [{"loc": [], "msg": "checking this against the template's schema takes too long", "type": "too_much"}]
    finally:
        _steps.reset(left)
    return found[:MOST_ERRORS]


_steps: ContextVar[list[int]] = ContextVar("steps of a check")


def _told(error: Any) -> Iterator[dict[str, Any]]:
    path = list(error.absolute_path)
    if error.validator == "required":  # the library blames the object; people look for the field
        name = next((one for one in error.validator_value if error.message.startswith(f"{one!r} ")), None)
        yield {"loc": [*path, *([name] if name else [])], "msg": "is needed", "type": "missing"}
        return
    yield {"loc": path, "msg": error.message[:200], "type": str(error.validator)}


def _validator(schema: dict[str, Any]) -> Any:
    from referencing import Registry

    return _validator_class()(schema, registry=Registry())  # an empty registry fetches nothing


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, validators

    known: dict[str, Any] = {**Draft202012Validator.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique}
    counted = {word: _counted(rule) for word, rule in known.items() if word in RULES}
    # From nothing: words that are not supported have no rule to run.
    return validators.create(Draft202012Validator.META_SCHEMA, counted, type_checker=Draft202012Validator.TYPE_CHECKER)


def _counted(rule: Callable[..., Any]) -> Callable[..., Any]:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _spend(1 + (len(value) if isinstance(value, list) else 0))
        return rule(validator, value, instance, schema) or ()

    return run


def _spend(steps: int) -> None:
    left = _steps.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooMuch


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not validator.is_type(instance, "string"):
        return
    _spend(len(instance) // _CHARACTERS)
    if not _compiled_once(pattern).search(instance):
        yield ValidationError(f"does not match {pattern[:100]!r}")


@lru_cache(maxsize=256)
def _compiled_once(pattern: str) -> Any:
    return _compiled(pattern, ["pattern"])


def _unique(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[Any]:
    """By their JSON, which takes one look at each; the library compares each with each."""
    from jsonschema import ValidationError

    if not wanted or not validator.is_type(instance, "array"):
        return
    _spend(len(instance))
    if len({json.dumps(one, sort_keys=True) for one in instance}) != len(instance):
        yield ValidationError("has the same item twice")

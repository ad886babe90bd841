"""The OpenAPI document: valid 3.1.0, every route in it, no name used for two shapes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.conformance.test_matrices import fields
from tests.fakes.site import Site, name_of, routes
from webapp.tasks.kinds import kinds

API = [route for route in routes() if not route.page and route.method != "WS"]


@pytest.fixture(scope="module")
def document(calm: Site) -> dict[str, Any]:
    answer = calm.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    return json.loads(answer.data)  # type: ignore[no-any-return]


def braces(path: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield method.upper(), path, operation


def found_anywhere(value: Any, key: str) -> Iterator[Any]:
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        for inner in value.values():
            yield from found_anywhere(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found_anywhere(inner, key)


def test_it_is_the_version_it_says(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "Brainstem"
    assert document["info"]["version"]
    assert set(document) <= {"openapi", "info", "paths", "components", "tags", "servers", "security", "externalDocs"}


@pytest.mark.parametrize("route", API, ids=name_of)
def test_every_route_is_described(document: dict[str, Any], route: Any) -> None:
    item = document["paths"].get(braces(route.path))
    assert item is not None, "not in the document"
    operation = item.get(route.method.lower())
    assert operation is not None
    assert operation["summary"], "a person reads this"
    assert str(route.status) in operation["responses"]
    assert bool(operation.get("security")) == (route.auth != "public")
    assert ("requestBody" in operation) == (route.body is not None or route.form is not None)
    told = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    assert told == set(re.findall(r"<(?:\w+:)?(\w+)>", route.path))
    asked = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    assert asked == (set(route.query.model_fields) if route.query else set())
    invalid = () if route.dialect in ("eceee", "openai") else ("422",)  # these systems know no 422
    for status in ("400", *invalid, "429", "503"):
        assert status in operation["responses"], status


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/knowledge-base/documents/", "202"), ("/api/v1/utils/ai-tasks/", "404"), ("/api/v1/tasks/schedules", "404")],
)
def test_answers_that_only_some_bodies_get_are_described(document: dict[str, Any], path: str, status: str) -> None:
    """A page to be read; a configuration that names a collection which is not there."""
    assert status in document["paths"][path]["post"]["responses"]


def test_nothing_is_described_that_is_not_there(document: dict[str, Any]) -> None:
    there = {(route.method, braces(route.path)) for route in API}
    assert {(method, path) for method, path, _ in operations(document)} <= there


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in names)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    for reference in found_anywhere(document, "$ref"):
        place: Any = document
        assert reference.startswith("#/"), reference
        for part in reference[2:].split("/"):
            assert part in place, reference
            place = place[part]


def test_every_schema_is_a_json_schema(document: dict[str, Any]) -> None:
    """3.1 speaks JSON Schema 2020-12, so each component must be one."""
    for name, schema in document["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema, name
    for schema in found_anywhere(document["paths"], "schema"):
        Draft202012Validator.check_schema(schema)


def test_a_name_stands_for_one_shape(document: dict[str, Any]) -> None:
    """flask-openapi keeps components by class name: a second class of that name would silently take its place."""
    owners: dict[str, set[str]] = {}

    def look(model: Any) -> None:
        if isinstance(model, type) and hasattr(model, "model_fields"):
            owners.setdefault(model.__name__, set()).add(f"{model.__module__}.{model.__qualname__}")

    for route in API:
        for model in (route.body, route.query, route.form):
            look(model)
    from webapp.web.api import ApiModel

    below = [ApiModel]
    while below:
        model = below.pop()
        below += model.__subclasses__()
        if model.__module__.startswith("webapp."):
            look(model)
    shared = {name: places for name, places in owners.items() if len(places) > 1}
    assert {name for name in shared if name in document["components"]["schemas"]} == set(), shared


def test_it_tells_how_to_show_a_credential(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    used = {name for _, _, op in operations(document) for one in op.get("security", ()) for name in one}
    assert used <= set(schemes)


def test_no_secret_of_a_field_has_a_default(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        for name, field in (schema.get("properties") or {}).items():
            if any(word in name for word in ("password", "secret", "token")) and name != "token_type":
                assert not field.get("default"), name


def test_no_request_names_a_program_to_run() -> None:
    """A37: commands, their arguments, environment and folders are settings of the operator, never fields."""
    asks = {"command", "cmd", "argv", "args", "env", "cwd", "exec", "executable", "shell", "script", "binary", "socket"}
    models = [model for route in API for model in (route.body, route.query, route.form) if model is not None]
    named = {field.rpartition(".")[2] for model in models for field in fields(model)}
    assert not named & asks
    parameters = {
        name for _, kind in kinds.all() for name in kind.params.model_fields if not kind.name.startswith("test.")
    }
    assert not parameters & asks


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_its_pages_ask_nobody_else(calm: Site, path: str) -> None:
    page = calm.client.get(path)
    assert page.status_code == 200
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert address.startswith("/"), address
        assert calm.client.get(address, follow_redirects=True).status_code == 200
    assert "/openapi.json" in page.text


def test_bodies_of_the_task_apis_have_examples_that_fit() -> None:
    """M075: what a reader copies from the document is taken as it stands."""
    bodies = {route.body for route in API if route.path.startswith(("/api/v1/utils/", "/api/v1/agent-service/"))}
    assert len(bodies) > 5
    for body in bodies - {None}:
        examples = body.model_config.get("json_schema_extra", {}).get("examples", [])
        assert examples, body.__name__
        for example in examples:
            body.model_validate(example)

"""Plugins: built-in, installed and of the operator, loaded when asked for, none of them able to break the others."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.core import registry as module
from webapp.core.errors import NotFound
from webapp.core.registry import Registry


class Point:
    """An entry point of an installed package."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value, self.dist = name, value, None


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(builtin: dict[str, str], *installed: Point) -> Registry[Any]:
        monkeypatch.setattr(module, "entry_points", lambda group: list(installed))
        return Registry("tests.things", builtin, "thing")

    return make


def test_names_load_nothing(plugins: Any) -> None:
    found = plugins({"good": "json:dumps", "broken": "no.such.module:x"})
    assert found.names() == ["good", "broken"]


def test_a_thing_is_loaded_once(plugins: Any) -> None:
    import json

    found = plugins({"good": "json:dumps"})
    assert found.get("good") is json.dumps
    assert found.get("good") is found.get("good")


def test_unknown_and_broken_ones_are_not_found(plugins: Any) -> None:
    found = plugins({"broken": "no.such.module:x", "empty": "json:no_such_thing", "good": "json:dumps"})
    with pytest.raises(NotFound, match="no thing called nothing"):
        found.get("nothing")
    for name in ("broken", "empty"):
        with pytest.raises(NotFound, match="does not load"):
            found.get(name)
    assert [name for name, _ in found.all()] == ["good"], "a broken one disables itself only"
    told = {info.name: info.error for info in found.info()}
    assert told["good"] is None
    assert "ModuleNotFoundError" in str(told["broken"])


def test_a_package_adds_and_does_not_replace(plugins: Any) -> None:
    import json

    found = plugins({"good": "json:dumps"}, Point("good", "json:loads"), Point("more", "json:loads"))
    assert found.get("good") is json.dumps
    assert found.get("more") is json.loads
    assert {info.name: info.origin for info in found.info()} == {"good": "built-in", "more": "package"}


def test_the_operator_may_add(plugins: Any) -> None:
    import json

    found = plugins({"good": "json:dumps"})
    assert found.names() == ["good"]
    found.add_setting(("mine=json:loads",))
    assert found.get("mine") is json.loads
    assert {info.name: info.origin for info in found.info()}["mine"] == "setting"

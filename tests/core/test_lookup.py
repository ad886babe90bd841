"""Paths and places: what is found, what is refused, and that nothing of it is ever run (A36)."""

from __future__ import annotations

from typing import Any

import pytest

from webapp.core.lookup import BadPath, Missing, fill, fill_all, look, parse, places

DATA: dict[str, Any] = {
    "a": {"b": [10, {"c": "x"}], "two words": 1},
    "items": [{"n": 1}, {"n": 2}, {"m": 3}],
    "7": "seven",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [("a.b[0]", 10), ("a.b[1].c", "x"), ("a.b[-1].c", "x"), ('a["two words"]', 1), ("a['two words']", 1), ("items[*].n", [1, 2]),
     ("items[0]", {"n": 1}), ("a.b.0", 10), ("7", "seven"), (" a.b[0] ", 10)],
)  # fmt: skip
def test_what_is_there(path: str, value: Any) -> None:
    assert look(DATA, path) == value


@pytest.mark.parametrize("path", ["b", "a.c", "a.b[2]", "a.b[0].c", "items.n", "a[*]", "a.b.c", "a.b[99999]"])
def test_what_is_not(path: str) -> None:
    with pytest.raises(Missing):
        look(DATA, path)


@pytest.mark.parametrize(
    "path",
    ["", " ", ".a", "a . b", "a [0]", "a..b", "a.", "a[", "a[]", "a[x]", "a b", "a+b", "a|length", "f()", "a.b()", "a[0:2]", "''.__class__", "a" * 301,
     ".".join("a" * 21), "a;b", "{{a}}", "a\0b", "a[1e3]", "[?a]", "@", "a[*].b[*].c[*]"],
)  # fmt: skip
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(BadPath):
        look({"a": [{"b": [{"c": [1]}]}]}, path) if path else parse(path)


@pytest.mark.parametrize("name", ["__class__", "__init__", "__globals__", "keys", "items", "_secret"])
def test_attributes_of_python_are_no_names(name: str) -> None:
    with pytest.raises(Missing):
        look({"a": "text", "b": []}, f"a.{name}")
    with pytest.raises(Missing):
        look({"a": {}}, f"a.{name}")


def test_filling() -> None:
    assert fill("n={{ a.b[0] }}, c={{a.b[1].c}}", lambda path: look(DATA, path)) == "n=10, c=x"
    assert fill(" {{ a.b }} ", lambda path: look(DATA, path)) == [10, {"c": "x"}], (
        "one place only gives the value itself"
    )
    assert fill("all: {{ items }}", lambda path: look(DATA, path)) == 'all: [{"n": 1}, {"n": 2}, {"m": 3}]'
    assert fill_all({"x": ["{{ a.b[0] }}", 5, None]}, lambda path: look(DATA, path)) == {"x": [10, 5, None]}
    assert places("{{ a }} and {{b.c}}") == ["a", "b.c"]


def test_filled_in_data_asks_for_nothing() -> None:
    data = {"said": "{{ secret }}", "secret": "s3cret", "mark": "{{"}
    assert fill("it: {{ said }}", lambda path: look(data, path)) == "it: {{ secret }}"
    assert fill("{{ mark }} secret }}", lambda path: look(data, path)) == "{{ secret }}"


@pytest.mark.parametrize(
    "text", ["{{''.__class__}}", "{0.__class__}", "%(x)s", "${x}", "{% for %}", "{{", "}}", "{{}}", "{a}"]
)
def test_other_languages_are_words(text: str) -> None:
    if places(text):
        with pytest.raises((BadPath, Missing)):
            fill(text, lambda path: look(DATA, path))
    else:
        assert fill(text, lambda path: look(DATA, path)) == text


def test_it_ends() -> None:
    many = {"a": [{"b": list(range(1000))} for _ in range(100)]}
    with pytest.raises(Missing):
        look(many, "a[*].b[*]")
    with pytest.raises(Missing):
        fill("{{ x }}" * 100 + ".", lambda path: "y" * 100_000)

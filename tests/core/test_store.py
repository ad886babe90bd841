"""The hot statements take values of every kind as values, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.lab import Lab
from webapp.runtime import Runtime
from webapp.tasks import store
from webapp.tasks.store import Event

ODD = [
    "",
    ":id",
    "%s",
    "%(x)s",
    "{x}",
    "'; DROP TABLE tasks;--",
    "a\0b",
    "\ud800",
    "日本語",
    "\\",
    "::jsonb",
    "100%",
    "?",
]


@pytest.fixture
def lab(both_rt: Runtime) -> Lab:
    return Lab(both_rt)


@pytest.mark.parametrize("text", ODD)
def test_texts(lab: Lab, text: str) -> None:
    alice = make_cast(lab.rt).alice
    given = text.replace("\ud800", "surrogates are refused before")
    task_id = lab.start(alice, title=f"x{text}", value={"deep": [given, {given or "k": given}]})
    run = lab.claim()
    run.progress(10, f"x{text}", data={"text": text, "list": [text]})
    run.log(f"y{text}", "warning", more=text)
    run.save("k", {"text": text})
    row = lab.row(task_id)
    mended = store.clean_text(text)
    assert (row.title, row.message) == (f"x{mended}".strip(), f"x{mended}")
    assert row.checkpoint == {"k": {"text": mended}}
    given = store.clean_text(given)
    assert row.params["value"] == {"deep": [given, {given or "k": given}]}
    events = lab.events(task_id)
    assert (events[2].message, events[2].data) == (f"x{mended}", {"text": mended, "list": [mended]})
    assert (events[3].message, events[3].data) == (f"y{mended}", {"more": mended})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not_become_null(lab: Lab, value: float) -> None:
    alice = make_cast(lab.rt).alice
    task_id = lab.start(alice)
    lab.claim().save("k", [value, {"x": value}, 1.5])
    assert lab.row(task_id).checkpoint == {"k": [None, {"x": None}, 1.5]}


def test_only_the_states_named_are_left(lab: Lab) -> None:
    alice = make_cast(lab.rt).alice
    task_id = lab.start(alice)
    assert store.advance(lab.rt, task_id, {"message": "no"}, Event("info"), statuses=("running",)) is None
    assert len(lab.events(task_id)) == 1, "no event without a change"
    row: Any = store.advance(lab.rt, task_id, {"message": "yes"}, Event("info"), statuses=("queued", "paused"))
    assert (row.seq, row.message, row.status) == (2, "yes", "queued")
    assert lab.events(task_id)[-1].message == "yes", "an event without words repeats the row's"


def test_a_change_without_an_event_takes_no_number(lab: Lab) -> None:
    alice = make_cast(lab.rt).alice
    task_id = lab.start(alice)
    run = lab.claim()
    store.advance(lab.rt, task_id, {"checkpoint": {"a": 1}}, None, fence=run.fence)
    assert lab.row(task_id).seq == 2


def test_a_task_nobody_has(lab: Lab) -> None:
    assert store.advance(lab.rt, "nothing", {"message": "x"}, Event("info")) is None
    assert store.claim(lab.rt, "inference", "w", 5) is None

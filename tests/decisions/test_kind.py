"""The task kind `decision` through the API and a worker; what a model may add and how that is marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.engine import Scripted, install
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.decisions.kind import DECISION

TASKS = "/api/v1/utils/ai-tasks/"
CITY = DECISION.examples[0]


@pytest.fixture
def desk(make_rt: Any) -> Iterator[Site]:
    rt = make_rt(AUTH_REQUIRED="1", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def post(desk: Site, config: dict[str, Any]) -> Any:
    return desk.program(desk.cast.alice).post(TASKS, json={"task_type": "decision", "task_config": config})


def finished(desk: Site, config: dict[str, Any]) -> dict[str, Any]:
    answer = post(desk, config)
    assert answer.status_code == 201, answer.json
    desk.lab.run_all()
    task: dict[str, Any] = desk.program(desk.cast.alice).get(f"{TASKS}{answer.json['id']}/").json
    assert task["status"] == "completed", task["error_message"]
    return task


@pytest.mark.parametrize("example", DECISION.examples)
def test_the_examples_run_and_are_shown(desk: Site, example: dict[str, Any]) -> None:
    task = finished(desk, example)
    page = desk.browser(desk.cast.alice).get(f"/tasks/{task['id']}").text
    assert task["result_data"]["explanation"][0].split(" ")[0] in page
    for fmt in ("md", "csv", "json"):
        assert desk.browser(desk.cast.alice).get(f"/tasks/{task['id']}/download.{fmt}").status_code == 200


def test_a_wrong_field_is_named_inside_of_the_configuration(desk: Site) -> None:
    answer = post(desk, CITY | {"criteria": ["Rent: much"]})
    assert answer.status_code == 400
    assert "criteria" in str(answer.json)


def test_without_a_model_gaps_cannot_be_filled(desk: Site) -> None:
    answer = post(desk, CITY | {"scores": "", "fill_gaps": True})
    assert answer.status_code == 503
    assert "model" in str(answer.json)


def test_a_model_judges_only_what_is_open(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = install(monkeypatch, Scripted("1. 9 - few flights\n2) ? - unknown\n7. 3 - no such line\nrent: 99"))
    result = finished(
        desk, CITY | {"scores": "| | Rent |\n| Lisbon | 4 |\n| Leipzig | 2 |\n| Lyon | 6 |", "fill_gaps": True}
    )["result_data"]
    judged = [cell for cell in result["scores"] if cell["by"] == "scripted"]
    assert {(cell["criterion"], cell["value"], cell["reason"]) for cell in judged} == {("Airport", 9.0, "few flights")}
    assert [cell["value"] for cell in result["scores"] if cell["criterion"] == "Rent"] == [4.0, 2.0, 6.0]
    assert result["judged_by"] == ["scripted"]
    assert len(result["open"]) == 3
    assert len(engine.requests) == 3


def test_measures_are_no_work_for_a_model(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Scripted("1. 9"))
    answer = post(desk, DECISION.examples[1] | {"fill_gaps": True})
    assert answer.status_code == 400
    assert "fill_gaps" in str(answer.json)


def test_markup_in_names_is_shown_as_words(desk: Site) -> None:
    name = "<script>alert(1)</script>"
    task = finished(
        desk, {"question": name, "options": [name, "{{ 7*7 }}"], "criteria": [name], "scores": {name: {name: 3}}}
    )
    page = desk.browser(desk.cast.alice).get(f"/tasks/{task['id']}").text
    assert name not in page
    assert "{{ 7*7 }}" in page

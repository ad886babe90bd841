"""Templates: whose they are, what may stand in them, using them, files of them, those of the program."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.task_templates.conftest import Shelf
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound
from webapp.task_templates import service
from webapp.task_templates.seeds import SEEDS
from webapp.task_templates.service import Given
from webapp.tasks import forms
from webapp.tasks.kinds import kinds

EIGHT = {"summary", "research", "content_generation", "data_analysis", "custom", "decision", "nlp", "api"}
KNOWN = {name for name, _ in kinds.all()}


# -- whose -----------------------------------------------------------------------------------------------------------


def test_a_template_is_its_makers(shelf: Shelf) -> None:
    mine = shelf.make()
    for stranger in (shelf.cast.charlie, shelf.cast.root):
        assert "Mine" not in shelf.names(stranger)
        for verb in ("get", "remove", "copy", "start", "change"):
            with pytest.raises(NotFound):
                shelf.do(verb, mine.id, who=stranger)
    assert shelf.names(whose="mine") == ["Mine"]


def test_those_of_the_program_are_everybodys_and_nobodys(shelf: Shelf, seeded: Callable[[], None]) -> None:
    seeded()
    shipped = shelf.names(whose="shipped")
    assert len(shipped) == len([seed for seed in SEEDS if seed.task_type in KNOWN])
    assert shelf.names(shelf.cast.charlie) == shipped
    with shelf.lab.as_(shelf.cast.alice) as ctx:
        first = service.popular(ctx)[0]
    for who in (shelf.cast.alice, shelf.cast.root):
        for verb in ("change", "remove"):
            with pytest.raises(Forbidden):
                shelf.do(verb, first.id, who=who)
    mine = shelf.do("copy", first.id)
    assert (mine.default_config, mine.is_shipped, mine.usage_count) == (first.default_config, False, 0)
    assert shelf.do("change", mine.id, name="Better").name == "Better"


def test_one_person_keeps_so_many_and_no_more(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_OWN", 2)
    shelf.make()
    shelf.make()
    with pytest.raises(Conflict):
        shelf.make()
    shelf.make(shelf.cast.bob)


# -- what may stand in one -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "where"), [
    ({"task_type": "nothing"}, ["task_type"]),
    ({"task_type": "maintenance.retention"}, ["task_type"]),
    ({"name": "  "}, ["name"]),
    ({"default_config": {"note": "x" * 50}}, ["default_config", "note"]),
    ({"default_config": {"unknown": 1}}, ["default_config", "unknown"]),
    ({"config_schema": {"type": "objekt"}}, ["config_schema", "type"]),
    ({"default_config": {"value": 1}, "config_schema": {"properties": {"value": {"type": "string"}}}},
     ["default_config", "value"]),
])  # fmt: skip
def test_a_mistake_is_told_at_its_field(shelf: Shelf, said: dict[str, Any], where: list[str]) -> None:
    with pytest.raises(BadRequest) as refused:
        shelf.make(**said)
    assert refused.value.details[0]["loc"] == where  # type: ignore[index]
    assert shelf.names(whose="mine") == []


def test_a_template_may_leave_things_open(shelf: Shelf) -> None:
    """A summary needs a text; a template of one does not."""
    row = shelf.make(task_type="summary", default_config={"max_length": 120})
    assert not service.is_whole(row)
    again = shelf.make(config_schema={"type": "object", "required": ["value"]})
    assert not service.is_whole(again)
    assert service.is_whole(shelf.do("change", again.id, default_config={"value": 1}))


def test_changing_checks_the_whole_again(shelf: Shelf) -> None:
    row = shelf.make(default_config={"value": 5})
    with pytest.raises(BadRequest):
        shelf.do("change", row.id, task_type="summary")
    with pytest.raises(BadRequest):
        shelf.do("change", row.id, config_schema={"properties": {"value": {"maximum": 3}}})
    assert shelf.do("get", row.id).task_type == "test.script"


def test_names_and_words_of_templates_are_found(shelf: Shelf) -> None:
    shelf.make(name="100% wool", description="For the shop")
    shelf.make(name="Other", task_type="summary")
    assert shelf.names(whose="mine", search="0%") == ["100% wool"]
    assert shelf.names(whose="mine", search="SHOP") == ["100% wool"]
    assert shelf.names(whose="mine", search="_") == []
    assert shelf.names(whose="mine", task_type="summary") == ["Other"]


# -- using -----------------------------------------------------------------------------------------------------------


def test_a_task_from_a_template(shelf: Shelf) -> None:
    row = shelf.make(default_config={"value": 1, "note": "kept"})
    values = shelf.do("start", row.id, config={"value": 2}, priority="high")
    task = shelf.lab.row(values["id"])
    assert (task.title, task.priority, task.params["value"], task.params["note"]) == ("Mine", "high", 2, "kept")
    assert shelf.do("get", row.id).usage_count == 1
    shelf.lab.run()
    assert shelf.lab.status(task.id) == "completed"


def test_a_use_that_is_refused_is_not_counted(shelf: Shelf) -> None:
    row = shelf.make(config_schema={"properties": {"value": {"type": "integer", "maximum": 10}}, "required": ["value"]})
    for config, where in (({"value": 11}, ["task_config", "value"]), ({}, ["task_config", "value"]),
                          ({"value": 1, "note": "x" * 50}, ["note"])):  # fmt: skip
        with pytest.raises(BadRequest) as refused:
            shelf.do("start", row.id, config=config)
        assert refused.value.details[0]["loc"] == where  # type: ignore[index]
    assert shelf.do("get", row.id).usage_count == 0
    assert shelf.lab.count("tasks") == 0


def test_uses_at_once_are_all_counted(shelf: Shelf) -> None:
    row = shelf.make()

    def use() -> None:
        for _ in range(5):
            shelf.do("start", row.id)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shelf.do("get", row.id).usage_count == 20


def test_the_most_used_come_first_and_those_switched_off_not(shelf: Shelf) -> None:
    rows = {name: shelf.make(name=name) for name in ("a", "b", "c", "d")}
    for name in ("c", "c", "b"):
        shelf.do("start", rows[name].id)
    assert shelf.names(whose="mine") == ["c", "b", "a", "d"]
    shelf.do("change", rows["c"].id, is_active=False)
    with shelf.lab.as_(shelf.cast.alice) as ctx:
        assert [row.name for row in service.popular(ctx, 100) if not row.is_shipped] == ["b", "a", "d"]
    with pytest.raises(Conflict):
        shelf.do("start", rows["c"].id)


def test_examining_says_what_starting_would(shelf: Shelf) -> None:
    row = shelf.make(default_config={"value": 1}, config_schema={"properties": {"value": {"maximum": 3}}})
    assert shelf.do("examine", "test.script", {}, row.id) == ({"script": "ok", "value": 1}, [])
    for kind, config, template, where in (
        ("test.script", {"value": 4}, row.id, ["value"]),
        ("summary", {"content": "x"}, row.id, ["task_type"]),
        ("summary", {}, None, []),
        ("nothing", {}, None, ["task_type"]),
        ("summary", {"urls": ["http://127.0.0.1/"]}, None, ["urls"]),
        ("test.script", {"note": "refuse"}, None, []),
    ):
        normalized, wrong = shelf.do("examine", kind, config, template)
        assert normalized is None
        assert wrong[0]["loc"] == where
    assert shelf.lab.count("tasks") == 0


# -- from a task -----------------------------------------------------------------------------------------------------


def test_a_template_from_a_completed_task(shelf: Shelf) -> None:
    task_id = shelf.lab.start(shelf.cast.alice, value=7, title="Sevens")
    with pytest.raises(Conflict):
        shelf.do("from_task", task_id)
    shelf.lab.run()
    row = shelf.do("from_task", task_id)
    assert (row.name, row.default_config) == ("Sevens", {"script": "ok", "value": 7})
    assert shelf.do("from_task", task_id, "Another").name == "Another"
    with pytest.raises(NotFound):
        shelf.do("from_task", task_id, who=shelf.cast.charlie)


def test_files_of_a_task_do_not_come_along(shelf: Shelf) -> None:
    task_id = shelf.lab.start_kind("summary", {"content": "Words.", "max_length": 50}, shelf.cast.alice)
    shelf.lab.sql("UPDATE tasks SET status = 'completed', params = :p WHERE id = :id", id=task_id,
                  p='{"upload_ids": ["x"], "max_length": 50}')  # fmt: skip
    assert shelf.do("from_task", task_id).default_config == {"max_length": 50}


# -- files -----------------------------------------------------------------------------------------------------------


def test_out_and_in_again(shelf: Shelf) -> None:
    one = shelf.make(name="One", default_config={"value": 1}, config_schema={"required": ["value"]})
    shelf.make(name="Two", description="more", is_active=False)
    document = shelf.do("exported")
    assert [entry["name"] for entry in document["templates"]] == ["One", "Two"]
    assert [entry["name"] for entry in shelf.do("exported", [one.id])["templates"]] == ["One"]
    again = shelf.do("imported", document)
    assert (again["created"], len(again["skipped"])) == ([], 2)
    told = shelf.do("imported", document, who=shelf.cast.bob)
    assert [made["name"] for made in told["created"]] == ["One", "Two"]
    theirs, mine = shelf.do("exported", who=shelf.cast.bob), shelf.do("exported")
    assert theirs["templates"] == mine["templates"]


def test_nobody_exports_what_is_anothers(shelf: Shelf) -> None:
    one = shelf.make()
    assert shelf.do("exported", [one.id], who=shelf.cast.charlie)["templates"] == []


def test_a_bad_entry_stops_no_other(shelf: Shelf) -> None:
    good = {"name": "Good", "task_type": "test.script"}
    bad: list[Any] = [
        5, {}, {"name": 1, "task_type": "test.script"}, {**good, "usage_count": 9}, {**good, "task_type": "nothing"},
        {**good, "default_config": {"unknown": 1}}, {**good, "config_schema": {"$ref": "http://evil.example"}},
    ]  # fmt: skip
    told = shelf.do("imported", {"format": service.FORMAT, "version": 1, "templates": [*bad, good]})
    assert [made["name"] for made in told["created"]] == ["Good"]
    assert len(told["failed"]) == len(bad)
    assert all(one["error"] for one in told["failed"])


@pytest.mark.parametrize("document", [
    None, [], 5, {}, {"templates": []}, {"format": "other", "version": 1, "templates": []},
    {"format": service.FORMAT, "version": 2, "templates": []},
    {"format": service.FORMAT, "version": 1, "templates": {}},
    {"format": service.FORMAT, "version": 1, "templates": [{}] * 201},
])  # fmt: skip
def test_another_file_is_refused(shelf: Shelf, document: Any) -> None:
    with pytest.raises(BadRequest):
        shelf.do("imported", document)


# -- those of the program --------------------------------------------------------------------------------------------


def test_seeding_twice_changes_nothing_and_keeps_the_count(shelf: Shelf, seeded: Callable[[], None]) -> None:
    seeded()
    shelf.lab.sql("UPDATE task_templates SET usage_count = 7, name = 'old words' WHERE key = :k", k=SEEDS[0].key)
    threads = [threading.Thread(target=seeded) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with shelf.lab.as_(shelf.cast.alice) as ctx:
        first = service.popular(ctx)[0]
    assert (first.key, first.name, first.usage_count) == (SEEDS[0].key, SEEDS[0].name, 7)


def test_what_is_no_longer_shipped_goes(shelf: Shelf, seeded: Callable[[], None]) -> None:
    seeded()
    shelf.lab.sql("UPDATE task_templates SET key = 'gone' WHERE key = :k", k=SEEDS[0].key)
    before = len(shelf.names(whose="shipped"))
    seeded()
    assert len(shelf.names(whose="shipped")) == before
    assert shelf.lab.sql("SELECT count(*) FROM task_templates WHERE key = 'gone'").scalar() == 0


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.key)
def test_every_seed_can_be_stored_and_copied(shelf: Shelf, seed: Any) -> None:
    """What it says fits its kind; what it leaves open is asked for."""
    if seed.task_type not in KNOWN:
        pytest.skip(f"there is no {seed.task_type} yet")
    row = shelf.do(
        "create", Given(seed.name, seed.task_type, seed.description, seed.default_config, seed.config_schema)
    )
    assert row.default_config == seed.default_config
    assert not service.is_whole(row), "one click would start something nobody named"


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.key)
def test_every_seed_survives_its_form(seed: Any) -> None:
    """What the form shows of it, sent back as it stands, is the same configuration."""
    kind = kinds.get(seed.task_type)
    fields = forms.fields_of(kind)
    params, wrong = forms.params_of(fields, forms.shown(fields, seed.default_config))
    assert wrong == {}
    params = kind.check(params) if seed.task_type == "custom" else params  # its steps are lines in a form
    assert {name: params.get(name) for name in seed.default_config} == seed.default_config


def test_the_eight_kinds_have_one_each() -> None:
    assert {seed.task_type for seed in SEEDS} == EIGHT
    assert len(SEEDS) >= 12


@pytest.mark.parametrize("kind", ["research", "content_generation"])
def test_looking_at_a_configuration_stores_nothing(shelf: Shelf, kind: str) -> None:
    """Starting such a task makes a person's first collection; asking whether it would start must neither make nor name it."""
    normalized, wrong = shelf.do("examine", kind, {"topic": "Hives"})
    assert wrong == []
    assert normalized is not None
    assert normalized.get("collection_id") is None
    assert shelf.lab.count("collections") == 0
    assert shelf.lab.count("tasks") == 0

"""A form out of a schema: what it asks, what it makes of what was typed, and where a mistake belongs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from webapp.core.errors import BadRequest
from webapp.tasks import forms
from webapp.tasks.kinds import TaskKind, kinds


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid")
    do: Literal["ask"]
    prompt: str = Field(max_length=4000, title="What to ask")


class Look(BaseModel):
    model_config = ConfigDict(extra="forbid")
    do: Literal["look"]
    query: str = Field(min_length=1, max_length=200)
    limit: int = Field(5, ge=1, le=20)


class Option(BaseModel):
    name: str = Field(max_length=100)
    costs: dict[str, float] = Field(default_factory=dict)


class Box(BaseModel):
    width: int | None = Field(None, gt=0)
    unit: Literal["cm", "in"] = "cm"


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")
    topic: str = Field(max_length=200, title="Topic", description="What it is about.")
    title: str | None = Field(None, max_length=50)
    words: int = Field(200, ge=10, le=900)
    share: float | None = Field(None, gt=0, lt=1)
    tone: Literal["plain", "very_warm"] = "plain"
    loud: bool = True
    tests: list[Literal["mean", "median"]] = Field(default_factory=lambda: ["mean"])
    questions: list[str] = Field(default_factory=list, max_length=5)
    numbers: list[float] = Field(default_factory=list)
    urls: list[str] | None = Field(None, max_length=20)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    when: str | None = Field(None, json_schema_extra={"format": "date"})
    upload_ids: list[str] | None = None
    upload_id: str | None = Field(None, json_schema_extra={"accept": ".csv"})
    secret: str | None = Field(None, json_schema_extra={"widget": "hidden"})
    extra: str = Field("", json_schema_extra={"advanced": True, "widget": "textarea"})
    box: Box | None = None
    options: list[Option] = Field(default_factory=list, min_length=0, max_length=4)
    steps: list[Annotated[Ask | Look, Field(discriminator="do")]] = Field(default_factory=list, max_length=20)


KIND = TaskKind("everything", "Everything", "interactive", Everything, lambda run: {}, examples=[{"topic": "bees"}])
FIELDS = forms.fields_of(KIND)
BY_NAME = {one.name: one for one in FIELDS}


def typed(**values: Any) -> dict[str, list[str]]:
    return {name.replace("__", "."): value if isinstance(value, list) else [value] for name, value in values.items()}


def params(given: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    return forms.params_of(FIELDS, forms.without_blank_rows(FIELDS, forms.read(FIELDS, given)))


@pytest.mark.parametrize(("name", "control"), [
    ("topic", "text"), ("words", "number"), ("share", "number"), ("tone", "select"), ("loud", "checkbox"),
    ("tests", "choices"), ("questions", "lines"), ("numbers", "lines"), ("urls", "words"), ("headers", "pairs"),
    ("body", "json"), ("when", "date"), ("upload_ids", "upload"), ("upload_id", "upload"), ("secret", "hidden"),
    ("extra", "textarea"), ("box", "group"), ("options", "rows"), ("steps", "rows"),
])  # fmt: skip
def test_each_type_has_its_control(name: str, control: str) -> None:
    assert BY_NAME[name].control == control


def test_labels_hints_and_bounds_come_from_the_schema() -> None:
    topic, words = BY_NAME["topic"], BY_NAME["words"]
    assert (topic.label, topic.hint, topic.required) == ("Topic", "What it is about.", True)
    assert topic.attrs == {"maxlength": 200, "required": ""}
    assert topic.placeholder == "bees", "the kind's example"
    assert (words.attrs["min"], words.attrs["max"], words.default) == (10, 900, 200)
    assert BY_NAME["upload_ids"].label == "Files"
    assert BY_NAME["tone"].options == (("plain", "Plain"), ("very_warm", "Very warm"))
    assert BY_NAME["upload_id"].single
    assert BY_NAME["upload_id"].accept == ".csv"
    assert BY_NAME["extra"].advanced


def test_a_field_named_like_one_of_every_form_gets_another_name() -> None:
    assert BY_NAME["title"].key == "param.title"
    assert BY_NAME["when"].key == "param.when"
    made, _ = params(typed(topic="x", title="of the task", **{"param.title": "of the thing"}))
    assert made["title"] == "of the thing"


def test_what_was_typed_becomes_parameters() -> None:
    made, wrong = params(typed(
        topic=" bees ", words="300", share="0.5", tone="very_warm", loud=["0", "1"], tests=["median", "mean"],
        questions="Why?\r\n\r\n How? ", numbers="1\n2.5", urls="https://a.example/ https://b.example/",
        headers="Accept: text/html\nX-A: b: c", body='{"a": [1]}', upload_ids=["one", "two"], upload_id="three",
        box__width="3", box__unit="in", options__0__name="First", options__0__costs="money: 3\ntime: 2.5",
        steps__0__do="ask", steps__0__prompt="Why?", steps__1__do="look", steps__1__query="hives", steps__1__limit="7",
    ))  # fmt: skip
    assert wrong == {}
    assert made == {
        "topic": "bees", "words": 300, "share": 0.5, "tone": "very_warm", "loud": True, "tests": ["median", "mean"],
        "questions": ["Why?", "How?"], "numbers": [1, 2.5], "urls": ["https://a.example/", "https://b.example/"],
        "headers": {"Accept": "text/html", "X-A": "b: c"}, "body": {"a": [1]}, "upload_ids": ["one", "two"],
        "upload_id": "three", "box": {"width": 3, "unit": "in"},
        "options": [{"name": "First", "costs": {"money": 3, "time": 2.5}}],
        "steps": [{"do": "ask", "prompt": "Why?"}, {"do": "look", "query": "hives", "limit": 7}],
    }  # fmt: skip
    assert KIND.check(made)["steps"][1] == {"do": "look", "query": "hives", "limit": 7}


def test_what_is_empty_is_left_to_the_model() -> None:
    blank = dict.fromkeys(("words", "share", "questions", "urls", "headers", "body", "upload_ids", "box.width"), [""])
    made, wrong = params({"topic": ["x"], **blank, "options.0.name": [""], "options.3.costs": [" "], "steps.0.do": ["ask"],
                          "steps.0.prompt": [""], "steps.1.do": ["look"], "steps.1.limit": ["5"]})  # fmt: skip
    assert (made, wrong) == ({"topic": "x"}, {})
    assert KIND.check(made)["words"] == 200


def test_a_box_that_is_not_ticked_is_no() -> None:
    assert params(typed(loud="0"))[0] == {"loud": False}
    assert params({})[0] == {}


@pytest.mark.parametrize(("given", "name", "says"), [
    (typed(body='{"a": 1,}'), "body", "line 1, column 9"),
    (typed(body="[NaN]"), "body", "NaN is not JSON"),
    (typed(body="[" * 100_000), "body", "nested too deep"),
    (typed(headers="no colon here"), "headers", "line 1"),
    (typed(options__1__costs="money"), "options.0.costs", "name: value"),
])  # fmt: skip
def test_what_cannot_be_read_is_named(given: dict[str, list[str]], name: str, says: str) -> None:
    _, wrong = params(given)
    assert says in wrong[name][0]


@pytest.mark.parametrize(("bad", "name"), [
    ({"words": 3}, "words"), ({"title": "x" * 51}, "param.title"), ({"questions": ["x"] * 6}, "questions"),
    ({"box": {"width": -1}}, "box.width"), ({"options": [{"name": "a"}, {}]}, "options.1.name"),
    ({"options": [{"name": "a", "costs": {"money": "x"}}]}, "options.0.costs"),
    ({"steps": [{"do": "look", "query": "", "limit": 3}]}, "steps.0.query"),
    ({"steps": [{"do": "fly"}]}, "steps.0"), ({"unknown": 1}, ""),
])  # fmt: skip
def test_a_mistake_belongs_to_a_control(bad: dict[str, Any], name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        KIND.check({"topic": "x", **bad})
    assert caught.value.details is not None
    assert forms.place_of(FIELDS, caught.value.details[0]["loc"]) == name


def test_parameters_come_back_as_they_were_typed() -> None:
    given = KIND.check({
        "topic": "bees", "loud": False, "tests": ["median"], "questions": ["Why?"], "headers": {"a": "b"}, "body": [1],
        "box": {"width": 2}, "options": [{"name": "x", "costs": {"a": 1}}], "urls": ["https://a.example/"],
        "steps": [{"do": "look", "query": "q"}], "upload_ids": ["u"],
    })  # fmt: skip
    made, wrong = forms.params_of(FIELDS, forms.shown(FIELDS, given))
    assert wrong == {}
    assert KIND.check(made) == given


def test_names_that_lines_cannot_hold_come_back_as_json() -> None:
    raw = forms.shown(FIELDS, {"headers": {"a:b": "c"}})
    assert raw["headers"].startswith("{")
    assert forms.params_of(FIELDS, raw)[0]["headers"] == {"a:b": "c"}


def test_rows_are_added_moved_and_taken_away() -> None:
    raw: dict[str, Any] = {"options": [{"name": "a"}, {"name": "b"}]}
    assert forms.act(FIELDS, raw, "add:options")["options"] == [{"name": "a"}, {"name": "b"}, {}]
    assert forms.act(FIELDS, raw, "remove:options.0")["options"] == [{"name": "b"}]
    assert forms.act(FIELDS, raw, "down:options.0")["options"] == [{"name": "b"}, {"name": "a"}]
    assert forms.act(FIELDS, raw, "up:options.0") == raw
    assert forms.act(FIELDS, {}, "add:options")["options"] == [{}, {}], "one was shown already"
    full = {"options": [{}] * 4}
    assert forms.act(FIELDS, full, "add:options") == full, "no more than the kind takes"


@pytest.mark.parametrize("what", ["", "add", "add:", "add:topic", "add:none", "remove:options.x", "remove:options.9",
                                  "up:options.-1", "fly:options.0", "remove:options.99999999999", "add:options.0.name"])  # fmt: skip
def test_a_button_that_is_none_does_nothing(what: str) -> None:
    raw = {"options": [{"name": "a"}]}
    assert forms.act(FIELDS, raw, what) == raw


@pytest.mark.parametrize(
    "name", ["options", "options.", "options.x.name", "options.²", "options.00000.name", "steps.0.do.x"]
)
def test_odd_names_are_no_rows(name: str) -> None:
    assert forms.read(FIELDS, {name: ["x"]}).get("options") in (None, [])


def test_ways_to_give_a_source_share_a_place() -> None:
    panes = {one.name: one.pane for one in forms.fields_of(kinds.get("summary")) if one.pane}
    assert panes == {"content": "text", "urls": "urls", "upload_ids": "file"}
    assert not any(one.pane for one in FIELDS), "only where there is a text among them"


@pytest.mark.parametrize("name", [name for name, kind in kinds.all() if not kind.hidden and kind.offered])
def test_every_kind_on_the_page_takes_its_own_examples_through_its_form(name: str) -> None:
    kind = kinds.get(name)
    fields = forms.fields_of(kind)
    for example in kind.examples:
        kept = kind.check(example)
        made, wrong = forms.params_of(fields, forms.shown(fields, kept))
        assert wrong == {}
        assert kind.check(made) == kept

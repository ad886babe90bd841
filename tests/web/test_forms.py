"""The pages of a new task: choose a kind, fill in the form that its schema makes, say it in one's own words."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from tests.fakes.site import Site
from tests.web.test_pages import Browser, checked
from webapp.tasks import forms
from webapp.tasks.kinds import kinds


@pytest.fixture
def alice(site: Site) -> Any:
    kinds.add_setting(("everything=tests.tasks.test_forms:KIND", "wordcount=tests.web.test_forms:WORDCOUNT"))
    return Browser(site, site.cast.alice)


def _wordcount() -> Any:
    import importlib.util

    from tests.conftest import ROOT

    path = ROOT / "docs" / "examples" / "brainstem_wordcount" / "brainstem_wordcount.py"
    spec = importlib.util.spec_from_file_location("brainstem_wordcount", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["brainstem_wordcount"] = module  # pydantic looks its annotations up there
    spec.loader.exec_module(module)
    return module.KIND


WORDCOUNT = _wordcount()


def task_of(site: Site, answer: Any) -> Any:
    assert answer.status_code == 303, answer.text[:3000]
    return site.lab.row(answer.headers["Location"].rsplit("/", 1)[1])


def test_every_offered_kind_has_a_card_and_a_form(alice: Browser) -> None:
    page = alice.open("/tasks/new")
    cards = {a["href"]: a.text for a in page.select(".kind-card a")}
    offered = [kind for _, kind in kinds.all() if kind.offered and not kind.hidden]
    assert {f"/tasks/new?kind={kind.name}" for kind in offered} == set(cards)
    for kind in offered:
        form = alice.open(f"/tasks/new?kind={kind.name}")
        assert form.h1 is not None
        assert form.h1.text == kind.label
        for one in forms.fields_of(kind):
            names = f'[name="{one.key}"], [name^="{one.key}."], [name="file"]'
            assert one.control == "hidden" or form.select_one(f"#task-form :is({names})"), one.name


def test_a_hidden_kind_has_none(alice: Browser) -> None:
    alice.open("/tasks/new?kind=maintenance.retention", status=400)


def test_a_strangers_kind_runs_from_its_form(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=wordcount")
    assert page.select_one("#f-top")["max"] == "100"  # type: ignore[index]
    assert page.select_one("#f-content").has_attr("required")  # type: ignore[union-attr]
    row = task_of(site, alice.send(page, "#task-form", content="to be or not to be", top="2"))
    assert (row.kind, row.params, row.title) == (
        "wordcount",
        {"content": "to be or not to be", "top": 2},
        "to be or not to be",
    )
    site.lab.run_all("interactive")
    assert site.lab.row(row.id).result["top"][0]["count"] == 2


def test_rows_are_sent_and_mistakes_stand_beside_them(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=everything")
    steps = {"steps.0.do": "ask", "steps.0.prompt": "Why?", "steps.1.do": "look", "steps.1.query": "", "steps.1.limit": "5",
             "steps.2.do": "look", "steps.2.query": "hives", "steps.2.limit": "99"}  # fmt: skip
    wrong = alice.send(page, "#task-form", topic="bees", body="{", **steps)
    assert wrong.status_code == 422
    again = checked(wrong)
    assert "not JSON" in again.select_one("#f-body-error").text  # type: ignore[union-attr]
    assert site.lab.count("tasks") == 0
    wrong = alice.send(page, "#task-form", topic="bees", body="{}", **steps)
    again = checked(wrong)
    assert "less than or equal to 20" in again.select_one("#f-steps-1-limit-error").text  # type: ignore[union-attr]
    assert again.select_one("#f-steps-1-limit")["aria-invalid"] == "true"  # type: ignore[index]
    assert again.select_one("#f-steps-1-query")["value"] == "hives", "the empty row is gone, the rest is kept"  # type: ignore[index]
    row = task_of(site, alice.send(page, "#task-form", topic="bees", **{**steps, "steps.2.limit": "9"}))
    assert row.params["steps"] == [{"do": "ask", "prompt": "Why?"}, {"do": "look", "query": "hives", "limit": 9}]


def test_a_missing_field_is_named_in_words(alice: Browser) -> None:
    answer = alice.send(alice.open("/tasks/new?kind=everything"), "#task-form", topic="")
    assert answer.status_code == 422
    assert "This is needed" in checked(answer).select_one("#f-topic-error").text  # type: ignore[union-attr]


def test_the_buttons_of_the_form_start_nothing_and_lose_nothing(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=everything")
    token = page.select_one("input[name=csrf_token]")["value"]  # type: ignore[index]
    typed = {"csrf_token": token, "kind": "everything", "topic": "bees", "title": "T", "options.0.name": "a", "loud": "0",
             "steps.0.do": "look", "steps.0.query": "hives", "urls": "https://a.example/", "words": "3"}  # fmt: skip
    answer = alice.client.post("/tasks/form", data={**typed, "do": "add:options"})
    drawn = checked(answer)
    assert answer.status_code == 200
    assert drawn.select_one("#f-options-1-name") is not None
    assert drawn.select_one("#f-topic")["value"] == "bees"  # type: ignore[index]
    assert drawn.select_one("#f-steps-0-query")["value"] == "hives"  # type: ignore[index]
    assert not drawn.select_one("#f-loud").has_attr("checked")  # type: ignore[union-attr]
    assert drawn.select(".field-error:not([hidden])") == [], "nobody asked to start it yet"
    other = checked(alice.client.post("/tasks/form", data={**typed, "to": "summary"}))
    assert other.h1 is not None
    assert other.h1.text == "Summary"
    assert other.select_one("#f-urls").text.strip() == "https://a.example/", "fields of one name keep their words"  # type: ignore[union-attr]
    assert other.select_one("#f-title")["value"] == "T"  # type: ignore[index]
    assert site.lab.count("tasks") == 0


def test_files_stay_with_a_form_that_comes_back(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=summary")
    file = (io.BytesIO(b"Bees make honey. They live in hives."), "bees.txt")
    wrong = alice.send(page, "#task-form", source="file", file=file, max_length="3")
    assert wrong.status_code == 422
    again = checked(wrong)
    kept = again.select_one("input[name=upload_ids]")
    assert kept is not None
    assert "bees.txt" in again.select_one(".kept-files").text  # type: ignore[union-attr]
    row = task_of(site, alice.send(again, "#task-form", source="file", upload_ids=kept["value"], max_length="30"))
    assert (row.params["upload_ids"], row.params["max_length"]) == ([kept["value"]], 30)


def test_a_strangers_file_is_none(site: Site, alice: Browser) -> None:
    bob = Browser(site, site.cast.bob)
    given = bob.client.post(
        "/api/v1/files/", data={"file": (io.BytesIO(b"x"), "secret-name.txt")}, headers=site.bearer(site.cast.bob)
    )
    token = alice.open("/tasks/new?kind=summary").select_one("input[name=csrf_token]")["value"]  # type: ignore[index]
    sent = {"csrf_token": token, "kind": "summary", "source": "file", "upload_ids": given.json["id"]}
    answer = alice.client.post("/tasks", data=sent)
    assert answer.status_code == 422
    assert "secret-name" not in answer.text
    assert "no such file" in answer.text


def test_several_sources_go_together_where_that_is_chosen(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=summary")
    given = {"content": "Bees make honey.", "urls": "https://example.org/a"}
    both = task_of(site, alice.send(page, "#task-form", source="several", **given))
    assert {"content", "urls"} <= set(both.params)
    one = task_of(site, alice.send(page, "#task-form", source="urls", **given))
    assert "urls" in one.params
    assert "content" not in one.params


def test_run_again_with_changes(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=everything")
    first = task_of(
        site,
        alice.send(
            page,
            "#task-form",
            topic="bees",
            title="Mine",
            priority="low",
            **{"steps.0.do": "look", "steps.0.query": "q"},
        ),
    )
    shown = alice.open(f"/tasks/{first.id}")
    link = shown.select_one(f'a[href="/tasks/new?from={first.id}"]')
    assert link is not None
    form = alice.open(link["href"])
    assert form.select_one("#f-topic")["value"] == "bees"  # type: ignore[index]
    assert form.select_one("#f-title")["value"] == "Mine"  # type: ignore[index]
    assert form.select_one("#f-steps-0-query")["value"] == "q"  # type: ignore[index]
    assert form.select_one("#f-priority option[selected]")["value"] == "low"  # type: ignore[index]
    Browser(site, site.cast.bob).open(link["href"], status=404)


# -- in one's own words ----------------------------------------------------------------------------------------------


def test_words_fill_the_form(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new")
    answer = alice.send(
        page, "#wish-form", wish="Summarise these two pages in 200 words https://a.example/x https://b.example/y"
    )
    form = checked(answer)
    assert form.select_one("#f-urls").text.split() == ["https://a.example/x", "https://b.example/y"]  # type: ignore[union-attr]
    assert form.select_one("#f-max_length")["value"] == "200"  # type: ignore[index]
    assert form.select_one("#source-urls").has_attr("checked")  # type: ignore[union-attr]
    assert "because of" in form.select_one(".wish-read").text  # type: ignore[union-attr]
    assert site.lab.count("tasks") == 0
    assert (
        task_of(site, alice.send(form, "#task-form", urls="https://a.example/x", max_length="200", source="urls")).kind
        == "summary"
    )


def test_words_that_say_no_kind_are_told_and_kept(alice: Browser) -> None:
    page = alice.open("/tasks/new")
    answer = checked(alice.send(page, "#wish-form", wish="bees https://a.example/x"))
    assert "could not be told" in answer.text
    assert answer.select_one("#wish").text.strip() == "bees https://a.example/x"  # type: ignore[union-attr]
    button = answer.select_one('button[name=kind][value="summary"]')
    assert button is not None
    form = checked(alice.send(answer, "#wish-form", wish="bees https://a.example/x", kind="summary"))
    assert form.select_one("#f-urls").text.strip() == "https://a.example/x"  # type: ignore[union-attr]
    assert re.search(r"Not used\s*bees", form.select_one(".wish-read").text)  # type: ignore[union-attr]


def test_no_words_at_all(alice: Browser) -> None:
    assert alice.send(alice.open("/tasks/new"), "#wish-form", wish=" ").status_code == 422


def test_words_by_api(site: Site) -> None:
    client = site.program(site.cast.alice)
    told = client.post("/api/v1/tasks/wish", json={"text": "summarise https://a.example/ in 200 words"}).json
    assert (told["task_type"], told["task_config"]) == ("summary", {"urls": ["https://a.example/"], "max_length": 200})
    assert client.post("/api/v1/tasks/wish", json={"text": "hello"}).json["task_type"] is None
    assert client.post("/api/v1/tasks/wish", json={}).status_code == 422

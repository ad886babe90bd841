"""`research`: each question answered from the named pages and from nothing else, cited, with what they disagree on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.engine import Scripted, install
from tests.fakes.kinds import Killed
from tests.research.conftest import Den
from webapp.core.errors import BadRequest, NoModel
from webapp.research import files, reporting
from webapp.tasks import service as tasks

WHAT = {
    "topic": "Mason bees",
    "questions": ["How many eggs does a mason bee female lay?", "Who are the enemies of mason bees?"],
}
PAGES = ("/wiki/Mason_bees", "/bees/nesting.html", "/bees/enemies.html")


def urls(den: Den, *paths: str) -> list[str]:
    return [den.site.url(path) for path in paths or PAGES]


def test_each_question_is_answered_from_the_named_pages(den: Den) -> None:
    result = den.result("research", **WHAT, urls=urls(den))
    assert [one["question"] for one in result["questions"]] == WHAT["questions"]
    assert all(not one["declined"] and one["change"] == "given" for one in result["questions"])
    assert "20 eggs" in result["questions"][0]["answer"] or "35 eggs" in result["questions"][0]["answer"]
    assert "wasps" in result["questions"][1]["answer"]
    assert all(one["verdict"] == "verified" for each in result["questions"] for one in each["sentences"])
    assert den.paths() == set(PAGES), "nothing was looked for elsewhere"
    assert {one["url"] for one in result["sources"]} <= set(urls(den))
    assert all(one["citation_id"] for one in result["sources"])
    assert result["only_from_urls"] is True


def test_what_the_pages_disagree_on_is_shown_with_both_places(den: Den) -> None:
    result = den.result("research", **WHAT, urls=urls(den))
    [eggs] = [one for one in result["conflicts"] if "20 eggs" in one["text"] and "35 eggs" in one["text"]]
    assert eggs["why"] == "number"
    assert len(eggs["sources"]) == 2
    assert "## Where the sources differ" in result["response"]


def test_pages_that_were_not_named_answer_nothing(den: Den) -> None:
    den.put(
        "Rust", "Old cars rust when salt is on the road in winter and nobody washes them.", "https://example.org/rust"
    )
    result = den.result(
        "research", topic="Cars", questions=["When do old cars rust?"], urls=urls(den, "/bees/enemies.html")
    )
    assert result["questions"][0]["declined"] is True
    assert result["questions"][0]["change"] == "open"


def test_what_could_not_be_read_is_listed_with_the_reason(den: Den) -> None:
    result = den.result(
        "research", **WHAT, urls=urls(den, "/wiki/Mason_bees", "/bees/gone.html", "/bees/mason-hidden.html")
    )
    unread = {one["url"]: one for one in result["unread"]}
    assert set(unread) == set(urls(den, "/bees/gone.html", "/bees/mason-hidden.html"))
    assert unread[den.site.url("/bees/mason-hidden.html")]["reason"] == "robots"
    assert all(one["detail"] for one in unread.values())
    text = files.markdown("Bees", result)
    assert "## Not read" in text
    assert den.site.url("/bees/gone.html") in text
    assert "## Sources" in text


def test_a_page_whose_text_is_stored_already_answers_by_that_document(den: Den) -> None:
    den.result("research", **WHAT, urls=urls(den, "/bees/nesting.html"))
    den.site.pages["/print/nesting.html"] = den.site.pages["/bees/nesting.html"]
    again = den.result("research", **WHAT, urls=urls(den, "/print/nesting.html"))
    assert [one["url"] for one in again["read"]] == urls(den, "/print/nesting.html")
    assert all(one["title"] for one in again["read"]), "named by their address, called by their title"
    assert again["unread"] == []
    assert not again["questions"][0]["declined"]
    assert {one["url"] for one in again["sources"]} == set(urls(den, "/bees/nesting.html"))
    assert any("stored already" in note for note in again["notes"])


def test_when_nothing_can_be_read_it_fails_with_all_reasons(den: Den) -> None:
    task_id = den.start("research", **WHAT, urls=urls(den, "/bees/gone.html", "/bees/also-gone.html"))
    den.work()
    row = den.lab.row(task_id)
    assert row.status == "failed"
    assert row.error is not None
    assert "gone.html" in row.error
    assert "also-gone.html" in row.error


def test_pages_that_are_stored_already_count(den: Den) -> None:
    den.result("research", **WHAT, urls=urls(den))
    again = den.result("research", **WHAT, urls=urls(den))
    assert {one["new"] for one in again["read"]} == {False}
    assert not any(one["declined"] for one in again["questions"])


def test_without_pages_it_looks_for_sources(den: Den) -> None:
    result = den.result("research", **WHAT)
    assert result["knowledge_expanded"] is True
    assert "only_from_urls" not in result
    assert not all(one["declined"] for one in result["questions"])


def test_without_questions_a_plan_is_made(den: Den) -> None:
    result = den.result("research", topic="Mason bees", urls=urls(den), questions=None)
    assert result["plan"]["by"] == "rules"
    assert len(result["questions"]) == len(result["plan"]["questions"]) >= 3


def test_a_model_writes_and_its_sentences_are_checked(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "A mason bee female lays about 20 eggs in her life [1]. Mason bees come from Mars [1]."
    install(monkeypatch, Scripted(said))
    result = den.result(
        "research", topic="Mason bees", questions=WHAT["questions"][:1], urls=urls(den, "/wiki/Mason_bees")
    )
    first, second = result["questions"][0]["sentences"]
    assert (first["verdict"], second["verdict"]) == ("verified", "unsupported")
    assert second["numbers"] == []


def test_a_killed_run_reads_and_answers_nothing_twice(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    whole = reporting._answer

    def answer(task: Any, question: str, documents: Any) -> Any:
        done.append(question)
        found = whole(task, question, documents)
        if len(done) == 2:
            raise Killed
        return found

    monkeypatch.setattr(reporting, "_answer", answer)
    task_id = den.start("research", **WHAT, urls=urls(den))
    for _ in range(20):
        try:
            den.work()
        except Killed:
            den.lab.take_over()
            continue
        break
    assert den.lab.status(task_id) == "completed"
    assert done == [WHAT["questions"][0], WHAT["questions"][1], WHAT["questions"][1]]
    assert all(count == 1 for path, count in den.site.asked().items() if path in PAGES)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"topic": ""}, "topic"), ({"topic": "?!"}, "topic"), ({"topic": 5}, "topic"), ({"urls": ["not a url"]}, "urls"),
     ({"urls": "https://example.org"}, "urls"), ({"questions": ["x"] * 9}, "questions"), ({"questions": [1]}, "questions"),
     ({"max_sources": 0}, "max_sources"), ({"urls": ["http://169.254.169.254/"]}, "urls"), ({"depth": 3}, "depth")],
)  # fmt: skip
def test_a_wrong_field_is_named(den_of: Any, wrong: dict[str, Any], field: str) -> None:
    den = den_of()
    with pytest.raises(BadRequest) as refused, den.lab.as_(den.cast.alice) as ctx:
        tasks.start(ctx, "research", {"topic": "Bees", **wrong})
    assert refused.value.details[0]["loc"][0] == field


def test_a_model_that_is_not_there_is_refused_at_once(den_of: Any) -> None:
    with pytest.raises(NoModel):
        den_of().start("research", topic="Bees", engine="openai:gone@nowhere")

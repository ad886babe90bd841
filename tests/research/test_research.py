"""`research.run` and `content.analyze`: plans, cited answers, conflicts, both versions; and what a kill costs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kinds import Killed
from tests.fakes.lab import die_at_the_end
from tests.research.conftest import Den
from webapp.core.context import Ctx
from webapp.core.errors import NoModel, NotFound
from webapp.knowledge.service import browse, citations
from webapp.research import planning, reporting
from webapp.research.kind import SAID_ABOVE, _report
from webapp.tasks.sweep import sweep


def quoted_word_by_word(den: Den, result: dict[str, Any]) -> None:
    """Every source is a stored citation of alice's whose words stand where it says; nobody else can open it."""
    assert [one["number"] for one in result["sources"]] == list(range(1, len(result["sources"]) + 1))
    for one in result["sources"]:
        with den.rt.unit(write=False) as db:
            opened = citations.open_(Ctx(den.rt, db, den.cast.alice), one["citation_id"])
            assert opened.citation.quote == one["quote"] == opened.version.text[one["start"] : one["end"]]
            with pytest.raises(NotFound):
                citations.open_(Ctx(den.rt, db, den.cast.charlie), one["citation_id"])


def test_research_reads_new_pages_and_cites_them(den: Den) -> None:
    """M022"""
    result = den.result("research.run", topic="mason bees", max_sources=3, questions=[
        "How many eggs does a mason bee female lay?", "Which enemies do mason bees have?",
        "Who won the chess championship of 1972?"])  # fmt: skip
    assert result["expansion_info"]["pages"] == 3
    eggs, enemies, chess = result["questions"]
    assert (eggs["change"], enemies["change"], chess["change"]) == ("now", "now", "open")
    assert "wasps" in enemies["answer"]
    assert chess["declined"]
    urls = {one["url"] for one in result["sources"]}
    assert urls <= set(result["expansion_info"]["urls_crawled"])
    assert urls
    quoted_word_by_word(den, result)
    assert result["selected_agent"] == "research"
    assert isinstance(result["response"], str)
    assert 0 <= result["confidence_score"] <= 1
    assert result["context_sources"] == len({one["document_id"] for one in result["sources"]})
    said = [event.message or "" for event in den.lab.events(result["task_id"])]
    assert any(text.startswith("Answering ") for text in said)


def test_sources_that_contradict_each_other_are_shown(den: Den) -> None:
    result = den.result("research.run", topic="mason bees",
                        questions=["How many eggs does a mason bee female lay in her life?"])  # fmt: skip
    assert any({"20", "35"} <= set(" ".join(one["quotes"]).replace(".", " ").split()) and one["why"] == "number"
               for one in result["conflicts"])  # fmt: skip
    quoted_word_by_word(den, result)


def test_without_expansion_nothing_is_fetched(den: Den) -> None:
    den.put("Mason bees", "Mason bees are solitary bees that build nests from mud. They fly in spring.")
    result = den.result(
        "research.run", topic="mason bees", expand_knowledge=False, questions=["What do mason bees build?"]
    )
    assert den.site.log == []
    assert result["knowledge_expanded"] is False
    assert result["questions"][0]["change"] == "first"
    assert "mud" in result["questions"][0]["answer"]
    quoted_word_by_word(den, result)


def test_quality_only_when_asked(den: Den) -> None:
    """C13"""
    result = den.result(
        "research.run", topic="mason bees", questions=["Which enemies do mason bees have?"], include_quality=True
    )
    assessed = result["quality_assessment"]
    assert 0 <= assessed["overall_score"] <= 1
    assert {one["url"] for one in assessed["documents"]} >= {den.site.url("/bees/enemies.html")}
    short = next(one for one in assessed["documents"] if one["words"] < 100)
    assert f"only {short['words']} words" in short["notes"]


def test_killed_between_the_steps_it_resumes(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies at the second answer before, and once more at the end: each answer once, each page once."""
    asked: list[str] = []
    original = reporting._answer
    kills = [2, 5]

    def answer(task: Any, question: str, documents: Any) -> Any:
        asked.append(question)
        if len(asked) in kills:
            raise Killed
        return original(task, question, documents)

    monkeypatch.setattr(reporting, "_answer", answer)
    questions = ["How many eggs does a mason bee lay?", "Which enemies do mason bees have?"]
    task_id = den.start("research.run", topic="mason bees", questions=questions)
    for _ in range(2):
        with pytest.raises(Killed):
            den.work()
        den.lab.sql("UPDATE tasks SET lease_until = 1 WHERE status = 'running'")
        sweep(den.rt)
    den.work()
    row = den.lab.row(task_id)
    assert row.status == "completed"
    assert row.result is not None
    assert len(asked) == 4 + len(kills)
    assert {path: count for path, count in den.site.asked().items() if path != "/robots.txt" and count > 1} == {}
    quoted_word_by_word(den, row.result)


def test_compared_twice_it_says_and_keeps_the_same(den: Den, monkeypatch: pytest.MonkeyPatch) -> None:
    """`content.analyze`, whose worker dies twice when all is done: each page once, each citation once, one end."""
    urls = [den.site.url(path) for path in ("/wiki/Mason_bees", "/bees/nesting.html", "/bees/enemies.html")]
    had = die_at_the_end(monkeypatch, "content.analyze", 2)
    task_id = den.start("content.analyze", urls=urls)
    for _ in range(2):
        with pytest.raises(Killed):
            den.work()
        den.lab.take_over()
    den.work()
    row = den.lab.row(task_id)
    assert row.status == "completed", row.error
    assert row.result is not None
    assert {path: count for path, count in den.site.asked().items() if path != "/robots.txt" and count > 1} == {}
    for earlier in had:
        for name in ("response", "agreements", "differences", "claims_by_source", "sources", "read", "expansion_info"):
            assert row.result[name] == earlier[name], name
    quoted_word_by_word(den, row.result)
    kept = den.lab.sql("SELECT count(*) FROM citations WHERE task_id = :id", id=task_id).scalar()
    assert kept == len(row.result["sources"]) > 0
    assert [event.type for event in den.lab.events(task_id)].count("result") == 1


def test_a_model_that_is_not_there_is_refused_at_once(den: Den) -> None:
    with pytest.raises(NoModel):
        den.start("research.run", topic="x", engine="ggml:none.gguf")


def test_the_numbers_of_all_answers_are_one_list(den: Den) -> None:
    result = den.result("research.run", topic="mason bees", questions=["Which enemies do mason bees have?",
                                                                      "What do woodpeckers do to mason bees?"])  # fmt: skip
    known = {one["number"]: one["quote"] for one in result["sources"]}
    for answer in result["questions"]:
        for sentence in answer["sentences"]:
            for number in sentence["numbers"]:
                assert sentence["text"].split()[0] in known[number]


def test_what_answers_several_questions_is_said_once() -> None:
    answers = [
        {"question": "What does it do?", "answer": "It stings. [1]\n\nIt hums. [2]", "declined": False},
        {"question": "What else?", "answer": "It hums. [2]\n\nIt flies. [3]", "declined": False},
        {"question": "What speaks against it?", "answer": "It stings. [1]", "declined": False},
        {"question": "What does it cost?", "answer": "I don't know.", "declined": True},
        {"question": "Who paid?", "answer": "I don't know.", "declined": True},
    ]
    parts = [part.split("\n\n", 1)[1] for part in _report(answers, []).split("## ")[1:]]
    assert [part.strip() for part in parts] == [
        "It stings. [1]\n\nIt hums. [2]", "It flies. [3]", SAID_ABOVE, "I don't know.", "I don't know."]  # fmt: skip


# -- plans -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("topic", "questions"), [
    ("How do bees fly?", ["How do bees fly?"]),
    ("How do heat pumps work and what do they cost?", ["How do heat pumps work?", "What do they cost?"]),
    ("Research who built it and why", ["Who built it?", "Why?"]),
])  # fmt: skip
def test_questions_are_asked_as_they_stand(topic: str, questions: list[str]) -> None:
    assert planning.by_rules(topic)[0] == questions[0]


def test_a_topic_is_asked_about_from_several_sides() -> None:
    made = planning.by_rules("Please research mason bees.")
    assert len(made) == 5
    assert all("mason bees" in one and one.endswith("?") and "research" not in one.lower() for one in made)


# -- analysis --------------------------------------------------------------------------------------------------------


def test_pages_are_compared(den: Den) -> None:
    """M023"""
    urls = [den.site.url("/wiki/Mason_bees"), den.site.url("/bees/nesting.html")]
    result = den.result("content.analyze", urls=urls)
    assert result["analysis_type"] == "comparison"
    assert any("solitary bees" in one["text"] and len(one["sources"]) == 2 for one in result["agreements"])
    assert any(one["why"] == "number" for one in result["differences"])
    assert [one["url"] for one in result["claims_by_source"]] == urls
    assert all(one["claims"] for one in result["claims_by_source"])
    quoted_word_by_word(den, result)
    assert "Where they differ" in result["response"]
    assert result["unread"] == []


def test_a_page_that_cannot_be_read_is_named_and_the_other_is_analysed(den: Den) -> None:
    result = den.result("content.analyze", urls=[den.site.url("/wiki/Mason_bees"), den.site.url("/gone")])
    assert [(one["url"], one["reason"]) for one in result["unread"]] == [(den.site.url("/gone"), "http_404")]
    assert result["notes"]
    assert result["claims_by_source"]


def test_when_no_page_can_be_read_it_fails_with_the_reasons(den: Den) -> None:
    task_id = den.start("content.analyze", urls=[den.site.url("/gone"), den.site.url("/bees/mason-hidden.html")])
    den.work()
    row = den.lab.row(task_id)
    assert row.status == "failed"
    assert "404" in (row.error or "")
    assert "robots" in (row.error or "")


def test_the_owner_of_a_result_alone_reads_its_documents(den: Den) -> None:
    result = den.result("content.analyze", urls=[den.site.url("/wiki/Mason_bees")], analysis_type="claims")
    assert result["agreements"] == result["differences"] == []
    with den.rt.unit(write=False) as db, pytest.raises(NotFound):
        browse.get(Ctx(den.rt, db, den.cast.charlie), result["sources"][0]["document_id"])

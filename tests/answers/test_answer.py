"""Answers over both databases: quoted, written by a scripted model, declined; and their citations."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.answers.conftest import put
from tests.fakes.engine import Scripted, install
from tests.knowledge.conftest import Shelf
from webapp.answers import prompt, service
from webapp.answers.service import Answer
from webapp.core.context import Actor
from webapp.core.errors import BadRequest, Invalid, NoModel, NotFound, TooLarge
from webapp.engines.base import Request
from webapp.knowledge import checking
from webapp.knowledge.models import Citation, DocumentVersion

WHEN = "When did the oil embargo begin?"


def ask(shelf: Shelf, question: str = WHEN, who: Actor | None = None, **more: Any) -> Answer:
    with shelf.as_(who or shelf.cast.alice, write=False) as ctx:
        return service.answer(ctx, question, record=False, **more)


def texts(shelf: Shelf) -> dict[str, str]:
    return {one.id: one.text for one in shelf.rows(DocumentVersion)}


def stands(shelf: Shelf, answer: Answer) -> bool:
    """Every citation exists and quotes exactly."""
    known = texts(shelf)
    return all(known[one.version_id][one.start : one.end] == one.quote for one in answer.sources)


class TestWithoutAModel:
    def test_sentences_are_quoted_with_their_places(self, shelf: Shelf) -> None:
        told: list[str] = []
        steps: list[tuple[int, str]] = []
        answer = ask(shelf, on_text=told.append, on_step=lambda *step: steps.append(step))
        assert not answer.declined
        assert answer.engine == "extractive"
        assert "no language model" in answer.reason
        assert answer.text.startswith("The oil embargo began in October 1973. [1]")
        assert "".join(told) == answer.text
        assert 1 <= len(answer.sentences) <= 3
        assert stands(shelf, answer)
        assert answer.sources[0].quote == "The oil embargo began in October 1973."
        assert {one.verdict for one in answer.sources} == {"verified"}
        assert [percent for percent, _ in steps] == [25, 40, 60, 80]
        assert answer.found == 3
        assert {"search", "choose", "total"} <= set(answer.ms)
        for number, one in enumerate(answer.sentences, 1):
            assert one.numbers == (number,)
            assert answer.text[one.start : one.end].endswith(f"[{number}]")

    def test_a_footnote_of_the_source_is_no_citation(self, shelf: Shelf) -> None:
        answer = ask(shelf, "By how much did the price of oil rise?", max_sentences=1)
        assert answer.text == "The price of oil rose by 300 percent. [1]"
        assert answer.sources[0].quote == "The price of oil rose by 300 percent.[3]"

    def test_at_most_so_many_sentences(self, shelf: Shelf) -> None:
        assert len(ask(shelf, "What happened to oil in 1973?", max_sentences=2).sentences) <= 2

    def test_what_no_source_speaks_of_is_declined(self, shelf: Shelf) -> None:
        answer = ask(shelf, "Which enzymes unwind the double helix of chromosomes?")
        assert answer.declined
        assert answer.sources == ()
        assert answer.confidence < 0.5
        assert "look for new sources" in answer.text
        assert answer.reason

    def test_nothing_to_search(self, shelf: Shelf) -> None:
        answer = ask(shelf, who=shelf.cast.charlie)
        assert answer.declined
        assert answer.found == 0

    def test_only_the_named_collections(self, shelf: Shelf) -> None:
        with pytest.raises(NotFound):
            ask(shelf, who=shelf.cast.charlie, collections=[shelf.collection_id])

    @pytest.mark.parametrize("question", ["", "  \n "])
    def test_an_empty_question(self, shelf: Shelf, question: str) -> None:
        with pytest.raises(BadRequest):
            ask(shelf, question)

    def test_without_sources_and_model_nothing_can_answer(self, shelf: Shelf) -> None:
        with pytest.raises(NoModel) as refused:
            ask(shelf, use_context=False)
        assert refused.value.suggestion

    @pytest.mark.parametrize(
        "name", ["ggml:nothing.gguf", "ggml:../../x.gguf", "openai:x@http://10.0.0.1/", "\0", "x" * 9000]
    )
    def test_a38_a_model_that_is_not_there(self, shelf: Shelf, name: str) -> None:
        with pytest.raises(NoModel):
            ask(shelf, engine=name)

    def test_a_question_that_leans_on_the_one_before(self, shelf: Shelf) -> None:
        history = [{"role": "user", "content": "When did the oil embargo begin?"},
                   {"role": "assistant", "content": "In October 1973. [1]"}]  # fmt: skip
        answer = ask(shelf, "And who led the talks there?", history=history)
        assert "Yamani" in answer.text

    @pytest.mark.parametrize("talk", ["Hello, how are you?", "Thanks!", "ok, great", "Who are you?"])
    def test_small_talk_is_no_follow_up(self, shelf: Shelf, talk: str) -> None:
        history = [{"role": "user", "content": "When did the oil embargo begin?"},
                   {"role": "assistant", "content": "In October 1973. [1]"}]  # fmt: skip
        assert ask(shelf, talk, history=history).declined
        assert not ask(shelf, "And how?", history=history).declined, "so short a question is"

    def test_a_new_question_does_not_drag_the_old_one_along(self, shelf: Shelf) -> None:
        history = [{"role": "user", "content": "When did the oil embargo begin?"}]
        answer = ask(shelf, "What do cats measure the width of gaps with?", history=history)
        assert "whiskers" in answer.sentences[0].text
        named = ask(shelf, "Who swore fealty to King Charles with their men?", history=history)
        assert "Rollo" in named.sentences[0].text
        leaning = ask(shelf, "Who led the talks when it began?", history=history)
        assert "Yamani" in leaning.text


class TestWithAModel:
    def test_each_sentence_is_checked(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        model = install(monkeypatch, Scripted(
            "The oil embargo began in October 1973 [1]. The talks were held on the Moon in 1850 [1]. See also [9]."
        ))  # fmt: skip
        told: list[str] = []
        answer = ask(shelf, on_text=told.append)
        assert answer.engine == model.id
        assert answer.completion is not None
        first, second, *_ = answer.sentences
        assert (first.verdict, first.numbers) == ("verified", (1,))
        assert (second.verdict, second.numbers) == ("unsupported", ())
        assert "Moon in 1850. [?]" in answer.text
        assert "[9]" not in answer.text
        assert [one.number for one in answer.sources] == [1]
        assert answer.sources[0].quote == "The oil embargo began in October 1973."
        assert stands(shelf, answer)
        assert told

    def test_a_sentence_without_a_number_gets_the_one_that_carries_it(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install(monkeypatch, Scripted("Sheikh Yamani led the talks in Vienna."))
        answer = ask(shelf)
        assert answer.text == "Sheikh Yamani led the talks in Vienna. [1]"
        assert answer.sources[0].quote == "Sheikh Yamani led the talks in Vienna."

    @pytest.mark.parametrize(
        ("said", "verdict", "declined"),
        [
            ("October 1973.", "verified", False),
            ("Vienna [1].", "weak", False),
            ("May 1985.", "unsupported", False),
            ("Yes.", "none", False),
            ("I don't know.", "none", True),
            ("The sources do not say when.", "none", True),
            ("Die Antwort weiß ich nicht.", "none", True),
            ("When did it begin?", "none", False),
            ("## The embargo", "none", False),
        ],
    )
    def test_short_answers(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, said: str, verdict: str, declined: bool
    ) -> None:
        install(monkeypatch, Scripted(said))
        monkeypatch.setattr(checking, "_vectors", lambda *_: None)  # an instant embedder knows no nearness
        answer = ask(shelf)
        assert [one.verdict for one in answer.sentences] == [verdict]
        assert answer.declined == declined
        assert bool(answer.sources) == (verdict in ("verified", "weak"))
        assert ("[?]" in answer.text) == (verdict == "unsupported")
        assert (answer.confidence > 0) == bool(answer.sources)

    def test_the_sources_are_framed_as_data(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        model = install(monkeypatch, Scripted("I do not know."))
        answer = ask(shelf)
        assert answer.declined
        assert "never an instruction" in model.requests[0].messages[0]["content"]
        asked = model.requests[0].messages[-1]["content"]
        assert asked.count("<source-") == asked.count("</source-") == 3
        assert asked.endswith(f"Question: {WHEN}")

    def test_declined_without_asking_the_model(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        model = install(monkeypatch, Scripted("Helicases do. [1]"))
        answer = ask(shelf, "Which enzymes unwind the double helix of chromosomes?")
        assert answer.declined
        assert model.requests == []

    def test_the_model_alone(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, Scripted("Hello! How can I help?"))
        answer = ask(shelf, "Hello", use_context=False)
        assert answer.text == "Hello! How can I help?"
        assert not answer.context_used
        assert answer.sources == ()
        assert {one.verdict for one in answer.sentences} == {"none"}

    @pytest.mark.parametrize("context", [300, 512, 2048])
    def test_a_small_window_gets_what_fits(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, context: int) -> None:
        put(shelf, {"long": "Embargo\n" + "The oil embargo was long and it began early. Words follow words. " * 80})
        model = install(monkeypatch, Scripted("It began in 1973 [1].", context))
        history = [{"role": "user", "content": "word " * 300}, {"role": "assistant", "content": "word " * 300}]
        ask(shelf, history=history, max_tokens=100)
        request = model.requests[0]
        used = sum(model.count([message["content"] for message in request.messages])) + request.max_tokens
        assert used <= context
        assert "<source-" in request.messages[-1]["content"]

    def test_a_window_that_takes_no_source_has_sentences_quoted(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = install(monkeypatch, Scripted("Hello.", 60))
        answer = ask(shelf, max_tokens=8)
        assert answer.engine == "extractive"
        assert "scripted cannot read that much" in answer.reason
        assert model.requests == []
        agent = SimpleNamespace(config={"needs_sources": False})
        assert ask(shelf, max_tokens=8, agent=agent).text == "Hello."

    @pytest.mark.parametrize("context", [40, 70, 120, 300])
    def test_alone_in_a_small_window_it_is_told_less(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, context: int
    ) -> None:
        model = install(monkeypatch, Scripted("Hello!", context))
        agent = SimpleNamespace(prompt="Be plain. " * 60, config={"needs_sources": False})
        assert ask(shelf, "Hello there", use_context=False, agent=agent).text == "Hello!"
        request = model.requests[0]
        assert request.messages[-1]["content"] == "Hello there"
        frames = prompt.FRAME * len(request.messages)
        assert sum(model.count([one["content"] for one in request.messages])) + frames + request.max_tokens <= context

    def test_a46_a_question_longer_than_the_window_is_refused(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = install(monkeypatch, Scripted("Fine. [1]"))
        for question in (f"{WHEN} {'word ' * 4000}", f"{WHEN} {'w ' * 1_000_000}"):
            with pytest.raises(TooLarge):
                ask(shelf, question, use_context=False)
        with pytest.raises(TooLarge):
            ask(shelf, f"{WHEN} " + "oil embargo October 1973 " * 1000)
        assert model.requests == []

    def test_a_window_that_was_guessed_too_large_is_tried_smaller_once(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(request: Request) -> str:
            if len(model.requests) <= refusals:
                raise Invalid("too long", code="context_overflow")
            return "The oil embargo began in October 1973 [1]."

        model, refusals = install(monkeypatch, Scripted(refuse, 1200)), 1
        put(shelf, {"long": "Embargo\n" + "The oil embargo was long and it began early. Words follow words. " * 80})
        assert not ask(shelf).declined
        first, second = model.requests
        assert len(second.messages[-1]["content"]) < len(first.messages[-1]["content"])
        model.requests, refusals = [], 2
        with pytest.raises(Invalid):
            ask(shelf)

    def test_stopping_keeps_what_there_is(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
        install(monkeypatch, Scripted("The oil embargo began in October 1973 [1]. " * 20))
        told: list[str] = []
        answer = ask(shelf, on_text=told.append, cancelled=lambda: len(told) > 3)
        assert answer.completion is not None
        assert answer.completion.finish == "cancelled"
        assert answer.text

    def test_an_agent_without_sources_may_answer_from_the_model(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = install(monkeypatch, Scripted("Helicases do. [1]"))
        agent = SimpleNamespace(prompt="You are kind.", model_name="gone:model",
                                config={"needs_sources": False, "temperature": 0.9, "max_tokens": 7})  # fmt: skip
        answer = ask(shelf, "Which enzymes unwind the double helix of chromosomes?", agent=agent)
        assert answer.text == "Helicases do."
        assert not answer.context_used
        assert model.requests[0].temperature == 0.9
        assert model.requests[0].max_tokens == 7
        assert "You are kind." in model.shown


class TestCitations:
    def store(self, shelf: Shelf, answer: Answer, task_id: str | None = "task-1") -> list[Any]:
        with shelf.rt.unit() as db:
            return service.store_citations(db, shelf.cast.alice.id, answer, task_id)

    def test_rows_quote_the_version(self, shelf: Shelf) -> None:
        stored = self.store(shelf, ask(shelf))
        rows = {one.id: one for one in shelf.rows(Citation)}
        assert [one.citation_id for one in stored] == list(rows)
        known = texts(shelf)
        for source in stored:
            row = rows[source.citation_id]
            assert row.quote == source.quote == known[row.version_id][row.start : row.end]
            assert row.owner_id == shelf.cast.alice.id
            assert (row.verdict, row.score, row.method) == ("verified", 1.0, "exact")
        assert stored[0].quote == rows[stored[0].citation_id].claim

    def test_a_second_run_of_the_task_leaves_its_own_only(self, shelf: Shelf) -> None:
        first = self.store(shelf, ask(shelf))
        again = self.store(shelf, ask(shelf))
        assert [one.citation_id for one in first] == [one.citation_id for one in again]
        other = self.store(shelf, ask(shelf, "What do cats do at night?", max_sentences=1))
        assert [row.id for row in shelf.rows(Citation)] == [other[0].citation_id]
        self.store(shelf, ask(shelf), "task-2")
        assert len({row.task_id for row in shelf.rows(Citation)}) == 2

    def test_a_second_run_that_declines_leaves_none(self, shelf: Shelf) -> None:
        found = ask(shelf)
        assert self.store(shelf, found)
        assert self.store(shelf, replace(found, declined=True)) == []
        assert shelf.rows(Citation) == []

    def test_they_outlive_a_new_version(self, shelf: Shelf) -> None:
        stored = self.store(shelf, ask(shelf))
        put(shelf, {"oil": "Oil crisis\nNothing of it is left here."})
        known = texts(shelf)
        for source in stored:
            assert known[source.version_id][source.start : source.end] == source.quote

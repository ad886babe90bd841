"""Which sentences answer a question."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.fakes.embedders import Fake
from webapp.knowledge import sentences
from webapp.knowledge.sentences import asked_for, best


@dataclass(frozen=True)
class Passage:
    text: str
    start: int = 0
    score: float = 1.0


OIL = Passage(
    "# Oil crisis\n\nThe price of oil rose. The embargo began in October 1973. Mr. Yamani led the talks in Vienna. "
    "It rose by 300 percent.",
    start=100,
)
CATS = Passage("Cats sleep most of the day. Cats hunt at night.", score=0.8)


def embed(texts: list[str]):  # type: ignore[no-untyped-def]
    from webapp.embedding.base import unit_length

    return unit_length(Fake(None).embed(texts, cancelled=lambda: False, urgent=True))


@pytest.mark.parametrize("with_vectors", [True, False])
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When did the oil embargo begin?", "The embargo began in October 1973."),
        ("By how much did the price of oil rise?", "It rose by 300 percent."),
        ("Who led the talks?", "Mr. Yamani led the talks in Vienna."),
        ("What do cats hunt at night?", "Cats hunt at night."),
    ],
)
def test_the_best_sentence(question: str, answer: str, with_vectors: bool) -> None:
    found = best(question, [OIL, CATS], embed if with_vectors else None)
    assert len(found) == 3
    if answer == "It rose by 300 percent.":
        assert answer in [one.text for one in found]
    else:
        assert found[0].text == answer


def test_places_count_in_the_version() -> None:
    [one] = best("When did the embargo begin?", [OIL], None, k=1)
    assert OIL.text[one.start - 100 : one.end - 100] == one.text
    assert one.passage == 0
    assert one.fits


def test_headings_and_repetitions_are_left_out() -> None:
    twice = best("oil crisis price", [OIL, OIL], None, k=20)
    assert len(twice) == 4
    assert not any("#" in one.text or one.text == "Oil crisis" for one in twice)


def test_nothing_to_read() -> None:
    assert best("what?", [], embed) == []
    assert best("what?", [Passage("# A\n\nShort.")], embed) == []
    assert best("???", [CATS], None)


def test_only_the_first_passages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "PASSAGES", 1)
    assert {one.passage for one in best("cats", [OIL, CATS], None, k=20)} == {0}


def test_what_a_question_asks_for() -> None:
    assert asked_for("What year was it?") is sentences.TIME
    assert asked_for("How many were there?") is sentences.NUMBER
    assert asked_for("Whose idea was it?") is sentences.NAME
    assert asked_for("Why did it happen?") is None

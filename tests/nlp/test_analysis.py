"""What is found in texts, with its places; formulas against values worked out by hand; time on hostile text."""

from __future__ import annotations

import time

import pytest

from webapp.nlp import readability
from webapp.nlp.analysis import ALL, analyse
from webapp.nlp.entities import entities
from webapp.nlp.keywords import keywords
from webapp.nlp.sentiment import sentiment

TEXT = (
    "Dr. Ada Lovelace met Charles Babbage in London on 5 June 1833. £17,000 had been spent by then. Write to "
    "ada@example.org or see https://example.org/engine. About 45 % of the drawings survive at the Science Museum. "
    "IBAN DE89 3704 0044 0532 0130 00, phone +44 20 7946 0958, 192.168.1.1, 10:30 am, Acme Holdings Ltd."
)


def found(text: str) -> dict[str, list[str]]:
    groups = entities(text)
    for group in groups:
        for one in group["items"]:
            for start, end in one["places"]:
                assert " ".join(text[start:end].split()).casefold() == " ".join(one["text"].split()).casefold()
    return {group["kind"]: [one["text"] for one in group["items"]] for group in groups}


def test_entities_stand_where_they_say() -> None:
    kinds = found(TEXT)
    assert kinds["email"] == ["ada@example.org"]
    assert kinds["url"] == ["https://example.org/engine"]
    assert kinds["iban"] == ["DE89 3704 0044 0532 0130 00"]
    assert kinds["ip_address"] == ["192.168.1.1"]
    assert kinds["date"] == ["5 June 1833"]
    assert kinds["time"] == ["10:30 am"]
    assert kinds["money"] == ["£17,000"]
    assert kinds["percentage"] == ["45 %"]
    assert kinds["phone"] == ["+44 20 7946 0958"]
    assert kinds["organisation"] == ["Acme Holdings Ltd."]
    assert {"Ada Lovelace", "Charles Babbage", "Science Museum"} <= set(kinds["name"])


@pytest.mark.parametrize(
    ("text", "kind"),
    [("DE89 3704 0044 0532 0130 01", "iban"), ("999.1.1.1", "ip_address"), ("45/99/2020", "date"), ("+1 2", "phone"),
     ("user@localhost", "email")],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_out(text: str, kind: str) -> None:
    assert kind not in found(f"see {text} here")


@pytest.mark.parametrize(
    "date", ["2024-05-03", "3. Mai 2024", "03.05.2024", "May 3, 2024", "3rd of May 2024", "3 mai 2024", "May 2024"]
)
def test_dates_of_several_kinds(date: str) -> None:
    assert found(f"It was on {date}.")["date"] == [date]


def test_keywords_prefer_phrases_and_leave_out_grammar() -> None:
    text = "The solar panel is on the roof. A solar panel makes power. Each solar panel is cheap. The roof is red. " * 5
    terms = [one["term"] for one in keywords(text, "en", 5)]
    assert terms[0].casefold() == "solar panel"
    assert not {"the", "is", "on", "each"} & {term.casefold() for term in terms}
    assert keywords("der die das und oder", "de", 5) == []


def test_addresses_are_no_keywords() -> None:
    terms = [
        one["term"] for one in keywords("See https://example.org/a and mail ada@example.org about looms.", "en", 9)
    ]
    assert terms == ["looms"] or set(terms) <= {"looms", "mail"}


def test_formulas_by_hand() -> None:
    """30 words in 3 sentences, one syllable each: 206.835 - 10.15 - 84.6; LIX is the words a sentence alone."""
    sentences = ["The cat sat on the mat and the dog ran.", "The sun was hot and the sky was so blue.",
                 "We had a cup of tea and ate the cake."]  # fmt: skip
    assert sum(len(one.split()) for one in sentences) == 30
    made = readability.readability(" ".join(sentences), sentences, "en")
    scores = {one["key"]: one["value"] for one in made["scores"]}
    assert made["counts"]["syllables_per_word"] == 1.0
    assert scores["flesch"] == 112.1
    assert scores["lix"] == 10.0
    assert scores["flesch_kincaid"] == 0.1
    assert "smog" not in scores


@pytest.mark.parametrize(("word", "count"), [("cat", 1), ("table", 2), ("made", 1), ("walked", 1), ("wanted", 2), ("radio", 3),
                                              ("nation", 2), ("the", 1), ("beautiful", 3)])  # fmt: skip
def test_english_syllables(word: str, count: int) -> None:
    assert readability.english(word) == count


def test_formulas_say_when_they_do_not_fit() -> None:
    assert readability.readability("Short.", ["Short."], "en")["scores"] == []
    german = ["Die Katze saß auf der Matte und der Hund lief schnell davon."] * 4
    keys = {one["key"] for one in readability.readability(" ".join(german), german, "de")["scores"]}
    assert keys == {"amstad", "lix"}


def test_tone_of_sentences() -> None:
    said = [(0, 1, "I love this wonderful library!"), (1, 2, "The soup was horrible."), (2, 3, "It is on the table.")]
    made = sentiment(said, "en")
    assert (made["positive"], made["neutral"], made["negative"]) == (1, 1, 1)
    assert made["most_positive"][0]["text"] == said[0][2]
    assert "VADER" in made["method"]
    assert sentiment(said, "de")["available"] is False


def test_only_what_was_asked_for() -> None:
    assert set(analyse(TEXT, ["keywords"], "en", 3)) == {"keywords"}
    assert set(analyse(TEXT, list(ALL), None, 3)) == set(ALL)
    assert analyse(TEXT, ["language"], None, 3)["language"]["code"] == "en"
    for odd in ("", " ", "\0", "🦋🦋", "x" * 50, "中文句子。还有一个。"):
        analyse(odd, list(ALL), None, 3)


@pytest.mark.parametrize("piece", ["A ", "a@", "1,", "Aa ", "+1 ", "http://", "A.A", "€1.1", "(((", "#a@b "])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.monotonic()
    analyse(text, ["keywords", "entities", "statistics"], "en", 10)
    assert time.monotonic() - began < 20

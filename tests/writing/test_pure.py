"""Counting, keywords and outlines: nothing here needs a model or a database."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.writing import counting, planning
from webapp.writing.digest import SILENT, points
from webapp.writing.drafting import Section, _body, said_already, shorten
from webapp.writing.params import USUAL, ContentParams


@pytest.mark.parametrize(
    ("text", "words"),
    [("", 0), ("One two three.", 3), ("One two [1][2]. Three [?]", 3), ("## A heading\n\n- one\n- two *three*", 5),
     ("[a link](https://example.org/x) here", 3), ("1. first\n2. second", 2), ("**Bold** and `code`", 3), ("灯台の光", 4)],
)  # fmt: skip
def test_words_are_those_a_reader_reads(text: str, words: int) -> None:
    assert counting.words(text) == words


@pytest.mark.parametrize(
    ("count", "wanted", "within"), [(90, 100, True), (110, 100, True), (89, 100, False), (111, 100, False)]
)
def test_within_ten_percent(count: int, wanted: int, within: bool) -> None:
    assert counting.is_within(count, wanted) is within


@pytest.mark.parametrize(
    ("keyword", "text", "times"),
    [("AI", "AI said an ai. Maids and AIs", 3), ("machine learning", "Machine\nlearning, machine learning’s end", 2),
     ("heat pump", "heat pumps, heatpump", 1), ("C++", "C++ and c++", 2), ("灯台", "この灯台は", 1), ("car", "cars scar carpet", 1),
     ("a.b", "axb a.b", 1)],
)  # fmt: skip
def test_a_keyword_is_counted_as_a_whole_word(keyword: str, text: str, times: int) -> None:
    assert counting.uses(keyword, text) == times


def test_coverage_names_the_sections() -> None:
    [one, two] = counting.coverage(["bees", "wasps"], ["Bees [1] fly.", "No insect.", "bees, bees"])
    assert one == {"keyword": "bees", "count": 3, "sections": [1, 3]}
    assert two == {"keyword": "wasps", "count": 0, "sections": []}
    assert counting.missing(["bees", "wasps"], ["Bees"]) == ["wasps"]


# -- outlines ----------------------------------------------------------------------------------------------------------

ASKED = ContentParams(topic="Mason bees", length=800).model_dump()


@pytest.mark.parametrize(
    "text",
    ["Title: Bees\n1. Nests | How they build.\n2. Food | What they eat.\n3. Enemies | Who eats them.\n4. Help | What to do.",
     "**Title:** “Bees”\n\n- **Nests** | How they build.\n- **Food** | What they eat.\n- Enemies | Who eats them.\n- Help | x",
     "# Title: Bees\nHere is the outline:\n## Nests | a\n## Food | b\n## Enemies | c\n## Help | d",
     "Title: Bees\nNests\nFood\nEnemies\nHelp"],
)  # fmt: skip
def test_an_outline_in_the_shapes_models_write(text: str) -> None:
    found = planning.parsed(text, ASKED, 4)
    assert found is not None
    assert found["title"] == "Bees"
    assert [one["heading"] for one in found["sections"]] == ["Nests", "Food", "Enemies", "Help"]


@pytest.mark.parametrize("text", ["", "I cannot do that.", "Title: Bees", "x" * 5000, "\n\n|||\n"])
def test_what_is_no_outline(text: str) -> None:
    assert planning.parsed(text, ASKED, 4) is None


@pytest.mark.parametrize("content_type", sorted(USUAL))
@pytest.mark.parametrize("sections", [None, 1, 2, 9])
def test_what_is_usual_always_has_the_sections(content_type: str, sections: int | None) -> None:
    params = ContentParams(topic="heat pumps", content_type=content_type).model_dump()
    made = planning.by_rules(params, sections)
    assert made["title"] == "Heat pumps"
    assert len(made["sections"]) == (sections or len(USUAL[content_type].parts))
    assert all(one["question"] for one in made["sections"])
    assert not any("{" in one["heading"] + one["brief"] for one in made["sections"])


@pytest.mark.parametrize(
    ("content_type", "length", "words", "sections"),
    [("article", 1000, 800, 6), ("article", 150, 800, 1), ("email", 150, 800, 1), ("report", 10_000, 800, 17),
     ("report", 10_000, 100, 130), ("social_post", 60, 30, 3), ("blog_post", 216, 800, 2)],
)  # fmt: skip
def test_sections_are_as_many_as_the_window_needs(content_type: str, length: int, words: int, sections: int) -> None:
    assert planning.count({"content_type": content_type, "length": length}, words) == sections


# -- texts -------------------------------------------------------------------------------------------------------------


def test_a_section_brings_no_heading_of_its_own() -> None:
    assert _body("## Nests\n\nThey build.", "Nests") == "They build."
    assert _body("**2. Nests:**\nThey build.\n## More\nx", "Nests") == "They build.\n### More\nx"
    assert _body("Nests are built.", "Nests") == "Nests are built."


def test_a_continuation_that_only_repeats() -> None:
    assert said_already("Bees fly. Bees sting.", "Bees sting [1]. Bees fly.")
    assert not said_already("Bees fly. Bees sleep.", "Bees sting [1]. Bees fly.")
    assert said_already("", "Bees fly.")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(40, 400))
def test_shortening_ends_and_never_goes_below_the_limits(seed: int, length: int) -> None:
    rng = random.Random(seed)
    rows = []
    for number in range(rng.randint(1, 5)):
        text = " ".join(" ".join(["word"] * rng.randint(2, 30)) + ". [1]" for _ in range(rng.randint(1, 12)))
        rows.append(Section(f"Part {number}", "", length // 3, [], text))
    before = sum(one.words for one in rows)
    shorten(rows, length)
    after = sum(one.words for one in rows)
    assert after <= before
    if before > 1.1 * length:
        assert after >= 0.9 * length
    assert all(one.text for one in rows)


def test_a_digest_quotes_each_sentence_once_and_no_row_of_a_table() -> None:
    def said(text: str, number: int) -> dict[str, object]:
        return {"text": text, "numbers": [number], "verdict": "verified", "start": 0, "end": 0}

    one = {"declined": False, "sources": [{"number": 1}, {"number": 2}],
           "sentences": [said("Bees make honey from nectar.", 1), said("Length · Fee a day · Winter fee", 2)]}  # fmt: skip
    rows = [{"heading": name, "brief": "", "question": "?"} for name in ("One", "Two", "Three")]
    first, second, third = points(rows, [one, one, {"declined": True, "sentences": [], "sources": []}])
    assert first["text"] == "Bees make honey from nectar. [1]"
    assert first["text"][first["sentences"][0]["start"] : first["sentences"][0]["end"]] == first["text"]
    assert first["sources"] == [{"number": 1}]
    assert (second["text"], "no more" in second["silent"]) == ("", True)
    assert (third["text"], third["silent"]) == ("", SILENT)

"""LexRank: central sentences, exact places, exact length."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.core import errors
from webapp.summaries.lexrank import MOST, Source, Summary, count_words, quality, summarise, terms

RIVER = """# The river

Accept all cookies to read our newsletter.

The river Mur rises in the Alps of Austria and flows to the east. Many small rivers of the Alps join the river Mur.
The river floods its banks in spring, when the snow of the Alps melts. My uncle owns a red bicycle with three gears.
Engineers of Austria built dams on the river to tame the floods. The dams on the river give power to many towns.
Cats sleep for most of the day. Fish of the river Mur suffer because the dams block their way through the river.

© 2024 All rights reserved. Log in | Sign up
"""


def check(summary: Summary, sources: list[Source], max_words: int) -> None:
    texts = {source.id: source.text for source in sources}
    for one in summary.sentences:
        cut = one.text.endswith("…") and texts[one.source_id][one.start : one.end] != one.text
        assert texts[one.source_id][one.start : one.end] == (one.text[:-1] if cut else one.text)
        assert 0 <= one.score <= 1
    assert summary.words == sum(count_words(one.text) for one in summary.sentences) <= max_words
    assert len(" ".join(one.text for one in summary.sentences).split()) <= max_words
    order = [[source.id for source in sources].index(one.source_id) for one in summary.sentences]
    assert order == sorted(order)
    for one, following in zip(summary.sentences, summary.sentences[1:], strict=False):
        assert one.source_id != following.source_id or one.end <= following.start


def test_the_centre_is_kept_and_the_rest_is_not() -> None:
    source = Source("a", RIVER)
    summary = summarise([source], max_words=40)
    check(summary, [source], 40)
    said = " ".join(one.text for one in summary.sentences)
    assert "river" in said
    assert not any(noise in said for noise in ("bicycle", "Cats", "cookies", "rights reserved", "Log in"))
    assert summary.method == "lexrank-tfidf"
    assert summary.sentence_count >= 9
    assert summary.compression == pytest.approx(summary.words / count_words(RIVER))


def test_a_text_is_at_least_halved_unless_short() -> None:
    assert summarise([Source("a", RIVER)], max_words=500).compression <= 0.51
    short = "One short sentence stands here. Another one follows it."
    assert len(summarise([Source("a", short)]).sentences) == 2


def test_the_same_said_twice_is_kept_once() -> None:
    fact = "The bridge over the river was opened by the queen in May. "
    other = "Trains cross the bridge over the river every ten minutes since then. "
    text = fact * 6 + other + "Fish swim under the old stone arches of the harbour wall. " * 2
    said = [one.text for one in summarise([Source("a", text)], max_words=40).sentences]
    assert said.count(fact.strip()) <= 1
    assert len(said) == len(set(said))


def test_every_source_speaks() -> None:
    sources = [Source(str(n), f"Place {n} is known for its number {n} tower. " + RIVER * (n == 0)) for n in range(8)]
    summary = summarise(sources, max_words=80)
    check(summary, sources, 80)
    assert {one.source_id for one in summary.sentences} == {str(n) for n in range(8)}


def test_as_many_sources_as_fit() -> None:
    sources = [Source(str(n), f"Place {n} is known for its number {n} tower.") for n in range(8)]
    summary = summarise(sources, max_words=30)
    check(summary, sources, 30)
    assert len({one.source_id for one in summary.sentences}) == 3


@pytest.mark.parametrize("max_words", [1, 3, 7])
def test_a_single_longer_sentence_is_cut(max_words: int) -> None:
    source = Source("a", "This only sentence has quite a few more words than the limit would allow here.")
    summary = summarise([source], max_words=max_words)
    check(summary, [source], max_words)
    assert summary.words == max_words
    assert summary.sentences[0].text.endswith("…")


@pytest.mark.parametrize("max_words", [1, 2, 5])
def test_scripts_without_blanks_are_cut_between_characters(max_words: int) -> None:
    source = Source("a", "我非常喜欢在春天的早晨沿着河边散步")
    summary = summarise([source], max_words=max_words)
    check(summary, [source], max_words)
    assert len(summary.sentences[0].text) == max_words + 1


def test_only_boilerplate_is_still_summarised() -> None:
    source = Source("a", "Log in\nSign up\n\n12 34 56 78\n\nCookies")
    check(summarise([source], max_words=3), [source], 3)


@pytest.mark.parametrize("text", ["", " \n", "...", "\u200b", "--- *** ---"])
def test_no_text(text: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        summarise([Source("a", text)])
    assert caught.value.code == "no_text"
    with pytest.raises(errors.Invalid):
        summarise([])


def test_no_words() -> None:
    with pytest.raises(errors.Invalid):
        summarise([Source("a", RIVER)], max_words=0)


def test_progress_and_cancelling() -> None:
    seen: list[int] = []
    summarise([Source("a", RIVER)], progress=lambda percent, text: seen.append(percent))
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert seen[-1] == 100
    for allowed in range(6):
        asked = iter([False] * allowed)
        with pytest.raises(errors.TaskCancelled):
            summarise([Source("a", RIVER)], cancelled=lambda left=asked: next(left, True))  # type: ignore[misc]


def test_the_same_answer_every_time() -> None:
    assert summarise([Source("a", RIVER)]) == summarise([Source("a", RIVER)])


def test_quality_and_terms() -> None:
    good = quality("The river floods its banks in spring, when the snow melts.", 11)
    for bad in (
        "We use cookies to improve this site.",
        "Home",
        "12.5 | 13.7 | 99 | 14",
        "Products About Contact Imprint",
    ):
        assert quality(bad, count_words(bad)) < good
    assert terms("The Cats of 2024, und die Katzen") == ["cats", "2024", "katzen"]
    assert terms("我喜欢猫") == ["我喜", "喜欢", "欢猫"]


def prose(sentences: int) -> str:
    draw = random.Random(7)
    words = [f"w{number}" for number in range(20_000)]
    weights = [1 / (number + 1) for number in range(len(words))]
    return " ".join(f"Then {' '.join(draw.choices(words, weights, k=18))}." for _ in range(sentences))


def test_five_thousand_sentences_in_seconds() -> None:
    started = time.process_time()
    summary = summarise([Source("a", prose(5000))], max_words=500)
    assert time.process_time() - started < 10
    assert summary.sentence_count == 5000
    assert not summary.notes


def test_beyond_the_limit_a_choice_is_made_and_said() -> None:
    sources = [
        Source("a", "A few words stand here. " * (MOST + 2000)),
        Source("b", "A small source says a thing."),
    ]
    summary = summarise(sources, max_words=50)
    check(summary, sources, 50)
    assert "chosen by position" in summary.notes[0]
    assert {one.source_id for one in summary.sentences} == {"a", "b"}


PIECES = st.sampled_from(
    [
        "The river rises. ",
        "Fish swim in the river! ",
        "word ",
        "我喜欢猫。",
        "\n\n",
        "# Title\n",
        "- item\n",
        "Dr. No ",
        "… ",
        "| a |\n",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=30).map("".join)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(1, 60))
def test_places_and_length_hold_for_any_text(texts: list[str], max_words: int) -> None:
    sources = [Source(str(number), text) for number, text in enumerate(texts)]
    try:
        summary = summarise(sources, max_words=max_words)
    except errors.Invalid as error:
        assert error.code == "no_text"  # noqa: PT017 - some texts have no words
        return
    check(summary, sources, max_words)
    assert summary.sentences

"""Words and meaning into one order; what an embedder reads; snippets."""

from __future__ import annotations

import random

import pytest

from webapp.knowledge.ranking import Ranked, embedding_input, fuse, spread
from webapp.knowledge.snippets import WORD, marks, snippet, stem, stems


def test_both_sides_beat_one() -> None:
    found = fuse([(1, 10.0), (2, 9.0)], [(2, 0.8), (3, 0.7), (4, 0.2)])
    assert [one.id for one in found] == [2, 1, 3, 4]
    assert found[0] == Ranked(2, 9.0, 0.8, pytest.approx(0.65 * 0.9 + 0.35))  # type: ignore[arg-type]
    assert found[1].vector is None
    assert found[2].keyword is None


def test_one_side_alone_keeps_its_order_and_its_scale() -> None:
    assert [(one.id, one.fused) for one in fuse([(1, 4.0), (2, 1.0)], [])] == [(1, 1.0), (2, 0.25)]
    assert [(one.id, one.fused) for one in fuse([], [(5, 0.9), (6, 0.1)])] == [(5, 1.0), (6, 0.0)]
    assert fuse([], []) == []


def test_ties_and_single_candidates_are_stable() -> None:
    assert [one.id for one in fuse([(2, 1.0), (1, 1.0)], [])] == [1, 2]
    assert fuse([], [(9, -0.3)])[0].fused == 1.0


def ranked(*scores: float) -> list[Ranked]:
    return [Ranked(number, None, None, score) for number, score in enumerate(scores)]


def test_documents_take_turns_and_the_rest_fills_up() -> None:
    of = {0: "a", 1: "a", 2: "a", 3: "b", 4: "c"}
    many = ranked(0.9, 0.8, 0.7, 0.6, 0.5)
    assert [one.id for one in spread(many, of, 3, 1)] == [0, 3, 4]
    assert [one.id for one in spread(many, of, 4, 1)] == [0, 1, 3, 4]
    assert [one.id for one in spread(many, of, 3, 2)] == [0, 1, 3]
    assert [one.id for one in spread(many, of, 3, 0)] == [0, 1, 2]
    assert [one.id for one in spread(many, {4: "c"}, 3, 1)] == [4]


def test_the_title_is_read_once() -> None:
    assert embedding_input("Oil", "It rose.") == "Oil\nIt rose."
    assert embedding_input("Oil crisis", "# Oil crisis\n\nIt rose.") == "# Oil crisis\n\nIt rose."
    assert embedding_input("", "It rose.") == "It rose."


@pytest.mark.parametrize(
    ("one", "other"), [("prices", "price"), ("hunting", "hunts"), ("studies", "study"), ("Cats", "cat")]
)
def test_forms_of_a_word_share_a_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_marks_are_exact_and_stop_words_stay_plain() -> None:
    text = "The prices of oil, and the price."
    assert [text[a:b] for a, b in marks(text, stems("what is the price of oil?"))] == ["prices", "oil", "price"]


def test_marks_stand_where_a_look_at_each_word_finds_them() -> None:
    parts = [
        "price",
        "Prices",
        "unpriced",
        "_price",
        "oil_price",
        "PRICING",
        "Ölpreis",
        "öl",
        "İzmir",
        "ΟΔΟΣ",
        "x",
        "-",
        ". ",
    ]
    dice = random.Random(7)
    wanted = stems("the price of öl, oil_price, x, ΟΔΟΣ and İzmir")
    for _ in range(300):
        text = "".join(dice.choice(parts) + dice.choice(["", " ", "\n", "'"]) for _ in range(30))
        each = [found.span() for found in WORD.finditer(text) if stem(found[0]) in wanted]
        assert marks(text, wanted) == each, text


def test_a_snippet_shows_the_densest_stretch() -> None:
    text = "Nothing here. " * 40 + "The oil embargo of 1973 began in October. " + "And on it went. " * 40
    found = snippet(text, "oil embargo 1973")
    assert "oil embargo of 1973" in found.text
    assert found.cut
    assert len(found.text) < 330
    assert [found.text[a:b] for a, b in found.marks] == ["oil", "embargo", "1973"]
    assert "".join(part for part, _ in found.parts()) == found.text
    assert [part for part, marked in found.parts() if marked] == ["oil", "embargo", "1973"]


def test_a_snippet_of_something_without_the_words_is_its_beginning() -> None:
    found = snippet("Cats sleep.\n\nMostly.", "embargo")
    assert (found.text, found.marks, found.cut) == ("Cats sleep. Mostly.", [], False)
    assert snippet("x" * 5000, "x").text

"""Sentences and their places."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.core.sentences import LONGEST, split

NAUGHTY = (
    Path(os.environ.get("BRAINSTEM_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    / "data/strings/naughty.jsonl.gz"
)


def parts(text: str) -> list[str]:
    return [text[one.start : one.end] for one in split(text)]


@pytest.mark.parametrize(
    "text",
    [
        "One sentence.|Another one!|A third?",
        "Dr. Smith paid $3.50 to J. R. Brown at 5 p.m. on Monday.|He left.",
        "She works at Acme Inc. in Ohio.|The firm is small.",
        "He joined Acme Inc.|The firm grew.",
        "See Fig. 3 and Sec. 4.2 for details, e.g. the U.S. data.|It is clear.",
        "He said “Stop!” and left.|“Why?” she asked.|(It was late.)|Then silence.",
        "This was shown before.[12][3]|Others disagree.[citation needed]|So what.",
        "Well... maybe.|It ended...|Nobody knew.",
        "Version 2.0.1 is out.|Visit example.com today.|Mail a.b@example.org now.",
        "Am 3. Oktober kam Hr. Müller, z.B. mit dem Zug.|Es regnete.",
        "M. Dupont est arrivé.|Mme. Curie aussi.",
        "我喜欢猫。|你呢？|他说“好。”|然后走了！",
        "Ist das so?|Ja!|¿Qué pasa?|¡Nada!",
        "Answer no.|It is art.|See No. 5 and Art. 7, etc.|End.",
        "He lived in the U.S.|The weather was fine.",
        "no capital here. and none there",
    ],
)
def test_borders(text: str) -> None:
    assert parts(text.replace("|", " ") if "。" not in text else text.replace("|", "")) == text.split("|")


def test_blocks_end_sentences() -> None:
    text = "# The title\n\nFirst line\ncontinues here. Then more\n\n- one item\n- two items\n  go on\n1. three\n\n| a | b |\n"
    assert [(text[one.start : one.end], one.kind) for one in split(text)] == [
        ("The title", "heading"),
        ("First line\ncontinues here.", "prose"),
        ("Then more", "prose"),
        ("one item", "item"),
        ("two items\n  go on", "item"),
        ("three", "item"),
        ("| a | b |", "row"),
    ]


def test_a_heading_without_marks_as_pdf_has_them() -> None:
    text = "1 Introduction\nLanguage models are now a common building block of many\nsystems. They help.\n"
    assert parts(text) == [
        "1 Introduction",
        "Language models are now a common building block of many\nsystems.",
        "They help.",
    ]


def test_windows_line_ends() -> None:
    assert parts("One line\r\ngoes on.\r\n\r\nNew one.\r\n") == ["One line\r\ngoes on.", "New one."]


def test_what_never_ends_is_cut_between_words() -> None:
    found = parts("word " * 5000)
    assert all(len(one) <= LONGEST for one in found)
    assert " ".join(found).split() == ["word"] * 5000


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            [
                "Dr. ",
                "e.g. ",
                ". ",
                "! ",
                '?" ',
                "。",
                "\n",
                "\n\n",
                "# ",
                "- ",
                "1. ",
                "| ",
                "... ",
                "U.S. ",
                "A ",
                "word ",
                "\r\n",
            ]
        ),
    ),
    max_size=40,
).map("".join)


def check_spans(text: str) -> None:
    last, said = 0, ""
    for one in split(text):
        sentence = text[one.start : one.end]
        assert last <= one.start < one.end <= len(text)
        assert sentence == sentence.strip()
        assert len(sentence) <= LONGEST
        last = one.end
        said += sentence
    marks = set("0123456789abcdefghijklmnopqrstuvwxyz")  # "1." and "a)" are marks of items
    letters = [one for one in text if one.isalnum() and one not in marks]
    assert [one for one in said if one.isalnum() and one not in marks] == letters


@settings(max_examples=300, deadline=None, database=None)
@given(TEXTS)
def test_spans_are_exact_ordered_and_lose_nothing(text: str) -> None:
    check_spans(text)


@pytest.mark.skipif(not NAUGHTY.exists(), reason="no evaluation data beside the repository (BRAINSTEM_SHARED)")
def test_naughty_strings() -> None:
    with gzip.open(NAUGHTY, "rt", encoding="utf8") as lines:
        for line in lines:
            check_spans(json.loads(line)["text"])


@pytest.mark.parametrize(
    "text",
    [
        *(
            "." * 1_000_000,
            '."' * 500_000,
            "\n" * 1_000_000,
            " " * 1_000_000,
            "#" * 1_000_000,
            "- " * 500_000,
        ),
        *(
            "a" * 1_000_000,
            "? " * 300_000,
            "A. " * 300_000,
            "a.b" * 300_000,
            "\t" * 1_000_000 + "x",
            "1. " * 300_000,
        ),
    ],
)
def test_linear_time(text: str) -> None:
    started = time.process_time()
    split(text)
    assert time.process_time() - started < 5

"""Somebody's own words, read by rules: what is taken, what is told, and what is left alone."""

from __future__ import annotations

import pytest

from webapp.tasks import wishes

TEXT = "Bees make honey in the summer and eat it in the winter. They keep each other warm."


def test_links_and_a_length() -> None:
    wish = wishes.read("summarise these three pages in 200 words https://a.example/x, https://b.example/y.")
    assert wish.kind is not None
    assert (wish.kind.name, wish.because) == ("summary", "summarise")
    assert wish.raw == {"urls": "https://a.example/x\nhttps://b.example/y", "max_length": "200"}
    assert "three" in wish.notes[0]
    assert "2 links were" in wish.notes[0], "what was counted is told"
    assert wish.unread == ""


@pytest.mark.parametrize(("text", "words"), [
    ("Summarize https://a.example in about 150 words", "150"), ("a 300-word summary of https://a.example please", "300"),
    ("tl;dr https://a.example, at most two hundred words", "200"), ("sum up https://a.example in 1,000 words", "1000"),
    ("summarise https://a.example", None), ("summarise https://a.example in 5 words", None),
    ("summarise https://a.example in few words", None),
])  # fmt: skip
def test_lengths(text: str, words: str | None) -> None:
    wish = wishes.read(text)
    assert wish.kind is not None
    assert wish.kind.name == "summary"
    assert wish.raw.get("max_length") == words
    assert wish.raw["urls"] == "https://a.example"


def test_a_length_that_the_kind_does_not_take_is_told() -> None:
    assert wishes.read("summarise https://a.example in 5 words").notes == [
        "5 words is no length that this kind of task takes."
    ]


@pytest.mark.parametrize("text", [f"Summarise this in 50 words:\n\n{TEXT}", f"Summarise this in 50 words: {TEXT}"])
def test_the_text_below_the_order_is_what_it_is_about(text: str) -> None:
    wish = wishes.read(text)
    assert wish.raw == {"max_length": "50", "content": TEXT}


@pytest.mark.parametrize("text", ["", "hello", "bees and honey", "What is the weather like?", "https://a.example/summary",
                                  "the summer of 1969", "\0", "?" * 5000])  # fmt: skip
def test_what_cannot_be_told_is_not_guessed(text: str) -> None:
    wish = wishes.read(text)
    assert (wish.kind, wish.raw, wish.read) == (None, {}, [])


def test_what_nothing_was_made_of_is_told() -> None:
    assert (
        wishes.read("Summarise https://a.example in 100 words by tomorrow, with a picture").unread
        == "by tomorrow, with a picture"
    )


def test_a_kind_chosen_by_hand_takes_what_can_be_read() -> None:
    wish = wishes.for_kind("bees https://a.example in 100 words", "summary")
    assert wish.raw == {"urls": "https://a.example", "max_length": "100"}
    assert wish.unread == "bees"


def test_nothing_takes_long() -> None:
    import time

    for text in ("summarise " + "in about " * 20_000, "summarise " + "a, " * 40_000, "write " * 20_000, "https://" * 20_000,
                 "summarise " + "x" * 100_000 + "?", "summarise: " + "keywords " * 10_000):  # fmt: skip
        began = time.perf_counter()
        wishes.read(text)
        assert time.perf_counter() - began < 2.0, text[:30]


@pytest.mark.parametrize(("text", "kind", "raw"), [
    ("Research heat pumps in old houses: how loud are they? What do they cost? https://a.example/x", "research",
     {"urls": "https://a.example/x", "questions": "how loud are they?\nWhat do they cost?", "topic": "heat pumps in old houses"}),
    ("Investigate these questions:\nWho built it?\nWhen?\nhttps://a.example", "research",
     {"urls": "https://a.example", "questions": "Who built it?\nWhen?"}),
    ("Write a blog post about beekeeping in a friendly tone, about 800 words, keywords: honey, hives and winter",
     "content_generation", {"length": "800", "tone": "friendly", "keywords": "honey\nhives\nwinter", "content_type": "blog_post",
                            "topic": "beekeeping"}),
    ("Which is better, tea or coffee?", "decision", {"question": "Which is better, tea or coffee?", "options": "tea\ncoffee"}),
    ("Help me decide between Lisbon, Leipzig and Lyon for the new office", "decision",
     {"question": "Help me decide between Lisbon, Leipzig and Lyon for the new office", "options": "Lisbon\nLeipzig\nLyon"}),
    ("analyze the csv at https://a.example/data.csv", "data_analysis", {"url": "https://a.example/data.csv"}),
    ("What is the sentiment of this text:\n\nI love the new library.", "nlp", {"content": "I love the new library."}),
    ("GET https://api.example/v1/things", "api", {"url": "https://api.example/v1/things", "method": "GET"}),
])  # fmt: skip
def test_each_kind_takes_what_it_has_a_place_for(text: str, kind: str, raw: dict[str, str]) -> None:
    wish = wishes.read(text)
    assert wish.kind is not None
    assert (wish.kind.name, wish.raw) == (kind, raw)

"""Passages: exact spans, never over the window, whole blocks where they fit, headings kept."""

from __future__ import annotations

import gzip
import json
import random
import time
from pathlib import Path

import pytest

from webapp.knowledge import chunking
from webapp.knowledge.chunking import Piece, chunk, words

SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank. "


def texts(markdown: str, pieces: list[Piece]) -> list[str]:
    return [markdown[piece.start : piece.end] for piece in pieces]


def test_a_short_text_is_one_passage() -> None:
    assert chunk("Two words", words) == [Piece(0, 9, 2, "")]


@pytest.mark.parametrize("nothing", ["", " \n\n ", "---\n\n***\n", "```\n```"])
def test_a_text_without_words_has_none(nothing: str) -> None:
    assert chunk(nothing, words) == []


def test_sections_begin_passages_and_their_path_is_kept() -> None:
    body = SENTENCE * 8
    markdown = (
        f"# Guide\n\n{body}\n\n## Set *up*\n\n{body}\n\n### [Linux](http://x.test/)\n\n{body}\n\n## Use\n\n{body}\n"
    )
    pieces = chunk(markdown, words)
    assert [piece.heading for piece in pieces] == [
        "Guide",
        "Guide > Set *up*",
        "Guide > Set *up* > Linux",
        "Guide > Use",
    ]
    assert [text.splitlines()[0] for text in texts(markdown, pieces)] == [
        "# Guide",
        "## Set *up*",
        "### [Linux](http://x.test/)",
        "## Use",
    ]


def test_an_underlined_heading_is_one_too() -> None:
    body = SENTENCE * 8
    pieces = chunk(f"Title\n=====\n\n{body}\n\nPart\n----\n{body}", words)
    assert [piece.heading for piece in pieces] == ["Title", "Title > Part"]


def test_small_sections_share_a_passage() -> None:
    markdown = "".join(f"## Word {n}\n\nIts meaning.\n\n" for n in range(5))
    pieces = chunk(markdown, words)
    assert len(pieces) == 1
    assert pieces[0].heading == "Word 0"


def test_a_long_text_is_cut_at_sentences_into_even_parts() -> None:
    markdown = SENTENCE * 40
    pieces = chunk(markdown, words, max_tokens=102)
    sizes = [piece.tokens for piece in pieces]
    assert max(sizes) <= 100
    assert min(sizes) > 60
    assert all(text.endswith("bank.") for text in texts(markdown, pieces))
    assert sum(sizes) == len(words(markdown))


def test_tables_and_code_stay_whole_where_they_fit() -> None:
    table = "| a | b |\n| --- | --- |\n" + "".join(f"| row{n} | {n} |\n" for n in range(12))
    code = "```python\ndef f():\n    return 1\n\n\nclass A:\n    pass\n```\n"
    markdown = f"{SENTENCE * 6}\n\n{table}\n{SENTENCE * 6}\n\n{code}\n{SENTENCE * 6}\n"
    found = texts(markdown, chunk(markdown, words, max_tokens=130))
    assert sum(table.strip() in text for text in found) == 1
    assert sum(code.strip() in text for text in found) == 1


def test_a_table_too_long_is_cut_between_rows() -> None:
    markdown = "| a | b |\n| --- | --- |\n" + "".join(f"| row{n} | {n} |\n" for n in range(200))
    found = texts(markdown, chunk(markdown, words))
    assert len(found) > 1
    assert all(text.startswith("|") and text.endswith("|") for text in found)


def test_a_heading_inside_code_is_none() -> None:
    markdown = f"# Real\n\n```sh\n# comment\n{'echo hello world ' * 30}\n```\n\n{SENTENCE * 8}"
    assert {piece.heading for piece in chunk(markdown, words)} == {"Real"}


def test_a_heading_is_never_alone_at_the_end() -> None:
    for length in range(1, 40):
        markdown = f"{SENTENCE * 3}\n\n## Part\n\n{SENTENCE * length}"
        found = texts(markdown, chunk(markdown, words, max_tokens=64))
        assert not any(text.endswith("## Part") for text in found), length


NASTY = {
    "one word": "a" * 300_000,
    "no stop": "word " * 60_000,
    "wide": "漢字" * 50_000,
    "open fence": "```\n" + "x = 1\n" * 20_000,
    "headings": "# a\n" * 30_000,
    "rows": "|" * 100_000,
    "blanks": " " * 200_000 + "end",
    "marks": "#" * 50_000 + " - " * 20_000,
    "brackets": "# " + "[" * 100_000,
    "carriage": "one\r\n\r\ntwo\r\n" * 5_000,
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_texts_take_linear_time_and_keep_the_window(name: str) -> None:
    markdown = NASTY[name]
    began = time.process_time()
    pieces = chunk(markdown, words)
    assert time.process_time() - began < 10
    _check(markdown, pieces, 254)


def test_random_texts_keep_every_word_in_order_and_in_the_window() -> None:
    dice = random.Random(4)
    parts = [
        "# H\n",
        "## Sub\n",
        "\n",
        "| a | b |\n",
        "- item one\n",
        "```\n",
        SENTENCE,
        "word ",
        "\r\n",
        "x" * 50,
        "é。",
        "=\n",
    ]
    for _ in range(150):
        markdown = "".join(dice.choice(parts) for _ in range(dice.randrange(200)))
        pieces = chunk(markdown, words, max_tokens=40)
        _check(markdown, pieces, 38)
        told = sum(character.isalnum() for character in markdown)
        assert sum(c.isalnum() for text in texts(markdown, pieces) for c in text) == told


def _check(markdown: str, pieces: list[Piece], budget: int) -> None:
    last = 0
    for piece in pieces:
        text = markdown[piece.start : piece.end]
        assert piece.start >= last
        assert text
        assert text == text.strip()
        assert piece.tokens <= budget
        assert len(piece.heading) <= 500
        last = piece.end


def test_paragraphs_of_an_encyclopedia_fit_one_passage_mostly(shared: Path) -> None:
    with gzip.open(shared / "data/squad/passages.jsonl.gz", "rt", encoding="utf8") as lines:
        passages = [json.loads(line)["text"] for line in lines][:300]
    counts = [len(chunk(text, words)) for text in passages]
    assert min(counts) == 1
    assert sum(count == 1 for count in counts) > 0.9 * len(counts)


def test_fixed_windows_cover_the_text_with_their_overlap() -> None:
    pieces = chunking.fixed("abcdefghij", 4, 1)
    assert texts("abcdefghij", pieces) == ["abcd", "defg", "ghij"]
    assert texts("one two three four five", chunking.fixed("one two three four five", 2, 1, words)) == [
        "one two",
        "two three",
        "three four",
        "four five",
    ]
    assert chunking.fixed("", 4) == []


def test_sentence_chunks_hold_whole_sentences() -> None:
    text = "One is here. Two is here. Three is here. Four is here."
    assert texts(text, chunking.by_sentences(text, 30)) == ["One is here. Two is here.", "Three is here. Four is here."]
    assert texts(text, chunking.by_sentences(text, 30, 15)) == [
        "One is here. Two is here.",
        "Two is here. Three is here.",
        "Three is here. Four is here.",
    ]


def test_semantic_chunks_end_where_the_subject_changes() -> None:
    text = "Cats purr. Cats sleep. Cats eat. Rates rose. Rates fell. Banks paid."
    spans = [(0, 10), (11, 22), (23, 32), (33, 44), (45, 56), (57, 68)]
    pieces = chunking.semantic(text, spans, [0.9, 0.8, 0.1, 0.85, 0.7], 1000)
    assert texts(text, pieces) == ["Cats purr. Cats sleep. Cats eat.", "Rates rose. Rates fell. Banks paid."]
    assert len(chunking.semantic(text, spans, [0.9] * 5, 25)) == 3

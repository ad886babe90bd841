"""Markdown as words: what a person reads in a snippet, and marks that stand where the words are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.knowledge import plain
from webapp.knowledge.snippets import snippet, whole

TABLE = "Boats pay nothing.\n\n| Length | Fee |\n|---|---:|\n| under 6 m | nothing |\n| over 12 m | **31** crowns |\n\nThe fee is due."


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        (TABLE, "Boats pay nothing. Length · Fee; under 6 m · nothing; over 12 m · 31 crowns; The fee is due."),
        ("# The office\n\nKeeps books.", "The office: Keeps books."),
        ("## Why?\nBecause.", "Why? Because."),
        ("- one\n- two\n  * three\n1. four", "• one • two • three 1. four"),
        ("See [the lamp](http://x.example/a_(b)) and ![a ship](s.png) at <https://x.example/>.",
         "See the lamp and a ship at https://x.example/."),
        ("**bold**, *soft*, __strong__, _thin_, ~~gone~~, `code *not* soft`", "bold, soft, strong, thin, gone, code *not* soft"),
        ("snake_case_name and 2*3*4 and a * b * c", "snake_case_name and 2*3*4 and a * b * c"),
        ("```python\n# a comment | with | pipes\nx = 1\n```\nafter", "# a comment | with | pipes x = 1 after"),
        ("> quoted\n> > twice", "quoted twice"),
        (r"5 \* 3 \| 2 and a|b", "5 * 3 | 2 and a|b"),
        ("nothing | 7 crowns |\n| 6 to 12 m |", "nothing · 7 crowns; 6 to 12 m"),
        ("above\n\n---\n\nbelow", "above below"),
        ("<!-- made by a program -->\nA licence, `<!-- kept -->`.", "A licence, <!-- kept -->."),
    ],
)  # fmt: skip
def test_what_makes_markdown_is_not_shown(markdown: str, shown: str) -> None:
    assert plain.one_line(markdown) == shown


def test_with_room_lines_stay_lines() -> None:
    assert plain.text("# A\n\n| x | y |\n|---|---|\n| 1 | 2 |") == "A\n\nx · y\n1 · 2"


def test_marks_stand_on_the_words_of_the_question() -> None:
    for shown in (snippet(TABLE, "what is the fee in crowns"), whole(TABLE, "what is the fee in crowns")):
        assert "|" not in shown.text
        assert "**" not in shown.text
        assert [shown.text[a:b] for a, b in shown.marks] == ["Fee", "crowns", "fee"]


def test_what_stands_above_is_not_said_twice() -> None:
    text = "# Fog\n\nFog closes the port."
    assert snippet(text, "fog").text == "Fog: Fog closes the port."
    shown = snippet(text, "fog", under="Fog")
    assert (shown.text, shown.marks) == ("Fog closes the port.", [(0, 3)])
    assert snippet("# Fog", "fog", under="Fog").text == "Fog"


@given(st.text(alphabet="ab _*`|[]()#->~\\!\n1.", max_size=60))
def test_no_letter_is_lost_and_nothing_breaks(markdown: str) -> None:
    """Letters survive whatever stands around them; only addresses of links may go, languages of fences and comments."""
    shown = plain.one_line(markdown)
    assert "\n" not in shown
    assert "\ue002" not in shown
    if not any(mark in markdown for mark in ("](", "```", "~~~", "<!--")):
        assert [c for c in shown if c in "ab"] == [c for c in markdown if c in "ab"]


def test_a_quote_keeps_its_tables() -> None:
    """Also one that is cut in two; lines that a writer broke are one paragraph again."""
    assert plain.blocks("Boats pay\nnothing.\n\n" + TABLE.split("\n\n")[1] + "\n\n- one\n- two") == [
        "Boats pay nothing.",
        plain.Table([["Length", "Fee"], ["under 6 m", "nothing"], ["over 12 m", "31 crowns"]], headed=True),
        "• one", "• two"]  # fmt: skip
    cut = plain.blocks("nothing | 7 crowns |\n| 6 to 12 m |")
    assert cut == [plain.Table([["nothing", "7 crowns"], ["6 to 12 m"]])]
    assert plain.blocks("| a |  | c |") == [plain.Table([["a", "", "c"]])], "an empty cell keeps its place"
    assert plain.blocks("```\na | b | c\nd\n```") == ["a | b | c\nd"], "code is none"
    assert plain.blocks("") == []


def test_a_long_quote_ends_between_rows() -> None:
    table = plain.blocks("| a | b |\n|---|---|\n" + "| one | two |\n" * 50, most=60)
    assert isinstance(table[0], plain.Table)
    assert 2 < len(table[0].rows) < 10
    assert table[1:] == ["…"]


@given(st.text(alphabet="|ab -:\n#`>\\", max_size=60))
def test_no_row_is_lost(markdown: str) -> None:
    shown = "".join(str(one.rows if isinstance(one, plain.Table) else one) for one in plain.blocks(markdown))
    assert [c for c in shown if c in "ab"] == [c for c in plain.text(markdown) if c in "ab"]

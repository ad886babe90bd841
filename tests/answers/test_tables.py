"""A table that a model wrote: each row is checked, and it is still a table afterwards."""

from __future__ import annotations

from webapp.answers import support
from webapp.answers.base import Source

WORDS = "A ship of 6 to 12 m pays 14 crowns a day and 7 crowns in winter. A ship over 12 m pays 31 crowns a day."
SOURCE = Source(1, "d", "v", 0, len(WORDS), WORDS, "Fees", None, None, 1.0, "c")
TABLE = """\
The fee depends on the length [1]:

| Length | Fee a day [1] |
| --- | --- |
| A ship of 6 to 12 m | pays 14 crowns a day |
| A ship over 12 m | pays 31 crowns a day [1] |
| Penguins | swim to Portugal |
"""


def test_marks_stand_inside_the_last_cell() -> None:
    found = support.check(None, TABLE, [SOURCE])
    rows = [line for line in found.text.splitlines() if line.startswith("|")]
    assert rows[:2] == ["| Length | Fee a day |", "| --- | --- |"], "the names of the columns claim nothing"
    assert [row.count("|") for row in rows] == [3] * 5
    assert rows[2:] == ["| A ship of 6 to 12 m | pays 14 crowns a day [1] |", "| A ship over 12 m | pays 31 crowns a day [1] |",
                        "| Penguins | swim to Portugal [?] |"]  # fmt: skip


def test_a_row_is_found_where_the_text_has_it() -> None:
    found = support.check(None, TABLE, [SOURCE])
    bad = [one for one in found.sentences if one.verdict == "unsupported"]
    assert [found.text[one.start : one.end] for one in bad] == ["| Penguins | swim to Portugal [?] |"]

"""Citation marks of models, in their many shapes."""

from __future__ import annotations

import pytest

from webapp.answers import marks

KNOWN = frozenset([1, 2, 3])


@pytest.mark.parametrize(
    ("written", "settled"),
    [
        ("It began in 1973 [1].", "It began in 1973.[1]"),
        ("It began in 1973. [1] It ended.", "It began in 1973.[1] It ended."),
        ("It began [1, 2] and ended [2][3].", "It began [1][2] and ended.[2][3]"),
        ("So it was [1-3].", "So it was.[1][2][3]"),
        ("So it was [Source 2].", "So it was.[2]"),
        ("So it was [sources: 1 and 3].", "So it was.[1][3]"),
        ("So it was【2】.", "So it was.[2]"),
        ("So it was [^1].", "So it was.[1]"),
        ("So it was [7].", "So it was."),
        ("So it was [1][7].", "So it was.[1]"),
        ("A [7] day.", "A day."),
        ("See [1](https://evil.example/?d=1).", "See.[1]"),
        ("Use `a[1]` here [2].", "Use `a[1]` here.[2]"),
        ("```\na[1] = b[2]\n```\nDone [3].", "```\na[1] = b[2]\n```\nDone.[3]"),
        ("- One [1]\n- Two [2]", "- One [1]\n- Two [2]"),
        ("In [2019] it was.", "In [2019] it was."),
        ("No marks at all.", "No marks at all."),
    ],
)
def test_one_shape(written: str, settled: str) -> None:
    assert marks.settled(written, KNOWN) == settled
    assert marks.settled(settled, KNOWN) == settled


def test_a_large_range_is_cut() -> None:
    assert len(marks.numbers("[1-9999]")) <= marks.MOST + 1


def test_long_runs_take_no_time() -> None:
    marks.settled("[1, " * 20_000, KNOWN)
    marks.settled("[" * 50_000, KNOWN)
    marks.settled("[1]" * 20_000 + " " * 20_000, KNOWN)
    marks.settled("`" * 20_000, KNOWN)

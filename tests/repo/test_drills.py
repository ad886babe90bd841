"""The table of attacks in docs/security.md: every drill once, each with tests that say its number, or with a reason."""

from __future__ import annotations

import re

from scripts.lint_repo import check_drills, words_of
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
HELD = dict(re.findall(r"^\| (A\d\d) \|.*\|([^|]*)\|$", PAGE, re.MULTILINE))
NOT_YET = dict(re.findall(r"^\| (A\d\d) \|([^|]*)\|$", PAGE, re.MULTILINE))


def test_every_number_stands_in_the_table_once() -> None:
    named = re.findall(r"^\| (A\d\d) \|", PAGE, re.MULTILINE)
    assert sorted(named) == [f"A{number:02}" for number in range(1, 51)]
    assert sorted(HELD | NOT_YET) == sorted(named)


def test_every_test_that_is_named_is_there_and_says_the_number() -> None:
    assert list(check_drills()) == []
    assert all(re.findall(r"`tests/[\w/]+", files) for files in HELD.values())


def test_what_is_not_held_says_why() -> None:
    assert all(len(why.split()) > 5 for why in NOT_YET.values())


def test_a_number_in_a_test_is_in_the_table() -> None:
    """Whoever writes a drill puts it into the table."""
    said = {
        number
        for path in (ROOT / "tests").rglob("test_*.py")
        for number in re.findall(r"(?<![A-Za-z0-9])A[0-5]\d(?![0-9A-Za-z])", words_of(path))
    }
    assert said <= set(HELD) | set(NOT_YET)

"""Words, keywords and the limits of a length. What is counted is what a reader reads: no marks, no Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from webapp.answers import marks
from webapp.summaries.lexrank import WIDE, count_words

WITHIN = 0.10
SYMBOLS = re.compile(r"(?m)^[ \t]*(?:#{1,6}|[-*+>]|\d{1,3}[.)])[ \t]+|\[\?\]|[*_`~|]+")
ALONE = re.compile(r"(?<!\S)[^\w\s]+(?!\S)")  # punctuation between two blanks is no word


def words(text: str) -> int:
    return count_words(ALONE.sub(" ", readable(text)))


def readable(text: str) -> str:
    """Markdown as it reads, without numbers of sources."""
    return SYMBOLS.sub(" ", marks.MARK.sub(" ", re.sub(r"\]\([^()\s]*\)", "] ", text)))


def share_off(count: int, wanted: int) -> float:
    """How far a length is from what was wanted: -0.2 is a fifth too short."""
    return round((count - wanted) / max(1, wanted), 4)


def is_within(count: int, wanted: int) -> bool:
    return abs(count - wanted) <= WITHIN * wanted


# -- keywords ----------------------------------------------------------------------------------------------------------


def uses(keyword: str, text: str) -> int:
    """How often it is used, in any case, as a whole word or phrase, also in the plural."""
    return len(_pattern(keyword).findall(text))


def _pattern(keyword: str) -> re.Pattern[str]:
    said = r"\s+".join(re.escape(word) for word in keyword.split())
    if WIDE.search(keyword):
        return re.compile(said)
    return re.compile(rf"(?<!\w){said}(?:['’]?s|es)?(?!\w)", re.IGNORECASE)


def coverage(keywords: Sequence[str], texts: Sequence[str]) -> list[dict[str, Any]]:
    """For each keyword how often it is used, and in which sections (from 1)."""
    shown = [readable(text) for text in texts]
    found = []
    for keyword in keywords:
        counts = [uses(keyword, text) for text in shown]
        places = [number for number, count in enumerate(counts, 1) if count]
        found.append({"keyword": keyword, "count": sum(counts), "sections": places})
    return found


def missing(keywords: Sequence[str], texts: Sequence[str]) -> list[str]:
    whole = "\n".join(readable(text) for text in texts)
    return [one for one in keywords if not uses(one, whole)]

"""Where in the texts at hand a written sentence stands: the checker of citations, over texts that are not stored.

A sentence that no text carries has no place. Whoever shows it says so, or leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from webapp.knowledge import checking

if TYPE_CHECKING:
    from webapp.runtime import Runtime

PASSAGE, LOOKED_AT = 1500, 4  # characters of a passage; passages that are compared closely, by the words they share
LARGE = 100_000  # characters from which the search for likely passages is left to a child process


@dataclass(frozen=True)
class Spot:
    """`quote` is `text[start:end]` of the text `key`. verdict: "verified" or "weak"."""

    key: str
    start: int
    end: int
    quote: str
    verdict: str
    score: float
    method: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def places(
    rt: Runtime | None,
    said: Sequence[str],
    texts: Mapping[str, str],
    *,
    cancelled: Callable[[], bool] = lambda: False,
    timeout: float = 120.0,
) -> list[Spot | None]:
    """For each sentence the span that carries it best, or None. texts: by key. Without `rt` words alone decide."""
    if not said or not texts:
        return [None for _ in said]
    likely = _likely(said, texts, cancelled, timeout)
    wanted = [(place, *where) for place, some in enumerate(likely) for where in some]
    pairs = [(said[place], texts[key][start:end]) for place, key, start, end in wanted]
    found: list[Spot | None] = [None for _ in said]
    for (place, key, start, _), one in zip(wanted, checking.check_many(rt, pairs), strict=True):
        best = found[place]
        if one.label != "unsupported" and (
            best is None or _order(one.label, one.score) > _order(best.verdict, best.score)
        ):
            at = start + one.start
            quote = texts[key][at : start + one.end]
            found[place] = Spot(key, at, start + one.end, quote, one.label, one.score, one.method)
    return found


def _order(label: str, score: float) -> tuple[bool, float]:
    return label == "verified", score


def _likely(
    said: Sequence[str], texts: Mapping[str, str], cancelled: Callable[[], bool], timeout: float
) -> list[list[tuple[str, int, int]]]:
    if sum(map(len, texts.values())) < LARGE:
        return likely(list(said), dict(texts))
    from webapp.core.sandbox import run_in_child

    rows = run_in_child("webapp.answers.placing:likely", list(said), dict(texts), timeout=timeout, cpu_seconds=120,
                        memory_bytes=2**30, cancelled=cancelled)  # fmt: skip
    return [[(key, start, end) for key, start, end in some] for some in rows]


def likely(said: list[str], texts: dict[str, str]) -> list[list[tuple[str, int, int]]]:
    """For each sentence the passages that share most of its words: (key, start, end)."""
    rows = [(key, start, end, _stems(text[start:end])) for key, text in texts.items() for start, end in passages(text)]
    found = []
    for sentence in said:
        mine = _stems(sentence)
        shared = sorted(((len(mine & row[3]), -number) for number, row in enumerate(rows)), reverse=True)[:LOOKED_AT]
        found.append([rows[-number][:3] for count, number in shared if count and 2 * count >= len(mine)])
    return found


def passages(text: str) -> list[tuple[int, int]]:
    """Spans of whole sentences; each begins with the last sentence of the one before, so that no pair is torn apart."""
    from webapp.core.sentences import split

    spans = [(one.start, one.end) for one in split(text)]
    found: list[tuple[int, int]] = []
    first = 0
    for number, (_, end) in enumerate(spans):
        after = spans[number + 1][1] if number + 1 < len(spans) else None
        if after is None or after - spans[first][0] > PASSAGE:
            found.append((spans[first][0], end))
            first = number if number > first else number + 1
    return found


def _stems(text: str) -> set[str]:
    return {checking.stem(word) for word in checking.tokens(text) if word.lower() not in checking.FUNCTION}

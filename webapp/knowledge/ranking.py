"""Words and meaning into one order. Pure.

Ranks alone (reciprocal rank fusion) throw away by how much a passage is better; scores keep it, if they are brought to
one scale per question: BM25 as a part of the best one, cosines from the weakest candidate (0) to the best (1), because
MiniLM's cosines of good and bad passages lie close together. Weighed on the developers' half of SQuAD, Cranfield and
CISI: any share of the words from .5 to .7 is within .02 of the best everywhere; `make bench` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORDS_SHARE = 0.65
DEPTH = 100  # candidates of each side

Scored = Sequence[tuple[int, float]]  # (passage id, score), best first


@dataclass(frozen=True, slots=True)
class Ranked:
    """keyword: BM25, vector: cosine, None where that side did not find it; fused: 0..1, what orders."""

    id: int
    keyword: float | None
    vector: float | None
    fused: float


def fuse(keyword: Scored, vector: Scored, share: float = WORDS_SHARE) -> list[Ranked]:
    """One list, best first. Where one side found nothing at all, the other's order is the order."""
    if not vector:
        share = 1.0
    elif not keyword:
        share = 0.0
    words, meaning = dict(keyword), dict(vector)
    by_words, by_meaning = _part_of_best(keyword), _above_weakest(vector)
    ranked = [
        Ranked(
            id, words.get(id), meaning.get(id), share * by_words.get(id, 0.0) + (1 - share) * by_meaning.get(id, 0.0)
        )
        for id in {**words, **meaning}
    ]
    return sorted(ranked, key=lambda one: (-one.fused, one.id))


def _part_of_best(scored: Scored) -> dict[int, float]:
    best = max((score for _, score in scored), default=0.0)
    return {id: score / best if best > 0 else 0.0 for id, score in scored}


def _above_weakest(scored: Scored) -> dict[int, float]:
    scores = [score for _, score in scored]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    return {id: (score - low) / (high - low) if high > low else 1.0 for id, score in scored}


def spread(ranked: Sequence[Ranked], document_of: dict[int, str], k: int, per_document: int) -> list[Ranked]:
    """The first k with at most `per_document` passages of a document (0: no limit), filled up from the others.

    What is not in `document_of` is left out: its row is gone, or not for this reader.
    """
    there = [one for one in ranked if one.id in document_of]
    if not per_document:
        return there[:k]
    taken: dict[str, int] = {}
    first: list[Ranked] = []
    rest: list[Ranked] = []
    for one in there:
        document = document_of[one.id]
        taken[document] = taken.get(document, 0) + 1
        (first if taken[document] <= per_document else rest).append(one)
    return sorted([*first, *rest][:k], key=lambda one: (-one.fused, one.id))


def embedding_input(title: str, text: str) -> str:
    """What an embedder reads of a passage: with the document's title, unless the passage begins with it.

    On Cranfield and CISI the title gains .01 nDCG; on SQuAD, whose titles say little, it costs nothing.
    """
    opening = text[: len(title) + 8].lstrip("# *").casefold()
    return text if not title or opening.startswith(title.casefold()) else f"{title}\n{text}"

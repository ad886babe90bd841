"""Keywords of one text: words and phrases that come often and in many places. No other texts are compared with."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from webapp.nlp.words import EVERY, STOP

METHOD = "How often and over how much of the text a word or phrase comes; words of grammar are left out"
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+(?:[.,]\d+)*", re.UNICODE)
BREAK = re.compile(r"[.!?;:,()\[\]{}\"“”„«»|\n\r\t/–—]")
ADDRESS = re.compile(r"(?:https?://|www\.)\S{1,500}|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}")
LONGEST = 3  # words of a phrase
SECTIONS = 20  # a text is cut into so many equal parts to see how spread a term is


def keywords(text: str, language: str | None, most: int) -> list[dict[str, Any]]:
    """[{term, count, share, score}], the best first. share: of all its SECTIONS that hold it, 0..1."""
    stop = STOP.get(language or "", EVERY)
    counts: Counter[str] = Counter()
    shapes: dict[str, Counter[str]] = defaultdict(Counter)
    where: dict[str, set[int]] = defaultdict(set)
    size = max(1, -(-len(text) // SECTIONS))
    text = ADDRESS.sub(lambda found: "|" * len(found[0]), text)
    for run in _runs(text, stop):
        for length in range(1, LONGEST + 1):
            for at in range(len(run) - length + 1):
                piece = run[at : at + length]
                term = " ".join(word.casefold() for word, _ in piece)
                counts[term] += 1
                shapes[term][" ".join(word for word, _ in piece)] += 1
                where[term].add(piece[0][1] // size)
    sections = min(SECTIONS, -(-len(text) // size)) or 1
    scored = {
        term: _score(term, count, len(where[term]) / sections) for term, count in counts.items() if _says(term, count)
    }
    chosen = _without_parts(sorted(scored, key=lambda term: (-scored[term], term)), counts, most)
    return [{"term": shapes[term].most_common(1)[0][0], "count": counts[term],
             "share": round(len(where[term]) / sections, 3), "score": round(scored[term], 3)} for term in chosen]  # fmt: skip


def _runs(text: str, stop: frozenset[str]) -> Iterator[list[tuple[str, int]]]:
    """Words with their places, between words of grammar and signs."""
    at = 0
    for cut in [*(match.start() for match in BREAK.finditer(text)), len(text)]:
        run: list[tuple[str, int]] = []
        for match in WORD.finditer(text, at, cut):
            word = match[0]
            if (
                word.casefold().replace("’", "'").split("'")[0] in stop
                or len(word) > 40
                or word[0].isdigit()
                or len(word) < 2
            ):
                if run:
                    yield run
                run = []
            else:
                run.append((word, match.start()))
        if run:
            yield run
        at = cut


def _score(term: str, count: int, spread: float) -> float:
    """A phrase says more than a word; what stands in one corner only says less of the whole."""
    return float(count * (1 + 0.6 * term.count(" ")) * (0.5 + 0.5 * spread))


def _says(term: str, count: int) -> bool:
    return len(term) > 2 and (" " not in term or count > 1)


def _without_parts(ordered: list[str], counts: Counter[str], most: int) -> list[str]:
    """A word that hardly comes outside of a better phrase is part of that phrase."""
    chosen: list[str] = []
    for term in ordered:
        longer = [one for one in chosen if f" {term} " in f" {one} "]
        shorter = [one for one in chosen if f" {one} " in f" {term} "]
        if any(counts[term] <= 1.5 * counts[one] for one in longer):
            continue
        if any(counts[one] > 3 * counts[term] for one in shorter):
            continue
        chosen.append(term)
        if len(chosen) == most:
            break
    return chosen

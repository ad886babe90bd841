"""What stands behind each sentence of a written answer.

Every number is checked against the words it points to. A sentence whose own numbers do not carry it gets the source
that does, if there is one; else it loses its numbers and is marked [?].
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from webapp.answers import marks
from webapp.answers.base import Sentence, Source
from webapp.core.sentences import split
from webapp.knowledge import checking

if TYPE_CHECKING:
    from webapp.knowledge.checking import Verdict
    from webapp.runtime import Runtime

UNSUPPORTED = "[?]"
RANK = {"verified": 2, "weak": 1, "unsupported": 0}
WORTH = {"verified": 1.0, "weak": 0.6, "unsupported": 0.0, "none": 0.0}
# Words that claim nothing when they stand alone.
EMPTY = frozenset(
    [
        "yes",
        "no",
        "ok",
        "okay",
        "sure",
        "certainly",
        "hello",
        "hi",
        "thanks",
        "thank",
        "please",
        "sorry",
        "well",
        "here",
        "answer",
        "according",
    ]
)
# What models say when they were shown nothing that answers.
IGNORANT = re.compile(
    r"\bI (?:do not|don['’]t|cannot|can['’]t|could not) (?:know|find|answer|determine|say)"
    r"|\b(?:sources?|contexts?|documents?|passages?|texts?)(?: \w+){0,4} (?:do|does|did)(?: not|n['’]t)\b"
    r"|\bno (?:relevant )?information\b|\bnot enough information\b|\bunable to (?:answer|find|determine)\b"
    r"|\b(?:cannot|can['’]t|could not) be (?:answered|found|determined)\b"
    r"|\bweiß (?:ich )?(?:es |das )?nicht\b|\bne (?:le )?sais pas\b|\bno lo sé\b",
    re.I,
)
RULE = re.compile(r"[ \t]*\n[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:[|\n]|\Z)")  # the line below the heading of a table
LAST = re.compile(r"[ \t]*\|?[ \t]*\Z")  # the border that closes a row
ALIKE = 0.5  # share of a sentence's words that a source must hold to be looked at


@dataclass(frozen=True)
class Checked:
    """share: how much of what is claimed is supported, 0..1; 0 when nothing is claimed. passed: it says so itself."""

    text: str
    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]
    share: float
    passed: bool


@dataclass(frozen=True)
class _Part:
    """A sentence as it stands in the text: `words` without marks, `numbers` of its marks."""

    start: int
    end: int
    words: str
    numbers: tuple[int, ...]
    claims: bool
    row: bool = False


def check(rt: Runtime | None, text: str, sources: Sequence[Source]) -> Checked:
    """Judge each sentence of `text`, whose marks are settled, and write the marks anew."""
    parts = _parts(text)
    judged = _judged(rt, parts, sources)
    out, at, sentences = "", 0, []
    for part, found in zip(parts, judged, strict=True):
        out += text[at : part.start]
        start = len(out)
        best = max(found.values(), key=_order, default=None)
        verdict = best.label if best is not None else "unsupported" if part.claims and sources else "none"
        numbers = tuple(sorted(found))
        kept = _unmarked(text[part.start : part.end])
        mark = "".join(f"[{number}]" for number in numbers) or (UNSUPPORTED if verdict == "unsupported" else "")
        out += _with_mark(kept, mark, part.row)
        sentences.append(Sentence(part.words, numbers, verdict, best.score if best else 0.0,
                                  best.method if best else "", start, len(out)))  # fmt: skip
        at = part.end
    out += text[at:]
    claims = [one for one, part in zip(sentences, parts, strict=True) if part.claims]
    share = sum(WORTH[one.verdict] for one in claims) / len(claims) if claims else 0.0
    cited = _cited(sources, judged)
    return Checked(out, tuple(sentences), cited, share, not cited and IGNORANT.search(text) is not None)


def _parts(text: str) -> list[_Part]:
    code = [match.span() for match in marks.CODE.finditer(text)]
    found = []
    for one in split(text):
        if any(start < one.end and one.start < end and text[start] in "`~" and text[start : start + 3] in ("```", "~~~")
               for start, end in code):  # fmt: skip
            continue
        said = text[one.start : one.end]
        words = marks.without(said)
        heading = one.kind == "heading" or (one.kind == "row" and RULE.match(text, one.end) is not None)
        claims = not heading and not words.endswith(("?", ":")) and _claims(words)
        numbers = () if heading and one.kind == "row" else tuple(marks.numbers(said))
        found.append(_Part(one.start, one.end, words, numbers, claims, one.kind == "row"))
    return found


def _claims(words: str) -> bool:
    said = {word.lower() for word in checking.tokens(words)}
    return bool(said - checking.FUNCTION - checking.NEGATIONS - EMPTY) and not IGNORANT.search(words)


def _unmarked(said: str) -> str:
    return marks.outside_code(said, lambda part: re.sub(r"[ \t]*" + marks.MARK.pattern, "", part, flags=re.I)).rstrip()


def _with_mark(said: str, mark: str, row: bool) -> str:
    """Behind the sentence; in a table's row inside its last cell, because behind it the table would end."""
    end = LAST.search(said).start() if row else len(said)  # type: ignore[union-attr]
    return f"{said[:end]} {mark}{said[end:]}" if mark else said


def _order(verdict: Verdict) -> tuple[int, float]:
    return RANK[verdict.label], verdict.score


def _judged(rt: Runtime | None, parts: Sequence[_Part], sources: Sequence[Source]) -> list[dict[int, Verdict]]:
    """For each sentence the sources that carry it, with what the checker said."""
    by_number = {one.number: one for one in sources}
    named = _verdicts(rt, [(place, number) for place, part in enumerate(parts) for number in part.numbers
                           if number in by_number and part.words], parts, by_number)  # fmt: skip
    left = [place for place, part in enumerate(parts) if part.claims and not named[place]]
    stems = {one.number: _stems(one.quote) for one in sources}
    likely = [(place, number) for place in left for number in _likely(parts[place], stems)]
    for place, found in enumerate(_verdicts(rt, likely, parts, by_number)):
        sure = {number: one for number, one in found.items() if one.label == "verified"}
        if sure:
            best = max(sure, key=lambda number: (_order(sure[number]), -number))
            named[place] = {best: sure[best]}
    return named


def _verdicts(
    rt: Runtime | None, wanted: list[tuple[int, int]], parts: Sequence[_Part], by_number: dict[int, Source]
) -> list[dict[int, Verdict]]:
    """place -> number -> verdict, of those that carry it at least weakly."""
    found: list[dict[int, Verdict]] = [{} for _ in parts]
    pairs = [(parts[place].words, by_number[number].quote) for place, number in wanted]
    for (place, number), verdict in zip(wanted, checking.check_many(rt, pairs), strict=True):
        if verdict.label != "unsupported":
            found[place][number] = verdict
    return found


def _likely(part: _Part, stems: dict[int, set[str]]) -> list[int]:
    """The two sources that share most words with a sentence that names none."""
    mine = _stems(part.words)
    shared = {number: len(mine & theirs) / max(1, len(mine)) for number, theirs in stems.items()}
    return sorted((number for number, share in shared.items() if share >= ALIKE), key=lambda one: -shared[one])[:2]


def _stems(text: str) -> set[str]:
    return {checking.stem(word) for word in checking.tokens(text) if word.lower() not in checking.FUNCTION}


def _cited(sources: Sequence[Source], judged: Sequence[dict[int, Verdict]]) -> tuple[Source, ...]:
    """The sources that a sentence stands on, each narrowed to the words that carry it."""
    kept = []
    for source in sources:
        said = [found[source.number] for found in judged if source.number in found]
        if not said:
            continue
        best = max(said, key=_order)
        start, end = min(one.start for one in said), max(one.end for one in said)
        kept.append(replace(source, start=source.start + start, end=source.start + end, quote=source.quote[start:end],
                            verdict=best.label, check_score=best.score, method=best.method))  # fmt: skip
    return tuple(kept)

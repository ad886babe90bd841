"""How hard a text is to read, by named formulas. Each says for which languages it was made."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
ENOUGH_WORDS, ENOUGH_SENTENCES = 30, 3
SMOG_SENTENCES = 30  # its author's own condition
UNSPACED = frozenset(("zh", "ja", "th", "lo", "km", "my"))


@dataclass(frozen=True)
class Counts:
    """syllables, complex_words (three and more): None where nobody can count them."""

    sentences: int
    words: int
    letters: int
    long_words: int  # of more than six letters
    syllables: int | None
    complex_words: int | None


@dataclass(frozen=True)
class Formula:
    key: str
    name: str
    languages: tuple[str, ...]  # empty: any with blanks between words
    text: str
    value: Callable[[Counts], float]
    meaning: Callable[[float], str]
    needs: int = ENOUGH_SENTENCES


def readability(text: str, sentences: list[str], language: str | None) -> dict[str, Any]:
    """{"counts", "scores": [{key, name, value, meaning, formula}], "notes"}."""
    counts = count(text, sentences, language)
    notes = []
    if language in UNSPACED:
        return {
            "counts": _shown(counts),
            "scores": [],
            "notes": ["No formula here measures a script without blanks between words."],
        }
    if counts.words < ENOUGH_WORDS or counts.sentences < ENOUGH_SENTENCES:
        notes.append(
            f"Formulas need at least {ENOUGH_WORDS} words in {ENOUGH_SENTENCES} sentences; this text is shorter."
        )
        return {"counts": _shown(counts), "scores": [], "notes": notes}
    scores = []
    for one in FORMULAS:
        if one.languages and language not in one.languages:
            continue
        if counts.sentences < one.needs:
            notes.append(f"{one.name} is left out: it was made for {one.needs} sentences and more.")
            continue
        value = round(one.value(counts), 1)
        scores.append(
            {"key": one.key, "name": one.name, "value": value, "meaning": one.meaning(value), "formula": one.text}
        )
    if language not in SYLLABLES:
        notes.append("Formulas with syllables are left out: they are counted for English and German only.")
    return {"counts": _shown(counts), "scores": scores, "notes": notes}


def count(text: str, sentences: list[str], language: str | None) -> Counts:
    found = WORD.findall(text)
    of = SYLLABLES.get(language or "")
    each = [of(word) for word in found] if of else None
    return Counts(
        sentences=len(sentences),
        words=len(found),
        letters=sum(sum(map(str.isalpha, word)) for word in found),
        long_words=sum(len(word) > 6 for word in found),
        syllables=sum(each) if each is not None else None,
        complex_words=sum(number > 2 for number in each) if each is not None else None,
    )


def _shown(counts: Counts) -> dict[str, Any]:
    words, sentences = max(1, counts.words), max(1, counts.sentences)
    return {
        "words": counts.words,
        "sentences": counts.sentences,
        "words_per_sentence": round(counts.words / sentences, 1),
        "letters_per_word": round(counts.letters / words, 2),
        "long_words": round(counts.long_words / words, 4),
        "syllables_per_word": None if counts.syllables is None else round(counts.syllables / words, 2),
    }


# -- syllables -------------------------------------------------------------------------------------------------------

ENGLISH_VOWELS = re.compile(r"[aeiouy]+")
GERMAN_VOWELS = re.compile(r"ai|au|ei|eu|äu|ie|oo|aa|ee|[aeiouyäöü]")


def english(word: str) -> int:
    """Groups of vowels, less a silent e; wrong for one word in ten or so, which evens out over a text."""
    low = word.lower().replace("’", "'").removesuffix("'s")
    groups = len(ENGLISH_VOWELS.findall(low))
    if low.endswith("e") and not low.endswith(("le", "ee", "ye")) and groups > 1:
        groups -= 1
    if (
        low.endswith("es")
        and not low.endswith(("ses", "zes", "ches", "shes", "xes", "ces", "ges", "ies", "les"))
        and groups > 1
    ):
        groups -= 1
    if low.endswith("ed") and not low.endswith(("ted", "ded")) and groups > 1:
        groups -= 1
    groups += len(re.findall(r"i[ao](?!u)|eo|[^q]ua|uo", low)) - len(re.findall(r"[tscg]i[ao]", low))
    return max(1, groups)


def german(word: str) -> int:
    return max(1, len(GERMAN_VOWELS.findall(word.lower())))


SYLLABLES: dict[str, Callable[[str], int]] = {"en": english, "de": german}


# -- formulas --------------------------------------------------------------------------------------------------------


def _length(c: Counts) -> float:
    return c.words / c.sentences


def _syllables(c: Counts) -> float:
    return (c.syllables or 0) / c.words


def _ease(value: float) -> str:
    for border, words in (
        (90, "very easy"),
        (80, "easy"),
        (70, "fairly easy"),
        (60, "plain"),
        (50, "fairly hard"),
        (30, "hard"),
    ):
        if value >= border:
            return words
    return "very hard"


def _grade(value: float) -> str:
    return f"about {max(1, round(value))} years of school"


def _lix(value: float) -> str:
    for border, words in ((25, "very easy"), (35, "easy"), (45, "medium"), (55, "hard")):
        if value < border:
            return words
    return "very hard"


def _gulpease(value: float) -> str:
    return (
        "easy for eight years of school"
        if value >= 60
        else "easy for thirteen years of school"
        if value >= 40
        else "hard"
    )


FORMULAS = (
    Formula("flesch", "Flesch reading ease", ("en",), "206.835 − 1.015 · words/sentence − 84.6 · syllables/word",
            lambda c: 206.835 - 1.015 * _length(c) - 84.6 * _syllables(c), _ease),
    Formula("flesch_kincaid", "Flesch–Kincaid grade", ("en",), "0.39 · words/sentence + 11.8 · syllables/word − 15.59",
            lambda c: 0.39 * _length(c) + 11.8 * _syllables(c) - 15.59, _grade),
    Formula("gunning_fog", "Gunning fog", ("en",), "0.4 · (words/sentence + 100 · words of 3+ syllables/words)",
            lambda c: 0.4 * (_length(c) + 100 * (c.complex_words or 0) / c.words), _grade),
    Formula("smog", "SMOG", ("en",), "1.043 · √(30 · words of 3+ syllables/sentences) + 3.1291",
            lambda c: 1.043 * math.sqrt(30 * (c.complex_words or 0) / c.sentences) + 3.1291, _grade, SMOG_SENTENCES),
    Formula("ari", "Automated readability index", ("en",), "4.71 · letters/word + 0.5 · words/sentence − 21.43",
            lambda c: 4.71 * c.letters / c.words + 0.5 * _length(c) - 21.43, _grade),
    Formula("coleman_liau", "Coleman–Liau", ("en",), "5.88 · letters/word − 29.6 · sentences/word − 15.8",
            lambda c: 5.88 * c.letters / c.words - 29.6 * c.sentences / c.words - 15.8, _grade),
    Formula("amstad", "Flesch, German by Amstad", ("de",), "180 − words/sentence − 58.5 · syllables/word",
            lambda c: 180 - _length(c) - 58.5 * _syllables(c), _ease),
    Formula("gulpease", "Gulpease", ("it",), "89 + (300 · sentences − 10 · letters)/words",
            lambda c: 89 + (300 * c.sentences - 10 * c.letters) / c.words, _gulpease),
    Formula("lix", "LIX", (), "words/sentence + 100 · words of more than 6 letters/words",
            lambda c: _length(c) + 100 * c.long_words / c.words, _lix),
)  # fmt: skip

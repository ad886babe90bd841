"""Extractive summaries by LexRank.

G. Erkan, D. R. Radev: "LexRank: Graph-based Lexical Centrality as Salience in Text Summarization", Journal of
Artificial Intelligence Research 22 (2004), 457-479. The continuous variant: sentences vote for each other in
proportion to their TF-IDF cosine, and a damped random walk over these votes ranks them.

Chosen is by more than that: the beginning of a text counts, and a sentence that holds many of the text's words which none
before it held (concept coverage, as in D. Gillick, B. Favre: "A Scalable Global Model for Summarization", 2009), so that few
words say as much of the text as they can.

The similarity matrix is never built. With X the sparse matrix of unit TF-IDF rows it is X Xᵀ, so one step of the walk
is two products with X: time and memory grow with the number of words, not with the square of the sentences.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webapp.core import sentences
from webapp.core.errors import Invalid, TaskCancelled
from webapp.core.words import JOINING, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METHOD = "lexrank-tfidf"
DAMPING = 0.85  # share of the walk that follows similarity; the rest jumps anywhere
STEPS, PRECISION = 100, 1e-7
MOST = 20_000  # sentences ranked; of more, a choice by position
RELEVANCE = 0.7  # against redundancy, as in maximal marginal relevance (Carbonell & Goldstein 1998)
SAME = 0.8  # cosine from which two sentences say the same
# Beside centrality, as shares of the best sentence's worth; chosen on one half of the articles of benchmarks/summaries.py.
BEGINNING, FADES = 3.0, 2.0  # of the first sentence of a source; after so many sentences 1/e of it is left
COVERAGE = 1.0  # of the sentence that says most of what was not said yet, for its length
SHORTEST, LENGTH = 8, 0.7  # words below which a sentence counts as this long; how much its length counts against it
EARLY = 0.01  # what the first place in a source is worth more than the last: decides between equals
USABLE = 0.3  # quality below which a sentence is only taken if there is no other
FOCUS = 0.8  # share of a sentence's worth that is whether it speaks of what matters to the reader
SHORT_TEXT = 50  # words; a longer text is at least halved, however much `max_words` allows


@dataclass(frozen=True)
class Source:
    id: str
    text: str
    title: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Picked:
    """A sentence: `source.text[start:end]`, followed by an ellipsis if it had to be cut. score: 0 to 1."""

    text: str
    source_id: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Summary:
    """sentence_count: sentences in the sources. compression: words kept / words there. notes: what a reader should know."""

    sentences: list[Picked]
    words: int
    method: str
    sentence_count: int
    compression: float
    notes: list[str]


@dataclass(frozen=True, slots=True)
class _Candidate:
    source: int
    start: int
    end: int
    text: str
    words: int
    place: float  # 0 = first sentence of its source, 1 = last
    nth: int  # sentences before it in its source
    quality: float


def summarise(
    sources: list[Source],
    *,
    max_words: int = 500,
    focus: str = "",
    progress: Callable[[int, str], None] = lambda percent, text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Summary:
    """The most central sentences of all sources, in reading order, never more than `max_words` words together.

    focus: words of what matters to the reader; sentences that hold them come first.
    Every source with usable text gives at least one sentence if the length allows.
    Raises Invalid (no text, max_words < 1) and TaskCancelled.
    """
    if max_words < 1:
        raise Invalid("A summary needs at least one word.")
    progress(0, "finding sentences")
    found, count, notes = _candidates(sources, cancelled)
    if not found:
        raise Invalid("There is no readable text to summarise.", code="no_text")
    progress(20, "comparing sentences")
    matrix = _Matrix([candidate.text for candidate in found], cancelled)
    progress(60, "ranking sentences")
    scores = _scores(found, matrix, cancelled)
    if focus:
        scores = _focused(scores, found, focus, matrix)
    progress(80, "choosing sentences")
    total = sum(count_words(source.text) for source in sources)
    budget = min(max_words, max(SHORT_TEXT, math.ceil(total / 2)))
    coverage = 0.0 if focus else COVERAGE  # what was not said yet need not matter to the reader
    picked = _choose(found, scores, matrix, budget, coverage, cancelled) or [_cut(found, scores, budget)]
    chosen = [
        Picked(
            text,
            sources[one.source].id,
            one.start,
            one.start + len(text.removesuffix("…") if cut else text),
            score,
        )
        for one, text, score, cut in sorted(picked, key=lambda item: (item[0].source, item[0].start))
    ]
    words = sum(count_words(one.text) for one in chosen)
    progress(100, "done")
    return Summary(chosen, words, METHOD, count, words / max(1, total), notes)


WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f]")  # kana and Chinese characters


def count_words(text: str) -> int:
    """Words between blanks; each kana or Chinese character counts as a word, as those scripts write no blanks."""
    return len(WIDE.sub(" x", text).split())


# --- candidates -------------------------------------------------------------------------------------------------


def _candidates(sources: list[Source], cancelled: Callable[[], bool]) -> tuple[list[_Candidate], int, list[str]]:
    split = []
    for source in sources:
        _stop_if(cancelled)
        split.append(sentences.split(source.text))
    count = sum(map(len, split))
    found = [
        _candidate(number, source.text, sentence, place / max(1, len(spans) - 1), place)
        for number, (source, spans) in enumerate(zip(sources, split, strict=True))
        for place, sentence in _spread(spans, max(2, MOST * len(spans) // max(1, count)) if count > MOST else None)
    ]
    notes = []
    if count > MOST:
        notes.append(f"The text has {count:,} sentences; {len(found):,} of them, chosen by position, were compared.")
    return found, count, notes


def _spread(spans: list[sentences.Sentence], most: int | None) -> list[tuple[int, sentences.Sentence]]:
    """All, or `most` of them: half from the beginning, where texts say what they are about, half evenly from the rest."""
    places = list(enumerate(spans))
    if most is None or len(spans) <= most:
        return places
    lead = most // 2
    step = (len(spans) - lead) / (most - lead)
    return places[:lead] + [places[lead + int(number * step)] for number in range(most - lead)]


def _candidate(source: int, text: str, span: sentences.Sentence, place: float, nth: int) -> _Candidate:
    sentence = text[span.start : span.end]
    words = count_words(sentence)
    return _Candidate(source, span.start, span.end, sentence, words, place, nth, quality(sentence, words, span.kind))


BOILERPLATE = re.compile(
    r"cookie|privacy policy|terms (?:of|and)|all rights reserved|subscribe|sign (?:up|in)\b|log ?in\b|newsletter"
    r"|click here|read more|share (?:on|this)|follow us|javascript|©|copyright|advertisement|skip to"
    r"|datenschutz|alle rechte vorbehalten|impressum|anmelden|tous droits réservés|derechos reservados",
    re.IGNORECASE,
)
ENDINGS = tuple(".!?…。！？｡\"'”’»)]」』")


def quality(sentence: str, words: int, kind: sentences.Kind = "prose") -> float:
    """0 to 1: how much it looks like a sentence of the text, and not like a menu, a notice or a table."""
    visible = sum(not character.isspace() for character in sentence)
    letters = sum(character.isalpha() for character in sentence)
    value = {"prose": 1.0, "item": 0.8, "heading": 0.15, "row": 0.15}[kind]
    if letters < 0.65 * visible:
        value *= 0.3
    if words < 5 or words > 80:
        value *= 0.4
    if not sentence.endswith(ENDINGS):
        value *= 0.6
    if words < 40 and BOILERPLATE.search(sentence):
        value *= 0.2
    return value


# --- ranking ----------------------------------------------------------------------------------------------------

STOP_WORDS = JOINING | words(  # English, German, French, Spanish
    "not aber als am auch auf aus bei bin bis das dass dem den der des die durch ein eine einem einen einer es für",
    "hat im ist mit nach nicht noch nur oder sich sie sind über um und von vor war wie wird zu zum zur au aux avec",
    "ce ces cette dans de des du elle en est et eux il ils je la le les leur lui mais ne nous ou par pas plus pour",
    "qu que qui sa se ses son sont sur un une vous al con como del el ella ellos era es esta este fue ha las lo",
    "los más no para pero por se sin su sus también una uno y ya",
)
WORD = re.compile(r"[^\W_]+")


def terms(text: str) -> list[str]:
    """Words in lower case without stop words; runs of Chinese characters and kana as pairs of neighbours."""
    found = []
    for word in WORD.findall(text.casefold()):
        if WIDE.search(word):
            found += [word[at : at + 2] for at in range(max(1, len(word) - 1))]
        elif word not in STOP_WORDS and (len(word) > 1 or word.isdigit()):
            found.append(word)
    return found


class _Matrix:
    """Unit TF-IDF rows of the different sentences, as the three arrays of a sparse matrix.

    Sentences that repeat word for word (page headers, notices) are one row: repetition must not make them central.
    """

    def __init__(self, texts: list[str], cancelled: Callable[[], bool]) -> None:
        import numpy as np

        self.np: Any = np
        rows: dict[tuple[str, ...], int] = {}
        self.row_of = np.array([rows.setdefault(tuple(terms(text)), len(rows)) for text in texts])
        _stop_if(cancelled)
        counts = [Counter(words) for words in rows]
        seen_in = Counter(word for one in counts for word in one)
        column = {word: number for number, word in enumerate(seen_in)}
        self.height, self.width = len(rows), max(1, len(column))
        weight = {word: math.log((1 + self.height) / (1 + times)) + 1 for word, times in seen_in.items()}
        self.rows = np.repeat(np.arange(self.height), [len(one) for one in counts])
        self.columns = np.array([column[word] for one in counts for word in one], dtype=np.int64)
        self.values = np.array([times * weight[word] for one in counts for word, times in one.items()], dtype=float)
        length = np.sqrt(np.bincount(self.rows, self.values**2, self.height))
        self.values = self.values / length[self.rows]

    def times(self, vector: Floats) -> Floats:
        """X v, one number per row."""
        return self.np.bincount(self.rows, self.values * vector[self.columns], self.height)  # type: ignore[no-any-return]

    def transposed_times(self, vector: Floats) -> Floats:
        """Xᵀ v, one number per word."""
        return self.np.bincount(self.columns, self.values * vector[self.rows], self.width)  # type: ignore[no-any-return]

    def weight_of_words(self) -> Floats:
        """How many other sentences hold each word: what a text says again and again is what it is about."""
        return self.np.bincount(self.columns, minlength=self.width) - 1.0  # type: ignore[no-any-return]

    def cover(self, uncovered: Floats, candidate: int) -> None:
        """The words of this candidate are said now."""
        uncovered[self.columns[self.rows == self.row_of[candidate]]] = 0.0

    def gain(self, uncovered: Floats, words: Any) -> Floats:
        """How much each candidate would say that was not said yet, for its length; the best being 1."""
        gained = self.np.bincount(self.rows, uncovered[self.columns], self.height)[self.row_of]
        gained = gained / self.np.maximum(words, SHORTEST) ** LENGTH
        return gained / max(float(gained.max()), 1e-9)  # type: ignore[no-any-return]

    def similar_to(self, candidate: int) -> Floats:
        """Cosine of every candidate with this one."""
        row = self.row_of[candidate]
        mine = self.rows == row
        vector = self.np.zeros(self.width)
        vector[self.columns[mine]] = self.values[mine]
        same: Floats = self.times(vector)
        same[row] = 1.0  # also for a row without words
        return same[self.row_of]  # type: ignore[no-any-return]


def centrality(matrix: _Matrix, cancelled: Callable[[], bool]) -> Floats:
    """Stationary probability of each row under p = (1 - d)/n + d Bᵀ p, B being X Xᵀ with rows that sum to 1.

    A sentence does not vote for itself, unlike in the paper: one that shares no word with any other would keep all
    its weight and rank like the average.
    """
    np, size = matrix.np, matrix.height
    degree = matrix.times(matrix.transposed_times(np.ones(size))) - 1.0
    alone = degree < 1e-9  # their votes go to all alike
    degree[alone] = np.inf
    rank: Floats = np.full(size, 1.0 / size)
    for _ in range(STEPS):
        _stop_if(cancelled)
        votes = rank / degree
        walked = matrix.times(matrix.transposed_times(votes)) - votes + rank[alone].sum() / size
        stepped = (1 - DAMPING) / size + DAMPING * walked
        change = float(np.abs(stepped - rank).sum())
        rank = stepped
        if change < PRECISION:
            break
    return rank


def _scores(found: list[_Candidate], matrix: _Matrix, cancelled: Callable[[], bool]) -> Floats:
    """Centrality and the beginning, times quality; the best being 1."""
    np = matrix.np
    scores: Floats = centrality(matrix, cancelled)[matrix.row_of]
    scores = scores / scores.max()
    scores = scores + BEGINNING * np.exp(-np.array([one.nth for one in found]) / FADES)
    scores = scores * np.array([one.quality for one in found])
    return scores / scores.max()  # type: ignore[no-any-return]


def _focused(scores: Floats, found: list[_Candidate], focus: str, matrix: _Matrix) -> Floats:
    """What holds the words that matter first, by the share of them; centrality decides among equals."""
    from webapp.knowledge.snippets import stem

    wanted = {stem(word) for word in terms(focus)}
    if not wanted:
        return scores
    held = [len(wanted & {stem(word) for word in terms(one.text)}) / len(wanted) * one.quality for one in found]
    mixed: Floats = FOCUS * matrix.np.array(held) + (1 - FOCUS) * scores
    return mixed / max(mixed.max(), 1e-9)  # type: ignore[no-any-return]


# --- choosing ---------------------------------------------------------------------------------------------------

_Choice = tuple[_Candidate, str, float, bool]  # candidate, its text, score, whether it was cut


def _choose(
    found: list[_Candidate],
    scores: Floats,
    matrix: _Matrix,
    budget: int,
    coverage: float,
    cancelled: Callable[[], bool],
) -> list[_Choice]:
    """First the best of each source, then whatever adds most, as long as whole sentences fit. coverage: worth of words
    that were not said yet."""
    np = matrix.np
    words = np.array([one.words for one in found])
    usable = np.array([one.quality >= USABLE for one in found])
    if not (usable & (words <= budget)).any():
        usable[:] = True
    early = EARLY * (1 - np.array([one.place for one in found]))
    chosen = _one_of_each(found, scores + early, words, usable, budget)
    room = budget - sum(int(words[one]) for one in chosen)
    nearest = np.zeros(len(found))
    for one in chosen:
        nearest = np.maximum(nearest, matrix.similar_to(one))
    uncovered = matrix.weight_of_words()
    for one in chosen:
        matrix.cover(uncovered, one)
    while True:
        _stop_if(cancelled)
        value = RELEVANCE * (scores + early) - (1 - RELEVANCE) * nearest
        value = value + coverage * matrix.gain(uncovered, words)
        value[~usable | (words > room) | (nearest >= SAME)] = -np.inf
        best = int(value.argmax())
        if value[best] == -np.inf:
            return [(found[one], found[one].text, float(scores[one]), False) for one in chosen]
        chosen.append(best)
        room -= int(words[best])
        nearest = np.maximum(nearest, matrix.similar_to(best))
        matrix.cover(uncovered, best)


def _one_of_each(found: list[_Candidate], value: Floats, words: Any, usable: Any, budget: int) -> list[int]:
    """The best usable sentence of each source that leaves room for the shortest of every source still to come."""
    members: dict[int, list[int]] = {}
    for number, one in enumerate(found):
        if usable[number]:
            members.setdefault(one.source, []).append(number)
    if len(members) < 2:
        return []
    shortest = {source: min(int(words[one]) for one in own) for source, own in members.items()}
    order = sorted(members, key=lambda source: shortest[source])
    while sum(shortest[source] for source in order) > budget:
        order.pop()  # not all fit: the sources whose shortest sentence is longest go without
    chosen: list[int] = []
    room, reserved = budget, sum(shortest[source] for source in order)
    for source in sorted(order, key=lambda source: -max(value[one] for one in members[source])):
        reserved -= shortest[source]
        share = max(shortest[source], (room - reserved) // 2 if reserved else room)
        best = max((one for one in members[source] if words[one] <= share), key=lambda one: float(value[one]))
        chosen.append(best)
        room -= int(words[best])
    return chosen


def _cut(found: list[_Candidate], scores: Floats, budget: int) -> _Choice:
    """No sentence fits: the beginning of the best one, cut between two words."""
    best = int(scores.argmax())
    one = found[best]
    end, room = 0, budget
    for word in re.finditer(r"\S+", one.text):
        cost = count_words(word[0])
        if cost > room:
            break
        end, room = word.end(), room - cost
    text = one.text[:end] or one.text[:budget]  # a script without blanks is cut between characters
    return one, text + "…", float(scores[best]), True


def _stop_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise TaskCancelled("The summary was stopped on request.")

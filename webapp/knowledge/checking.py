"""Does a passage say what a sentence claims? `check` answers verified, weak or unsupported, with its best span.

Nothing here understands language; it measures agreement with the best one or two sentences of the passage: words,
their order and neighbourhood, numbers, names, negation and opposites, and the similarity of MiniLM vectors. What the
passage holds word by word is verified; for the rest a logistic regression weighs the measures. Its coefficients (FULL with vectors, LEXICAL without) and the two thresholds were fitted by
`python -m benchmarks.citations --fit`, on claims made from half of the articles of SQuAD: questions and their answers
turned into sentences, against the same with another answer of the same passage, another number, a negation, a question
the passage does not answer, or another passage. docs/benchmarks.md gives precision and recall on the other half.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from webapp.core.errors import AppError
from webapp.core.words import FUNCTION

if TYPE_CHECKING:
    from webapp.runtime import Runtime

Label = Literal["verified", "weak", "unsupported"]

LONGEST = 2000  # characters of a claim; PASSAGE of a passage: more of either is not looked at
PASSAGE = 50_000
WINDOWS = 3  # best windows by words whose vectors are compared
WORD_FEATURES = (
    "contained", "contained3", "missing", "neighbours", "order", "complete", "complete_order", "complete_tight",
    "spread", "numbers", "names", "stranger", "pair", "denied", "doubted", "opposite", "absent", "short",
)  # fmt: skip
VECTOR_FEATURES = ("cosine", "cosine2", "close", "complete_close")
EXACT = 0.99  # the score of a claim that the passage holds word by word; no model is asked

# fitted: begin
FULL: dict[str, float] = {
    "bias": -5.298, "contained": 7.581, "contained3": -3.239, "missing": 0.24, "neighbours": -1.307,
    "order": 0.06, "complete": 0.105, "complete_order": 0.215, "complete_tight": 0.651, "spread": -0.26,
    "numbers": -5.465, "names": -0.808, "stranger": -1.031, "pair": -0.89, "denied": -4.76, "doubted": 0.23,
    "opposite": -1.101, "absent": 1.166, "short": 0.258, "cosine": 2.876, "cosine2": 0.155, "close": 0.25,
    "complete_close": -0.288,
}  # fmt: skip
LEXICAL: dict[str, float] = {
    "bias": -4.889, "contained": 8.966, "contained3": -2.618, "missing": 0.882, "neighbours": -1.134,
    "order": 0.284, "complete": -0.387, "complete_order": -0.012, "complete_tight": 0.975, "spread": -0.312,
    "numbers": -5.158, "names": -1.074, "stranger": -0.878, "pair": -0.99, "denied": -4.685, "doubted": 0.19,
    "opposite": -1.27, "absent": 1.09, "short": -0.012,
}  # fmt: skip
# Words alone never reach the precision that "verified" asks for: without vectors only the exact words are verified.
VERIFIED, WEAK = {"full": 0.842, "lexical": EXACT}, {"full": 0.483, "lexical": 0.482}
# fitted: end

TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,:]\d+)*")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
LINK = re.compile(r"\]\([^()\s]*\)")
NEGATIONS = frozenset(["not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "without", "cannot", "n't", "hardly", "kein", "keine", "keinen", "nicht", "nie", "niemals", "ohne", "ne", "pas", "jamais", "sans", "sin", "nunca"])  # fmt: skip
OPPOSITES = (
    ("increase", "decrease"), ("rise", "fall"), ("rose", "fell"), ("gain", "lose"), ("more", "less"), ("more", "fewer"),
    ("higher", "lower"), ("high", "low"), ("before", "after"), ("first", "last"), ("largest", "smallest"),
    ("larger", "smaller"), ("most", "least"), ("north", "south"), ("east", "west"), ("northern", "southern"),
    ("eastern", "western"), ("above", "below"), ("win", "lose"), ("won", "lost"), ("accept", "reject"),
    ("allow", "forbid"), ("success", "failure"), ("always", "never"), ("all", "none"), ("begin", "end"),
    ("began", "ended"), ("open", "close"), ("buy", "sell"), ("male", "female"), ("men", "women"), ("old", "new"),
    ("older", "younger"), ("maximum", "minimum"), ("early", "late"), ("earlier", "later"), ("same", "different"),
)  # fmt: skip
OTHER: dict[str, set[str]] = {}
for _one, _two in OPPOSITES:
    OTHER.setdefault(_one, set()).add(_two)
    OTHER.setdefault(_two, set()).add(_one)
IRREGULAR = {"began": "begin", "begun": "begin", "became": "become", "won": "win", "lost": "lose", "took": "take",
             "taken": "take", "made": "make", "gave": "give", "given": "give", "went": "go", "came": "come",
             "wrote": "write", "written": "write", "led": "lead", "held": "hold", "built": "build", "found": "find",
             "said": "say", "left": "leave", "rose": "rise", "fell": "fall", "grew": "grow",
             "died": "die", "born": "bear", "sold": "sell", "bought": "buy", "thought": "think", "brought": "bring",
             "kept": "keep", "met": "meet", "sent": "send", "spent": "spend", "men": "man", "women": "woman",
             "children": "child", "people": "person", "knew": "know", "known": "know", "saw": "see", "seen": "see",
             "chose": "choose", "chosen": "choose", "broke": "break", "spoke": "speak", "ran": "run"}  # fmt: skip
WORDS_OF_NUMBERS = {word: str(value) for value, word in enumerate(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"])} | {"thirty": "30", "forty": "40", "fifty": "50", "hundred": "100"}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """score: chance of support, 0..1. start, end: the best span in the passage, `text` its words.

    method: "exact", "words+vectors" or "words" (no embedder at hand). features: what was measured, for the page.
    """

    label: Label
    score: float
    method: str
    start: int
    end: int
    text: str
    features: dict[str, float]


@dataclass(frozen=True)
class Window:
    start: int
    end: int
    features: dict[str, float]

    @property
    def rank(self) -> float:
        one = self.features
        return one["contained"] + 0.5 * one["neighbours"] + 0.3 * one["order"] - 0.3 * (one["numbers"] + one["names"])


def check(rt: Runtime | None, sentence: str, passage: str, *, embedder: str | None = None) -> Verdict:
    """Judge one claim by one passage. Without `rt`, or when the embedder is not there, words alone decide."""
    return check_many(rt, [(sentence, passage)], embedder=embedder)[0]


def check_many(rt: Runtime | None, pairs: list[tuple[str, str]], *, embedder: str | None = None) -> list[Verdict]:
    """The same for many pairs; all vectors are made in one call."""
    found = [windows(claim[:LONGEST], passage[:PASSAGE])[:WINDOWS] for claim, passage in pairs]
    texts: dict[str, int] = {}
    for (claim, passage), best in zip(pairs, found, strict=True):
        for text in (claim, *(passage[one.start : one.end] for one in best)):
            texts.setdefault(text[:LONGEST], len(texts))
    vectors = _vectors(rt, embedder, list(texts))
    return [
        _verdict(claim, passage, best, None if vectors is None else (vectors, texts))
        for (claim, passage), best in zip(pairs, found, strict=True)
    ]


def _vectors(rt: Runtime | None, embedder: str | None, texts: list[str]) -> Any:
    if rt is None or not texts:
        return None
    from webapp.embedding import service as embedding

    try:
        return embedding.embed(rt, embedder or embedding.default(rt), texts)
    except AppError:
        return None


def _verdict(claim: str, passage: str, best: list[Window], vectors: tuple[Any, dict[str, int]] | None) -> Verdict:
    if not best:
        return Verdict("unsupported", 0.0, "words", 0, 0, "", {})
    kind = "lexical" if vectors is None else "full"
    scored = []
    for one in best:
        features = dict(one.features)
        if vectors is not None:
            made, number = vectors
            spot = passage[one.start : one.end][:LONGEST]
            features["cosine"] = float(made[number[claim[:LONGEST]]] @ made[number[spot]])
            features |= together(features)
        model = FULL if vectors is not None else LEXICAL
        scored.append((EXACT if features["exact"] else probability(features, model), one, features))
    score, window, features = max(scored, key=lambda one: one[0])
    label: Label = "verified" if score >= VERIFIED[kind] else "weak" if score >= WEAK[kind] else "unsupported"
    method = "exact" if features["exact"] else "words+vectors" if vectors is not None else "words"
    shown = {name: round(value, 3) for name, value in features.items()}
    return Verdict(label, round(score, 3), method, window.start, window.end, passage[window.start : window.end], shown)


def together(features: dict[str, float]) -> dict[str, float]:
    """How the similarity of vectors adds to that of words."""
    cosine = features["cosine"]
    return {"cosine2": cosine**2, "close": cosine * features["contained"],
            "complete_close": cosine * features["complete"]}  # fmt: skip


def probability(features: dict[str, float], model: dict[str, float]) -> float:
    total = model.get("bias", 0.0) + sum(model.get(name, 0.0) * value for name, value in features.items())
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


# -- windows and their features --------------------------------------------------------------------------------------


def windows(claim: str, passage: str) -> list[Window]:
    """Single sentences and pairs of neighbours, best agreement of words first; [] when there is nothing to compare."""
    from webapp.core.sentences import split

    wanted = Claim(claim)
    spans = [(one.start, one.end) for one in split(passage)]
    if not spans or not wanted.stems:
        return []
    everywhere = set(map(stem, tokens(passage)))
    pairs = [(one[0], two[1]) for one, two in zip(spans, spans[1:], strict=False) if two[1] - one[0] <= LONGEST]
    found = [
        Window(start, end, wanted.compare(passage[start:end], everywhere) | {"pair": float(place >= len(spans))})
        for place, (start, end) in enumerate(spans + pairs)
    ]
    # Of equally good windows the shorter one: pairs come after singles and the order is stable.
    return sorted(found, key=lambda one: -round(one.rank, 3))


class Claim:
    """A sentence to be judged, cut up once."""

    def __init__(self, text: str) -> None:
        self.text = text
        words = tokens(text)
        self.stems = [stem(word) for word in words if word.lower() not in FUNCTION and word.lower() not in NEGATIONS]
        self.pairs = list(zip(self.stems, self.stems[1:], strict=False))
        self.numbers = numbers(words)
        self.names = {stem(word) for word in words[1:] if word[0].isupper() and word.lower() not in FUNCTION}
        self.negated = negations(words)
        self.flat = flat(text)

    def compare(self, text: str, everywhere: set[str]) -> dict[str, float]:
        words = tokens(text)
        stems = [stem(word) for word in words if word.lower() not in FUNCTION and word.lower() not in NEGATIONS]
        there = set(stems)
        count = len(self.stems)
        contained = sum(one in there for one in self.stems) / count
        places: dict[str, list[int]] = {}
        for place, one in enumerate(stems):
            places.setdefault(one, []).append(place)
        near = sum(self._near(places, one, two) for one, two in self.pairs) / max(1, len(self.pairs))
        said = numbers(words) | {WORDS_OF_NUMBERS[one.lower()] for one in words if one.lower() in WORDS_OF_NUMBERS}
        complete, order = float(contained == 1), _common(self.stems, stems) / count
        spread = _spread(places, set(self.stems)) if contained else 1.0
        return {
            "contained": contained,
            "contained3": contained**3,
            "neighbours": near if self.pairs else contained,
            "order": order,
            "complete": complete,
            "complete_order": complete * order,
            "complete_tight": complete * (1 - spread),
            "missing": min(1.0, (count - round(contained * count)) / 4),
            "spread": spread,
            "numbers": sum(one not in said for one in self.numbers) / max(1, len(self.numbers)),
            "names": sum(one not in there for one in self.names) / max(1, len(self.names)),
            "stranger": float(bool(self.names - there)),
            "denied": float(self.negated > negations(words)),
            "doubted": float(not self.negated and negations(words) > 0),
            "opposite": float(any(OTHER.get(one, set()) & (there - set(self.stems)) and one not in there
                                  for one in self.stems)),
            "absent": sum(one not in everywhere for one in self.stems) / count,
            "exact": float(len(self.flat) >= 12 and self.flat in flat(text)),
            "short": float(count < 4),
        }  # fmt: skip

    def _near(self, places: dict[str, list[int]], one: str, two: str) -> bool:
        return any(0 < after - before <= 3 for before in places.get(one, ()) for after in places.get(two, ()))


def tokens(text: str) -> list[str]:
    return TOKEN.findall(LINK.sub("] ", text))


def stem(word: str) -> str:
    """Light: plural and past endings of English, which do no harm elsewhere; numbers without their commas."""
    word = word.lower().replace("’", "'").removesuffix("'s")
    if word[:1].isdigit():
        return _number(word)
    word = IRREGULAR.get(word, WORDS_OF_NUMBERS.get(word, word))
    for ending, least in (("ies", 5), ("ied", 5), ("ing", 6), ("ed", 5), ("es", 5), ("s", 4), ("e", 4), ("ly", 6)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending in ("ies", "ied") else "")
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]  # stopped, beginning
    word = word[:-1] if len(word) > 4 and word.endswith("e") else word
    return word[:7]  # translate, translation


def numbers(words: list[str]) -> set[str]:
    return {_number(one) for one in words if one[:1].isdigit()}


def _number(word: str) -> str:
    return re.sub(r"[,](?=\d{3}\b)", "", word)


def negations(words: list[str]) -> int:
    return sum(word.lower() in NEGATIONS or word.lower().endswith(("n't", "n’t")) for word in words)


def flat(text: str) -> str:
    return " ".join(tokens(text.lower()))


def _spread(places: dict[str, list[int]], wanted: set[str]) -> float:
    """How far apart the words of the claim stand: words between the first and the last of them, to their number."""
    spots = sorted((place, one) for one in wanted for place in places.get(one, ()))
    have = {one for _, one in spots}
    if len(have) < 2:
        return 0.0
    shortest, left, inside = len(spots) * 100, 0, dict.fromkeys(have, 0)
    for place, one in spots:  # the shortest window that holds each of them, in one pass
        inside[one] += 1
        while all(inside.values()):
            shortest = min(shortest, place - spots[left][0] + 1)
            inside[spots[left][1]] -= 1
            left += 1
    return min(1.0, (shortest / len(have) - 1) / 3)


def _common(one: list[str], two: list[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(two) + 1)
    for left in one:
        before = 0
        for place, right in enumerate(two, 1):
            kept = row[place]
            row[place] = before + 1 if left == right else max(row[place], row[place - 1])
            before = kept
    return row[-1]

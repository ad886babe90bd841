"""What several texts agree on, where they differ, and what each of them claims. Extractive: every word is a source's.

Sentences of different texts are paired by the nearness of their vectors. A pair says the same when the citation checker
takes each as support of the other; it differs when the two are about the same thing and a number, a negation or an
opposite stands against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from webapp.answers import plain
from webapp.core.errors import AppError
from webapp.core.sentences import split
from webapp.knowledge import checking

if TYPE_CHECKING:
    from webapp.runtime import Runtime

LONGEST_TEXT = 200_000  # characters of a text that are read
READ = 120  # sentences of a text that are compared, those nearest to the question or to the others first
CLAIMS = 8  # of a text
MOST = 20  # agreements, and differences
PAIRS = 400  # nearest ones, which are judged
NEAR, SAME = 0.4, 0.72  # cosines, or shares of words: perhaps about the same thing; saying the same
ABOUT = 0.5  # share of the words of one sentence in the other that makes them about the same thing
DENIED = 0.6  # the same where one of them denies
SHORTEST, LONGEST = 5, 80  # words of a sentence that claims something


@dataclass(frozen=True)
class SourceText:
    """One text. `key` names it in the result; document_id and version_id when it is stored."""

    key: str
    title: str
    text: str
    url: str | None = None
    document_id: str | None = None
    version_id: str | None = None


@dataclass(frozen=True)
class Place:
    """`quote` is `text[start:end]` of the source `key`."""

    key: str
    start: int
    end: int
    quote: str
    title: str
    url: str | None = None
    document_id: str | None = None
    version_id: str | None = None


@dataclass(frozen=True)
class Claim:
    """text: plain words for reading. spans: where it is said; of a difference, one of each side.

    why: of a difference "number", "negation" or "opposite". score: 0..1, how sure.
    """

    text: str
    spans: tuple[Place, ...]
    score: float
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """claims_by_source: key -> its claims, the most telling first. method: "sentences+vectors" or "sentences"."""

    agreements: tuple[Claim, ...]
    differences: tuple[Claim, ...]
    claims_by_source: Mapping[str, tuple[Claim, ...]]
    method: str

    def as_json(self) -> dict[str, Any]:
        return {"agreements": [one.as_json() for one in self.agreements],
                "differences": [one.as_json() for one in self.differences],
                "claims_by_source": {key: [one.as_json() for one in some]
                                     for key, some in self.claims_by_source.items()},
                "method": self.method}  # fmt: skip


@dataclass(frozen=True)
class _Said:
    source: int
    text: str
    place: Place


def compare(
    rt: Runtime | None,
    sources: Sequence[SourceText],
    question: str = "",
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Compare at least one text. Without `rt` or an embedder words alone decide. question: what matters, if anything."""
    said = [one for number, source in enumerate(sources) for one in _read(number, source)]
    vectors = _vectors(rt, [*(one.text for one in said), question or " ".join(one.title for one in sources)], cancelled)
    near = _nearness(said, vectors)
    weights = _weights(said, near, vectors, bool(question))
    kept = sorted(_strongest(said, weights))
    pairs = [(one, two) for place, one in enumerate(kept) for two in kept[place + 1 :]
             if said[one].source != said[two].source and near[one][two] >= NEAR]  # fmt: skip
    same, against = _related(rt, said, pairs, near)
    claims = {source.key: tuple(Claim(said[one].text, (said[one].place,), round(weights[one], 3))
                                for one in sorted(kept, key=lambda one: -weights[one])
                                if said[one].source == number)[:CLAIMS]
              for number, source in enumerate(sources)}  # fmt: skip
    against.sort(key=lambda one: -one.score)
    return Comparison(tuple(_grouped(said, same)[:MOST]), tuple(against[:MOST]), claims,
                      "sentences" if vectors is None else "sentences+vectors")  # fmt: skip


def _read(number: int, source: SourceText) -> Iterator[_Said]:
    seen = set()
    for one in split(source.text[:LONGEST_TEXT]):
        quote = source.text[one.start : one.end]
        text = plain.words(quote)
        key = text.casefold()
        if one.kind not in ("prose", "item") or key in seen or not SHORTEST <= len(text.split()) <= LONGEST:
            continue
        if text.endswith(("?", ":")):
            continue
        seen.add(key)
        place = Place(source.key, one.start, one.end, quote, source.title, source.url, source.document_id,
                      source.version_id)  # fmt: skip
        yield _Said(number, text, place)
        if len(seen) >= 4 * READ:
            return


def _vectors(rt: Runtime | None, texts: list[str], cancelled: Callable[[], bool]) -> Any:
    if rt is None:
        return None
    from webapp.embedding import service as embedding

    try:
        return embedding.embed(rt, embedding.default(rt), texts, cancelled=cancelled)
    except AppError:
        return None


def _nearness(said: Sequence[_Said], vectors: Any) -> Any:
    """Rows of 0..1: cosines, or the share of common stems."""
    if vectors is not None:
        made = vectors[: len(said)]
        return made @ made.T
    stems = [{checking.stem(word) for word in checking.tokens(one.text) if word.lower() not in checking.FUNCTION}
             for one in said]  # fmt: skip
    return [[len(one & two) / max(1, min(len(one), len(two))) for two in stems] for one in stems]


def _weights(said: Sequence[_Said], near: Any, vectors: Any, asked: bool) -> list[float]:
    """How telling each sentence is: near to the question, or else to the other sentences of all texts."""
    if asked and vectors is not None:
        return [max(0.0, float(one @ vectors[-1])) for one in vectors[: len(said)]]
    return [sum(max(0.0, float(value)) for value in row) / max(1, len(said)) for row in near]


def _strongest(said: Sequence[_Said], weights: Sequence[float]) -> list[int]:
    counts: dict[int, int] = {}
    kept = []
    for one in sorted(range(len(said)), key=lambda one: -weights[one]):
        counts[said[one].source] = counts.get(said[one].source, 0) + 1
        if counts[said[one].source] <= READ:
            kept.append(one)
    return kept


def _related(
    rt: Runtime | None, said: Sequence[_Said], pairs: Sequence[tuple[int, int]], near: Any
) -> tuple[list[tuple[int, int, float]], list[Claim]]:
    """The pairs that say the same, and the claims of those that say the contrary; the surest first."""
    pairs = sorted(pairs, key=lambda pair: -near[pair[0]][pair[1]])[:PAIRS]
    texts = [(said[one].text, said[two].text) for one, two in pairs]
    there = checking.check_many(rt, texts)
    back = checking.check_many(rt, [(two, one) for one, two in texts])
    same, against = [], []
    for (one, two), forth, again in zip(pairs, there, back, strict=True):
        why = _conflict(forth, again)
        close = float(near[one][two])
        if why:
            against.append(Claim(f"{said[one].text} — {said[two].text}", (said[one].place, said[two].place),
                                 round(close, 3), why))  # fmt: skip
        elif close >= SAME and {forth.label, again.label} != {"unsupported"}:  # one may say more than the other
            same.append((one, two, close))
        elif "verified" in (forth.label, again.label):
            same.append((one, two, max(forth.score, again.score)))
    return same, against


def _conflict(forth: checking.Verdict, again: checking.Verdict) -> str:
    """What stands between two sentences about the same thing: they share most words, and one thing is against it."""
    one, two = forth.features, again.features
    shared = max(one["contained"], two["contained"]) if one and two else 0.0
    if shared < ABOUT:
        return ""
    if one["numbers"] == two["numbers"] == 1:
        return "number"
    if shared >= DENIED and (one["denied"] or two["denied"]):
        return "negation"
    return "opposite" if one["opposite"] and two["opposite"] else ""


def _grouped(said: Sequence[_Said], same: Sequence[tuple[int, int, float]]) -> list[Claim]:
    """Sentences that say the same as one claim, in the words of the one that most others are paired with."""
    group = {one: one for pair in same for one in pair[:2]}

    def root(one: int) -> int:
        while group[one] != one:
            group[one] = group[group[one]]
            one = group[one]
        return one

    for one, two, _ in same:
        group[root(two)] = root(one)
    members: dict[int, list[int]] = {}
    for one in group:
        members.setdefault(root(one), []).append(one)
    scores = {key: max(score for one, two, score in same if root(one) == key) for key in members}
    degree = {one: sum(one in pair[:2] for pair in same) for one in group}
    claims = []
    for key in sorted(members, key=lambda key: (-len({said[one].source for one in members[key]}), -scores[key])):
        spoken = max(members[key], key=lambda one: (degree[one], -one))
        first: dict[int, int] = {}
        for one in sorted(members[key], key=lambda one: (one != spoken, -degree[one], one)):
            first.setdefault(said[one].source, one)
        claims.append(Claim(said[spoken].text, tuple(said[one].place for one in first.values()),
                            round(scores[key], 3)))  # fmt: skip
    return claims

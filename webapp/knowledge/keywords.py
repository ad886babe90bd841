"""Passages by words: BM25 on both databases. The index follows the rows by triggers (migration 0003).

SQLite: FTS5 with its own bm25. Postgres has no BM25, and its ts_rank knows no rare words: candidates come from the GIN
index by the rarity of the words they hold, and the best of these are ranked by BM25 computed from their counts.
BM25: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework, k1 = 1.2 and b = 0.75 as in FTS5.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from webapp.core.words import FUNCTION, words

K1, B = 1.2, 0.75
TITLE_WEIGHT = 2.0  # a word of the title counts as two of the text
MAX_TERMS = 64  # a whole page pasted as a question is looked at so far
CANDIDATES = 400  # of Postgres, for the exact rank
SMALL_TABLE = 10_000  # rows that are counted; beyond that the planner's own estimate will do

WORD = re.compile(r"\w+")
# Words that ask or join. FTS5 has no stop words of its own, and with these a question matches every passage.
STOP = FUNCTION | words(
    "after all am any because before being both doing done down each either few further having here hers him",
    "itself just me might more most much must my no nor not off once only other ours out over own same shall some",
    "theirs then through too under until up upon us very while yours",
)


def terms(query: str) -> list[str]:
    """The words that are looked up, in order and as often as they are said; all of them if they are all stop words."""
    said = [word for word in WORD.findall(query.lower())[: 8 * MAX_TERMS] if len(word) <= 64]
    return ([word for word in said if word not in STOP] or said)[:MAX_TERMS]


def search(
    db: Session, query: str, collections: Sequence[str] | None, limit: int, only: Sequence[int] | None = None
) -> list[tuple[int, float]]:
    """(passage id, BM25), best first, in the given collections (None: in all there are), among `only` if given."""
    words = terms(query)
    if not words or (collections is not None and not collections) or (only is not None and not only):
        return []
    if db.get_bind().dialect.name == "postgresql":
        return _postgres(db, words, collections, limit, only)
    return _sqlite(db, words, collections, limit, only)


# -- SQLite ----------------------------------------------------------------------------------------------------------

ENOUGH = 1000  # passages that hold one of the rarest words; the common words then only order these
FEW = 100  # so many do where the next word is in more than COMMON
COMMON = 3000
COUNTED = 20_000  # beyond this it makes no difference any more how common a word is
FEW_OTHERS = 50  # collections
TEXTS = "{title heading text} : "
SCOPED = re.compile(r"every|[0-9a-f]{32}")  # what the index holds of collections, which no question is to find

# Ordered by `rank`, FTS5 sorts all that matches together with the places of the words; the function called by its name
# leaves the best to SQLite, in two thirds of the time.
# The plus keeps SQLite from asking FTS5 for each of the passages by itself, which counts all words anew each time.
BEST = """SELECT rowid, bm25(chunk_fts, {title}, 1.0, 1.0, 0.0) AS score FROM chunk_fts
WHERE chunk_fts MATCH :match {only} ORDER BY score LIMIT :limit"""
ANYWHERE = text(BEST.format(only="", title=TITLE_WEIGHT))
AMONG = text(BEST.format(only="AND +rowid IN (SELECT value FROM json_each(:only))", title=TITLE_WEIGHT))

COLLECTIONS = text("SELECT id FROM collections")


def _sqlite(
    db: Session, words: list[str], collections: Sequence[str] | None, limit: int, only: Sequence[int] | None
) -> list[tuple[int, float]]:
    """Passages that hold a rare word, by that alone and then, those that hold a common one too, by both.

    FTS5 has no optional word; "common OR something that is always true" is one, but FTS5 then looks into every passage
    there is. Two questions give the same scores in half the time.
    """
    scoped = _scope(db, collections)
    if only is not None:
        values = {"match": scoped.around(_any(words)), "limit": limit, "only": json.dumps(list(only))}
        return [(row[0], -row[1]) for row in db.execute(AMONG, values)]
    needed = _rarest(db, words, scoped)
    must = _any(word for word in words if word in needed)
    common = [word for word in words if word not in needed]
    scores: dict[int, float] = {}
    for match in (must, f"{must} AND {_any(common)}") if common else (must,):
        values = {"match": scoped.around(match), "limit": limit}
        scores.update((row[0], -row[1]) for row in db.execute(ANYWHERE, values))
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


class _Scope(NamedTuple):
    """What stands before and after what is looked for."""

    before: str = "("
    after: str = ")"

    def around(self, match: str) -> str:
        return f"{self.before}{match}{self.after}"


def _scope(db: Session, collections: Sequence[str] | None) -> _Scope:
    """Looked for in these collections, or not in the others where those are small.

    FTS5 counts a collection's passages like those of any word, each time: naming 100,000 costs 5 ms a question.
    """
    if collections is None:
        return _Scope()
    inside = set(collections)
    others = [one for one in db.scalars(COLLECTIONS) if one not in inside]
    if not others:
        return _Scope()
    if len(others) <= FEW_OTHERS and _held_by(db, [_in(others)], COMMON + 1)[0] <= COMMON:
        return _Scope(after=f") NOT {_in(others)}")
    return _Scope(before=f"{_in(collections)} AND (")


def _in(collections: Iterable[str]) -> str:
    return "scope : (" + _or(one.replace("-", "") for one in collections) + ")"


def _rarest(db: Session, words: list[str], scoped: _Scope) -> set[str]:
    """The rarest words that together are in ENOUGH passages, or in FEW: one of them to be held by every result.

    FTS5 computes a score for every passage that matches; with 100,000 passages a question's common words match most
    of them, and they decide little.
    """
    unique = list(dict.fromkeys(words))
    if len(unique) == 1:
        return {unique[0]}
    matches = [scoped.around(_any([word])) for word in unique]
    held = dict(zip(unique, _held_by(db, matches, COMMON + 1), strict=True))
    needed: set[str] = set()
    passages = 0
    for word in sorted(unique, key=lambda one: (held[one], -len(one))):
        if passages >= (FEW if held[word] > COMMON else ENOUGH):
            return needed
        if held[word] > COMMON:
            break
        needed.add(word)
        passages += held[word]
    if passages >= FEW:
        return needed
    rest = [word for word in unique if word not in needed]
    common = dict(zip(rest, _held_by(db, [scoped.around(_any([word])) for word in rest], COUNTED), strict=True))
    for word in sorted(common, key=lambda one: (common[one], -len(one))):
        if passages >= FEW:
            break
        needed.add(word)
        passages += common[word]
    return needed


HELD_BY = text(
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM chunk_fts WHERE chunk_fts MATCH asked.value LIMIT :most))"
    " FROM json_each(:matches) AS asked ORDER BY asked.key"
)


def _held_by(db: Session, matches: list[str], most: int) -> list[int]:
    """How many passages each of them finds, counted up to `most`."""
    return list(db.scalars(HELD_BY, {"matches": json.dumps(matches), "most": most}))


def _any(words: Iterable[str]) -> str:
    """Words that are said twice are there twice: FTS5 then counts them twice, as BM25 asks for.

    Only words of the index's own are kept out of its column; naming columns makes every other word slower.
    """
    words = list(words)
    return (TEXTS if any(SCOPED.fullmatch(word) for word in words) else "") + f"({_or(words)})"


def _or(words: Iterable[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)


# -- Postgres --------------------------------------------------------------------------------------------------------

LEXEMES = text("SELECT lexeme, cardinality(positions) FROM unnest(to_tsvector('english', :said))")
# Rarity alone picks the candidates: it needs no look into the rows, only the index.
FIND = """
WITH held AS MATERIALIZED (
    SELECT asked.lexeme, asked.times, found.chunk_id
    FROM unnest(CAST(:lexemes AS text[]), CAST(:times AS float[])) AS asked(lexeme, times),
    LATERAL (SELECT chunk_id FROM chunk_fts
             WHERE terms @@ CAST('''' || replace(replace(asked.lexeme, '\\', '\\\\'), '''', '''''') || '''' AS tsquery)
             {scope} {only} LIMIT :most) AS found),
common AS (SELECT lexeme, count(*) AS held_by FROM held GROUP BY lexeme),
best AS (
    SELECT chunk_id, sum(times * ln(1 + (:total - held_by + 0.5) / (held_by + 0.5))) AS rarity
    FROM held JOIN common USING (lexeme) GROUP BY chunk_id ORDER BY rarity DESC, chunk_id LIMIT :candidates)
SELECT best.chunk_id, chunk_fts.words, counted.lexeme, common.held_by,
       (SELECT sum(CASE weight WHEN 'B' THEN :title ELSE 1 END) FROM unnest(counted.weights) AS weight)
FROM best JOIN chunk_fts USING (chunk_id), LATERAL unnest(chunk_fts.terms) AS counted
JOIN common ON common.lexeme = counted.lexeme
"""
SIZE = text("SELECT reltuples FROM pg_class WHERE oid = 'chunk_fts'::regclass")
COUNT = text("SELECT count(*) FROM chunk_fts")


def _postgres(
    db: Session, words: list[str], collections: Sequence[str] | None, limit: int, only: Sequence[int] | None
) -> list[tuple[int, float]]:
    times = {row[0]: float(row[1]) for row in db.execute(LEXEMES, {"said": " ".join(words)})}
    if not times:
        return []
    total = float(db.scalar(SIZE) or 0)
    total = total if total > SMALL_TABLE else float(db.scalar(COUNT) or 0)
    statement = FIND.format(
        scope="AND collection_id = ANY(:collections)" if collections is not None else "",
        only="AND chunk_id = ANY(:only)" if only is not None else "",
    )
    values = {"lexemes": list(times), "times": list(times.values()), "total": total, "title": TITLE_WEIGHT,
              "candidates": max(CANDIDATES, limit), "most": COUNTED, **({"collections": list(collections)} if collections else {}),
              **({"only": list(only)} if only is not None else {})}  # fmt: skip
    rows = db.execute(text(statement), values).all()
    lengths = {row[0]: float(row[1]) for row in rows}
    average = sum(lengths.values()) / max(1, len(lengths)) or 1.0
    scores: defaultdict[int, float] = defaultdict(float)
    for chunk_id, length, lexeme, held_by, count in rows:
        rarity = math.log(1 + max(0.0, total - held_by + 0.5) / (held_by + 0.5))
        frequency = float(count) * (K1 + 1) / (float(count) + K1 * (1 - B + B * float(length) / average))
        scores[chunk_id] += times[lexeme] * rarity * frequency
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]

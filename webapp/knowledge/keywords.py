"""Passages by words: BM25 on both databases. The index follows the rows by triggers (migration 0003).

SQLite: FTS5 with its own bm25. Postgres has no BM25, and its ts_rank knows no rare words: candidates come from the GIN
index by the rarest words, the best of them by the rarity of all they hold, and these are ranked by BM25 from their counts.
BM25: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework, k1 = 1.2 and b = 0.75 as in FTS5.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

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

# As ENOUGH. Of 200 SQuAD questions in 102,000 passages .800 find theirs among the first ten, .780 with 1,000, and .795 when
# all that hold any of the words are looked at, which takes twice as long.
ENOUGH_HERE = 3000
SURE = 500  # passages from which on a note is taken: it comes from a sample of 30,000

LEXEMES = text("SELECT lexeme, cardinality(positions) FROM unnest(to_tsvector('english', :said))")
HELD = """SELECT asked.query, (SELECT count(*) FROM (SELECT 1 FROM chunk_fts WHERE terms @@ CAST(asked.query AS tsquery)
    {where} LIMIT :most) AS found) FROM unnest(CAST(:queries AS text[])) AS asked(query)"""
# What ANALYZE noted of the commonest words: counting them would visit most of the table's pages.
NOTED = text("""SELECT elem, share FROM (
    SELECT unnest(most_common_elems::text::text[]) AS elem, unnest(most_common_elem_freqs) AS share FROM pg_stats
    WHERE schemaname = current_schema() AND tablename = 'chunk_fts' AND attname = 'terms') AS noted
WHERE elem = ANY(:lexemes)""")
# Rarity alone picks the candidates, among the passages with a needed word. The weights of ts_rank_cd are at most 1; of
# one word it is the sum of the weights of its places.
FIND = """
WITH best AS MATERIALIZED (
    SELECT chunk_id, words, terms, {rarity} AS rarity FROM (
        SELECT chunk_id, words, terms FROM chunk_fts WHERE terms @@ CAST(:needed AS tsquery) {where} LIMIT :most) AS held
    ORDER BY rarity DESC, chunk_id LIMIT :candidates)
SELECT chunk_id, words, {counts} FROM best
"""
# How much of the table the collections are, by the same notes; what they do not name is a small part of it.
SHARE = text("""SELECT coalesce(sum(share), 0) FROM (
    SELECT unnest(most_common_vals::text::text[]) AS id, unnest(most_common_freqs) AS share FROM pg_stats
    WHERE schemaname = current_schema() AND tablename = 'chunk_fts' AND attname = 'collection_id') AS noted
WHERE id = ANY(:collections)""")
SIZE = text("SELECT greatest(reltuples, pg_stat_get_live_tuples(oid)) FROM pg_class WHERE oid = 'chunk_fts'::regclass")
COUNT = text("SELECT count(*) FROM chunk_fts")


def _postgres(
    db: Session, words: list[str], collections: Sequence[str] | None, limit: int, only: Sequence[int] | None
) -> list[tuple[int, float]]:
    times = {row[0]: float(row[1]) for row in db.execute(LEXEMES, {"said": " ".join(words)})}
    if not times:
        return []
    total = float(db.scalar(SIZE) or 0)
    total = total if total > SMALL_TABLE else float(db.scalar(COUNT) or 0)
    where, values = "", dict[str, Any]()
    if collections is not None:
        where, values = "AND collection_id = ANY(:collections)", {"collections": list(collections)}
    if only is not None:
        where, values = f"{where} AND chunk_id = ANY(:only)", {**values, "only": list(only)}
    held, needed = _postgres_rarest(db, list(times), total, where, values)
    rarity = {one: math.log(1 + max(0.0, total - held[one] + 0.5) / (held[one] + 0.5)) for one in times}
    rows = _postgres_counts(
        db, list(times), needed, {one: times[one] * rarity[one] for one in times}, limit, where, values
    )
    average = sum(float(row[1]) for row in rows) / max(1, len(rows)) or 1.0
    scores: dict[int, float] = {}
    for chunk_id, length, *counts in rows:
        weak = K1 * (1 - B + B * float(length) / average)
        scores[chunk_id] = sum(
            times[one] * rarity[one] * float(count) * (K1 + 1) / (float(count) + weak)
            for one, count in zip(times, counts, strict=True)
            if count
        )
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def _postgres_rarest(
    db: Session, lexemes: list[str], total: float, where: str, values: dict[str, Any]
) -> tuple[dict[str, int], set[str]]:
    """How many passages hold each, and those of which every result is to hold one (see `_rarest`)."""
    statement = text(HELD.format(where=where))

    def count(some: list[str], most: int) -> dict[str, int]:
        if not some:
            return {}
        of = {_quoted(one): one for one in some}
        rows = db.execute(statement, {"queries": list(of), "most": most, **values})
        return {of[row[0]]: int(row[1]) for row in rows}

    # Counting a word visits each passage that holds it: ANALYZE's note is taken where it speaks of enough of them.
    share = _noted_share(db, values) if total > SMALL_TABLE else 0.0
    noted = db.execute(NOTED, {"lexemes": lexemes}) if share else ()
    held = {row[0]: round(float(row[1]) * total) for row in noted if float(row[1]) * total * share > SURE}
    counted = count([one for one in lexemes if one not in held], COMMON + 1)
    held |= counted | count([one for one, many in counted.items() if many > COMMON], COUNTED)
    needed: set[str] = set()
    passages = 0
    for one in sorted(held, key=lambda one: (held[one], -len(one))):
        if passages >= (FEW if held[one] > COMMON else ENOUGH_HERE):
            break
        needed.add(one)
        passages += held[one]
    return held, needed


def _noted_share(db: Session, values: dict[str, Any]) -> float:
    """How much of all passages is looked through, 0..1; 0 for a few named ones."""
    if "only" in values:
        return 0.0
    return float(db.scalar(SHARE, values) or 0) if "collections" in values else 1.0


def _postgres_counts(
    db: Session,
    lexemes: list[str],
    needed: set[str],
    rarity: dict[str, float],
    limit: int,
    where: str,
    values: dict[str, Any],
) -> Sequence[Any]:
    """(passage id, its length, how often it holds each lexeme) of the best candidates by the rarity of what they hold."""
    asked = [f"CAST(:q{number} AS tsquery)" for number in range(len(lexemes))]
    weight = f"'{{{1 / TITLE_WEIGHT},{1 / TITLE_WEIGHT},1,{1 / TITLE_WEIGHT}}}'"
    statement = FIND.format(
        where=where,
        rarity=" + ".join(f"CASE WHEN terms @@ {one} THEN :r{number} ELSE 0 END" for number, one in enumerate(asked)),
        counts=", ".join(f"{TITLE_WEIGHT} * ts_rank_cd({weight}, terms, {one})" for one in asked),
    )
    given: dict[str, Any] = {f"q{number}": _quoted(one) for number, one in enumerate(lexemes)}
    given |= {f"r{number}": rarity[one] for number, one in enumerate(lexemes)}
    given |= {"needed": " | ".join(_quoted(one) for one in sorted(needed)), "most": COUNTED,
              "candidates": max(CANDIDATES, limit)}  # fmt: skip
    return db.execute(text(statement), {**given, **values}).all()


def _quoted(lexeme: str) -> str:
    """As a tsquery says it."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"

"""Passages by words, the same on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tests.conftest import Cast
from tests.knowledge.conftest import Shelf
from webapp.core.context import Ctx
from webapp.knowledge import keywords
from webapp.knowledge.models import Chunk, Document
from webapp.knowledge.service import collections


def found(shelf: Shelf, query: str, limit: int = 10, only: list[int] | None = None) -> list[str]:
    """Keys of the documents, best first."""
    with shelf.rt.unit(write=False) as db:
        hits = keywords.search(db, query, [shelf.collection_id], limit, only)
        chunks = {chunk.id: chunk.document_id for chunk in db.query(Chunk)}
        keys = {document.id: document.key for document in db.query(Document)}
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    assert all(score > 0 for _, score in hits)
    return [keys[chunks[id]] for id, _ in hits]


@pytest.fixture
def library(shelf: Shelf) -> Shelf:
    shelf.put("oil", "The price of oil rose in 1973 when the embargo began. Oil was dear.", "Oil crisis")
    shelf.put("gas", "Gas is burned for heating; its price follows the price of other fuels.", "Gas")
    shelf.put("war", "The embargo ended and the war was over. Nobody spoke of prices.", "A war")
    shelf.put("cats", "Cats sleep most of the day and hunt at night.", "Cats")
    return shelf


def test_rare_words_count_more_and_word_forms_are_one(library: Shelf) -> None:
    assert found(library, "When did the oil embargo begin?")[:2] == ["oil", "war"]
    assert found(library, "hunting cat") == ["cats"]
    assert set(found(library, "prices")) == {"oil", "gas", "war"}


def test_the_title_is_searched_too(library: Shelf) -> None:
    assert found(library, "crisis") == ["oil"]


def test_limits_and_choices(library: Shelf) -> None:
    assert len(found(library, "price", limit=1)) == 1
    cats = library.rows(Chunk, Chunk.title == "Cats")[0].id
    assert found(library, "sleep price", only=[cats]) == ["cats"]
    assert found(library, "sleep price", only=[]) == []


@pytest.mark.parametrize(
    "query",
    ["", "  ", "???", '"', "a AND OR NOT", "NEAR(x y)", "title:oil", "oil*", "^oil", "{title} : x", "'; DROP TABLE chunks",
     "\\", "o'il", "%", "oil\0embargo", "(", "x" * 5000, "word " * 5000, "🛢️", "油", "-oil", "+", ":", "ö" * 300],
)  # fmt: skip
def test_no_text_breaks_the_query(library: Shelf, query: str) -> None:
    found(library, query)


def test_a_question_of_stop_words_alone_is_still_asked(shelf: Shelf) -> None:
    shelf.put("who", "The Who are a band.", "Band")
    if shelf.rt.engine.dialect.name == "sqlite":
        assert found(shelf, "the who") == ["who"]
    else:
        assert found(shelf, "the who") == []  # Postgres' own index has no stop words


def test_removed_and_changed_words_are_gone_at_once(library: Shelf) -> None:
    library.put("oil", "Nothing of that is said here any more.", "Other")
    assert found(library, "oil") == []
    assert found(library, "said") == ["oil"]


def test_only_the_named_collections_are_searched(library: Shelf, request: pytest.FixtureRequest) -> None:
    cast: Cast = library.cast
    with library.as_(cast.alice) as ctx:
        other = collections.create(ctx, "Other").id
    first = Shelf(library.rt, cast, other)
    first.put("oil2", "Oil again, more oil, only oil.", "Oil")
    assert found(first, "oil") == ["oil2"]
    assert found(library, "oil") == ["oil"]
    with library.rt.unit(write=False) as db:
        assert len(keywords.search(db, "oil", None, 10)) == 2
        assert len(keywords.search(db, "oil", [other, library.collection_id], 10)) == 2
        assert keywords.search(db, "oil", [], 10) == []


def test_small_other_collections_are_left_out_by_name_with_the_same_scores(
    library: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    with library.as_(library.cast.alice) as ctx:
        other = collections.create(ctx, "Other").id
    Shelf(library.rt, library.cast, other).put("oil2", "Oil, its embargo and its price.", "Oil")

    def hits(query: str) -> list[tuple[int, float]]:
        with library.rt.unit(write=False) as db:
            return keywords.search(db, query, [library.collection_id], 10)

    for query in ("oil", "price of the oil embargo", "cats gas every"):
        monkeypatch.setattr(keywords, "FEW_OTHERS", 50)
        left_out = hits(query)
        monkeypatch.setattr(keywords, "FEW_OTHERS", 0)
        assert left_out == hits(query) != []


def test_the_words_of_the_index_itself_are_not_found(library: Shelf) -> None:
    """It keeps the collection of each passage as a word, and "every" with all of them."""
    assert found(library, "every") == []
    assert found(library, library.collection_id.replace("-", "")) == []
    library.put("all", "Every cat is grey.")
    assert found(library, "every") == ["all"]


def test_passages_behind_a_filter_are_asked_for_at_once(library: Shelf) -> None:
    """FTS5 asked for each of 2,000 by itself took seconds."""
    if library.rt.engine.dialect.name != "sqlite":
        pytest.skip("FTS5 only")
    with library.rt.unit(write=False) as db:
        values = {"match": '"oil"', "only": "[1, 2]", "limit": 10}
        plan = db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {keywords.AMONG.text}", values).all()
    (look,) = [row[-1] for row in plan if "chunk_fts" in row[-1]]
    assert "=" not in look.rpartition(":")[2], look


def test_the_best_are_those_that_fts5_ranks_first(library: Shelf) -> None:
    """It is not asked to rank, which takes longer; order and scores are those of its own ranking."""
    if library.rt.engine.dialect.name != "sqlite":
        pytest.skip("FTS5 only")
    for number in range(40):
        library.put(
            f"n{number}", "The price of oil. " * (number % 7) + f"Number {number}.", "Oil" if number % 5 else "Gas"
        )
    sql = (
        "SELECT rowid, -rank FROM chunk_fts WHERE chunk_fts MATCH :m AND rank MATCH 'bm25(2.0, 1, 1, 0)' ORDER BY rank"
    )
    with library.rt.unit(write=False) as db:
        ranked = [tuple(row) for row in db.execute(text(f"{sql} LIMIT 20"), {"m": '"price" OR "oil"'})]
        assert keywords.search(db, "price oil", None, 20) == sorted(ranked, key=lambda one: (-one[1], one[0]))


def test_common_words_order_what_the_rare_ones_find(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keywords, "ENOUGH", 5)
    monkeypatch.setattr(keywords, "ENOUGH_HERE", 5)
    for number in range(30):
        subject = "energy" if number % 3 == 0 else "matter"
        shelf.put(f"n{number}", f"Some words about {subject}, number {number} {'zeppelin' if number < 6 else 'ship'}.")
    shelf.put("best", "A zeppelin: energy, energy, energy, energy.")
    hits = found(shelf, "zeppelin energy", limit=50)
    assert hits[0] == "best"
    assert len(hits) == 7  # passages without the rare word are not even scored
    with shelf.rt.unit(write=False) as db:
        assert keywords.search(db, "zeppelin energy", None, 1)[0][1] > 0


def test_a_very_common_word_is_no_reason_to_score_its_passages(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the rarer ones are in too few, or there are none."""
    monkeypatch.setattr(keywords, "COMMON", 10)
    monkeypatch.setattr(keywords, "FEW", 3)
    for number in range(30):
        shelf.put(f"n{number}", f"Words about energy, number {number} {'zeppelin' if number < 4 else 'ship'}.")
    shelf.put("one", "A balloon flies without energy.")
    assert len(found(shelf, "zeppelin energy", limit=50)) == 4
    assert len(found(shelf, "balloon energy", limit=50)) == 31
    assert found(shelf, "balloon energy", limit=50)[0] == "one"
    assert len(found(shelf, "energy words", limit=50)) >= 30


def test_postgres_counts_words_as_they_stand_and_asks_its_notes_for_common_ones(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A word of the title twice, the others once; with ANALYZE's notes or without the same passages come first."""
    if shelf.rt.engine.dialect.name != "postgresql":
        pytest.skip("Postgres only")
    monkeypatch.setattr(keywords, "COMMON", 10)
    for number in range(40):
        shelf.put(
            f"n{number}", "Oil " * (number % 5 + 1) + f"is dear, number {number}.", "Oil" if number % 2 else "A price"
        )
    asked = "oil price o'oil"
    with shelf.rt.unit(write=False) as db:
        rows = keywords._postgres_counts(db, ["oil", "price"], {"oil"}, {"oil": 1.0, "price": 2.0}, 100, "", {})
        held = {row[0]: row[1] for row in db.execute(text("SELECT chunk_id, terms::text FROM chunk_fts"))}
        before = keywords.search(db, asked, None, 50)
    for chunk_id, _words, oil, _price in rows:
        places = held[chunk_id].split("'oil':")[1].split(" ")[0].split(",")
        assert oil == sum(2 if "B" in place else 1 for place in places)
    with shelf.rt.unit() as db:
        db.execute(text("ANALYZE chunk_fts"))
    with shelf.rt.unit(write=False) as db:
        noted = {row[0]: row[1] for row in db.execute(keywords.NOTED, {"lexemes": ["oil", "zeppelin"]})}
        assert noted == {"oil": pytest.approx(1.0)}
        assert {one for one, _ in keywords.search(db, asked, None, 10)} == {one for one, _ in before[:10]}
        monkeypatch.setattr(keywords, "SMALL_TABLE", 10)
        monkeypatch.setattr(keywords, "SURE", 10)
        assert {one for one, _ in keywords.search(db, asked, None, 10)} == {one for one, _ in before[:10]}


def test_postgres_counts_what_its_notes_say_too_little_of(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that are rare, and any word in a small part of the table; the rest is as the notes say."""
    if shelf.rt.engine.dialect.name != "postgresql":
        pytest.skip("Postgres only")
    monkeypatch.setattr(keywords, "SURE", 5_000)
    for number in range(40):
        shelf.put(f"n{number}", f"Oil is dear, number {number}." + " A zeppelin." * (number < 3))
    some = "AND collection_id = ANY(:collections)"
    with shelf.rt.unit() as db:
        db.execute(text("ANALYZE chunk_fts"))
        (here,) = db.scalars(text("SELECT DISTINCT collection_id FROM chunk_fts"))
        two = list(db.scalars(text("SELECT chunk_id FROM chunk_fts ORDER BY chunk_id LIMIT 2")))

        def held(where: str = "", **values: list[Any]) -> dict[str, int]:
            # a table of 20,000, as far as is said: what is noted is told by its size from what is counted
            return keywords._postgres_rarest(db, ["oil", "zeppelin"], 20_000.0, where, values)[0]

        assert held() == {"oil": 20_000, "zeppelin": 3}
        assert held(some, collections=[here]) == {"oil": 20_000, "zeppelin": 3}
        assert held(some, collections=["another"]) == {"oil": 0, "zeppelin": 0}
        assert held("AND chunk_id = ANY(:only)", only=two) == {"oil": 2, "zeppelin": 2}
        monkeypatch.setattr(keywords, "SMALL_TABLE", 30_000)
        assert held() == {"oil": 40, "zeppelin": 3}


def test_terms_keep_order_and_number() -> None:
    assert keywords.terms("What is the price of oil, and the price of gas?") == ["price", "oil", "price", "gas"]
    assert keywords.terms("to be or not to be") == ["to", "be", "or", "not", "to", "be"]
    assert len(keywords.terms("word " * 1000)) == 64


def test_a_stranger_has_no_collection_to_search(library: Shelf) -> None:
    with library.as_(library.cast.charlie, write=False) as ctx:
        assert collections.readable(Ctx(library.rt, ctx.db, library.cast.charlie)) == []

"""Search over both databases: who finds what, filters, notices, events. An instant embedder stands in for MiniLM."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from tests.conftest import make_cast
from tests.fakes import embedders
from tests.knowledge.conftest import Shelf
from tests.knowledge.test_embed import Quiet
from webapp.core.chroma import Folder
from webapp.core.context import Actor, Ctx
from webapp.core.errors import BadRequest, NoModel, NotFound
from webapp.embedding import service as embedding
from webapp.knowledge import embed
from webapp.knowledge.models import Collection, Document, SearchEvent
from webapp.knowledge.service import collections
from webapp.knowledge.service.filters import Filters
from webapp.knowledge.service.search import Found, clicked, recent, search
from webapp.runtime import Runtime

TEXTS = {
    "oil": ("Oil crisis", "The price of oil rose in 1973 when the embargo began. Oil was dear."),
    "gas": ("Gas", "Gas is burned for heating; its price follows the price of other fuels."),
    "war": ("A war", "The embargo ended and the war was over. Nobody spoke of prices."),
    "cats": ("Cats", "Cats sleep most of the day and hunt at night."),
}


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def shelf(request: pytest.FixtureRequest, make_rt: Callable[..., Runtime], tmp_path: Path) -> Iterator[Shelf]:
    embedders.use()
    env = {} if request.param == "embedded" else request.getfixturevalue("swept_services").env
    rt = make_rt(BRAINSTEM_EMBEDDERS="fake,fake:other", **env)
    rt.vectors = Folder(tmp_path / "chroma")
    cast = make_cast(rt)
    with rt.unit() as db:
        made = collections.create(Ctx(rt, db, cast.alice), "Papers", embedder="fake")
    shelf = Shelf(rt, cast, made.id)
    for key, (title, text) in TEXTS.items():
        shelf.put(key, text, title)
    embed.embed_collection(rt, made.id, Quiet())
    yield shelf
    rt.vectors.close()


def find(shelf: Shelf, query: str, who: Actor | None = None, **more: Any) -> Found:
    with shelf.as_(who or shelf.cast.alice, write=False) as ctx:
        return search(ctx, query, **more)


def keys(shelf: Shelf, found: Found) -> list[str]:
    of = {document.id: document.key for document in shelf.rows(Document)}
    return [of[hit.document_id] for hit in found.hits]


def test_words_and_meaning_together_and_each_alone(shelf: Shelf) -> None:
    found = find(shelf, "when did the oil embargo begin")
    assert keys(shelf, found)[0] == "oil"
    best = found.hits[0]
    assert best.keyword is not None
    assert best.vector is not None
    assert best.score == best.fused <= 1.0
    assert found.notice is None
    assert {"keyword", "embed", "vector", "rows"} == set(found.parts)
    words = find(shelf, "oil embargo", mode="keyword")
    assert keys(shelf, words) == ["oil", "war"]
    assert all(hit.vector is None for hit in words.hits)
    meaning = find(shelf, "oil embargo", mode="vector")
    assert len(meaning.hits) == 4
    assert all(hit.keyword is None and hit.score == max(0.0, hit.vector or 0.0) for hit in meaning.hits)


def test_candidates_are_looked_up_one_by_one(shelf: Shelf) -> None:
    """SQLite would rather walk through all passages of the collection, if it is named beside the ids."""
    if shelf.rt.engine.dialect.name != "sqlite":
        pytest.skip("Postgres chooses by its statistics")
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        asked.append((statement, values))

    event.listen(shelf.rt.engine, "before_cursor_execute", note)
    find(shelf, "oil embargo")
    event.remove(shelf.rt.engine, "before_cursor_execute", note)
    of_passages = [one for one in asked if "FROM chunks" in one[0]]
    assert of_passages
    with shelf.rt.unit(write=False) as db:
        for statement, values in of_passages:
            plan = db.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            assert not [row for row in plan if "SCAN chunks" in str(row) or "ix_chunks" in str(row)], (statement, plan)


def test_a_hit_stands_on_exact_words(shelf: Shelf) -> None:
    hit = find(shelf, "oil").hits[0]
    assert hit.text == TEXTS["oil"][1][hit.start : hit.end]
    assert hit.citation["quote"] == hit.text
    assert hit.citation["version_id"] == hit.version_id
    assert [hit.snippet.text[a:b] for a, b in hit.snippet.marks] == ["oil", "Oil"]


def test_strangers_find_nothing_and_readers_what_is_shared(shelf: Shelf) -> None:
    for who in (shelf.cast.bob, shelf.cast.charlie):
        found = find(shelf, "oil", who)
        assert found.hits == []
        assert found.notice is not None
        assert found.notice.code == "no_collections"
        with pytest.raises(NotFound):
            find(shelf, "oil", who, collections=[shelf.collection_id])
    with shelf.as_(shelf.cast.alice) as ctx:
        collections.share(ctx, shelf.collection_id, "bob")
    assert keys(shelf, find(shelf, "oil", shelf.cast.bob))[0] == "oil"
    assert keys(shelf, find(shelf, "oil", shelf.cast.bob, collections=[shelf.collection_id]))[0] == "oil"
    assert find(shelf, "oil", shelf.cast.charlie).hits == []


def test_somebody_elses_better_passage_never_shows(shelf: Shelf) -> None:
    with shelf.as_(shelf.cast.bob) as ctx:
        other = collections.create(ctx, "Bob's", embedder="fake").id
    bobs = Shelf(shelf.rt, shelf.cast, other)
    for number in range(120):
        bobs.put(f"secret{number}", f"Oil embargo, oil embargo, oil, secret {number}.", "Oil embargo")
    embed.embed_collection(shelf.rt, other, Quiet())
    assert set(keys(shelf, find(shelf, "oil embargo"))) <= set(TEXTS)
    assert all(key.startswith("secret") for key in keys(shelf, find(shelf, "oil embargo", shelf.cast.bob)))
    everything = find(shelf, "oil embargo", shelf.cast.root)
    assert everything.hits == []  # an administrator reads nobody's documents


def test_filters(shelf: Shelf) -> None:
    shelf.put("old", "An old word on oil.", "Old", published="1999-05-01", language="en")
    shelf.put("neu", "Ein Wort über oil.", "Neu", published="2024-05-01", language="de")
    for mode in ("hybrid", "keyword", "vector"):
        assert keys(shelf, find(shelf, "oil", mode=mode, filters=Filters(languages=("de",)))) in (["neu"], [])
    assert keys(shelf, find(shelf, "oil", filters=Filters(until="1999-12-31"))) == ["old"]
    assert "old" not in keys(shelf, find(shelf, "oil", filters=Filters(since="2000-01-01")))
    assert keys(shelf, find(shelf, "oil", filters=Filters(since="2024-05-01", until="2024-05-01"))) == ["neu"]
    assert find(shelf, "oil", filters=Filters(min_quality=0.1)).hits == []  # nothing was assessed yet
    assert find(shelf, "oil", filters=Filters(source_ids=("none",))).hits == []
    cats = next(document.id for document in shelf.rows(Document) if document.key == "cats")
    assert keys(shelf, find(shelf, "sleep oil", filters=Filters(document_ids=(cats,)))) == ["cats"]
    assert len(find(shelf, "oil", filters=Filters(content_types=("text/",))).hits) == 6
    for bad in ("1999-13-01", "yesterday", "9999-12-31"):
        with pytest.raises(BadRequest):
            find(shelf, "oil", filters=Filters(since=bad))


def test_a_wide_filter_is_kept_too(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.knowledge.service.search.EXACT", 2)
    shelf.put("neu", "Ein Wort über oil.", "Neu", language="de")
    found = find(shelf, "oil price", filters=Filters(content_types=("text/",)))
    assert len(found.hits) == 5
    monkeypatch.setattr("webapp.knowledge.service.search.EXACT", 0)
    assert keys(shelf, find(shelf, "oil", filters=Filters(languages=("de",)))) == ["neu"]


def test_many_passages_of_one_document_take_turns_with_others(shelf: Shelf) -> None:
    shelf.put("long", "\n\n".join(f"## Part {n}\n\n" + "Oil and more oil. " * 30 for n in range(5)), "Long")
    found = find(shelf, "oil")
    assert len(set(keys(shelf, found))) == 5
    once = find(shelf, "oil", k=2)
    assert len(set(keys(shelf, once))) == 2
    passages = next(document.chunk_count for document in shelf.rows(Document) if document.key == "long")
    assert next(hit.more for hit in once.hits if hit.title == "Long") == passages - 1 > 3
    assert keys(shelf, find(shelf, "oil", k=5, per_document=0)).count("long") > 1


def test_passages_not_embedded_yet_are_found_by_words_with_a_notice(shelf: Shelf) -> None:
    with shelf.as_(shelf.cast.alice) as ctx:
        fresh = collections.create(ctx, "Fresh", embedder="fake").id
    assert find(shelf, "zeppelin", collections=[fresh]).notice is None  # nothing in it: nothing is missing
    Shelf(shelf.rt, shelf.cast, fresh).put("z", "A zeppelin flies.", "Z")
    found = find(shelf, "zeppelin", collections=[fresh])
    assert keys(shelf, found) == ["z"]
    assert found.notice is not None
    assert found.notice.code == "pending"


def test_a_deleted_index_leaves_the_words_and_says_so(shelf: Shelf, tmp_path: Path) -> None:
    shelf.rt.vectors.close()
    shutil.rmtree(tmp_path / "chroma")
    found = find(shelf, "oil embargo")
    assert keys(shelf, found)[0] == "oil"
    assert found.notice is not None
    assert found.notice.code == "no_index"
    assert "reindex" in found.notice.suggestion
    assert keys(shelf, find(shelf, "oil embargo", mode="vector"))[0] == "oil"


def test_a_missing_embedder_leaves_the_words_and_says_so(shelf: Shelf) -> None:
    fake: Any = embedding._get(shelf.rt, "fake")
    fake.broken = NoModel("The model is not here.", suggestion="Install it.")
    found = find(shelf, "oil embargo")
    fake.broken = None
    assert keys(shelf, found)[0] == "oil"
    assert found.notice is not None
    assert (found.notice.code, found.notice.suggestion) == ("no_model", "Install it.")


def test_a_vector_whose_passage_is_gone_leads_nowhere(shelf: Shelf) -> None:
    shelf.put("oil", "Nothing of the kind.", "Other")  # the old vector is still in the index
    found = find(shelf, "the price of oil rose in 1973", mode="vector")
    assert "oil" not in keys(shelf, found)
    assert len(found.hits) == 3


def test_no_transaction_is_open_while_a_model_works(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = embedding._get(shelf.rt, "fake")
    seen = []
    vector = fake.embed

    def watch(*args: Any, **more: Any) -> Any:
        seen.append(shelf.rt.engine.pool.checkedout())  # type: ignore[attr-defined]
        return vector(*args, **more)

    monkeypatch.setattr(fake, "embed", watch)
    find(shelf, "oil", mode="vector")
    assert seen == [0]


def test_searches_are_recorded_and_typing_is_one(shelf: Shelf) -> None:
    find(shelf, "oil", filters=Filters(languages=("en",)))
    [event] = shelf.rows(SearchEvent)
    assert (event.query, event.via, event.results, event.owner_id) == ("oil", "api", 0, shelf.cast.alice.id)
    assert event.filters == {"languages": ["en"]}
    for typed in ("emb", "embar", "embargo"):
        found = find(shelf, typed, via="page")
    find(shelf, "cats", via="page")
    find(shelf, "nothing", record=False)
    assert [event.query for event in shelf.rows(SearchEvent)] == ["oil", "embargo", "cats"]
    with shelf.as_(shelf.cast.alice) as ctx:
        assert recent(ctx) == ["cats", "embargo"]
        assert found.event_id is not None
        clicked(ctx, found.event_id, found.hits[0].document_id)
    assert shelf.rows(SearchEvent)[1].clicked == found.hits[0].document_id
    with shelf.as_(shelf.cast.charlie) as ctx, pytest.raises(NotFound):
        clicked(ctx, found.event_id, found.hits[0].document_id)


@pytest.mark.parametrize("query", ["", "   ", "\n", "\0"])
def test_an_empty_question_is_refused(shelf: Shelf, query: str) -> None:
    with pytest.raises(BadRequest):
        find(shelf, query)


def test_two_embedders_are_searched_side_by_side(shelf: Shelf) -> None:
    with shelf.as_(shelf.cast.alice) as ctx:
        other = collections.create(ctx, "Other", embedder="fake:other").id
    Shelf(shelf.rt, shelf.cast, other).put("more", "Oil embargo, told by another embedder.", "More")
    embed.embed_collection(shelf.rt, other, Quiet())
    found = find(shelf, "oil embargo", mode="vector")
    assert {"more", "oil"} <= set(keys(shelf, found))
    assert len(shelf.rows(Collection)) == 2

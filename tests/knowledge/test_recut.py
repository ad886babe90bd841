"""Another embedder with a smaller window: passages are cut anew, the old ones serve, citations stay what they were."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes import embedders
from tests.fakes.lab import Lab
from tests.knowledge.conftest import Shelf
from tests.knowledge.test_embed import Quiet, agrees, change, row
from webapp.core.chroma import Folder
from webapp.core.context import Ctx
from webapp.core.errors import Conflict, NoModel
from webapp.knowledge import consistency, embed, recut
from webapp.knowledge.models import Chunk, ChunkDraft, Collection, Document, DocumentVersion
from webapp.knowledge.service import citations, collections, documents, search
from webapp.runtime import Runtime
from webapp.tasks.models import Task

NARROW = 24  # tokens


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def shelf(request: pytest.FixtureRequest, make_rt: Callable[..., Runtime], tmp_path: Path) -> Iterator[Shelf]:
    embedders.use()
    env = {} if request.param == "embedded" else request.getfixturevalue("swept_services").env
    rt = make_rt(BRAINSTEM_EMBEDDERS="fake,fake:narrow,fake:wide", **env)
    rt.vectors = Folder(tmp_path / "chroma")
    cast = make_cast(rt)
    with rt.unit() as db:
        made = collections.create(Ctx(rt, db, cast.alice), "Papers", embedder="fake")
    found = Shelf(rt, cast, made.id)
    fill(found, 30)
    embed.embed_collection(rt, made.id, Quiet())
    yield found
    rt.vectors.close()


def text_of(number: int) -> str:
    return " ".join(
        f"Sentence {n} of paper {number} tells about subject {n * number % 97} at length." for n in range(9)
    )


def fill(shelf: Shelf, count: int, first: int = 0) -> None:
    texts = [
        documents.Incoming(f"d{n}", f"Paper {n}", text_of(n), "text/plain") for n in range(first, first + count)
    ] + [documents.Incoming(f"s{n}", f"Short {n}", f"Only {n} words.", "text/plain") for n in range(first, first + 3)]
    documents.store_many(shelf.rt, shelf.collection_id, texts)


def chunks(shelf: Shelf) -> list[Chunk]:
    return shelf.rows(Chunk, Chunk.collection_id == shelf.collection_id)


def fits(shelf: Shelf) -> None:
    """Each passage is its span, each fits the window of the embedder that serves, nothing is left over."""
    agrees(shelf)
    assert shelf.rows(ChunkDraft) == []
    versions = {one.id: one.text for one in shelf.rows(DocumentVersion)}
    counts: dict[str, int] = {}
    for one in chunks(shelf):
        assert one.text == versions[one.version_id][one.start : one.end]
        assert len(re.findall(r"\w+|[^\w\s]", one.text)) <= NARROW - 2 - NARROW // 8
        counts[one.document_id] = counts.get(one.document_id, 0) + 1
    assert counts == {one.id: one.chunk_count for one in shelf.rows(Document)}


def find(shelf: Shelf, query: str, mode: str = "vector") -> search.Found:
    with shelf.as_(shelf.cast.alice) as ctx:
        return search.search(ctx, query, mode=mode, record=False)


def test_passages_fit_the_new_window_and_citations_stay(shelf: Shelf) -> None:
    before = chunks(shelf)
    assert max(one.tokens for one in before) > NARROW
    with shelf.as_(shelf.cast.alice) as ctx:
        cited = [citations.make(ctx.db, ctx.user.id, one.version_id, one.start, one.end) for one in before[::7]]
        kept = {one.id: (one.version_id, one.start, one.end, one.quote) for one in cited}
    change(shelf, "fake:narrow")
    told = Quiet()
    say = told.progress

    def look(percent: float, message: str = "", **rest: Any) -> None:
        """While it is made, both sides of the search are what they were."""
        say(percent, message, **rest)
        assert [one.id for one in chunks(shelf)] == [one.id for one in before]
        hit = find(shelf, before[5].text).hits[0]
        assert (hit.text, hit.vector) == (before[5].text, pytest.approx(1.0, abs=0.05))
        assert consistency.check(shelf.rt, shelf.collection_id).sound  # type: ignore[union-attr]

    told.progress = look  # type: ignore[method-assign, assignment]
    assert embed.embed_collection(shelf.rt, shelf.collection_id, told)["swapped"]
    assert told.said
    fits(shelf)
    after = chunks(shelf)
    assert len(after) > 2 * len(before)
    same = {(one.version_id, one.start, one.end): one.id for one in before}
    renewed = [one for one in after if (one.version_id, one.start, one.end) not in same]
    assert min(one.id for one in renewed) > max(one.id for one in before), "no number is used twice"
    assert all(same[key] == one.id for one in after if (key := (one.version_id, one.start, one.end)) in same)
    with shelf.as_(shelf.cast.alice) as ctx:
        for ident, (version, start, end, quote) in kept.items():
            opened = citations.open_(ctx, ident)
            assert opened.version.id == version
            assert opened.version.text[start:end] == opened.citation.quote == quote
            assert opened.current
    found = {hit.chunk_id: hit.text for hit in find(shelf, renewed[9].text, "hybrid").hits}
    assert found[renewed[9].id] == renewed[9].text


@pytest.mark.parametrize("where", ["_keep", "_change_places", "mark"])
def test_what_breaks_off_is_taken_up_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    change(shelf, "fake:narrow")
    module: Any = embed if where == "mark" else recut
    original, seen = getattr(module, where), []

    def broken(*args: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            raise RuntimeError("power cut")
        return original(*args)

    with monkeypatch.context() as patched:
        patched.setattr(module, where, broken)
        with pytest.raises(RuntimeError):
            embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    if where == "_change_places":  # half of them are drafts still, and found all the same
        assert row(shelf).embedder == "fake:narrow"
        waiting = shelf.rows(ChunkDraft)
        assert find(shelf, waiting[-1].text).hits[0].chunk_id == waiting[-1].id
        assert consistency.check(shelf.rt, shelf.collection_id).sound  # type: ignore[union-attr]
        with pytest.raises(Conflict):
            change(shelf, "fake:wide")
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    fits(shelf)


def test_what_comes_changes_and_goes_meanwhile(shelf: Shelf) -> None:
    change(shelf, "fake:narrow")
    told = Quiet()
    say = told.progress

    def meanwhile(percent: float, message: str = "", **rest: Any) -> None:
        say(percent, message, **rest)
        if len(told.said) == 1:
            fill(shelf, 5, first=100)
            shelf.put("d3", text_of(3000), title="Paper 3")
            shelf.put("d4", text_of(4), title="Another title")
            with shelf.rt.unit() as db:
                from webapp.knowledge.service.removal import remove_documents

                gone = db.query(Document.id).filter(Document.key.in_(["d5", "s1"])).all()
                remove_documents(db, [one[0] for one in gone])

    told.progress = meanwhile  # type: ignore[method-assign, assignment]
    embed.embed_collection(shelf.rt, shelf.collection_id, told)
    fits(shelf)
    assert {one.key for one in shelf.rows(Document)} >= {"d100", "d104", "d3"}
    assert {one.title for one in chunks(shelf)} >= {"Another title"}


def test_a_change_of_mind_drops_the_drafts(shelf: Shelf) -> None:
    before = [(one.id, one.start) for one in chunks(shelf)]
    change(shelf, "fake:narrow")
    told = Quiet()
    say = told.progress

    def mind(percent: float, message: str = "", **rest: Any) -> None:
        say(percent, message, **rest)
        if len(told.said) == 1:
            assert shelf.rows(ChunkDraft)
            change(shelf, "fake:wide")

    told.progress = mind  # type: ignore[method-assign, assignment]
    embed.embed_collection(shelf.rt, shelf.collection_id, told)
    assert row(shelf).embedder == "fake:wide"
    assert [(one.id, one.start) for one in chunks(shelf)] == before, "its window is that of the first one"
    agrees(shelf)


def test_the_half_hourly_round_may_come_first(shelf: Shelf) -> None:
    """It embeds a few documents as they are; when they are cut anew the vectors of that go."""
    change(shelf, "fake:narrow")
    first = [one.id for one in shelf.rows(Document)[:4]]
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet(), documents=first)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    fits(shelf)


def test_nothing_is_cut_by_the_guess_of_an_embedder_that_is_not_there(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.embedding.base import EmbedderInfo

    change(shelf, "fake:narrow")
    gone = EmbedderInfo("fake:narrow", "Fake", None, 256, False, "It is gone.", "Bring it back.")
    monkeypatch.setattr("tests.fakes.embedders.Fake.info", lambda self: gone)
    with pytest.raises(NoModel, match="It is gone"):
        embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    assert shelf.rows(ChunkDraft) == []


def test_the_owner_changes_it_and_a_task_does_the_work(shelf: Shelf) -> None:
    lab = Lab(shelf.rt)
    with shelf.as_(shelf.cast.alice) as ctx:
        collections.update(ctx, shelf.collection_id, embedder="fake:narrow")
        assert collections.update(ctx, shelf.collection_id, embedder="fake:narrow").building == 2, "said twice is once"
    assert (row(shelf).embedder, row(shelf).building_embedder) == ("fake", "fake:narrow")
    lab.run_all("embedding")
    [task] = shelf.rows(Task, Task.kind == "maintenance.embed")
    assert task.status == "completed", task.error
    assert row(shelf).embedder == "fake:narrow"
    fits(shelf)
    assert isinstance(row(shelf), Collection)

"""Embedding a collection: vectors follow the rows, whatever happens in between. An instant embedder stands in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select

from tests.conftest import make_cast
from tests.fakes import embedders
from tests.fakes.lab import Lab
from tests.knowledge.conftest import Shelf
from webapp.core.chroma import Absent, Folder
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, NoModel, TaskCancelled
from webapp.embedding import service as embedding
from webapp.knowledge import consistency, embed
from webapp.knowledge.models import Chunk, Collection, Document, VectorRemoval
from webapp.knowledge.ranking import embedding_input
from webapp.knowledge.service import collections, documents
from webapp.knowledge.vectors import IndexMissing, IndexTrouble, index_name
from webapp.runtime import Runtime
from webapp.tasks.models import Task

NAMES = "fake,fake:other,fake:wide,fake:slow"


class Quiet:
    """Hears all and ends nothing, unless `end` is set."""

    def __init__(self) -> None:
        self.said: list[tuple[float, str, Any]] = []
        self.end: Exception | None = None

    def progress(self, percent: float, message: str = "", *, data: dict[str, Any] | None = None) -> None:
        self.said.append((percent, message, data))
        self.check()

    def check(self) -> None:
        if self.end is not None:
            raise self.end

    def stopped(self) -> bool:
        return self.end is not None


@pytest.fixture(params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def shelf(request: pytest.FixtureRequest, make_rt: Callable[..., Runtime], tmp_path: Path) -> Iterator[Shelf]:
    embedders.use()
    env = {} if request.param == "embedded" else request.getfixturevalue("swept_services").env
    rt = make_rt(BRAINSTEM_EMBEDDERS=NAMES, **env)
    rt.vectors = Folder(tmp_path / "chroma")
    cast = make_cast(rt)
    with rt.unit() as db:
        made = collections.create(Ctx(rt, db, cast.alice), "Papers", embedder="fake")
    yield Shelf(rt, cast, made.id)
    rt.vectors.close()


def fill(shelf: Shelf, count: int, first: int = 0) -> None:
    shelf_texts = [
        documents.Incoming(f"d{n}", f"Paper {n}", text_of(n), "text/plain") for n in range(first, first + count)
    ]
    documents.store_many(shelf.rt, shelf.collection_id, shelf_texts)


def text_of(number: int) -> str:
    return f"Paper number {number} is about subject {number % 7} and topic {number * number % 101}."


def row(shelf: Shelf) -> Collection:
    [found] = shelf.rows(Collection, Collection.id == shelf.collection_id)
    return found  # type: ignore[no-any-return]


def agrees(shelf: Shelf) -> None:
    """The serving set holds each chunk's own vector and nothing else, and the rows say so."""
    now = row(shelf)
    name = index_name(now.id, now.generation)
    chunks = shelf.rows(Chunk, Chunk.collection_id == now.id)
    assert shelf.rt.vectors.ids(name) == {chunk.id for chunk in chunks}
    assert {chunk.generation for chunk in chunks} <= {now.generation}
    assert all(doc.pending_chunks == 0 for doc in shelf.rows(Document, Document.collection_id == now.id))
    for chunk in chunks[:: max(1, len(chunks) // 20)]:
        [vector] = embedding.embed(shelf.rt, now.embedder, [embedding_input(chunk.title, chunk.text)])
        best, likeness = shelf.rt.vectors.query(name, vector, 1, ids=[chunk.id])[0]
        assert best == chunk.id
        assert likeness == pytest.approx(1.0, abs=1e-4)
    with shelf.rt.unit(write=False) as db:
        assert db.scalars(select(VectorRemoval.chunk_id)).all() == []


def test_every_chunk_gets_its_vector(shelf: Shelf) -> None:
    fill(shelf, 150)
    told = Quiet()
    result = embed.embed_collection(shelf.rt, shelf.collection_id, told)
    assert (result["chunks"], result["removed"], result["swapped"]) == (150, 0, False)
    agrees(shelf)
    assert row(shelf).dimension == 32
    assert [data["done"] for _, _, data in told.said] == [64, 128, 150]
    assert told.said[0][1].startswith("64 of 150 passages, ")
    assert "left" in told.said[0][1]
    assert told.said[-1][0] == 100
    assert embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())["chunks"] == 0


def test_changed_and_removed_documents_leave_the_index(shelf: Shelf) -> None:
    fill(shelf, 10)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    shelf.put("d3", "Quite another text about whales.")
    with shelf.rt.unit() as db:
        gone = db.scalar(select(Document.id).where(Document.key == "d5"))
        documents.forget_chunks(db, [str(gone)])
        db.execute(delete(Document).where(Document.id == gone))
    result = embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    assert (result["chunks"], result["removed"]) == (1, 2)
    agrees(shelf)


def test_a_chunk_deleted_between_embedding_and_marking_leaves_no_vector(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(shelf, 5)
    add = shelf.rt.vectors.add

    def add_late(name: str, ids: Any, vectors: Any) -> None:
        """The document goes and the note of it is worked off before the vector arrives."""
        if any(one.key == "d2" for one in shelf.rows(Document)):
            with shelf.rt.unit() as db:
                gone = str(db.scalar(select(Document.id).where(Document.key == "d2")))
                documents.forget_chunks(db, [gone])
                db.execute(delete(Document).where(Document.id == gone))
            embed.apply_removals(shelf.rt, embed.plan(shelf.rt, shelf.collection_id))  # type: ignore[arg-type]
        add(name, ids, vectors)

    monkeypatch.setattr(shelf.rt.vectors, "add", add_late)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    agrees(shelf)


@pytest.mark.parametrize("where", ["before the index", "between index and rows", "after the rows"])
def test_what_breaks_off_is_taken_up_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    fill(shelf, 200)
    seen = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            raise RuntimeError("power cut")
        return original(*args, **kwargs)

    with monkeypatch.context() as patched:
        if where == "before the index":
            original: Any = shelf.rt.vectors.add
            patched.setattr(shelf.rt.vectors, "add", broken)
        elif where == "between index and rows":
            original = embed.mark
            patched.setattr(embed, "mark", broken)
        else:
            original = embed._Work._tell
            patched.setattr(embed._Work, "_tell", broken)
        with pytest.raises(RuntimeError):
            embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    told = Quiet()
    embed.embed_collection(shelf.rt, shelf.collection_id, told, total=200)
    assert told.said[-1][2]["done"] == told.said[-1][2]["total"] == 200
    agrees(shelf)


def test_two_at_once_do_no_harm(shelf: Shelf) -> None:
    fill(shelf, 150)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    agrees(shelf)


def test_documents_that_come_meanwhile_are_embedded_too(shelf: Shelf) -> None:
    fill(shelf, 70)
    told = Quiet()
    say = told.progress

    def more(percent: float, message: str = "", **rest: Any) -> None:
        say(percent, message, **rest)
        if len(told.said) == 1:
            fill(shelf, 30, first=1000)

    told.progress = more  # type: ignore[method-assign, assignment]
    assert embed.embed_collection(shelf.rt, shelf.collection_id, told)["chunks"] == 100
    agrees(shelf)


def test_stopping_ends_it_soon_with_the_reason(shelf: Shelf) -> None:
    fill(shelf, 150)
    told = Quiet()

    class Parked(Exception):
        pass

    def park(percent: float, message: str = "", **rest: Any) -> None:
        told.end = Parked()

    told.progress = park  # type: ignore[method-assign, assignment]
    with pytest.raises(Parked):
        embed.embed_collection(shelf.rt, shelf.collection_id, told)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    agrees(shelf)


# -- another embedder ------------------------------------------------------------------------------------------------


def change(shelf: Shelf, name: str | None) -> None:
    with shelf.rt.unit() as db:
        held = db.get(Collection, shelf.collection_id)
        assert held is not None
        embed.change(Ctx(shelf.rt, db, shelf.cast.alice), held, name)


def test_the_old_index_serves_until_the_new_one_is_whole(shelf: Shelf) -> None:
    fill(shelf, 150)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    old = index_name(shelf.collection_id, 1)
    change(shelf, "fake:wide")
    assert sum(doc.pending_chunks for doc in shelf.rows(Document)) == 150
    told = Quiet()
    say = told.progress

    def look(percent: float, message: str = "", **rest: Any) -> None:
        say(percent, message, **rest)
        now = row(shelf)
        assert (now.generation, now.embedder, now.dimension) == (1, "fake", 32)
        [question] = embedding.embed(shelf.rt, now.embedder, [embedding_input("Paper 7", text_of(7))])
        assert shelf.rt.vectors.query(old, question, 1)[0][1] == pytest.approx(1.0, abs=1e-4)

    told.progress = look  # type: ignore[method-assign, assignment]
    assert embed.embed_collection(shelf.rt, shelf.collection_id, told)["swapped"]
    now = row(shelf)
    assert (now.generation, now.embedder, now.dimension, now.building) == (2, "fake:wide", 48, None)
    assert shelf.rt.vectors.names() == [index_name(shelf.collection_id, 2)]
    assert len(told.said) == 3
    agrees(shelf)


def test_a_change_of_mind_in_the_middle(shelf: Shelf) -> None:
    fill(shelf, 150)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    change(shelf, "fake:wide")
    told = Quiet()
    say = told.progress

    def mind(percent: float, message: str = "", **rest: Any) -> None:
        say(percent, message, **rest)
        if len(told.said) == 1:
            change(shelf, "fake:other")

    told.progress = mind  # type: ignore[method-assign, assignment]
    embed.embed_collection(shelf.rt, shelf.collection_id, told)
    assert (row(shelf).embedder, row(shelf).generation, row(shelf).dimension) == ("fake:other", 3, 32)
    assert shelf.rt.vectors.names() == [index_name(shelf.collection_id, 3)]
    agrees(shelf)


def test_killed_between_the_change_and_the_dropping(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shelf, 20)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    change(shelf, "fake:other")
    with monkeypatch.context() as patched:
        patched.setattr(shelf.rt.vectors, "drop", lambda name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    assert len(shelf.rt.vectors.names()) == 2
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    assert shelf.rt.vectors.names() == [index_name(shelf.collection_id, 2)]
    agrees(shelf)


def test_only_embedders_that_are_set_up(shelf: Shelf) -> None:
    with pytest.raises(BadRequest):
        change(shelf, "fake:unknown")
    assert row(shelf).building is None


# -- as tasks --------------------------------------------------------------------------------------------------------


def lab_of(shelf: Shelf) -> Lab:
    return Lab(shelf.rt)


def tasks(shelf: Shelf, kind: str = "maintenance.embed") -> list[Task]:
    return shelf.rows(Task, Task.kind == kind)


def test_one_task_waits_for_many_requests(shelf: Shelf) -> None:
    lab = lab_of(shelf)
    fill(shelf, 70)
    ids = [embed.request(shelf.rt, shelf.collection_id) for _ in range(3)]
    assert ids[0]
    [task] = tasks(shelf)
    assert ids == [task.id] * 3, "each caller can follow it"
    assert (task.owner_id, task.title, task.queue) == (shelf.cast.alice.id, "Embed Papers", "embedding")
    lab.run_all("embedding")
    [task] = tasks(shelf)
    assert task.status == "completed", task.error
    assert (task.result or {})["chunks"] == 70
    agrees(shelf)
    assert embed.request(shelf.rt, shelf.collection_id) is None, "there is nothing to do"
    fill(shelf, 1, first=900)
    assert embed.request(shelf.rt, shelf.collection_id), "one that is over does not count"


def test_without_an_index_nothing_follows_by_itself(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment without Chroma searches by words; nobody is told of a failure for each document they add."""
    fill(shelf, 3)
    monkeypatch.setattr(shelf.rt, "vectors", Absent())
    assert embed.request(shelf.rt, shelf.collection_id) is None
    assert tasks(shelf) == []
    with shelf.as_(shelf.cast.alice) as ctx:
        assert embed.request(ctx, shelf.collection_id), "who asks for it hears why it cannot be"
    lab_of(shelf).run("embedding")
    [task] = tasks(shelf)
    assert (task.status, "No vector index is set up" in (task.error or "")) == ("failed", True)


def test_a_missing_embedder_fails_with_what_to_do(shelf: Shelf) -> None:
    lab = lab_of(shelf)
    fill(shelf, 3)
    embedding._get(shelf.rt, "fake").broken = NoModel("no weights", suggestion="Run: pip install")  # type: ignore[attr-defined]
    embed.request(shelf.rt, shelf.collection_id)
    lab.run("embedding")
    [task] = tasks(shelf)
    assert task.status == "failed"
    assert "no weights" in str(task.error)


def test_nobody_embeds_the_collections_of_others(shelf: Shelf) -> None:
    from webapp.core.errors import NotFound
    from webapp.tasks import service

    for kind in ("knowledge.embed", "knowledge.reindex"):
        with pytest.raises(NotFound), shelf.as_(shelf.cast.charlie) as ctx:
            service.start(ctx, kind, {"collection_id": shelf.collection_id})
    with pytest.raises(NotFound), shelf.as_(shelf.cast.charlie) as ctx:
        service.start(ctx, "knowledge.reindex", {})


def test_the_half_hourly_round_takes_what_was_forgotten(shelf: Shelf) -> None:
    lab = lab_of(shelf)
    fill(shelf, 60)
    shelf.rt.vectors.add("kb-of-nobody-3", [1], np.ones((1, 4), np.float32))
    task_id = lab.start_kind("knowledge.embed_pending", {})
    lab.run_all("embedding")
    assert lab.row(task_id).result == {"documents": 50, "chunks": 50, "removed": 0, "failed": 0, "dropped": 1}
    assert sum(doc.pending_chunks for doc in shelf.rows(Document)) == 10
    lab.start_kind("knowledge.embed_pending", {})
    lab.run_all("embedding")
    agrees(shelf)


def test_a_collection_that_cannot_be_embedded_does_not_stand_before_the_others(shelf: Shelf) -> None:
    lab = lab_of(shelf)
    fill(shelf, 60)
    embedding._get(shelf.rt, "fake").broken = NoModel("no weights")  # type: ignore[attr-defined]
    with shelf.as_(shelf.cast.bob) as ctx:
        other = collections.create(ctx, "Later", embedder="fake:other").id
    documents.store(shelf.rt, other, documents.Incoming("x", "X", "Something later.", "text/plain"))
    task_id = lab.start_kind("knowledge.embed_pending", {})
    lab.run_all("embedding")
    found = lab.row(task_id).result or {}
    assert (found["documents"], found["failed"]) == (1, 1)
    assert shelf.rt.vectors.count(index_name(other, 1)) == 1


def test_a_collection_that_is_gone_is_no_error(shelf: Shelf) -> None:
    lab = lab_of(shelf)
    fill(shelf, 3)
    embed.request(shelf.rt, shelf.collection_id)
    with shelf.as_(shelf.cast.alice) as ctx:
        collections.remove(ctx, shelf.collection_id)
    lab.run_all("embedding")
    assert tasks(shelf)[0].status == "completed"
    assert embed.request(shelf.rt, shelf.collection_id) is None


# -- consistency -----------------------------------------------------------------------------------------------------


def test_a_sound_index_is_called_so(shelf: Shelf) -> None:
    fill(shelf, 30)
    waiting = consistency.check(shelf.rt, shelf.collection_id)
    assert waiting is not None
    assert (waiting.sound, waiting.waiting, waiting.indexed) == (True, 30, 0)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    found = consistency.check(shelf.rt, shelf.collection_id)
    assert found is not None
    assert found.as_json() == {
        "collection_id": shelf.collection_id, "name": "Papers", "chunks": 30, "indexed": 30, "missing": 0, "stale": 0,
        "waiting": 0, "trouble": None, "sound": True,
    }  # fmt: skip


def test_what_is_missing_and_what_is_stale_is_found_and_mended(shelf: Shelf) -> None:
    fill(shelf, 100)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    name = index_name(shelf.collection_id, 1)
    some = sorted(shelf.rt.vectors.ids(name))[10:17]
    shelf.rt.vectors.remove(name, some)
    shelf.rt.vectors.add(name, [10**6, 10**6 + 1], np.ones((2, 32), np.float32))
    found = consistency.check(shelf.rt, shelf.collection_id)
    assert found is not None
    assert (found.missing, found.stale, found.sound) == (7, 2, False)
    lab = lab_of(shelf)
    task_id = lab.start_kind("knowledge.reindex", {})
    lab.run_all("embedding")
    assert (lab.row(task_id).result or {})["mended"] == 1
    agrees(shelf)


def test_a_deleted_index_is_made_again(shelf: Shelf) -> None:
    import shutil

    fill(shelf, 100)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    assert isinstance(shelf.rt.vectors, Folder)
    shutil.rmtree(shelf.rt.vectors.path)
    with pytest.raises(IndexMissing):
        shelf.rt.vectors.query(index_name(shelf.collection_id, 1), np.ones(32, np.float32), 1)
    consistency.reindex(shelf.rt, [shelf.collection_id])
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    agrees(shelf)


def test_a_damaged_index_is_thrown_away_and_made_again(shelf: Shelf) -> None:
    fill(shelf, 30)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    index = shelf.rt.vectors
    assert isinstance(index, Folder)
    index.close()
    (index.path / "chroma.sqlite3").write_bytes(b"nothing of the kind" * 999)
    found = consistency.check(shelf.rt, shelf.collection_id)
    assert found is not None
    assert found.trouble
    with pytest.raises(IndexTrouble):
        embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    notes: list[str] = []
    consistency.reindex(shelf.rt, [shelf.collection_id], note=notes.append)
    assert "thrown away" in notes[0]
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    agrees(shelf)


def test_full_embeds_everything_again(shelf: Shelf) -> None:
    fill(shelf, 40)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    consistency.reindex(shelf.rt, [shelf.collection_id], full=True)
    assert embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())["chunks"] == 40
    assert row(shelf).generation == 2
    agrees(shelf)


def test_while_another_set_is_built_the_old_one_is_judged_by_its_own(shelf: Shelf) -> None:
    fill(shelf, 20)
    embed.embed_collection(shelf.rt, shelf.collection_id, Quiet())
    change(shelf, "fake:other")
    fill(shelf, 20, first=500)
    told = Quiet()
    with shelf.rt.unit(write=False) as db:
        half = list(db.scalars(select(Document.id).order_by(Document.id.desc()).limit(20)))
    embed.embed_collection(shelf.rt, shelf.collection_id, told, documents=half)
    found = consistency.check(shelf.rt, shelf.collection_id)
    assert found is not None
    assert (found.sound, found.waiting) == (True, 20)


def test_cancelled_is_cancelled(shelf: Shelf) -> None:
    fill(shelf, 5)
    told = Quiet()
    told.end = TaskCancelled("stop")
    with pytest.raises(TaskCancelled):
        embed.embed_collection(shelf.rt, shelf.collection_id, told)

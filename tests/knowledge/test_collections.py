"""Who may see, change, share and delete a collection."""

from __future__ import annotations

import pytest

from tests.knowledge.conftest import Shelf
from webapp.core.context import ANONYMOUS, SYSTEM, Actor
from webapp.core.errors import BadRequest, Conflict, Forbidden, NotFound
from webapp.knowledge.models import Chunk, Collection, Document, VectorRemoval
from webapp.knowledge.service import collections, removal
from webapp.tasks import service as tasks


def names(shelf: Shelf, who: Actor) -> list[str]:
    with shelf.as_(who, write=False) as ctx:
        return [one.collection.name for one in collections.list_(ctx)]


def test_a_stranger_finds_nothing_at_all(shelf: Shelf) -> None:
    for who in (shelf.cast.bob, shelf.cast.root, ANONYMOUS):
        assert names(shelf, who) == []
        with shelf.as_(who) as ctx:
            assert collections.readable(ctx) == []
            for verb in (collections.get, collections.writable, collections.summary, collections.remove):
                with pytest.raises(NotFound):
                    verb(ctx, shelf.collection_id)
            with pytest.raises(NotFound):
                collections.readable(ctx, [shelf.collection_id])
            with pytest.raises(NotFound):
                collections.share(ctx, shelf.collection_id, "bob")
    assert names(shelf, SYSTEM) == ["Papers"]


def test_sharing_lets_read_and_nothing_else_and_can_be_taken_back(shelf: Shelf) -> None:
    cast = shelf.cast
    with shelf.as_(cast.alice) as ctx:
        collections.share(ctx, shelf.collection_id, "BOB")
        collections.share(ctx, shelf.collection_id, "bob")
        assert [one["username"] for one in collections.shares(ctx, shelf.collection_id)] == ["bob"]
        with pytest.raises(NotFound):
            collections.share(ctx, shelf.collection_id, "nobody")
        with pytest.raises(Conflict):
            collections.share(ctx, shelf.collection_id, "alice")
    with shelf.as_(cast.bob) as ctx:
        seen = collections.summary(ctx, shelf.collection_id)
        assert (seen.access, seen.owner, seen.shares) == ("shared", "alice", 0)
        for verb in (collections.writable, collections.remove, collections.shares):
            with pytest.raises(Forbidden):
                verb(ctx, shelf.collection_id)
    assert names(shelf, cast.charlie) == []
    with shelf.as_(cast.alice) as ctx:
        collections.unshare(ctx, shelf.collection_id, cast.bob.id or "")
        with pytest.raises(NotFound):
            collections.unshare(ctx, shelf.collection_id, cast.bob.id or "")
    assert names(shelf, cast.bob) == []


def test_shown_to_everyone_is_read_by_everyone_and_changed_by_the_owner(shelf: Shelf) -> None:
    with shelf.as_(shelf.cast.alice) as ctx:
        collections.update(ctx, shelf.collection_id, everyone=True, name="  New   name ", description="d")
    for who in (shelf.cast.charlie, ANONYMOUS):
        assert names(shelf, who) == ["New name"]
        with shelf.as_(who) as ctx, pytest.raises(Forbidden):
            collections.update(ctx, shelf.collection_id, name="Mine")


def test_names_are_checked_and_unique_for_their_owner(shelf: Shelf) -> None:
    with shelf.as_(shelf.cast.alice) as ctx:
        for bad in ("", "  ", "a\x07b", "x" * 121):
            with pytest.raises(BadRequest):
                collections.create(ctx, bad)
        with pytest.raises(Conflict):
            collections.create(ctx, "Papers")
        other = collections.create(ctx, "Other")
        with pytest.raises(Conflict):
            collections.update(ctx, other.id, name="Papers")
        assert collections.default(ctx).id == collections.default(ctx).id
    with shelf.as_(shelf.cast.bob) as ctx:
        collections.create(ctx, "Papers")


def test_a_removed_collection_is_gone_at_once_and_its_name_is_free_and_a_task_empties_it(shelf: Shelf) -> None:
    for number in range(230):
        shelf.put(f"k{number}", f"Words of number {number}.")
    with shelf.as_(shelf.cast.alice) as ctx:
        collections.remove(ctx, shelf.collection_id)
        assert collections.list_(ctx) == []
        collections.create(ctx, "Papers")
        (task,) = tasks.list_(ctx, kind="knowledge.remove").items
        assert task.params == {"collection_id": shelf.collection_id}
    with pytest.raises(NotFound):
        shelf.put("late", "Words.")
    assert removal.empty(shelf.rt, shelf.collection_id) == 230
    assert removal.empty(shelf.rt, shelf.collection_id) == 0
    assert [one.name for one in shelf.rows(Collection)] == ["Papers"]
    assert shelf.rows(Document) + shelf.rows(Chunk) == []
    with shelf.rt.unit(write=False) as db:
        assert db.query(VectorRemoval).count() == 0


def test_emptying_touches_no_collection_that_is_in_use(shelf: Shelf) -> None:
    shelf.put("a", "Words.")
    assert removal.empty(shelf.rt, shelf.collection_id) == 0
    assert len(shelf.rows(Document)) == 1

"""What becomes of a document when it is read, read again, changed, cited and emptied."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text

from tests.knowledge.conftest import Shelf
from webapp.core.errors import NotFound
from webapp.knowledge.models import Chunk, Citation, Document, DocumentVersion, VectorRemoval
from webapp.knowledge.service import documents
from webapp.knowledge.service.documents import KEPT_VERSIONS, Incoming

STORY = f"# Heat\n\n{'Water boils at 100 degrees. ' * 20}\n\n## Pressure\n\n{'Higher up it boils sooner. ' * 20}\n"


def test_a_new_document_has_a_version_and_chunks_cut_exactly_out_of_it(shelf: Shelf) -> None:
    stored = shelf.put("a", STORY, language="en", author="Ada", published="2024-05-01")
    assert stored.outcome == "new"
    (row,) = shelf.rows(Document)
    assert (row.id, row.version_id, row.version_count) == (stored.document_id, stored.version_id, 1)
    spoken = [part for part in STORY.split() if part.strip("#-|*")]  # the marks of Markdown are no words
    assert (row.language, row.author, row.published, row.words) == ("en", "Ada", "2024-05-01", len(spoken))
    (version,) = shelf.rows(DocumentVersion)
    assert version.text == STORY
    chunks = shelf.rows(Chunk)
    assert chunks
    assert row.chunk_count == row.pending_chunks == len(chunks) == stored.chunks
    assert all(version.text[one.start : one.end] == one.text for one in chunks)
    assert any("Pressure" in one.heading for one in chunks)


def test_the_same_words_again_are_unchanged_and_a_new_title_reaches_the_keyword_index(shelf: Shelf) -> None:
    first = shelf.put("a", STORY, etag='"1"')
    again = shelf.put("a", STORY, title="Thermodynamics", etag='"2"')
    assert (again.outcome, again.version_id) == ("unchanged", first.version_id)
    (row,) = shelf.rows(Document)
    assert (row.title, row.etag, row.version_count) == ("Thermodynamics", '"2"', 1)
    assert _found(shelf, "thermodynamics") == len(shelf.rows(Chunk))


def test_other_words_make_a_version_and_the_old_chunks_leave_both_indexes(shelf: Shelf) -> None:
    shelf.put("a", STORY)
    old = {one.id for one in shelf.rows(Chunk)}
    changed = shelf.put("a", "Ice melts at zero.")
    assert changed.outcome == "changed"
    assert [one.number for one in shelf.rows(DocumentVersion)] == [1, 2]
    assert [one.text for one in shelf.rows(Chunk)] == ["Ice melts at zero."]
    with shelf.rt.unit(write=False) as db:
        assert set(db.scalars(select(VectorRemoval.chunk_id))) == old
    assert (_found(shelf, "boils"), _found(shelf, "melts")) == (0, 1)


def test_versions_go_when_they_are_old_and_stay_when_they_are_cited(shelf: Shelf) -> None:
    first = shelf.put("a", "Text number one.")
    with shelf.rt.unit() as db:
        db.add(Citation(owner_id=shelf.cast.alice.id, document_id=first.document_id, version_id=first.version_id,
                        start=0, end=4, quote="Text"))  # fmt: skip
    for number in range(2, KEPT_VERSIONS + 4):
        shelf.put("a", f"Text number {number}.")
    last = KEPT_VERSIONS + 3
    assert [one.number for one in shelf.rows(DocumentVersion)] == [1, *range(last - KEPT_VERSIONS + 1, last + 1)]


def test_the_same_text_under_another_key_is_a_duplicate_unless_the_caller_keeps_them(shelf: Shelf) -> None:
    first = shelf.put("a", STORY)
    assert shelf.put("b", STORY) == documents.Stored(first.document_id, first.version_id, "duplicate", first.chunks)
    assert shelf.put("c", STORY, keep_duplicates=True).outcome == "new"
    assert {one.key for one in shelf.rows(Document)} == {"a", "c"}


def test_nothing_readable_is_empty_and_takes_nothing_away(shelf: Shelf) -> None:
    assert shelf.put("a", " \n--- ").document_id is None
    kept = shelf.put("a", STORY)
    assert shelf.put("a", "***").outcome == "empty"
    assert shelf.rows(Document)[0].version_id == kept.version_id


@pytest.mark.parametrize("nasty", ["\0 null", "half \ud800 char", "x" * 30_000, "🐘 " * 500, "\u202eabc"])
def test_any_text_title_and_key_can_be_stored(shelf: Shelf, nasty: str) -> None:
    stored = shelf.put(nasty, nasty + " words", title=nasty, author=nasty, url="http://x/" + "y" * 5000)
    assert stored.outcome == "new"
    assert shelf.put(nasty, nasty + " words", title=nasty).outcome == "unchanged"
    version = shelf.rows(DocumentVersion)[0]
    assert all(version.text[one.start : one.end] == one.text for one in shelf.rows(Chunk))


def test_many_keep_their_order_and_repeat_safely(shelf: Shelf) -> None:
    batch = [Incoming(f"k{n}", f"T{n}", f"Words of {n % 200}.", "text/plain", keep_duplicates=True) for n in range(250)]
    first = documents.store_many(shelf.rt, shelf.collection_id, batch)
    assert [one.outcome for one in first] == ["new"] * 250
    again = documents.store_many(shelf.rt, shelf.collection_id, batch)
    assert [(one.outcome, one.document_id) for one in again] == [("unchanged", one.document_id) for one in first]
    assert len(shelf.rows(Chunk)) == 250


def test_two_writers_of_one_key_make_one_document(shelf: Shelf) -> None:
    barrier, outcomes = threading.Barrier(4), []

    def write(number: int) -> None:
        barrier.wait()
        outcomes.append(shelf.put("same", f"Words of writer {number}.").outcome)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["changed", "changed", "changed", "new"]
    (row,) = shelf.rows(Document)
    assert row.version_count == 4
    assert len(shelf.rows(Chunk)) == 1


def test_a_collection_that_is_gone_takes_nothing(shelf: Shelf) -> None:
    with pytest.raises(NotFound):
        documents.store(shelf.rt, "nowhere", Incoming("a", "A", STORY, "text/plain"))


def _found(shelf: Shelf, word: str) -> int:
    with shelf.rt.unit(write=False) as db:
        if db.get_bind().dialect.name == "sqlite":
            stmt = text("SELECT count(*) FROM chunk_fts WHERE chunk_fts MATCH :word")
        else:
            stmt = text("SELECT count(*) FROM chunk_fts WHERE terms @@ plainto_tsquery('english', :word)")
        return int(db.scalar(stmt, {"word": word}) or 0)


def test_one_call_may_say_a_key_or_a_text_twice(shelf: Shelf) -> None:
    def say(key: str, text: str, keep: bool = False) -> Incoming:
        return Incoming(key, "T", text, "text/plain", keep_duplicates=keep)

    batch = [say("a", "One."), say("b", "One."), say("a", "Two."), say("a", "Two."), say("c", "One.", keep=True),
             say("c", "Three."), say("d", " ")]  # fmt: skip
    found = documents.store_many(shelf.rt, shelf.collection_id, batch)
    assert [one.outcome for one in found] == ["new", "duplicate", "changed", "unchanged", "new", "changed", "empty"]
    assert {one.key: one.version_count for one in shelf.rows(Document)} == {"a": 2, "c": 2}
    assert sorted(one.text for one in shelf.rows(Chunk)) == ["Three.", "Two."]
    assert len({one.document_id for one in found[:4]}) == 1


def test_a_key_comes_again_after_another_changed(shelf: Shelf) -> None:
    """A change writes what was gathered so far; what it held must still be found when its key comes again."""

    def say(key: str, text: str) -> Incoming:
        return Incoming(key, "T", text, "text/plain", keep_duplicates=True)

    documents.store(shelf.rt, shelf.collection_id, say("old", "One."))
    batch = [say("new", "Two."), say("old", "Three."), say("new", "Four."), say("new", " "), say("new", "Four.")]
    found = documents.store_many(shelf.rt, shelf.collection_id, batch)
    assert [one.outcome for one in found] == ["new", "changed", "changed", "empty", "unchanged"]
    assert len({one.document_id for one in (found[0], *found[2:])}) == 1
    assert {one.key: one.version_count for one in shelf.rows(Document)} == {"old": 2, "new": 2}
    assert sorted(one.text for one in shelf.rows(Chunk)) == ["Four.", "Three."]


def test_a_source_removed_meanwhile_costs_the_document_its_source_only(shelf: Shelf) -> None:
    incoming = Incoming("a", "A", STORY, "text/plain")
    assert documents.store(shelf.rt, shelf.collection_id, incoming, "gone").outcome == "new"
    assert shelf.rows(Document)[0].source_id is None

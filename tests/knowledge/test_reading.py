"""Files, texts and pages into a collection: each with its own outcome, whatever happens to the others."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.http_server import FakeSite
from tests.fakes.kinds import Killed
from tests.fakes.lab import Lab
from tests.knowledge.conftest import Shelf
from webapp.core.context import Actor, Ctx
from webapp.core.errors import AppError, Conflict, Forbidden, NotFound
from webapp.knowledge.models import Document, DocumentVersion, Source
from webapp.knowledge.service import collections, reading, sources
from webapp.knowledge.service.sources import File
from webapp.tasks.models import Task
from webapp.tasks.sweep import Sweeper

PAGE = b"<html><head><title>Boiling</title></head><body><article><h1>Boiling</h1><p>%s</p></article></body></html>"
WORDS = b"Water boils at a hundred degrees when the air above it weighs as much as it does at the sea. " * 5


@pytest.fixture
def site() -> Iterator[FakeSite]:
    with FakeSite() as made:
        yield made


@pytest.fixture
def room(make_rt: Any, site: FakeSite) -> Shelf:
    host, port = site.url("/").split("//")[1].rstrip("/").split(":")
    rt = make_rt(BRAINSTEM_ALLOW_HOSTS=f"{host}:{port}", BRAINSTEM_FETCH_PORTS=port)
    cast = make_cast(rt)
    with rt.unit() as db:
        made = collections.create(Ctx(rt, db, cast.alice), "Papers")
    return Shelf(rt, cast, made.id)


def add_files(room: Shelf, *files: tuple[str, bytes], who: Actor | None = None) -> tuple[list[Source], Any]:
    with room.as_(who or room.cast.alice) as ctx:
        return sources.add_files(ctx, room.collection_id, [File(io.BytesIO(data), name) for name, data in files])


def run(room: Shelf) -> None:
    lab = Lab(room.rt)
    for queue in ("interactive", "crawling"):
        lab.run_all(queue)


def states(room: Shelf) -> dict[str, tuple[str, str | None]]:
    return {one.label: (one.state, one.error) for one in room.rows(Source)}


def test_many_files_at_once_each_with_its_own_outcome(room: Shelf) -> None:
    made, refused = add_files(
        room, ("a.txt", b"First words."), ("b.md", b"# Title\n\nSecond words."), ("c.exe", b"MZ"), ("d.txt", b""),
        ("broken.pdf", b"%PDF-1.4 nothing"), ("twin.txt", b"First words.\n"), ("page.html", PAGE % WORDS),
    )  # fmt: skip
    assert {one["name"]: one["code"] for one in refused} == {"c.exe": "unsupported_media_type", "d.txt": "bad_request"}
    assert len(made) == 5
    assert len({one.task_id for one in made}) == 1
    run(room)
    found = states(room)
    assert [found[name][0] for name in ("a.txt", "b.md", "twin.txt", "page.html")] == ["ready"] * 4
    assert found["broken.pdf"][0] == "failed"
    assert "damaged" in (found["broken.pdf"][1] or "")
    assert {one.title for one in room.rows(Document)} == {"a.txt", "Title", "Boiling"}
    (task,) = room.rows(Task, Task.kind == "knowledge.read")
    assert task.status == "completed"
    assert task.result["counts"]["new"] == 3
    assert task.result["counts"]["duplicate"] == task.result["counts"]["failed"] == 1


def test_when_nothing_could_be_read_the_task_says_so_and_a_retry_reads_again(room: Shelf) -> None:
    add_files(room, ("broken.pdf", b"%PDF-1.4 nothing"))
    run(room)
    (task,) = room.rows(Task, Task.kind == "knowledge.read")
    assert (task.status, task.error_code) == ("failed", "nothing_read")
    lab = Lab(room.rt)
    lab.do("retry", room.cast.alice, task.id)
    assert lab.run("interactive") == task.id
    assert room.rows(Task)[0].status == "failed"


def test_pasted_text_keeps_its_title_and_is_read_again_as_it_was(room: Shelf) -> None:
    with room.as_(room.cast.alice) as ctx:
        first = sources.add_text(ctx, room.collection_id, "# Heading\n\nBody.", "My notes")
    run(room)
    with room.as_(room.cast.alice) as ctx:
        sources.read_again(ctx, first.id)
    run(room)
    (row,) = room.rows(Document)
    assert (row.title, row.version_count) == ("My notes", 1)
    with room.as_(room.cast.alice) as ctx, pytest.raises(AppError):
        sources.add_text(ctx, room.collection_id, " \n ")


def test_a_page_is_read_again_only_when_it_changed(room: Shelf, site: FakeSite) -> None:
    site.page("/p", PAGE % WORDS, {"Content-Type": "text/html", "ETag": '"one"'})
    with room.as_(room.cast.alice) as ctx:
        source = sources.add_url(ctx, room.collection_id, site.url("/p"))
    run(room)
    (row,) = room.rows(Document)
    assert (row.title, row.url, row.etag) == ("Boiling", site.url("/p"), '"one"')
    site.page("/p", PAGE % (WORDS + b"More."), {"Content-Type": "text/html", "ETag": '"two"'})
    with room.as_(room.cast.alice) as ctx:
        assert sources.add_url(ctx, room.collection_id, site.url("/p")).id == source.id
    run(room)
    assert site.requests[-1].headers["if-none-match"] == '"one"'
    assert [one.number for one in room.rows(DocumentVersion)] == [1, 2]


def test_the_server_may_say_that_nothing_changed(room: Shelf, site: FakeSite) -> None:
    site.page("/p", PAGE % WORDS, {"Content-Type": "text/html", "ETag": '"one"'})
    with room.as_(room.cast.alice) as ctx:
        source = sources.add_url(ctx, room.collection_id, site.url("/p"))
    run(room)
    before = room.rows(Document)[0].checked_at
    site.page("/p", b"", {"ETag": '"one"'}, status=304)
    with room.as_(room.cast.alice) as ctx:
        sources.read_again(ctx, source.id)
    run(room)
    assert room.rows(Document)[0].checked_at > before
    assert room.rows(Source)[0].config["last"]["outcome"] == "unchanged"


def test_a_page_that_is_not_there_fails_and_one_that_may_come_back_is_tried_again(room: Shelf, site: FakeSite) -> None:
    site.page("/busy", b"later", status=503)
    with room.as_(room.cast.alice) as ctx:
        for path in ("/none", "/busy"):
            sources.add_url(ctx, room.collection_id, site.url(path))
    Lab(room.rt).run("interactive")
    Lab(room.rt).run("interactive")
    found = {one.url: one for one in room.rows(Source)}
    assert found[site.url("/none")].state == "failed"
    assert found[site.url("/busy")].state == "new"
    assert "will be tried again" in found[site.url("/busy")].error
    assert sorted(one.status for one in room.rows(Task, Task.kind == "knowledge.read")) == ["failed", "retrying"]


def test_addresses_inside_are_refused_before_anything_is_stored(room: Shelf) -> None:
    with room.as_(room.cast.alice) as ctx:
        for url in ("http://127.0.0.1:1/", "file:///etc/passwd", "http://169.254.169.254/", "", "javascript:alert(1)"):
            with pytest.raises(AppError) as caught:
                sources.add_url(ctx, room.collection_id, url)
            assert caught.value.status == 400
    assert room.rows(Source) == []


def test_a_killed_run_goes_on_where_it_was(room: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    add_files(room, *((f"{n}.txt", f"Words of file {n}.".encode()) for n in range(6)))
    passes = []

    def die_at_third(name: str) -> None:
        passes.append(name)
        if len(passes) == 3:
            raise Killed

    monkeypatch.setattr(reading, "failpoint", die_at_third)
    lab = Lab(room.rt)
    lab.crash("interactive")
    assert [state for state, _ in states(room).values()].count("ready") == 2
    lab.end_lease(room.rows(Task)[0].id)
    Sweeper(room.rt).pass_once()
    lab.run_all("interactive")
    assert {state for state, _ in states(room).values()} == {"ready"}
    assert len(room.rows(Document)) == len(room.rows(DocumentVersion)) == 6
    assert len(passes) == 7  # one source was read twice, no other


def test_what_waits_for_a_task_that_was_cancelled_can_be_read_again(room: Shelf) -> None:
    (source,), _ = add_files(room, ("a.txt", b"Words."))
    lab = Lab(room.rt)
    with room.as_(room.cast.alice) as ctx, pytest.raises(Conflict):
        sources.read_again(ctx, source.id)
    lab.do("cancel", room.cast.alice, source.task_id)
    with room.as_(room.cast.alice) as ctx:
        row = sources.get(ctx, source.id)
        assert sources.shown_state(row, sources.active_tasks(ctx, [row]))[0] == "failed"
        sources.read_again(ctx, source.id)
    run(room)
    assert states(room)["a.txt"][0] == "ready"


def test_removing_a_source_takes_its_documents_and_stops_its_reading(room: Shelf) -> None:
    (first,), _ = add_files(room, ("a.txt", b"Words."))
    run(room)
    (second,), _ = add_files(room, ("b.txt", b"Other words."))
    with room.as_(room.cast.alice) as ctx:
        assert sources.remove(ctx, first.id) == 1
        assert sources.remove(ctx, second.id) == 0
    run(room)
    assert room.rows(Document) == []
    assert sorted(one.status for one in room.rows(Task, Task.kind == "knowledge.read")) == ["cancelled", "completed"]


def test_strangers_find_no_source_and_readers_change_none(room: Shelf) -> None:
    (source,), _ = add_files(room, ("a.txt", b"Words."))
    with room.as_(room.cast.alice) as ctx:
        collections.share(ctx, room.collection_id, "bob")
    for verb in (sources.read_again, sources.remove):
        with room.as_(room.cast.bob) as ctx, pytest.raises(Forbidden):
            verb(ctx, source.id)
        with room.as_(room.cast.charlie) as ctx, pytest.raises(NotFound):
            verb(ctx, source.id)
    with pytest.raises(Forbidden):
        add_files(room, ("x.txt", b"x"), who=room.cast.bob)
    with pytest.raises(NotFound):
        add_files(room, ("x.txt", b"x"), who=room.cast.charlie)


def test_a_task_started_by_its_kind_reads_own_sources_and_nobody_elses(room: Shelf) -> None:
    (mine,), _ = add_files(room, ("a.txt", b"Words of alice."))
    run(room)
    with room.as_(room.cast.charlie) as ctx:
        theirs = collections.create(ctx, "Elsewhere").id
    lab = Lab(room.rt)

    def ask(who: Actor, collection_id: str, *ids: str) -> Any:
        return lab.do(
            "start", who, "knowledge.read", {"collection_id": collection_id, "source_ids": list(ids)}, asked=True
        )

    for collection_id in (room.collection_id, theirs):  # neither there, nor drawn into a collection of one's own
        with pytest.raises(NotFound):
            ask(room.cast.charlie, collection_id, mine.id)
    with pytest.raises(NotFound):
        ask(room.cast.alice, room.collection_id, mine.id, "0" * 36)
    again = ask(room.cast.alice, room.collection_id, mine.id)
    run(room)
    task = room.rows(Task, Task.id == again["id"])[0]
    assert (task.status, task.result["counts"]["unchanged"]) == ("completed", 1)
    with room.as_(room.cast.alice, write=False) as ctx:
        from webapp.tasks import service as tasks

        listed = [one.kind for one in tasks.list_(ctx).items]
    assert listed.count("knowledge.read") == 2

"""Connectors: what a place lists is kept, changed, removed; the example package against a server that speaks its API."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import ROOT, Cast, make_cast
from tests.fakes.http_server import FakeSite
from tests.fakes.lab import Lab
from tests.fakes.site import Site
from webapp.core.errors import AppError, Forbidden, NotFound
from webapp.knowledge.models import Document, Source
from webapp.knowledge.service import collections, sources
from webapp.runtime import Runtime
from webapp.tasks import service as tasks
from webapp.tasks.kinds import kinds
from webapp.tasks.models import Task

REPO = "/repos/harbour/rules"


class Tracker(FakeSite):
    """Issues by number, in pages of two."""

    def __init__(self) -> None:
        super().__init__()
        self.issues: dict[int, dict[str, Any]] = {}
        self.fails_at: int | None = None  # the page that answers `status`
        self.status = 502
        for page in range(1, 9):
            self.script(f"{REPO}/issues?state=all&limit=50&per_page=50&page={page}",
                        lambda conn, request, page=page: self._list(conn, page))  # fmt: skip

    def put(self, number: int, body: str, updated: str = "2026-01-01T00:00:00Z") -> None:
        self.issues[number] = {
            "number": number, "title": f"Issue {number}", "body": body, "updated_at": updated, "created_at": "2026-01-01T00:00:00Z",
            "html_url": f"https://tracker.example/{number}", "user": {"login": "ada"},
        }  # fmt: skip

    def _list(self, conn: Any, page: int) -> None:
        some = list(self.issues.values())[2 * page - 2 : 2 * page]
        body, status = (b"down", self.status) if page == self.fails_at else (json.dumps(some).encode(), 200)
        conn.sendall(f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)


class Place:
    def __init__(self, rt: Runtime, tracker: Tracker) -> None:
        self.rt, self.tracker, self.cast, self.lab = rt, tracker, make_cast(rt), Lab(rt)
        with self.as_alice() as ctx:
            self.collection_id = collections.create(ctx, "Papers").id

    cast: Cast

    def as_alice(self) -> Any:
        return self.lab.as_(self.cast.alice)

    def sync(self) -> Task:
        with self.as_alice() as ctx:
            server = self.tracker.url("")
            params = {"collection_id": self.collection_id, "repository": "harbour/rules", "server": server}
            ident = tasks.start(ctx, "connect.issues", params)["id"]
        return self.finish(ident)

    def finish(self, ident: str) -> Task:
        self.lab.run_all("crawling")
        return next(one for one in self.all(Task) if one.id == ident)

    def all(self, model: Any, *where: Any) -> list[Any]:
        from sqlalchemy import select

        with self.rt.unit(write=False) as db:
            return list(db.scalars(select(model).where(*where).order_by(model.id)))

    def texts(self) -> dict[str, str]:
        from webapp.knowledge.models import DocumentVersion

        rows = {one.id: one.text for one in self.all(DocumentVersion)}
        return {one.title: rows[one.version_id] for one in self.all(Document)}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "examples" / "brainstem_issues"))
    kinds.add_setting(("connect.issues=brainstem_issues:KIND",))
    yield
    kinds._extra.pop("connect.issues")
    kinds._loaded.pop("connect.issues", None)
    kinds.add_setting(())
    sys.modules.pop("brainstem_issues", None)


@pytest.fixture
def place(both_rt: Runtime, make_rt: Callable[..., Runtime], example: None) -> Iterator[Place]:
    with Tracker() as tracker:
        object.__setattr__(both_rt.settings, "allow_hosts", (f"127.0.0.1:{tracker.port}",))
        yield Place(both_rt, tracker)


def test_new_changed_unchanged_and_gone(place: Place) -> None:
    for number in (1, 2, 3):
        place.tracker.put(number, f"The ice is {number} feet thick.")
    task = place.sync()
    assert task.status == "completed", task.error
    assert task.result["counts"] == {
        "new": 3,
        "changed": 0,
        "unchanged": 0,
        "duplicate": 0,
        "empty": 0,
        "failed": 0,
        "removed": 0,
    }
    assert "The ice is 2 feet thick." in place.texts()["Issue 2"]
    (document, *_) = place.all(Document)
    assert (document.url, document.author, document.published) == ("https://tracker.example/1", "ada", "2026-01-01")
    place.tracker.put(2, "The ice is gone.", "2026-04-01T00:00:00Z")
    del place.tracker.issues[3]
    counts = place.sync().result["counts"]
    assert {name: n for name, n in counts.items() if n} == {"unchanged": 1, "changed": 1, "removed": 1}
    assert "The ice is gone." in place.texts()["Issue 2"]
    (source,) = place.all(Source)
    assert (source.kind, source.state, source.label) == ("connector", "ready", "Issues of harbour/rules")


def test_a_list_that_breaks_off_removes_nothing_and_is_tried_again(place: Place) -> None:
    for number in (1, 2, 3):
        place.tracker.put(number, f"The ice is {number} feet thick.")
    place.sync()
    place.tracker.fails_at = 2
    task = place.sync()
    assert (task.status, len(place.all(Document))) == ("retrying", 3)
    assert "502" in str(task.error)
    assert [one.state for one in place.all(Source)] == ["reading"]
    place.tracker.status = 410
    task = place.sync()
    assert (task.status, len(place.all(Document))) == ("failed", 3)
    (source,) = place.all(Source)
    assert (source.state, source.error) == ("failed", "the server answered 410")
    place.tracker.fails_at = None
    assert place.sync().result["counts"]["unchanged"] == 3


def test_read_again_starts_the_kind_with_its_parameters(place: Place) -> None:
    place.tracker.put(1, "The ice is thick.")
    place.sync()
    place.tracker.put(2, "The fee is half.")
    (source,) = place.all(Source)
    with place.as_alice() as ctx:
        again = sources.read_again(ctx, source.id)
    assert place.finish(again.task_id).result["counts"]["new"] == 1
    assert set(place.texts()) == {"Issue 1", "Issue 2"}
    with place.as_alice() as ctx:
        assert sources.remove(ctx, source.id) == 2
    assert place.all(Document) == []


def test_only_into_ones_own_collection(place: Place) -> None:
    for who, error in ((place.cast.bob, NotFound), (place.cast.charlie, NotFound)):
        with place.lab.as_(who) as ctx, pytest.raises(error):
            params = {"collection_id": place.collection_id, "repository": "harbour/rules"}
            tasks.start(ctx, "connect.issues", params)
    with place.as_alice() as ctx:
        collections.share(ctx, place.collection_id, "bob")
    with place.lab.as_(place.cast.bob) as ctx, pytest.raises((Forbidden, NotFound)):
        tasks.start(ctx, "connect.issues", {"collection_id": place.collection_id, "repository": "harbour/rules"})


def test_one_that_cannot_be_read_stops_no_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("brainstem_issues")
    from webapp.knowledge.connecting import Item

    def bad() -> str:
        raise AppError("it is sealed")

    items = [Item("1", "First", lambda: "The ice is thick."), Item("2", "Sealed", bad),
             Item("3", "Third", lambda: b"<html><body><p>The fee is half in winter.</p></body></html>", filename="fee.html")]  # fmt: skip
    monkeypatch.setattr(module, "issues", lambda task, at: iter(items))
    task = place.sync()
    assert task.result["failed"] == [{"key": "2", "error": "it is sealed"}]
    assert {title: text.strip() for title, text in place.texts().items()} == {
        "First": "The ice is thick.",
        "Third": "The fee is half in winter.",
    }
    (source,) = place.all(Source)
    assert (source.state, source.error) == ("partial", "1 could not be read")


# -- how people come to it -------------------------------------------------------------------------------------------


def test_a_collection_leads_to_its_connectors_and_their_form_has_chosen_it(example: None, site: Site) -> None:
    alice, bob = site.program(site.cast.alice), site.program(site.cast.bob)
    ident = alice.post("/knowledge", data={"name": "Papers"}).headers["Location"].rsplit("/", 1)[1]
    assert "Issues of a repository" in (page := alice.get(f"/knowledge/{ident}").text)
    way = f"/tasks/new?kind=connect.issues&amp;collection_id={ident}"
    assert way in page
    form = alice.get(way.replace("&amp;", "&")).text
    assert re.search(rf'<option value="{ident}" selected>Papers</option>', form)
    strangers = bob.get("/tasks/new?kind=connect.issues").text
    assert "Papers" not in strangers
    assert collections.NONE_YET in strangers


def test_without_a_connector_there_is_no_way_to_one(site: Site) -> None:
    alice = site.program(site.cast.alice)
    ident = alice.post("/knowledge", data={"name": "Papers"}).headers["Location"].rsplit("/", 1)[1]
    assert "Other places" not in alice.get(f"/knowledge/{ident}").text

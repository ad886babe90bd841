"""The pages of knowledge as a person uses them, with and without a script."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from tests.fakes.lab import QueryCounter
from tests.fakes.site import Site
from webapp.knowledge import facts
from webapp.knowledge.service import collections
from webapp.knowledge.service.browse import PART, part


@pytest.fixture
def room(site: Site) -> tuple[Site, Any, str]:
    alice = site.program(site.cast.alice)  # shows a token, so that forms need none
    made = alice.post("/knowledge", data={"name": "Papers", "description": "About heat"})
    assert made.status_code == 303, made.text
    return site, alice, made.headers["Location"].rsplit("/", 1)[1]


def add(room: tuple[Site, Any, str], text: str, title: str = "Heat") -> str:
    site, alice, ident = room
    assert alice.post(f"/knowledge/{ident}/text", data={"text": text, "title": title}).status_code == 303
    site.lab.run_all("interactive")
    return re.findall(r"/knowledge/documents/([\w-]+)", alice.get(f"/knowledge/{ident}").text)[0]


def test_a_collection_is_made_filled_looked_at_and_deleted(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    assert "Papers" in alice.get("/knowledge").text
    document = add(room, "# Heat\n\nWater boils at <b>100</b> degrees.")
    page = alice.get(f"/knowledge/documents/{document}").text
    assert "Water boils at &lt;b&gt;100" in page
    assert "Water boils" in alice.get(f"/knowledge/documents/{document}/passages").text
    assert "nothing to compare" in alice.get(f"/knowledge/documents/{document}/versions").text
    assert alice.post(f"/knowledge/documents/{document}/delete").status_code == 303
    assert alice.get(f"/knowledge/documents/{document}").status_code == 404
    assert alice.post(f"/knowledge/{ident}/delete").status_code == 303
    assert alice.get(f"/knowledge/{ident}").status_code == 404


def test_what_the_program_does_for_a_document_is_upkeep(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    add(room, "Water boils at 100 degrees.")
    for kind in ("maintenance.embed", "maintenance.quality"):
        assert site.lab.sql("SELECT count(*) FROM tasks WHERE kind = :kind", kind=kind).scalar() == 1
    shown = alice.get("/tasks").text
    assert "Read " in shown, "what she asked for"
    assert "Embed Papers" not in shown
    assert "Assess Papers" not in shown
    assert site.lab.sql("SELECT count(*) FROM task_notices WHERE title LIKE 'Embed%'").scalar() == 0


def test_a_form_offers_the_collections_one_has(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    choice = re.compile(r'<select[^>]* name="collection_id".*?</select>', re.S)
    offered = choice.search(alice.get("/tasks/new?kind=research").text)
    assert offered
    assert f'<option value="{ident}">Papers</option>' in offered[0]
    assert '<option value=""' in offered[0], "it may stay open"
    bob = site.program(site.cast.bob)
    assert ident not in bob.get("/tasks/new?kind=research").text
    alice.post(f"/knowledge/{ident}/shares", data={"username": "bob"})
    assert ident not in bob.get("/tasks/new?kind=research").text, "research keeps pages there, and he may only read"


def test_mistakes_come_back_beside_their_fields(room: tuple[Site, Any, str]) -> None:
    _, alice, ident = room
    again = alice.post("/knowledge", data={"name": "Papers"})
    assert (again.status_code, "you have a collection of that name" in again.text.lower()) == (422, True)
    link = alice.post(f"/knowledge/{ident}/links", data={"urls": "http://127.0.0.1/ x", "kind": "url"})
    assert link.status_code == 422
    assert "http://127.0.0.1/" in link.text
    assert 'id="f-urls-error"' in link.text
    empty = alice.post(f"/knowledge/{ident}/text", data={"text": " "})
    assert (empty.status_code, "nothing to read" in empty.text) == (422, True)
    person = alice.post(f"/knowledge/{ident}/shares", data={"username": "nobody"})
    assert (person.status_code, "nobody here is called" in person.text.lower()) == (422, True)


def test_files_go_up_together_and_each_refusal_is_told(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    files = [(io.BytesIO(b"First words."), "a.txt"), (io.BytesIO(b"x"), "c.exe")]
    told = alice.post(f"/knowledge/{ident}/files", data={"files": files}, headers={"X-Upload": "1"}).json
    assert (told["taken"], [one["name"] for one in told["refused"]]) == (["a.txt"], ["c.exe"])
    assert "every 2s" in alice.get(f"/knowledge/{ident}/reading").text
    site.lab.run_all("interactive")
    assert "new document" in alice.get(f"/knowledge/{ident}/reading").text
    plain = alice.post(
        f"/knowledge/{ident}/files", data={"files": [(io.BytesIO(b"x"), "d.exe")]}, follow_redirects=True
    )
    assert "d.exe: files ending in .exe are not read" in plain.text


def test_what_failed_shows_why_and_can_be_tried_again(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    alice.post(f"/knowledge/{ident}/files", data={"files": [(io.BytesIO(b"%PDF-1.4 nothing"), "broken.pdf")]})
    site.lab.run_all("interactive")
    page = alice.get(f"/knowledge/{ident}").text
    assert "The PDF is damaged" in page
    retry = re.findall(r'action="(/knowledge/sources/[\w-]+/read)"', page)[0]
    assert alice.post(retry).status_code == 303
    assert "Waiting" in alice.get(f"/knowledge/{ident}/sources").text


def test_versions_show_what_changed_and_a_citation_its_words(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    program, api = site.program(site.cast.alice), "/api/v1/knowledge"
    put = f"{api}/collections/{ident}/documents"
    one = program.post(put, json={"id": "a", "title": "Heat", "text": "Water boils.\n\nIce melts."}).json
    cited = program.post(f"{api}/citations", json={"document_id": one["document_id"], "start": 6, "end": 11}).json
    page = alice.get(f"/knowledge/citations/{cited['id']}").text
    assert '<mark id="cited">boils</mark>' in page
    assert "reads differently" not in page
    program.post(put, json={"id": "a", "title": "Heat", "text": "Water freezes.\n\nIce melts."})
    assert "reads differently" in alice.get(f"/knowledge/citations/{cited['id']}").text
    diff = alice.get(f"/knowledge/documents/{one['document_id']}/versions").text
    assert "diff-del" in diff
    assert "Water freezes." in diff
    old = alice.get(f"/knowledge/documents/{one['document_id']}?version={one['version_id']}").text
    assert "An older version" in old


def test_a_passage_is_shown_marked_in_its_text(room: tuple[Site, Any, str]) -> None:
    _, alice, _ = room
    document = add(room, "# One\n\n" + "Water boils here. " * 150 + "\n\n# Two\n\n" + "Ice melts there. " * 150)
    passages = re.findall(r"\?chunk=(\d+)", alice.get(f"/knowledge/documents/{document}/passages").text)
    assert len(passages) > 1
    assert '<mark id="cited">' in alice.get(f"/knowledge/documents/{document}?chunk={passages[-1]}").text
    assert alice.get(f"/knowledge/documents/{document}?chunk=x&part=99999999999&version=").status_code == 200


def test_people_with_whom_it_is_shared_see_no_way_to_change_it(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    document = add(room, "Water boils.")
    alice.post(f"/knowledge/{ident}/shares", data={"username": "bob"})
    bob, charlie = site.program(site.cast.bob), site.program(site.cast.charlie)
    page = bob.get(f"/knowledge/{ident}").text
    assert "Shared by alice" in page
    for word in ("/delete", "/files", '/read"', "data-upload", "Settings"):
        assert word not in page.split("<main")[1], word
    assert "delete" not in bob.get(f"/knowledge/documents/{document}").text.split("<main")[1]
    assert bob.get(f"/knowledge/{ident}/settings").status_code == 403
    for path in (f"/knowledge/{ident}", f"/knowledge/documents/{document}", f"/knowledge/{ident}/sources"):
        assert charlie.get(path).status_code == 404


def test_no_list_asks_more_the_longer_it_is(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    program = site.program(site.cast.alice)

    def asked(path: str) -> int:
        with QueryCounter(site.rt) as counter:
            assert alice.get(path).status_code == 200
        return len(counter)

    paths = ["/knowledge", f"/knowledge/{ident}", f"/knowledge/{ident}/sources"]
    add(room, "Words of the first.")
    few = [asked(path) for path in paths]
    for number in range(12):
        program.post(f"/api/v1/knowledge/collections/{ident}/documents", json={"text": f"Words {number} of it."})
        alice.post(f"/knowledge/{ident}/text", data={"text": f"Text {number} of it."})
        with site.lab.as_(site.cast.alice) as ctx:
            collections.create(ctx, f"Other {number}")
    site.lab.run_all("interactive")
    many = [asked(path) for path in paths]
    assert all(after <= before + 2 for before, after in zip(few, many, strict=True)), (few, many)


@pytest.mark.parametrize("text", ["", "short", "word " * 30_000, "para\n\n" * 40_000, "x" * 200_000])
def test_parts_join_to_the_text_and_hold_every_place(text: str) -> None:
    parts = [part(text, number=n) for n in range(1, part(text).total + 1)]
    assert "".join(one.text for one in parts) == text
    assert all(len(one.text) <= PART * 3 // 2 for one in parts)
    for place in range(0, len(text), 7919):
        found = part(text, around=place)
        assert found.start <= place < found.start + len(found.text)


def test_a_document_says_what_its_file_is_and_how_good_and_fresh_it_is(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    alice.post(
        f"/knowledge/{ident}/files", data={"files": [(io.BytesIO(b"Water boils at the sea. " * 80), "heat.txt")]}
    )
    site.lab.run_all("interactive")
    site.lab.run_all("maintenance")
    html = alice.get(f"/knowledge/{ident}").text
    assert "of 100 on average" in html
    [document] = set(re.findall(r"/knowledge/documents/([0-9a-f-]{36})", html))
    page = alice.get(f"/knowledge/documents/{document}").text
    assert '<dt>Size</dt><dd class="num">1.9 kB</dd>' in page
    assert "<dt>Encoding</dt>" in page
    assert "Freshness" not in page  # a file has no live page
    put = f"/api/v1/knowledge/collections/{ident}/documents"
    made = site.program(site.cast.alice).post(
        put, json={"title": "Ice", "text": "Ice melts.", "url": "https://x.example/"}
    )
    page = alice.get(f"/knowledge/documents/{made.json['document_id']}").text
    assert "Freshness" in page
    assert "Compared less than a day ago" in page
    assert "all pages compared within 30 days" in alice.get(f"/knowledge/{ident}").text


@pytest.mark.parametrize(
    ("seconds", "shown"), [(4.21, "4.2 s"), (59.97, "1 min"), (187, "3 min 7 s"), (3765.4, "1 h 2 min")]
)
def test_durations_as_people_write_them(seconds: float, shown: str) -> None:
    assert facts.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(512, "512 bytes"), (14_400, "14 kB"), (2_345_000, "2.3 MB"), (999_600, "1.0 MB"), (3e9, "3.0 GB")],
)
def test_sizes_as_people_write_them(count: float, shown: str) -> None:
    assert facts.size(count) == shown


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "http://[", "data:text/html,x", "//evil.example", " java\nscript:x"]
)
def test_an_address_of_no_page_is_no_link(room: tuple[Site, Any, str], url: str) -> None:
    """A17: whoever shares a collection may have written anything beside a text."""
    site, _, collection = room
    program, browser = site.program(site.cast.alice), site.browser(site.cast.alice)
    body = {"id": "odd", "title": "Odd", "text": "The zebra sleeps in the meadow.", "url": url}
    stored = program.post(f"/api/v1/knowledge/collections/{collection}/documents", json=body)
    assert stored.status_code == 201, stored.text
    cited = {"document_id": stored.json["document_id"], "start": 0, "end": 5}
    citation = program.post("/api/v1/knowledge/citations", json=cited).json["id"]
    for path in (f"/knowledge/documents/{stored.json['document_id']}", f"/knowledge/citations/{citation}",
                 f"/knowledge/{collection}", "/knowledge/search?q=zebra"):  # fmt: skip
        page = browser.get(path)
        assert page.status_code == 200, path
        assert not re.search(r'href="\s*(?:javascript|data|java|//)', page.text), path


def test_quotes_and_passages_are_words_without_markup(room: tuple[Site, Any, str]) -> None:
    site, alice, ident = room
    program, api = site.program(site.cast.alice), "/api/v1/knowledge"
    text = "Boats pay.\n\n| Length | Fee |\n|---|---|\n| over 12 m | **31** crowns |"
    made = program.post(f"{api}/collections/{ident}/documents", json={"title": "Fees", "text": text}).json
    cited = program.post(
        f"{api}/citations", json={"document_id": made["document_id"], "start": 0, "end": len(text)}
    ).json
    assert cited["quote"] == text
    page = alice.get(f"/knowledge/citations/{cited['id']}").text
    table = re.search(r'<table class="quote-table">.*?</table>', page)
    assert table is not None
    assert re.findall(r"<(t[hd])[^>]*>([^<]*)<", table[0]) == [
        ("th", "Length"), ("th", "Fee"), ("td", "over 12 m"), ("td", "31 crowns")]  # fmt: skip
    passages = alice.get(f"/knowledge/documents/{made['document_id']}/passages").text
    assert "Length · Fee; over 12 m · 31 crowns" in passages

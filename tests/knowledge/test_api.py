"""The endpoints as a program uses them, and as a stranger finds them (A06-A08)."""

from __future__ import annotations

import io
from typing import Any

import pytest

from tests.fakes.site import Site

API = "/api/v1/knowledge"


@pytest.fixture
def home(both_site: Site) -> tuple[Site, Any, str]:
    alice = both_site.program(both_site.cast.alice)
    made = alice.post(f"{API}/collections", json={"name": "Papers"})
    assert made.status_code == 201, made.text
    return both_site, alice, made.json["id"]


def batch(count: int, words: str = "Words of document") -> dict[str, Any]:
    return {
        "documents": [{"id": f"d{n}", "title": f"T{n}", "text": f"{words} {n} [see {{it}}]."} for n in range(count)]
    }


def test_a_thousand_documents_in_one_call_and_again_without_effect(home: tuple[Site, Any, str]) -> None:
    _, alice, ident = home
    first = alice.post(f"{API}/collections/{ident}/documents/batch", json=batch(1000))
    assert first.status_code == 200, first.text
    assert first.json["counts"] == {"new": 1000}
    assert [one["id"] for one in first.json["documents"]] == [f"d{n}" for n in range(1000)]
    assert all(one["document_id"] and one["chunks"] == 1 for one in first.json["documents"])
    again = alice.post(f"{API}/collections/{ident}/documents/batch", json=batch(1000))
    assert again.json["counts"] == {"unchanged": 1000}
    assert alice.get(f"{API}/collections/{ident}").json["documents"] == 1000
    found = alice.get(f"{API}/documents?collection_id={ident}&id=d77").json["documents"]
    assert [one["title"] for one in found] == ["T77"]
    assert alice.post(f"{API}/collections/{ident}/documents/batch", json=batch(1001)).status_code == 422
    assert alice.post(f"{API}/collections/{ident}/documents/batch", json={"documents": []}).status_code == 422


def test_a_large_body_is_taken_where_documents_are_and_nowhere_else(home: tuple[Site, Any, str]) -> None:
    _, alice, ident = home
    text = "Water [1] boils {at} a hundred degrees. " * 60_000
    assert alice.post(f"{API}/collections/{ident}/documents", json={"text": text}).status_code == 201
    assert alice.post(f"{API}/collections", json={"name": "x", "description": text}).status_code == 413


def test_versions_chunks_and_deleting(home: tuple[Site, Any, str]) -> None:
    _, alice, ident = home
    put = f"{API}/collections/{ident}/documents"
    one = alice.post(put, json={"id": "a", "title": "Heat", "text": "Water boils.", "metadata": {"x": [1]}}).json
    two = alice.post(put, json={"id": "a", "title": "Heat", "text": "Water boils at 100."}).json
    assert (one["outcome"], two["outcome"], one["document_id"]) == ("new", "changed", two["document_id"])
    path = f"{API}/documents/{one['document_id']}"
    assert alice.get(path).json["text"] == "Water boils at 100."
    assert [(v["number"], v["current"]) for v in alice.get(f"{path}/versions").json] == [(2, True), (1, False)]
    assert alice.get(f"{path}/versions/{one['version_id']}").json["text"] == "Water boils."
    assert alice.get(path, query_string={"version_id": one["version_id"]}).json["text"] == "Water boils."
    assert [c["text"] for c in alice.get(f"{path}/chunks").json] == ["Water boils at 100."]
    assert alice.delete(path).status_code == 204
    assert alice.get(path).status_code == 404


def test_a_citation_keeps_its_words_when_the_document_changes(home: tuple[Site, Any, str]) -> None:
    _, alice, ident = home
    put = f"{API}/collections/{ident}/documents"
    one = alice.post(put, json={"id": "a", "title": "Heat", "text": "Water boils at 100 degrees."}).json
    made = alice.post(f"{API}/citations", json={"document_id": one["document_id"], "start": 6, "end": 11})
    assert (made.status_code, made.json["quote"]) == (201, "boils")
    for n in range(8):
        alice.post(put, json={"id": "a", "text": f"Ice melts, {n}."})
    opened = alice.get(f"{API}/citations/{made.json['id']}").json
    assert (opened["quote"], opened["current"], opened["before"]) == ("boils", False, "Water ")
    assert (
        alice.post(f"{API}/citations", json={"document_id": one["document_id"], "start": 5, "end": 500}).status_code
        == 400
    )
    assert alice.delete(f"{API}/citations/{made.json['id']}").status_code == 204
    assert alice.get(f"{API}/citations").json["citations"] == []


def test_files_and_texts_become_sources(home: tuple[Site, Any, str]) -> None:
    site, alice, ident = home
    files = [(io.BytesIO(b"First words."), "a.txt"), (io.BytesIO(b"Second."), "b.md"), (io.BytesIO(b"x"), "c.exe")]
    sent = alice.post(f"{API}/collections/{ident}/files", data={"files": files}, content_type="multipart/form-data")
    assert sent.status_code == 201, sent.text
    assert [one["label"] for one in sent.json["sources"]] == ["a.txt", "b.md"], sent.json
    assert [one["name"] for one in sent.json["refused"]] == ["c.exe"]
    text = alice.post(f"{API}/collections/{ident}/sources", json={"kind": "text", "text": "Third words."})
    assert text.status_code == 201, text.text
    site.lab.run_all("interactive")
    listed = alice.get(f"{API}/collections/{ident}/sources").json["sources"]
    assert {one["label"]: (one["state"], one["outcome"], one["documents"]) for one in listed} == {
        "a.txt": ("ready", "new", 1), "b.md": ("ready", "new", 1), "Third words.": ("ready", "new", 1)}  # fmt: skip
    assert alice.post(f"{API}/sources/{listed[0]['id']}/read").status_code == 200
    assert alice.post(f"{API}/sources/{listed[0]['id']}/read").status_code == 409
    assert alice.delete(f"{API}/sources/{listed[1]['id']}").status_code == 204
    assert alice.post(f"{API}/collections/{ident}/files", data={}, content_type="multipart/form-data").status_code in (
        400,
        422,
    )


def test_a_reader_may_read_and_a_stranger_finds_nothing(home: tuple[Site, Any, str]) -> None:
    site, alice, ident = home
    one = alice.post(f"{API}/collections/{ident}/documents", json={"id": "a", "text": "Words to read."}).json
    source = alice.post(f"{API}/collections/{ident}/sources", json={"kind": "text", "text": "More."}).json
    cited = alice.post(f"{API}/citations", json={"document_id": one["document_id"], "start": 0, "end": 5}).json
    assert alice.post(f"{API}/collections/{ident}/shares", json={"username": "bob"}).status_code == 201
    bob, charlie = site.program(site.cast.bob), site.program(site.cast.charlie)
    document = f"{API}/documents/{one['document_id']}"
    reads = [f"{API}/collections/{ident}", f"{API}/collections/{ident}/sources", f"{API}/documents?collection_id={ident}",
             document, f"{document}/versions", f"{document}/chunks", f"{document}/versions/{one['version_id']}",
             f"{API}/sources/{source['id']}", f"/api/knowledge-base/documents/{one['document_id']}/"]  # fmt: skip
    for path in reads:
        assert bob.get(path).status_code == 200, path
        assert charlie.get(path).status_code == 404, path
    writes = [
        ("POST", f"{API}/collections/{ident}/documents", {"text": "x y"}),
        ("POST", f"{API}/collections/{ident}/documents/batch", batch(1)),
        ("POST", f"{API}/collections/{ident}/documents/delete", {"ids": [one["document_id"]]}),
        ("POST", f"{API}/collections/{ident}/sources", {"kind": "text", "text": "x y"}),
        ("POST", f"{API}/collections/{ident}/shares", {"username": "charlie"}),
        ("PATCH", f"{API}/collections/{ident}", {"name": "mine"}),
        ("POST", f"{API}/sources/{source['id']}/read", None),
        ("DELETE", f"{API}/sources/{source['id']}", None),
        ("DELETE", document, None),
        ("DELETE", f"/api/knowledge-base/documents/{one['document_id']}/", None),
        ("DELETE", f"{API}/collections/{ident}", None),
        ("POST", "/api/knowledge-base/documents/", {"content": "x y", "collection_id": ident}),
    ]
    for method, path, body in writes:
        assert bob.open(path, method=method, json=body).status_code == 403, (method, path)
        assert charlie.open(path, method=method, json=body).status_code == 404, (method, path)
    for who in (bob, charlie):  # citations are their maker's alone
        assert who.get(f"{API}/citations/{cited['id']}").status_code == 404
        assert who.delete(f"{API}/citations/{cited['id']}").status_code == 404
        assert who.get(f"{API}/citations").json["citations"] == []
    assert (
        bob.post(f"{API}/citations", json={"document_id": one["document_id"], "start": 0, "end": 5}).status_code == 201
    )
    assert (
        charlie.post(f"{API}/citations", json={"document_id": one["document_id"], "start": 0, "end": 5}).status_code
        == 404
    )
    assert charlie.get(f"{API}/documents").json["documents"] == []
    assert charlie.get(f"{API}/collections").json == []
    bob_id = alice.get(f"{API}/collections/{ident}/shares").json[0]["user_id"]
    assert alice.delete(f"{API}/collections/{ident}/shares/{bob_id}").status_code == 204
    assert bob.get(document).status_code == 404
    assert bob.get(f"{API}/citations").json["citations"] == []  # of what may not be read any more


def test_the_omeruta_dialect(home: tuple[Site, Any, str]) -> None:
    _, alice, _ = home
    made = alice.post("/api/knowledge-base/documents/", json={"title": "Heat", "content": "Water boils."})
    assert made.status_code == 201, made.text
    path = f"/api/knowledge-base/documents/{made.json['id']}/"
    assert [one["chunk_text"] for one in alice.get(path).json["chunks"]] == ["Water boils."]
    listed = alice.get("/api/knowledge-base/documents/?search=heat").json
    assert (listed["count"], listed["results"][0]["title"]) == (1, "Heat")
    assert alice.delete(path).status_code == 204
    assert alice.get(path).status_code == 404
    assert alice.post("/api/knowledge-base/documents/", json={"title": "x"}).status_code == 400

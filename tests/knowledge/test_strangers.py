"""A06-A08 for collections, documents and search: ids inside bodies, a sentence nobody else may find, forged filters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.site import Site

API = "/api/v1/knowledge"
SECRET = "The zebra of alice sleeps behind the observatory."


@pytest.fixture(scope="module")
def both(calm_both: Site) -> tuple[Any, Any, dict[str, str]]:
    """(alice, charlie, ids of what is alice's)."""
    alice, charlie = calm_both.program(calm_both.cast.alice), calm_both.program(calm_both.cast.charlie)
    ids = {"collection": alice.post(f"{API}/collections", json={"name": "Papers"}).json["id"]}
    of = f"{API}/collections/{ids['collection']}"
    made = alice.post(f"{of}/documents", json={"id": "a", "title": "Zebra", "text": SECRET}).json
    ids |= {"document": made["document_id"], "version": made["version_id"]}
    ids["source"] = alice.post(f"{of}/sources", json={"kind": "text", "text": SECRET}).json["id"]
    calm_both.lab.run_all("interactive")
    mine = charlie.post(f"{API}/collections", json={"name": "Papers"}).json["id"]
    charlie.post(f"{API}/collections/{mine}/documents", json={"id": "a", "text": "A horse stands in the meadow."})
    return alice, charlie, ids | {"mine": mine}


SEARCHES = (
    (f"{API}/search", {"query": SECRET, "k": 50}),
    (f"{API}/search", {"query": SECRET, "mode": "keyword"}),
    (f"{API}/search", {"query": SECRET, "mode": "vector"}),
    ("/api/v1/semantic/search", {"query": SECRET, "limit": 50}),
    ("/api/v1/semantic/search", {"query": SECRET, "mode": "vector", "metric": "euclidean"}),
    ("/api/knowledge-base/search/", {"query": SECRET}),
)


@pytest.mark.parametrize(("path", "body"), SEARCHES)
def test_a_sentence_in_my_documents_is_found_by_me_alone(both: Any, path: str, body: dict[str, Any]) -> None:
    alice, charlie, ids = both
    if body.get("mode") != "vector":
        assert "zebra" in alice.post(path, json=body).text, "else the next lines would prove nothing"
    answer = charlie.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert ids["document"] not in answer.text
    assert "observatory" not in str(answer.json["results"])


def test_filters_narrow_what_one_may_read_and_never_widen_it(both: Any) -> None:
    alice, charlie, ids = both
    forged: list[dict[str, Any]] = [
        {"document_ids": [ids["document"]]},
        {"source_ids": [ids["source"]]},
        {"document_ids": [f"' OR owner_id = '{ids['collection']}"]},
        {"content_types": ["%", "text/%' OR 1=1 --"]},
        {"owner_id": "alice", "where": {"$or": [{"collection_id": ids["collection"]}]}},
    ]
    for filters in forged:
        body = {"query": SECRET, "k": 50, "filters": filters}
        answer = charlie.post(f"{API}/search", json=body)
        assert answer.status_code in (200, 400, 422), (filters, answer.text)
        assert ids["document"] not in answer.text, filters
    found = alice.post(f"{API}/search", json={"query": SECRET, "filters": forged[0]}).json
    assert [one["document_id"] for one in found["results"]] == [ids["document"]]


def test_naming_a_collection_of_another_or_a_path_is_naming_none(both: Any) -> None:
    _, charlie, ids = both
    for path in (f"{API}/search", "/api/v1/semantic/search"):
        for name in (ids["collection"], "../" + ids["collection"], f"kb-{ids['collection']}-1", "..%2f..%2fetc"):
            for wanted in ([name], [ids["mine"], name]):
                answer = charlie.post(path, json={"query": SECRET, "collection_ids": wanted})
                assert answer.status_code in (404, 422), (name, answer.text)
                assert "zebra" not in answer.text.replace(SECRET, "")


def test_ids_of_another_inside_bodies_and_parameters(both: Any, calm_both: Site) -> None:
    """A07: what a body names is looked up as the caller, whichever door it comes through."""
    _, charlie, ids = both
    task = {"title": "x", "task_config": {}}
    tries: list[tuple[str, dict[str, Any]]] = [
        ("/api/crawler/jobs/", {"url": "https://x.example/", "collection_id": ids["collection"]}),
        (f"{API}/citations", {"document_id": ids["document"], "start": 0, "end": 5}),
        (f"{API}/collections/{ids['mine']}/documents/delete", {"ids": [ids["document"]]}),
        ("/api/knowledge-base/documents/", {"content": "x y", "collection_id": ids["collection"]}),
    ]
    for kind, named in (
        ("crawl.site", {"urls": ["https://x.example/"], "collection_id": ids["collection"]}),
        ("crawl.site", {"source_id": ids["source"]}),
        ("knowledge.embed", {"collection_id": ids["collection"]}),
        ("knowledge.reindex", {"collection_id": ids["collection"], "full": True}),
        ("knowledge.remove", {"collection_id": ids["collection"]}),
        ("knowledge.read", {"source_ids": [ids["source"]]}),
    ):
        tries.append(("/api/v1/utils/ai-tasks/", {**task, "task_type": kind, "task_config": named}))
    with calm_both.unchanged():
        for path, body in tries:
            answer = charlie.post(path, json=body)
            refused = answer.status_code in (400, 403, 404, 422)
            nothing = answer.status_code == 200 and path.endswith("/delete") and "zebra" not in answer.text.lower()
            assert refused or nothing, (path, body, answer.status_code, answer.text)
            assert "alice" not in answer.text


def test_a_share_gives_reading_and_its_end_takes_it(both: Any) -> None:
    """A07: search follows the share at once, both ways; a reader's filters and refreshes change nothing."""
    alice, charlie, ids = both
    of = f"{API}/collections/{ids['collection']}"
    assert alice.post(f"{of}/shares", json={"username": "charlie"}).status_code == 201
    found = charlie.post(f"{API}/search", json={"query": SECRET}).json["results"]
    assert ids["document"] in [one["document_id"] for one in found]
    assert charlie.patch(of, json={"embedder": "minilm"}).status_code == 403
    person = alice.get(f"{of}/shares").json[0]["user_id"]
    assert alice.delete(f"{of}/shares/{person}").status_code == 204
    found = charlie.post(f"{API}/search", json={"query": SECRET}).json["results"]
    assert ids["document"] not in [one["document_id"] for one in found]

"""Search and chunking over HTTP: shapes, refusals, the page. The instant embedder is the default one here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes import embedders
from tests.fakes.site import OPEN_LIMITS, Site
from tests.knowledge.conftest import Shelf
from tests.knowledge.test_embed import Quiet
from tests.knowledge.test_search import TEXTS
from webapp.core.context import Ctx
from webapp.knowledge import embed
from webapp.knowledge.models import SearchEvent
from webapp.knowledge.service import collections
from webapp.runtime import Runtime


@pytest.fixture
def shelf(make_rt: Callable[..., Runtime]) -> Iterator[Any]:
    embedders.use()
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_EMBEDDER="fake", BRAINSTEM_EMBEDDERS="fake", **OPEN_LIMITS)
    cast = make_cast(rt)
    with rt.unit() as db:
        made = collections.create(Ctx(rt, db, cast.alice), "Papers", embedder="fake")
    shelf = Shelf(rt, cast, made.id)
    for key, (title, text) in TEXTS.items():
        shelf.put(key, text, title, url=f"https://example.org/{key}")
    embed.embed_collection(rt, made.id, Quiet())
    shelf.site = Site(rt, cast)  # type: ignore[attr-defined]
    yield shelf
    shelf.site.close()  # type: ignore[attr-defined]


def post(shelf: Any, path: str, body: Any, who: Any = None, status: int = 200) -> Any:
    answer = shelf.site.program(who or shelf.cast.alice).post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json


def test_search_answers_with_scores_and_citation(shelf: Any) -> None:
    found = post(shelf, "/api/v1/knowledge/search", {"query": "oil embargo", "k": 2})
    assert found["count"] == len(found["results"]) == 2
    best = found["results"][0]
    assert best["title"] == "Oil crisis"
    assert best["keyword"] > 0
    assert best["fused"] == best["score"]
    assert best["citation"]["quote"] == best["text"]
    assert [best["snippet"][a:b].lower() for a, b in best["marks"]] == ["oil", "embargo", "oil"]
    assert found["notice"] is None
    assert found["search_id"]


def test_filters_come_through(shelf: Any) -> None:
    body = {"query": "oil", "filters": {"content_types": ["application/pdf"]}}
    assert post(shelf, "/api/v1/knowledge/search", body)["results"] == []
    body = {"query": "oil", "collection_ids": [shelf.collection_id], "filters": {"since": "2020-01-01"}}
    assert post(shelf, "/api/v1/knowledge/search", body)["count"] == 4


@pytest.mark.parametrize(
    "body",
    [{}, {"query": ""}, {"query": "x", "k": 0}, {"query": "x", "k": 101}, {"query": "x", "mode": "magic"},
     {"query": "x" * 4001}, {"query": "x", "filters": {"since": "soon"}}, {"query": "x", "collection_ids": [""]},
     {"query": "x", "filters": {"min_quality": 2}}],
)  # fmt: skip
def test_what_does_not_fit_is_refused(shelf: Any, body: Any) -> None:
    assert post(shelf, "/api/v1/knowledge/search", body, status=422)["errors"]


def test_an_empty_question_and_an_impossible_day_are_bad_requests(shelf: Any) -> None:
    post(shelf, "/api/v1/knowledge/search", {"query": " "}, status=400)
    post(shelf, "/api/v1/knowledge/search", {"query": "x", "filters": {"since": "2020-02-31"}}, status=400)


@pytest.mark.parametrize("path", ["/api/v1/knowledge/search", "/api/v1/semantic/search"])
def test_a_strangers_collection_is_not_there(shelf: Any, path: str) -> None:
    body = {"query": "oil", "collection_ids": [shelf.collection_id]}
    post(shelf, path, body, shelf.cast.charlie, status=404)
    post(shelf, path, {"query": "oil", "collection_ids": ["nope"]}, status=404)
    assert post(shelf, path, {"query": "oil"}, shelf.cast.charlie)["results"] == []
    assert shelf.site.client.post(path, json=body).status_code == 401


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot", "manhattan"])
def test_four_distances(shelf: Any, metric: str) -> None:
    found = post(shelf, "/api/v1/semantic/search", {"query": "oil embargo", "metric": metric, "mode": "vector"})
    scores = [one["score"] for one in found["results"]]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    distances = [one["distance"] for one in found["results"]]
    assert distances == sorted(distances, reverse=metric == "dot")
    if metric == "euclidean":
        cosine = found["results"][0]["vector"]
        assert distances[0] == pytest.approx((2 - 2 * cosine) ** 0.5, abs=2e-3)


def test_a_threshold_keeps_what_is_near(shelf: Any) -> None:
    body = {"query": "Oil crisis price of oil rose in 1973", "threshold": 0.6}
    near = post(shelf, "/api/v1/semantic/search", body)["results"]
    assert 1 <= len(near) < 4
    assert all(one["vector"] >= 0.6 for one in near)


def test_the_omeruta_door(shelf: Any) -> None:
    found = post(shelf, "/api/knowledge-base/search/", {"query": "oil", "top_k": 1})
    assert [one["title"] for one in found["results"]] == ["Oil crisis"]
    assert found["processing_time"] < 5
    assert "error" in post(shelf, "/api/knowledge-base/search/", {"query": ""}, status=422)


TEXT = "# Pets\n\nCats purr. Cats sleep long.\n\n# Money\n\nBanks lend money. Rates rise with prices."


@pytest.mark.parametrize("strategy", ["fixed", "sentence", "semantic", "markdown"])
@pytest.mark.parametrize("unit", ["characters", "tokens"])
def test_chunks_are_spans_of_the_text(shelf: Any, strategy: str, unit: str) -> None:
    body = {"text": TEXT, "strategy": strategy, "chunk_size": 40, "unit": unit}
    made = post(shelf, "/api/v1/semantic/chunk", body)
    assert made["count"] == len(made["chunks"]) >= 1
    assert [one["index"] for one in made["chunks"]] == list(range(made["count"]))
    assert all(one["text"] == TEXT[one["start"] : one["end"]] for one in made["chunks"])
    assert all((one["tokens"] is None) == (made["unit"] == "characters") for one in made["chunks"])


def test_wrong_chunk_requests(shelf: Any) -> None:
    for body in ({"text": ""}, {"text": "x", "chunk_size": 40, "overlap": 40}, {"text": "x", "strategy": "magic"}):
        post(shelf, "/api/v1/semantic/chunk", body, status=422)
    post(shelf, "/api/v1/semantic/chunk", {"text": "x", "embedder": "nope"}, status=400)
    post(shelf, "/api/v1/semantic/chunk", {"text": "One. " * 3000, "strategy": "semantic"}, status=400)


# -- the page --------------------------------------------------------------------------------------------------------


def page(shelf: Any, query: str = "", who: Any = None, status: int = 200, **headers: str) -> str:
    answer = shelf.site.browser(who or shelf.cast.alice).get(f"/knowledge/search{query}", headers=headers)
    assert answer.status_code == status
    return str(answer.text)


def test_the_page_shows_marked_results_and_why(shelf: Any) -> None:
    html = page(shelf, "?q=oil+embargo")
    assert "<mark>oil</mark>" in html
    assert "Oil crisis" in html
    assert "how often the words you typed stand here" in html
    assert "example.org" in html
    part = page(shelf, "?q=oil+embargo", **{"HX-Request": "true"})
    assert part.lstrip().startswith('<section id="found"')


def test_the_page_without_results_or_documents(shelf: Any) -> None:
    assert "Whole questions work" in page(shelf)
    assert "There is nothing to search yet" in page(shelf, who=shelf.cast.charlie)
    assert "There is nothing to search yet" in page(shelf, "?q=oil", who=shelf.cast.charlie)
    assert "Nothing fits" in page(shelf, "?q=qqqq&mode=keyword")
    assert "dates are written" in page(shelf, "?q=oil&since=2020-99-99")
    assert "does not work" in page(shelf, "?q=oil&collection=nope")


def test_what_is_searched_for_is_escaped(shelf: Any) -> None:
    shelf.put("x", "An <script>alert(1)</script> oil <b>text</b>.", "<i>Title</i>", url="javascript:alert(1)")
    html = page(shelf, "?q=%3Cscript%3E+oil&mode=keyword")
    assert "<script>alert" not in html
    assert "<i>Title" not in html
    assert "javascript:alert" not in html


def test_opening_a_result_is_remembered(shelf: Any) -> None:
    import re

    html = page(shelf, "?q=oil")
    link = re.search(r'href="(/knowledge/search/open/[^"]+)"', html)
    assert link is not None
    target = link[1].replace("&amp;", "&")
    answer = shelf.site.browser(shelf.cast.alice).get(target)
    assert answer.status_code == 302
    assert "<mark" in shelf.site.browser(shelf.cast.alice).get(answer.location).text
    assert shelf.rows(SearchEvent)[-1].clicked
    assert shelf.site.browser(shelf.cast.charlie).get(target).status_code == 404


def test_recent_searches_are_offered(shelf: Any) -> None:
    page(shelf, "?q=oil+embargo")
    assert "q=oil+embargo" in page(shelf)
    assert "q=oil+embargo" not in page(shelf, who=shelf.cast.bob)

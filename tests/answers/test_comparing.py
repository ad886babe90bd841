"""What texts agree on, where they differ, and who claims what."""

from __future__ import annotations

import pytest

from tests.fakes import embedders
from webapp.answers.service import SourceText, compare
from webapp.runtime import Runtime

ONE = SourceText("a", "Herald", "The bridge opened in 1932 after eight years of work. Sixteen workers died building it. "
                 "The arch spans 503 metres across the harbour.", url="https://herald.example/b")  # fmt: skip
TWO = SourceText("b", "Gazette", "# The bridge\n\nThe bridge opened in 1932 after eight years of work. The arch spans "
                 "550 metres across the harbour. Trains cross it every few minutes.", document_id="d", version_id="v")  # fmt: skip
THREE = SourceText("c", "Post", "The bridge never opened to trains in winter. Gulls nest on the pylons each spring.")


@pytest.fixture(params=["vectors", "words"])
def rt(request: pytest.FixtureRequest, make_rt) -> Runtime | None:  # type: ignore[no-untyped-def]
    embedders.use()
    return make_rt(BRAINSTEM_EMBEDDERS="fake", BRAINSTEM_EMBEDDER="fake") if request.param == "vectors" else None


def test_agreements_differences_and_claims(rt: Runtime | None) -> None:
    found = compare(rt, [ONE, TWO, THREE])
    [same] = found.agreements
    assert same.text == "The bridge opened in 1932 after eight years of work."
    assert {place.key for place in same.spans} == {"a", "b"}
    [other] = [one for one in found.differences if one.why == "number"]
    assert "503" in other.text
    assert "550" in other.text
    assert [place.key for place in other.spans] == ["a", "b"]
    assert set(found.claims_by_source) == {"a", "b", "c"}
    assert all(found.claims_by_source.values())
    assert found.method == ("sentences" if rt is None else "sentences+vectors")


def test_every_quote_is_in_its_text(rt: Runtime | None) -> None:
    texts = {one.key: one.text for one in (ONE, TWO, THREE)}
    found = compare(rt, [ONE, TWO, THREE], "How long is the arch?")
    spans = [place for one in (*found.agreements, *found.differences) for place in one.spans]
    spans += [place for some in found.claims_by_source.values() for one in some for place in one.spans]
    assert spans
    for place in spans:
        assert texts[place.key][place.start : place.end] == place.quote
    named = [place for place in spans if place.key == "b"]
    assert {(place.document_id, place.version_id, place.title) for place in named} == {("d", "v", "Gazette")}


def test_the_question_orders_the_claims() -> None:
    found = compare(None, [ONE, TWO], "How many workers died?")
    assert set(found.claims_by_source) == {"a", "b"}


@pytest.mark.parametrize("sources", [[], [ONE], [SourceText("x", "", "")], [SourceText("x", "", ""), ONE]])
def test_little_to_compare(rt: Runtime | None, sources: list[SourceText]) -> None:
    found = compare(rt, sources)
    assert found.agreements == found.differences == ()
    assert set(found.claims_by_source) == {one.key for one in sources}


def test_as_json(rt: Runtime | None) -> None:
    import json

    assert json.loads(json.dumps(compare(rt, [ONE, TWO]).as_json()))["agreements"][0]["spans"][0]["key"] == "a"

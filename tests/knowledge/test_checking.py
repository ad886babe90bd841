"""The citation checker on passages a reader can judge; its precision is measured by `benchmarks citations`."""

from __future__ import annotations

import pytest

from webapp.knowledge import checking
from webapp.knowledge.checking import check

PASSAGE = (
    "The harbour of Altona was opened in 1724 by the Danish king. It cost 45,000 thalers. "
    "Unlike Hamburg, the town did not demand customs from foreign ships. Later the fish market moved to Altona, "
    "and by 1900 more than 300 boats were registered there. Hamburg took the town over in 1937."
)


def test_the_very_words_are_verified_and_found() -> None:
    found = check(None, "The harbour of Altona was opened in 1724 by the Danish king.", PASSAGE)
    assert (found.label, found.method) == ("verified", "exact")
    assert PASSAGE[found.start : found.end] == found.text
    assert found.text.startswith("The harbour of Altona")
    part = check(None, "by 1900 more than 300 boats were registered there", PASSAGE)
    assert (part.label, part.method) == ("verified", "exact")


@pytest.mark.parametrize(
    "claim",
    [
        "The harbour of Altona was opened in 1742 by the Danish king.",
        "The harbour of Altona was not opened in 1724 by the Danish king.",
        "The town did demand customs from foreign ships in 1937 and 1724 from Bremen.",
        "Bananas are a good source of potassium.",
        "By 1900 more than 900 boats were registered there.",
    ],
)
def test_another_number_a_denial_or_something_else_is_not_verified(claim: str) -> None:
    found = check(None, claim, PASSAGE)
    assert found.label != "verified"
    right = check(None, "By 1900 more than 300 boats were registered there.", PASSAGE)
    assert found.score < right.score


def test_the_best_span_is_the_sentence_that_says_it() -> None:
    found = check(None, "Altona's harbour cost 45000 thalers.", PASSAGE)
    assert "45,000 thalers" in found.text
    assert found.features["numbers"] == 0
    assert (
        check(None, "In 1937 the town was taken over by Hamburg.", PASSAGE).text
        == "Hamburg took the town over in 1937."
    )


@pytest.mark.parametrize(("claim", "passage"), [("", PASSAGE), ("A claim.", ""), ("...", "!!!"), ("the of", PASSAGE)])
def test_nothing_to_compare_is_unsupported(claim: str, passage: str) -> None:
    found = check(None, claim, passage)
    assert (found.label, found.score, found.text) == ("unsupported", 0.0, "")


def test_long_and_hostile_texts_end() -> None:
    found = check(None, "word " * 5000, "other " * 100_000)
    assert found.label == "unsupported"
    assert check(None, "a" * 5000, "\0\ud800" * 1000).label == "unsupported"


def test_links_in_markdown_are_not_words_of_the_passage() -> None:
    marked = PASSAGE.replace("fish market", "[fish market](https://example.org/very/long/1999)")
    assert check(None, "Later the fish market moved to Altona", marked).method == "exact"


def test_vectors_help_where_words_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model with vectors is used when there are some, and its score follows the similarity."""
    import numpy as np

    def vectors(similarity: float) -> object:
        def make(rt: object, embedder: object, texts: list[str]) -> object:
            first = np.array([[1.0, 0.0]])
            other = np.array([[similarity, (1 - similarity**2) ** 0.5]])
            return np.vstack([first, *[other] * (len(texts) - 1)]).astype(np.float32)

        return make

    scores = []
    for similarity in (0.1, 0.9):
        monkeypatch.setattr(checking, "_vectors", vectors(similarity))
        found = check(None, "King of Denmark inaugurates the port at Altona in 1724", PASSAGE)
        assert found.method == "words+vectors"
        scores.append(found.score)
    assert scores[0] < scores[1]


def test_stems_numbers_and_negations() -> None:
    assert checking.stem("governments") == checking.stem("government")
    assert checking.stem("stopped") == checking.stem("stops")
    assert checking.numbers(checking.tokens("45,000 in 1724, or 3.5")) == {"45000", "1724", "3.5"}
    assert checking.negations(checking.tokens("It isn't so, nor was it ever not so.")) == 3
    assert checking._spread({"a": [0, 50], "b": [51], "c": [52]}, {"a", "b", "c"}) == 0

"""Quality and freshness: the scores, the tasks that measure and refresh, who may see them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.knowledge.conftest import Shelf
from webapp.core.context import SYSTEM
from webapp.core.db import utcnow
from webapp.core.errors import NotFound
from webapp.knowledge.freshness import freshness
from webapp.knowledge.models import Collection, Document
from webapp.knowledge.quality import WEIGHTS, assess, family_of
from webapp.knowledge.service import assessing
from webapp.tasks.models import Task

ARTICLE = "\n\n".join(
    f"The harbour of town number {n} was built in {1800 + n} because ships had become larger. It cost more than anybody "
    f"had planned, and the council argued about it for {n + 2} years. Today {n * 7} boats are moored there every night."
    for n in range(12)
)
MENU = "\n".join(f"- [Section {n}](https://e.org/{n})" for n in range(60))


def score(text: str, **more: Any) -> float:
    return assess(text, **more).score


def signal(text: str, name: str, **more: Any) -> Any:
    return next(one for one in assess(text, **more).signals if one.name == name)


def test_an_article_is_better_than_what_is_none() -> None:
    good = score(ARTICLE, content_type="text/html", published="2024-01-01")
    assert good > 0.8
    worse = {
        "short": ARTICLE[:120],
        "menu": MENU,
        "repeated": "The same line of text stands here again.\n" * 60,
        "mojibake": ARTICLE.replace("e", "Ã©"),
        "error page": "404 Not Found. The page you were looking for does not exist. Go back to the start page.",
        "names": "\n".join(f"Harbour {n}" for n in range(200)),
    }
    assert {name: found for name, text in worse.items() if (found := score(text, content_type="text/html")) > 0.7} == {}
    assert score("404 Not Found", content_type="text/html") < 0.3


def test_each_signal_says_what_was_measured() -> None:
    found = assess(ARTICLE, content_type="text/html", language="en",
                   meta={"language_confidence": 0.99, "page_characters": 10 * len(ARTICLE), "link_share": 0.4},
                   warnings=["Some characters could not be decoded."], duplicate_of="Twin", similarity=0.9)  # fmt: skip
    notes = {one.name: one.note for one in found.signals}
    assert set(notes) == set(WEIGHTS["page"])
    assert notes["boilerplate"] == "10% of the page's words are its main text"
    assert notes["links"] == "40% of the text is links"
    assert notes["language"] == "99% sure that it is en"
    assert notes["duplication"] == "90% like “Twin”"
    assert notes["errors"] == "Some characters could not be decoded"
    assert all(0 <= one.score <= 1 for one in found.signals)
    assert found.as_json()["signals"][0]["label"] == "Length"


def test_the_reasons_name_what_costs_most() -> None:
    teaser = assess(ARTICLE[:400].rsplit(". ", 1)[0] + ".\n\nAll...", content_type="text/html")
    assert teaser.reasons[0].startswith("it ends like a text that was cut off: “")
    assert teaser.reasons[0].endswith(" All...”")
    assert any(re.fullmatch(r"only \d+ words", one) for one in teaser.reasons)
    whole = assess(ARTICLE, content_type="text/html", published="2024-01-01")
    assert teaser.score < whole.score - 0.2
    assert assess(ARTICLE + "\n\nAnd so on...", content_type="text/plain").score == pytest.approx(
        assess(ARTICLE, content_type="text/plain").score, abs=0.02
    ), "only pages are teasers"


def test_scripts_without_blanks_have_words_too() -> None:
    japanese = (
        "この灯台は一八四七年に技師のマルタ・ホルムによって建てられました。霧の鐘は一八九一年の春に初めて鳴らされました。\n"
        * 1
    )
    text = "\n".join(japanese.replace("一", digit) for digit in "二三四五六七八九十百千万億兆")
    assert signal(text, "length").value > 300
    assert "readability" not in {one.name for one in assess(text).signals}, "it is measured by blanks"


@pytest.mark.parametrize(
    ("content_type", "family"),
    [("text/html; charset=utf-8", "page"), ("application/pdf", "document"), ("text/markdown", "text"),
     ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "data"), ("text/csv", "data"),
     ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "document"),
     ("application/rss+xml", "page")],
)  # fmt: skip
def test_every_type_has_a_score(content_type: str, family: str) -> None:
    """M137: text, html, office, pdf."""
    assert family_of(content_type) == family
    assert 0 < assess(ARTICLE, content_type=content_type).score <= 1
    assert assess("", content_type=content_type).score < 0.3
    assert signal("a b", "length", content_type=content_type).score < 0.5


def test_freshness_falls_with_age_and_with_how_often_a_page_changed() -> None:
    now = utcnow()

    def at(days_ago: float, known: float, changes: int) -> Any:
        return freshness(now, now - timedelta(days=known), now - timedelta(days=days_ago), changes)

    assert at(0, 10, 5).score == 1
    assert at(30, 30, 0).score == pytest.approx(0.5, abs=0.001)
    assert at(10, 100, 0).score > at(10, 100, 3).score > at(10, 100, 30).score
    assert at(31, 400, 0).due
    assert at(31, 400, 0).score > 0.9
    assert at(2, 32, 30).stale
    assert at(1, 31, 30).half_life < 2


def test_measuring_fills_the_rows_oldest_first_and_again_after_a_change(shelf: Shelf) -> None:
    first, second = shelf.put("a", ARTICLE), shelf.put("b", "Short.")
    found = assessing.measure(shelf.rt, 1)
    found += assessing.measure(shelf.rt, 1)
    assert {one["document_id"] for one in found} == {first.document_id, second.document_id}
    scores = {row.id: row.quality for row in shelf.rows(Document)}
    assert scores[first.document_id] > 0.8 > 0.5 > scores[second.document_id]
    assert assessing.measure(shelf.rt, 10, collection_id=shelf.collection_id) == []
    shelf.put("b", ARTICLE + " And more.", keep_duplicates=True)
    (again,) = assessing.measure(shelf.rt, 10, collection_id=shelf.collection_id)
    assert again["document_id"] == second.document_id


def test_near_duplicates_are_found_by_their_signatures(shelf: Shelf) -> None:
    from webapp.knowledge.minhash import signature

    shelf.put("a", ARTICLE, title="First", minhash=signature(ARTICLE))
    other = ARTICLE.replace("harbour of town number 3", "port of town number 3")
    stored = shelf.put("b", other, title="Second", minhash=signature(other))
    assessing.measure(shelf.rt, 10)
    with shelf.as_(shelf.cast.alice, write=False) as ctx:
        _, found = assessing.quality_of(ctx, stored.document_id or "")
    duplication = next(one for one in found["signals"] if one["name"] == "duplication")
    assert duplication["value"] > 0.8
    assert "First" in duplication["note"]


def test_strangers_see_nothing(shelf: Shelf) -> None:
    stored = shelf.put("a", ARTICLE, url="https://example.org/a")
    assessing.measure(shelf.rt, 10)
    with shelf.as_(shelf.cast.charlie, write=False) as ctx:
        with pytest.raises(NotFound):
            assessing.quality_of(ctx, stored.document_id or "")
        assert assessing.overview(ctx).documents == 0
        assert assessing.assessments(ctx).items == []
        assert assessing.stale(ctx, days=0) == []
    with shelf.as_(shelf.cast.alice, write=False) as ctx:
        seen = assessing.overview(ctx)
        assert (seen.documents, seen.assessed, sum(seen.classes)) == (1, 1, 1)


def test_old_pages_are_read_again_the_oldest_first_once(shelf: Shelf) -> None:
    """M031: older than 30 days, at most 10; one crawl for the collection, and the same pages are not queued twice."""
    now = utcnow()
    for number in range(14):
        stored = shelf.put(f"https://example.org/{number}", f"Page {number}.", url=f"https://example.org/{number}")
        with shelf.rt.unit() as db:
            age = timedelta(days=19.5 + number)
            db.execute(update(Document).where(Document.id == stored.document_id).values(checked_at=now - age))
    shelf.put("no address", "A text.")
    first = assessing.refresh(shelf.rt, 30, 2)
    assert (first["stale_count"], first["refresh_queued"]) == (3, 2)
    with shelf.rt.unit(write=False) as db:
        task = db.scalars(select(Task).where(Task.id.in_(first["task_ids"]))).one()
    assert (task.kind, task.owner_id) == ("crawl.site", shelf.cast.alice.id)
    assert task.params["urls"] == ["https://example.org/13", "https://example.org/12"]
    second = assessing.refresh(shelf.rt, 30, 10)
    assert (second["stale_count"], second["refresh_queued"]) == (1, 1)
    assert assessing.refresh(shelf.rt, 30, 10) == {"stale_count": 0, "refresh_queued": 0, "task_ids": []}


def test_a_removed_collection_is_left_alone(shelf: Shelf) -> None:
    shelf.put("a", ARTICLE, url="https://example.org/a")
    with shelf.rt.unit() as db:
        db.execute(update(Collection).values(removed_at=utcnow()))
    assert assessing.measure(shelf.rt, 10) == []
    assert assessing.refresh(shelf.rt, 0, 10)["stale_count"] == 0


def test_the_kinds_run_and_are_scheduled(shelf: Shelf) -> None:
    from webapp.knowledge.assess_kind import QUALITY
    from webapp.tasks import service as tasks
    from webapp.tasks.scheduler import SYSTEM_SCHEDULES

    times = {kind: cron for _, kind, cron, _, _ in SYSTEM_SCHEDULES}
    assert times["knowledge.quality"] == "0 3 * * 1"
    assert times["knowledge.freshness"] == "0 2 * * *"
    assert QUALITY.check({}) == {"limit": 100}
    with shelf.as_(shelf.cast.bob) as ctx, pytest.raises(NotFound):
        tasks.start(ctx, "knowledge.quality", {"collection_id": shelf.collection_id})
    with shelf.as_(SYSTEM) as ctx:
        assert tasks.start(ctx, "knowledge.quality", {})["id"]

"""`content_generation`: an outline, sections, the length within 10 %, keywords counted, citations checked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.kinds import Killed
from tests.fakes.openai_server import OpenAIServer
from tests.research.conftest import Den
from tests.writing.conftest import Author, result_of
from webapp.core.context import Ctx
from webapp.core.errors import BadRequest, BlockedAddress, Invalid, NoModel, NotFound, Upstream
from webapp.knowledge.service import citations
from webapp.tasks import service as tasks
from webapp.writing import counting
from webapp.writing.params import USUAL
from webapp.writing.reporting import markdown, text

EGGS = "A mason bee female lays about 20 eggs in her life and seals each cell with mud [1]."


@pytest.fixture
def desk(den_of: Any) -> Den:
    return den_of()  # type: ignore[no-any-return]


def whole(result: dict[str, Any]) -> int:
    return sum(counting.words(row["text"]) + counting.words(row["heading"]) for row in result["sections"])


# -- with a model ------------------------------------------------------------------------------------------------------


def test_outline_first_then_its_sections(desk: Den, author: Author) -> None:
    result = result_of(desk, content_type="blog_post", length=1200, tone="professional",
                       keywords=["AI", "machine learning", "automation"])  # fmt: skip
    assert author.calls[0] == "outline"
    assert author.calls.count("section") == len(result["sections"]) == 7
    assert result["mode"] == "text"
    assert result["title"] == "Of bees"
    assert result["content"].startswith("# Of bees\n\n## Part 1\n\n")
    assert [row["heading"] for row in result["outline"]] == [f"Part {n}" for n in range(1, 8)]
    assert result["words"] == whole(result)
    assert result["within_limits"] is True
    assert abs(result["deviation"]) <= 0.10
    assert "nothing of it was checked" in result["notes"][0]
    events = desk.lab.events(result["task_id"])
    assert any((event.data or {}).get("outline") for event in events), "the outline is shown as soon as there is one"
    assert sum("written:" in (event.message or "") for event in events) == 7


@pytest.mark.parametrize("content_type", sorted(USUAL))
def test_every_sort_of_text_has_its_length(desk: Den, author: Author, content_type: str) -> None:
    result = result_of(desk, content_type=content_type)
    assert result["length"] == USUAL[content_type].words
    assert result["within_limits"] is True, (result["words"], result["length"])
    assert USUAL[content_type].label.lower() in author.engine.shown.lower()  # type: ignore[attr-defined]


@pytest.mark.parametrize("share", [0.5, 0.7, 0.85, 1.2, 1.5, 2.5])
@pytest.mark.parametrize("length", [60, 300, 1000])
def test_a_model_that_counts_badly_is_put_right(desk: Den, author: Author, share: float, length: int) -> None:
    author.share = share
    result = result_of(desk, length=length)
    assert result["within_limits"] is True, (result["words"], length, author.calls)
    assert result["words"] == whole(result)


def test_what_a_model_cannot_do_is_said(desk: Den, author: Author) -> None:
    author.share, author.extends = 0.3, False
    result = result_of(desk, length=600)
    assert result["within_limits"] is False
    assert result["deviation"] < -0.1
    assert any("600 were asked for" in note for note in result["notes"])


def test_a_model_that_never_shortens_loses_sentences(desk: Den, author: Author) -> None:
    author.share, author.obeys = 2.0, False
    result = result_of(desk, length=600)
    assert result["within_limits"] is True, result["words"]


def test_keywords_that_are_missing_are_asked_for_once(desk: Den, author: Author) -> None:
    result = result_of(desk, length=400, keywords=["reed", "pollen", "Reed"])
    assert author.calls.count("revise") == 1
    assert [one["keyword"] for one in result["keywords"]] == ["reed", "pollen"]
    assert all(one["count"] >= 1 for one in result["keywords"])
    assert result["keyword_coverage"] == 1.0


def test_keywords_that_were_not_used_are_reported(desk: Den, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(author, "prose", lambda words, asked, first="": " ".join(["word"] * words) + ".")
    result = result_of(desk, length=400, keywords=["reed"])
    assert result["keywords"] == [{"keyword": "reed", "count": 0, "sections": []}]
    assert result["keyword_coverage"] == 0.0


def test_tone_readers_and_wishes_reach_the_model(desk: Den, author: Author) -> None:
    result_of(desk, content_type="email", tone="cheerful", audience="gardeners", language="German",
              instructions="Mention the open day.")  # fmt: skip
    shown = author.engine.shown  # type: ignore[attr-defined]
    assert all(one in shown for one in ("cheerful", "gardeners", "German", "Mention the open day."))


def test_a_small_window_gets_more_sections(desk: Den, author: Author) -> None:
    author.engine.context = 900  # type: ignore[attr-defined]
    result = result_of(desk, length=1000)
    assert len(result["sections"]) > 6
    assert result["within_limits"] is True
    for request in author.engine.requests:  # type: ignore[attr-defined]
        used = sum(author.engine.count([one["content"] for one in request.messages]))  # type: ignore[attr-defined]
        assert used + request.max_tokens <= 900


# -- grounded ----------------------------------------------------------------------------------------------------------


def test_from_pages_with_checked_citations(desk: Den, author: Author) -> None:
    author.also = lambda asked: f"{EGGS} Mason bees were invented in Paris [1]."
    result = result_of(desk, length=300, urls=[desk.site.url("/wiki/Mason_bees")])
    assert result["grounded"] is True
    verdicts = {one["text"]: one["verdict"] for row in result["sections"] for one in row["sentences"]}
    assert verdicts[EGGS.replace(" [1]", "")] == "verified"
    assert verdicts["Mason bees were invented in Paris."] == "unsupported"
    assert "Paris. [?]" in result["content"]
    assert result["checked"]["verified"] >= 1
    assert {one["url"] for one in result["sources"]} == {desk.site.url("/wiki/Mason_bees")}
    for one in result["sources"]:
        with desk.rt.unit(write=False) as db:
            opened = citations.open_(Ctx(desk.rt, db, desk.cast.alice), one["citation_id"])
            assert opened.citation.quote == one["quote"]
            with pytest.raises(NotFound):
                citations.open_(Ctx(desk.rt, db, desk.cast.charlie), one["citation_id"])
    for row in result["sections"]:
        for one in row["sentences"]:
            marks = "".join(f"[{n}]" for n in one["numbers"])
            assert row["text"][one["start"] : one["end"]].endswith(marks)


def test_from_a_collection_and_nothing_else(desk: Den, author: Author) -> None:
    author.also = lambda asked: EGGS if "source-" in asked else ""
    desk.put("Mason bees", "A mason bee female lays about 20 eggs in her life and seals each cell with mud. "
             "Mason bees are solitary bees that build their nests from mud.")  # fmt: skip
    result = result_of(desk, length=250, collection_id=desk.collection_id)
    assert [one["title"] for one in result["sources"]] == ["Mason bees"]
    assert "never an instruction" in author.engine.requests[-1].messages[0]["content"]  # type: ignore[attr-defined]


def test_sources_that_do_not_speak_of_it_are_said(desk: Den, author: Author) -> None:
    desk.put("Old cars", "Cars rust when salt is on the road in winter and nobody washes them.")
    result = result_of(desk, topic="The chess championship of 1972", length=250, collection_id=desk.collection_id)
    assert result["grounded"] is False
    assert any("do not speak of this topic" in note for note in result["notes"])


def test_pages_that_cannot_be_read(desk: Den, author: Author) -> None:
    good, gone = desk.site.url("/wiki/Mason_bees"), desk.site.url("/gone.html")
    result = result_of(desk, length=250, urls=[good, gone])
    assert [one["url"] for one in result["unread"]] == [gone]
    task_id = desk.lab.start_kind("content_generation", {"topic": "x", "urls": [gone]}, desk.cast.alice)
    desk.work()
    row = desk.lab.row(task_id)
    assert (row.status, "gone.html" in (row.error or "")) == ("failed", True)


# -- without a model ---------------------------------------------------------------------------------------------------


def test_without_a_model_an_outline_and_a_digest_that_say_so(desk: Den) -> None:
    desk.put("Mason bees", "Mason bees are solitary bees that build their nests from mud and pollen in hollow stems.")
    result = result_of(desk, content_type="blog_post", collection_id=desk.collection_id)
    assert (result["mode"], result["content"], result["words"], result["engine"]) == ("outline", "", 0, "extractive")
    assert [row["heading"] for row in result["sections"]] == [
        "Why Mason bees matters", "What it is", "How it works", "What to watch out for", "What to do next"]  # fmt: skip
    assert "not a text" in result["notes"][0]
    assert "BRAINSTEM_MODEL_SERVERS" in result["notes"][0], "how to get one"
    assert any("solitary bees" in row["text"] for row in result["sections"])
    assert all(one["citation_id"] for one in result["sources"])
    assert "not a text" in markdown("x", result)


def test_an_empty_knowledge_base_gives_an_empty_digest(desk: Den) -> None:
    result = result_of(desk)
    assert all(row["declined"] and not row["text"] for row in result["sections"])
    assert result["sources"] == []
    assert "The sources say nothing about this." in markdown("x", result)


def test_a_digest_is_asked_for_by_name(desk: Den, author: Author) -> None:
    result = result_of(desk, engine="extractive")
    assert (result["mode"], author.calls) == ("outline", [])


# -- kills and failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_killed_run_writes_nothing_twice(desk: Den, author: Author, at: int) -> None:
    engine = author.engine  # type: ignore[attr-defined]
    generate = engine.generate
    begun: list[int] = []

    def killing(request: Any, **options: Any) -> Any:
        begun.append(1)
        done = generate(request, **options)
        if len(begun) == at:
            raise Killed
        return done

    engine.generate = killing
    task_id = desk.lab.start_kind("content_generation", {"topic": "Bees", "length": 600}, desk.cast.alice)
    desk.lab.crash()
    desk.lab.take_over()
    desk.work()
    assert desk.lab.status(task_id) == "completed"
    with_kill = len(begun)
    begun.clear()
    again = desk.lab.start_kind("content_generation", {"topic": "Bees", "length": 600}, desk.cast.alice)
    begun.extend([0] * 100)
    desk.work()
    assert desk.lab.status(again) == "completed"
    assert with_kill - 1 == len(begun) - 100


def test_what_a_stop_cut_short_is_not_kept(desk: Den, author: Author) -> None:
    engine = author.engine  # type: ignore[attr-defined]
    generate = engine.generate

    def stopping(request: Any, **options: Any) -> Any:
        if len(author.calls) == 2:
            options["cancelled"].__self__.ask_to_stop()
        return generate(request, **options)

    engine.generate = stopping
    task_id = desk.lab.start_kind("content_generation", {"topic": "Bees", "length": 600}, desk.cast.alice)
    desk.work()
    row = desk.lab.row(task_id)
    assert row.status == "cancelled"
    assert "section 1.0" not in (row.checkpoint or {})


def test_a_server_that_fails_is_tried_again_and_then_told(
    desk: Den, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        author.engine, "script", lambda request: (_ for _ in ()).throw(Upstream("unwell", retryable=True))
    )  # type: ignore[attr-defined]
    task_id = desk.lab.start_kind("content_generation", {"topic": "Bees"}, desk.cast.alice)
    desk.lab.run()
    assert desk.lab.status(task_id) == "retrying"


def test_tokens_that_were_guessed_too_low(desk: Den, author: Author) -> None:
    author.also = lambda asked: ""
    engine = author.engine  # type: ignore[attr-defined]

    def script(request: Any) -> str:
        if "source-" in request.messages[-1]["content"] and "Plan a text" not in request.messages[-1]["content"]:
            raise Invalid("too long", code="context_overflow")
        return author(request)

    engine.script = script
    result = result_of(desk, length=250, urls=[desk.site.url("/wiki/Mason_bees")])
    assert result["within_limits"] is True


def test_a_server_that_speaks_the_real_protocol(den_of: Any) -> None:
    author = Author()
    with OpenAIServer() as server:
        from webapp.engines.base import Request

        server.script = lambda asked: [piece + " " for piece in author(Request(tuple(asked["messages"]))).split(" ")] if (
            "Plan a text" not in asked["messages"][-1]["content"]) else [author(Request(tuple(asked["messages"])))]  # fmt: skip
        host = server.env["BRAINSTEM_ALLOW_HOSTS"]
        den = den_of(
            BRAINSTEM_MODEL_SERVERS=server.env["BRAINSTEM_MODEL_SERVERS"], BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1,{host}"
        )
        result = result_of(den, length=500, engine=server.engine)
    assert result["engine"] == server.engine
    assert result["within_limits"] is True


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"topic": ""}, "topic"), ({"topic": " \0 "}, "topic"), ({"content_type": "novel"}, "content_type"), ({"length": 19}, "length"),
     ({"length": 10_001}, "length"), ({"length": "long"}, "length"), ({"tone": "x" * 101}, "tone"), ({"keywords": "AI"}, "keywords"),
     ({"keywords": ["x"] * 31}, "keywords"), ({"keywords": ["x" * 81]}, "keywords"), ({"keywords": ["!!"]}, "keywords"),
     ({"urls": ["ftp://x"]}, "urls"), ({"urls": ["http://10.0.0.1/"]}, "urls"), ({"what": 1}, "what")],
)  # fmt: skip
def test_a_wrong_field_is_named(desk: Den, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises((BadRequest, BlockedAddress)) as refused, desk.lab.as_(desk.cast.alice) as ctx:
        tasks.start(ctx, "content_generation", {"topic": "Bees", **wrong})
    assert refused.value.details[0]["loc"][0] == field
    assert desk.lab.count("tasks") == 0


def test_strangers_collections_and_models_that_are_not_there(desk: Den) -> None:
    with pytest.raises(NotFound):
        desk.lab.start_kind(
            "content_generation", {"topic": "x", "collection_id": desk.collection_id}, desk.cast.charlie
        )
    with pytest.raises(NoModel):
        desk.lab.start_kind("content_generation", {"topic": "x", "engine": "openai:gone@nowhere"}, desk.cast.alice)


def test_the_parameters_of_a_task_can_be_used_again(desk: Den, author: Author) -> None:
    first = result_of(desk, keywords=["reed"], urls=[desk.site.url("/wiki/Mason_bees")])
    params = desk.lab.row(first["task_id"]).params
    assert desk.lab.start_kind("content_generation", params, desk.cast.alice)


# -- files -------------------------------------------------------------------------------------------------------------


def test_files(desk: Den, author: Author) -> None:
    author.also = lambda asked: EGGS
    result = result_of(desk, length=250, urls=[desk.site.url("/wiki/Mason_bees")])
    as_markdown, as_text = markdown("x", result), text("x", result)
    assert "## Sources" in as_markdown
    assert "[1]" in as_markdown
    assert "[1]" not in as_text
    assert "#" not in as_text
    assert as_text.startswith("Of bees\n\n")

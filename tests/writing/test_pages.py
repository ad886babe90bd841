"""What a person sees: the text with its sources, the draft while it is written, the outline without a model, and files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.site import OPEN_LIMITS, Site
from tests.research.conftest import Den
from tests.writing.conftest import Author, result_of
from tests.writing.test_writing import EGGS


@pytest.fixture
def desk(den_of: Any) -> Den:
    return den_of(AUTH_REQUIRED="1", **OPEN_LIMITS)  # type: ignore[no-any-return]


@pytest.fixture
def site(desk: Den) -> Iterator[Site]:
    made = Site(desk.rt, desk.cast)
    yield made
    made.close()


def test_a_text_with_its_sources_and_counts(desk: Den, author: Author, site: Site) -> None:
    author.also = lambda asked: (
        f"{EGGS} Mason bees come from Mars [1]. <script>alert(1)</script> ![x](https://evil.example/y)"
    )
    result = result_of(desk, length=250, keywords=["mud", "zebra"], urls=[desk.site.url("/wiki/Mason_bees")])
    page = site.browser(desk.cast.alice).get(f"/tasks/{result['task_id']}").text
    assert f"{result['words']} of 250 words" in page
    assert "Within 10 %" in page
    assert 'href="#source-1"' in page
    assert 'id="source-1"' in page
    assert "<script>alert" not in page
    assert "evil.example/y" not in page
    assert 'class="unsupported"' in page
    assert "mud × " in page
    assert "zebra" in page
    assert site.browser(desk.cast.charlie).get(f"/tasks/{result['task_id']}").status_code == 404


def test_without_a_model_the_page_says_that_nothing_was_written(desk: Den, site: Site) -> None:
    desk.put("Mason bees", "Mason bees are solitary bees that build their nests from mud and pollen in hollow stems.")
    result = result_of(desk, collection_id=desk.collection_id)
    page = site.browser(desk.cast.alice).get(f"/tasks/{result['task_id']}").text
    assert "Nothing was written" in page
    assert "Set up a model" in page
    assert "Outline and digest of sources" in page
    assert "solitary bees" in page


def test_the_draft_grows_and_is_its_owners(desk: Den, author: Author, site: Site) -> None:
    task_id = desk.lab.start_kind("content_generation", {"topic": "Bees", "length": 600}, desk.cast.alice)
    alice, charlie = site.browser(desk.cast.alice), site.browser(desk.cast.charlie)
    assert "being planned" in alice.get(f"/tasks/{task_id}/draft").text
    assert f"/tasks/{task_id}/draft" in alice.get(f"/tasks/{task_id}").text
    seen: list[str] = []
    script = author.engine.script  # type: ignore[attr-defined]

    def looking(request: Any) -> str:
        seen.append(alice.get(f"/tasks/{task_id}/draft").text)
        return script(request)

    author.engine.script = looking  # type: ignore[attr-defined]
    desk.work()
    assert "Part 1" in seen[1]
    assert "Sentence" not in seen[1]
    assert "Sentence" in seen[2]
    done = alice.get(f"/tasks/{task_id}/draft")
    assert (done.status_code, "Sentence" in done.text) == (286, True)
    assert charlie.get(f"/tasks/{task_id}/draft").status_code == 404
    other = desk.lab.start_kind("summary", {"content": "Bees fly."}, desk.cast.alice)
    assert "being planned" in alice.get(f"/tasks/{other}/draft").text, "it has none"


def test_files_of_a_text(desk: Den, author: Author, site: Site) -> None:
    result = result_of(desk, length=250)
    browser = site.browser(desk.cast.alice)
    for fmt, kind in (("md", "text/markdown"), ("txt", "text/plain"), ("json", "application/json")):
        answer = browser.get(f"/tasks/{result['task_id']}/download.{fmt}")
        assert answer.content_type.startswith(kind)
        assert "attachment" in answer.headers["Content-Disposition"]
        assert "Of bees" in answer.text


def test_the_form_knows_the_parameters(site: Site, desk: Den) -> None:
    kinds = {one["name"]: one for one in site.program(desk.cast.alice).get("/api/v1/task-kinds").json}
    for name in ("summary", "research", "content_generation"):
        for field, about in kinds[name]["config_schema"]["properties"].items():
            assert about.get("title"), (name, field)

"""The task kind `nlp` through the API and a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes.http_server import FakeSite
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.core.errors import BadRequest
from webapp.nlp.kind import NLP

TASKS = "/api/v1/utils/ai-tasks/"
SAID = "The new library opened on 3 May 2024. People love it. =HYPERLINK is not a formula."
HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture
def web() -> Iterator[FakeSite]:
    with FakeSite() as made:
        made.page(
            "/bees",
            f"<html><head><title>Of bees</title></head><body><p>{'Bees make honey. ' * 40}</p></body></html>".encode(),
            HTML,
        )
        made.page("/gone", b"", status=404)
        yield made


@pytest.fixture
def desk(make_rt: Any, web: FakeSite) -> Iterator[Site]:
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{web.port}", **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def finished(desk: Site, **config: Any) -> dict[str, Any]:
    client = desk.program(desk.cast.alice)
    answer = client.post(TASKS, json={"task_type": "nlp", "task_config": config})
    assert answer.status_code == 201, answer.json
    desk.lab.run_all()
    found: dict[str, Any] = client.get(f"{TASKS}{answer.json['id']}/").json
    return found


def test_a_text_and_its_page(desk: Site) -> None:
    """Its CSV among them, which no spreadsheet would run (A22)."""
    task = finished(desk, content=SAID)
    assert task["status"] == "completed", task["error_message"]
    [text] = task["result_data"]["texts"]
    assert text["language"]["code"] == "en"
    assert text["sentiment"]["available"]
    browser = desk.browser(desk.cast.alice)
    page = browser.get(f"/tasks/{task['id']}").text
    assert "3 May 2024" in page
    assert "VADER" in page
    assert "3 May 2024" in browser.get(f"/tasks/{task['id']}/download.md").text
    assert "\n=" not in browser.get(f"/tasks/{task['id']}/download.csv").text


def test_a_page_that_is_gone_is_listed(desk: Site, web: FakeSite) -> None:
    task = finished(desk, urls=[web.url("/bees"), web.url("/gone")], analyses=["keywords"])
    assert task["status"] == "completed", task["error_message"]
    good, gone = task["result_data"]["texts"]
    assert good["keywords"]["items"][0]["term"].casefold() in ("bees", "honey", "bees make honey", "make honey")
    assert gone["error"] == "127.0.0.1 answered 404"
    assert "answered 404" in desk.browser(desk.cast.alice).get(f"/tasks/{task['id']}").text


def test_nothing_readable_fails(desk: Site, web: FakeSite) -> None:
    task = finished(desk, urls=[web.url("/gone")])
    assert task["status"] == "failed"
    assert "answered 404" in task["error_message"]


@pytest.mark.parametrize(
    ("config", "field"),
    [({}, "nlp"), ({"content": " "}, "nlp"), ({"content": "x", "analyses": ["mood"]}, "analyses"),
     ({"content": "x", "analyses": []}, "analyses"), ({"content": "x", "language": "klingon"}, "language"),
     ({"content": "x", "language": "xx"}, "language"), ({"content": "x", "max_keywords": 0}, "max_keywords"),
     ({"content": 7}, "content"), ({"content": "x", "more": 1}, "more"), ({"urls": [f"http://x/{n}" for n in range(21)]}, "urls")],
)  # fmt: skip
def test_bad_input_names_the_field(config: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        NLP.check(config)
    assert field in caught.value.message


def test_lines_of_a_form() -> None:
    made = NLP.check({"content": "x", "analyses": "language\nkeywords", "urls": ""})
    assert made["analyses"] == ["language", "keywords"]


def test_private_addresses_are_refused_before_anything_is_stored(desk: Site) -> None:
    client = desk.program(desk.cast.alice)
    answer = client.post(TASKS, json={"task_type": "nlp", "task_config": {"urls": ["http://169.254.169.254/"]}})
    assert answer.status_code == 400
    assert "urls" in str(answer.json)

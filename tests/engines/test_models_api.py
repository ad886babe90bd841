"""Endpoints and page of models: documented shapes, who may do what, and that no server is waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.test_calls import add, set_default
from tests.fakes.http_server import FakeSite
from webapp.engines import calls, rows, service
from webapp.engines.base import Completion

WISH = {"task_type": "generation", "content_type": "text", "priority": "speed"}


@pytest.fixture
def lab_server() -> Iterator[FakeSite]:
    with FakeSite() as site:
        models = {
            "data": [{"id": "small", "max_model_len": 2048}, {"id": "large", "max_model_len": 32768}, {"id": "llava"}]
        }
        site.page("/v1/models", json.dumps(models).encode())
        yield site


@pytest.fixture
def stocked(site: Any, lab_server: FakeSite) -> Any:
    """alice's site with a server of three models, two of which were used."""
    add(site.rt, "lab", lab_server.url("/v1"))
    for model, speed in (("small", 80), ("large", 20)):
        done = Completion("x", f"openai:{model}@lab", "stop", 10, speed, {"generate": 1.0, "first_token": 0.2})
        calls.completed(site.rt, calls.Purpose("chat"), done, 1.25)
    service.available(site.rt)
    return site


def post(site: Any, path: str, who: Any, **body: Any) -> Any:
    return site.program(who).post(path, json=body)


def test_what_is_here(stocked: Any) -> None:
    found = stocked.program(stocked.cast.alice).get("/api/v1/models/available").get_json()
    by_name = {one["name"]: one for one in found["models"]}
    small = by_name["openai:small@lab"]
    assert (small["capabilities"], small["context_length"], small["available"]) == (["text"], 2048, True)
    assert (small["average_response_time_ms"], small["average_tokens_per_second"]) == (1250.0, 80.0)
    assert by_name["openai:llava@lab"]["capabilities"] == ["text", "vision"]
    assert by_name["openai:llava@lab"]["performance_score"] is None, "nobody measured it"
    assert by_name["extractive"]["available"]


def test_figures_and_one_model(stocked: Any) -> None:
    alice = stocked.program(stocked.cast.alice)
    found = alice.get("/api/v1/models/performance?task_type=chat&limit=1").get_json()["metrics"]
    assert len(found) == 1
    assert set(found[0]) == {"model_name", "task_type", "total_requests", "success_rate", "average_response_time_ms",
                             "average_tokens_per_second", "performance_score", "last_updated"}  # fmt: skip
    one = alice.get("/api/v1/models/openai:small@lab/stats").get_json()
    assert (one["total_requests"], one["success_rate"], one["average_first_token_ms"]) == (1, 1.0, 200.0)
    assert alice.get("/api/v1/models/small/stats").get_json()["model_name"] == "openai:small@lab"
    assert alice.get("/api/v1/models/nothing/stats").status_code == 404


@pytest.mark.parametrize(
    ("change", "chosen", "words"),
    [
        ({}, "openai:small@lab", "fastest"),
        ({"max_tokens": 8000}, "openai:large@lab", "window of 32,768"),
        ({"priority": "quality"}, "openai:large@lab", "largest window"),
        ({"requirements": {"vision_capable": True}}, "openai:llava@lab", "no other model"),
        ({"task_type": "image_captioning"}, "openai:llava@lab", "no other model"),
        ({"requirements": {"min_performance_score": 0.9}}, "openai:small@lab", "succeeded"),
    ],
)
def test_a_choice_explains_itself(stocked: Any, change: dict[str, Any], chosen: str, words: str) -> None:
    found = post(stocked, "/api/v1/models/select", stocked.cast.alice, **WISH | change).get_json()
    assert found["selected_model"] == chosen
    assert words in found["selection_reason"]
    assert found["model_info"]["name"] == chosen
    assert chosen not in found["fallback_models"]


def test_a_missing_default_falls_back_and_says_so(stocked: Any) -> None:
    set_default(stocked.rt, "generation", "openai:gone@lab")
    found = post(stocked, "/api/v1/models/select", stocked.cast.alice, **WISH | {"priority": "balanced"}).get_json()
    assert found["selected_model"] == "openai:small@lab"
    assert "openai:gone@lab is not available, so it falls back" in found["selection_reason"]
    set_default(stocked.rt, "generation", "openai:large@lab")
    found = post(stocked, "/api/v1/models/select", stocked.cast.alice, **WISH | {"priority": "balanced"}).get_json()
    assert (found["selected_model"], found["fallback_models"][0]) == ("openai:large@lab", "openai:small@lab")


def test_without_a_model_it_says_what_is_there(site: Any) -> None:
    found = post(site, "/api/v1/models/select", site.cast.alice, **WISH | {"task_type": "chat"}).get_json()
    assert found["selected_model"] == "extractive"
    answer = post(site, "/api/v1/models/select", site.cast.alice, **WISH)
    assert answer.status_code == 503
    assert "models page" in answer.get_json()["suggestion"]


def test_choosing_takes_less_than_a_tenth_of_a_second_beside_a_dead_server(stocked: Any, lab_server: FakeSite) -> None:
    lab_server.script("/v1/models", lambda connection, request: request.hung_up.wait(30))
    kept = stocked.rt.kept("models of servers", dict)
    for key, one in list(kept.items()):
        kept[key] = type(one)(one.models, one.error, one.at - 3600)
    alice, times = stocked.program(stocked.cast.alice), []
    for _ in range(20):
        begun = time.perf_counter()
        assert alice.post("/api/v1/models/select", json=WISH).status_code == 200
        times.append(time.perf_counter() - begun)
    assert sorted(times)[10] < 0.1


@pytest.mark.parametrize(
    "body", [{}, {"task_type": ""}, {"task_type": "x", "priority": "best"}, {"task_type": "x", "max_tokens": 0}]
)
def test_bad_wishes(site: Any, body: dict[str, Any]) -> None:
    assert post(site, "/api/v1/models/select", site.cast.alice, **body).status_code == 422


# -- the model server ------------------------------------------------------------------------------------------------


def test_the_model_server_s_lists_are_open(stocked: Any) -> None:
    nobody = stocked.client
    assert nobody.get("/api/v1/ollama/models/names").get_json() == {"models": ["large", "llava", "small"]}
    [first, *_] = nobody.get("/api/v1/ollama/models").get_json()["models"]
    assert first == {"name": "large", "size": None, "modified_at": None, "digest": None}
    health = nobody.get("/api/v1/ollama/health").get_json()
    assert (health["status"], health["models_available"], health["default_model"]) == ("healthy", 3, "openai:large@lab")


def test_health_without_a_model(site: Any) -> None:
    found = site.client.get("/api/v1/ollama/health").get_json()
    assert (found["status"], found["models_available"], found["default_model"]) == ("unhealthy", 0, None)
    assert site.client.get("/api/v1/ollama/models").get_json() == {"models": []}


def test_pulling_is_for_administrators_and_a_task(stocked: Any, lab_server: FakeSite) -> None:
    lab_server.page("/api/version", b'{"version":"0.5.1"}')
    path = "/api/v1/ollama/models/pull/llama2:13b"
    assert stocked.client.post(path).status_code == 401
    assert post(stocked, path, stocked.cast.alice).status_code == 403
    found = post(stocked, path, stocked.cast.root).get_json()
    assert (found["status"], found["model"]) == ("pulling", "llama2:13b")
    row = stocked.lab.row(found["task_id"])
    assert (row.kind, row.params) == ("models.pull", {"model": "llama2:13b", "server": "lab"})


def test_refresh_asks_anew(stocked: Any, lab_server: FakeSite) -> None:
    lab_server.page("/v1/models", b'{"data":[{"id":"new"}]}')
    found = post(stocked, "/api/v1/models/refresh", stocked.cast.alice).get_json()
    assert (found["status"], found["models"], found["unreachable"]) == ("completed", ["openai:new@lab"], [])


# -- the page --------------------------------------------------------------------------------------------------------


def test_a_newcomer_is_told_three_ways(site: Any) -> None:
    html = site.browser(site.cast.root).get("/models").get_data(as_text=True)
    for words in ("No language model yet", "brainstem models pull tinyllama", "/models", "http://127.0.0.1:11434/v1"):
        assert words in html
    assert "Add server" not in site.browser(site.cast.alice).get("/models").get_data(as_text=True)


def test_the_page_asks_as_often_for_many_models_as_for_one(stocked: Any, lab_server: FakeSite) -> None:
    from tests.fakes.lab import QueryCounter

    browser = stocked.browser(stocked.cast.root)
    browser.get("/models")
    with QueryCounter(stocked.rt) as few:
        browser.get("/models")
    lab_server.page("/v1/models", json.dumps({"data": [{"id": f"m{n}"} for n in range(200)]}).encode())
    service.available(stocked.rt, fresh=True)
    rows.known(stocked.rt)
    with QueryCounter(stocked.rt) as many:
        html = browser.get("/models").get_data(as_text=True)
    assert "openai:m199@lab" in html
    assert len(many) <= len(few) + 2  # what is set up is read again each second


def test_errors_of_servers_are_shown_escaped(stocked: Any) -> None:
    from webapp.core.errors import Upstream

    calls.failed(stocked.rt, calls.Purpose(), "openai:llava@lab", Upstream("<script>alert(1)</script>"), 1.0, None)
    html = stocked.browser(stocked.cast.root).get("/models").get_data(as_text=True)
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)" not in html

"""Who is let in at `/v1`: a key of ours, in local mode any key, and never a page of somebody else's. Error shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes.model_server import ModelServer
from tests.fakes.site import Site
from webapp.app import create_app

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = "/v1/chat/completions"
LOCAL = {"REMOTE_ADDR": "127.0.0.1"}


def fits_openai(answer: Any, status: int, kind: str, code: str) -> None:
    """Their shape, and ours beside it."""
    assert answer.status_code == status, answer.text
    error = answer.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == (kind, code)
    assert answer.json["status_code"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


# -- with accounts ---------------------------------------------------------------------------------------------------


def test_a_key_is_needed_and_one_of_ours(site: Site) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-anything"}, {"Authorization": "Bearer bs_nothing"}):
        fits_openai(site.client.get("/v1/models", headers=headers), 401, "authentication_error", "invalid_api_key")
        answer = site.client.post(CHAT, json={"model": "brainstem", "messages": HELLO}, headers=headers)
        fits_openai(answer, 401, "authentication_error", "invalid_api_key")
    assert site.client.get("/v1/models", headers=site.cast.key(site.cast.alice)).status_code == 200


def test_a_key_that_may_only_read(site: Site) -> None:
    """A03"""
    headers = site.cast.key(site.cast.alice, ["tasks:read"])
    assert site.client.get("/v1/models", headers=headers).status_code == 200
    for path, body in ((CHAT, {"model": "brainstem", "messages": HELLO}),
                       ("/v1/embeddings", {"model": "minilm", "input": "x"})):  # fmt: skip
        fits_openai(site.client.post(path, json=body, headers=headers), 403, "permission_error", "forbidden")


def test_an_unknown_address(site: Site) -> None:
    client = site.program(site.cast.alice)
    fits_openai(client.get("/v1/nothing"), 404, "invalid_request_error", "not_found")
    fits_openai(client.get(CHAT), 405, "invalid_request_error", "method_not_allowed")
    fits_openai(client.post("/v1/responses", json={}), 404, "invalid_request_error", "not_found")


def test_a_body_that_is_none(site: Site) -> None:
    client = site.program(site.cast.alice)
    fits_openai(client.post(CHAT, data=b"{", content_type="application/json"), 400, "invalid_request_error", "bad_json")
    fits_openai(client.post(CHAT, json={}), 400, "invalid_request_error", "invalid")
    large = {"model": "brainstem", "messages": [{"role": "user", "content": "x" * 2_000_000}]}
    fits_openai(client.post(CHAT, json=large), 413, "invalid_request_error", "too_large")


def test_without_a_model_it_says_what_to_do(site: Site) -> None:
    client = site.program(site.cast.alice)
    answer = client.post(CHAT, json={"model": "gpt-17", "messages": HELLO})
    fits_openai(answer, 503, "server_error", "no_model")
    assert "GGUF" in answer.json["error"]["message"]
    assert "brainstem/extractive" in answer.json["error"]["message"]
    assert site.lab.count("tasks") == 0


def test_collections_one_may_not_read_are_told_before_anything_is_stored(site: Site) -> None:
    made = site.program(site.cast.bob).post("/api/v1/knowledge/collections", json={"name": "Bob's"}).json["id"]
    body = {"model": "brainstem/extractive", "messages": HELLO, "collections": [made]}
    answer = site.program(site.cast.alice).post(CHAT, json=body)
    fits_openai(answer, 404, "invalid_request_error", "not_found")
    assert site.lab.count("tasks") == 0


def test_one_task_of_ones_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer's task is the caller's: nobody else sees it."""
    from webapp.openai_api import api

    monkeypatch.setattr(api, "hold", lambda actor, feed: {"id": feed.call.id})
    body = {"model": "brainstem/extractive", "messages": HELLO}
    ident = site.program(site.cast.alice).post(CHAT, json=body).json["id"].removeprefix("chatcmpl-")
    assert site.lab.row(ident).owner_id == site.cast.alice.id
    assert site.lab.row(ident).queue == "interactive", "it needs no model, and a person waits"
    path = f"/api/v1/utils/ai-tasks/{ident}/"
    assert site.program(site.cast.alice).get(path).status_code == 200
    assert site.program(site.cast.bob).get(path).status_code == 404


# -- local mode ------------------------------------------------------------------------------------------------------


@pytest.fixture
def local(make_rt: Callable[..., Any]) -> Any:
    with ModelServer() as models:
        app = create_app(make_rt(**models.env))
        app.testing = True
        yield app.test_client()
        app.extensions["hub"].stop(0.2)


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": "Bearer sk-anything"}, {"Authorization": "Bearer bs_revoked"}, {"X-API-Key": "x"},
    {"Authorization": "Bearer " + "x" * 5000},
], ids=str)  # fmt: skip
def test_in_local_mode_any_key_will_do(local: Any, headers: dict[str, str]) -> None:
    assert local.get("/v1/models", headers=headers, environ_base=LOCAL).status_code == 200


def test_elsewhere_a_wrong_key_is_wrong_as_ever(local: Any) -> None:
    answer = local.get("/api/v1/utils/ai-tasks/", headers={"Authorization": "Bearer sk-anything"}, environ_base=LOCAL)
    assert answer.status_code == 401


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Host": "evil.example"}, {"X-Forwarded-For": "192.0.2.7"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("key", [{}, {"Authorization": "Bearer sk-anything"}], ids=["no key", "any key"])
def test_a_foreign_page_is_turned_away_with_any_key(local: Any, headers: dict[str, str], key: dict[str, str]) -> None:
    """A09, A10, A47: what is accepted without a password stays at this machine."""
    models = local.get("/v1/models", headers={**headers, **key}, environ_base=LOCAL)
    chat = local.post(CHAT, json={"model": "brainstem/extractive", "messages": HELLO}, headers={**headers, **key},
                      environ_base=LOCAL)  # fmt: skip
    for answer in (models, chat):
        assert answer.status_code in (400, 401, 403), answer.text
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_from_another_machine_a_key_is_needed(local: Any) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-anything"}):
        answer = local.get("/v1/models", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.7"})
        assert answer.status_code == 401


# -- A38 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [
    "ggml:../../etc/passwd", "ggml:/etc/passwd", "../../x.gguf", "openai:small@", "openai:@lab", "openai:x@http://10.0.0.1",
    "brainstem/../../x", "brainstem/ggml:../x.gguf", "st:../../model", "hub:user/repo", "\x00", " ",
], ids=repr)  # fmt: skip
def test_a_models_name_is_no_path_and_no_address(local: Any, name: str) -> None:
    """A38"""
    answer = local.post(CHAT, json={"model": name, "messages": HELLO}, environ_base=LOCAL)
    assert answer.status_code in (400, 404), answer.text
    embedded = local.post("/v1/embeddings", json={"model": name, "input": "x"}, environ_base=LOCAL)
    assert embedded.status_code in (400, 404), embedded.text


def test_without_a_hub_that_takes_sockets_the_thread_waits(site: Site) -> None:
    """Behind TLS of our own or in a test there is no socket to take over."""
    import threading

    from webapp.openai_api.kind import COMPLETION

    site.lab.host.queues = (COMPLETION.queue, "interactive")
    worked = threading.Thread(target=_work_once, args=(site,))
    worked.start()
    question = [{"role": "user", "content": "Which enzyme breaks down lactose?"}]
    for stream in (False, True):
        answer = site.program(site.cast.alice).post(
            CHAT, json={"model": "brainstem/extractive", "messages": question, "stream": stream}
        )
        assert answer.status_code == 200, answer.text
        if stream:
            assert answer.mimetype == "text/event-stream"
            assert answer.text.endswith("data: [DONE]\n\n")
        else:
            assert json.loads(answer.text)["brainstem"]["declined"]
    worked.join(20)


def _work_once(site: Site) -> None:
    import time

    from webapp.tasks import execute

    done, end = 0, time.monotonic() + 20
    while done < 2 and time.monotonic() < end:
        done += execute.run_next(site.rt, site.lab.host, "interactive") is not None
        time.sleep(0.02)

"""Embedders behind OpenAI's protocol, against a server of our own that speaks it (and one that does not)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.fakes.http_server import FakeSite
from webapp.core.errors import NoModel, Upstream
from webapp.embedding import service
from webapp.runtime import Runtime


@pytest.fixture
def server() -> Iterator[FakeSite]:
    with FakeSite() as site:
        yield site


@pytest.fixture
def ask(server: FakeSite, make_rt: Callable[..., Runtime]) -> Callable[..., Any]:
    """`ask(texts, **settings)`: embed by the fake server."""

    def ask(texts: list[str], **env: str) -> Any:
        name = f"openai:small@http://127.0.0.1:{server.port}/v1"
        allowed = {"BRAINSTEM_ALLOW_HOSTS": f"127.0.0.1:{server.port}"}
        rt = make_rt(**{"BRAINSTEM_EMBEDDERS": name, **allowed, **env})
        return service.embed(rt, name, texts)

    return ask


def speak(server: FakeSite, answer: Callable[[dict[str, Any]], Any], status: int = 200) -> None:
    def script(connection: Any, request: Any) -> None:
        body = json.dumps(answer(json.loads(request.body))).encode()
        head = f"HTTP/1.1 {status} Fake\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    server.script("/v1/embeddings", script)


def embeddings(request: dict[str, Any]) -> dict[str, Any]:
    """Backwards, as the protocol allows: `index` says which is which."""
    rows = [{"object": "embedding", "index": number, "embedding": [len(text), 1.0, 0.0]}
            for number, text in enumerate(request["input"])]  # fmt: skip
    return {"object": "list", "model": request["model"], "data": rows[::-1], "usage": {"prompt_tokens": 3}}


def test_vectors_come_back_in_the_order_of_the_texts(server: FakeSite, ask: Callable[..., Any]) -> None:
    speak(server, embeddings)
    texts = ["a" * (1 + number * 7 % 90) for number in range(150)]
    found = ask(texts)
    wanted = np.array([[len(text), 1.0, 0.0] for text in texts])
    assert np.allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    sent = [json.loads(request.body) for request in server.requests]
    assert [len(one["input"]) for one in sent] == [64, 64, 22]
    assert {one["model"] for one in sent} == {"small"}


def test_the_key_goes_to_the_server_and_only_when_set(server: FakeSite, ask: Callable[..., Any]) -> None:
    speak(server, embeddings)
    ask(["x"])
    ask(["x"], BRAINSTEM_EMBEDDER_KEY="sk-test")
    assert [request.headers.get("authorization") for request in server.requests] == [None, "Bearer sk-test"]


def test_a_private_host_must_be_allowed(server: FakeSite, ask: Callable[..., Any]) -> None:
    speak(server, embeddings)
    with pytest.raises(NoModel) as told:
        ask(["x"], BRAINSTEM_ALLOW_HOSTS="")
    assert "BRAINSTEM_ALLOW_HOSTS" in str(told.value.suggestion)
    assert not server.requests


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (401, NoModel, False),
        (404, NoModel, False),
        (400, Upstream, False),
        (429, Upstream, True),
        (503, Upstream, True),
    ],
)
def test_refusals_say_what_the_server_said(
    server: FakeSite, ask: Callable[..., Any], status: int, kind: type, retryable: bool
) -> None:
    speak(server, lambda request: {"error": {"message": "because of this"}}, status)
    with pytest.raises(kind, match="because of this") as told:
        ask(["x"])
    assert told.value.retryable is retryable


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"data": []},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": [1.0, None]}]},
        {"data": [{"index": 0, "embedding": [[1.0]]}]},
    ],
)
def test_nonsense_is_no_vector(server: FakeSite, ask: Callable[..., Any], answer: Any) -> None:
    speak(server, lambda request: answer)
    with pytest.raises(Upstream):
        ask(["x"])


def test_a_vector_without_a_direction_is_refused(server: FakeSite, ask: Callable[..., Any]) -> None:
    from webapp.core.errors import Unavailable

    speak(server, lambda request: {"data": [{"index": 0, "embedding": [0.0, 0.0]}]})
    with pytest.raises(Unavailable, match="without a length"):
        ask(["x"])


def test_a_server_that_is_not_there(make_rt: Callable[..., Runtime], server: FakeSite) -> None:
    server.__exit__()
    name = f"openai:small@http://127.0.0.1:{server.port}/v1"
    rt = make_rt(BRAINSTEM_EMBEDDERS=name, BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{server.port}")
    with pytest.raises(Upstream) as told:
        service.embed(rt, name, ["x"])
    assert told.value.retryable

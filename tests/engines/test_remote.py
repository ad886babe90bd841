"""Engines behind OpenAI's protocol, against a server of our own that speaks it, and some that do not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes.http_server import FakeSite
from webapp.core.errors import NoModel, Unavailable, Upstream
from webapp.engines import service
from webapp.engines.base import Completion, Request
from webapp.engines.remote import TRIPS
from webapp.runtime import Runtime

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
NAME = "openai:small@lab"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.fixture
def server() -> Iterator[FakeSite]:
    with FakeSite() as site:
        models = json.dumps({"data": [{"id": "small"}, {"id": "large"}]}).encode()
        site.page("/v1/models", models, {"Content-Type": "application/json"})
        yield site


@pytest.fixture
def rt(server: FakeSite, make_rt: Callable[..., Runtime]) -> Runtime:
    address = f"127.0.0.1:{server.port}"
    servers = {"BRAINSTEM_MODEL_SERVERS": f"lab=http://{address}/v1", "BRAINSTEM_MODEL_KEYS": "lab=sk-test"}
    return make_rt(BRAINSTEM_ALLOW_HOSTS=address, **servers)


def chunk(text: str = "", **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": None} | more
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n".encode()


def stream(server: FakeSite, *parts: bytes, pause: float = 0.0) -> None:
    def script(connection: Any, request: Any) -> None:
        connection.sendall(HEAD.encode())
        for part in parts:
            connection.sendall(part)
            if pause and request.hung_up.wait(pause):
                return

    server.script("/v1/chat/completions", script)


def ask(rt: Runtime, **more: Any) -> Completion:
    request = Request(({"role": "user", "content": "Hello"},), max_tokens=9, seed=3, stop=("END",))
    return service.generate(rt, NAME, request, **more)


def test_text_as_it_comes_with_the_server_s_count(rt: Runtime, server: FakeSite) -> None:
    stream(server, chunk("Good "), b": a comment\n\n", chunk("day"), chunk(finish_reason="stop"), USAGE, DONE)
    told: list[str] = []
    found = ask(rt, on_text=told.append)
    assert told == ["Good ", "day"]
    assert (found.text, found.finish, found.prompt_tokens, found.completion_tokens) == ("Good day", "stop", 11, 2)
    [request] = [one for one in server.requests if one.method == "POST"]
    body = json.loads(request.body)
    assert request.headers["authorization"] == "Bearer sk-test"
    assert (body["model"], body["max_tokens"], body["stop"], body["seed"]) == ("small", 9, ["END"], 3)
    assert body["stream"] is True


def test_events_torn_at_any_byte_are_whole_again(rt: Runtime, server: FakeSite) -> None:
    whole = chunk("Grüße 日本") + chunk(finish_reason="length") + b"data: [DONE]\r\n\r\n"
    stream(server, *(bytes([byte]) for byte in whole))
    found = ask(rt)
    assert (found.text, found.finish, found.prompt_tokens) == ("Grüße 日本", "length", None)


def test_a_server_that_does_not_stream(rt: Runtime, server: FakeSite) -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "Whole."}, "finish_reason": "stop"}]}
    server.page("/v1/chat/completions", json.dumps(answer).encode(), {"Content-Type": "application/json"})
    assert ask(rt).text == "Whole."


def test_what_was_broken_off_is_no_answer(rt: Runtime, server: FakeSite) -> None:
    stream(server, chunk("Half an "))
    with pytest.raises(Upstream) as caught:
        ask(rt)
    assert caught.value.retryable


def test_a_cancelled_run_hangs_up(rt: Runtime, server: FakeSite) -> None:
    stream(server, *[chunk("more ")] * 1000, pause=0.02)
    told: list[str] = []
    begun = time.monotonic()
    found = ask(rt, on_text=told.append, cancelled=lambda: len(told) >= 3)
    assert (found.finish, found.text) == ("cancelled", "".join(told))
    assert time.monotonic() - begun < 2
    assert server.idle()


def test_waiting_as_long_as_the_server_says(rt: Runtime, server: FakeSite) -> None:
    server.page("/v1/chat/completions", b'{"error":{"message":"slow down"}}', {"Retry-After": "7"}, status=429)
    with pytest.raises(Upstream) as caught:
        ask(rt)
    assert (caught.value.retry_after, caught.value.retryable) == (7, True)
    assert "slow down" in caught.value.message


@pytest.mark.parametrize(("status", "error"), [(401, NoModel), (404, NoModel), (400, Upstream)])
def test_what_no_second_try_can_mend(rt: Runtime, server: FakeSite, status: int, error: type[Exception]) -> None:
    server.page("/v1/chat/completions", b'{"error":"no such thing"}', status=status)
    with pytest.raises(error) as caught:
        ask(rt)
    assert not getattr(caught.value, "retryable", True)


@pytest.mark.parametrize("junk", [b"data: {no json}\n\n", b"data: []\n\n", b"data: " + b"x" * (2 * 2**20)])
def test_a_server_that_talks_nonsense(rt: Runtime, server: FakeSite, junk: bytes) -> None:
    stream(server, junk)
    with pytest.raises(Upstream):
        ask(rt)


def test_a_server_that_only_fails_is_left_alone_for_a_while(rt: Runtime, server: FakeSite) -> None:
    server.page("/v1/chat/completions", b"oops", status=500)
    for _ in range(TRIPS):
        with pytest.raises(Upstream):
            ask(rt)
    asked = len(server.requests)
    with pytest.raises(Unavailable) as caught:
        ask(rt)
    assert caught.value.retry_after
    assert len(server.requests) == asked
    [info] = [one for one in service.available(rt) if one.id == NAME]
    assert not info.available


def test_servers_are_asked_for_their_models(rt: Runtime, server: FakeSite) -> None:
    assert [(one.id, one.available) for one in service.available(rt)] == [("openai:large@lab", True), (NAME, True)]
    asked = len(server.requests)
    service.available(rt)
    assert len(server.requests) == asked, "what it said a moment ago still holds"
    service.available(rt, fresh=True)
    assert len(server.requests) == asked + 1


def test_a_private_server_needs_the_operator_s_word(server: FakeSite, make_rt: Callable[..., Runtime]) -> None:
    rt = make_rt(BRAINSTEM_MODEL_SERVERS=f"lab=http://127.0.0.1:{server.port}/v1")
    with pytest.raises(NoModel) as caught:
        ask(rt)
    assert "BRAINSTEM_ALLOW_HOSTS" in str(caught.value.suggestion)
    [info] = service.available(rt)
    assert not info.available
    assert not server.requests

"""The provider of docs/examples, against a server that speaks its protocol."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.engines.test_calls import HELLO
from tests.fakes.http_server import FakeSite
from webapp.core.errors import NoModel, Upstream
from webapp.engines import providers, service
from webapp.runtime import Runtime


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in events)


def delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


START = {
    "type": "message_start",
    "message": {"id": "m", "role": "assistant", "usage": {"input_tokens": 7, "output_tokens": 1}},
}
STOP = {"type": "message_stop"}


def end(reason: str) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 4}}


@pytest.fixture
def server() -> Iterator[FakeSite]:
    with FakeSite() as site:
        yield site


@pytest.fixture
def rt(make_rt: Any, server: FakeSite, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "examples" / "brainstem_anthropic"))
    module = importlib.import_module("brainstem_anthropic")
    monkeypatch.setitem(providers.providers._known(), "anthropic", ("brainstem_anthropic:PROVIDER", "a test"))
    monkeypatch.setitem(providers.providers._loaded, "anthropic", module.PROVIDER)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    monkeypatch.setenv("ANTHROPIC_MODELS", "small, large")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url("").rstrip("/"))
    return make_rt(BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{server.port}")  # type: ignore[no-any-return]


def answers(server: FakeSite, body: bytes, status: int = 200, **headers: str) -> None:
    server.page("/v1/messages", body, {"Content-Type": "text/event-stream", **headers}, status)


def test_it_streams_and_tells_what_was_measured(rt: Runtime, server: FakeSite) -> None:
    answers(server, sse(START, {"type": "ping"}, delta("A house"), delta(" of bees 🐝."), end("end_turn"), STOP))
    assert [one.id for one in service.available(rt)] == ["anthropic:small", "anthropic:large"]
    pieces: list[str] = []
    done = service.generate(rt, "anthropic:large", HELLO, on_text=pieces.append, timeout=10)
    assert (done.text, done.finish, done.model) == ("A house of bees 🐝.", "stop", "anthropic:large")
    assert "".join(pieces) == done.text
    assert (done.prompt_tokens, done.completion_tokens) == (7, 4)
    [asked] = server.requests
    assert asked.headers["x-api-key"] == "a key"
    body = json.loads(asked.body)
    assert (body["model"], body["stream"]) == ("large", True)
    assert all(one["role"] != "system" for one in body["messages"])


def test_the_end_of_the_budget_is_told(rt: Runtime, server: FakeSite) -> None:
    answers(server, sse(START, delta("Half a"), end("max_tokens"), STOP))
    assert service.generate(rt, "anthropic:small", HELLO, timeout=10).finish == "length"


@pytest.mark.parametrize(
    "body", [sse(START, delta("Half")), sse(START, {"type": "error", "error": {"message": "overloaded"}})]
)
def test_an_answer_that_breaks_off_is_none(rt: Runtime, server: FakeSite, body: bytes) -> None:
    answers(server, body)
    with pytest.raises(Upstream, match="broke"):
        service.generate(rt, "anthropic:small", HELLO, timeout=10)


def test_a_busy_server_says_when_to_come_again(rt: Runtime, server: FakeSite) -> None:
    answers(server, b"{}", 429, **{"Retry-After": "7"})
    with pytest.raises(Upstream) as raised:
        service.generate(rt, "anthropic:small", HELLO, timeout=10)
    assert (raised.value.retryable, raised.value.retry_after) == (True, 7)


def test_without_a_key_it_is_listed_with_what_is_missing(rt: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    info = service.available(rt)[0]
    assert (info.available, info.missing) == (False, "there is no ANTHROPIC_API_KEY")
    with pytest.raises(NoModel):
        service.generate(rt, "anthropic:small", HELLO, timeout=10)

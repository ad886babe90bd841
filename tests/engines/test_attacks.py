"""Model servers that mean harm, or are merely broken: whatever they send, calls end with a clear error in time (A42)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.engines.test_calls import HELLO, add, kept
from tests.engines.test_remote import DONE, HEAD, chunk, stream
from tests.fakes.http_server import Canary, FakeSite, Request
from tests.fakes.lab import Lab, die_at_the_end
from webapp.core import addresses
from webapp.core.context import SYSTEM, Ctx
from webapp.core.errors import AppError, Conflict, NoModel, TooLarge, Upstream
from webapp.engines import ollama, remote, rows, servers, service
from webapp.runtime import Runtime


@pytest.fixture
def evil() -> Iterator[FakeSite]:
    with FakeSite() as site:
        site.page("/v1/models", b'{"data":[{"id":"m"}]}')
        yield site


@pytest.fixture
def rt(make_rt: Callable[..., Runtime], evil: FakeSite) -> Runtime:
    rt = make_rt()
    add(rt, "evil", evil.url("/v1"), "sk-secret")
    return rt


def ask(rt: Runtime, **more: Any) -> Any:
    return service.generate(rt, "openai:m@evil", HELLO, **{"timeout": 10, **more})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_lead_nowhere(rt: Runtime, evil: FakeSite, status: int) -> None:
    """Neither to another private host with the key, nor to a metadata service."""
    canary = Canary()
    for target in (f"http://127.0.0.1:{canary.port}/v1/models", "http://169.254.169.254/latest/meta-data/"):
        evil.redirect("/v1/models", target, status)
        evil.redirect("/v1/chat/completions", target, status)
        [info] = service.available(rt, fresh=True)
        assert not info.available
        with pytest.raises(Upstream):
            ask(rt)
    with pytest.raises(BlockingIOError):
        canary._listener.accept()


def test_a_name_that_moved_inside_is_not_followed(
    make_rt: Callable[..., Runtime], evil: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A42: a server was public when it was added; whoever has its name then points it at this machine."""
    addresses_of = ["93.184.215.14"]
    monkeypatch.setattr(addresses, "_system_lookup", lambda host, port: list(addresses_of))
    rt = make_rt()
    url = evil.url("/v1").replace("127.0.0.1", "models.example.com")
    assert rows.leads_inside(url) is False
    add(rt, "evil", url, "sk-secret")
    addresses_of[:] = ["127.0.0.1"]
    [info] = service.available(rt, fresh=True)
    assert not info.available
    assert "loopback" in (info.missing or "")
    [server] = servers.servers(rt)
    assert ollama.tags(rt, server) == []
    with pytest.raises(NoModel, match="may not be asked") as refused:
        ask(rt)
    assert "add it again" in (refused.value.suggestion or "")
    assert evil.requests == []


def test_a_name_inside_that_an_administrator_added_is_reached(
    make_rt: Callable[..., Runtime], evil: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_system_lookup", lambda host, port: ["127.0.0.1"])
    rt = make_rt()
    url = evil.url("/v1").replace("127.0.0.1", "models.example.com")
    assert rows.leads_inside(url) is True
    with rt.unit() as db:
        rows.add_server(Ctx(rt, db, SYSTEM), "ours", url, inside=True)
    assert [one.available for one in service.available(rt, fresh=True)] == [True]


@pytest.mark.parametrize(
    ("url", "inside"),
    [("http://127.0.0.1:11434/v1", True), ("http://ollama:11434/v1", True), ("http://box.lan/v1", True),
     ("http://nobody.example.com:9000/v1", False), ("https://api.openai.com/v1", False)],
)  # fmt: skip
def test_where_nobody_can_say_the_name_decides(monkeypatch: pytest.MonkeyPatch, url: str, inside: bool) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(addresses, "_system_lookup", unknown)
    assert rows.leads_inside(url) is inside


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b'{"data":{}}', b'{"data":[1,2]}', b'{"data":[{"id":5}]}', b"[" * 100_000, b'{"data":' * 5000,
     b"\xff\xfe\x00", b'{"data":[' + b'{"id":"x"},' * 600_000 + b'{"id":"x"}]}'],
    ids=range(10),
)  # fmt: skip
def test_lists_that_are_none(rt: Runtime, evil: FakeSite, body: bytes) -> None:
    evil.page("/v1/models", body)
    assert not [one for one in service.available(rt, fresh=True) if one.available]


def test_names_that_are_none_are_left_out(rt: Runtime, evil: FakeSite) -> None:
    names = ["ok", "", "x" * 1000, "new\nline", "nul\0", "\u202eevil", 7]
    evil.page("/v1/models", json.dumps({"data": [{"id": name} for name in names]}).encode())
    assert [one.details["model"] for one in service.available(rt, fresh=True)] == ["ok"]


def test_a_list_that_drips_costs_seconds_only(rt: Runtime, evil: FakeSite) -> None:
    def drip(connection: Any, request: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not request.hung_up.wait(0.05):
            connection.sendall(b" ")

    evil.script("/v1/models", drip)
    begun = time.monotonic()
    [info] = service.available(rt, fresh=True)
    assert time.monotonic() - begun < 6
    assert not info.available


def test_an_answer_that_never_ends_ends_at_its_limit(
    rt: Runtime, evil: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER", 200_000)
    stream(evil, *[chunk("x" * 1000)] * 2000)
    with pytest.raises(TooLarge):
        ask(rt)


def test_an_answer_of_nothing_but_life_signs_ends_in_time(rt: Runtime, evil: FakeSite) -> None:
    def breathe(connection: Any, request: Request) -> None:
        connection.sendall(HEAD.encode())
        while not request.hung_up.wait(0.02):
            connection.sendall(b": still here\n\n")

    evil.script("/v1/chat/completions", breathe)
    begun = time.monotonic()
    with pytest.raises(Upstream):
        ask(rt, timeout=1.0)
    assert time.monotonic() - begun < 4
    [row] = kept(rt)
    assert not row.ok


@pytest.mark.parametrize(
    "part",
    [b'data: {"choices":[{"delta":{"content":{}}}]}\n\n', b'data: {"choices":[{"delta":[]}]}\n\n', b'data: {"choices":7}\n\n',
     b'data: {"choices":[7]}\n\n', b"data: " + b"[" * 50_000 + b"\n\n", b'data: {"error":{"message":{"a":[1]}}}\n\n',
     b'data: {"choices":[{"finish_reason":{}}]}\n\n', b'data: {"usage":[1]}\n\n'],
    ids=range(8),
)  # fmt: skip
def test_events_of_the_wrong_shape(rt: Runtime, evil: FakeSite, part: bytes) -> None:
    stream(evil, part)
    with pytest.raises(AppError):
        ask(rt)


def test_numbers_and_letters_no_database_takes(rt: Runtime, evil: FakeSite) -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1e400,"completion_tokens":%d}}\n\n' % 10**30
    stream(evil, b'data: {"choices":[{"delta":{"content":"a\\u0000b\\ud800"}}]}\n\n', usage.replace(b"1e400", b"-5"),
           chunk(finish_reason="stop"), DONE)  # fmt: skip
    done = ask(rt)
    assert (done.text, done.prompt_tokens, done.completion_tokens) == ("ab?", None, None)
    assert kept(rt)[0].ok


def test_its_key_is_in_no_error_and_no_row(rt: Runtime, evil: FakeSite) -> None:
    evil.page("/v1/chat/completions", b'{"error":{"message":"bad"}}', status=400)
    with pytest.raises(Upstream) as caught:
        ask(rt)
    assert "sk-secret" not in str(caught.value.message) + json.dumps(kept(rt)[0].details)


# -- F25: a server with a bad day ------------------------------------------------------------------------------------


def refused(evil: FakeSite, status: int, headers: dict[str, str] | None = None) -> None:
    evil.page("/v1/chat/completions", b'{"error":{"message":"no"}}', headers or {}, status)


def test_a_task_waits_as_told_and_succeeds_in_the_end(rt: Runtime, evil: FakeSite) -> None:
    """429 with Retry-After 7, 503 twice, then an answer: four calls, and the first pause is seven seconds at least."""
    lab, cast = Lab(rt), make_cast(rt)
    task_id = lab.start_kind("models.try", {"prompt": "Hello", "model": "openai:m@evil"}, cast.alice)
    breaker = rt.kept(f"breaker {evil.url('/v1')}", remote.Breaker)
    refused(evil, 429, {"Retry-After": "7"})
    lab.run()
    row = lab.row(task_id)
    assert (row.status, breaker.waits() > 6) == ("retrying", True)
    assert row.due_at - time.time() > 6
    for _ in range(2):
        refused(evil, 503)
        again(lab, task_id, breaker)
        assert lab.status(task_id) == "retrying"
    stream(evil, chunk("Well again"), chunk(finish_reason="stop"), DONE)
    again(lab, task_id, breaker)
    row = lab.row(task_id)
    assert (row.status, row.result["text"], row.attempt) == ("completed", "Well again", 4)
    assert len([one for one in evil.requests if one.method == "POST"]) == 4
    assert row.result["model_usage"]["primary_model"] == "openai:m@evil"
    assert [one.ok for one in kept(rt)] == [False, False, False, True]


def test_a_task_gives_up_after_five_attempts(rt: Runtime, evil: FakeSite) -> None:
    lab, cast = Lab(rt), make_cast(rt)
    task_id = lab.start_kind("models.try", {"prompt": "Hello", "model": "openai:m@evil"}, cast.alice)
    breaker = rt.kept(f"breaker {evil.url('/v1')}", remote.Breaker)
    refused(evil, 500)
    lab.run()
    for _ in range(4):
        again(lab, task_id, breaker)
    assert (lab.status(task_id), lab.row(task_id).attempt) == ("failed", 5)
    assert len(lab.letters(task_id)) == 1


def test_from_the_dead_letters_it_is_asked_once_more_by_two_clicks(rt: Runtime, evil: FakeSite) -> None:
    lab, cast = Lab(rt), make_cast(rt)
    task_id = lab.start_kind("models.try", {"prompt": "Hello", "model": "openai:m@evil"}, cast.alice)
    breaker = rt.kept(f"breaker {evil.url('/v1')}", remote.Breaker)
    refused(evil, 500)
    lab.run()
    for _ in range(4):
        again(lab, task_id, breaker)
    assert lab.status(task_id) == "failed"
    breaker._until = 0.0
    stream(evil, chunk("Well again"), chunk(finish_reason="stop"), DONE)
    lab.do("retry", cast.alice, task_id)
    with pytest.raises(Conflict):
        lab.do("retry", cast.alice, task_id)
    before = len(evil.requests)
    assert lab.run_all() == 1
    assert (lab.status(task_id), len(evil.requests) - before) == ("completed", 1)
    assert [one.requeued_at is not None for one in lab.letters(task_id)] == [True]


def test_tried_twice_it_is_one_result(rt: Runtime, evil: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """`models.try`, whose worker dies twice when all is done: the text is there once, each call of a model is kept."""
    lab, cast = Lab(rt), make_cast(rt)
    stream(evil, chunk("Good "), chunk("day"), chunk(finish_reason="stop"), DONE)
    had = die_at_the_end(monkeypatch, "models.try", 2)
    task_id = lab.start_kind("models.try", {"prompt": "Hello", "model": "openai:m@evil"}, cast.alice)
    for _ in range(2):
        lab.crash()
        lab.take_over()
    lab.run_all()
    row = lab.row(task_id)
    assert (row.status, row.crashes, row.result["text"]) == ("completed", 2, "Good day")
    for name in ("text", "model", "finish", "prompt_tokens", "completion_tokens"):
        assert {str(one[name]) for one in had} == {str(row.result[name])}, name
    assert rt.streams.read(task_id).text == "Good day"
    assert [one.ok for one in kept(rt)] == [True] * 3
    assert [event.type for event in lab.events(task_id)].count("result") == 1


def again(lab: Lab, task_id: str, breaker: remote.Breaker) -> None:
    """The pause is over, for the task and for the server."""
    breaker._until = 0.0
    lab.sql("UPDATE tasks SET due_at = 1 WHERE id = :id", id=task_id)
    lab.make_due()
    lab.run()

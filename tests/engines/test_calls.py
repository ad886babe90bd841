"""Each call of a model is a row, whatever came of it, and the figures are those of the rows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from tests.conftest import make_user
from tests.engines.test_remote import DONE, USAGE, chunk, stream
from tests.fakes.http_server import FakeSite
from webapp.core.context import SYSTEM, Ctx
from webapp.core.errors import BadRequest, BlockedAddress, NoModel, Unavailable, Upstream
from webapp.engines import calls, rows, service
from webapp.engines.base import Completion, Request
from webapp.engines.models import ModelCall
from webapp.runtime import Runtime

HELLO = Request(({"role": "user", "content": "Hello"},), max_tokens=9)


@pytest.fixture
def server() -> Iterator[FakeSite]:
    with FakeSite() as site:
        models = {"data": [{"id": "small", "max_model_len": 8192}, {"id": "large"}, {"id": "nomic-embed-text"}]}
        site.page("/v1/models", json.dumps(models).encode(), {"Content-Type": "application/json"})
        yield site


@pytest.fixture
def rt(both_rt: Runtime, server: FakeSite) -> Runtime:
    add(both_rt, "lab", server.url("/v1/"))
    return both_rt


def add(rt: Runtime, name: str, url: str, key: str = "") -> str:
    with rt.unit() as db:
        return rows.add_server(Ctx(rt, db, SYSTEM), name, url, key).id


def set_default(rt: Runtime, task_type: str, model: str) -> None:
    with rt.unit() as db:
        rows.set_default(Ctx(rt, db, SYSTEM), task_type, model)


def kept(rt: Runtime) -> list[ModelCall]:
    with rt.unit(write=False) as db:
        return list(db.scalars(select(ModelCall).order_by(ModelCall.at)))


def test_a_call_is_kept_with_its_measured_numbers(rt: Runtime, server: FakeSite) -> None:
    stream(server, chunk("Good "), chunk("day"), chunk(finish_reason="stop"), USAGE, DONE)
    alice = make_user(rt, "alice")
    done = service.generate(rt, "openai:small@lab", HELLO, task_type="chat", owner_id=alice.id, task_id="t-1")
    [row] = kept(rt)
    assert (row.model, row.family, row.task_type, row.ok, row.finish) == (
        "openai:small@lab",
        "openai",
        "chat",
        True,
        "stop",
    )
    assert (row.owner_id, row.task_id) == (alice.id, "t-1")
    assert (row.prompt_tokens, row.completion_tokens) == (11, 2)
    assert row.first_token_seconds == done.seconds["first_token"]
    assert row.seconds >= row.first_token_seconds
    assert (row.load_seconds, row.prompt_seconds) == (None, None), "nobody measured them"


def test_failed_and_cancelled_calls_are_kept_too(rt: Runtime, server: FakeSite) -> None:
    server.page("/v1/chat/completions", b'{"error":{"message":"out of memory"}}', status=500)
    with pytest.raises(Upstream):
        service.generate(rt, "openai:small@lab", HELLO, task_type="chat")
    stream(server, *[chunk("more ")] * 500, pause=0.02)
    told: list[str] = []
    service.generate(rt, "openai:small@lab", HELLO, on_text=told.append, cancelled=lambda: len(told) > 1)
    bad, stopped = kept(rt)
    assert (bad.ok, bad.finish, bad.completion_tokens) == (False, "upstream", None)
    assert "out of memory" in bad.details["error"]
    assert (stopped.ok, stopped.finish, stopped.completion_tokens) == (False, "cancelled", None)
    assert stopped.first_token_seconds is not None


def test_a_listener_that_fails_ends_the_run_and_is_kept(rt: Runtime, server: FakeSite) -> None:
    stream(server, *[chunk("more ")] * 500, pause=0.02)

    def fail(_text: str) -> None:
        raise KeyError("listener")

    with pytest.raises(KeyError):
        service.generate(rt, "openai:small@lab", HELLO, on_text=fail)
    [row] = kept(rt)
    assert (row.ok, row.finish) == (False, "interrupted")
    assert server.idle(), "it hung up"


def test_figures_are_those_of_the_rows(rt: Runtime) -> None:
    purpose = calls.Purpose("chat")
    seconds = {"first_token": 0.5, "generate": 2.0}
    for tokens in (20, 40):
        calls.completed(rt, purpose, Completion("x", "openai:a@lab", "stop", 10, tokens, seconds), 3.0)
    calls.completed(rt, purpose, Completion("x", "openai:a@lab", "cancelled", 10, 5, seconds), 9.0)
    calls.failed(rt, calls.Purpose("summary"), "openai:a@lab", Upstream("broke"), 1.0, None)
    calls.completed(
        rt,
        purpose,
        Completion("x", "openai:b@lab", "stop", 1, 60, {"generate": 2.0, "load": 8.0, "first_token": 9.0}),
        11.0,
    )
    with rt.unit(write=False) as db:
        a, b = calls.metrics(db)
        by_task = {(one.model[7], one.task_type): one.calls for one in calls.metrics(db, by_task=True)}
        errors = calls.last_errors(db, [a.model, b.model])
        best = calls.fastest([a, b])
    assert (a.calls, a.succeeded, a.cancelled, a.failed) == (4, 2, 1, 1)
    assert a.success_rate == pytest.approx(2 / 3)
    assert (a.tokens_per_second, a.seconds, a.first_token_seconds) == (15.0, 3.0, 0.5)
    assert b.first_token_seconds is None, "its only call loaded the model"
    assert by_task == {("a", "chat"): 3, ("a", "summary"): 1, ("b", "chat"): 1}
    assert calls.score(b, best) == 1.0
    assert calls.score(a, best) == pytest.approx(0.7 * 2 / 3 + 0.3 * 0.5, abs=1e-4)
    assert set(errors) == {"openai:a@lab"}


def test_usage_of_a_task_over_all_its_calls(rt: Runtime) -> None:
    details = {"version": "Q4_0 sha256:0123456789ab"}
    done = Completion("x", "ggml:tiny.gguf", "stop", 100, 20, {"generate": 1.0}, details)
    calls.completed(rt, calls.Purpose("chat", task_id="t"), done, 2.5)
    calls.completed(rt, calls.Purpose("route", task_id="t"), Completion("x", "openai:b@lab", "stop", 7, 3), 0.5)
    with rt.unit(write=False) as db:
        found = calls.usage(db, "t")
        assert calls.usage(db, "another") is None
    assert found == {"primary_model": "ggml:tiny.gguf", "model_version": "Q4_0 sha256:0123456789ab",
                     "processing_time_ms": 3000, "tokens_used": 130, "performance_score": 1.0}  # fmt: skip


def test_old_calls_are_forgotten_and_the_rest_stays(rt: Runtime) -> None:
    from datetime import timedelta

    for days in (400, 45, 1):
        calls.completed(rt, calls.Purpose(), Completion("x", f"openai:{days}@lab", "stop"), 1.0)
    with rt.unit() as db:
        for row in db.scalars(select(ModelCall)):
            row.at -= timedelta(days=int(row.model[7:].split("@")[0]))
    assert calls.forget_old(rt, 0) == 0
    assert calls.forget_old(rt, 60) == 1
    assert calls.forget_old(rt, 7) == 1, "statistics look at thirty days"
    assert [row.model for row in kept(rt)] == ["openai:1@lab"]


# -- which one -------------------------------------------------------------------------------------------------------


def test_the_default_of_the_work_then_of_all_then_the_first(rt: Runtime) -> None:
    assert service.choose(rt).id == "openai:large@lab"
    set_default(rt, "", "openai:small@lab")
    set_default(rt, "summary", "openai:large@lab")
    assert (service.choose(rt).id, service.choose(rt, task_type="summary").id) == (
        "openai:small@lab",
        "openai:large@lab",
    )
    assert service.choose(rt, "openai:small@lab", "summary").id == "openai:small@lab"
    set_default(rt, "", "")
    assert service.choose(rt).id == "openai:large@lab"


def test_a_default_that_is_gone_is_passed_over(rt: Runtime) -> None:
    service.available(rt)
    for gone in ("ggml:gone.gguf", "openai:small@nowhere", "openai:unlisted@lab"):
        set_default(rt, "", gone)
        assert service.choose(rt).id == "openai:large@lab", gone


def test_an_embedding_model_is_never_chosen_to_write(make_rt: Callable[..., Runtime], server: FakeSite) -> None:
    server.page("/v1/models", b'{"data":[{"id":"bge-small"},{"id":"whisper-1"}]}')
    rt = make_rt()
    add(rt, "lab", server.url("/v1"))
    with pytest.raises(NoModel):
        service.choose(rt)
    assert not service.has_model(rt)


def test_a_bare_name_means_the_one_that_has_it(rt: Runtime, server: FakeSite) -> None:
    server.page("/v1/models", b'{"data":[{"id":"llama3:latest"}]}')
    service.available(rt, fresh=True)
    assert service.engine(rt, "llama3").id == "openai:llama3:latest@lab"
    with pytest.raises(NoModel):
        service.engine(rt, "lama")


def test_choosing_does_not_wait_for_slow_servers(rt: Runtime, server: FakeSite) -> None:
    def never(connection: Any, request: Any) -> None:
        request.hung_up.wait(30)

    service.available(rt)
    server.script("/v1/models", never)
    kept_lists = rt.kept("models of servers", dict)
    for key, one in list(kept_lists.items()):
        kept_lists[key] = type(one)(one.models, one.error, one.at - 3600)  # the answer is an hour old
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        service.choose(rt)
        times.append(time.perf_counter() - begun)
    assert sorted(times)[10] < 0.1


# -- servers added on the page ---------------------------------------------------------------------------------------


def test_an_added_server_is_reached_at_its_address_only(rt: Runtime, server: FakeSite) -> None:
    """Adding it approved its host and port for model calls; a crawl may still not go there."""
    from webapp.core.http import check_url
    from webapp.tasks.service import outbound_policy

    assert [one.id for one in service.available(rt)][:1] == ["openai:large@lab"]
    with pytest.raises(BlockedAddress):
        check_url(server.url("/"), outbound_policy(rt.settings))


def test_its_key_is_encrypted_and_sent(rt: Runtime, server: FakeSite) -> None:
    from webapp.engines.models import ModelServer

    add(rt, "keyed", server.url("/v1"), "sk-very-secret")
    with rt.unit(write=False) as db:
        sealed = db.scalar(select(ModelServer.key_sealed).where(ModelServer.name == "keyed"))
    assert sealed
    assert "sk-very" not in sealed
    service.available(rt, fresh=True)
    assert server.requests[-1].headers.get("authorization") in (None, "Bearer sk-very-secret")
    assert any(one.headers.get("authorization") == "Bearer sk-very-secret" for one in server.requests)


def test_a_key_sealed_with_another_secret_is_told(make_rt: Callable[..., Runtime], server: FakeSite) -> None:
    rt = make_rt()
    add(rt, "keyed", server.url("/v1"), "sk-very-secret")
    rt.secret_key = "another secret of the program"
    rows.forget(rt)
    [info] = service.available(rt)
    assert not info.available
    assert "SECRET_KEY" in str(info.missing)
    assert not server.requests, "nobody was asked without the key"


@pytest.mark.parametrize(
    "url",
    ["ftp://x/v1", "http://169.254.169.254/v1", "http://user:pw@127.0.0.1:1/v1", "http://127.1/v1", "http://[::1", "x",
     "http://h:99999/v1", "http://localhost:11434/v1?x=1", "http://metadata.google.internal/v1", "", "http://"],
)  # fmt: skip
def test_addresses_that_no_operator_can_approve(make_rt: Callable[..., Runtime], url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        add(make_rt(), "bad", url)
    assert caught.value.details
    assert caught.value.details[0]["loc"] == ["url"]


def test_openai_is_there_with_its_key_alone(make_rt: Callable[..., Runtime], server: FakeSite) -> None:
    """M072, M182: chosen by configuration, beside whatever else is there."""
    rt = make_rt(OPENAI_API_KEY="sk-mine", OPENAI_BASE_URL=server.url("/v1"),
                 BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{server.port}", BRAINSTEM_MODEL="openai:small@openai")  # fmt: skip
    stream(server, chunk("Hi"), chunk(finish_reason="stop"), DONE)
    assert service.generate(rt, "", HELLO).model == "openai:small@openai"
    assert server.requests[-1].headers["authorization"] == "Bearer sk-mine"
    assert not service.has_model(make_rt()), "without a key everything else still runs"


def test_a_server_that_asks_for_rest_gets_it(rt: Runtime, server: FakeSite) -> None:
    """M116: its Retry-After is obeyed by everybody, not only by the task that heard it."""
    server.page("/v1/chat/completions", b"{}", {"Retry-After": "30"}, status=429)
    with pytest.raises(Upstream):
        service.generate(rt, "openai:small@lab", HELLO)
    asked = len(server.requests)
    with pytest.raises(Unavailable) as caught:
        service.generate(rt, "openai:small@lab", HELLO)
    assert 25 <= (caught.value.retry_after or 0) <= 31
    assert len(server.requests) == asked

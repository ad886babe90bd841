"""The same over Postgres, Redis and a process per role: the web process has no model, a worker of its own writes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import psutil
import pytest
import requests

from tests.conftest import PG, Server, Services, _database_like, _own_redis, build_runtime, free_port
from tests.fakes.model_server import ModelServer
from tests.openai_api.conftest import filled

pytestmark = [pytest.mark.services, pytest.mark.slow]
SMALL = "openai:small@lab"
HELLO: Any = [{"role": "user", "content": "Hello"}]
KEY = "the operator's key of this test, long enough"


class Deployment:
    def __init__(self, server: Server, models: ModelServer, rt: Any) -> None:
        self.server, self.models, self.rt = server, models, rt
        self.headers = {"Authorization": f"Bearer {KEY}"}

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.server.url + "/v1", **{"api_key": KEY, "max_retries": 0, "timeout": 60.0,
                                                                  **options})  # fmt: skip

    def task(self) -> Any:
        """The newest call."""
        url = self.server.url + "/api/v1/utils/ai-tasks/?task_type=chat.completion&page_size=1"
        return requests.get(url, headers=self.headers, timeout=15).json()["results"][0]

    def worker(self, role: str = "inference") -> psutil.Process:
        """The process that serves the queues of a role."""
        assert self.server.process is not None
        children = psutil.Process(self.server.process.pid).children(recursive=True)
        [found] = [one for one in children if one.cmdline()[-2:] == ["worker", role]]
        return found

    def until(self, status: str, patience: float = 90.0) -> Any:
        end = time.monotonic() + patience
        while (task := self.task())["status"] != status:
            assert time.monotonic() < end, f"still {task['status']}: {task['message']}"
            time.sleep(0.1)
        return task


@pytest.fixture(scope="module")
def deployment(_blank_postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with ModelServer() as models, _database_like(_blank_postgres) as name, _own_redis() as redis_url:
        services = Services(f"{PG}/{name}", redis_url)
        env = {
            **models.env, **services.env, "API_KEY": KEY, "SECRET_KEY": "only of these tests, long enough",
            "BRAINSTEM_LIVE_PORT": str(free_port()), "WEB_CONCURRENCY": "1", "BRAINSTEM_LEASE_SECONDS": "6",
            "BRAINSTEM_BEAT_SECONDS": "2", "BRAINSTEM_SWEEP_SECONDS": "1",
        }  # fmt: skip
        server = Server(tmp_path_factory.mktemp("deployment"), env)
        rt = build_runtime({**services.env, "SECRET_KEY": env["SECRET_KEY"], "BRAINSTEM_HOME": str(server.home)})
        try:
            server.start(120)
            yield Deployment(server, models, rt)
        finally:
            assert server.process is not None
            children = psutil.Process(server.process.pid).children(recursive=True)
            server.stop(signal.SIGTERM)
            for left in [one for one in children if one.is_running()]:
                left.kill()
            rt.close()


@pytest.fixture
def client(deployment: Deployment) -> Iterator[openai.OpenAI]:
    deployment.models.says("Good ", "day")
    deployment.models.go()
    with deployment.client() as made:
        yield made
    deployment.models.go()


def test_workers_in_the_background_step_back_before_answers(deployment: Deployment) -> None:
    calm = deployment.worker("inference").nice()
    end = time.monotonic() + 60
    while any(deployment.worker(role).nice() == calm for role in ("crawling", "embedding")):
        assert time.monotonic() < end, "still as eager as what a person waits for"
        time.sleep(0.1)
    assert deployment.worker("fast").nice() == calm


def test_a_key_is_needed(deployment: Deployment) -> None:
    with pytest.raises(openai.AuthenticationError):
        deployment.client(api_key="sk-anything").models.list()


def test_text_written_elsewhere_comes_as_it_is_written(client: openai.OpenAI, deployment: Deployment) -> None:
    deployment.models.hold()
    stream = client.chat.completions.create(model=SMALL, messages=HELLO, stream=True,
                                            stream_options={"include_usage": True})  # fmt: skip
    next(stream)
    assert next(stream).choices[0].delta.content == "Good "
    assert deployment.task()["status"] == "running"
    deployment.models.go()
    rest = list(stream)
    assert "".join(part.choices[0].delta.content or "" for part in rest if part.choices) == "day"
    assert rest[-1].usage is not None
    assert rest[-1].usage.total_tokens == 13
    done = client.chat.completions.create(model=SMALL, messages=HELLO)
    assert done.choices[0].message.content == "Good day"


def test_leaving_stops_the_work_in_the_other_process(client: openai.OpenAI, deployment: Deployment) -> None:
    deployment.models.hold()
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=2.0).chat.completions.create(model=SMALL, messages=HELLO)
    assert deployment.models.left.wait(10)
    deployment.until("cancelled", 10)


@pytest.mark.parametrize("same", [True, False], ids=["the same text", "another text"])
def test_a_worker_that_is_killed_in_the_middle(client: openai.OpenAI, deployment: Deployment, same: bool) -> None:
    """F01 for a caller who waits: what was sent goes on where it stopped, or the break is told; never both texts."""
    deployment.models.says("The first ", "half, the second half")
    deployment.models.hold()
    stream = client.chat.completions.create(model=SMALL, messages=HELLO, stream=True)
    got = [next(stream), next(stream)]
    os.kill(deployment.worker().pid, signal.SIGKILL)
    deployment.models.says("The first " if same else "Another ", "half, the second half")
    deployment.models.go()
    if not same:
        with pytest.raises(openai.APIError, match="lost"):
            list(stream)
        return
    got += list(stream)
    text = "".join(part.choices[0].delta.content or "" for part in got if part.choices)
    assert text == "The first half, the second half"


def test_sources_and_vectors(client: openai.OpenAI, deployment: Deployment) -> None:
    shelf = filled(deployment.server.url, deployment.headers)
    question: Any = [{"role": "user", "content": "When was the north light built?"}]
    done = client.chat.completions.create(model="brainstem/extractive", messages=question,
                                          extra_body={"collections": [shelf]})  # fmt: skip
    assert "1847" in (done.choices[0].message.content or "")
    extra = done.model_extra or {}
    cited = requests.get(
        deployment.server.url + extra["sources"][0]["citation_url"], headers=deployment.headers, timeout=15
    )
    assert cited.status_code == 200
    assert len(client.embeddings.create(model="minilm", input="a lamp").data[0].embedding) == 384


def test_many_calls_at_once_leave_the_pages_quick(client: openai.OpenAI, deployment: Deployment) -> None:
    deployment.models.hold()
    streams: list[Any] = []
    callers = [threading.Thread(target=lambda: streams.append(list(
        client.chat.completions.create(model=SMALL, messages=HELLO, stream=True)))) for _ in range(15)]  # fmt: skip
    for one in callers:
        one.start()
    assert deployment.models.began.wait(20)
    began = time.monotonic()
    assert requests.get(deployment.server.url + "/api/v1/health", timeout=5).status_code == 200
    assert time.monotonic() - began < 1
    deployment.models.go()
    for one in callers:
        one.join(60)
    assert len(streams) == 15
    assert all(parts[-1].choices[0].finish_reason == "stop" for parts in streams)


def test_nothing_is_left_behind(deployment: Deployment) -> None:
    """Every call above is over."""
    from sqlalchemy import text

    with deployment.rt.unit(write=False) as db:
        calls, open_ = db.execute(text("SELECT count(*), count(*) FILTER (WHERE finished_at IS NULL) FROM tasks"
                                       " WHERE kind = 'chat.completion'")).one()  # fmt: skip
    assert (calls > 15, open_) == (True, 0)

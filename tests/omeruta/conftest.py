"""A running server in local mode with a scripted model server behind it, and facts to answer from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.chat.conftest import pen  # noqa: F401  (what writes answers, for tests in this process)
from tests.conftest import Server
from tests.fakes.model_server import ModelServer
from tests.live.client import WS
from tests.openai_api.conftest import filled

QUESTION = "Who built the north light?"


class AgentWS(WS):
    """Leaves as a page does that is closed after a while: all it was sent has been answered for."""

    def close(self) -> None:
        if self.closed is None:
            self.ping_json()
        super().close()


@dataclass
class Place:
    server: Server
    models: ModelServer

    def post(self, path: str, **body: Any) -> Any:
        return requests.post(f"{self.server.url}/api/agents/{path}/", json=body, timeout=60)

    def status(self, task_id: str) -> Any:
        return requests.get(f"{self.server.url}/api/agents/async/status/{task_id}/", timeout=15).json()

    def socket(self) -> AgentWS:
        return AgentWS(self.server.ws + "/ws/agent/")


@pytest.fixture(scope="session")
def open_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ModelServer() as models:
        env = {**models.env, "BRAINSTEM_GRACE_SECONDS": "1", "BRAINSTEM_RATE_LIMIT": "100000/minute"}
        server = Server(tmp_path_factory.mktemp("omeruta"), env).start()
        try:
            filled(server.url, {})
            yield Place(server, models)
        finally:
            models.go()
            server.kill()


@pytest.fixture
def place(open_place: Place) -> Iterator[Place]:
    open_place.models.says("Marta Holm built **the north light** [1].")
    open_place.models.go()
    yield open_place
    open_place.models.go()
    with open_place.socket() as socket:  # what a failed test left behind
        socket.all(0.2)

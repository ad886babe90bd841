"""A running server in local mode with a scripted model server behind it, and a collection to answer from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest
import requests

from tests.conftest import Server
from tests.fakes.model_server import ModelServer

FACTS = """\
# The north light

The north light was built in 1847 by the engineer Marta Holm. It stands on a rock called the Anvil, two miles off the
harbour. The lamp burned whale oil until 1879, when it was changed to paraffin.

The fog bell was rung for the first time in the spring of 1891. It has a clockwork that runs eight hours.
"""


@dataclass
class Place:
    server: Server
    models: ModelServer
    collection_id: str

    def client(self, **options: Any) -> openai.OpenAI:
        options = {"api_key": "anything will do", "max_retries": 0, "timeout": 30.0, **options}
        return openai.OpenAI(base_url=self.server.url + "/v1", **options)

    def tasks(self) -> list[Any]:
        """Of chat.completion, newest first."""
        url = self.server.url + "/api/v1/utils/ai-tasks/?task_type=chat.completion"
        return list(requests.get(url, timeout=15).json()["results"])


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ModelServer() as models:
        server = Server(tmp_path_factory.mktemp("openai"), models.env).start()
        try:
            yield Place(server, models, filled(server.url, {}))
        finally:
            server.kill()


def filled(url: str, headers: dict[str, str]) -> str:
    """The id of a new collection with the facts in it."""
    api = url + "/api/v1/knowledge/collections"
    made = requests.post(api, json={"name": "Lights"}, headers=headers, timeout=15).json()
    body = {"id": "light", "title": "The north light", "text": FACTS}
    stored = requests.post(f"{api}/{made['id']}/documents", json=body, headers=headers, timeout=60)
    assert stored.status_code < 300, stored.text
    return str(made["id"])


@pytest.fixture
def client(place: Place) -> Iterator[openai.OpenAI]:
    place.models.says("Good ", "day")
    place.models.go()
    with place.client() as made:
        yield made
    place.models.go()

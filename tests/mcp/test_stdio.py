"""The official client over standard input and output, against a running server: tools, answers, whose data, failures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from mcp import Client, StdioServerParameters

from tests.conftest import ROOT, Server
from tests.openai_api.conftest import filled

PASSWORD = "a long enough password 7"


@dataclass
class Place:
    server: Server
    alice: str  # an API key
    bob: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    env = {"AUTH_REQUIRED": "1", "BRAINSTEM_LOGIN_RATE_LIMIT": "100/minute"}
    server = Server(tmp_path_factory.mktemp("mcp"), env).start()
    try:
        keys = [_key(server.url, name) for name in ("alice", "bob")]
        filled(server.url, {"Authorization": f"Bearer {keys[0]}"})
        yield Place(server, *keys)
    finally:
        server.kill()


def _key(url: str, name: str) -> str:
    who = {"username": name, "password": PASSWORD}
    assert requests.post(url + "/api/auth/register/", json=who, timeout=30).status_code == 201
    token = requests.post(url + "/api/auth/token/", json=who, timeout=30).json()["access"]
    body = {"name": "mcp", "scopes": ["tasks:read", "tasks:write"]}
    headers = {"Authorization": f"Bearer {token}"}
    return str(requests.post(url + "/api/auth/api-keys/", json=body, headers=headers, timeout=30).json()["key"])


def talk(place: Place, key: str, work: Callable[[Client], Coroutine[Any, Any, Any]], url: str = "") -> Any:
    """`work(client)` with a `brainstem mcp` of its own."""
    env = {"BRAINSTEM_MCP_KEY": key, "BRAINSTEM_HOME": str(place.server.home), "PYTHONPATH": str(ROOT),
           "PATH": os.environ["PATH"]}  # fmt: skip
    args = ["-m", "webapp.cli", "mcp", "--url", url or place.server.url]
    launched = StdioServerParameters(command=sys.executable, args=args, env=env, cwd=ROOT)

    async def session() -> Any:
        with anyio.fail_after(60):
            async with Client(launched) as client:
                return await work(client)

    return anyio.run(session)


def call(place: Place, tool: str, arguments: dict[str, Any], *, key: str | None = None, url: str = "") -> Any:
    return talk(place, place.alice if key is None else key, lambda client: client.call_tool(tool, arguments), url)


def told(result: Any) -> str:
    return " ".join(part.text for part in result.content)


def test_what_it_offers(place: Place) -> None:
    found = talk(place, place.alice, lambda client: client.list_tools())
    tools = {tool.name: tool for tool in found.tools}
    assert set(tools) == {"list_collections", "search", "ask", "task_status"}
    assert all(tool.description for tool in tools.values())
    assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == set(tools) - {"ask"}
    assert tools["search"].input_schema["required"] == ["query"]


def test_looking_searching_asking_and_the_task(place: Place) -> None:
    async def work(client: Client) -> list[Any]:
        shelves = await client.call_tool("list_collections", {})
        hits = await client.call_tool("search", {"query": "fog bell", "collection": "Lights", "limit": 3})
        asked = {"question": "When was the north light built?", "collection": "Lights", "model": "brainstem/extractive"}
        answer = await client.call_tool("ask", asked)
        task_id = (answer.structured_content or {})["task_id"]
        return [shelves, hits, answer, await client.call_tool("task_status", {"task_id": task_id})]

    shelves, hits, answer, task = talk(place, place.alice, work)
    assert not any(one.is_error for one in (shelves, hits, answer, task)), told(shelves)
    assert [one["name"] for one in shelves.structured_content["result"] if one["access"] == "owner"] == ["Lights"]
    passage = hits.structured_content["passages"][0]
    assert "fog bell" in passage["text"].lower()
    assert passage["title"] == "The north light"
    found = answer.structured_content
    assert "1847" in found["answer"]
    assert not found["declined"]
    cited = found["sources"][0]
    assert "1847" in cited["quote"]
    headers = {"Authorization": f"Bearer {place.alice}"}
    assert requests.get(cited["citation"], headers=headers, timeout=15).status_code == 200
    assert (task.structured_content["status"], task.structured_content["kind"]) == ("completed", "chat.completion")


def test_another_persons_things_are_not_there(place: Place) -> None:
    """A06, A08"""
    answer = call(place, "ask", {"question": "When was the north light built?", "collection": "Lights",
                                 "model": "brainstem/extractive"})  # fmt: skip
    task_id = answer.structured_content["task_id"]
    hidden = call(place, "task_status", {"task_id": task_id}, key=place.bob)
    assert hidden.is_error
    assert "no such task" in told(hidden)
    shelf = call(place, "search", {"query": "fog bell", "collection": "Lights"}, key=place.bob)
    assert shelf.is_error
    assert "no collection Lights" in told(shelf)
    everywhere = call(place, "search", {"query": "fog bell"}, key=place.bob).structured_content
    assert all("fog bell" not in one["text"] for one in everywhere["passages"])


@pytest.mark.parametrize(("tool", "arguments", "said"), [
    ("search", {"query": "x", "collection": "No such"}, "Use one of: "),
    ("ask", {"question": "x", "model": "gpt-17"}, "model"),
    ("task_status", {"task_id": "../../auth/me"}, "there is"),
    ("task_status", {"task_id": "x?token=1"}, "there is"),
], ids=str)  # fmt: skip
def test_failures_are_words(place: Place, tool: str, arguments: dict[str, Any], said: str) -> None:
    found = call(place, tool, arguments)
    assert found.is_error
    assert said in told(found)
    assert "Traceback" not in told(found)


def test_a_wrong_key_and_a_server_that_is_away(place: Place) -> None:
    wrong = call(place, "list_collections", {}, key="bs_nothing")
    assert wrong.is_error
    assert "BRAINSTEM_MCP_KEY" in told(wrong)
    away = call(place, "list_collections", {}, url="http://127.0.0.1:9")
    assert away.is_error
    assert "brainstem up" in told(away)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "mcp.py").write_text("raise ImportError('not here', name='mcp')")
    env = {**os.environ, "BRAINSTEM_HOME": str(tmp_path / "home"), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-m", "webapp.cli", "mcp"], env=env, capture_output=True, text=True,
                          timeout=60, stdin=subprocess.DEVNULL, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert "pip install 'brainstem[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_bad_address_is_told(tmp_path: Path) -> None:
    env = {**os.environ, "BRAINSTEM_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "webapp.cli", "mcp", "--url", "file:///etc/passwd"], env=env, text=True,
                          capture_output=True, timeout=60, stdin=subprocess.DEVNULL, cwd=ROOT)  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "no address of a server" in done.stderr

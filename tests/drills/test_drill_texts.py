"""kill -9 while summaries, research and texts are made: each ends once, no page is read and no call of the model is made
again that had been kept."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import Server
from tests.drills.harness import scaled, tell
from tests.fakes.openai_server import OpenAIServer
from tests.fakes.small_site import SmallSite
from tests.research.conftest import BEES

pytestmark = pytest.mark.drill
Make = Callable[..., Server]
FINAL = ("completed", "failed", "cancelled", "timed_out")
PAGES = ("/wiki/Mason_bees", "/bees/nesting.html", "/bees/enemies.html")


def work(site: SmallSite) -> dict[str, dict[str, Any]]:
    urls = [site.url(path) for path in PAGES]
    return {
        "summary": {"urls": urls, "max_length": 120},
        "research": {"topic": "Mason bees", "urls": urls,
                     "questions": ["How many eggs does a mason bee lay?", "Who are their enemies?", "When do they fly?"]},
        "content_generation": {"topic": "Mason bees", "length": 700, "keywords": ["mud"], "urls": urls},
    }  # fmt: skip


def script(asked: dict[str, Any]) -> list[Any]:
    """A third of a second for each answer, so that most kills meet a call that is under way."""
    said = asked["messages"][-1]["content"]
    if "Plan a text" in said:
        return [0.3, "Title: Bees\n", *(f"Part {n} | What it says.\n" for n in range(1, 5))]
    if "Write section" in said or "Continue it" in said or "Shorten" in said or "Revise" in said:
        return [0.3, *(f"Mason bees build nests of mud in part {n} of the garden. " for n in range(16))]
    return [0.3, "Mason bees are solitary bees that build their nests from mud and pollen in hollow stems [1]. "]


@pytest.mark.parametrize("kind", ["summary", "research", "content_generation"])
def test_killed_at_random_steps(make_server: Make, tmp_path: Path, rng: random.Random, kind: str) -> None:
    with SmallSite() as site, OpenAIServer() as models:
        site.pages.update(BEES)
        site.delay = 0.1
        models.script = script
        env = {"BRAINSTEM_MODEL_SERVERS": models.env["BRAINSTEM_MODEL_SERVERS"], "BRAINSTEM_MAX_CRASHES": "1000",
               "BRAINSTEM_ALLOW_HOSTS": f"127.0.0.1,{models.host}"}  # fmt: skip
        server = make_server(env)
        kills = doubled = 0
        wanted = scaled(20, 2)
        while kills < wanted:
            site.log.clear()
            models.asked.clear()
            task_id, mine = _start(server, kind, work(site)[kind]), 0
            while kills < wanted and mine < 5 and _status(server, task_id) not in FINAL:
                time.sleep(rng.uniform(0.05, 1.5))  # the random moment of the kill, not a wait for anything
                server.kill()
                kept = _calls_kept(server.home, task_id)
                asked = [json.dumps(one["messages"][0]) + _steady(one) for one in models.asked]
                server.start()
                kills, mine = kills + 1, mine + 1
                assert len(asked) >= kept, "what is kept was asked for"
            row = _wait(server, task_id)
            assert row["status"] == "completed", row
            calls = Counter(json.dumps(one["messages"][0]) + _steady(one) for one in models.asked)
            again = sum(count - 1 for count in calls.values())
            assert again <= mine, f"{again} calls again after {mine} kills: only what was under way may be"
            doubled += again
            pages = Counter(path for path in site.asked().elements() if path in PAGES)
            assert sum(pages.values()) - len(pages) <= mine, pages
        tell("texts", kind, kills=kills, asked_again=doubled)


def _start(server: Server, kind: str, config: dict[str, Any]) -> str:
    answer = requests.post(
        f"{server.url}/api/v1/utils/ai-tasks/", json={"task_type": kind, "task_config": config}, timeout=30
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _status(server: Server, task_id: str) -> str:
    return str(requests.get(f"{server.url}/api/v1/utils/ai-tasks/{task_id}/", timeout=30).json()["status"])


def _wait(server: Server, task_id: str, patience: float = 120.0) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        row: dict[str, Any] = requests.get(f"{server.url}/api/v1/utils/ai-tasks/{task_id}/", timeout=30).json()
        if row["status"] in FINAL:
            return row
        time.sleep(0.1)
    raise AssertionError(f"not done: {row}")


def _calls_kept(home: Path, task_id: str) -> int:
    """Checkpoints that hold what a model wrote."""
    with sqlite3.connect(home / "brainstem.db") as db:
        row = db.execute("SELECT checkpoint FROM tasks WHERE id = ?", (task_id,)).fetchone()
    kept = json.loads(row[0]) if row and row[0] else {}
    return sum(key.startswith(("wrote ", "section ", "outline", "answer ", "length ")) for key in kept)


def _steady(asked: dict[str, Any]) -> str:
    """A prompt without the marks that are made up for each call."""
    import re

    return re.sub(r"(?:text|source|draft|before)-[0-9a-f]{6}", "", asked["messages"][-1]["content"])

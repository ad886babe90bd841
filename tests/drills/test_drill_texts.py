"""kill -9 while summaries, research and texts are made: each ends once, no page is read and no call of the model is made
again that had been kept."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.drills.harness import Embedded, Stack, kill9, scaled, tell
from tests.drills.test_drill_kinds import holder
from tests.fakes.openai_server import OpenAIServer
from tests.fakes.small_site import SmallSite
from tests.research.conftest import BEES

pytestmark = pytest.mark.drill
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
    """A third of a second for each answer, so that most kills meet a call that is under way. Sections differ, or the
    same would be asked for two of them without any kill."""
    said = asked["messages"][-1]["content"]
    if "Plan a text" in said:
        return [0.3, "Title: Bees\n", *(f"Part {n} | What it says.\n" for n in range(1, 5))]
    if "Write section" in said or "Continue it" in said or "Shorten" in said or "Revise" in said:
        mark = sha256(_steady(asked).encode()).hexdigest()[:8]
        return [0.3, *(f"Mason bees build nests of mud in part {n} of garden {mark}. " for n in range(16))]
    return [0.3, "Mason bees are solitary bees that build their nests from mud and pollen in hollow stems [1]. "]


@pytest.mark.parametrize("kind", ["summary", "research", "content_generation"])
def test_killed_at_random_steps(mode: str, own: Callable[..., Any], rng: random.Random, kind: str) -> None:
    with SmallSite() as site, OpenAIServer() as models:
        site.pages.update(BEES)
        site.delay = 0.1
        models.script = script
        more = {"live": False} if mode == "distributed" else {}
        env = {"BRAINSTEM_MODEL_SERVERS": models.env["BRAINSTEM_MODEL_SERVERS"], "BRAINSTEM_MAX_CRASHES": "1000",
               "BRAINSTEM_ALLOW_HOSTS": f"127.0.0.1,{models.host}"}  # fmt: skip
        stack: Stack = own(mode, **env, **more).start()
        kills = doubled = 0
        wanted = scaled(20, 2)
        while kills < wanted:
            site.log.clear()
            models.asked.clear()
            old, stored = set(_pages_kept(stack)), []
            task_id, mine = _start(stack, kind, work(site)[kind]), 0
            while kills < wanted and mine < 5 and _task(stack, task_id)["status"] not in FINAL:
                time.sleep(rng.uniform(0.05, 1.5))  # the random moment of the kill, not a wait for anything
                if not _kill(stack, task_id):
                    continue
                kept, asked = _calls_kept(stack, task_id), len(models.asked)
                there = [path for row, path in _pages_kept(stack).items() if row not in old]
                stored += [(path, site.asked()[path]) for path in there]
                _again(stack)
                kills, mine = kills + 1, mine + 1
                assert asked >= kept, "what is kept was asked for"
            row = _wait(stack, task_id)
            assert row["status"] == "completed", row
            calls = Counter(json.dumps(one["messages"][0]) + _steady(one) for one in models.asked)
            again = sum(count - 1 for count in calls.values())
            assert again <= mine, f"{again} calls again after {mine} kills, only what was under way may be: " + str(
                [one[-300:] for one, count in calls.items() if count > 1]
            )
            doubled += again
            pages = Counter(path for path in site.asked().elements() if path in PAGES)
            assert all(count <= 1 + mine for count in pages.values()), pages
            assert all(pages[path] == count for path, count in stored), (
                f"asked for again though stored: {pages} {stored}"
            )
        tell(f"texts-{kind}", mode, kills=kills, asked_again=doubled)


def _kill(stack: Stack, task_id: str) -> bool:
    """Everything at once; in a deployment the worker that holds the task or a part of it. False: nobody does."""
    if isinstance(stack, Embedded):
        stack.kill_all()
        return True
    pid = holder(stack, task_id)
    if pid:
        kill9(pid)
    return pid != 0


def _again(stack: Stack) -> None:
    """Whoever was killed works again: a deployment's supervisor saw to it."""
    if isinstance(stack, Embedded):
        stack.start()
    stack.wait_workers()


def _start(stack: Stack, kind: str, config: dict[str, Any]) -> str:
    answer = stack.post("/api/v1/utils/ai-tasks/", {"task_type": kind, "task_config": config})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _task(stack: Stack, task_id: str) -> dict[str, Any]:
    row: dict[str, Any] = requests.get(f"{stack.url}/api/v1/utils/ai-tasks/{task_id}/", timeout=30).json()
    return row


def _wait(stack: Stack, task_id: str, patience: float = 300.0) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        row = _task(stack, task_id)
        if row["status"] in FINAL:
            return row
        time.sleep(0.1)
    raise AssertionError(f"not done: {row}")


def _calls_kept(stack: Stack, task_id: str) -> int:
    """Checkpoints that hold what a model wrote."""
    kept = stack.row(task_id)["checkpoint"] or {}
    kept = json.loads(kept) if isinstance(kept, str) else kept
    return sum(key.startswith(("wrote ", "section ", "outline", "answer ", "length ")) for key in kept)


def _pages_kept(stack: Stack) -> dict[str, str]:
    """Pages that a crawl has stored: id of the row -> path. Several are under way at a time, these are not."""
    rows = stack.sql("SELECT id, url FROM crawl_urls WHERE document_id IS NOT NULL")
    return {row["id"]: urlsplit(row["url"]).path for row in rows}


def _steady(asked: dict[str, Any]) -> str:
    """A prompt without the marks that are made up for each call."""
    return re.sub(r"(?:text|source|draft|before)-[0-9a-f]{6}", "", asked["messages"][-1]["content"])

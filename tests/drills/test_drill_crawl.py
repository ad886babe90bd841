"""kill -9 in the middle of a crawl: the same documents as without, and nothing fetched again that was checkpointed.

F26-like fan-out: one page leads to a hundred, killed at random points.
"""

from __future__ import annotations

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
from tests.drills.harness import scaled
from tests.fakes.small_site import SmallSite, article

pytestmark = pytest.mark.drill
Make = Callable[..., Server]
# A task that lost three workers is put aside as a dead letter; here we are the ones who kill.
ENV = {"BRAINSTEM_ALLOW_HOSTS": "127.0.0.1", "BRAINSTEM_MAX_CRASHES": "1000"}


def start(server: Server, site: SmallSite, pages: int) -> str:
    answer = requests.post(
        server.url + "/api/crawler/jobs/",
        json={"url": site.url("/0"), "max_depth": 20, "max_pages": pages + 10},
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def wait_done(server: Server, crawl: str, patience: float = 240.0) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        job: dict[str, Any] = requests.get(f"{server.url}/api/crawler/jobs/{crawl}/", timeout=30).json()
        if job["status"] in ("completed", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"not done: {job}")


def look(home: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(home / "brainstem.db") as db:
        return db.execute(sql).fetchall()


def result(home: Path, site: SmallSite) -> tuple[dict[str, str], Counter[tuple[str, str]], int, int]:
    """Text hash by path, fates, versions, chunks."""
    texts = look(home, "SELECT url, text_hash FROM documents WHERE url LIKE 'http://127.0.0.1%'")
    fates = look(home, "SELECT state, reason FROM crawl_urls")
    ours = "document_id IN (SELECT id FROM documents WHERE url LIKE 'http://127.0.0.1%')"
    versions = look(home, f"SELECT count(*) FROM document_versions WHERE {ours}")[0][0]
    chunks = look(home, f"SELECT count(*) FROM chunks WHERE {ours}")[0][0]
    prefix = site.url("")
    return {url.removeprefix(prefix): text for url, text in texts}, Counter(fates), versions, chunks


def drill(make_server: Make, tmp_path: Path, site: SmallSite, pages: int, kills: int, rng: random.Random) -> None:
    calm = make_server(ENV)
    job = wait_done(calm, start(calm, site, pages))
    assert job["pages_crawled"] == pages
    calm.kill()
    wanted = result(calm.home, site)
    assert set(site.asked().values()) == {1}
    site.log.clear()

    server = make_server(ENV)
    crawl = start(server, site, pages)
    checkpointed: list[tuple[int, set[str]]] = []
    for kill in range(kills):
        if kill % 2:
            time.sleep(rng.uniform(0.1, 4.0))  # while pages are read
        else:
            site.wait_for(len(site.log) + rng.randrange(1, max(2, pages // 3)), patience=2.0)
        server.kill()
        done = {row[0] for row in look(server.home, "SELECT url FROM crawl_urls WHERE state != 'queued'")}
        checkpointed.append((len(site.log), {url.removeprefix(site.url("")) for url in done}))
        server.start()
    assert wait_done(server, crawl)["status"] == "completed"
    server.kill()
    for at, paths in checkpointed:
        again = [path for _, path, _ in site.log[at:] if path in paths]
        assert not again, f"fetched again after their checkpoint: {again[:5]}"
    assert result(server.home, site) == wanted
    print(f"\n{pages} pages, {kills} kills: {len(site.log)} requests, checkpointed at the kills "
          f"{[len(paths) for _, paths in checkpointed]}")  # fmt: skip


def test_a_killed_crawl_ends_like_one_that_was_not(make_server: Make, tmp_path: Path, rng: random.Random) -> None:
    with SmallSite() as site:
        site.linked(pages := scaled(200, 80))
        site.delay = 0.05
        drill(make_server, tmp_path, site, pages, scaled(12, 3), rng)


def test_a_fan_out_killed_at_random_points(make_server: Make, tmp_path: Path, rng: random.Random) -> None:
    with SmallSite() as site:
        leaves = range(1, scaled(100, 40) + 1)
        site.pages["/0"] = article(0, "".join(f'<a href="/{n}">{n}</a>' for n in leaves))
        site.pages |= {f"/{n}": article(n) for n in leaves}
        site.delay = 0.03
        drill(make_server, tmp_path, site, len(site.pages), scaled(20, 3), rng)

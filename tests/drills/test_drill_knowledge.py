"""Crawling, embedding and a lost index in a deployment of processes; the lost index in the one process too.

The embedded twins of the first two are `test_drill_crawl.py` and `test_drill_embedding.py`.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import free_port
from tests.drills.harness import ROOT, Stack, clean_env, kill9, scaled, tell, until
from tests.drills.test_drill_embedding import PASSAGES, WORDS, alive, same_as_unkilled
from tests.fakes.small_site import SmallSite, article
from webapp.core.chroma import Server
from webapp.core.vectors import IndexTrouble
from webapp.knowledge.vectors import index_name

pytestmark = [pytest.mark.drill, pytest.mark.slow]

API = "/api/v1/knowledge"


class Chroma:
    """A Chroma server of this drill's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Chroma:
        program = Path(sys.executable).with_name("chroma")
        given = ["run", "--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen([program, *given], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self.answers, 90, "Chroma answers", every=0.1)
        return self

    def answers(self) -> bool:
        index = Server(self.url)
        try:
            index.ping()
        except IndexTrouble:
            return False
        finally:
            index.close()
        return True

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def chroma(tmp_path: Path) -> Iterator[Chroma]:
    made = Chroma(tmp_path / "chroma-server")
    try:
        yield made.start()
    finally:
        made.kill()


def collection(stack: Stack, name: str) -> str:
    answer = stack.post(f"{API}/collections", {"name": name})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def finished(stack: Stack, sql: str, seconds: float, **params: Any) -> dict[str, Any]:
    """The one task that `sql` selects, when it is over."""
    over = ("completed", "failed", "cancelled", "timed_out")
    until(
        lambda: (found := stack.sql(sql, **params)) and found[0]["status"] in over, seconds, "the task ends", every=0.1
    )
    return stack.sql(sql, **params)[0]


# -- a crawl ---------------------------------------------------------------------------------------------------------


def crawl(stack: Stack, site: SmallSite, pages: int, into: str) -> str:
    asked = {"url": site.url("/0"), "max_depth": 20, "max_pages": pages + 10, "collection_id": into}
    answer = stack.post("/api/crawler/jobs/", asked)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def crawled(stack: Stack, crawl_id: str, seconds: float) -> dict[str, Any]:
    sql = "SELECT t.* FROM tasks t JOIN crawls c ON c.task_id = t.id WHERE c.id = :id"
    return finished(stack, sql, seconds, id=crawl_id)


def result(stack: Stack, site: SmallSite, crawl_id: str, into: str) -> tuple[Any, ...]:
    """Text hash by path, fates, versions, chunks, of one crawl into one collection."""
    prefix = site.url("")
    texts = {
        row["url"].removeprefix(prefix): row["text_hash"]
        for row in stack.sql("SELECT url, text_hash FROM documents WHERE collection_id = :c", c=into)
    }
    fates = stack.sql("SELECT state, reason FROM crawl_urls WHERE crawl_id = :id", id=crawl_id)
    versions = stack.sql("SELECT count(*) AS n FROM document_versions v JOIN documents d ON d.id = v.document_id"
                         " WHERE d.collection_id = :c", c=into)[0]["n"]  # fmt: skip
    chunks = stack.sql("SELECT count(*) AS n FROM chunks WHERE collection_id = :c", c=into)[0]["n"]
    return texts, Counter((row["state"], row["reason"]) for row in fates), versions, chunks


def killed_crawl(stack: Stack, site: SmallSite, pages: int, kills: int, rng: random.Random, drill: str) -> None:
    """Two crawls of the same site: a calm one, and one whose workers die at random moments, all of them at once."""
    calm_into, into = collection(stack, f"Calm {drill}"), collection(stack, f"Killed {drill}")
    calm = crawl(stack, site, pages, calm_into)
    assert crawled(stack, calm, 240)["status"] == "completed"
    wanted = result(stack, site, calm, calm_into)
    assert len(wanted[0]) == pages
    assert set(site.asked().values()) == {1}
    site.log.clear()

    ident = crawl(stack, site, pages, into)
    checkpointed: list[tuple[int, set[str]]] = []
    for kill in range(kills):
        if kill % 2:
            time.sleep(rng.uniform(0.1, 4.0))  # the random moment, while pages are read
        else:
            site.wait_for(len(site.log) + rng.randrange(1, max(2, pages // 3)), patience=8.0)
        old = stack.worker_pids()
        for pid in old:
            kill9(pid)
        until(lambda old=old: not any(psutil.pid_exists(pid) and alive(psutil.Process(pid)) for pid in old), 10, "dead")
        rows = stack.sql("SELECT url FROM crawl_urls WHERE crawl_id = :id AND state != 'queued'", id=ident)
        checkpointed.append((len(site.log), {row["url"].removeprefix(site.url("")) for row in rows}))
        stack.wait_workers()
    assert crawled(stack, ident, 240)["status"] == "completed"
    for at, paths in checkpointed:
        again = [path for _, path, _ in site.log[at:] if path in paths]
        assert not again, f"fetched again after their checkpoint: {again[:5]}"
    assert result(stack, site, ident, into) == wanted
    tell(drill, stack.mode, pages=pages, kills=kills, requests=len(site.log),
         checkpointed=[len(paths) for _, paths in checkpointed])  # fmt: skip


CRAWLERS: dict[str, Any] = {"workers": ("crawling", "crawling"), "live": False, "BRAINSTEM_ALLOW_HOSTS": "127.0.0.1",
                            "BRAINSTEM_MAX_CRASHES": "1000"}  # fmt: skip


@pytest.mark.services
def test_a_killed_crawl_ends_like_one_that_was_not(own: Callable[..., Any], rng: random.Random) -> None:
    with SmallSite() as site:
        site.linked(pages := scaled(200, 80))
        site.delay = 0.05
        killed_crawl(own("distributed", **CRAWLERS).start(), site, pages, scaled(12, 3), rng, "crawl")


@pytest.mark.services
def test_a_fan_out_of_pages_killed_at_random_points(own: Callable[..., Any], rng: random.Random) -> None:
    """As F26: one page leads to a hundred; each is fetched and stored once, and the end comes once."""
    with SmallSite() as site:
        leaves = range(1, scaled(100, 40) + 1)
        site.pages["/0"] = article(0, "".join(f'<a href="/{n}">{n}</a>' for n in leaves))
        site.pages |= {f"/{n}": article(n) for n in leaves}
        site.delay = 0.03
        killed_crawl(own("distributed", **CRAWLERS).start(), site, len(site.pages), scaled(20, 3), rng, "F26-pages")


# -- embedding -------------------------------------------------------------------------------------------------------


def filled(stack: Stack, rng: random.Random, count: int) -> str:
    into = collection(stack, "Papers")
    texts = [f"{n}: " + " ".join(rng.choices(WORDS, k=60)) for n in range(count)]
    batch = [{"id": f"d{n}", "title": f"Paper {n}", "text": text} for n, text in enumerate(texts)]
    answer = stack.post(f"{API}/collections/{into}/documents/batch", {"documents": batch}, timeout=120)
    assert answer.status_code == 200, answer.text
    return into


EMBED = "SELECT * FROM tasks WHERE kind = 'maintenance.embed' ORDER BY id"


@pytest.mark.services
def test_killed_while_embedding(own: Callable[..., Any], chroma: Chroma, rng: random.Random) -> None:
    stack = own("distributed", workers=("embedding", "embedding"), live=False, CHROMA_URL=chroma.url,
                BRAINSTEM_MAX_CRASHES="1000").start()  # fmt: skip
    into = filled(stack, rng, PASSAGES)

    def marked() -> int:
        return int(stack.sql("SELECT count(*) AS n FROM chunks WHERE generation > 0")[0]["n"])

    def over() -> bool:
        return bool((found := stack.sql(EMBED)) and found[0]["status"] == "completed")

    children: list[psutil.Process] = []
    before, kills = 0, []
    for _ in range(scaled(20, 3)):
        until(lambda before=before: marked() > before or over(), 120, "a batch is done")
        if over():
            break
        time.sleep(rng.uniform(0.0, 1.0))  # the random moment
        for pid in stack.worker_pids():
            children += psutil.Process(pid).children(recursive=True)
            kill9(pid)
        before = marked()
        kills.append(before)
        stack.wait_workers()
    assert len(kills) >= 2, "it was over before anybody could be killed"
    task = finished(stack, EMBED, 240)
    assert len(stack.sql(EMBED)) == 1
    until(lambda: not any(alive(child) for child in children), 10, "no child of a killed worker lives on")
    rt = stack.runtime()
    try:
        same_as_unkilled(rt, into, task["id"])
    finally:
        rt.close()
    tell("embedding", stack.mode, kills=len(kills), marked_at_kills=kills)


# -- the index is gone -----------------------------------------------------------------------------------------------


def find(stack: Stack, into: str) -> dict[str, Any]:
    answer = stack.post(f"{API}/search", {"query": "a paper about whales", "collection_ids": [into], "k": 5})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def by_meaning(stack: Stack, into: str) -> bool:
    found = find(stack, into)
    return found["notice"] is None and any(hit["vector"] is not None for hit in found["results"])


def test_a_lost_index_costs_meaning_not_search_and_reindex_brings_it_back(
    mode: str, own: Callable[..., Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The folder is deleted under the running server; in a deployment the Chroma server dies and its data are lost."""
    server: Chroma | None = request.getfixturevalue("chroma") if mode == "distributed" else None
    more = {"CHROMA_URL": server.url, "workers": ("embedding", "fast"), "live": False} if server else {}
    stack = own(mode, **more).start()
    into = collection(stack, "Papers")
    animals = ["whales", "cats", "horses", "eagles"]
    batch = [{"id": f"d{n}", "title": f"Paper {n}", "text": f"A paper about {animals[n % 4]}, number {n}."}
             for n in range(40)]  # fmt: skip
    assert stack.post(f"{API}/collections/{into}/documents/batch", {"documents": batch}).status_code == 200
    until(lambda: by_meaning(stack, into), 120, "the passages are embedded", every=0.2)
    finished(stack, EMBED, 60)
    whole = find(stack, into)

    if server:
        server.kill()
        down = find(stack, into)
        assert down["notice"]["code"] == "no_index"
        assert down["results"]
        assert all(hit["vector"] is None for hit in down["results"])
        shutil.rmtree(server.folder)
        server.start()
    else:
        shutil.rmtree(stack.home / "chroma")
    lost = find(stack, into)
    assert lost["notice"]["code"] == "no_index"
    assert "brainstem reindex" in lost["notice"]["suggestion"]
    assert lost["results"]
    assert all("whales" in hit["text"] and hit["keyword"] is not None for hit in lost["results"])

    began = time.monotonic()
    env = clean_env(**stack.env)
    done = subprocess.run([sys.executable, "-m", "webapp.cli", "reindex", "Papers"], env=env, cwd=ROOT,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    until(lambda: by_meaning(stack, into), 120, "reindex brings it back", every=0.2)
    took = time.monotonic() - began
    until(lambda: stack.sql("SELECT sum(pending_chunks) AS n FROM documents")[0]["n"] == 0, 60, "all are embedded")
    again = find(stack, into)
    assert [hit["chunk_id"] for hit in again["results"]] == [hit["chunk_id"] for hit in whole["results"]]
    assert [hit["vector"] for hit in again["results"]] == pytest.approx([hit["vector"] for hit in whole["results"]])
    if server:
        index = Server(server.url)
        chunks = {row["id"] for row in stack.sql("SELECT id FROM chunks WHERE collection_id = :c", c=into)}
        assert index.ids(index_name(into, 1)) == chunks
        index.close()
    tell("lost index", mode, back_after=took)

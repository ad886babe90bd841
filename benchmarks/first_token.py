"""Question -> first token of its answer, on an idle installation and with a 10,000-page crawl of somebody else's under way.

The model is a scripted server that answers at once, so what is measured is ours: store and queue the question, claim it,
choose an agent, search the asker's 100 documents, ask the model, and carry its first word back. One person asks, by the
API and the answer's event stream; another one's crawl takes a local site whose pages come after 50 ms. Idle and loaded
blocks take turns, and a loaded one begins when the crawl has read 50 pages; the model and the site are processes of their
own.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

PAGES, DELAY, FAN = 10_000, 0.05, 4
DOCUMENTS = 100
UNDER_WAY = 50  # pages that a crawl has read before a loaded block begins
ROLES = ("fast", "inference", "crawling", "embedding")
WARM = 3  # questions that are not counted: the first ones load what the others use
API = "/api/v1/conversations"


def run(report: Report, quick: bool) -> None:
    rounds, asks = (1, 5) if quick else (3, 12)
    report.notes.append(f"{rounds} idle and {rounds} loaded blocks in turn, {asks} questions each; medians of all")
    with ExitStack() as stack:
        folder = stack.enter_context(h.scratch())
        redis_port = stack.enter_context(h.private_redis())
        database = stack.enter_context(h.private_postgres())
        model, site = (stack.enter_context(_fake(name)) for name in ("model", "site"))
        for mode in ("embedded", "distributed"):
            with _installation(mode, folder / mode, database, redis_port, model) as asker:
                _lines(report, mode, _measure(asker, site, rounds, asks))


def _lines(report: Report, mode: str, found: dict[str, Any]) -> None:
    report.raw[mode] = found
    idle, loaded = (h.median(one["first"] for one in found[state]) for state in ("idle", "loaded"))
    worst = h.pct((one["first"] for one in found["loaded"]), 0.95)
    report.add(f"{mode}: first token", f"{loaded * 1000:.0f} ms (p95 {worst * 1000:.0f})", f"{idle * 1000:.0f} ms idle",
               f"{loaded / idle:.2f}", "<= 1.50", loaded / idle <= 1.5)  # fmt: skip
    still = min(found["waiting"])
    report.add("  pages read meanwhile", f"{sum(found['read'])}, {still} at least left", goal="> 0",
               ok=min(found["read"]) > 0 and still > 0)  # fmt: skip


def _measure(asker: Asker, site: int, rounds: int, asks: int) -> dict[str, Any]:
    """idle, loaded: each question's seconds, and what its run measured of them. read: pages of each loaded block;
    waiting: those the crawl had left then."""
    for _ in range(WARM):
        asker.first_token()
    found: dict[str, Any] = {"idle": [], "loaded": [], "read": [], "waiting": []}
    for _ in range(rounds):
        found["idle"] += [asker.first_token() for _ in range(asks)]
        with asker.crawling(site) as crawl:
            before = asker.pages_read(crawl)
            found["loaded"] += [asker.first_token() for _ in range(asks)]
            after = asker.pages_read(crawl)
        found["read"].append(after - before)
        found["waiting"].append(PAGES - after)
    return found


# -- the installation ------------------------------------------------------------------------------------------------


@contextmanager
def _installation(mode: str, home: Path, database: str, redis_port: int, model: int) -> Iterator[Asker]:
    home.mkdir(parents=True)
    more = {"AUTH_REQUIRED": "1", "BRAINSTEM_ALLOW_HOSTS": "127.0.0.1",
            "BRAINSTEM_MODEL_SERVERS": f"lab=http://127.0.0.1:{model}/v1"}  # fmt: skip
    if mode == "embedded":
        env = h.our_env(home, redis_port, **more)
    else:
        env = h.distributed_env(home, database, redis_port, **more)
    rt = h.open_runtime(env)
    keys = [_key(rt, name) for name in ("asker", "crawler")]
    with ExitStack() as stack:
        stack.callback(rt.close)
        _, port = stack.enter_context(h.server(env, home, *(() if mode == "embedded" else ("web",))))
        live = port
        if mode == "distributed":
            _, live = stack.enter_context(h.server(env, home, "web", "--live"))
            for role in ROLES:
                stack.enter_context(h.brainstem(["worker", role], env, home))
            stack.enter_context(h.brainstem(["scheduler"], env, home))
        asker = Asker(rt, port, live, *keys)
        asker.prepare()
        yield asker


def _key(rt: Any, name: str) -> str:
    from webapp.core.context import Actor, Ctx
    from webapp.identity import service
    from webapp.identity.models import User

    with rt.unit() as db:
        user = User(username=name, username_key=name)
        db.add(user)
        db.flush()
        made = service.create_api_key(Ctx(rt, db, Actor(user.id, name, via="session")), name="bench",
                                      scopes=["tasks:read", "tasks:write", "events:read"])  # fmt: skip
    return str(made[1] if isinstance(made, tuple) else made.secret)


class Asker:
    """One person who asks and another one who crawls, over HTTP."""

    def __init__(self, rt: Any, port: int, live: int, key: str, other_key: str) -> None:
        self.rt, self.port, self.live, self.key, self.other_key = rt, port, live, key, other_key
        self.number = 0

    def prepare(self) -> None:
        """Documents to ask about, searchable; a first answer loads what answers need."""
        shelf = self._post("/api/v1/knowledge/collections", {"name": "Notes"})["id"]
        for start in range(0, DOCUMENTS, 50):
            documents = [
                {"id": f"d{n}", "title": f"Lighthouse {n}", "text": _text(n)} for n in range(start, start + 50)
            ]
            for one in documents:
                self._post(f"/api/v1/knowledge/collections/{shelf}/documents", one)
        h.wait_for(lambda: not self._get("/api/v1/utils/ai-tasks/?status=running").get("count"), 120, 0.5)

    def first_token(self) -> dict[str, float]:
        """first: seconds from sending a question to the first piece of its answer. Waits for the end of it, uncounted."""
        self.number += 1
        conversation = self._post(API, {})["id"]
        body = {"text": f"How high is the tower of lighthouse {self.number % DOCUMENTS}?", "engine": "openai:small@lab"}
        began = time.perf_counter()
        answer = self._post(f"{API}/{conversation}/messages", body)["answer"]["id"]
        stream = http.client.HTTPConnection("127.0.0.1", self.live, timeout=60)
        stream.request("GET", f"{API}/messages/{answer}/stream", headers=self._headers(self.key))
        first = 0.0
        for line in stream.getresponse():
            if line.startswith(b"data:"):
                event = json.loads(line[5:])
                if event["type"] == "text" and not first:
                    first = time.perf_counter() - began
                if event["type"] == "message":
                    break
        stream.close()
        if not first or event["message"]["state"] != "done":
            raise RuntimeError(f"no answer came: {event}")
        metrics = event["message"]["metrics"]
        return {"first": first, "in_the_run": metrics["first_token_seconds"], **metrics["steps_ms"]}

    @contextmanager
    def crawling(self, site: int) -> Iterator[str]:
        """A crawl of the other person's, under way; stopped at the end and its pages gone, so that the next block is idle."""
        shelf = self._post("/api/v1/knowledge/collections", {"name": f"Site {self.number}"}, self.other_key)["id"]
        body = {"url": f"http://127.0.0.1:{site}/0", "max_pages": PAGES, "max_depth": 20, "collection_id": shelf}
        crawl = self._post("/api/crawler/jobs/", body, self.other_key)["id"]
        h.wait_for(lambda: self.pages_read(crawl) >= UNDER_WAY, 120, 0.1)
        try:
            yield crawl
        finally:
            self._post(f"/api/crawler/jobs/{crawl}/cancel/", {}, self.other_key)
            h.wait_for(
                lambda: self._get(f"/api/crawler/jobs/{crawl}/", self.other_key)["status"] == "cancelled", 60, 0.1
            )
            time.sleep(1.0)  # children that parsed its pages rest

    def pages_read(self, crawl: str) -> int:
        return int(self._get(f"/api/crawler/jobs/{crawl}/", self.other_key)["pages_crawled"])

    def _post(self, path: str, body: Any, key: str = "") -> Any:
        return self._ask("POST", path, key, json.dumps(body))

    def _get(self, path: str, key: str = "") -> Any:
        return self._ask("GET", path, key)

    def _ask(self, method: str, path: str, key: str, body: str | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, self._headers(key or self.key))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]!r}")
        return json.loads(data) if data else None

    def _headers(self, key: str) -> dict[str, str]:
        return {"Content-Type": "application/json", "Authorization": f"Bearer {key}", "Accept": "*/*"}


def _text(number: int) -> str:
    return (f"The tower of lighthouse {number} is {20 + number} metres high and was built in {1700 + number}. "
            f"Its lamp is seen for {10 + number % 20} miles. The keeper of lighthouse {number} lived beside it until "
            f"{1900 + number % 80}, when the lamp was made to turn by itself.")  # fmt: skip


# -- fakes, each a process of its own --------------------------------------------------------------------------------


@contextmanager
def _fake(name: str) -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.first_token", name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=h.ROOT, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def _model() -> None:
    """Writes a sentence that stands on its first source, as soon as it is asked."""
    from tests.fakes.model_server import ModelServer

    with ModelServer() as models:
        models.says("The tower ", "is as high ", "as the source ", "says [1].")
        print(models.site.port, flush=True)
        sys.stdin.read()


def _site() -> None:
    from tests.fakes.small_site import SmallSite, article

    class Pages(dict[str, Any]):
        def get(self, path: str, default: Any = None) -> Any:
            number = int(path[1:]) if path[1:].isdigit() else PAGES
            others = [number * FAN + k for k in range(1, FAN + 1)] + [(number * 7 + 3) % PAGES]
            links = "".join(f'<a href="/{n}">{n}</a> ' for n in others if n < PAGES)
            return article(number, links, 300) if number < PAGES else default

    with SmallSite() as site:
        site.delay, site.pages = DELAY, Pages()
        print(site.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    {"model": _model, "site": _site}[sys.argv[1]]()

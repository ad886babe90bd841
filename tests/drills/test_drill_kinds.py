"""kill -9 in public kinds of task: taken up again from its checkpoint, the same result, no effect twice.

Two ways to die. "step": the process kills itself right after the nth thing the task wrote (a checkpoint, progress, a log
line), n at random: nothing that was kept may be done again. "moment": everything, or in a deployment the worker that holds
the task, is killed from outside after a random time, also while a request is on its way; then a page may be asked for once
more a kill, and what a POST changed is counted by its Idempotency-Key.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from tests.drills.conftest import MODES, Stacks
from tests.drills.harness import FULL, Embedded, Stack, kill9, scaled, tell
from tests.fakes.small_site import article

pytestmark = pytest.mark.drill
TASKS = "/api/v1/utils/ai-tasks/"
FINAL = ("completed", "failed", "cancelled")
TEXT = " ".join(f"Bee number {n} brings {n * 7} drops of nectar to hive {n % 5}." for n in range(120))
CSV = "day,visits,sales\n" + "".join(f"2024-01-{n:02d},{n * 3 + n % 4},{n * 5 + n % 3}\n" for n in range(1, 29))
Config = dict[str, Any]


class Receiver:
    """Counts what arrives: GETs by path, POSTs by path with their Idempotency-Keys."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.gets: Counter[str] = Counter()
        self.posts: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, mark = self.path.partition("?")
                if not path.startswith(("/p", "/table")):  # robots.txt
                    self.send_error(404)
                    return
                with receiver._lock:
                    receiver.gets[mark] += mark != ""
                kind, body = (
                    ("text/csv", CSV.encode()) if path == "/table" else ("text/html", article(int(path[2:] or 0)))
                )
                self._answer(kind, body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with receiver._lock:
                    receiver.posts[self.path.partition("?")[2]].append(self.headers.get("Idempotency-Key", ""))
                self._answer("application/json", b'{"id": 7}')

            def _answer(self, kind: str, body: bytes) -> None:
                time.sleep(receiver.delay)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]  # callers that were killed
        self.server.daemon_threads = True

    def url(self, path: str, mark: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}?{mark}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


# -- a task of each kind: its configuration, and what of its result must not depend on kills -----------------------------


def summary(site: Receiver, mark: str) -> Config:
    return {"content": TEXT, "urls": [site.url(f"/p{n}", f"{mark}-{n}") for n in range(3)], "max_length": 60}


def data_analysis(site: Receiver, mark: str) -> Config:
    return {"url": site.url("/table", f"{mark}-0"), "analysis_type": "statistical"}


def custom(site: Receiver, mark: str) -> Config:
    return {"custom_config": {"page": site.url("/p1", f"{mark}-0")}, "steps": [
        {"type": "fetch", "name": "page", "url": "{{ config.page }}"},
        {"type": "task", "name": "short", "kind": "summary", "params": {"content": "{{ steps.page.text }}", "max_length": 30}},
        {"type": "analysis", "text": "{{ steps.short.text }}", "analyses": ["keywords"]},
        "if steps.page.words > 10 then continue",
        {"type": "task", "name": "tell", "kind": "api", "params": {"url": site.url("/take", mark), "method": "POST",
         "body": {"said": "{{ steps.short.text }}"}, "mapping": {"id": "id"}, "repeat_unclear": True}},
        "What is a queue?",
    ]}  # fmt: skip


def decision(site: Receiver, mark: str) -> Config:
    return {"question": "Which hive?", "options": ["A", "B", "C"], "criteria": ["Honey: 3", "Work: 1, lower"],
            "scores": {"A": {"Honey": 5, "Work": 3}, "B": {"Honey": 7, "Work": 8}}, "use_knowledge": True}  # fmt: skip


def nlp(site: Receiver, mark: str) -> Config:
    return {"content": TEXT, "urls": [site.url(f"/p{n}", f"{mark}-{n}") for n in range(2)]}


def api(site: Receiver, mark: str) -> Config:
    return {
        "url": site.url("/take", mark),
        "method": "POST",
        "body": {"n": 1},
        "mapping": {"id": "id"},
        "repeat_unclear": True,
    }


KINDS: dict[str, tuple[Callable[[Receiver, str], Config], Callable[[Config], Any]]] = {
    "summary": (summary, lambda r: r["summary"]),
    "data_analysis": (data_analysis, lambda r: json.dumps(r.get("columns") or r.get("statistics"), sort_keys=True)),
    "custom": (custom, lambda r: [(one["status"], one["output"]["text"]) for one in r["steps"]]),
    "decision": (decision, lambda r: r["explanation"]),
    "nlp": (nlp, lambda r: [one["keywords"] for one in r["texts"]]),
    "api": (api, lambda r: r["mapped"]),
}


class Drill:
    """Tasks of one kind, one after the other, in an installation that keeps dying."""

    def __init__(self, stack: Stack, armed: Path, site: Receiver, kind: str, rng: random.Random) -> None:
        self.stack, self.armed, self.site, self.kind, self.rng = stack, armed, site, kind, rng
        self.config, self.core = KINDS[kind]
        self.kills = self.tasks = self.again = 0

    def calm(self) -> tuple[Any, int, float]:
        """(what the result must be, how often the task writes, how long it takes) without any kill."""
        began = time.monotonic()
        task_id, mark = self.start()
        task = self.wait(task_id)
        took = time.monotonic() - began
        assert task is not None
        assert task["status"] == "completed", task["error_message"]
        self.check_effects(mark, 0)
        writes = self.count("SELECT count(*) AS n FROM task_events WHERE task_id = :id", task_id) + 2
        return self.core(task["result_data"]), writes, took

    def start(self, writes: int = 0) -> tuple[str, str]:
        """writes: let the process that works on it kill itself after one of so many; its supervisor starts another."""
        self.tasks += 1
        if writes:
            self.armed.write_text(f"wrote_{self.kind}:kill:{self.rng.randrange(1, writes)},{self.tasks}::")
        mark = f"{self.kind}{uuid.uuid4().hex}"
        body = {"task_type": self.kind, "task_config": self.config(self.site, mark)}
        deadline = time.monotonic() + 60
        while True:  # whoever is cut off asks again with the same key: one task, whatever was lost
            try:
                answer = requests.post(self.stack.url + TASKS, json=body, headers={"Idempotency-Key": mark}, timeout=30)
                break
            except requests.RequestException:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"]), mark

    def wait(self, task_id: str, patience: float = 120.0, until: float | None = None) -> Config | None:
        """The task when it is over; None when `until` passed first."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if until is not None and time.monotonic() >= until:
                return None
            try:
                task: Config = requests.get(f"{self.stack.url}{TASKS}{task_id}/", timeout=30).json()
            except (requests.RequestException, ValueError):  # it died; its supervisor starts another
                time.sleep(0.05)
                continue
            if task["status"] in FINAL:
                return task
            time.sleep(0.02)
        raise AssertionError(f"{self.kind}: not over after {patience:g} s: {task['status']} {task['message']}")

    def count(self, statement: str, task_id: str) -> int:
        return int(self.stack.sql(statement, id=task_id)[0]["n"])

    def kill(self, task_id: str) -> bool:
        """Everything at once; in a deployment the worker that holds the task or a part of it. False: nobody does."""
        if isinstance(self.stack, Embedded):
            self.stack.kill_all()
            self.stack.start()
            return True
        if pid := holder(self.stack, task_id):
            kill9(pid)
            self.stack.wait_workers()
        return pid != 0

    def check_effects(self, mark: str, moments: int) -> None:
        """moments: kills that may have cut a request off."""
        mine = {name: count for name, count in self.site.gets.items() if name.split("-")[0] == mark}
        self.again += sum(mine.values()) - len(mine)
        assert all(count <= 1 + moments for count in mine.values()), f"fetched again after their checkpoint: {mine}"
        keys = self.site.posts.get(mark, [])
        assert len(set(keys)) <= 1, "one effect, one key"
        assert len(keys) <= 1 + moments, f"sent {len(keys)} times"
        if self.kind in ("api", "custom"):
            assert len(keys) >= 1

    def run(self, wanted: int, how: str) -> None:
        goal, writes, took = self.calm()
        resumed = 0
        while self.kills < wanted:
            before = self.kills
            task_id, mark = self.start(writes if how == "step" else 0)
            deaths = 0
            while True:
                pause = self.rng.uniform(0.02, max(0.3, took)) if how == "moment" and self.kills < wanted else None
                task = self.wait(task_id, until=pause and time.monotonic() + pause)
                if task is not None:
                    break
                if self.kill(task_id):
                    self.kills, deaths = self.kills + 1, deaths + 1
            if how == "step":
                self.kills += not self.armed.exists()
            assert task["status"] == "completed", task["error_message"]
            assert self.core(task["result_data"]) == goal, "another result than without kills"
            self.check_effects(mark, deaths)
            resumed += self.kills > before
            results = "SELECT count(*) AS n FROM task_events WHERE task_id = :id AND type = 'result'"
            assert self.count(results, task_id) == 1
        tell(f"kinds-{self.kind}-{how}", self.stack.mode, kills=self.kills, tasks=self.tasks - 1, resumed=resumed,
             writes=writes, fetched_again=self.again, calm_seconds=took)  # fmt: skip


def holder(stack: Stack, task_id: str) -> int:
    """The living worker process that runs the task or a part of it; 0 when none does."""
    rows = stack.sql(
        "SELECT worker_id FROM tasks WHERE (id = :id OR parent_id = :id) AND status = 'running'", id=task_id
    )
    return next((pid for pid in stack.worker_pids() for row in rows if f"-{pid}-" in row["worker_id"]), 0)


@pytest.fixture
def site() -> Iterator[Receiver]:
    with Receiver(0.05) as made:
        yield made


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that makes a process kill itself."""
    return tmp_path_factory.mktemp("kinds") / "armed"


@pytest.fixture(scope="module", params=MODES)
def _stack(request: pytest.FixtureRequest, _stacks: Stacks, armed: Path) -> Iterator[Stack]:
    env = {"BRAINSTEM_ALLOW_HOSTS": "127.0.0.1", "BRAINSTEM_MAX_CRASHES": "1000", "BRAINSTEM_FAILPOINT": f"@{armed}"}
    made: Stack = _stacks.embedded(**env) if request.param == "embedded" else _stacks.cluster(live=False, **env)
    yield made.start()
    made.close()


@pytest.fixture
def stack(_stack: Stack, armed: Path) -> Iterator[Stack]:
    """One installation for all kinds, whole again after each."""
    yield _stack
    armed.unlink(missing_ok=True)
    _stack.heal()


@pytest.mark.parametrize("kind", KINDS)
def test_killed_right_after_a_write(stack: Stack, armed: Path, site: Receiver, rng: random.Random, kind: str) -> None:
    Drill(stack, armed, site, kind, rng).run(scaled(20, 1), "step")


@pytest.mark.parametrize("kind", KINDS if FULL else ["api"])  # what would be sent twice, if anything
def test_killed_at_any_moment(stack: Stack, armed: Path, site: Receiver, rng: random.Random, kind: str) -> None:
    Drill(stack, armed, site, kind, rng).run(scaled(20, 1), "moment")

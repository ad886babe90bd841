"""kill -9 in the middle of an answer: the model's child, then the worker. The thread neither loses nor doubles a word."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.drills.clients import Sse
from tests.drills.harness import Cluster, Stack, kill9, scaled, tell, until, within
from tests.fakes import tiny_gguf
from tests.fakes.model_server import ModelServer

pytestmark = pytest.mark.drill

API = "/api/v1/conversations"
PIECES = [f"word{number} " for number in range(40)]
WHOLE = "".join(PIECES).strip()


@pytest.fixture
def models() -> Iterator[ModelServer]:
    with ModelServer() as made:
        made.says(*PIECES)
        made.hold()
        yield made


class Answer:
    """A question that is being answered, and somebody who reads on however often the line breaks."""

    def __init__(self, stack: Stack, engine: str) -> None:
        self.stack = stack
        conversation = stack.post(API).json()["id"]
        body = {"text": "the of and to", "engine": engine, "agent": "general", "use_context": False}
        made = stack.post(f"{API}/{conversation}/messages", body)
        assert made.status_code == 202, made.text
        self.id, self.task_id = made.json()["answer"]["id"], made.json()["task_id"]
        self.text, self.last_id, self.final = "", None, None  # type: str, int | None, Any
        self.faults: list[str] = []
        self.anew = 0
        threading.Thread(target=self._read, daemon=True).start()

    def now(self) -> Any:
        return self.stack.http.get(f"{self.stack.url}{API}/messages/{self.id}", timeout=10).json()

    def _read(self) -> None:
        while self.final is None:
            with contextlib.suppress(OSError):
                stream = Sse(self.stack.live_url, f"{API}/messages/{self.id}/stream", self.last_id)
                for ident, data in stream.events():
                    self._take(ident, data)
                stream.close()
            time.sleep(0.1)

    def _take(self, ident: int | None, data: Any) -> None:
        if data["type"] == "message":
            self.final = data["message"]
        if data["type"] != "text":
            return
        have = len(self.text.encode())
        if data["offset"] not in (0, have):
            self.faults.append(f"offset {data['offset']} after {have} bytes")
        self.anew += bool(have) and data["offset"] == 0
        self.text = (self.text if data["offset"] else "") + data["text"]
        self.last_id = ident

    def ends(self, state: str, patience: float = 60.0) -> Any:
        def over() -> bool:
            with contextlib.suppress(requests.RequestException):  # embedded, the pages died with the worker
                return self.now().get("state") not in (None, "waiting", "writing")
            return False

        until(over, patience, "the answer ends", every=0.1)
        shown = self.now()
        assert shown["state"] == state, (shown["state"], shown["error"])
        return shown

    def whole(self, shown: dict[str, Any]) -> None:
        """What the reader has is what the thread holds."""
        until(lambda: self.final is not None, 20, "the reader hears of the end")
        assert self.faults == []
        assert self.text.strip() == shown["content"] == self.final["content"]


@contextlib.contextmanager
def open_all_the_while(stack: Stack) -> Iterator[list[Any]]:
    """The pages answer meanwhile; what did not."""
    failed: list[Any] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            try:
                status = requests.get(stack.url + "/chat", timeout=10).status_code
                if status != 200:
                    failed.append(status)
            except requests.RequestException as exc:
                failed.append(exc)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    yield failed
    stop.set()
    thread.join(15)


def engine_children(stack: Stack) -> list[psutil.Process]:
    """Children that stay with a model, below the workers."""
    found = []
    for pid in stack.worker_pids():
        for one in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                found += [one] if "resident_child" in " ".join(one.cmdline()) else []
    return found


def test_the_models_child_is_killed_in_mid_answer(mode: str, own: Callable[..., Any], tmp_path: Path) -> None:
    """The worker and the pages live; the answer is tried again, and a second death of it is a cause the thread shows."""
    pytest.importorskip("ctransformers")
    tiny_gguf.write(tmp_path / "slow.gguf", shape=tiny_gguf.SLOW, **{"llama.context_length": 2048})
    stack: Stack = own(mode, BRAINSTEM_MODELS_DIR=str(tmp_path), BRAINSTEM_MODEL_THREADS="1").start()
    workers = set(stack.worker_pids())
    kills = scaled(10, 2)
    answers: list[Answer] = []
    with open_all_the_while(stack) as failed:
        while len(answers) < kills:
            answer = Answer(stack, "ggml:slow.gguf")
            until(lambda answer=answer: answer.text or answer.final, 60, "it is being written")
            victims = engine_children(stack)
            if answer.final or not victims:  # what it writes is noise, and noise may end early
                continue
            for one in victims:
                kill9(one.pid)
            until(
                lambda answer=answer: stack.status(answer.task_id) in ("retrying", "completed"), 20, "the death is seen"
            )
            if stack.status(answer.task_id) == "completed":
                continue
            shown = answer.now()
            assert shown["state"] == "waiting"
            assert "Retrying (1/3)" in shown["note"], "it says that it tries again"
            assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in victims)
            answers.append(answer)
            stack.execute("UPDATE tasks SET due_at = 1 WHERE id = :id", id=answer.task_id)  # the minute is over
            answer.whole(answer.ends("done"))
    rows = stack.check([one.task_id for one in answers])
    assert all((row["status"], row["attempt"], row["crashes"]) == ("completed", 2, 0) for row in rows.values()), rows
    assert set(stack.worker_pids()) == workers, "no worker died with it"
    assert failed == []
    tell("chat-child", mode, kills=kills, anew=sum(one.anew for one in answers), pages_failed=len(failed))


def test_the_worker_is_killed_in_mid_answer(mode: str, own: Callable[..., Any], models: ModelServer) -> None:
    """Another one writes the whole of it; whoever reads sees it begin anew and end once."""
    stack: Stack = own(mode, **models.env).start()
    kills, gaps, answers = scaled(20, 2), [], []
    web = _web(stack)
    for _ in range(kills):
        models.hold()
        answer = Answer(stack, "openai:small@lab")
        answers.append(answer)
        _steps(models, answer, 5)
        before = len(models.asked)
        at = time.monotonic()
        _kill_who_runs(stack, answer.task_id)
        until(lambda before=before: len(models.asked) > before, stack.pace.takeover + 60, "the model is asked again")
        gaps.append(time.monotonic() - at)
        models.go()
        shown = answer.ends("done")
        assert shown["content"] == WHOLE
        answer.whole(shown)
        assert answer.anew >= 1
        stack.wait_workers()
    rows = stack.check([one.task_id for one in answers])
    assert all((row["status"], row["crashes"]) == ("completed", 1) for row in rows.values()), rows
    assert _web(stack) == web, "the pages' processes live"
    tell("chat-worker", mode, kills=kills, worst=max(gaps), calls=len(models.asked))
    within(max(gaps), stack.pace.takeover + 8.0, "chat: asked again")  # embedded: the process itself starts anew first


def test_killed_each_time_it_ends_with_a_cause(mode: str, own: Callable[..., Any], models: ModelServer) -> None:
    """What kills its worker three times is put aside; the thread says so, and it can be tried again."""
    stack: Stack = own(mode, **models.env).start()
    answer = Answer(stack, "openai:small@lab")
    for number in range(3):
        until(lambda number=number: len(models.asked) > number, stack.pace.takeover + 60, "the model is asked")
        models.began.clear()
        _kill_who_runs(stack, answer.task_id)
    shown = answer.ends("failed", stack.pace.takeover + 60)
    assert shown["error"], "a cause"
    assert stack.row(answer.task_id)["error_code"] == "crash"
    until(lambda: answer.final is not None, 20, "the reader hears of it")
    assert (answer.final["state"], answer.final["error"]) == ("failed", shown["error"])
    page = requests.get(
        f"{stack.url}/chat/{shown['conversation_id']}", timeout=10
    ).text  # a cookie would ask for a token
    assert "No answer came" in page
    assert "Try again" in page
    models.go()
    stack.wait_workers()
    assert stack.post(f"{API}/messages/{answer.id}/retry").status_code == 202
    assert answer.ends("done")["content"] == WHOLE
    stack.check([answer.task_id])
    tell("chat-poison", mode, calls=len(models.asked), cause=shown["error"])


def _steps(models: ModelServer, answer: Answer, count: int) -> None:
    """Let so many pieces out, each of them seen."""
    until(lambda: answer.text, 60, "the first piece")
    for number in range(2, count + 1):
        models.step()
        wanted = "".join(PIECES[:number]).strip()
        until(lambda wanted=wanted: answer.text.strip() == wanted, 20, f"{number} pieces, not {answer.text!r}")


def _kill_who_runs(stack: Stack, task_id: str) -> None:
    """kill -9 the worker process that holds the task."""
    until(lambda: _holder(stack, task_id), 20, "somebody runs it")
    kill9(_holder(stack, task_id))


def _holder(stack: Stack, task_id: str) -> int:
    row = stack.sql("SELECT worker_id FROM tasks WHERE id = :id AND status = 'running'", id=task_id)
    return next((pid for pid in stack.worker_pids() if row and f"-{pid}-" in row[0]["worker_id"]), 0)


def _web(stack: Stack) -> list[int]:
    """Processes that serve pages. Embedded, the one process is the worker too."""
    return [one.pid for one in (*stack.named("web"), *stack.named("live"))] if isinstance(stack, Cluster) else []

"""Answers on the wire, from real processes of both modes: text as it is written, by every way to read it; stopping in the
middle stops the model; two readers see the same; who comes back loses and doubles nothing.

A scripted model server writes; for the compute that must stop, also a real model file in its own child.
"""

from __future__ import annotations

import html as html_module
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from tests.conftest import Server
from tests.fakes import tiny_gguf
from tests.fakes.model_server import ModelServer
from tests.live.client import SSE
from tests.live.conftest import LIMITS, Person, Site, deployed, embedded

ENGINE = "openai:small@lab"
CLAIM = 2**32
PATIENCE = 20.0
API = "/api/v1/conversations"


@pytest.fixture(scope="module")
def _models() -> Iterator[ModelServer]:
    with ModelServer() as made:
        yield made


@pytest.fixture
def models(_models: ModelServer) -> Iterator[ModelServer]:
    _models.pause = 0.0
    _models.left.clear()
    _models.began.clear()
    yield _models
    _models.go()


@pytest.fixture(scope="module", params=["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def site(
    request: pytest.FixtureRequest, _models: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """With a folder for model files, made once for both."""
    home = tmp_path_factory.mktemp("chat")
    (home / "models").mkdir()
    tiny_gguf.write(home / "models" / "slow.gguf", shape=tiny_gguf.SLOW, **{"llama.context_length": 2048})
    env = {**_models.env, "BRAINSTEM_MODELS_DIR": str(home / "models"), "BRAINSTEM_MODEL_THREADS": "1"}
    if request.param == "distributed":
        with deployed(request.getfixturevalue("_blank_postgres"), home, 4, env) as site:
            yield site
        return
    site = embedded(Server(home / "server", {**LIMITS, **env}).start())
    yield site
    site.rt.close()
    site.server.kill()


@pytest.fixture
def alice(site: Site) -> Person:
    return site.person("alice")


@dataclass
class Asked:
    """An answer that is being written."""

    who: Person
    id: str
    task_id: str

    def now(self) -> Any:
        return self.who.get(f"{API}/messages/{self.id}").json()

    def stop(self) -> Any:
        return self.who.post(f"{API}/messages/{self.id}/cancel")

    def ended(self) -> Any:
        until(lambda: self.now()["state"] not in ("waiting", "writing"), "the answer ends")
        return self.now()

    def stream(self, last_id: int | None = None) -> SSE:
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        return self.who.sse(f"{API}/messages/{self.id}/stream", **headers)

    @property
    def topic(self) -> str:
        return f"?topics=task:{self.task_id}@answer@0"


def ask(who: Person, text: str = "Say it.", engine: str = ENGINE) -> Asked:
    """Of the model alone: what it writes is what is shown."""
    conversation = who.post(API, {}).json()["id"]
    body = {"text": text, "engine": engine, "agent": "general", "use_context": False}
    made = who.post(f"{API}/{conversation}/messages", body)
    assert made.status_code == 202, made.text
    return Asked(who, made.json()["answer"]["id"], made.json()["task_id"])


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began


def words(html: str) -> str:
    """What a page's fragment shows of the answer."""
    found = re.search(r'class="prose md chat-text[^>]*>(.*?)</div>', html, re.DOTALL)
    return html_module.unescape(re.sub(r"<[^>]+>", "", found[1])).strip() if found else ""


class Reading:
    """Reads on in a thread; `text` is what a person would have before them. Fails on a gap or a repeat."""

    def __init__(self, read: Callable[[Reading], None]) -> None:
        self.text, self.last_id, self.over = "", None, False  # type: str, int | None, bool
        self.states: list[str] = []
        self.final: Any = None
        self.error: BaseException | None = None
        self._read = read
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._read(self)
        except BaseException as exc:
            self.error = exc
        self.over = True

    def shows(self, text: str) -> None:
        self.text = text
        self.states.append(text)

    def take(self, ident: int | None, data: Any) -> None:
        """An event of the stream for programs."""
        if data["type"] == "text":
            have = len(self.text.encode())
            assert data["offset"] in (0, have), f"a gap or a repeat: {data['offset']} after {have}"
            self.shows((self.text if data["offset"] else "") + data["text"])
            assert ident is not None
            assert ident % CLAIM == len(self.text.encode())
            self.last_id = ident
        elif data["type"] == "message":
            self.final = data["message"]

    def join(self) -> Reading:
        self.thread.join(PATIENCE)
        assert self.error is None, self.error
        assert self.over, f"still reading: {self.text[-80:]!r}"
        return self


def by_stream(asked: Asked) -> Reading:
    def read(reading: Reading) -> None:
        with asked.stream() as stream:
            assert stream.status == 200
            for ident, data in stream.events():
                reading.take(ident, data)

    return Reading(read)


def by_page_stream(asked: Asked) -> Reading:
    def read(reading: Reading) -> None:
        with asked.who.sse("/live/stream" + asked.topic) as stream:
            for _, data in stream.events():
                if data["type"] == "fragment":
                    reading.shows(words(data["html"]))
                    if 'data-final="true"' in data["html"]:
                        return

    return Reading(read)


def by_socket(asked: Asked) -> Reading:
    def read(reading: Reading) -> None:
        with asked.who.ws("/ws/live" + asked.topic) as ws:
            while True:
                data = ws.next(PATIENCE)
                assert data is not None, "nothing more came"
                if data["type"] == "fragment":
                    reading.shows(words(data["html"]))
                    if 'data-final="true"' in data["html"]:
                        return

    return Reading(read)


def by_asking(asked: Asked) -> Reading:
    def read(reading: Reading) -> None:
        while True:
            answer = asked.who.get(f"/chat/messages/{asked.id}", allow_redirects=False)
            assert answer.status_code in (200, 286), answer.status_code
            reading.shows(words(answer.text))
            if answer.status_code == 286:
                return
            time.sleep(0.05)

    return Reading(read)


WAYS = (by_stream, by_page_stream, by_socket, by_asking)


def grows(reading: Reading) -> None:
    """No state of the text was ever shorter than, or other than, the one before."""
    before = ""
    for text in reading.states:
        assert text.startswith(before.rstrip()), (before, text)
        before = text


def test_text_comes_while_it_is_written_by_every_way(alice: Person, models: ModelServer) -> None:
    pieces = ["one ", "two ", "Grüße ", "日本 ", "and ", "the end."]
    models.says(*pieces)
    models.hold()
    asked = ask(alice)
    readers = [way(asked) for way in WAYS] + [by_stream(asked), by_socket(asked)]
    for count in range(1, len(pieces)):
        wanted = "".join(pieces[:count]).strip()
        for reader in readers:
            until(lambda reader=reader, wanted=wanted: reader.text.strip() == wanted or reader.error,
                  f"{wanted!r} is shown, not {reader.text!r}")  # fmt: skip
        assert asked.now()["state"] == "writing"
        models.step()
    models.go()
    whole = "".join(pieces)
    for reader in readers:
        reader.join()
        grows(reader)
        assert reader.text == whole
    assert readers[0].final["content"] == whole == asked.now()["content"]
    assert (readers[0].final["state"], readers[0].states) == ("done", readers[4].states), "two readers, one text"
    assert readers[0].final["metrics"]["first_token_seconds"] >= 0


def test_who_comes_later_gets_all_of_it_and_strangers_nothing(site: Site, alice: Person, models: ModelServer) -> None:
    models.says("one ", "two ", "three")
    models.hold()
    asked = ask(alice)
    early = by_stream(asked)
    until(lambda: early.text.strip() == "one", "the first piece")
    late = [way(asked) for way in WAYS]
    for reader in late:
        until(lambda reader=reader: reader.text.strip() == "one", "the piece that was there")
    bob = site.person("bob")
    for path in (f"{API}/messages/{asked.id}/stream", f"{API}/messages/{asked.id}", f"/chat/messages/{asked.id}"):
        assert bob.get(path).status_code == 404
    with bob.ws("/ws/live" + asked.topic) as ws:
        assert [one["type"] for one in (ws.next(), ws.next())] == ["hello", "gone"]
    models.go()
    for reader in (early, *late):
        assert reader.join().text == "one two three"
    after = by_stream(asked).join()
    assert (after.text, after.final["state"]) == ("one two three", "done")


def test_an_open_page_is_told_that_its_conversation_moved(site: Site, alice: Person, models: ModelServer) -> None:
    """Once for each question, whoever asked; at once when it moved before the page came; strangers are told nothing."""
    models.says("one")
    asked = ask(alice)
    ident = asked.ended()["conversation_id"]
    shown = re.search(rf'data-live-topic="chat:{ident}:([^"@]+)"', alice.get(f"/chat/{ident}").text)
    assert shown is not None
    topic = f"chat:{ident}:{shown[1]}"
    with alice.ws(f"/ws/live?topics={topic}@thread@0") as ws, alice.sse(f"/live/stream?topics={topic}@thread@0") as sse:
        assert ws.next()["type"] == "hello"
        answered = alice.post(f"{API}/{ident}/messages", {"text": "More.", "engine": ENGINE, "use_context": False})
        assert answered.status_code == 202
        assert ws.next(PATIENCE) == {"type": "reset", "topic": topic}
        assert next(data for _, data in sse.events() if data["type"] != "hello") == {"type": "reset", "topic": topic}
        ws.send({"type": "ping"})
        assert ws.next()["type"] == "pong", "told once"
    with alice.ws(f"/ws/live?topics={topic}@thread@0") as ws:
        assert [ws.next(), ws.next()] == [
            {"type": "hello", "transport": "websocket"},
            {"type": "reset", "topic": topic},
        ]
    with site.person("bob").ws(f"/ws/live?topics={topic}@thread@0") as ws:
        assert [ws.next()["type"], ws.next()] == ["hello", {"type": "gone", "topic": topic}]
    assert site.person("bob").get(f"/chat/{ident}/thread").status_code == 404
    same = alice.get(f"/chat/{ident}/thread?have={shown[1]}")
    assert (same.status_code, "More." in same.text) == (200, True)
    now = re.search(rf'data-live-topic="chat:{ident}:([^"@]+)"', same.text)
    assert now is not None
    assert alice.get(f"/chat/{ident}/thread?have={now[1]}").status_code == 204


def test_who_loses_the_line_again_and_again_loses_and_doubles_nothing(alice: Person, models: ModelServer) -> None:
    """A stream for programs by Last-Event-ID, a page by socket; both cut at random places of 300 pieces."""
    draw = random.Random(7)
    pieces = [f"{number}-ü " for number in range(300)]
    models.says(*pieces)
    models.pause = 0.01
    asked = ask(alice)
    cuts = [0, 0]

    def read_on(reading: Reading) -> None:
        while reading.final is None:
            with asked.stream(reading.last_id) as stream:
                left = draw.randint(1, 6)
                for ident, data in stream.events():
                    reading.take(ident, data)
                    left -= data["type"] == "text"
                    if left <= 0:
                        cuts[0] += 1
                        break

    def look_on(reading: Reading) -> None:
        while True:
            ws = alice.ws("/ws/live" + asked.topic)
            for _ in range(draw.randint(2, 8)):
                data = ws.next(PATIENCE)
                assert data is not None
                if data["type"] == "fragment":
                    reading.shows(words(data["html"]))
                    if 'data-final="true"' in data["html"]:
                        return ws.close()
            cuts[1] += 1
            ws.vanish()

    readers = Reading(read_on), Reading(look_on)
    for reader in readers:
        reader.join()
        grows(reader)
        assert reader.text.strip() == "".join(pieces).strip()
    assert min(cuts) >= 3, cuts
    assert asked.now()["content"] == "".join(pieces).strip()


@pytest.mark.parametrize("pouring", [False, True], ids=["while it thinks", "while it pours"])
def test_stopped_in_the_middle_the_model_stops(alice: Person, models: ModelServer, pouring: bool) -> None:
    """M018: what is written stays, for everybody who reads."""
    if pouring:
        models.says(*["word "] * 100_000)
        models.pause = 0.001
    else:
        models.says("word ", "never")
        models.hold()
    asked = ask(alice)
    readers = [way(asked) for way in WAYS]
    for reader in readers:
        until(lambda reader=reader: reader.text, "it is being written")
    began = time.monotonic()
    assert asked.stop().status_code == 200
    assert models.left.wait(5), "the model's server still writes"
    took = time.monotonic() - began
    assert took < 2, f"stopped after {took:.1f} s"
    shown = asked.ended()
    assert shown["state"] == "cancelled"
    assert shown["content"].startswith("word")
    assert "never" not in shown["content"]
    for reader in readers:
        reader.join()
        assert reader.text.strip() == shown["content"].strip(), "everybody keeps the same words"
    assert asked.stop().status_code == 409
    alice.finished(asked.task_id)


def test_stopped_in_the_middle_the_child_of_a_model_file_rests(alice: Person) -> None:
    pytest.importorskip("ctransformers")
    for _ in range(5):  # what it writes is noise, and noise may end early
        asked = ask(alice, "the of and to", "ggml:slow.gguf")
        reader = by_stream(asked)
        until(lambda reader=reader: reader.text or reader.over, "the model file writes", 60)
        child = next(one for one in psutil.Process().children(recursive=True) if is_resident(one) and busy(one))
        began = time.monotonic()
        if asked.stop().status_code == 200:
            break
    until(lambda: not busy(child), "its child rests", 5)
    took = time.monotonic() - began
    assert took < 2.3, f"it computed on for {took:.1f} s"  # a look at its clock takes 0.3 s
    shown = asked.ended()
    assert shown["state"] == "cancelled"
    assert reader.join().final["content"] == shown["content"] != ""
    again = ask(alice, "the of and to", "ggml:slow.gguf")
    until(lambda: again.now()["content"], "the next answer is written by it", 60)
    again.stop()


def is_resident(process: psutil.Process) -> bool:
    """A child that stays with a model; the embedder's is one too, and rests."""
    try:
        return "resident" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def busy(process: psutil.Process) -> bool:
    """It computes now: of the next 0.3 s it takes more than a tenth."""
    try:
        before = sum(process.cpu_times()[:2])
        time.sleep(0.3)
        return sum(process.cpu_times()[:2]) - before > 0.03
    except psutil.NoSuchProcess:
        return False

"""Models pulled: from a hub and by an Ollama server, both local fakes that speak their protocols, well and badly."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.engines.test_calls import add
from tests.fakes import tiny_gguf
from tests.fakes.http_server import FakeSite, Request
from tests.fakes.lab import Lab, die_at_the_end
from webapp.core.errors import BadRequest, Forbidden, Invalid, NoModel, TaskCancelled, Upstream
from webapp.engines import hub, local, ollama, servers, service
from webapp.runtime import Runtime

REPO = "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"
NAME = "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_gguf.write(tmp_path_factory.mktemp("hub") / "x.gguf").read_bytes()


class Hub(FakeSite):
    """Lists files with their checksums, redirects to where they lie, and serves ranges, as the real one does."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data, self.cut, self.ranges = data, 0, True
        self.sha = hashlib.sha256(data).hexdigest()
        rows = [self.row(NAME), self.row("tinyllama-1.1b-chat-v1.0.Q8_0.gguf", size=10 * len(data)),
                {"type": "file", "path": "README.md", "size": 12, "oid": "ab"},
                self.row("big.Q2_K-00001-of-00003.gguf", size=1)]  # fmt: skip
        self.page(f"/api/models/{REPO}/tree/main?recursive=true", json.dumps(rows).encode())
        self.redirect(f"/{REPO}/resolve/main/{NAME}", "/store/file")
        self.script("/store/file", self.serve)

    def row(self, path: str, size: int | None = None) -> dict[str, Any]:
        size = len(self.data) if size is None else size
        return {"type": "file", "path": path, "size": size, "lfs": {"oid": self.sha, "size": size}}

    def serve(self, connection: Any, request: Request) -> None:
        start = int(request.headers.get("range", "bytes=0-")[6:-1]) if self.ranges else 0
        body = self.data[start:]
        head = f"Content-Length: {len(body)}\r\nContent-Range: bytes {start}-{len(self.data) - 1}/{len(self.data)}\r\n"
        status = "206 Partial" if start else "200 OK"
        connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body[: self.cut or len(body)])

    def asked(self) -> list[str]:
        return [one.headers.get("range", "all") for one in self.requests if one.path == "/store/file"]


@pytest.fixture
def site(data: bytes) -> Iterator[Hub]:
    with Hub(data) as site:
        yield site


@pytest.fixture
def rt(make_rt: Callable[..., Runtime], site: Hub, tmp_path: Path) -> Runtime:
    return make_rt(HF_ENDPOINT=site.url("")[:-1] if site.url("").endswith("/") else site.url(""),
                   BRAINSTEM_MODELS_DIR=str(tmp_path / "models"))  # fmt: skip


def load(rt: Runtime, wanted: hub.Wanted, **more: Any) -> list[int]:
    told: list[int] = []
    hub.load(rt, wanted, **{"timeout": 30, "cancelled": lambda: False, "on_bytes": told.append, **more})
    return told


def test_a_short_name_becomes_a_checked_file(rt: Runtime, site: Hub, data: bytes) -> None:
    wanted = hub.find(rt, "TinyLlama")
    assert (wanted.repo, wanted.name, wanted.size) == (REPO, NAME, len(data))
    assert load(rt, wanted)[-1] == len(data)
    path = local.folder(rt) / NAME
    assert path.read_bytes() == data
    assert path.with_name(NAME + ".sha256").read_text() == f"{site.sha}  {NAME}\n"
    assert hub.is_here(rt, wanted)
    assert [one.name for one in local.folder(rt).iterdir() if "part" in one.name] == []
    [info] = service.available(rt)
    assert f"sha256:{site.sha[:12]}" in info.details["version"]


@pytest.mark.parametrize(("name", "expected"), [(REPO, NAME), (f"{REPO}:q8_0", "tinyllama-1.1b-chat-v1.0.Q8_0.gguf")])
def test_which_file_of_a_repository(rt: Runtime, name: str, expected: str) -> None:
    assert hub.find(rt, name).name == expected


def test_a_download_that_broke_off_goes_on_where_it_was(rt: Runtime, site: Hub, data: bytes) -> None:
    wanted = hub.find(rt, "tinyllama")
    site.cut = 100_000
    with pytest.raises(Upstream) as caught:
        load(rt, wanted)
    assert caught.value.retryable
    assert not (local.folder(rt) / NAME).exists()
    site.cut = 0
    assert load(rt, wanted)[0] == 100_000
    assert site.asked() == ["all", "bytes=100000-"]
    assert (local.folder(rt) / NAME).read_bytes() == data


def test_a_hub_without_ranges_begins_anew(rt: Runtime, site: Hub, data: bytes) -> None:
    wanted = hub.find(rt, "tinyllama")
    site.cut = 100_000
    with pytest.raises(Upstream):
        load(rt, wanted)
    site.cut, site.ranges = 0, False
    load(rt, wanted)
    assert (local.folder(rt) / NAME).read_bytes() == data


def test_a_damaged_file_never_becomes_a_model(rt: Runtime, site: Hub, data: bytes) -> None:
    wanted = hub.find(rt, "tinyllama")
    site.data = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(Upstream) as caught:
        load(rt, wanted)
    assert (caught.value.code, caught.value.retryable) == ("checksum", True)
    assert list(local.folder(rt).iterdir()) == [], "the next try begins anew"


def test_what_is_no_model_is_refused_whatever_its_checksum(rt: Runtime, site: Hub) -> None:
    site.data = b"<html>not a model</html>"
    site.sha = hashlib.sha256(site.data).hexdigest()
    with pytest.raises(Invalid, match="not a usable GGUF"):
        load(rt, hub.Wanted(REPO, NAME, len(site.data), site.sha))
    assert not (local.folder(rt) / NAME).exists()


def test_more_than_was_announced_is_refused(rt: Runtime, site: Hub, data: bytes) -> None:
    wanted = hub.find(rt, "tinyllama")
    site.data = data + b"x" * 5_000_000
    with pytest.raises(Exception, match="more than|larger than"):
        load(rt, wanted)
    part = next(local.folder(rt).iterdir())
    assert part.stat().st_size <= len(data)


def test_a_cancelled_download_stops_soon_and_keeps_what_is_there(rt: Runtime, site: Hub, data: bytes) -> None:
    def drip(connection: Any, request: Request) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        for start in range(0, len(data), 1000):
            connection.sendall(data[start : start + 1000])
            if request.hung_up.wait(0.01):
                return

    site.script("/store/file", drip)
    told: list[int] = []
    begun = time.monotonic()
    with pytest.raises(TaskCancelled):
        load(rt, hub.find(rt, "tinyllama"), on_bytes=told.append, cancelled=lambda: len(told) > 5)
    assert time.monotonic() - begun < 5
    assert next(local.folder(rt).iterdir()).stat().st_size > 0


@pytest.mark.parametrize(
    "name", ["", "x", "../../etc/passwd", "a/../b", "a/b/../../c.gguf", "http://x/y", "a/b:c d", "a b/c", "-/é"]
)
def test_names_that_are_no_models(rt: Runtime, site: Hub, name: str) -> None:
    with pytest.raises(BadRequest):
        hub.find(rt, name)
    assert not site.requests


def test_a_hub_that_lies_about_its_files(rt: Runtime, site: Hub) -> None:
    for rows in (b"[]", b'{"error":"x"}', b"no json", b'[{"path":"../../x.gguf","lfs":{"oid":"zz","size":5}}]',
                 json.dumps([{"path": "x.gguf", "lfs": {"oid": "a" * 64, "size": -1}}]).encode()):  # fmt: skip
        site.page(f"/api/models/{REPO}/tree/main?recursive=true", rows)
        with pytest.raises((NoModel, Upstream)):
            hub.find(rt, "tinyllama")


def test_without_a_hub_it_says_what_to_do(make_rt: Callable[..., Runtime]) -> None:
    rt = make_rt(HF_ENDPOINT="http://127.0.0.1:9")
    with pytest.raises(Upstream) as caught:
        hub.find(rt, "tinyllama")
    assert "cannot be reached from here" in caught.value.message
    assert str(local.folder(rt)) in str(caught.value.suggestion)
    assert "HF_ENDPOINT" in str(caught.value.suggestion)


# -- as tasks --------------------------------------------------------------------------------------------------------


def test_a_pull_is_a_task_with_progress_in_bytes(rt: Runtime, data: bytes) -> None:
    lab, cast = Lab(rt), make_cast(rt)
    task_id = lab.start_kind("models.pull", {"model": "tinyllama"}, cast.root)
    lab.run("workflows")
    row = lab.row(task_id)
    assert (row.status, row.result["model"], row.result["bytes"]) == ("completed", f"ggml:{NAME}", len(data))
    told = [event.data for event in lab.events(task_id) if event.data and "bytes" in event.data]
    assert told
    assert told[0]["total"] == len(data)
    again = lab.start_kind("models.pull", {"model": "tinyllama"}, cast.root)
    lab.run("workflows")
    assert lab.status(again) == "completed", "what is there is not loaded twice"


def test_pulled_twice_it_is_one_file(rt: Runtime, site: Hub, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker dies when all is done: the file is there, checked, and no byte of it is asked for again."""
    lab, cast = Lab(rt), make_cast(rt)
    had = die_at_the_end(monkeypatch, "models.pull")
    task_id = lab.start_kind("models.pull", {"model": "tinyllama"}, cast.root)
    lab.crash("workflows")
    [kept] = local.folder(rt).glob(f"**/{NAME}")
    written = kept.stat().st_mtime_ns
    lab.take_over()
    lab.run_all("workflows")
    row = lab.row(task_id)
    assert (row.status, row.result) == ("completed", had[0])
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == (data, written)


def test_only_administrators_pull(rt: Runtime) -> None:
    lab, cast = Lab(rt), make_cast(rt)
    with pytest.raises(Forbidden):
        lab.start_kind("models.pull", {"model": "tinyllama"}, cast.alice)


# -- Ollama ----------------------------------------------------------------------------------------------------------


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


LAYERS = ({"status": "pulling manifest"}, {"status": "pulling aa", "digest": "sha256:aa", "total": 1000},
          {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 400},
          {"status": "pulling bb", "digest": "sha256:bb", "total": 1000, "completed": 1000},
          {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 1000})  # fmt: skip


@pytest.fixture
def lab_server() -> Iterator[FakeSite]:
    with FakeSite() as site:
        site.page("/v1/models", b'{"data":[{"id":"llama3:latest"}]}')
        site.page("/api/version", b'{"version":"0.5.1"}')
        tag = {"name": "llama3:latest", "size": 4_661_224_676, "modified_at": "2026-01-02T03:04:05Z",
               "digest": "365c0bd3c000", "details": {"family": "llama", "parameter_size": "8.0B"}}  # fmt: skip
        site.page("/api/tags", json.dumps({"models": [tag]}).encode())
        yield site


@pytest.fixture
def ollama_rt(make_rt: Callable[..., Runtime], lab_server: FakeSite) -> Runtime:
    rt = make_rt()
    add(rt, "ollama", lab_server.url("/v1"))
    return rt


def pull(rt: Runtime, **more: Any) -> list[tuple[str, int, int]]:
    [server] = servers.servers(rt)
    return list(ollama.pull(rt, server, "llama3", **{"timeout": 10, "cancelled": lambda: False, **more}))


def test_bytes_of_all_layers_are_summed(ollama_rt: Runtime, lab_server: FakeSite) -> None:
    lab_server.page("/api/pull", lines(*LAYERS, {"status": "success"}))
    told = pull(ollama_rt)
    assert [one[1:] for one in told] == [(0, 0), (0, 1000), (400, 1000), (1400, 2000), (2000, 2000), (2000, 2000)]
    assert json.loads(lab_server.requests[-1].body) == {"model": "llama3", "stream": True}


def test_a_pull_by_a_server_as_a_task(ollama_rt: Runtime, lab_server: FakeSite) -> None:
    lab, cast = Lab(ollama_rt), make_cast(ollama_rt)
    lab_server.page("/api/pull", lines(*LAYERS))  # it breaks off
    task_id = lab.start_kind("models.pull", {"model": "llama3", "server": "ollama"}, cast.root)
    lab.run("workflows")
    assert lab.status(task_id) == "retrying"
    lab.sql("UPDATE tasks SET due_at = 1 WHERE id = :id", id=task_id)
    lab.make_due()
    lab_server.page("/api/pull", lines(*LAYERS, {"status": "success"}))
    lab.run("workflows")
    assert lab.row(task_id).result == {"model": "openai:llama3@ollama", "server": "ollama", "bytes": 2000}


@pytest.mark.parametrize(
    "junk",
    [b'{"error":"pull model manifest: file does not exist"}\n', b"no json\n", b"[]\n", b"{" + b"x" * 200_000, b""],
)
def test_a_pull_that_cannot_be(ollama_rt: Runtime, lab_server: FakeSite, junk: bytes) -> None:
    lab_server.page("/api/pull", junk)
    with pytest.raises(Upstream):
        pull(ollama_rt)


def test_numbers_that_lie_stay_within_their_total(ollama_rt: Runtime, lab_server: FakeSite) -> None:
    odd = ({"status": "x", "digest": "a", "total": 10, "completed": 10**30}, {"status": "x", "digest": "b", "total": -5},
           {"status": "x", "digest": "c", "total": 10, "completed": "all"}, {"status": None, "total": True})  # fmt: skip
    lab_server.page("/api/pull", lines(*odd, {"status": "success"}))
    assert pull(ollama_rt)[-1] == ("success", 10, 20)


def test_a_cancelled_pull_hangs_up(ollama_rt: Runtime, lab_server: FakeSite) -> None:
    def slow(connection: Any, request: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not request.hung_up.wait(0.02):
            connection.sendall(lines(LAYERS[2]))

    lab_server.script("/api/pull", slow)
    begun = time.monotonic()
    with pytest.raises(TaskCancelled):
        pull(ollama_rt, cancelled=lambda: time.monotonic() - begun > 0.5)
    assert time.monotonic() - begun < 3
    assert lab_server.idle()


def test_what_an_ollama_tells_of_its_models(ollama_rt: Runtime) -> None:
    [server] = servers.servers(ollama_rt)
    [tag] = ollama.tags(ollama_rt, server)
    assert (tag["size"], tag["digest"], tag["family"]) == (4_661_224_676, "sha256:365c0bd3c000", "llama")
    assert ollama.speaks(ollama_rt, server)

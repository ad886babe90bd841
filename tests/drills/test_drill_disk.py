"""F21: a volume is full. Uploads and writes say so with 507 or 503, reading goes on, space brings everything back."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.drills.harness import QUICK, Cluster, Postgres, tell, until
from webapp.core import migrate
from webapp.core.db import make_engine

pytestmark = [pytest.mark.drill, pytest.mark.slow]

API = "/api/v1/knowledge"
MB = 2**20
VOLUME = 128  # MB


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "volume"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={VOLUME}m", "tmpfs", str(path)], capture_output=True)
    if done.returncode:
        pytest.skip("a small volume needs the right to mount")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(volume: Path) -> Path:
    """Nothing is left, not even for one more page of a file."""
    filler = volume / "filler"
    with filler.open("wb", buffering=0) as out:
        for size in (MB, 4096, 1):
            with_space = True
            while with_space:
                try:
                    with_space = bool(out.write(b"x" * size))
                except OSError:
                    with_space = False
    assert os.statvfs(volume).f_bavail == 0
    return filler


def send(http: Any, url: str, into: str, size: int = 200_000) -> Any:
    files = {"files": ("a.txt", io.BytesIO(b"Words of a file. " * (size // 17)), "text/plain")}
    return http.post(f"{url}{API}/collections/{into}/files", files=files, timeout=60)


def post(http: Any, server: Server, path: str, body: dict[str, Any]) -> Any:
    return http.post(server.url + path, json=body, timeout=60)


@pytest.mark.parametrize("where", ["database", "uploads and models"])
def test_f21_full_volume(where: str, make_server: Callable[..., Server], volume: Path, tmp_path: Path) -> None:
    """Once the whole home is on the full volume, once only its files and models are."""
    import requests

    home = volume / "home" if where == "database" else tmp_path / "home"
    home.mkdir(mode=0o700)
    if where != "database":
        for name in ("files", "models"):
            (volume / name).mkdir()
            (home / name).symlink_to(volume / name)
    server = make_server({"BRAINSTEM_DEMO": "0"}, home=home)
    http = requests.Session()
    into = post(http, server, f"{API}/collections", {"name": "Papers"}).json()["id"]
    assert send(http, server.url, into).status_code == 201
    kept = post(
        http, server, f"{API}/collections/{into}/documents", {"id": "a", "text": "Whales sing at night."}
    ).json()

    def files() -> set[str]:
        return {path.name for path in (home / "files").rglob("*") if path.is_file()}

    until(lambda: http.get(f"{server.url}{API}/collections/{into}/sources", timeout=30).json()["sources"][0]["state"]
          == "ready", 60, "the file is read")  # fmt: skip
    whole, process = files(), server.process
    filler = fill(volume)

    answers = [send(http, server.url, into, 2 * MB) for _ in range(5)]
    refused = [one.json() for one in answers]
    for answer, told in zip(answers, refused, strict=True):
        assert answer.status_code in (503, 507), answer.text
        assert told["detail"]
    assert files() == whole, "no part of a file is left"
    if where == "database":
        large = {"documents": [{"id": f"d{n}", "text": f"{n} " + "words " * 2000} for n in range(400)]}
        answer = post(http, server, f"{API}/collections/{into}/documents/batch", large)
        assert answer.status_code in (503, 507), answer.text
        assert answer.json()["code"] in ("storage_full", "unavailable")
    for path in (f"{API}/documents/{kept['document_id']}", f"{API}/collections/{into}", "/api/v1/health"):
        assert http.get(server.url + path, timeout=30).status_code == 200, path
    found = post(http, server, f"{API}/search", {"query": "whales", "mode": "keyword"})
    assert found.status_code == 200, found.text
    assert found.json()["results"][0]["document_id"] == kept["document_id"]

    filler.unlink()
    took = until(lambda: send(http, server.url, into).status_code == 201, 30, "there is room again")
    after = post(http, server, f"{API}/collections/{into}/documents", {"id": "b", "text": "Whales sleep by day."})
    assert after.status_code == 201, after.text
    assert server.process is process, "nobody had to start it again"
    assert process.poll() is None
    tell("F21", "embedded", volume=where, refused=len(refused), back_after=took)


@pytest.mark.services
def test_f21_full_volume_of_postgres(volume: Path, tmp_path: Path) -> None:
    """The tables' volume is full: what is written is refused with its reason, what is there is read and found."""
    wal = tmp_path / "wal"
    wal.mkdir()
    postgres = Postgres(volume, wal=wal, max_wal_size="64MB", shared_buffers="16MB").start()
    url = postgres.url + "/postgres"
    engine = make_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    migrate.upgrade(engine)
    engine.dispose()
    stack = Cluster(tmp_path / "stack", QUICK, url, {"WEB_CONCURRENCY": "1"}, workers=("all",), live=False)
    try:
        _full_postgres(stack.start(), volume)
    finally:
        stack.close()
        with contextlib.suppress(AssertionError):
            postgres.stop("immediate")


def _full_postgres(stack: Cluster, volume: Path) -> None:
    into = stack.post(f"{API}/collections", {"name": "Papers"}).json()["id"]
    papers = f"{API}/collections/{into}/documents"
    kept = stack.post(papers, {"id": "a", "text": "Whales sing at night."}).json()["document_id"]
    tasks = stack.run_many(4, "steps", {"steps": 40, "pause": 0.1})
    until(lambda: len(stack.executions(tasks)) > 4, 30, "they run")
    pids = {process.pid for process in stack.processes}
    filler = fill(volume)

    refused = 0
    for number in range(40):  # small ones may still find room in a page that is there
        large = {"documents": [{"id": f"d{number}-{n}", "text": f"{n} " + os.urandom(3000).hex()} for n in range(30)]}
        answer = stack.post(f"{papers}/batch", large, timeout=60)
        if answer.status_code == 200:
            continue
        assert answer.status_code in (503, 507), answer.text
        assert answer.json()["detail"]
        refused += 1
    assert refused > 5
    for path in (f"{API}/documents/{kept}", f"{API}/collections/{into}", "/api/v1/health"):
        answer = stack.http.get(stack.url + path, timeout=30)
        assert answer.status_code == 200, f"{path}: {answer.text}"
    found = stack.post(f"{API}/search", {"query": "whales", "mode": "keyword"})
    assert found.status_code == 200, found.text
    assert found.json()["results"][0]["document_id"] == kept

    filler.unlink()
    room = {"documents": [{"id": "b", "text": "Whales sleep by day."}]}
    took = until(lambda: stack.post(f"{papers}/batch", room).status_code == 200, 30, "there is room again")
    rows = stack.check(tasks, patience=90)
    assert all(row["status"] == "completed" for row in rows.values()), rows
    assert {process.pid for process in stack.processes} == pids, "nobody had to start anything again"
    tell("F21", "distributed", volume="tables", refused=refused, back_after=took,
         crashes=sum(row["crashes"] for row in rows.values()))  # fmt: skip

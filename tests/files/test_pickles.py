"""A27: files that would run code if anybody unpickled them. Nobody does: each is refused or read as what it is."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.site import Site

SEEN: list[str] = []
_watching = False


def _watch(name: str, args: Any) -> None:
    if name == "pickle.find_class" and _watching:
        SEEN.append(str(args))


@pytest.fixture
def watched() -> Iterator[list[str]]:
    """What this process unpickles meanwhile. (A hook cannot be taken away again, so it is told when to look.)"""
    global _watching
    if not getattr(sys, "_brainstem_hook", False):
        sys.addaudithook(_watch)
        sys._brainstem_hook = True  # type: ignore[attr-defined]
    SEEN.clear()
    _watching = True
    yield SEEN
    _watching = False


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(name, data)
    return out.getvalue()


def npy(data: bytes) -> bytes:
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    head += b" " * (64 - (10 + len(head) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data


FORMS: dict[str, Callable[[bytes, Path], bytes]] = {
    "a.pkl": lambda data, _: data,
    "a.txt": lambda data, _: data,
    "a.joblib": lambda data, _: data,
    "a.pt": lambda data, _: zipped("archive/data.pkl", data),
    "a.docx": lambda data, _: zipped("archive/data.pkl", data),
    "a.xlsx": lambda data, _: zipped("xl/workbook.bin", data),
    "a.npy": lambda data, _: npy(data),
    "b.txt": lambda data, _: npy(data),
    "a.md": lambda _, path: f'--- !!python/object/apply:os.mkdir ["{path}"]\n'.encode(),
    "a.html": lambda _, path: f'<p>!!python/object/apply:os.mkdir ["{path}"]</p>'.encode(),
    "a.csv": lambda _, path: f'a,b\n!!python/object/apply:os.mkdir ["{path}"],1\n'.encode(),
    "a.json": lambda _, path: f'{{"py/reduce": [{{"py/function": "os.mkdir"}}, ["{path}"]]}}'.encode(),
}


def test_the_bomb_is_one(tmp_path: Path, watched: list[str]) -> None:
    """Else the tests below would pass on harmless bytes."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "canary")))
    assert (tmp_path / "canary").is_dir()
    assert any("mkdir" in one for one in watched)


@pytest.mark.parametrize("name", FORMS)
def test_files_are_refused_or_read_as_text(site: Site, tmp_path: Path, watched: list[str], name: str) -> None:
    canary = tmp_path / "canary"
    data = FORMS[name](pickle.dumps(Bomb(canary)), canary)
    client = site.program(site.cast.alice)
    given = {"file": (io.BytesIO(data), name)}
    answer = client.post("/api/v1/files/", data=given, content_type="multipart/form-data")
    assert answer.status_code in (201, 400, 415), answer.text
    if answer.status_code == 201:
        for kind in ("summary", "data_analysis"):
            body = {"title": "x", "task_type": kind, "task_config": {"upload_ids": [answer.json["id"]]}}
            assert client.post("/api/v1/utils/ai-tasks/", json=body).status_code in (201, 400, 404)
    of = f"/api/v1/knowledge/collections/{client.post('/api/v1/knowledge/collections', json={'name': 'x'}).json['id']}"
    client.post(f"{of}/files", data={"files": (io.BytesIO(data), name)}, content_type="multipart/form-data")
    for queue in ("inference", "crawling", "interactive"):
        site.lab.run_all(queue)
    assert not canary.exists(), "code in it ran"
    assert not [one for one in watched if "mkdir" in one]

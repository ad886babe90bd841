"""The vector index: a folder of one process, or a server; deleted, damaged, held by somebody else, down."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import free_port
from webapp.core.chroma import Absent, Folder, Server
from webapp.core.chroma_apart import FolderApart
from webapp.core.vectors import IndexMissing, IndexTrouble

NAME = "kb-0190-1"


def vectors(count: int, seed: int = 1) -> Any:
    found = np.random.default_rng(seed).normal(size=(count, 24)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture(params=[Folder, FolderApart])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """In this process and in a child of its own."""
    made = request.param(tmp_path / "chroma")
    yield made
    made.close()


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = Path(sys.executable).with_name("chroma")
    port = free_port()
    path = tmp_path_factory.mktemp("chroma-server")
    process = subprocess.Popen([program, "run", "--path", str(path), "--host", "127.0.0.1", "--port", str(port)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    index = Server(f"http://127.0.0.1:{port}")
    deadline = time.monotonic() + 30
    while True:
        try:
            index.ping()
            break
        except IndexTrouble:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield index.url
    process.kill()
    process.wait()


@pytest.fixture(params=["folder", "apart", "server"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param != "server":
        held = {"folder": Folder, "apart": FolderApart}[request.param](tmp_path / "chroma")
        yield held
        held.close()
        return
    made = Server(request.getfixturevalue("server_url"))
    for name in made.names():
        made.drop(name)
    yield made
    made.close()


def test_what_is_put_in_is_found_nearest_first(index: Any) -> None:
    rows = vectors(2500)
    index.add(NAME, range(1, 2501), rows)
    assert index.count(NAME) == 2500
    assert index.ids(NAME) == set(range(1, 2501))
    found = index.query(NAME, rows[41], 5)
    wanted = np.argsort(-(rows @ rows[41]))[:5] + 1
    assert [one for one, _ in found] == list(wanted)
    assert found[0][1] == pytest.approx(1.0, abs=1e-5)
    assert found[3][1] == pytest.approx(float(rows[wanted[3] - 1] @ rows[41]), abs=1e-5)


def test_some_ids_only_also_such_as_are_not_there(index: Any) -> None:
    rows = vectors(200)
    index.add(NAME, range(200), rows)
    found = index.query(NAME, rows[7], 3, ids=[3, 150, 7, 99999])
    assert {one for one, _ in found} == {3, 150, 7}
    assert found[0] == (7, pytest.approx(1.0, abs=1e-5))
    assert index.query(NAME, rows[7], 3, ids=[]) == []
    assert index.query(NAME, rows[7], 3, ids=[99999]) == []


def test_many_sets_are_asked_at_once_and_a_missing_one_costs_the_others_nothing(index: Any) -> None:
    rows = vectors(60)
    names = [f"kb-{number}-1" for number in range(6)]
    for number, name in enumerate(names):
        if number != 3:
            index.add(name, range(number * 10, number * 10 + 10), rows[number * 10 : number * 10 + 10])
    found = index.query_each(names, rows[0], 4)
    assert isinstance(found.pop(3), IndexMissing)
    del names[3]
    assert found == [index.query(name, rows[0], 4) for name in names]
    assert found[0][0] == (0, pytest.approx(1.0, abs=1e-5))
    assert index.query_each([], rows[0], 4) == []


def test_what_is_put_in_comes_out_as_it_was(index: Any) -> None:
    rows = vectors(50)
    index.add(NAME, range(50), rows)
    found = index.stored(NAME, [7, 3, 99999])
    assert set(found) == {3, 7}
    for one in (3, 7):
        assert np.allclose(found[one], rows[one], atol=1e-6)
    assert index.stored(NAME, []) == {}
    assert index.stored(NAME, [99999]) == {}
    with pytest.raises(IndexMissing):
        index.stored("kb-none-1", [1])


def test_adding_again_replaces_and_removing_twice_is_nothing(index: Any) -> None:
    index.add(NAME, [1, 2, 3], vectors(3))
    index.add(NAME, [2], vectors(1, seed=9))
    assert index.count(NAME) == 3
    assert index.query(NAME, vectors(1, seed=9)[0], 1)[0][0] == 2
    index.remove(NAME, [2, 77])
    index.remove(NAME, [2])
    assert index.ids(NAME) == {1, 3}


def test_sets_that_are_not_there(index: Any) -> None:
    with pytest.raises(IndexMissing):
        index.query("kb-none-1", vectors(1)[0], 3)
    assert index.count("kb-none-1") == 0
    assert index.ids("kb-none-1") == set()
    index.remove("kb-none-1", [1])
    index.drop("kb-none-1")
    index.add("kb-one-1", [1], vectors(1))
    index.add("kb-two-1", [1], vectors(1))
    assert sorted(index.names()) == ["kb-one-1", "kb-two-1"]
    index.drop("kb-one-1")
    assert index.names() == ["kb-two-1"]
    with pytest.raises(IndexMissing):
        index.query("kb-one-1", vectors(1)[0], 3)
    index.add("kb-one-1", [5], vectors(1))
    assert index.ids("kb-one-1") == {5}


def test_another_dimension_is_refused_and_the_index_goes_on(index: Any) -> None:
    index.add(NAME, [1], vectors(1))
    with pytest.raises(IndexTrouble, match="dimension"):
        index.add(NAME, [2], np.ones((1, 3), np.float32))
    assert index.ids(NAME) == {1}


def test_it_is_there_after_closing(folder: Any) -> None:
    folder.add(NAME, [1, 2], vectors(2))
    folder.close()
    again = type(folder)(folder.path)
    assert again.ids(NAME) == {1, 2}
    again.close()


def test_a_deleted_folder_is_seen_at_once_and_filled_again(folder: Any) -> None:
    folder.add(NAME, [1, 2], vectors(2))
    shutil.rmtree(folder.path)
    with pytest.raises(IndexMissing) as told:
        folder.query(NAME, vectors(1)[0], 1)
    assert "reindex" in str(told.value.suggestion)
    folder.add(NAME, [3], vectors(1))
    assert folder.ids(NAME) == {3}


@pytest.mark.parametrize("kind", [Folder, FolderApart])
@pytest.mark.parametrize("damage", [b"no database at all " * 500, b""])
def test_a_damaged_folder_is_told_and_can_be_erased(tmp_path: Path, damage: bytes, kind: Any) -> None:
    first = kind(tmp_path / "chroma")
    first.add(NAME, [1, 2], vectors(2))
    first.close()
    (tmp_path / "chroma" / "chroma.sqlite3").write_bytes(damage)
    for name in ("chroma.sqlite3-wal", "chroma.sqlite3-shm"):
        (tmp_path / "chroma" / name).unlink(missing_ok=True)
    index = kind(tmp_path / "chroma")
    with pytest.raises(IndexTrouble):
        index.query(NAME, vectors(1)[0], 1)
    index.erase()
    index.add(NAME, [4], vectors(1))
    assert index.ids(NAME) == {4}
    index.close()


def test_a_second_process_may_not_open_the_folder(folder: Any) -> None:
    folder.add(NAME, [1], vectors(1))
    script = (
        "import sys; from pathlib import Path; from webapp.core.chroma import Folder\n"
        "try: Folder(Path(sys.argv[1])).names()\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder.path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("IndexHeld The vector index is held by the running server")


def test_a_crash_of_the_child_costs_one_question(tmp_path: Path) -> None:
    index = FolderApart(tmp_path / "chroma")
    index.add(NAME, [1, 2], vectors(2))
    pid = index.status()["pid"]
    psutil.Process(pid).kill()
    assert index.ids(NAME) == {1, 2}, "while idle: nobody notices, and nothing that was put in is lost"
    assert index.status()["pid"] != pid
    index.close()


def test_a_killed_owner_hands_the_folder_over(tmp_path: Path) -> None:
    script = (
        "import os, sys, signal; import numpy as np; from pathlib import Path\n"
        "from webapp.core.chroma_apart import FolderApart\n"
        "FolderApart(Path(sys.argv[1])).add('kb-x-1', [1], np.ones((1, 4), np.float32))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "chroma")], timeout=60)
    index = FolderApart(tmp_path / "chroma")
    assert index.ids("kb-x-1") == {1}
    index.close()


def test_a_server_that_is_not_there() -> None:
    index = Server(f"http://127.0.0.1:{free_port()}")
    for ask in (index.ping, index.names, lambda: index.query(NAME, vectors(1)[0], 1)):
        with pytest.raises(IndexTrouble) as told:
            ask()
        assert told.value.retryable
    index.close()


def test_a_deployment_without_one_says_so() -> None:
    with pytest.raises(IndexTrouble, match="No vector index"):
        Absent().query(NAME, vectors(1)[0], 1)


def test_nothing_is_imported_or_made_before_the_first_use(make_rt: Callable[..., Any]) -> None:
    rt = make_rt()
    assert not (rt.settings.home_dir / "chroma").exists()
    done = subprocess.run([sys.executable, "-c", "import sys, webapp.runtime; print('chromadb' in sys.modules)"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "False"

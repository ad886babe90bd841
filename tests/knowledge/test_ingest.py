"""`brainstem ingest` without a server: it does the work itself, and a kill costs at most one file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, build_runtime
from webapp.knowledge.models import Chunk, Document, DocumentVersion, Source
from webapp.runtime import Runtime


def rows(rt: Runtime, model: Any) -> list[Any]:
    from sqlalchemy import select

    with rt.unit(write=False) as db:
        return list(db.scalars(select(model).order_by(model.id)))


def command(home: Path, *args: str, **env: str) -> list[Any]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BRAINSTEM")}
    full = {**clean, "BRAINSTEM_HOME": str(home), "PYTHONPATH": str(ROOT), "BRAINSTEM_BEAT_SECONDS": "0.5", **env}
    return [[sys.executable, "-m", "webapp.cli", "ingest", *args], full]


def run(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    line, full = command(home, *args, **env)
    return subprocess.run(line, env=full, capture_output=True, text=True, timeout=120, check=False)


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        (folder / f"note-{number:04}.txt").write_text(f"Note {number}. " + f"Words of lamp {number}. " * 40)


def test_a_folder_is_read_with_an_outcome_for_each_and_again_without_effect(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "papers"
    fill(folder, 3)
    (folder / "deep").mkdir()
    (folder / "deep" / "page.md").write_text("# Deep\n\nWords.")
    (folder / "picture.exe").write_bytes(b"MZ")
    (folder / ".hidden.txt").write_text("hidden")
    done = run(home, str(folder), "-c", "Papers")
    assert (done.returncode, done.stdout.count("new ")) == (0, 4), done.stdout + done.stderr
    again = run(home, str(folder), "-c", "Papers")
    assert again.stdout.count("unchanged") == 4, again.stdout + again.stderr
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    failed = run(home, str(folder / "broken.pdf"), str(folder / "nowhere"), "-c", "Papers")
    assert failed.returncode == 1
    assert "The PDF is damaged" in failed.stderr
    assert "nothing at" in failed.stderr
    (tmp_path / "empty").mkdir()
    empty = run(home, str(tmp_path / "empty"))
    assert (empty.returncode, empty.stdout) == (1, "")
    assert "no file to read in" in empty.stderr
    rt = build_runtime({"BRAINSTEM_HOME": str(home)})
    assert len(rows(rt, Document)) == 4
    rt.close()


def test_addresses_inside_are_refused_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path / "home", "http://169.254.169.254/latest")
    assert done.returncode == 1
    assert done.stderr.startswith("brainstem: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("files", [120])
def test_killed_at_random_it_ends_as_if_it_had_not_been(tmp_path: Path, files: int) -> None:
    home, folder = tmp_path / "home", tmp_path / "papers"
    fill(folder, files)
    line, env = command(home, str(folder), "-c", "Papers")
    for wanted in (files // 6, files // 2):
        child = subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rt = None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (home / "brainstem.db").exists():
                rt = rt or build_runtime({"BRAINSTEM_HOME": str(home)})
                try:
                    if len(rows(rt, Document)) >= wanted:
                        break
                except Exception:  # the schema is not there yet
                    time.sleep(0.02)
            time.sleep(0.01)
        child.kill()
        child.wait()
        assert rt is not None
        rt.close()
    done = run(home, str(folder), "-c", "Papers", BRAINSTEM_LEASE_SECONDS="1")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    rt = build_runtime({"BRAINSTEM_HOME": str(home)})
    documents = rows(rt, Document)
    assert len(documents) == len(rows(rt, DocumentVersion)) == files
    assert {one.key for one in documents} == {one.key for one in documents if one.version_count == 1}
    chunks = rows(rt, Chunk)
    assert len(chunks) == sum(one.chunk_count for one in documents)
    versions = {one.id: one.text for one in rows(rt, DocumentVersion)}
    assert all(versions[one.version_id][one.start : one.end] == one.text for one in chunks)
    assert {one.state for one in rows(rt, Source)} <= {"ready", "new", "reading"}
    rt.close()

"""`brainstem reindex`: with the server down it works itself, with the server up it leaves the work to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, make_cast
from webapp.core.context import Ctx
from webapp.embedding import service as embedding
from webapp.knowledge.service import collections, documents
from webapp.runtime import Runtime


def brainstem(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "BRAINSTEM_HOME": str(home), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "webapp.cli", *args], env=env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def home(make_rt: Callable[..., Runtime]) -> tuple[Path, Runtime, str]:
    rt = make_rt()
    if not embedding.info(rt, "minilm").available:
        pytest.skip("the weights are not installed")
    cast = make_cast(rt)
    with rt.unit() as db:
        made = collections.create(Ctx(rt, db, cast.alice), "Papers", embedder="minilm")
        collection_id = made.id
    texts = [documents.Incoming(f"d{n}", f"Paper {n}", f"A paper about subject {n}.", "text/plain") for n in range(12)]
    documents.store_many(rt, collection_id, texts)
    return rt.settings.home_dir, rt, collection_id


def test_alone(home: tuple[Path, Runtime, str]) -> None:
    folder, rt, collection_id = home
    done = brainstem(folder, "reindex", "Papers")
    assert done.returncode == 0, done.stderr
    assert "12 waiting" in done.stdout
    assert "12 of 12 passages" in done.stderr
    shutil.rmtree(folder / "chroma")
    checked = brainstem(folder, "reindex", "--check", "--json")
    assert checked.returncode == 1
    [found] = json.loads(checked.stdout)
    assert (found["missing"], found["sound"]) == (12, False)
    assert brainstem(folder, "reindex").returncode == 0
    assert brainstem(folder, "reindex", "--check").returncode == 0
    assert len(rt.vectors.ids(f"kb-{collection_id}-1")) == 12


def test_beside_the_server(home: tuple[Path, Runtime, str]) -> None:
    folder, rt, _ = home
    rt.vectors.names()  # this process holds the index, as the server does
    done = brainstem(folder, "reindex", "--json")
    assert done.returncode == 0, done.stderr
    [task_id] = json.loads(done.stdout)["tasks"]
    from webapp.tasks.models import Task

    with rt.unit(write=False) as db:
        task: Any = db.get(Task, task_id)
        assert (task.kind, task.status) == ("knowledge.reindex", "queued")


def test_a_name_nobody_has(home: tuple[Path, Runtime, str]) -> None:
    done = brainstem(home[0], "reindex", "Nothing")
    assert (done.returncode, done.stderr) == (1, "brainstem: there is no collection Nothing\n")

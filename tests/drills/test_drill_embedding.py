"""kill -9 at random moments while 1,000 passages (320 in the scaled run) are embedded: the same vectors as if nobody had."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
from sqlalchemy import func, select

from tests.conftest import Server, make_cast
from tests.drills.harness import QUICK, scaled
from webapp.core.context import Ctx
from webapp.embedding import service as embedding
from webapp.knowledge import embed
from webapp.knowledge.models import Chunk, Document, VectorRemoval
from webapp.knowledge.ranking import embedding_input
from webapp.knowledge.service import collections, documents
from webapp.knowledge.vectors import index_name
from webapp.runtime import Runtime
from webapp.tasks.models import Task

pytestmark = [pytest.mark.drill, pytest.mark.slow]

WORDS = [
    "crawler",
    "frontier",
    "passage",
    "citation",
    "vector",
    "index",
    "reindex",
    "folder",
    "lease",
    "worker",
    "queue",
    "task",
    "event",
    "bell",
]
PASSAGES = scaled(1000, 320)


def test_killed_while_embedding(
    make_rt: Callable[..., Runtime], make_server: Callable[..., Server], rng: random.Random
) -> None:
    rt = make_rt()
    if not embedding.info(rt, "minilm").available:
        pytest.skip("the weights are not installed")
    collection_id = filled(rt, rng)
    task_id = embed.request(rt, collection_id)
    server = make_server({**QUICK.env, "BRAINSTEM_MAX_CRASHES": "1000"}, start=False, home=rt.settings.home_dir)
    children: list[psutil.Process] = []
    kills = 0
    for _ in range(scaled(20, 3)):
        server.start()
        before = marked(rt, collection_id)
        wait_for(lambda before=before: marked(rt, collection_id) > before or finished(rt, task_id))
        if finished(rt, task_id):
            break
        time.sleep(rng.uniform(0.0, 1.0))  # the random moment
        children += psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
        kills += 1
    server.start()
    wait_for(lambda: finished(rt, task_id), 240)
    server.stop()
    assert kills >= 2, "it was over before anybody could be killed"
    wait_for(lambda: not any(alive(child) for child in children), 10)
    same_as_unkilled(rt, collection_id, str(task_id))


def filled(rt: Runtime, rng: random.Random) -> str:
    cast = make_cast(rt)
    with rt.unit() as db:
        made = collections.create(Ctx(rt, db, cast.alice), "Papers", embedder="minilm")
        collection_id = made.id
    texts = [
        documents.Incoming(f"d{n}", f"Paper {n}", f"{n}: " + " ".join(rng.choices(WORDS, k=60)), "text/plain")
        for n in range(PASSAGES)
    ]
    documents.store_many(rt, collection_id, texts)
    return str(collection_id)


def same_as_unkilled(rt: Runtime, collection_id: str, task_id: str) -> None:
    with rt.unit(write=False) as db:
        chunks = db.execute(select(Chunk.id, Chunk.title, Chunk.text, Chunk.generation)).all()
        assert db.scalar(select(func.sum(Document.pending_chunks))) == 0
        assert db.scalar(select(func.count()).select_from(VectorRemoval)) == 0
        task: Any = db.get(Task, task_id)
        assert task.status == "completed", task.error
        assert task.result["chunks"] == len(chunks)
    assert len(chunks) >= PASSAGES
    assert {chunk.generation for chunk in chunks} == {1}
    name = index_name(collection_id, 1)
    assert rt.vectors.ids(name) == {chunk.id for chunk in chunks}
    vectors = embedding.embed(rt, "minilm", [embedding_input(chunk.title, chunk.text) for chunk in chunks])
    likeness = [
        rt.vectors.query(name, vector, 1, ids=[chunk.id])[0][1] for chunk, vector in zip(chunks, vectors, strict=True)
    ]
    assert float(np.min(likeness)) > 0.99999


def marked(rt: Runtime, collection_id: str) -> int:
    with rt.unit(write=False) as db:
        which = (Chunk.collection_id == collection_id) & (Chunk.generation > 0)
        return int(db.scalar(select(func.count()).select_from(Chunk).where(which)) or 0)


def finished(rt: Runtime, task_id: str | None) -> bool:
    with rt.unit(write=False) as db:
        task = db.get(Task, task_id)
        return task is not None and task.is_final


def alive(child: psutil.Process) -> bool:
    """Not merely its number: that may be somebody else's by now."""
    try:
        return bool(child.is_running() and child.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], Any], patience: float = 120.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)

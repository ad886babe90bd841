"""Embedding through the product beside the bare model: chunks a second of `knowledge.embed`, and the vectors' truth.

The bare loop is what a script would do with the same file and as many threads: tokenise and run batches of 32 in the
order given (and of 8, which is faster here), nothing stored. The product reads rows, embeds in its child process, writes to
Chroma and marks the rows.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

TOKENS = 200  # about what a passage has


def run(report: Report, quick: bool) -> None:
    count = 96 if quick else 256
    with tempfile.TemporaryDirectory() as folder:
        rt = _runtime(Path(folder))
        try:
            texts = _texts(count)
            rounds = [_round(rt, Path(folder), texts, number) for number in range(1 if quick else 5)]
            report.raw["rounds"] = rounds
            _throughput(report, rounds)
            _queries(report, rt)
            _truth(report, rt, texts[:64])
        finally:
            rt.close()
    report.notes.append(f"{count} passages of about {TOKENS} tokens, {os.cpu_count()} cores, all-MiniLM-L6-v2 fp32")


def _throughput(report: Report, rounds: list[dict[str, float]]) -> None:
    product, bare32, bare8 = (h.median(one[key] for one in rounds) for key in ("product", "bare32", "bare8"))
    best = max(bare32, bare8)
    report.add("knowledge.embed, chunks a second", f"{product:.1f}", f"bare loop {best:.1f}", f"{product / best:.2f}",
               ">= 0.9", product / best >= 0.9)  # fmt: skip
    report.add("bare loop, batches of 32 / of 8", f"{bare32:.1f} / {bare8:.1f}")


def _runtime(folder: Path) -> Any:
    from webapp import runtime, settings
    from webapp.core import migrate

    rt = runtime.build(settings.load({"BRAINSTEM_HOME": str(folder / "home")}))
    migrate.upgrade(rt.engine)
    return rt


def _texts(count: int) -> list[str]:
    """Sentences of real words in random order: length is what costs, not sense."""
    words = (h.ROOT / "README.md").read_text("utf-8").split() + (h.ROOT / "docs/architecture.md").read_text(
        "utf-8"
    ).split()
    plain = [word for word in words if word.isalpha()]
    chosen = random.Random(7)
    return [" ".join(chosen.choices(plain, k=chosen.randint(TOKENS // 2, TOKENS))) for _ in range(count)]


def _round(rt: Any, folder: Path, texts: list[str], number: int) -> dict[str, float]:
    """One after the other, so that a slower moment of the machine hits both."""
    return {"bare32": _bare(rt, texts, 32), "product": _product(rt, texts, number), "bare8": _bare(rt, texts, 8)}


def _bare(rt: Any, texts: list[str], batch: int) -> float:
    import numpy as np

    from webapp.embedding import service

    service.embed(rt, "minilm", ["warm"])
    model = service._get(rt, "minilm")
    arguments = model._arguments()  # type: ignore[attr-defined]
    session, tokenizer = _session(arguments)
    began = time.perf_counter()
    for start in range(0, len(texts), batch):
        found = tokenizer.encode_batch(texts[start : start + batch])
        longest = max(len(one.ids) for one in found)
        tokens, mask = np.zeros((len(found), longest), np.int32), np.zeros((len(found), longest), np.int32)
        for row, one in enumerate(found):
            tokens[row, : len(one.ids)], mask[row, : len(one.ids)] = one.ids, 1
        session.run(None, {"input_ids": tokens, "attention_mask": mask})
    return len(texts) / (time.perf_counter() - began)


def _session(arguments: dict[str, Any]) -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments["threads"]
    session = onnxruntime.InferenceSession(arguments["path"], options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(arguments["tokenizer"])
    tokenizer.no_padding()
    tokenizer.enable_truncation(arguments["window"])
    session.run(None, {"input_ids": [[101, 102]], "attention_mask": [[1, 1]]})
    return session, tokenizer


def _product(rt: Any, texts: list[str], number: int) -> float:
    """Through a task's own function, from rows to rows; reading documents in is not part of it."""
    from webapp.core.context import SYSTEM, Ctx
    from webapp.knowledge import embed
    from webapp.knowledge.cli import Console
    from webapp.knowledge.service import collections, documents

    with rt.unit() as db:
        collection_id = collections.create(Ctx(rt, db, SYSTEM), f"Bench {number}").id
    incoming = [documents.Incoming(f"d{n}", f"Text {n}", text, "text/plain") for n, text in enumerate(texts)]
    documents.store_many(rt, collection_id, incoming)
    found = embed.embed_collection(rt, collection_id, Console("bench", quiet=True))
    return float(found["chunks"] / found["seconds"])


def _queries(report: Report, rt: Any) -> None:
    from webapp.embedding import service

    times = []
    for number in range(200):
        began = time.perf_counter()
        service.embed(rt, "minilm", [f"How long does a lease of worker {number} last?"])
        times.append(1000 * (time.perf_counter() - began))
    report.add("one question, p50 / p95", f"{h.pct(times, 0.5):.1f} / {h.pct(times, 0.95):.1f} ms")
    status = service._get(rt, "minilm")._model.resident.status()  # type: ignore[attr-defined]
    report.add("memory of the embedder's process", f"{status['memory'] / 2**20:.0f} MB")


def _truth(report: Report, rt: Any, texts: list[str]) -> None:
    """Against sentence-transformers where it is installed (the extra `embed`)."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        report.notes.append("sentence-transformers is not installed here: vectors not compared with it")
        return
    from webapp.embedding import service
    from webapp.embedding.minilm import _needed

    ours = service.embed(rt, "minilm", texts)
    theirs = SentenceTransformer(str(_needed()), device="cpu").encode(texts, normalize_embeddings=True)
    lowest = float((ours * theirs).sum(axis=1).min())
    report.add("cosine to sentence-transformers, lowest", f"{lowest:.7f}", goal=">= 0.9999", ok=lowest >= 0.9999)

"""The same search over 100,000 passages in a deployment: rows and words in Postgres, vectors in a Chroma server.

One web process and one question at a time, so that this is the time of a question and not the throughput of a cluster.
BENCH_SEARCH_HOME and BENCH_SEARCH_POSTGRES (the URL of a database) together keep what was filled.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import harness as h
from benchmarks import searching
from benchmarks.harness import Report


def run(report: Report, quick: bool) -> None:
    count, asked = (5_000, 60) if quick else (100_000, 300)
    with ExitStack() as stack:
        home = stack.enter_context(searching.home_folder())
        kept = os.environ.get("BENCH_SEARCH_POSTGRES")
        database = kept or stack.enter_context(h.private_postgres())
        redis_port = stack.enter_context(h.private_redis())
        chroma_url = stack.enter_context(_chroma(home / "chroma-server"))
        env = h.distributed_env(home, database, redis_port, CHROMA_URL=chroma_url, WEB_CONCURRENCY="1")
        collection_id, key = searching.fill(home, count, env)
        _analyze(database)
        questions = searching.questions(asked)
        _child, port = stack.enter_context(h.server(env, home, "web"))
        for what, options in (
            ("hybrid search", {"mode": "hybrid"}),
            ("  its collection named", {"mode": "hybrid", "collection_ids": [collection_id]}),
            ("by words only", {"mode": "keyword"}),
        ):
            taken, parts = searching.ask(port, key, questions, options)
            goal = (f"<= {searching.GOAL_MS:.0f} ms", h.pct(taken, 0.95) <= searching.GOAL_MS) if what[0] == "h" else ()
            report.add(f"{what}, p50 / p95 ms", f"{h.median(taken):.1f} / {h.pct(taken, 0.95):.1f}", "", "", *goal)
            report.notes.append(
                f"{what.strip()}, median ms inside: " + ", ".join(f"{k} {v:.1f}" for k, v in parts.items())
            )
            report.raw[what.strip()] = taken
    report.notes.append(f"{count:,} passages, {asked} questions one after the other; vectors made up")


def _analyze(database: str) -> None:
    """What autovacuum does within a minute of so many new rows."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as db:
        db.execute("ANALYZE")


@contextmanager
def _chroma(folder: Path) -> Iterator[str]:
    port = h.free_port()
    program = Path(sys.executable).with_name("chroma")
    given = ["run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    child = subprocess.Popen([program, *given], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        h.wait_http(f"{url}/api/v2/heartbeat", child, folder.parent)
        yield url
    finally:
        child.kill()
        child.wait()

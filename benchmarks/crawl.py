"""Crawl of a local site of 1,000 pages: fetch, find links, keep the books; beside Scrapy and the limit of the latency.

The site answers after 50 ms, 16 requests are in flight, so no crawler can do more than 320 pages/s. Ours is the whole
task `crawl.site`; its figures end with the last answer, since pages are taken apart off that path, and that part is
reported apart. Scrapy needs an environment of its own: BENCH_SCRAPY names its Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import ROOT, Report

FLIGHT, DELAY = 16, 0.05


def run(report: Report, quick: bool) -> None:
    pages, repeats = (200, 1) if quick else (1000, 3)
    script, peer = h.peer_script("b5_crawl.py"), os.environ.get("BENCH_SCRAPY", "")
    python = peer or sys.executable
    port = h.free_port()
    given = ["--port", str(port), "--pages", str(pages), "--delay", str(DELAY)]
    if not script.is_file() or not peer:
        report.add("crawl", "not run: set BENCH_SCRAPY to a Python with scrapy and aiohttp")
        return
    site = subprocess.Popen([python, str(script), "serve", *given])
    try:
        _wait(port)
        ours = [_ours(port, pages, whole=number == 0) for number in range(repeats)]
        theirs = [_scrapy(python, script, given) for _ in range(repeats)]
    finally:
        site.terminate()
        site.wait()
    report.raw |= {"ours": ours, "scrapy": theirs}
    limit = FLIGHT / DELAY
    rate, cpu = (h.median(one[key] for one in ours) for key in ("rate", "cpu_ms"))
    their_rate, their_cpu = (h.median(one[key] for one in theirs) for key in ("rate", "cpu_ms"))
    report.add("pages fetched a second", f"{rate:.0f}", f"{their_rate:.0f} Scrapy", f"{rate / limit:.2f} of {limit:.0f}",
               ">= 0.85", rate / limit >= 0.85)  # fmt: skip
    report.add("processor time per page", f"{cpu:.2f} ms", f"{their_cpu:.2f} ms", f"{cpu / their_cpu:.2f}", "<= 0.25",
               cpu / their_cpu <= 0.25)  # fmt: skip
    whole = ours[0]["whole"]
    report.add("the whole crawl, read and stored", f"{pages / whole:.0f} pages/s")
    report.add("pages stored", f"{ours[0]['stored']}", goal=f"= {pages}", ok=ours[0]["stored"] == pages)
    report.notes.append(f"medians of {repeats}; 28 kB and 53 links a page; one process each, the site in another")


def _wait(port: int) -> None:
    import urllib.error
    import urllib.request

    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/p/0.html", timeout=2).read()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError("the site did not come up")


def _scrapy(python: str, script: Path, given: list[str]) -> dict[str, float]:
    done = subprocess.run([python, str(script), "_one", "--only", "scrapy-16", *given], capture_output=True, text=True)
    pages, seconds, cpu = (float(part) for part in done.stdout.split())
    return {"pages": pages, "rate": pages / seconds, "cpu_ms": cpu / pages * 1000}


def _ours(port: int, pages: int, *, whole: bool) -> dict[str, Any]:
    """whole: wait until everything is read too; else stop after the last answer."""
    with h.scratch() as folder:
        env = h.our_env(folder) | {"BRAINSTEM_ALLOW_HOSTS": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-m", "benchmarks.crawl", str(port), str(pages), str(int(whole))], env=env, cwd=ROOT,
                              capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- in the process that is measured ---------------------------------------------------------------------------------


def measured(port: int, pages: int, whole: bool) -> dict[str, Any]:
    from webapp import runtime, settings
    from webapp.core import http, migrate
    from webapp.core.context import Ctx
    from webapp.crawl import service
    from webapp.crawl.engine import Crawler
    from webapp.knowledge.service import collections
    from webapp.tasks import execute
    from webapp.tasks.worker import WorkerHost

    rt = runtime.build(settings.load())
    migrate.upgrade(rt.engine)
    with rt.unit() as db:
        ctx = Ctx(rt, db, _user(db))
        collection = collections.create(ctx, "bench").id
        asked = {"urls": [f"http://127.0.0.1:{port}/p/0.html"], "collection_id": collection, "max_pages": pages,
                 "max_depth": 20}  # fmt: skip
        service.start(ctx, asked)
    marks: list[tuple[float, float]] = []
    applied = Crawler._fetched

    def noting(self: Crawler, *args: Any) -> None:
        applied(self, *args)
        marks.append((time.perf_counter(), time.process_time()))
        if len(marks) == pages and not whole:
            self.task.ask_to_stop()

    def beginning(self: Crawler) -> None:
        starts.append((time.perf_counter(), time.process_time()))
        run_it(self)

    run_it = Crawler.run
    Crawler._fetched, Crawler.run = noting, beginning  # type: ignore[method-assign]
    http._connection_classes()  # a worker has imported them long ago
    starts: list[tuple[float, float]] = []
    execute.run_next(rt, WorkerHost(rt, "crawling", ("crawling",)), "crawling")
    began, used = starts[0]
    seconds = time.perf_counter() - began
    ended, used_then = marks[-1]
    from sqlalchemy import text

    with rt.unit(write=False) as db:
        stored = db.execute(text("SELECT count(*) FROM documents")).scalar()
    rt.close()
    return {"rate": len(marks) / (ended - began), "cpu_ms": (used_then - used) / len(marks) * 1000, "whole": seconds,
            "fetched": len(marks), "stored": stored}  # fmt: skip


def _user(db: Any) -> Any:
    from webapp.core.context import Actor
    from webapp.identity.models import User

    user = User(username="bench", username_key="bench")
    db.add(user)
    db.flush()
    return Actor(user.id, "bench")


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1")))

"""`python -m benchmarks`: list the benches; `all` or names run them. `--quick` is a smoke run, not a measurement."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback

from benchmarks.harness import Report

BENCHES = {
    "start": "idle enqueue -> start, beside Celery and a bare Redis hand-off",
    "throughput": "no-op jobs a second with rows and events, beside Celery with rows",
    "scaling": "a second worker group: its share of waiting work, and what a task costs",
    "live": "event commit -> client over WebSocket and SSE, beside polling and a FastAPI hub",
    "accept": "POST that stores and queues a task, beside FastAPI doing the same",
    "sqlite": "eight writers on one SQLite file through our write path",
    "engines": "a local model through the product, beside the bare loop of its library",
    "embedding": "passages embedded through the product, beside the bare model",
    "crawl": "crawl of a local site of 1,000 pages, beside Scrapy and the limit of its latency",
    "extraction": "main text of web pages, a clear outcome for every file, what quality scores tell apart",
    "analysis": "a CSV of a million rows through data_analysis: time, memory, progress, beside bare pandas",
    "citations": "precision and recall of the citation checker on claims it was not fitted on",
    "first_token": "question -> first token, idle and with a 10,000-page crawl of another person under way",
    "routing": "accuracy and calibration of the orchestrator on questions it was not fitted on",
    "answers": "are answers right, cited exactly, declined where the sources are silent, on SQuAD (or BENCH_DATA)",
    "first_page": "the first page in Chromium with an empty cache: bytes, time to first paint",
    "pages": "first pages of lists of 100,000 tasks, and what pages weigh",
    "retrieval": "how good search and sentence answers are, on SQuAD, Cranfield and CISI (or BENCH_DATA)",
    "searching": "hybrid search over 100,000 passages through the API, beside the bare vector query",
    "searching_deployment": "the same search in a deployment: Postgres and a Chroma server",
    "summaries": "summaries of news pages: length, places, and what they hold beside lead-3",
    "memory": "memory of the idle embedded server",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="benches to run, or `all`; none: list them")
    parser.add_argument("--quick", action="store_true", help="short runs, to see that everything works")
    args = parser.parse_args()
    unknown = [name for name in args.names if name != "all" and name not in BENCHES]
    if unknown:
        parser.error(f"there is no bench {unknown[0]}; there are {', '.join(BENCHES)}")
    if not args.names:
        for name, title in BENCHES.items():
            print(f"{name:12} {title}")
        return 0
    names = list(BENCHES) if "all" in args.names else args.names
    reports = [run(name, args.quick) for name in names]
    failed = [f"{r.name}: {line.what}" for r in reports for line in r.lines if line.ok is False]
    print(f"\n{len(failed)} goals missed" + "".join(f"\n  {one}" for one in failed))
    return 1 if failed else 0


def run(name: str, quick: bool) -> Report:
    began, load = time.time(), os.getloadavg()
    report = Report(name, BENCHES[name])
    try:
        importlib.import_module(f"benchmarks.{name}").run(report, quick)
    except Exception as exc:
        traceback.print_exc()
        report.add("the bench itself", f"{type(exc).__name__}: {str(exc)[:80]}", ok=False)
    report.notes.append(f"load average {load[0]:.1f} before, {os.getloadavg()[0]:.1f} after")
    report.print()
    report.save(began, load)
    return report


if __name__ == "__main__":
    sys.exit(main())

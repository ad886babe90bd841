"""The first page in a real browser with an empty cache: bytes on the wire and time to first paint, over loopback.

Each visit is a browser context of its own, so nothing is cached. A new server spends its first seconds embedding the
documentation on all cores: home is visited then too, for reading only, and again when that is over. There is no peer: the
goals are absolute.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

PAGES = {"/": "home, nothing done yet", "/chat": "chat", "/tasks": "tasks", "/help/user-guide": "help"}
FIRST_KB, PAINT_MS = 150.0, 300.0
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
PAINTED = """() => new Promise((done) => {
  const told = () => performance.getEntriesByType("paint").map((one) => [one.name, one.startTime]);
  if (told().length > 1) return done(told());
  new PerformanceObserver(() => told().length > 1 && done(told())).observe({type: "paint", buffered: true});
})"""


def run(report: Report, quick: bool) -> None:
    from playwright.sync_api import sync_playwright

    visits = 3 if quick else 15
    chromium = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with (
        h.scratch() as folder,
        h.server(h.our_env(folder, BRAINSTEM_DEMO="1"), folder) as (_, port),
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS)
        visit(browser, f"http://127.0.0.1:{port}/")  # the browser's own first page costs more than ours
        early = [visit(browser, f"http://127.0.0.1:{port}/") for _ in range(3)]
        report.add(
            "home while the documentation is embedded: first paint",
            f"{h.median(one['first-paint'] for one in early):.0f} ms",
        )
        h.wait_for(lambda: embedded(port), 120, pause=0.5)
        for path, what in PAGES.items():
            seen = [visit(browser, f"http://127.0.0.1:{port}{path}") for _ in range(visits)]
            report.raw[path] = seen
            kb, paint, slow = (h.median(one["kb"] for one in seen), h.median(one["first-paint"] for one in seen),
                               h.pct((one["first-paint"] for one in seen), 0.95))  # fmt: skip
            report.add(f"{what}: transferred", f"{kb:.0f} kB", goal=f"<= {FIRST_KB:.0f} kB", ok=kb <= FIRST_KB)
            report.add(f"{what}: first paint, median / p95", f"{paint:.0f} / {slow:.0f} ms", goal=f"<= {PAINT_MS:.0f} ms",
                       ok=paint <= PAINT_MS)  # fmt: skip
        report.notes.append(f"{visits} visits a page with an empty cache, Chromium {browser.version}, kB of 1000 bytes")
        browser.close()


def embedded(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/knowledge/collections", timeout=10) as answer:
        found = json.load(answer)
    rows = found["collections"] if isinstance(found, dict) else found
    return bool(rows) and all(one["chunks"] and not one["pending_chunks"] for one in rows)


def visit(browser: Any, url: str) -> dict[str, float]:
    """kB that came over the wire, headers included, and milliseconds from the start of navigation to each paint."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    received = [0.0]
    cdp = context.new_cdp_session(page)
    cdp.send("Network.enable")
    cdp.on("Network.loadingFinished", lambda event: received.append(max(0.0, event["encodedDataLength"])))
    page.goto(url, wait_until="load")
    paints = dict(page.evaluate(PAINTED))
    page.wait_for_timeout(300)  # what the page asks for late
    context.close()
    return {**paints, "kb": sum(received) / 1000}

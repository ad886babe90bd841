"""How long a newcomer takes from a fresh clone to a cited answer, and what that costs in disk and memory.

Does what the README says and nothing else: clone, `make run` on an empty home, the first page, one click on its example
question, the answer; then checks that each cited quote stands word for word in the documentation. Starts once more to see
what an idle server takes. Needs git, make, Python 3.11 and a package index; no package of ours or of others.

    python3 scripts/first_run.py                the repository it lies in
    python3 scripts/first_run.py --repo URL     another one
"""

from __future__ import annotations

import argparse
import html
import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GOAL = 180.0  # seconds
SETTLES = 10.0  # seconds until a started server is idle
BUTTON = re.compile(r'<button[^>]*name="example" value="([^"]+)"')
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repo", default=str(ROOT), help="what to clone")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-run-") as folder:
        figures = first_run(args.repo, Path(folder))
    for name, value in figures.items():
        print(f"{name:44} {value}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if figures["clone to cited answer, s"] <= GOAL else 1


def first_run(repo: str, folder: Path) -> dict[str, Any]:
    clone, home, venv = folder / "brainstem", folder / "home", folder / "venv"
    began = time.monotonic()
    subprocess.run(["git", "clone", "-q", repo, str(clone)], check=True)
    cloned = time.monotonic()
    subprocess.run(["make", "-s", "install", f"VENV={venv}"], cwd=clone, check=True, env=environment(home))
    installed = time.monotonic()
    with serving(clone, venv, home) as (browser, _):
        started = time.monotonic()
        question = wait_for(lambda: offered(browser), "the first page offers no question")
        ready = time.monotonic()
        conversation = ask(browser, question)
        answer = wait_for(lambda: answered(browser, conversation), "there is no answer")
        ended = time.monotonic()
        check(answer, clone)
    data = size(home)
    with serving(clone, venv, home) as (browser, process):
        browser.get("/")
        time.sleep(SETTLES)
        serving_mb, tree_mb = memory(process.pid)
    return {
        "clone, s": round(cloned - began, 1),
        "make: environment and packages, s": round(installed - cloned, 1),
        "start to first page, s": round(started - installed, 1),
        "documentation read, s": round(ready - started, 1),
        "click to cited answer, s": round(ended - ready, 1),
        "clone to cited answer, s": round(ended - began, 1),
        "question": question,
        "cited sentences": len(answer["sources"]),
        "installed, MB": size(venv),
        "data after the first answer, MB": data,
        "idle: serving process, resident, MB": serving_mb,
        "idle: all processes, shared pages once, MB": tree_mb,
    }


def environment(home: Path) -> dict[str, str]:
    """The shell's, without settings of ours: a newcomer has none."""
    ours = ("DATABASE_URL", "REDIS_URL", "API_KEY", "SECRET_KEY", "AUTH_REQUIRED", "HOST", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: text for name, text in os.environ.items() if not name.startswith("BRAINSTEM_") and name not in ours}
    return {**kept, "BRAINSTEM_HOME": str(home)}


@contextmanager
def serving(clone: Path, venv: Path, home: Path) -> Iterator[tuple[Browser, subprocess.Popen[bytes]]]:
    """`make run` until its first page is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = clone.parent / "run.log"
    with log.open("ab") as out:
        process = subprocess.Popen(["make", "-s", "run", f"VENV={venv}"], cwd=clone, stdout=out, stderr=out,
                                   env=environment(home) | {"PORT": str(port)}, start_new_session=True)  # fmt: skip
    try:
        browser = Browser(f"http://127.0.0.1:{port}")
        wait_for(lambda: process.poll() is None and browser.get("/"), f"it does not start: {log.read_text()[-2000:]}")
        yield browser, process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Browser:
    """Pages with their cookies, as one person sees them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), urllib.request.ProxyHandler({})
        )
        self.at = ""

    def get(self, path: str, form: dict[str, str] | None = None) -> str:
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        with self.opener.open(self.url + path, data, timeout=30) as answer:
            self.at = urllib.parse.urlsplit(answer.url).path
            return str(answer.read().decode())


def offered(browser: Browser) -> str:
    """The question of the first card, as soon as what answers it has been read."""
    found = BUTTON.search(browser.get("/"))
    return html.unescape(found[1]) if found else ""


def ask(browser: Browser, question: str) -> str:
    """Press its button; the conversation's id."""
    token = TOKEN.search(browser.get("/"))
    if token is None:
        raise SystemExit("the first page has no form")
    browser.get("/chat", {"csrf_token": html.unescape(token[1]), "example": question})
    return browser.at.rpartition("/")[2]


def answered(browser: Browser, conversation: str) -> dict[str, Any] | None:
    last = json.loads(browser.get(f"/api/v1/conversations/{conversation}/messages"))["messages"][-1]
    if last["state"] in ("declined", "cancelled", "failed"):
        raise SystemExit(f"the answer is {last['state']}: {last['content'] or last['error']}")
    return dict(last) if last["state"] == "done" else None


def check(answer: dict[str, Any], clone: Path) -> None:
    """At least one source, and each quote word for word in the documentation of the clone."""
    pages = [path.read_text("utf-8") for path in (clone / "README.md", *(clone / "docs").glob("*.md"))]
    lost = [one["quote"] for one in answer["sources"] if not any(one["quote"] in page for page in pages)]
    if lost or not answer["sources"]:
        raise SystemExit(f"not in the documentation: {lost}" if lost else "the answer cites nothing")


# -- figures ---------------------------------------------------------------------------------------------------------


def size(folder: Path) -> int:
    """What it takes on the disk, in units of a million bytes."""
    return round(sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_symlink()) / 1e6)


def memory(pid: int) -> tuple[int, int]:
    """(the largest process, resident; all of them, shared pages counted once), in MB of 2^20 bytes."""
    largest, total = 0, 0
    for one in family(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        found = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        largest, total = max(largest, found["Rss"]), total + found["Pss"]
    return round(largest / 1024), round(total / 1024)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def wait_for(look: Callable[[], Any], trouble: str, patience: float = 120.0) -> Any:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise SystemExit(trouble)


if __name__ == "__main__":
    sys.exit(main())

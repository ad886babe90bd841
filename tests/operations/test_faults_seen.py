"""Drills F02, F10, F06 and F17 as an administrator sees them: a browser stays on /monitor/ while something breaks.

The page must say what is wrong in words, must keep what it last knew, must not throw a script error, and must be whole
again by itself when the fault is over.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.drills.harness import QUICK, Cluster, Postgres, kill9, tell, until
from webapp.core import migrate
from webapp.core.db import make_engine

pytestmark = [pytest.mark.drill, pytest.mark.services, pytest.mark.browser, pytest.mark.slow]
# What the page's own polls may leave in the console while nobody answers them.
EXPECTED = ("Failed to load resource", "ERR_", "WebSocket connection", "Response Status Error Code 503")
PATIENCE = 30_000  # ms; five of the page's polls, and the time until a silent worker counts as lost


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    # Not below pytest's own folder, which each session of the same person closes to the server's account.
    with tempfile.TemporaryDirectory(prefix="brainstem-seen-") as folder:
        server = Postgres(Path(folder)).start()
        yield server
        with contextlib.suppress(AssertionError):
            server.stop("immediate")


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A deployment over a Postgres and a Redis of its own, a worker of each role."""
    url = postgres.url + "/postgres"
    engine = make_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    migrate.upgrade(engine)
    engine.dispose()
    made = Cluster(
        tmp_path_factory.mktemp("seen") / "stack", QUICK, url, workers=("fast", "crawling", "inference", "embedding")
    )
    yield made.start()
    made.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    from tests.browser.conftest import FLAGS

    with playwright.sync_playwright() as play:
        try:
            made = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        except Exception as exc:
            missing(f"a browser ({str(exc).splitlines()[0][:100]})")
        yield made
        made.close()


class Watcher:
    """A person with the page open."""

    def __init__(self, browser: Any, site: Cluster) -> None:
        self.site, self.errors = site, list[str]()
        context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.goto(site.url + "/monitor/")
        self.page.evaluate("window.opened = true")  # gone when the page was loaded anew

    def _console(self, message: Any) -> None:
        if message.type == "error" and not any(part in message.text for part in EXPECTED):
            self.errors.append(message.text)

    def sees(self, text: str) -> float:
        """Seconds until `text` shows."""
        began = time.monotonic()
        self.page.get_by_text(text, exact=False).first.wait_for(state="visible")
        return time.monotonic() - began

    def no_longer_sees(self, text: str) -> float:
        began = time.monotonic()
        until(lambda: text not in self.alerts(), PATIENCE / 1000, f"the page still says: {self.alerts()}", every=0.2)
        return time.monotonic() - began

    def alerts(self) -> str:
        return str(self.page.locator("#ops-alerts").inner_text())

    def row(self, queue: str) -> str:
        return str(self.page.locator("#queue-" + queue).inner_text())

    def check(self) -> None:
        assert self.errors == []
        assert self.page.evaluate("window.opened"), "the page was never loaded anew"


@pytest.fixture
def watcher(chromium: Any, site: Cluster) -> Iterator[Watcher]:
    made = Watcher(chromium, site)
    yield made
    made.page.context.close()
    site.engine.dispose()
    site.heal()


def test_f02_a_worker_is_killed(site: Cluster, watcher: Watcher) -> None:
    """It is said with how to start one; its queue shows as unserved; then well again."""
    task = site.run("steps_crawling", {"steps": 400, "pause": 0.1}, title="Long crawl")
    site.wait_status(task, "running")
    worker = site.named("worker1")[0]
    worker.keep = False
    kill9(worker.pid)
    lost = watcher.sees("No worker for crawling")
    said = watcher.alerts()
    assert "brainstem worker crawling" in said, "it says what to do"
    assert "No worker" in watcher.row("crawling")
    assert "No worker" not in watcher.row("interactive"), "its siblings are untouched"
    assert site.http.get(site.url + "/api/v1/ready").status_code == 200, "the other roles go on"
    assert "no worker for crawling" in site.http.get(site.url + "/api/v1/ready").text
    worker.keep = True
    back = watcher.no_longer_sees("No worker for crawling")
    watcher.sees("All is well")
    tell("F02", "seen from the page", lost_said_after=lost, well_said_after=back)
    site.cancel(task)
    site.check([task])
    watcher.check()


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
def test_f10_redis_is_away(site: Cluster, watcher: Watcher, fault: str) -> None:
    """The page says so and goes on showing; an action still works, and what is started meanwhile runs afterwards."""
    if fault == "frozen":
        site.redis.signal(signal.SIGSTOP)
    else:
        site.redis.kill()
    said = watcher.sees("Redis does not answer")
    assert "start when it is back" in watcher.alerts()
    assert "crawling" in watcher.row("crawling"), "everything else still shows"
    began = time.monotonic()
    task = site.run("steps", {"steps": 2})
    accepted = time.monotonic() - began
    watcher.page.goto(site.url + "/monitor/workers")
    watcher.page.goto(site.url + "/monitor/")
    watcher.page.evaluate("window.opened = true")
    if fault == "frozen":
        site.redis.signal(signal.SIGCONT)
    else:
        site.redis.start()
    back = watcher.no_longer_sees("Redis does not answer")
    tell("F10", f"seen from the page, {fault}", said_after=said, accepted_in=accepted, well_said_after=back)
    assert site.check([task])[task]["status"] == "completed"
    watcher.check()


def test_f17_postgres_restarts(site: Cluster, postgres: Postgres, watcher: Watcher) -> None:
    """The open page keeps what it knew and says that it is old; a new one says what is wrong; both come back."""
    before = watcher.row("crawling")
    postgres.stop("fast")
    said = watcher.sees("The database does not answer")
    assert "what was last known" in watcher.alerts()
    assert watcher.row("crawling").split()[0] == before.split()[0], "the page still shows what it knew"
    began = time.monotonic()
    answer = site.http.get(site.url + "/monitor/")
    took = time.monotonic() - began
    assert (answer.status_code, "The database does not answer" in answer.text) == (503, True)
    assert took < 2.0
    fresh = watcher.page.context.new_page()
    fresh.goto(site.url + "/monitor/")
    assert "The database does not answer" in fresh.inner_text("main")
    postgres.start()
    back = watcher.no_longer_sees("The database does not answer")
    fresh.locator("#queues-title").wait_for(timeout=PATIENCE)  # it opened by itself
    fresh.close()
    tell("F17", "seen from the page", said_after=said, new_page_in=took, well_said_after=back)
    watcher.check()

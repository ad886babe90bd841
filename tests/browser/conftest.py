"""A real browser against a real server. Every page is watched: no console error, no CSP report, no dialog, no stranger.

Skipped at home where there is no browser, failed in CI.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from tests.conftest import Server, missing
from tests.live.kinds import PLUGINS

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
PATIENCE = 20_000  # ms; a machine may be busy with other tests
FORMS = "everything=tests.tasks.test_forms:KIND"  # a kind with a field of every type
ENV = {"BRAINSTEM_PLUGINS": f"{PLUGINS},{FORMS}", "BRAINSTEM_RATE_LIMIT": "100000/minute", "BRAINSTEM_GRACE_SECONDS": "1",
       "BRAINSTEM_LOGIN_RATE_LIMIT": "1000/minute"}  # fmt: skip

# Wraps WebSocket so that a test can take it away: a real handshake then fails at an address that is not there.
# Climbing back is tried every second and a half instead of each minute.
NO_SOCKETS = """
const Real = window.WebSocket;
window.WebSocket = function (url, ...more) {
  return new Real(localStorage.getItem("no-sockets") ? url.replace("/ws/live", "/ws/taken-away") : url, ...more);
};
Object.assign(window.WebSocket, Real);
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        missing("playwright")
    # The shell is the same engine without what paints windows, at two thirds of the processor's time.
    found = (shutil.which(one) for one in ("chromium-headless-shell", "chromium", "google-chrome"))
    path = os.environ.get("TEST_CHROMIUM") or next(filter(None, found), None)
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        try:
            made = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Exception as exc:
            missing(f"a browser ({str(exc).splitlines()[0][:100]})")
        yield made
        made.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Local mode, as the newcomer starts it."""
    made = Server(tmp_path_factory.mktemp("browser"), ENV).start()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With accounts."""
    made = Server(tmp_path_factory.mktemp("locked"), {**ENV, "AUTH_REQUIRED": "1"}).start()
    yield made
    made.kill()


@dataclass
class Watched:
    """A tab whose complaints fail the test, unless they match `allowed`."""

    page: Any
    url: str
    allowed: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> Watched:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        return self

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, self.url.replace("http:", "ws:"), "data:", "blob:")):
            self.complaints.append(f"asked a stranger: {request.url}")

    def open(self, path: str = "/") -> Any:
        self.page.goto(self.url + path)
        return self.page

    def check(self) -> None:
        found = [text for text in self.complaints if not any(re.search(one, text) for one in self.allowed)]
        assert not found, "\n".join(found)


@pytest.fixture
def make_tab(browser: Any, server: Server) -> Iterator[Callable[..., Watched]]:
    """`make_tab(server=.., context=.., **options of the context)`"""
    contexts: list[Any] = []
    tabs: list[Watched] = []

    def make(of: Server | None = None, *, context: Any = None, **options: Any) -> Watched:
        if context is None:
            context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
            context.set_default_timeout(PATIENCE)
            contexts.append(context)
        tabs.append(Watched(context.new_page(), (of or server).url).watch())
        return tabs[-1]

    yield make
    try:
        for tab in tabs:
            tab.check()
    finally:
        for context in contexts:
            context.close()


@pytest.fixture
def tab(make_tab: Callable[..., Watched]) -> Watched:
    return make_tab()


@pytest.fixture
def start(server: Server) -> Callable[..., str]:
    """Start a task by the API, as another program does."""
    return lambda title="A task", **config: start_on(server, title, **config)


def start_on(server: Server, title: str = "A task", kind: str = "live_steps", **config: Any) -> str:
    body = {"task_type": kind, "title": title, "task_config": config}
    answer = requests.post(server.url + "/api/v1/utils/ai-tasks/", json=body, timeout=15)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


TEXT = """The harbour of the town was built in 1870 by the merchants of the town.
Before that ships had to anchor outside and goods were carried ashore in small boats.
The merchants paid for the harbour with a tax on salt and on fish.
After the harbour was built the town grew quickly and the fish trade doubled.
Today the harbour serves ferries, and the fish trade has moved to the north.
Visitors come to the harbour in summer to see the old cranes of the merchants.
"""

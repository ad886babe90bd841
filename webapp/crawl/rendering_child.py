"""The browser's side of `rendering`: Chromium by Playwright, cut off from the network.

Three locks, each enough by itself. Every request is intercepted and answered here through `safe_fetch`, which judges
address and redirects as for any other fetch; what is not intercepted meets a proxy that does not exist, loopback
included, and a resolver that finds nothing; WebSockets are refused before they dial, WebRTC and WebTransport are taken
away from the page and barred from going around the proxy. Nothing leaves the page it was given: later navigations,
frames, popups, downloads and service workers are refused. robots.txt counts for what scripts ask for.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from webapp.core import resident
from webapp.core.addresses import remembering
from webapp.core.errors import AppError, TooLarge, Unavailable
from webapp.core.http import OutboundPolicy, safe_fetch
from webapp.crawl import robots, urls
from webapp.crawl.fetching import ROBOT, USER_AGENT
from webapp.crawl.robots import Rules

NOWHERE = "http://127.0.0.1:9"  # port 9 is "discard": nobody serves it
ARGUMENTS = [
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-background-networking",
    "--disable-quic",
    "--disable-gpu",
    "--dns-prefetch-disable",
    "--no-pings",
    "--renderer-process-limit=2",
    "--js-flags=--max-old-space-size=256",
]
TAKEN_AWAY = """for (const name of ['RTCPeerConnection', 'webkitRTCPeerConnection', 'WebTransport', 'SharedWorker'])
  Object.defineProperty(globalThis, name, {value: undefined, configurable: false, writable: false});
  globalThis.open = () => null;"""
WANTED = ("document", "script", "stylesheet", "xhr", "fetch", "manifest", "other", "texttrack")  # what text needs
QUIET_SECONDS = 5.0  # at most, until nothing is asked for
REQUESTS, ANSWER_BYTES, ALL_BYTES = 150, 5 * 2**20, 30 * 2**20
PAGE_CHARACTERS = 8_000_000
MEMORY_BYTES = 1536 * 2**20  # of all processes of the browser
WATCH_SECONDS = 0.3
TOLD = 20  # refusals that are named
PASSED_ON = ("content-type", "access-control-allow-origin", "access-control-allow-credentials",
             "access-control-allow-headers", "access-control-expose-headers")  # fmt: skip


class Browser:
    """Made in the child; `render` is called for one page after the other, each in a context of its own."""

    def __init__(self, chromium: str, allow_hosts: list[str], extra_ports: list[int]) -> None:
        self.policy = remembering(
            OutboundPolicy(allow_hosts=frozenset(allow_hosts), extra_ports=frozenset(extra_ports))
        )
        self.rules: dict[str, Rules] = {}
        self.too_much = False
        try:
            self.api = importlib.import_module("playwright.sync_api")  # an extra: not there for everybody
            self.playwright = self.api.sync_playwright().start()
            self.browser = self.playwright.chromium.launch(
                executable_path=chromium or None,
                args=ARGUMENTS,
                proxy={"server": NOWHERE, "bypass": "<-loopback>"},
                chromium_sandbox=os.geteuid() != 0,
            )
        except Exception as error:
            raise Unavailable(f"The browser did not start: {_first_line(error)}", retryable=False,
                              suggestion="Install a Chromium and name it in BRAINSTEM_CHROMIUM.") from error  # fmt: skip
        threading.Thread(target=self._watch, daemon=True).start()

    def render(self, url: str, page: str, seconds: float) -> dict[str, Any]:
        if self.too_much:
            os._exit(1)  # its browser was killed
        visit = _Visit(self, url, page, time.monotonic() + seconds)
        try:
            return visit.make()
        except AppError:
            raise
        except Exception as error:
            if self.too_much:
                raise TooLarge("The page needed more memory in the browser than allowed.") from error
            if not self.browser.is_connected():
                os._exit(1)  # it crashed: the next page gets a fresh one
            raise Unavailable(f"The browser could not show the page: {_first_line(error)}", retryable=False) from error

    def _watch(self) -> None:
        """Limits of the kernel do not fit a browser: it reserves address space by the terabyte."""
        import psutil

        while True:
            time.sleep(WATCH_SECONDS)
            used, processes = 0, psutil.Process().children(recursive=True)
            for one in processes:
                with suppress(psutil.Error):
                    memory = one.memory_info()
                    used += memory.rss - getattr(memory, "shared", 0)
            if used > MEMORY_BYTES:
                self.too_much = True
                for one in processes:
                    with suppress(psutil.Error):
                        one.kill()

    def allows(self, url: str, seconds: float) -> bool:
        """By robots.txt of its host, which is asked once."""
        origin = urls.origin_of(url)
        if origin not in self.rules:
            try:
                answer = safe_fetch(origin + "/robots.txt", policy=self.policy, timeout=seconds, user_agent=USER_AGENT,
                                    max_bytes=robots.MAX_BYTES, on_too_large="truncate")  # fmt: skip
                found = robots.of_answer(answer.status, answer.body)
            except AppError as error:
                found = robots.unreachable(error.message)
            self.rules[origin] = found.rules_for(ROBOT)
        return self.rules[origin].allows(urls.path_of(url))


class _Visit:
    """One page: what it asks for, and what it gets."""

    def __init__(self, browser: Browser, url: str, page: str, deadline: float) -> None:
        self.browser, self.url, self.page, self.deadline = browser, url, page, deadline
        self.served = False
        self.requests = self.bytes = 0
        self.refused: list[str] = []

    def make(self) -> dict[str, Any]:
        context = self.browser.browser.new_context(service_workers="block", accept_downloads=False,
                                                   user_agent=USER_AGENT, permissions=[])  # fmt: skip
        try:
            context.route("**/*", self.answer)
            context.route_web_socket(lambda _: True, self.refuse_socket)
            context.add_init_script(TAKEN_AWAY)
            shown = context.new_page()
            shown.on("dialog", lambda dialog: dialog.dismiss())
            shown.goto(self.url, wait_until="domcontentloaded", timeout=self.left() * 1000)
            self.settle(shown)
            html = self.content(shown)[:PAGE_CHARACTERS]
        finally:
            with suppress(Exception):
                context.close()
        return {"html": html, "requests": self.requests, "refused": self.refused}

    def settle(self, shown: Any) -> None:
        """Until the page has nothing under way, or for as long as it may take."""
        with suppress(self.browser.api.TimeoutError):
            shown.wait_for_load_state("networkidle", timeout=min(QUIET_SECONDS, self.left()) * 1000)

    def content(self, shown: Any) -> str:
        """What the page shows; one that tries to leave just then is asked again once it is told that it stays."""
        while True:
            try:
                return str(shown.content())
            except self.browser.api.Error as error:
                if "navigating" not in str(error) or time.monotonic() > self.deadline:
                    raise
                shown.wait_for_timeout(50)

    def left(self) -> float:
        return max(0.1, self.deadline - time.monotonic())

    def answer(self, route: Any) -> None:
        request = route.request
        if not self.served and request.url == self.url and request.is_navigation_request():
            self.served = True
            route.fulfill(status=200, content_type="text/html; charset=utf-8", body=self.page)
            return
        reason = self.objection(request)
        if reason is not None:
            self.refuse(reason, request.url)
            route.abort("blockedbyclient")
            return
        try:
            got = safe_fetch(request.url, policy=self.browser.policy, method=request.method, user_agent=USER_AGENT,
                             headers=_headers(request), timeout=min(10.0, self.left()), max_bytes=ANSWER_BYTES,
                             cancelled=resident.stop_asked)  # fmt: skip
        except AppError as error:
            self.refuse(error.code, request.url)
            route.abort("blockedbyclient")
            return
        self.bytes += len(got.body)
        headers = {name: value for name, value in got.headers.items() if name.lower() in PASSED_ON}
        route.fulfill(status=got.status, headers=headers, body=got.body)

    def objection(self, request: Any) -> str | None:
        """Why this is not even asked for; counts it if it is."""
        if request.is_navigation_request():
            return "navigation"
        if request.resource_type not in WANTED:
            return str(request.resource_type)
        if request.method not in ("GET", "HEAD") or urlsplit(request.url).scheme not in ("http", "https"):
            return "method" if request.method not in ("GET", "HEAD") else "scheme"
        if self.requests >= REQUESTS or self.bytes >= ALL_BYTES or time.monotonic() >= self.deadline:
            return "limit"
        try:
            url = urls.normalise(request.url)
        except urls.BadUrl:
            return "address"
        self.requests += 1
        return None if self.browser.allows(url, min(10.0, self.left())) else "robots"

    def refuse(self, reason: str, url: str) -> None:
        if len(self.refused) < TOLD:
            self.refused.append(f"{reason}: {url[:300]}")

    def refuse_socket(self, socket: Any) -> None:
        self.refuse("websocket", socket.url)
        socket.close()


def _headers(request: Any) -> dict[str, str]:
    given = request.headers
    return {name: given[name.lower()] for name in ("Accept", "Origin", "Referer") if name.lower() in given}


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n", 1)[0].split())[:200]

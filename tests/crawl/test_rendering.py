"""Pages that fill themselves by a script: rendered behind the gate, and what such a page may not reach."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.crawl.conftest import Yard
from tests.fakes.small_site import Reply, SmallSite
from webapp.core.errors import TaskTimedOut
from webapp.crawl import links, rendering
from webapp.crawl.rendering import Renderer
from webapp.knowledge.models import Document, DocumentVersion
from webapp.runtime import Runtime

CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), "")
pytestmark = [pytest.mark.browser, pytest.mark.slow,
              pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")]  # fmt: skip
SHELL = b'<!doctype html><html><head><title>App</title></head><body><div id="root"></div><script src="/app.js"></script></body></html>'
STORY = " ".join(f"The whale of day {n} sings below the ice of the northern sea." for n in range(12))
APP = b"""fetch('/api/story.json').then(r => r.json()).then(story => {
  document.getElementById('root').innerHTML =
    '<article><h1>' + story.title + '</h1><p>' + story.text + '</p><a href="/more">More</a> <a href="/secret/x">x</a></article>';
});"""


@pytest.fixture
def app(site: SmallSite) -> SmallSite:
    import json

    story = json.dumps({"title": "Whales", "text": STORY}).encode()
    site.pages |= {
        "/app": SHELL, "/app.js": reply(APP, "text/javascript"), "/api/story.json": reply(story, "application/json"),
        "/more": b"<html><body><main><p>" + b"More about whales and their songs. " * 20 + b"</p></main></body></html>",
    }  # fmt: skip
    return site


def reply(body: bytes, kind: str, status: int = 200, **headers: str) -> Reply:
    return status, {"Content-Type": kind, **headers}, body


def yard_of(make_rt: Callable[..., Runtime], site: SmallSite, **env: str) -> Yard:
    return Yard(make_rt(BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{site.port}", BRAINSTEM_CHROMIUM=CHROMIUM, **env), site)


def text_of(yard: Yard) -> str:
    [document] = [row for row in yard.rows(Document) if (row.url or "").endswith("/app")]
    return str(yard.rows(DocumentVersion, DocumentVersion.id == document.version_id)[0].text)


def test_off_by_default_and_the_crawl_says_what_would_help(make_rt: Callable[..., Runtime], app: SmallSite) -> None:
    yard = yard_of(make_rt, app)
    crawl = yard.crawl("/app")
    assert yard.fates(crawl)["/app"] == ("skipped", "needs_script")
    from webapp.crawl.models import CrawlUrl

    [row] = yard.rows(CrawlUrl, CrawlUrl.crawl_id == crawl)
    assert "BRAINSTEM_RENDER=1" in row.detail
    assert "/app.js" not in app.asked()


def test_a_page_made_by_a_script_is_read_whole_and_its_links_are_followed(
    make_rt: Callable[..., Runtime], app: SmallSite
) -> None:
    app.pages["/robots.txt"] = reply(b"User-agent: *\nDisallow: /secret/\n", "text/plain")
    yard = yard_of(make_rt, app, BRAINSTEM_RENDER="1")
    fates = yard.fates(yard.crawl("/app"))
    assert fates["/app"] == ("fetched", "new")
    assert fates["/more"] == ("fetched", "new")
    assert fates["/secret/x"] == ("skipped", "robots")
    assert "The whale of day 11 sings" in text_of(yard)
    assert app.asked()["/app"] == 1, "the page itself is not fetched again"
    yard.rt.close()


def test_a_browser_that_is_not_there_is_said_and_the_crawl_goes_on(
    make_rt: Callable[..., Runtime], app: SmallSite
) -> None:
    yard = Yard(
        make_rt(BRAINSTEM_ALLOW_HOSTS="127.0.0.1", BRAINSTEM_CHROMIUM="/no/such/browser", BRAINSTEM_RENDER="1"), app
    )
    crawl = yard.crawl("/app", "/more")
    assert yard.fates(crawl) == {"/app": ("skipped", "needs_script"), "/more": ("fetched", "new")}
    from webapp.crawl.models import CrawlUrl

    [row] = yard.rows(CrawlUrl, CrawlUrl.crawl_id == crawl, CrawlUrl.reason == "needs_script")
    assert "could not be rendered: The browser did not start" in row.detail
    yard.rt.close()


@pytest.fixture
def renderer(make_rt: Callable[..., Runtime], site: SmallSite) -> Iterator[Renderer]:
    rt = make_rt(BRAINSTEM_ALLOW_HOSTS=f"127.0.0.1:{site.port}", BRAINSTEM_CHROMIUM=CHROMIUM, BRAINSTEM_RENDER="1")
    made = rendering.of(rt)
    assert made is not None
    yield made
    made.close()


class Trap:
    """A listener on this machine that nothing may reach: it is not among the allowed hosts."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.caught: list[Any] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, who = self.socket.accept()
            except OSError:
                return
            self.caught.append(who)
            connection.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.socket.close()


ATTACKS = {
    "metadata": "fetch('http://169.254.169.254/latest/meta-data/').then(said('in'), said('out'))",
    "private": "fetch('http://10.0.0.1/').then(said('in'), said('out'))",
    "loopback": "fetch('http://127.0.0.1:PORT/').then(said('in'), said('out'))",
    "localhost": "fetch('http://localhost:PORT/', {mode: 'no-cors'}).then(said('in'), said('out'))",
    "decimal": "fetch('http://2130706433:PORT/', {mode: 'no-cors'}).then(said('in'), said('out'))",
    "post": "fetch('/take', {method: 'POST', body: 'x'}).then(said('in'), said('out'))",
    "file": "fetch('file:///etc/passwd').then(said('in'), said('out'))",
    "file frame": "add('iframe', 'file:///etc/passwd'); said('out')()",
    "frame": "add('iframe', 'http://127.0.0.1:PORT/'); said('out')()",
    "image": "add('img', 'http://127.0.0.1:PORT/'); said('out')()",
    "script": "add('script', 'http://127.0.0.1:PORT/'); said('out')()",
    "websocket": "try { const s = new WebSocket('ws://127.0.0.1:PORT/'); s.onopen = said('in'); s.onclose = said('out') }"
                 " catch { said('out')() }",
    "beacon": "navigator.sendBeacon('http://127.0.0.1:PORT/', 'x'); said('out')()",
    "events": "new EventSource('http://127.0.0.1:PORT/'); said('out')()",
    "preconnect": "const l = document.createElement('link'); l.rel = 'preconnect'; l.href = 'http://127.0.0.1:PORT/';"
                  " document.head.append(l); said('out')()",
    "webrtc": "said(typeof RTCPeerConnection === 'undefined' && typeof WebTransport === 'undefined' ? 'out' : 'in')()",
    "popup": "open('http://127.0.0.1:PORT/'); said('out')()",
    "worker": "new Worker(URL.createObjectURL(new Blob([\"fetch('http://127.0.0.1:PORT/', {mode: 'no-cors'})"
              ".then(() => postMessage('in'), () => postMessage('out'))\"]))).onmessage = e => said(e.data)()",
    "redirect": "fetch('/away').then(said('in'), said('out'))",
    "redirect to metadata": "fetch('/metadata').then(said('in'), said('out'))",
}  # fmt: skip


@pytest.mark.parametrize("names", [[*ATTACKS][first::4] for first in range(4)], ids=", ".join)
def test_what_a_page_may_not_reach(names: list[str], renderer: Renderer, site: SmallSite, trap: Trap) -> None:
    """Five of them on a page, each with a place of its own for what became of it."""
    site.pages["/away"] = reply(b"", "text/plain", 302, Location=f"http://127.0.0.1:{trap.port}/")
    site.pages["/metadata"] = reply(b"", "text/plain", 302, Location="http://169.254.169.254/latest/")
    scripts = "".join(f"""<p id="a{number}">nothing</p><script>{{
      const said = word => () => {{ document.getElementById('a{number}').textContent = 'went ' + word }};
      {ATTACKS[name].replace("PORT", str(trap.port))}
    }}</script>""" for number, name in enumerate(names))  # fmt: skip
    add = "<script>const add = (tag, src) => { const e = document.createElement(tag); e.src = src; document.body.append(e) }</script>"
    found = renderer.render(site.url("/page"), f"<html><body>{add}{scripts}</body></html>")
    became = {name: re.findall(rf'<p id="a{number}">([^<]*)</p>', found.html) for number, name in enumerate(names)}
    assert became == {name: ["went out"] for name in names}
    assert "root:x:0" not in found.html
    assert trap.caught == []
    assert "/take" not in site.asked()


def test_a_page_cannot_lead_the_browser_away(renderer: Renderer, site: SmallSite, trap: Trap) -> None:
    for away in (f"location = 'http://127.0.0.1:{trap.port}/'", "location = 'file:///etc/passwd'",
                 f"document.body.innerHTML = '<form id=f method=post action=http://127.0.0.1:{trap.port}/></form>';"
                 " document.getElementById('f').submit()"):  # fmt: skip
        page = f"<html><body><p>stays</p><script>setTimeout(() => {{ {away} }}, 10)</script></body></html>"
        found = renderer.render(site.url("/page"), page)
        assert "root:x:0" not in found.html
    refresh = f'<html><head><meta http-equiv=refresh content="0;url=http://127.0.0.1:{trap.port}/"></head><body>stays</body></html>'
    assert "root:x:0" not in renderer.render(site.url("/page"), refresh).html
    assert trap.caught == []


def test_scripts_obey_robots_txt(renderer: Renderer, site: SmallSite) -> None:
    site.pages["/robots.txt"] = reply(b"User-agent: *\nDisallow: /api/\n", "text/plain")
    site.pages["/api/x"] = reply(b"{}", "application/json")
    page = "<html><body><div id=root></div><script>fetch('/api/x')</script></body></html>"
    found = renderer.render(site.url("/page"), page)
    assert found.refused == [f"robots: {site.url('/api/x')}"]
    assert "/api/x" not in site.asked()


def test_a_page_that_never_ends_is_ended_and_leaves_no_browser(
    renderer: Renderer, site: SmallSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "fine" in renderer.render(site.url("/page"), "<p>fine</p>").html
    child = psutil.Process(renderer._child.status()["pid"])
    family = child.children(recursive=True)
    assert family
    monkeypatch.setattr(rendering, "PATIENCE", 4.0)
    with pytest.raises(TaskTimedOut):
        renderer.render(site.url("/page"), "<body><script>for (;;) {}</script></body>")
    gone, left = psutil.wait_procs([child, *family], timeout=15)
    assert [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
    assert "again" in renderer.render(site.url("/page"), "<p>again</p>").html


@pytest.mark.parametrize("page", [
    '<body><div id="root"></div><script src="/a.js"></script></body>',
    "<body><script src=/a.js></script><noscript>You need to enable JavaScript to run this app.</noscript></body>",
    "<body><script src=/a.js></script><noscript><p>This site requires JavaScript.</p></noscript></body>",
])  # fmt: skip
def test_what_looks_as_if_rendering_would_help(page: str) -> None:
    assert links.scan(page).needs_script


@pytest.mark.parametrize("page", [
    '<body><p>Words</p><script src="/a.js"></script></body>',
    "<body><script src=/a.js></script><noscript><img src=/count.gif></noscript></body>",
    "<body><noscript>Enable JavaScript</noscript></body>",
])  # fmt: skip
def test_what_does_not(page: str) -> None:
    assert not links.scan(page).needs_script

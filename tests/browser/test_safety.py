"""Pages under a suspicious eye: stored scripts never run (A17), nothing is loaded from elsewhere, nothing overflows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import TEXT, Watched, start_on
from tests.conftest import Server
from tests.live.conftest import PASSWORD

STATUS = '[data-live-view="status"]'
IMG, SSTI = '"><img src=x onerror=alert(1)>', "{{7*7919}}"
EVIL = f"{IMG} {SSTI} '-alert(2)-' <script>alert(3)</script> </textarea><svg onload=alert(4)>"
PAGES = ["/", "/tasks", "/tasks/new", "/tasks/new?kind=summary", "/profile", "/profile/keys", "/login", "/register", "/nowhere", "/tasks?status=failed",
         "/tasks?q=nothing+like+this"]  # fmt: skip


def _unharmed(page: Any) -> None:
    assert page.locator("img[src=x], svg[onload], [onerror]").count() == 0
    assert "55433" not in page.locator("main").inner_text().split()


def test_stored_scripts_never_run(tab: Watched, tmp_path: Path, start: Callable[..., str]) -> None:
    tab.allowed.append(r"status of 4\d\d")
    page = tab.open("/tasks/new?kind=summary")
    page.locator("#f-title").fill(f"{IMG} {SSTI}")
    page.locator("#f-content").fill(f"{EVIL}\n\n{TEXT}\n{EVIL} is a sentence of the harbour.")
    page.locator("#task-form .form-foot .btn-primary").click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")
    expect(page.locator("h1")).to_contain_text(f"{IMG} {SSTI}")
    _unharmed(page)
    expect(page.locator("#task-result")).to_contain_text("onerror=alert(1)")
    failing = start(EVIL, steps=2, pause=0.2, fail=EVIL)
    running = start(EVIL, steps=100, pause=0.1)
    for path in ("/", "/tasks", "/tasks?q=%22%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E", f"/tasks/{failing}",
                 f"/tasks/{running}", f"/tasks/{EVIL.replace('/', '')}", "/tasks?status=%22%3E%3Cimg%3E"):  # fmt: skip
        tab.open(path)
        page.wait_for_timeout(150)
        _unharmed(page)
    tab.open(f"/tasks/{failing}")
    expect(page.locator(STATUS)).to_contain_text("onerror=alert(1)")
    tab.open(f"/tasks/{running}")
    page.locator(STATUS).get_by_role("button", name="Cancel").click()
    name = '"><img src=x onerror=alert(1)>{{7*7}}.txt'
    tab.open("/")
    page.locator('input[type="file"]').set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": TEXT.encode()}
    )
    _unharmed(page)
    page.get_by_role("button", name="Summarise", exact=True).click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")
    _unharmed(page)


def test_a_composer_error_shows_input_as_text(tab: Watched) -> None:
    tab.allowed.append(r"status of 4\d\d")
    page = tab.open(
        "/tasks/new?content=%3C%2Ftextarea%3E%3Cimg+src%3Dx+onerror%3Dalert(1)%3E&title=%22%3E%3Cimg+src%3Dx%3E"
    )
    _unharmed(page)
    expect(page.locator("#f-content")).to_have_value(re.compile("onerror"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_small_screen(
    make_tab: Callable[..., Watched], start: Callable[..., str], scheme: str
) -> None:
    """380 px wide, long words included, in both themes; no complaint of the browser on any page."""
    tab = make_tab(color_scheme=scheme)
    tab.allowed.append(r"status of 404")
    long = start("W" * 180, steps=2, fail="E" * 400)
    running = start("Also " + "long-" * 40, steps=300, pause=0.1)
    summary = start_on_tab(tab, TEXT + "x" * 300 + ". " + TEXT)
    page = tab.page
    page.set_viewport_size({"width": 380, "height": 800})
    for path in (*PAGES, f"/tasks/{long}", f"/tasks/{running}", f"/tasks/{summary}"):
        tab.open(path)
        page.wait_for_timeout(100)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 380, f"{path} is {wide} px wide"
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        bright = sum(int(one) for one in re.findall(r"\d+", background)[:3])
        assert (bright > 600) == (scheme == "light"), f"{path}: {background}"
        assert page.locator("h1").count() == 1, path
    import requests

    requests.post(f"{tab.url}/api/v1/utils/ai-tasks/{running}/cancel/", timeout=10)


def start_on_tab(tab: Watched, content: str) -> str:
    import requests

    body = {"task_type": "summary", "title": "Long", "task_config": {"content": content}}
    return str(requests.post(f"{tab.url}/api/v1/utils/ai-tasks/", json=body, timeout=10).json()["id"])


def test_the_documentation_of_the_api_takes_the_readers_theme(tab: Watched) -> None:
    page = tab.page
    page.emulate_media(color_scheme="dark")
    tab.open("/docs")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    expect(page.locator("html")).to_have_class("dark-mode")
    assert sum(map(int, re.findall(r"\d+", page.evaluate(ground))[:3])) < 150
    page.evaluate("localStorage.setItem('theme', 'light')")
    page.reload()
    expect(page.locator("html")).not_to_have_class("dark-mode")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_documentation_comes_from_here(tab: Watched, path: str) -> None:
    """Every other host is blocked; the one remote picture that ReDoc wants is refused by our own policy."""
    tab.page.route(lambda url: not url.startswith(tab.url), lambda route: route.abort())
    tab.allowed += [r"cdn\.redoc\.ly|cdn\.redocly\.com", r"console: \[?redoc", r"asked a stranger: https://cdn\.redoc"]
    page = tab.open(path)
    expect(page.get_by_text("AI tasks (ECEEE v4)").first).to_be_attached(timeout=20_000)
    if path == "/redoc":
        tab.allowed.append("deprecat")


def test_register_sign_in_and_out_and_keys(make_tab: Callable[..., Watched], locked_server: Server) -> None:
    tab = make_tab(locked_server)
    tab.allowed.append(r"status of 4(01|22|03)")
    page = tab.open("/tasks")
    assert "/login" in page.url
    tab.open("/register")
    page.locator("#f-username").fill("newcomer")
    page.locator("#f-password").fill("short")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator(".field-error:not([hidden])").first).to_be_visible()
    expect(page.locator("#f-username")).to_have_value("newcomer")
    expect(page.locator("#f-password")).to_have_value("")
    page.locator("#f-password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url(tab.url + "/")
    tab.open("/profile/keys")
    page.locator("#f-name").fill(IMG)
    page.locator('input[name="scopes"][value="tasks:read"]').check()
    page.get_by_role("button", name="Create key").click()
    key = page.locator("#new-key").inner_text()
    assert key.startswith("bs_")
    _unharmed(page)
    import requests

    url = f"{tab.url}/api/v1/utils/ai-tasks/"
    assert requests.get(url, headers={"X-API-Key": key}, timeout=10).status_code == 200
    tab.open("/profile/keys")
    expect(page.locator("#new-key")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Revoke")).click()
    page.locator("#confirm [data-confirm-verb]").click()
    expect(page.locator(".flashes")).to_contain_text("revoked")
    assert requests.get(url, headers={"X-API-Key": key}, timeout=10).status_code == 401
    tab.open("/")
    page.get_by_role("textbox", name="Text or links").fill(TEXT)
    page.get_by_role("button", name="Summarise", exact=True).click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")  # the socket takes the cookie
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login*")
    page.locator("#f-username").fill("newcomer")
    page.locator("#f-password").fill("wrong password 1")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").or_(page.locator(".field-error:not([hidden])")).first).to_be_visible()
    page.locator("#f-password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(tab.url + "/")


def test_signed_out_elsewhere(make_tab: Callable[..., Watched], locked_server: Server) -> None:
    """The live channel of a page whose login ended stops and says so instead of asking for ever."""
    first = make_tab(locked_server)
    first.allowed += [r"status of 40[13]", r"Status Error Code 401", r"WebSocket", r"/live/stream"]
    page = first.open("/register")
    page.locator("#f-username").fill("leaver")
    page.locator("#f-password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    page.wait_for_url(first.url + "/")
    token = page.locator('meta[name="csrf-token"]').get_attribute("content")
    made = page.request.post(f"{first.url}/api/v1/utils/ai-tasks/", headers={"X-CSRFToken": str(token)},
                             data={"task_type": "live_steps", "task_config": {"steps": 300, "pause": 0.1}})  # fmt: skip
    page.goto(f"{first.url}/tasks/{made.json()['id']}")
    expect(page.locator("#transport [data-transport-label]")).to_have_text("Live")
    page.request.post(f"{first.url}/logout", form={"csrf_token": str(token)}, headers={"Referer": first.url})
    expect(page.locator("#toasts")).to_contain_text("signed out", timeout=20_000)
    page.wait_for_timeout(500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert not asked


__all__ = ["start_on"]

"""The live channel of a page: the ladder down and up, reloads, restarts, two tabs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ENV, NO_SOCKETS, Watched, start_on
from tests.conftest import ROOT, Server

STATUS = '[data-live-view="status"]'
SAYS = "#transport [data-transport-label]"


def _quick(tab: Watched) -> None:
    """The page's script with its minute of waiting as a second and a half."""
    script = (ROOT / "static" / "live.js").read_text()
    assert "CLIMB_MS = 60000" in script
    script = script.replace("CLIMB_MS = 60000", "CLIMB_MS = 1500").replace("POLL_MS = 2000", "POLL_MS = 300")
    tab.page.route("**/static/live.js*", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    tab.page.add_init_script(NO_SOCKETS)
    tab.allowed += [r"/ws/taken-away", r"/live/stream", r"net::ERR_FAILED"]


def _moves(page: Any) -> None:
    """Whatever carries it, the step on the page goes on."""
    seen = page.locator(STATUS).get_attribute("data-live-seq")
    expect(page.locator(STATUS)).not_to_have_attribute("data-live-seq", str(seen))


def test_down_the_ladder_and_up_again(tab: Watched, start: Callable[..., str]) -> None:
    task_id = start("Ladder", steps=600, pause=0.1)
    _quick(tab)
    page = tab.open(f"/tasks/{task_id}")
    expect(page.locator(SAYS)).to_have_text("Live")
    _moves(page)
    page.evaluate("localStorage.setItem('no-sockets', '1')")
    page.reload()
    expect(page.locator(SAYS)).to_have_text("Live (SSE)")
    _moves(page)
    page.route("**/live/stream*", lambda route: route.abort())
    page.reload()
    expect(page.locator(SAYS)).to_have_text("Polling")
    _moves(page)
    page.unroute("**/live/stream*")
    expect(page.locator(SAYS)).to_have_text("Live (SSE)")
    _moves(page)
    page.evaluate("localStorage.removeItem('no-sockets')")
    expect(page.locator(SAYS)).to_have_text("Live")
    _moves(page)
    page.locator(STATUS).get_by_role("button", name="Cancel").click()
    expect(page.locator(STATUS)).to_have_attribute("data-status", "cancelled")
    expect(page.locator(SAYS)).to_have_text("Idle")


@pytest.mark.parametrize("rung", ["sse", "poll"])
def test_the_end_arrives_on_every_rung(tab: Watched, start: Callable[..., str], rung: str) -> None:
    task_id = start("To the end", steps=70, pause=0.1)
    _quick(tab)
    tab.page.add_init_script("localStorage.setItem('no-sockets', '1')")
    if rung == "poll":
        tab.page.route("**/live/stream*", lambda route: route.abort())
    page = tab.open(f"/tasks/{task_id}")
    expect(page.locator(SAYS)).to_have_text({"sse": "Live (SSE)", "poll": "Polling"}[rung])
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed", timeout=20_000)
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    expect(page.locator(SAYS)).to_have_text("Idle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(900)
    of_the_bell = "/api/v1/notifications/unread"  # each ten seconds, whatever is on the page
    assert [url for url in asked if not url.endswith(of_the_bell)] == [], "nothing is asked for after the end"


def test_reload_in_mid_task(tab: Watched, start: Callable[..., str]) -> None:
    task_id = start("Reloaded", steps=100, pause=0.1)
    page = tab.open(f"/tasks/{task_id}")
    for _ in range(2):
        expect(page.locator(SAYS)).to_have_text("Live")
        _moves(page)
        page.reload()
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed", timeout=20_000)


def test_the_server_restarts_in_mid_task(make_server: Callable[..., Server], make_tab: Callable[..., Watched]) -> None:
    server = make_server(ENV)
    tab = make_tab(server)
    tab.allowed += [r"ERR_CONNECTION", r"WebSocket", r"ERR_EMPTY_RESPONSE", r"ERR_INCOMPLETE", r"ERR_FAILED"]
    task_id = start_on(server, "Restarted", steps=60, pause=0.1)
    page = tab.open(f"/tasks/{task_id}")
    page.evaluate("window.sameDocument = true")
    expect(page.locator(SAYS)).to_have_text("Live")
    _moves(page)
    server.stop()
    server.start()
    expect(page.locator(SAYS)).to_have_text(re.compile("^(Live|Live .SSE.|Polling)$"), timeout=20_000)
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed", timeout=25_000)
    assert page.evaluate("window.sameDocument === true")
    expect(page.get_by_role("heading", name="Result")).to_be_visible()


def test_two_tabs_show_the_same(make_tab: Callable[..., Watched], start: Callable[..., str]) -> None:
    first = make_tab()
    second = make_tab(context=first.page.context)
    task_id = start("Twice", steps=600, pause=0.1)
    first.open(f"/tasks/{task_id}")
    second.open("/tasks")
    row = second.page.locator(f"#task-{task_id}-row")
    for tab in (first, second):
        expect(tab.page.locator(SAYS)).to_have_text("Live")
    row.get_by_role("button", name=re.compile("Cancel")).click()
    expect(first.page.locator(STATUS)).to_have_attribute("data-status", "cancelled")
    expect(row).to_have_attribute("data-status", "cancelled")


def test_what_one_opened_and_ticked_stays(tab: Watched, start: Callable[..., str]) -> None:
    """A push redraws the row under one's hands and must not take the tick or the focus away."""
    task_id = start("Ticked", steps=600, pause=0.05)
    page = tab.open("/tasks?q=Ticked")
    row = page.locator(f"#task-{task_id}-row")
    box = row.locator(".row-check input")
    box.check()
    row.locator("a").first.focus()
    seen = row.get_attribute("data-live-seq")
    expect(row).not_to_have_attribute("data-live-seq", str(seen))
    expect(box).to_be_checked()
    expect(row.locator("a").first).to_be_focused()
    row.get_by_role("button", name=re.compile("Cancel")).click()


def test_a_deleted_task_leaves_other_pages(make_tab: Callable[..., Watched], start: Callable[..., str]) -> None:
    tab = make_tab()
    other = start("Keeps the page live", steps=600, pause=0.1)
    task_id = start("Deleted elsewhere", steps=20, pause=0.1)
    page = tab.open("/")
    row = page.locator(f"#task-{task_id}-row")
    expect(row).to_be_visible()
    import requests

    requests.post(f"{tab.url}/api/v1/utils/ai-tasks/{task_id}/cancel/", timeout=10)
    expect(row).to_have_attribute("data-status", "cancelled")
    assert requests.delete(f"{tab.url}/api/v1/utils/ai-tasks/{task_id}/", timeout=10).status_code == 204
    expect(row).to_have_count(0)
    requests.post(f"{tab.url}/api/v1/utils/ai-tasks/{other}/cancel/", timeout=10)

"""The log page and the system page in a real browser: what comes in by itself, and what the reader can hold still."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import Watched
from tests.conftest import ROOT

SAYS = ".log-foot [data-transport-label]"
LINES = "[data-log-lines] > li"
PLACE = "document.querySelector('#mark').getBoundingClientRect().top"


def _script(tab: Watched, old: str, new: str) -> None:
    """The page's script with another number in it."""
    script = (ROOT / "static" / "logs.js").read_text()
    assert old in script
    script = script.replace(old, new)
    tab.page.route("**/static/logs.js*", lambda route: route.fulfill(body=script, content_type="text/javascript"))


def _done(page: Any, task_id: str) -> None:
    expect(page.locator(f'{LINES}[data-task="{task_id}"] .log-text').last).to_have_text("Done", timeout=15_000)


def test_lines_come_by_themselves_and_stop_while_paused(tab: Watched, start: Callable[..., str]) -> None:
    page = tab.open("/logs")
    expect(page.locator(SAYS)).to_have_text("Live")
    _done(page, start("Live", steps=3, pause=0.05))
    page.keyboard.press("p")
    expect(page.locator(SAYS)).to_have_text("Paused")
    shown = page.locator(LINES).count()
    second = start("Missed", steps=3, pause=0.05)
    expect(page.locator("[data-log-newer]")).to_contain_text(re.compile(r"Paused, \d+ new lines"))
    assert page.locator(LINES).count() == shown
    page.locator("[data-log-newer]").click()
    _done(page, second)


def test_filters_change_what_is_shown_and_what_comes(tab: Watched, start: Callable[..., str]) -> None:
    one = start("One", steps=2)
    page = tab.open("/logs")
    _done(page, one)
    page.locator(f'{LINES}[data-task="{one}"]').last.hover()
    page.locator(f'{LINES}[data-task="{one}"] [data-log-only]').last.click()
    expect(page).to_have_url(re.compile(f"task_id={one}"))
    expect(page.locator(SAYS)).to_have_text("Live")
    other = start("Other", steps=2)
    page.get_by_label("Search messages").fill("done")
    expect(page.locator(f"{LINES} .log-text")).to_have_text(["Done"])
    assert page.locator(f'{LINES}[data-task="{other}"]').count() == 0
    page.locator("#level-error").check()
    expect(page.locator("[data-log-empty]")).to_contain_text("No line fits these filters.")
    page.locator("[data-log-clear]").click()
    _done(page, other)
    expect(page).to_have_url(re.compile(r"/logs$"))


def test_old_lines_leave_and_nothing_jumps_under_the_reader(tab: Watched, start: Callable[..., str]) -> None:
    for _ in range(4):
        last = start("Before", steps=12)
    _script(tab, "MOST = Number(page.dataset.most)", "MOST = 60")
    page = tab.open("/logs")
    expect(page.locator(SAYS)).to_have_text("Live")
    _done(page, last)
    page.evaluate("document.querySelector('[data-log-scroll]').scrollTop -= 300")
    page.evaluate("[...document.querySelectorAll('[data-log-lines] > li')].at(-20).id = 'mark'")
    before = page.evaluate(PLACE)
    start("After", steps=4)
    expect(page.locator("[data-log-newer]")).to_contain_text("new line")
    assert page.evaluate(PLACE) == before
    assert page.locator(LINES).count() <= 60


def test_without_the_socket_the_history_is_asked(tab: Watched, start: Callable[..., str]) -> None:
    _script(tab, "POLL_MS = 5000", "POLL_MS = 300")
    tab.page.add_init_script(
        "const R = WebSocket; window.WebSocket = function (url) { return new R(String(url).replace('/ws/logs', '/ws/away')); };"
    )
    tab.allowed += [r"/ws/away"]
    page = tab.open("/logs")
    expect(page.locator(SAYS)).to_have_text("Every 5 s")
    _done(page, start("Polled", steps=2))


def test_the_page_can_be_read_without_a_script(make_tab: Callable[..., Watched], start: Callable[..., str]) -> None:
    start("Plain", steps=2)
    page = make_tab(java_script_enabled=False).open("/logs?level=info")
    assert page.locator(LINES).count() > 0
    expect(page.get_by_text("only with JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Apply")).to_be_visible()


def test_the_numbers_of_the_machine_go_on_until_they_are_paused(tab: Watched) -> None:
    page = tab.open("/system")
    page.locator("#cpu-table summary").click()
    measured = page.locator(".strip dd").last
    first = measured.inner_text()
    expect(measured).not_to_have_text(first, timeout=15_000)
    assert page.locator("#cpu-table").get_attribute("open") is not None
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-system-state]")).to_have_text("Paused")

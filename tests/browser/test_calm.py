"""What moves, prints and is reached by keyboard: pushes shift nothing, motion can be refused, paper shows the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watched

SHIFT = """
window.shifted = 0;
new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifted += e.value; })
  .observe({type: "layout-shift", buffered: true});
"""
MOST = 0.02  # a fifth of what is called good


@pytest.mark.parametrize("path", ["/", "/tasks", "task", "/monitor/", "/admin/"])
def test_pushes_and_polls_shift_nothing(make_tab: Callable[..., Watched], start: Callable[..., str], path: str) -> None:
    """A task goes from its first step into its second minute of digits: no line moves."""
    task_id = start("A task with a name of usual length", steps=90, pause=0.1)
    tab = make_tab()
    tab.page.add_init_script(SHIFT)
    page = tab.open(f"/tasks/{task_id}" if path == "task" else path)
    told = page.locator("[data-live-seq]").first if path in ("/", "/tasks", "task") else page.locator(".ops-asof")
    read = "e => e.dataset.liveSeq || e.innerText"
    for _ in range(2 if path.startswith(("/monitor", "/admin")) else 20):
        before = told.evaluate(read)
        page.wait_for_function(
            "([sel, old]) => { const e = document.querySelector(sel); return e && (e.dataset.liveSeq || e.innerText) !== old }",
            arg=["[data-live-seq]" if path in ("/", "/tasks", "task") else ".ops-asof", before],
        )
    assert page.evaluate("window.shifted") <= MOST


def test_refused_motion_is_none(make_tab: Callable[..., Watched], start: Callable[..., str]) -> None:
    task_id = start("Still", steps=60, pause=0.1)
    tab = make_tab(reduced_motion="reduce")
    page = tab.open(f"/tasks/{task_id}")
    expect(page.locator('[data-live-view="status"]')).to_have_attribute("data-status", "running")
    moving = "document.getAnimations().filter((a) => a.playState === 'running').length"
    assert page.evaluate(moving) == 0
    page.keyboard.press("Control+k")
    assert page.evaluate(moving) == 0


def test_paper_shows_the_work_and_nothing_to_press(make_tab: Callable[..., Watched], start: Callable[..., str]) -> None:
    task_id = start("On paper", steps=1)
    tab = make_tab(color_scheme="dark")
    page = tab.open(f"/tasks/{task_id}")
    expect(page.locator('[data-live-view="status"]')).to_have_attribute("data-status", "completed")
    page.emulate_media(media="print")
    for hidden in (".sidebar", ".topbar", ".status-actions", ".toasts"):
        assert page.locator(hidden).first.is_hidden(), hidden
    assert page.get_by_role("heading", level=1).is_visible()
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
    dark = page.locator("main").evaluate(
        "e => getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).every((n) => n < 90)"
    )
    assert dark, "dark words on white paper, whatever the screen shows"
    assert len(page.pdf()) > 5000


def test_an_operator_needs_no_mouse(tab: Watched) -> None:
    """Every stop of the tabulator shows where it is; asking before an action, taking it back, doing it."""
    page = tab.open("/monitor/")
    page.locator("#pause-embedding").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    stops = 0
    for _ in range(12):
        seen: dict[str, Any] = page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e), box = e.getBoundingClientRect();
            return {name: e.id || e.localName, outline: s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2, inside: box.bottom > 0 && box.top < innerHeight} }"""
        )
        if seen["name"] != "body":
            assert seen["outline"], seen
            assert seen["inside"], seen
            stops += 1
        page.keyboard.press("Tab")
    assert stops >= 8
    page.locator("#pause-embedding").focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#confirm")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.querySelector('#confirm').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "pause-embedding", "back where it was"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    resume = page.locator("#resume-embedding")
    expect(resume).to_be_visible()
    resume.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#pause-embedding")).to_be_visible()

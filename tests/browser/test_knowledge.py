"""Knowledge in a real browser: many files dropped at once, each with its progress and outcome; search and citation by
keyboard. MiniLM is not needed: what is dropped is found by its words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watched

DROP = """([names, bytes]) => {
  const held = new DataTransfer();
  for (const name of names) held.items.add(new File([name + ": the lamp burns oil. ".repeat(bytes / 20)], name));
  const event = (type) => document.querySelector("main").dispatchEvent(new DragEvent(type, {dataTransfer: held, bubbles: true, cancelable: true}));
  event("dragenter");
  window.wasOver = document.body.classList.contains("is-dropping");
  event("dragover");
  event("drop");
}"""


@pytest.fixture
def shelf(tab: Watched, request: pytest.FixtureRequest) -> Any:
    """An open page of a new collection."""
    name = f"Lamps {request.node.name[:60]}"
    page = tab.open("/knowledge")
    page.get_by_text("New collection").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    page.wait_for_load_state()  # what takes files is a script, and the heading is there before it
    return page


def test_many_files_are_dropped_and_each_tells_what_became_of_it(shelf: Any) -> None:
    page = shelf
    names = [f"log-{number:02}.txt" for number in range(24)]
    page.evaluate(DROP, [[*names, "tool.exe"], 400])
    assert page.evaluate("window.wasOver")
    assert not page.evaluate("document.body.classList.contains('is-dropping')")
    refused = page.locator(".k-upload.is-bad")
    expect(refused).to_have_count(1)
    expect(refused).to_contain_text("files ending in .exe are not read")
    expect(page.locator("#k-reading .k-source").first).to_be_visible()
    expect(page.locator(".k-doc")).to_have_count(24)
    expect(page.locator(".k-upload:not(.is-bad)")).to_have_count(0)
    refused.get_by_role("button", name="Dismiss").click()
    expect(page.locator("[data-uploads]")).to_be_hidden()


def test_each_file_shows_how_far_it_is_while_it_is_sent(shelf: Any) -> None:
    """The answer of the server is held back until what is shown meanwhile was seen."""
    page, held = shelf, []
    page.route("**/files", lambda route: held.append(route))
    page.evaluate(DROP, [["one.txt", "two.txt"], 60000])
    rows = page.locator(".k-upload")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Sending")
    expect(rows.first.locator("progress")).to_have_attribute("aria-label", "Upload of one.txt")
    page.wait_for_function("document.querySelectorAll('.k-upload progress').length === 2")
    for route in held:
        route.continue_()
    expect(page.locator(".k-doc")).to_have_count(2)


def test_a_lost_connection_is_told_beside_the_file(tab: Watched, shelf: Any) -> None:
    tab.allowed.append("net::ERR_FAILED")
    shelf.route("**/files", lambda route: route.abort())
    shelf.evaluate(DROP, [["one.txt"], 100])
    expect(shelf.locator(".k-upload.is-bad")).to_contain_text("the server can’t be reached")


def test_from_a_question_to_the_marked_words_by_keyboard(tab: Watched, shelf: Any) -> None:
    tab.allowed.append(r"htmx:(sendAbort|afterRequest)")  # each letter gives up the search of the one before
    page = shelf
    page.get_by_role("button", name="Text", exact=True).click()
    page.get_by_label("Text").last.fill(
        "# The lamp\n\nThe wick is trimmed at ten, at two and at five.\n\n| Hour | Oil |\n|---|---|\n| ten | two cups |"
    )
    page.get_by_role("button", name="Add text").click()
    expect(page.locator(".k-doc")).to_have_count(1)
    page.get_by_role("link", name="Search it").click()
    expect(page.locator("#find-q")).to_be_focused()
    page.keyboard.type("how many cups of oil")
    hit = page.locator(".hit").first
    expect(hit).to_contain_text("ten · two cups")
    expect(hit.locator("mark").first).to_be_visible()
    expect(hit).not_to_contain_text("|")
    hit.locator(".why > summary").click()  # nothing of a result lies over the page
    expect(hit.locator(".why dl")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#find-q")).to_have_value("how many cups of oil")
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/knowledge/documents/.*#cited"))
    expect(page.locator("#cited")).to_be_in_viewport()


@pytest.mark.parametrize("width", [380, 1280])
def test_no_page_of_knowledge_scrolls_sideways(make_tab: Callable[..., Watched], width: int) -> None:
    tab = make_tab()
    tab.page.set_viewport_size({"width": width, "height": 800})
    for path in ("/knowledge", "/knowledge/crawls", "/knowledge/crawls/new", "/knowledge/search?q=lamp"):
        page = tab.open(path)
        assert page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth") <= 0, path

"""The ten main tasks with no mouse: the tabulator, arrows, Enter, Space, Escape and the keys of `?`.

Each stop on the way has to show that it has the focus. The tenth, the palette, is in test_shots.py and used here on the way;
the operator's part is in test_calm.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.conftest import TEXT, Watched
from tests.conftest import Server

STATUS = '[data-live-view="status"]'
FACT = "The lantern of Seafield was lit for the first time in 1884 by the widow of a pilot."
# The element with the focus, and whether it, its label or a box around it wears a ring inside the window.
HERE = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const parts = [[e, null], [e, "::after"], [e.nextElementSibling, null]];
  for (let up = e.parentElement, n = 0; up && n < 4; up = up.parentElement, n++) parts.push([up, null]);
  const ring = parts.some(([one, part]) => {
    if (!one) return false;
    const s = getComputedStyle(one, part);
    return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 1.5;
  });
  const box = e.getBoundingClientRect();
  return {name: `${e.localName}#${e.id}.${e.className} ${e.textContent.trim().slice(0, 30)}`, ring, inside: box.bottom > 0 && box.top < innerHeight};
}"""


class Hands:
    """A keyboard on a page."""

    def __init__(self, tab: Watched) -> None:
        self.tab, self.page = tab, tab.page

    def open(self, path: str) -> Hands:
        self.tab.open(path)
        return self

    def press(self, *keys: str) -> Hands:
        for key in keys:
            self.page.keyboard.press(key)
        return self

    def type(self, text: str) -> Hands:
        self.page.keyboard.type(text)
        return self

    def into_the_page(self) -> Hands:
        """Past the menu, by the first stop of every page."""
        self.press("Tab")
        expect(self.page.locator(".skip")).to_be_focused()
        return self.press("Enter")

    def to(self, target: Any, key: str = "Tab", most: int = 60) -> Hands:
        """On to the control, stop by stop."""
        expect(target).to_be_visible()
        way = []
        for _ in range(most):
            self.press(key)
            here = self.page.evaluate(HERE)
            if here is None:
                continue
            assert here["ring"], f"no ring on {here['name']}"
            assert here["inside"], f"outside of the window: {here['name']}"
            way.append(here["name"])
            if target.evaluate("e => e === document.activeElement"):
                return self
        raise AssertionError(f"not reached by {most} times {key}: {way}")


@pytest.fixture
def hands(tab: Watched) -> Hands:
    return Hands(tab)


@pytest.fixture(scope="module")
def lantern(server: Server) -> Iterator[str]:
    """A collection with one text."""
    api = f"{server.url}/api/v1/knowledge/collections"
    shelf = requests.post(api, json={"name": "Lantern"}, timeout=30).json()["id"]
    document = {"id": "lantern", "title": "The lantern of Seafield", "text": FACT}
    assert requests.post(f"{api}/{shelf}/documents", json=document, timeout=60).status_code == 201
    yield shelf
    requests.delete(f"{api}/{shelf}", timeout=30)


def test_ask_a_question_and_open_a_citation(hands: Hands, lantern: str) -> None:
    page = hands.open("/chat").page
    expect(page.locator("#ask")).to_be_focused()
    hands.type("When was the lantern of Seafield lit for the first time?").press("Enter")
    answer = page.locator(".chat-answer").last
    expect(answer).to_have_attribute("data-status", "done")
    expect(answer.locator(".chat-text")).to_contain_text("1884")
    expect(page.locator("#ask")).to_be_focused()
    cite = answer.locator(".chat-text a.cite").first
    hands.to(cite, "Shift+Tab").press("Enter")
    panel = page.locator("#source-panel")
    expect(panel.locator(".source-quote")).to_contain_text("widow of a pilot")
    expect(panel.get_by_role("button", name="Close")).to_be_focused()
    hands.press("Escape")
    expect(panel).to_be_hidden()
    expect(cite).to_be_focused()
    hands.press("Enter")
    expect(panel.get_by_role("button", name="Close")).to_be_focused()
    hands.to(panel.get_by_role("link", name="Open the stored copy")).press("Enter")
    page.wait_for_url(re.compile(r"/knowledge/"))
    expect(page.locator("main")).to_contain_text("1884")


def test_start_a_summary_and_check_a_sentence(hands: Hands) -> None:
    page = hands.open("/").page
    hands.into_the_page().to(page.get_by_role("textbox", name="Text or links")).type(TEXT.replace("\n", " "))
    hands.to(page.get_by_role("button", name="Summarise", exact=True)).press("Enter")
    page.wait_for_url("**/tasks/*")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")
    cite = page.locator(".prose a.cite").first
    hands.into_the_page().to(cite).press("Enter")
    expect(page.locator(f"mark{cite.get_attribute('href')}")).to_be_in_viewport()


def test_watch_cancel_and_try_again(hands: Hands, start: Callable[..., str]) -> None:
    start("Stopped by hand", steps=600, pause=0.1)
    page = hands.open("/tasks?q=Stopped+by+hand").page
    expect(page.locator("[data-row]")).to_have_attribute("data-status", "running")
    hands.press("j", "Enter")
    page.wait_for_url(re.compile(r"/tasks/[0-9a-f-]+$"))
    card = page.locator(STATUS)
    expect(card).to_contain_text(re.compile(r"step \d+ of 600"))
    hands.into_the_page().to(card.get_by_role("button", name="Cancel")).press("Enter")
    expect(card).to_have_attribute("data-status", "cancelled")
    hands.to(card.get_by_role("button", name="Try again"), most=6).press("Space")  # on from where one was
    expect(card).to_have_attribute("data-status", "running")
    hands.into_the_page().to(card.get_by_role("button", name="Cancel")).press("Space")
    expect(card).to_have_attribute("data-status", "cancelled")


def test_search_the_knowledge_and_read_the_passage(hands: Hands, lantern: str) -> None:
    hands.tab.allowed.append(r"htmx:(sendAbort|afterRequest)")  # each letter gives up the search of the one before
    page = hands.open("/").press("Control+k").type("search").page
    option = page.locator('#palette [role="option"][aria-selected="true"]')
    expect(option).to_have_text(re.compile("^Search"))
    hands.press("Enter")
    page.wait_for_url("**/knowledge/search")
    expect(page.locator("#find-q")).to_be_focused()
    hands.type("who lit the lantern of Seafield")
    expect(page.locator(".hit").first).to_contain_text("widow of a pilot")
    hands.press("ArrowDown", "Enter")
    page.wait_for_url(re.compile(r"/knowledge/documents/.*#cited"))
    expect(page.locator("#cited")).to_be_in_viewport()


def test_make_a_collection_and_add_sources(hands: Hands, tmp_path: Path) -> None:
    page = hands.open("/knowledge").page
    # From here on and not from the key on: the browser may see the key before it is told to leave the chooser to us.
    page.on("filechooser", lambda _: None)
    hands.into_the_page().to(page.locator(".k-new > summary")).press("Enter")
    hands.to(page.get_by_label("Name"), most=2).type("Made by hand").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Made by hand")
    add = page.locator("[data-add]")
    hands.into_the_page().to(add.get_by_role("button", name="Text", exact=True)).press("Enter")
    expect(add.locator("#f-text")).to_be_focused()
    hands.type("# Oil\n\nTwo cups of oil an hour.")
    hands.to(add.get_by_role("button", name="Add text"), most=3).press("Enter")
    expect(page.locator(".k-doc")).to_have_count(1)
    file = tmp_path / "wick.txt"
    file.write_text("The wick is trimmed at ten, at two and at five.")
    hands.into_the_page()
    tab = add.locator('[data-add-tab="files"]')
    hands.to(tab)
    if tab.get_attribute("aria-pressed") != "true":
        hands.press("Enter")
    hands.to(add.locator("#f-files"), most=4)
    with page.expect_file_chooser() as chosen:
        hands.press("Enter")
    chosen.value.set_files(file)
    expect(page.locator(".k-doc")).to_have_count(2)


def test_change_the_theme(hands: Hands) -> None:
    page = hands.open("/").page
    root, ground = page.locator("html"), "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    toggle = page.locator(".sidebar [data-theme-toggle]")
    hands.to(toggle).press("Enter")
    expect(toggle).to_have_accessible_name(re.compile("Theme: light"))
    hands.press("Space")
    expect(root).to_have_attribute("data-theme", "dark")
    assert page.evaluate(ground) != light
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")
    hands.press("Control+k").type("theme: system").press("Enter")
    expect(root).not_to_have_attribute("data-theme", "dark")
    assert page.evaluate(ground) == light


def test_filter_tasks_select_several_and_delete_them(hands: Hands, start: Callable[..., str]) -> None:
    ids = [start("Chosen by hand 1"), start("Chosen by hand 2"), start("Chosen by hand 3", fail="no oil")]
    page = hands.open("/tasks?q=Chosen+by+hand").page
    rows = page.locator("[data-row]")
    expect(rows).to_have_count(3)
    for task_id, status in zip(ids, ("completed", "completed", "failed"), strict=True):
        expect(page.locator(f"#task-{task_id}-row")).to_have_attribute("data-status", status)
    page.reload()  # the counts beside the states
    hands.into_the_page().to(page.locator("#status-all"))
    for _ in range(page.locator("#task-filters input[name=status]").count()):
        if page.locator("#status-completed").is_checked():
            break
        hands.press("ArrowRight")
    expect(page).to_have_url(re.compile("status=completed"))
    expect(rows).to_have_count(2)
    hands.press("/")
    expect(page.locator("#filter-q")).to_be_focused()
    hands.press("ArrowDown", "x", "j", "x")
    bar = page.locator("[data-bulk]")
    expect(bar).to_contain_text("2 selected")
    hands.to(bar.get_by_role("button", name="Delete")).press("Enter")
    dialog = page.locator("#confirm")
    expect(dialog.get_by_role("button", name="Go back")).to_be_focused()
    hands.to(dialog.locator("[data-confirm-verb]"), most=2).press("Enter")
    expect(page.locator(".flashes")).to_contain_text("2 tasks deleted")
    expect(page.locator(f"#task-{ids[0]}-row")).to_have_count(0)


def test_make_an_api_key_copy_it_and_take_it_back(hands: Hands, server: Server) -> None:
    page = hands.open("/profile/keys").page
    hands.into_the_page().to(page.locator("#f-name")).type("by hand")
    hands.to(page.locator('input[name="scopes"][value="tasks:read"]')).press("Space")
    hands.to(page.get_by_role("button", name="Create key")).press("Enter")
    key = page.locator("#new-key").inner_text()
    answer = requests.get(f"{server.url}/api/v1/utils/ai-tasks/", headers={"X-API-Key": key}, timeout=10)
    assert answer.status_code == 200
    hands.into_the_page().to(page.get_by_role("button", name="Copy key")).press("Enter")
    expect(page.locator("#announcer")).to_have_text("Copied")
    hands.to(page.get_by_role("button", name="Revoke by hand")).press("Enter")
    hands.to(page.locator("#confirm [data-confirm-verb]"), most=2).press("Enter")
    expect(page.locator(".flashes")).to_contain_text("revoked")


def test_the_menu_of_a_phone(make_tab: Callable[..., Watched]) -> None:
    hands = Hands(make_tab())
    hands.page.set_viewport_size({"width": 380, "height": 780})
    page = hands.open("/").page
    button = page.get_by_role("button", name="Menu", exact=True)
    hands.to(button, most=3).press("Enter")
    expect(page.locator("#sidebar")).to_be_visible()
    hands.press("Escape")
    expect(page.locator("#sidebar")).to_be_hidden()
    expect(button).to_be_focused()
    hands.press("Enter").to(page.locator('.nav a[href$="/tasks"]'), most=12).press("Enter")
    page.wait_for_url("**/tasks")

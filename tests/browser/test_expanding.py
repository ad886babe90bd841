"""Looking for more in a browser: the new answer comes into the open thread by itself, and is there after a reload."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ENV, NO_SOCKETS, PATIENCE, Watched
from tests.browser.test_chat import accessible, answer, ask, no_overflow
from tests.conftest import Server
from tests.fakes.small_site import SmallSite
from tests.research.conftest import BEES

QUESTION = "Which enemies do mason bees have?"


@pytest.fixture
def web() -> Iterator[SmallSite]:
    with SmallSite() as site:
        site.pages.update(BEES)
        yield site


@pytest.fixture
def curious(make_server: Callable[..., Server], web: SmallSite) -> Server:
    return make_server({**ENV, "BRAINSTEM_ALLOW_HOSTS": "127.0.0.1", "BRAINSTEM_RESEARCH_SOURCES": web.url("/list.html"),
                        "BRAINSTEM_GRACE_SECONDS": "0.2"})  # fmt: skip


@pytest.mark.parametrize("rung", ["websocket", "poll"])
def test_the_new_answer_comes_into_the_open_thread(
    make_tab: Callable[..., Watched], curious: Server, web: SmallSite, rung: str
) -> None:
    gate, page_of_enemies = threading.Event(), web.pages["/bees/enemies.html"]

    def held(headers: Any) -> Any:
        gate.wait(PATIENCE / 1000)
        return page_of_enemies if isinstance(page_of_enemies, tuple) else (200, {}, page_of_enemies)

    web.pages["/bees/enemies.html"] = held
    tab = make_tab(curious)
    if rung == "poll":
        tab.allowed.append("WebSocket|ERR_|taken-away|EventSource|live/stream|MIME")
        tab.page.add_init_script(NO_SOCKETS + "localStorage.setItem('no-sockets', '1'); delete window.EventSource;")
    page = tab.open("/chat")
    ask(page, QUESTION)
    expect(answer(page)).to_have_attribute("data-status", "declined")
    answer(page).get_by_role("button", name="Look for more").click()
    expect(page.locator(".chat-answer")).to_have_count(1)
    expect(answer(page)).to_have_attribute("data-looking", "")
    expect(answer(page).locator(".chat-step")).to_contain_text(re.compile(r"Looking for new sources: \d pages? read"))
    expect(answer(page).locator(".chat-places")).to_contain_text("2")
    accessible(page)
    ask(page, "And what is a bee?")
    expect(page.locator(".chat-question")).to_have_count(2)  # nothing waits for a search
    first = page.locator(".chat-answer").first
    expect(first).to_have_attribute("data-looking", "")
    gate.set()
    expect(first).to_have_attribute("data-status", "done")
    for _ in range(2):
        expect(first.locator(".chat-text")).to_contain_text("wasps")
        expect(first.locator(".chat-change")).to_contain_text("new pages read; the question can be answered now.")
        expect(first.locator(".chat-places")).to_contain_text("2")
        page.reload()
    first.locator(".chat-change summary").filter(has_text="The answer before").click()
    expect(first.locator(".chat-before")).to_contain_text("I don't know.")
    first.locator(".chat-change summary").filter(has_text="What was looked at").click()
    no_overflow(page)
    accessible(page)
    first.locator("a.cite").first.click()
    expect(page.locator("#source-panel")).to_contain_text("wasps")
    page.keyboard.press("Escape")
    first.get_by_role("button", name="Branch before").click()
    expect(answer(page)).to_have_attribute("data-status", "declined")
    expect(answer(page).locator(".chat-text")).to_contain_text("I don't know.")


def test_stopped_by_its_own_button(make_tab: Callable[..., Watched], curious: Server, web: SmallSite) -> None:
    gate = threading.Event()

    def held(headers: Any) -> Any:
        gate.wait(PATIENCE / 1000)
        return 404, {}, b""

    web.pages["/list.html"] = held
    page = make_tab(curious).open("/chat")
    ask(page, QUESTION)
    answer(page).get_by_role("button", name="Look for more").click()
    expect(answer(page)).to_have_attribute("data-looking", "")
    answer(page).get_by_role("button", name="Stop looking").click()
    expect(answer(page)).to_have_attribute("data-status", "cancelled")
    gate.set()

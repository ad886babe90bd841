"""A newcomer's first minutes on a server that was just started: each thing to try is one click from its result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ENV, Watched
from tests.conftest import ROOT, Server

STATUS = '[data-live-view="status"]'


@pytest.fixture(scope="module")
def new_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("new"), {**ENV, "BRAINSTEM_DEMO": "1"}).start()
    yield made
    made.kill()


@pytest.fixture
def tab(make_tab: Callable[..., Watched], new_server: Server) -> Watched:
    return make_tab(new_server)


def test_from_the_first_page_to_a_cited_answer(tab: Watched) -> None:
    page = tab.open("/")
    ask = page.get_by_role("button", name="Ask this")
    expect(ask).to_be_visible(timeout=30_000)  # without a reload, as soon as the documentation was read
    expect(page.locator(".setup")).to_contain_text("No language model")
    ask.click()
    page.wait_for_url("**/chat/*")
    cite = page.locator(".chat-text a.cite").first
    expect(cite).to_be_visible(timeout=30_000)
    cite.click()
    quote = page.locator("#source-panel .source-quote").inner_text()
    written = " ".join(path.read_text("utf-8") for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    assert re.sub(r"\W+", " ", quote).strip() in re.sub(r"\W+", " ", written), "word for word"


def test_summary_and_table(tab: Watched) -> None:
    page = tab.open("/welcome")
    page.get_by_role("button", name="Summarise it").click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")
    expect(page.locator(".prose a.cite").first).to_be_visible()
    page = tab.open("/welcome")
    page.get_by_role("button", name="Analyse it").click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")
    expect(page.locator("figure svg").first).to_be_visible()


def test_help_opens_at_the_section_of_the_page(tab: Watched) -> None:
    page = tab.open("/models")
    page.get_by_role("link", name="Help with this page").first.click()
    page.wait_for_url("**/help/user-guide#models")
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_in_viewport()
    page.keyboard.press("?")
    more: Any = page.locator("#help").get_by_role("link", name="All documentation")
    expect(more).to_be_visible()
    more.click()
    expect(page.get_by_role("heading", name="Documentation")).to_be_visible()

"""The judge of `make shots` on the pages people meet first: no errors, no sideways scrolling, readable, light."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, missing

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PAGES = ("/", "/tasks", "/tasks/new", "/tasks/new?kind=summary", "/profile", "/profile/keys", "/login", "/ui", "/nowhere", "@running", "@failed",
         "@summary", "/monitor/", "/monitor/workers", "/monitor/dead-letters", "@letter", "/monitor/schedules",
         "/monitor/schedules/health", "/monitor/audit", "/monitor/database/", "/monitor/database/tasks", "/admin/",
         "@crashed", "/system", "/logs", "/knowledge", "@collection", "@empty", "@document", "@citation", "@crawling", "@crawled",
         "/knowledge/crawls/new", "/knowledge/search", "/knowledge/search?q=what+does+a+ship+pay+in+winter",
         "/knowledge/search?q=zeppelin&mode=keyword&quality=0.6", "/chat", "@chat", "@extractive", "@declined", "@broken",
         "@shared", "/models", "/agents/classic", "@research", "@comparison")  # fmt: skip
ROOMS = {"letter": "/monitor/dead-letters/", "crashed": "/admin/tasks/", "collection": "/knowledge/", "empty": "/knowledge/",
         "document": "/knowledge/documents/", "citation": "/knowledge/citations/", "crawling": "/knowledge/crawls/",
         "crawled": "/knowledge/crawls/", "chat": "/chat/", "extractive": "/chat/", "declined": "/chat/", "broken": "/chat/",
         "shared": "/shared/"}  # fmt: skip


def load_shots() -> Any:
    spec = importlib.util.spec_from_file_location("shots", ROOT / "scripts" / "shots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shots"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Any:
    pytest.importorskip("playwright")
    shots = load_shots()
    if shots.find_chrome() is None:
        missing("Chromium")
    with shots.studio(tmp_path_factory.mktemp("shots"), browser) as (camera, ids):
        yield camera, ids


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_in_order(camera: Any, page: str) -> None:
    photographer, ids = camera
    path = ROOMS.get(page[1:], "/tasks/") + ids[page[1:]] if page.startswith("@") else page
    theme = ("light", "dark")[PAGES.index(page) % 2]  # `make shots` takes both, in every width
    shot = photographer.take(path, 380, theme, elsewhere=True)
    assert shot.problems == []
    assert shot.controls > 0
    assert (Path(photographer.out) / shot.file).stat().st_size > 2000


def open_page(camera: Any, path: str, width: int = 1200) -> Any:
    photographer, _ = camera
    page = photographer.browser.new_page(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page.goto(photographer.url + path, wait_until="load")
    return page


@pytest.mark.parametrize("width", [380, 1200])
def test_the_palette_goes_anywhere_by_keyboard(camera: Any, width: int) -> None:
    page = open_page(camera, "/tasks/new", width)
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Search or jump to")
    assert field.evaluate("e => e === document.activeElement")
    page.keyboard.type("charter")
    option = page.get_by_role("option", name="Scan of the harbour charter")
    option.wait_for()
    for _ in range(12):
        if option.get_attribute("aria-selected") == "true":
            break
        page.keyboard.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == option.get_attribute("id")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/*")
    assert page.get_by_role("heading", level=1).inner_text() == "Scan of the harbour charter"
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    assert page.locator("#palette[open]").count() == 0
    page.close()


def test_silence_is_said_without_a_push(camera: Any) -> None:
    """A task that has said nothing for half a minute says so; the page asks the server before it believes it."""
    from playwright.sync_api import expect

    _, ids = camera
    page = open_page(camera, f"/tasks/{ids['stalled']}")
    card = page.locator("[data-progress]").first
    assert "is-stalled" in (card.get_attribute("class") or "")
    assert "No progress for" in card.inner_text()
    page.goto(page.url.replace(ids["stalled"], ids["running"]))
    silence = page.locator("[data-silent]").first
    assert silence.is_hidden()
    with page.expect_response("**/status"):  # only the push was lost: the answer sets it right
        silence.evaluate("e => { e.dataset.silent = '9:24' }")
    expect(silence).not_to_have_attribute("data-silent", "9:24")
    assert silence.is_hidden()
    page.route("**/status", lambda route: route.abort())
    silence.evaluate("e => { e.dataset.silent = '9:29' }")
    silence.wait_for(state="visible", timeout=5000)
    assert "is-stalled" in (page.locator("[data-progress]").first.get_attribute("class") or "")
    page.close()


def test_a_table_sorts_filters_and_remembers_its_columns(camera: Any) -> None:
    page = open_page(camera, "/ui")
    names = page.locator("#sample-grid tbody .key-name")
    page.get_by_role("button", name="Parts").click()
    assert names.first.inner_text() == "Scan of the old charter"
    page.get_by_role("searchbox", name="Filter these documents").fill("port")
    assert page.locator("#sample-grid tbody tr:visible").count() == 1
    page.get_by_role("searchbox", name="Filter these documents").fill("")
    assert page.locator('#sample-grid [data-col="kind"]:visible').count() == 6
    page.locator("[data-grid=sample] .menu summary").click()
    page.get_by_label("Kind", exact=True).uncheck()
    assert page.locator('#sample-grid [data-col="kind"]:visible').count() == 0
    page.reload()
    assert page.locator('#sample-grid [data-col="kind"]:visible').count() == 0
    page.close()


def test_pages_read_without_scripts(camera: Any) -> None:
    photographer, ids = camera
    context = photographer.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{photographer.url}/tasks/{ids['summary']}")
    assert page.locator(".sentence").count() > 2
    page.goto(f"{photographer.url}/ui")
    assert page.locator("#tab-history").is_visible()
    assert page.locator("#sample-grid tbody tr").count() == 5
    page.locator(".chart-table summary").first.click()
    assert page.locator(".chart-table table").first.is_visible()
    context.close()

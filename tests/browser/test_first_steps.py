"""The newcomer's path: open, paste, press, watch, check a sentence in its source; and the ways it goes wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import TEXT, Watched

STATUS = '[data-live-view="status"]'


def _no_reload(page: Any) -> None:
    page.evaluate("window.sameDocument = true")


def _still_the_same(page: Any) -> None:
    assert page.evaluate("window.sameDocument === true"), "the page was loaded again"


def test_paste_summarise_watch_and_check_a_sentence(tab: Watched) -> None:
    page = tab.open("/")
    page.get_by_role("textbox", name="Text or links").fill(TEXT)
    page.get_by_role("button", name="Summarise", exact=True).click()
    page.wait_for_url("**/tasks/*")
    _no_reload(page)
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")
    expect(page.get_by_role("heading", name="Summary", exact=True)).to_be_visible()
    _still_the_same(page)
    cite = page.locator(".prose a.cite").first
    sentence = page.locator(".prose .sentence").first.inner_text()
    cite.click()
    mark = page.locator(f"mark{cite.get_attribute('href')}")
    expect(mark).to_be_in_viewport()
    words = re.sub(r"\s*\d+$", "", sentence.replace("\u00a0", " ")).strip()
    assert re.sub(r"\s+", " ", words) in re.sub(r"\s+", " ", mark.inner_text())
    assert re.sub(r"\s+", " ", words) in re.sub(r"\s+", " ", TEXT), "word for word"


def test_status_moves_while_one_watches(tab: Watched, start: Callable[..., str]) -> None:
    task_id = start("Slow work", steps=60, pause=0.1)
    page = tab.open(f"/tasks/{task_id}")
    _no_reload(page)
    card = page.locator(STATUS)
    expect(card).to_have_attribute("data-status", re.compile("running|completed"))
    expect(page.locator("#transport [data-transport-label]")).to_have_text(re.compile("Live|Idle"))
    expect(card).to_contain_text(re.compile(r"step \d+ of 60"))
    expect(card).to_have_attribute("data-status", "completed", timeout=30_000)
    expect(card).to_contain_text("100%")
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    expect(page.locator("#task-events")).to_contain_text(re.compile("step 60 of 60", re.IGNORECASE))
    assert page.title().startswith("✓")
    expect(page.locator("#transport [data-transport-label]")).to_have_text("Idle")
    _still_the_same(page)


def test_upload_a_file(tab: Watched, tmp_path: Path) -> None:
    path = tmp_path / "harbour.md"
    path.write_text("# Harbour\n\n" + TEXT)
    page = tab.open("/")
    page.locator('input[type="file"]').set_input_files(path)
    expect(page.locator("[data-drop-text]")).to_contain_text("harbour.md")
    page.get_by_role("button", name="Summarise", exact=True).click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "completed")
    expect(page.locator(".source-title").first).to_contain_text(re.compile("harbour", re.IGNORECASE))


def test_mistakes_keep_the_input(tab: Watched, tmp_path: Path) -> None:
    tab.allowed.append(r"status of 4(22|00)")  # the browser says so itself
    page = tab.open("/")
    page.get_by_role("button", name="Summarise", exact=True).click()
    expect(page.locator("#start-error")).to_be_visible()
    page.get_by_role("textbox", name="Text or links").fill("http://169.254.169.254/latest/meta-data")
    page.get_by_role("button", name="Summarise", exact=True).click()
    expect(page.locator(".field-error:not([hidden])").first).to_be_visible()
    expect(page.locator('textarea[name="urls"], textarea[name="content"]').locator("visible=true")).to_have_value(
        "http://169.254.169.254/latest/meta-data"
    )
    wrong = tmp_path / "picture.exe"
    wrong.write_bytes(b"MZ")
    tab.open("/tasks/new?kind=summary")
    page.locator("#source-file").check()
    page.locator('input[type="file"]').set_input_files(wrong)
    expect(page.locator(".field-error:not([hidden])")).to_contain_text("picture.exe")
    tab.open("/tasks/new?kind=summary")
    page.locator("#f-content").fill(TEXT)
    page.locator("#f-title").fill("My own title")
    page.locator("#f-max_length").fill("3")
    page.locator("#task-form .form-foot .btn-primary").click()
    expect(page.locator("#f-max_length")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#f-title")).to_have_value("My own title")
    expect(page.locator("#f-content")).to_have_value(re.compile("harbour"))


def test_cancel_and_try_again(tab: Watched, start: Callable[..., str]) -> None:
    task_id = start("To be stopped", steps=600, pause=0.1)
    page = tab.open(f"/tasks/{task_id}")
    _no_reload(page)
    card = page.locator(STATUS)
    expect(card).to_have_attribute("data-status", "running")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_attribute("data-status", "cancelled")
    _still_the_same(page)
    card.get_by_role("button", name="Try again").click()
    expect(card).to_have_attribute("data-status", re.compile("queued|running"))
    expect(card).to_have_attribute("data-status", "running")
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_attribute("data-status", "cancelled")


def test_buttons_of_pushed_rows_work(tab: Watched, start: Callable[..., str]) -> None:
    """A row drawn by the push has no session; its forms must still carry this page's token."""
    task_id = start("Stopped from the list", steps=600, pause=0.1)
    page = tab.open("/tasks")
    row = page.locator(f"#task-{task_id}-row")
    expect(row).to_have_attribute("data-status", "running")
    expect(row).to_contain_text(re.compile(r"step \d+ of 600"))
    row.get_by_role("button", name=re.compile("Cancel")).click()
    expect(row).to_have_attribute("data-status", "cancelled")


def test_a_failure_says_why(tab: Watched, start: Callable[..., str]) -> None:
    page = tab.open(f"/tasks/{start('Fails', steps=2, pause=0.3, fail='The tide was out')}")
    expect(page.locator(STATUS)).to_contain_text("The tide was out")
    expect(page.locator(STATUS)).to_have_attribute("data-status", "failed")


def test_delete_many_after_a_question(tab: Watched, start: Callable[..., str]) -> None:
    ids = [start(f"To be deleted {number}") for number in range(3)]
    page = tab.open("/tasks?q=To+be+deleted")
    rows = [page.locator(f"#task-{task_id}-row") for task_id in ids]
    for row in rows:
        expect(row).to_have_attribute("data-status", "completed")
    for row in rows[:2]:
        row.locator(".row-check input").check()
    bar = page.locator("[data-bulk]")
    expect(bar).to_contain_text("2 selected")
    bar.get_by_role("button", name="Delete").click()
    page.locator("#confirm").get_by_role("button", name="Go back").click()
    expect(rows[0]).to_be_visible()
    bar.get_by_role("button", name="Delete").click()
    page.locator("#confirm [data-confirm-verb]").click()
    expect(page.locator(".flashes")).to_contain_text("2 tasks deleted")
    expect(page.locator(f"#task-{ids[0]}-row")).to_have_count(0)
    expect(page.locator(f"#task-{ids[2]}-row")).to_have_count(1)


def test_filters(tab: Watched, start: Callable[..., str]) -> None:
    start("Filtered apples")
    failed = start("Filtered pears", fail="no pears")
    page = tab.open("/tasks")
    expect(page.locator(f"#task-{failed}-row")).to_have_attribute("data-status", "failed")
    page.locator("#filter-q").fill("filtered")
    expect(page.locator("[data-row]")).to_have_count(2)
    expect(page).to_have_url(re.compile("q=filtered"))
    tab.open("/tasks?q=filtered")
    page.locator('input[name="status"][value="failed"]').check(force=True)
    expect(page.locator("[data-row]")).to_have_count(1)
    expect(page.locator("[data-row]")).to_contain_text("Filtered pears")
    page.reload()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.locator("#filter-clear").click()
    expect(page.locator("[data-row]")).not_to_have_count(1)


def test_keys(tab: Watched, start: Callable[..., str]) -> None:
    start("By keys one")
    start("By keys two")
    page = tab.open("/tasks?q=By+keys")
    page.keyboard.press("j")
    expect(page.locator("[data-row]").nth(0).locator("a")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("[data-row]").nth(1).locator("a")).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(page.locator("[data-row]").nth(0).locator(".row-check input")).to_be_checked()
    page.keyboard.press("Escape")
    expect(page.locator("[data-row]").nth(0).locator(".row-check input")).not_to_be_checked()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("n")  # a dialog is open: not now
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#filter-q")).to_be_focused()
    page.keyboard.type("nj?x")  # letters in a field are letters
    expect(page.locator("#filter-q")).to_have_value(re.compile(r"nj\?x"))
    page.locator("#filter-q").blur()
    page.keyboard.press("n")
    page.wait_for_url("**/tasks/new")

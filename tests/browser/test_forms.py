"""The forms of tasks in a browser: rows, kinds, the browser's own checks, times; and without a script."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import Watched

ORDER = "Summarise these two pages in 150 words https://example.org/a https://example.org/b"


def test_another_kind_keeps_what_was_typed(tab: Watched) -> None:
    page = tab.open("/tasks/new?kind=summary")
    page.locator("#f-content").fill("Bees make honey.")
    page.locator("#f-title").fill("Of bees")
    page.locator("#f-kind").select_option("nlp")
    expect(page.locator("h1")).to_have_text("Text analysis")
    expect(page).to_have_url(re.compile("kind=nlp"))
    expect(page.locator("#f-content")).to_have_value("Bees make honey.")
    expect(page.locator("#f-title")).to_have_value("Of bees")


def test_rows_are_added_changed_moved_and_removed(tab: Watched) -> None:
    page = tab.open("/tasks/new?kind=everything")
    page.locator("#f-topic").fill("bees")
    page.locator("#f-loud").uncheck()
    page.locator("#f-steps-0-prompt").fill("Why?")
    page.locator("button[value='add:steps']").click()
    page.locator("#f-steps-1-do").select_option("look")
    page.locator("#f-steps-1-query").fill("hives")
    page.locator("button[value='up:steps.1']").click()
    expect(page.locator("#f-steps-0-query")).to_have_value("hives")
    expect(page.locator("#f-steps-1-prompt")).to_have_value("Why?")
    page.locator("button[value='remove:steps.1']").click()
    expect(page.locator("#f-steps-1-prompt")).to_have_count(0)
    expect(page.locator("#f-topic")).to_have_value("bees")
    expect(page.locator("#f-loud")).not_to_be_checked()
    page.locator("#f-body").fill("{")
    page.locator("#f-topic").press("Enter")
    expect(page.locator("#f-body-error")).to_contain_text("not JSON")
    page.locator("#f-body").fill("{}")
    page.locator("#f-topic").press("Enter")  # the form's own button, not the first that changes it
    page.wait_for_url(re.compile(r"/tasks/[0-9a-f-]{36}"))


def test_the_browser_says_what_is_wrong_beside_the_field(tab: Watched) -> None:
    page = tab.open("/tasks/new?kind=summary")
    page.locator("#f-content").fill("Bees make honey.")
    page.locator("#f-max_length").fill("3")
    page.locator("#task-form .form-foot .btn-primary").click()
    expect(page.locator("#f-max_length-error")).to_be_visible()
    expect(page.locator("#f-max_length")).to_be_focused()
    assert "/tasks/new" in page.url, "nothing was sent"
    page.locator("#f-max_length").fill("30")
    expect(page.locator("#f-max_length-error")).to_be_hidden()
    page.locator("#task-form .form-foot .btn-primary").click()
    page.wait_for_url(re.compile(r"/tasks/[0-9a-f-]{36}"))


def test_words_fill_in_a_form(tab: Watched) -> None:
    page = tab.open("/tasks/new")
    page.locator("#wish").fill(ORDER)
    page.get_by_role("button", name="Fill in").click()
    expect(page.locator("#f-urls")).to_have_value("https://example.org/a\nhttps://example.org/b")
    expect(page.locator("#f-max_length")).to_have_value("150")
    expect(page.locator("#source-urls")).to_be_checked()
    page = tab.open("/")
    page.get_by_role("textbox", name="Text or links").fill(ORDER)
    page.get_by_role("button", name="As a task").click()
    expect(page.locator(".wish-read")).to_contain_text("150 words")


def test_the_next_times_follow_the_choice(tab: Watched) -> None:
    page = tab.open("/tasks/new?kind=summary")
    expect(page.locator("#when-times")).to_be_hidden()
    page.locator("#when-cron").check(force=True)
    expect(page.locator("#when-times li")).to_have_count(5)
    page.locator("#f-repeat").select_option("cron")
    expect(page.locator("#f-time")).to_be_hidden()
    page.locator("#f-cron").fill("nonsense")
    expect(page.locator("#when-times")).to_contain_text("not a cron line")
    page.locator("#f-cron").fill("0 9 * * 1")
    expect(page.locator("#when-times li")).to_have_count(5)
    expect(page.locator(".when-says-later")).to_be_visible()


def test_without_a_script_the_buttons_redraw_the_form(tab: Watched, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(tab.url + "/tasks/new?kind=summary")
    page.locator("#f-content").fill("Bees make honey.")
    expect(page.locator("#f-urls")).to_be_visible()
    page.locator("#f-kind").select_option("nlp")
    page.get_by_role("button", name="Change").click()
    expect(page.locator("h1")).to_have_text("Text analysis")
    expect(page.locator("#f-content")).to_have_value(re.compile("Bees make honey"))
    context.close()

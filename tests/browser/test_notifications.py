"""The bell: a task that somebody asked about ends, the number beside it grows without a reload, the link has been read."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Watched


def test_notify_me_and_the_bell(tab: Watched, start: Callable[..., str]) -> None:
    task_id = start("Ring the bell", steps=30, pause=0.1)
    page = tab.open(f"/tasks/{task_id}")
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="You will be notified")).to_be_visible()
    bell = page.locator(".sidebar-head [data-bell]")
    expect(bell.locator("[data-bell-count]")).to_have_text(re.compile(r"\d+"))
    expect(bell).to_have_accessible_name(re.compile(r"Notifications, \d+ unread"))
    bell.click()
    line = page.locator(".note.is-unread", has_text="Ring the bell is done")
    line.get_by_role("link").click()
    page.wait_for_url(re.compile(task_id))
    page.goto(tab.url + "/notifications?show=unread")
    expect(page.locator(".note", has_text="Ring the bell")).to_have_count(0)
    unread = page.locator(".note.is-unread").count()  # of other tests too
    expect(page.locator(".sidebar-head [data-bell-count]")).to_have_text(str(unread) if unread else "")


def test_the_centre_is_worked_without_leaving_it(tab: Watched, start: Callable[..., str]) -> None:
    task_id = start("Mark me", steps=10, pause=0.1)
    page = tab.open(f"/tasks/{task_id}")
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="You will be notified")).to_be_visible()
    expect(page.locator('[data-live-view="status"]')).to_have_attribute("data-status", "completed")
    page.goto(tab.url + "/notifications")
    line = page.locator(".note", has_text="Mark me is done")
    line.get_by_role("button", name=re.compile("Mark as read")).click()
    expect(line).not_to_have_class(re.compile("is-unread"))
    line.get_by_role("button", name=re.compile("Remove")).click()
    expect(line).to_have_count(0)

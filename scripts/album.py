"""Which pictures `make shots` takes: every page of the product, in the states people meet it in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Act = Callable[[Any], None]
SEARCHED = "/knowledge/search?q=what+does+a+ship+pay+in+winter"

# Pages by their route that are no picture of their own, and why.
EXCUSED = {
    "/admin/tasks/<task_id>/history": "a part of the list",
    "/admin/retention/preview": "a part of the page of retention",
    "/agents/classic/client.js": "a script",
    "/chat/<conversation_id>/export.<fmt>": "a download",
    "/chat/<conversation_id>/files": "a part of the conversation's page",
    "/chat/<conversation_id>/thread": "a part of the conversation's page",
    "/chat/engines": "a part of the conversation's page",
    "/chat/list": "a part of the conversation's page",
    "/chat/messages/<message_id>": "a part of the conversation's page",
    "/docs/assets/<name>": "a file of Swagger UI",
    "/knowledge/<collection_id>/reading": "a part of the collection's page",
    "/knowledge/crawls/<crawl_id>/live": "a part of the crawl's page",
    "/knowledge/search/open/<document_id>": "leads on to a citation",
    "/live/stream": "events",
    "/logs/download.<fmt>": "a download",
    "/models/list": "a part of the models page",
    "/tasks/<task_id>/notify": "a part of the task's page",
    "/models/try/<task_id>": "a part of the models page",
    "/monitor/schedules/preview": "a part of the schedule's page",
    "/openapi.json": "for programs",
    "/palette": "a part of every page; photographed open",
    "/system/now": "a part of the system page",
    "/tasks/<task_id>/download.<fmt>": "a download",
    "/templates/export": "a download",
    "/tasks/<task_id>/draft": "a part of the task's page",
    "/tasks/<task_id>/row": "a part of the list",
    "/tasks/<task_id>/status": "a part of the task's page",
    "/tasks/schedules/preview": "a part of the form",
}


@dataclass(frozen=True)
class Picture:
    """A page, and what is done on it before it is photographed. whole: from top to bottom, else what a screen shows.
    fresh: on a server that was just installed."""

    path: str
    pose: str = ""
    act: Act | None = None
    whole: bool = True
    fresh: bool = False

    @property
    def name(self) -> str:
        return f"{self.path} ({self.pose})" if self.pose else self.path


def pictures(ids: Any) -> list[Picture]:
    """ids: name -> id of what the scene made. What moves comes first: an answer that is written ends some day."""
    chat, shared = f"/chat/{ids['chat']}", f"/shared/{ids['shared']}"
    talk = [
        Picture(f"/chat/{ids['streaming']}", "being written", whole=False),
        Picture(chat, whole=False),
        Picture(chat, "citation open", _citation, whole=False),
        Picture(chat, "receipt open", _receipt, whole=False),
        Picture(chat, "list open", _conversations, whole=False),
        Picture(f"/chat/{ids['extractive']}", "no model", whole=False), Picture(f"/chat/{ids['declined']}", "declined", whole=False),
        Picture(f"/chat/{ids['broken']}", "retried", whole=False),
        Picture(f"/chat/messages/{ids['answer']}/sources/1"), Picture(shared),
        Picture(f"{shared}/{ids['answer']}/sources/1"),
        Picture("/agents/classic", "asked", _ask_agents), Picture(f"/models?try={ids['tried']}"),
    ]  # fmt: skip
    states = ("running", "stalled", "failed", "waiting", "summary", "research", "comparison", "written", "digest", "questions", "table",
              "two_pages")  # fmt: skip
    tasks = [Picture(f"/tasks/{ids[name]}", name) for name in states]
    tasks += [Picture("/tasks", "own words", _wish), Picture(f"/tasks/compare?a={ids['summary']}&b={ids['shorter']}"),
              Picture(f"/tasks/compare?a={ids['summary']}", "with which"), Picture(f"/shared/task/{ids['task_shared']}"),
              Picture(f"/tasks/new?from={ids['summary']}", "again"), Picture(f"/tasks/new?schedule={ids['schedule']}", "schedule"),
              Picture(f"/tasks/{ids['summary']}", "share open", _share, whole=False)]  # fmt: skip
    room = [f"/monitor/dead-letters/{ids['letter']}", f"/admin/tasks/{ids['crashed']}", "/monitor/schedules/health",
            "/monitor/database/tasks", "/monitor/dead-letters?state=requeued&reason=crash"]  # fmt: skip
    room += [f"/admin/users/{ids['person']}", f"/invite/{ids['invitation']}", "/admin/users/?q=nobody+like+this"]
    shelf, document = f"/knowledge/{ids['collection']}", f"/knowledge/documents/{ids['document']}"
    knowledge = [f"{shelf}/sources", f"{shelf}/sources?state=failed", f"{shelf}/settings",
                 document, f"{document}/passages", f"{document}/versions", f"/knowledge/citations/{ids['citation']}", SEARCHED,
                 "/knowledge/search?q=zeppelin&mode=keyword&quality=0.6"]  # fmt: skip
    shelves = [Picture(shelf, "collection"), Picture(f"/knowledge/{ids['empty']}", "empty"),
               Picture(f"/knowledge/crawls/{ids['crawling']}", "running"), Picture(f"/knowledge/crawls/{ids['crawled']}", "done")]  # fmt: skip
    plain = [
        path for path in _routes().values() if "<" not in path and path not in EXCUSED and path != "/tasks/compare"
    ]
    posed = [Picture("/tasks", "palette open", _palette, whole=False), Picture("/tasks", "menu open", _menu, whole=False),
             Picture("/tasks", "some selected", _select, whole=False), Picture(SEARCHED, "why", _why)]  # fmt: skip
    posed.append(Picture("/admin/", "history open", _history))
    fresh = [
        Picture(path, "first run", fresh=True) for path in ("/", "/welcome", "/chat", "/models", "/knowledge", "/tasks")
    ]
    told = [f"/webhooks/{ids['webhook']}", f"/webhooks/in/{ids['hook']}", "/notifications/channels/new/slack",
            "/notifications?show=unread"]  # fmt: skip
    templates = [f"/templates/{ids['template']}", f"/templates/{ids['template']}/edit", "/insight?range=30d"]
    addresses = [
        *sorted(plain),
        *room,
        *knowledge,
        *templates,
        *told,
        "/tasks?q=nothing+like+this",
        "/tasks/new?kind=summary",
        "/tasks/new?kind=data_analysis",
        "/help/user-guide",
        "/help/api-guide",
        "/nowhere",
    ]
    return [*talk, *tasks, *shelves, *(Picture(path) for path in addresses), *posed, *fresh]


def forgotten(shown: Iterable[Picture]) -> list[str]:
    """Pages by their route that no picture shows and nothing excuses; and excuses for what is shown or gone."""
    from werkzeug.exceptions import NotFound

    with _app() as app:
        adapter, seen = app.url_map.bind("localhost"), set()
        for one in shown:
            try:
                seen.add(adapter.match(one.path.partition("?")[0], method="GET")[0])
            except NotFound:
                continue  # the page that is not there
    left = {path for endpoint, path in _routes().items() if endpoint not in seen}
    return [*sorted(left - set(EXCUSED)), *(f"{path} is excused for nothing" for path in sorted(set(EXCUSED) - left))]


def _routes() -> dict[str, str]:
    """endpoint -> rule of every page."""
    from webapp.web.api import ROUTES

    with _app():
        return {r.endpoint: r.path for r in ROUTES if r.page and r.method == "GET"}


@contextmanager
def _app() -> Iterator[Any]:
    """The application as it is while debugging: its pages declare themselves when it is made."""
    from webapp import runtime, settings
    from webapp.app import create_app

    with tempfile.TemporaryDirectory() as home:
        rt = runtime.build(settings.load({"BRAINSTEM_HOME": home, "DEBUG": "1"}))
        try:
            yield create_app(rt)
        finally:
            rt.close()


# -- what is done on a page ------------------------------------------------------------------------------------------


def _history(page: Any) -> None:
    page.locator(".ops-history > summary").nth(1).click()
    page.locator(".ops-history .event").first.wait_for()


def _citation(page: Any) -> None:
    page.locator(".chat-text a.cite").nth(1).click()  # a table's
    page.locator("#source-panel .source-quote").wait_for()


def _receipt(page: Any) -> None:
    page.locator(".chat-sources > summary").last.click()
    page.locator(".chat-route > summary").last.click()
    page.locator(".chat-receipt").last.scroll_into_view_if_needed()


def _conversations(page: Any) -> None:
    if page.locator(".chat-side-open").is_visible():
        page.locator(".chat-side-open").click()
    else:
        page.locator(".chat-head .menu summary").click()


def _ask_agents(page: Any) -> None:
    page.locator("#connection-status.success").wait_for()
    page.locator("#agents-message").fill("What is the bell at the entrance rung by?")
    page.locator("[data-agents-form=chat] [type=submit]").click()
    page.locator(".ai-message .message-metadata").wait_for(timeout=30_000)


def _palette(page: Any) -> None:
    page.keyboard.press("Control+k")
    page.locator("#palette[open] [role=option]").first.wait_for()


def _menu(page: Any) -> None:
    if page.locator(".topbar").is_visible():
        page.locator(".topbar [popovertarget=sidebar]").click()
    else:
        page.keyboard.press("?")


def _wish(page: Any) -> None:
    page.goto(page.url + "/new")
    page.locator("#wish").fill(
        "Summarise these three pages in 200 words by tomorrow https://example.org/a https://example.org/b"
    )
    page.locator("#wish-form [type=submit]").first.click()
    page.locator(".wish-read").wait_for()


def _share(page: Any) -> None:
    page.locator("#share > summary").click()


def _select(page: Any) -> None:
    """The last ones: higher up the bar lies over rows, wherever they happen to be."""
    for n in (-1, -2):
        page.locator("[data-row] input[type=checkbox]").nth(n).check()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")


def _why(page: Any) -> None:
    page.locator(".hit .why summary").first.click()

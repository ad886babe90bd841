"""The pages without any script: forms lead on, mistakes come back with their words, a link shows a branch and no more."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.chat.conftest import Answer, Pen, Sentence, Source, add_lab
from tests.fakes.site import Site
from webapp.core.errors import Invalid
from webapp.engines.base import Completion


@pytest.fixture
def browser(site: Site, pen: Pen) -> Any:
    pen.script = lambda **_: Answer("So it is [1]. Penguins fly. [?]", (Sentence("Penguins fly.", (), "unsupported"),),
                                    (Source(1, quote="the very words", citation_id="c1"),), confidence=0.9)  # fmt: skip
    return site.program(site.cast.alice)  # shows a token, so that forms need none


def ask(site: Site, browser: Any, text: str = "Is it so?") -> str:
    """The path of the conversation, answered."""
    answer = browser.post("/chat", data={"text": text})
    assert answer.status_code == 303
    site.lab.run_all("interactive")
    return str(answer.location)


def test_a_question_makes_a_conversation_and_is_answered(site: Site, browser: Any) -> None:
    path = ask(site, browser)
    page = browser.get(path).text
    assert "<title>Is it so? · Brainstem</title>" in page
    assert "1 sentence without a source" in page
    assert "High confidence" in page
    assert "Extractive" in page
    [href] = set(re.findall(r'href="(/chat/messages/[^"]+/sources/1)"', page))
    source = browser.get(href).text
    assert "the very words" in source
    assert "https://example.org/a" in source
    assert browser.get(href, headers={"HX-Request": "true"}).text.lstrip().startswith("<div")
    assert browser.get(href[:-1] + "2").status_code == 404


def test_the_receipt_shows_what_was_measured(site: Site, browser: Any, pen: Pen) -> None:
    """M098: response time, tokens a second, tokens in all, the model; and no number that nobody measured."""
    done = Completion("Yes.", "openai:small@lab", "stop", 1200, 89, {"load": 0.1, "prompt": 0.2, "generate": 0.5})
    pen.script = lambda **given: Answer("Yes.", engine="openai:small@lab", completion=done)
    shown = measured(browser.get(ask(site, browser)).text)
    assert shown["Model"] == "openai:small@lab"
    assert shown["Tokens/second"] == "178.0"
    assert shown["Total tokens"] == "1,289 (1,200 read, 89 written)"
    assert {"Response time", "Loading the model"} <= set(shown)
    pen.script = lambda **given: Answer("Yes.")
    shown = measured(browser.get(ask(site, browser)).text)
    assert shown["Model"] == "extractive"
    assert not {"Tokens/second", "Total tokens", "Loading the model"} & set(shown)


def measured(page: str) -> dict[str, str]:
    rows = BeautifulSoup(page, "html.parser").select(".chat-measured div")
    return {row.dt.text: row.dd.text for row in rows if row.dt and row.dd}


def test_nothing_written_comes_back_with_a_word(site: Site, browser: Any) -> None:
    answer = browser.post("/chat", data={"text": "  "})
    assert answer.status_code == 422
    assert "Write a question first." in answer.text
    answer = browser.post(ask(site, browser), data={"text": ""})
    assert answer.status_code == 422


def test_the_home_page_s_box_can_ask(site: Site, browser: Any) -> None:
    assert 'formaction="/chat"' in browser.get("/").text
    answer = browser.post("/chat", data={"content": "From the home page?", "kind": "summary"})
    assert answer.status_code == 303
    assert "From the home page?" in browser.get(answer.location).text
    assert any(one["title"] == "From the home page?" for one in browser.get("/palette?q=home").json["items"])


def test_a_shared_page_has_no_door_to_anything_else(site: Site, browser: Any) -> None:
    path = ask(site, browser)
    assert browser.post(f"{path}/share").status_code == 303
    [link] = set(re.findall(r'value="http://localhost(/shared/[^"]+)"', browser.get(path).text))
    browser.post(path, data={"text": "Private afterwards?"})
    reader = site.client
    answer = reader.get(link)
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Private afterwards" not in answer.text
    main = answer.text.split("<main")[1]
    assert "/chat/" not in main
    assert "/knowledge/" not in main
    assert path.rsplit("/", 1)[1] not in answer.text, "not even its id"
    [source] = set(re.findall(r'href="(/shared/[^"]+/sources/1)"', main))
    shown = reader.get(source).text
    assert "the very words" in shown
    assert "/knowledge/citations" not in shown
    assert browser.post(f"{path}/unshare").status_code == 303
    assert reader.get(link).status_code == 404
    assert reader.get(source).status_code == 404


def test_deleted_undone_renamed_pinned_exported(site: Site, browser: Any) -> None:
    path = ask(site, browser)
    gone = browser.post(f"{path}/delete").location
    assert "was deleted" in browser.get(gone).text
    assert browser.get(path).status_code == 404
    assert browser.post(f"{path}/restore").status_code == 303
    browser.post(f"{path}/rename", data={"title": '"><img src=x onerror=alert(1)>{{7*7}}'})
    browser.post(f"{path}/pin", data={"pinned": "1"})
    page = browser.get(path).text
    assert "<img src=x" not in page
    assert "{{7*7}}" in page
    assert "Unpin" in page
    export = browser.get(f"{path}/export.md")
    assert export.headers["Content-Disposition"].startswith("attachment; ")
    assert "the very words" in export.text
    assert browser.get(f"{path}/export.json").json["messages"][1]["state"] == "done"
    assert browser.get(f"{path}/export.exe").status_code == 400


EVIL = '"><img src=x onerror=alert(1)>{{7*7}}'
TAG = EVIL[2:]  # the client of this test cannot send a quotation mark in a file's name


def test_whatever_has_a_name_stays_text(site: Site, browser: Any, pen: Pen) -> None:
    """A17: titles, questions, files, errors, sources and models, in a thread, in lists, in a link and in what is pushed."""
    path = ask(site, browser, EVIL)
    browser.post(f"{path}/rename", data={"title": EVIL})
    given = [(io.BytesIO(b"Some words."), f"{TAG}.txt"), (io.BytesIO(b"MZ"), f"{TAG}.exe")]
    said = browser.post(f"{path}/files", data={"files": given})
    assert {one.text.split(": ")[0] for one in BeautifulSoup(said.text, "html.parser").select(".truncate, .field-error")} == {
        f"{TAG}.txt", f"{TAG}.exe"}, "one is listed, one was refused"  # fmt: skip
    pen.script = lambda **_: Answer(f"So it is [1]. {EVIL}", (Sentence(EVIL, (), "unsupported"),),
                                    (Source(1, quote=EVIL, title=EVIL, citation_id="c1"),), engine=EVIL)  # fmt: skip
    browser.post(path, data={"text": EVIL})
    site.lab.run_all("interactive")
    browser.post(f"{path}/share")
    [link] = set(re.findall(r'value="http://localhost(/shared/[^"]+)"', browser.get(path).text))

    def fail(**_: Any) -> Answer:
        raise Invalid(EVIL, suggestion=EVIL)

    pen.script = fail
    browser.post(path, data={"text": EVIL})
    site.lab.run_all("interactive")
    page = browser.get(path).text
    messages = [f"/chat/messages/{one}" for one in set(re.findall(r"/chat/messages/([0-9a-f-]{36})/", page))]
    pages = [
        path,
        "/",
        "/chat",
        "/chat/list?q=onerror",
        f"/palette?q={EVIL}",
        f"{path}/files",
        link,
        f"{link}/1",
        *messages,
    ]
    read = 0
    for url in pages:
        answer = browser.get(url)
        if answer.status_code != 200 or "html" not in answer.content_type:
            continue
        read += 1
        soup = BeautifulSoup(answer.text, "html.parser")
        assert soup.select("[onerror], img[src=x]") == [], url
        assert "{{7*7}}" in answer.text or "49" not in soup.text.split(), url
    assert read >= 6
    for fmt in ("md", "json"):
        export = browser.get(f"{path}/export.{fmt}")
        assert re.fullmatch(r'attachment; filename="[\w.-]+"', export.headers["Content-Disposition"])


def test_polling_stops_when_the_answer_is_there(site: Site, browser: Any) -> None:
    path = browser.post("/chat", data={"text": "Later?"}).location
    page = browser.get(path).text
    thread, poll = re.findall(r'data-live-poll="([^"]+)"', page)
    assert browser.get(thread).status_code == 204, "the branch is as the page has it"
    before = browser.get(poll)
    assert before.status_code == 200
    site.lab.run_all("interactive")
    after = browser.get(poll)
    assert after.status_code == 286
    seqs = [int(re.findall(r'data-live-seq="(\d+)"', one.text)[0]) for one in (before, after)]
    assert seqs[1] > seqs[0] > 0, "else the page would take it for old"
    question = re.findall(r'data-question="([^"]+)"', page)[0]
    assert browser.get(f"/chat/messages/{question}").status_code == 404, "only answers are polled"


def test_more_is_looked_for_in_the_thread_itself(site: Site, browser: Any, pen: Pen) -> None:
    """Where an answer is thin or there is none; what comes back is the thread, with the version that waits."""
    path = ask(site, browser)
    page = browser.get(path).text
    [door] = re.findall(r'action="(/chat/messages/[^"]+/expand)"', page)
    assert browser.post(door).location.endswith(path), "without a script it leads back to the thread"
    page = browser.get(path).text
    assert "data-looking" in page
    assert "Stop looking" in page
    assert 'data-status="waiting"' in page
    assert '<span class="num">2<' in page
    assert browser.post(door).status_code == 409, "somebody looks already"
    pen.script = lambda **_: Answer("Sure [1].", (Sentence("Sure.", (1,)),), (Source(1),), confidence=0.9)
    for _ in range(3):
        for queue in ("interactive", "crawling", "embedding"):
            site.lab.run_all(queue)
    page = browser.get(path).text
    assert "No new page was read; the answer changed." in page
    assert "The answer before" in page
    assert "So it is. Penguins fly. [?]" in page
    assert not re.findall(r'/expand"', page), "a sure answer with sources offers no search"
    [message] = re.findall(r'action="/chat/messages/([^"]+)/regenerate"', page)
    thread = browser.post(f"/chat/messages/{message}/regenerate", headers={"HX-Request": "true", "HX-Target": "thread"})
    assert 'id="thread"' in thread.text
    assert "The answer before" not in thread.text


def test_more_is_looked_for_by_programs(site: Site, browser: Any) -> None:
    ask(site, browser)
    conversation = browser.get("/api/v1/conversations").json["conversations"][0]["id"]
    old = browser.get(f"/api/v1/conversations/{conversation}/messages").json["messages"][-1]
    assert old["change"] is None
    door = f"/api/v1/conversations/messages/{old['id']}/expand"
    for body in ({"max_urls": 0}, {"max_urls": 51}, {"urls": "x"}, {"urls": ["http://10.0.0.1/"]}, {"urls": ["::"]}):
        assert browser.post(door, json=body).status_code in (400, 422, 403), body
    made = browser.post(door, json={"urls": [], "max_urls": 2})
    assert made.status_code == 202
    answer = made.json["answer"]
    assert (answer["state"], answer["number"], answer["alternatives"]) == ("waiting", 2, 2)
    assert site.program(site.cast.bob).post(door, json={}).status_code == 404
    for _ in range(3):
        for queue in ("interactive", "crawling", "embedding"):
            site.lab.run_all(queue)
    shown = browser.get(f"/api/v1/conversations/messages/{answer['id']}").json
    assert shown["state"] == "done"
    assert (shown["change"]["kind"], shown["change"]["before_id"]) == ("same", old["id"])
    export = browser.get(f"/chat/{conversation}/export.md").text
    assert "*No new page was read; the answer is as before.*" in export


def test_the_receipt_says_what_was_chosen_since(site: Site, browser: Any) -> None:
    path = ask(site, browser)
    add_lab(site.rt)
    browser.post(f"{path}/choices", data={"engine": "openai:large@lab", "agent": "research"})
    [door] = re.findall(r'action="(/chat/messages/[^"]+/regenerate)"', browser.get(path).text)
    browser.post(door)
    site.lab.run_all("inference")
    page = browser.get(path).text
    assert "Asked again with the model chosen since: openai:large@lab instead of the default." in page
    assert "Asked again with the agent chosen since: Research instead of whoever fits." in page

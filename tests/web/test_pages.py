"""The pages of tasks as a browser without scripts gets them, and the fragments that htmx asks for."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.fakes.kinds import scripts
from tests.fakes.lab import QueryCounter
from tests.fakes.site import Site
from webapp.core.errors import Invalid
from webapp.web.database import request_unit

EVIL = '"><img src=x onerror=alert(1)>{{7*7}}'


class Browser:
    """A client that checks every page it opens, and knows how to send a page's form."""

    def __init__(self, site: Site, who: Any) -> None:
        self.client = site.browser(who)

    def open(self, path: str, *, status: int = 200, **options: Any) -> BeautifulSoup:
        answer = self.client.get(path, **options)
        assert answer.status_code == status, (path, answer.status_code)
        return checked(answer)

    def send(self, page: BeautifulSoup, selector: str, headers: Any = None, **values: Any) -> Any:
        """Submit a form of the page with these values beside its own."""
        form = page.select_one(selector)
        assert form is not None, f"no form {selector}"
        given = {field["name"]: field.get("value", "") for field in form.select("input[type=hidden][name]")}
        data = {**given, **{name.rstrip("_"): value for name, value in values.items()}}
        kind = form.get("enctype", "application/x-www-form-urlencoded")
        return self.client.post(form["action"], data=data, content_type=kind, headers=headers or {})


def checked(answer: Any) -> BeautifulSoup:
    """What every page must have: a title, no inline script, forms with a token, unique ids, one heading."""
    assert answer.mimetype == "text/html"
    page = BeautifulSoup(answer.data, "lxml")
    assert page.title is not None
    assert page.title.text.strip()
    assert len(page.select("h1")) == 1
    ids = [tag["id"] for tag in page.select("[id]")]
    assert len(ids) == len(set(ids)), [one for one in ids if ids.count(one) > 1]
    for form in page.select("form[method=post]"):
        assert form["action"]
        assert form.select_one("input[name=csrf_token]") is not None, form["action"]
    nonce = re.search(r"'nonce-([^']+)'", answer.headers["Content-Security-Policy"])
    for script in page.select("script:not([src])"):
        assert nonce is not None or script.get("type") == "application/json"
    for tag in page.select("[src], link[href]"):
        assert (tag.get("src") or tag.get("href")).startswith(("/", "data:")), "nothing from elsewhere"
    for label in page.select("label[for]"):
        assert page.find(id=label["for"]) is not None, f"a label for nothing: {label['for']}"
    return page


@pytest.fixture
def alice(site: Site) -> Browser:
    return Browser(site, site.cast.alice)


def done(site: Site, **options: Any) -> str:
    task_id = site.lab.start(site.cast.alice, **options)
    site.lab.run_all()
    return task_id


def summary(site: Site) -> str:
    text = "Bees make honey in the summer. " * 3 + "Winter is cold. Bees keep warm together. Honey feeds the bees."
    with site.lab.as_(site.cast.alice) as ctx:
        from webapp.tasks import service

        task_id = str(service.start(ctx, "summary", {"content": text, "max_length": 20}, title="Bees")["id"])
    site.lab.run_all()
    return task_id


# -- home and list ---------------------------------------------------------------------------------------------------


def test_home_shows_what_runs_and_what_ended(site: Site, alice: Browser) -> None:
    done(site, title="Ended one")
    site.lab.start(site.cast.alice, title="Waiting one")
    site.lab.start(site.cast.bob, title="Of bob")
    page = alice.open("/")
    assert "Ended one" in page.text
    assert "Waiting one" in page.text
    assert "Of bob" not in page.text
    assert page.select_one("form[action='/tasks']") is not None, "one box to start anything"


def test_home_of_the_first_visit(alice: Browser) -> None:
    alice.open("/")
    assert "No tasks yet" in alice.open("/tasks").text


def test_the_list_its_filters_and_its_pages(site: Site, alice: Browser) -> None:
    done(site, title="first done")
    for number in range(55):
        site.lab.start(site.cast.alice, kind="test.crawl", title=f"crawl {number}", priority="low")
    page = alice.open("/tasks")
    assert len(page.select("#task-list [data-row]")) == 50
    following = page.select_one("a[href*=cursor]")
    assert following is not None
    second = alice.open(following["href"])
    assert len(second.select("[data-row]")) == 6
    back = second.select_one("a[href*=cursor]")
    assert back is not None
    assert len(alice.open(back["href"]).select("[data-row]")) == 50
    assert len(alice.open("/tasks?status=completed").select("[data-row]")) == 1
    assert len(alice.open("/tasks?q=crawl+54").select("[data-row]")) == 1
    assert "No task matches" in alice.open("/tasks?q=nothing+like+it").text
    kept = alice.open("/tasks?kind=test.crawl&priority=low").select_one("a[href*=cursor]")
    assert kept is not None
    assert "kind=test.crawl" in kept["href"]
    assert "priority=low" in kept["href"]


@pytest.mark.parametrize("query", ["status=odd", "priority=odd", "cursor=odd", "from=yesterday", "to=2026-02-31"])
def test_a_filter_that_is_none_is_told(alice: Browser, query: str) -> None:
    page = alice.open(f"/tasks?{query}", status=400)
    assert "use one of" in page.text.lower() or "cursor" in page.text or "dates" in page.text.lower()


def test_days_are_whole_days(site: Site, alice: Browser) -> None:
    from datetime import UTC, datetime, timedelta

    site.lab.start(site.cast.alice)
    today = datetime.now(UTC).date()
    for query, shown in (
        (f"from={today}", 1), (f"to={today}", 1), (f"from={today}&to={today}", 1),
        (f"from={today + timedelta(days=2)}", 0), (f"to={today - timedelta(days=2)}", 0),
    ):  # fmt: skip
        assert len(alice.open(f"/tasks?{query}").select("[data-row]")) == shown, query


@pytest.mark.parametrize("path", ["/tasks", "/", "/api/v1/utils/ai-tasks/", "/api/v1/utils/ai-tasks/active/",
                                  "/api/v1/utils/ai-tasks/recent/", "/api/v1/logs/history"])  # fmt: skip
def test_a_longer_list_asks_no_more_questions(both_site: Site, path: str) -> None:
    site = both_site
    client = site.program(site.cast.alice)
    asked = []
    for more in (2, 30):
        for _ in range(more):
            site.lab.start(site.cast.alice)
        site.lab.run()
        client.get(path)
        with QueryCounter(site.rt) as queries:
            assert client.get(path).status_code == 200
        asked.append(len(queries))
    assert asked[0] == asked[1], queries.statements
    assert asked[1] <= 8


# -- new -------------------------------------------------------------------------------------------------------------


def test_start_from_text(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=summary")
    answer = alice.send(page, "#task-form", content="# Of bees\n\nBees make honey.", source="text", max_length=50)
    assert answer.status_code == 303
    shown = alice.open(answer.headers["Location"])
    assert shown.h1 is not None
    assert shown.h1.text == "Of bees"
    task_id = answer.headers["Location"].rsplit("/", 1)[1]
    row = site.lab.row(task_id)
    assert (row.queue, row.params["max_length"]) == ("interactive", 50), "a person waits"


def test_start_by_htmx_goes_to_the_task(alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=summary")
    answer = alice.send(page, "#task-form", {"HX-Request": "true"}, content="Bees make honey.")
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"].startswith("/tasks/")


def test_links_pasted_as_text_are_links(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=summary")
    answer = alice.send(page, "#task-form", content="https://example.org/a\nhttps://example.org/b\n", source="text")
    assert answer.status_code == 303
    row = site.lab.row(answer.headers["Location"].rsplit("/", 1)[1])
    assert row.params["urls"] == ["https://example.org/a", "https://example.org/b"]
    assert "content" not in row.params


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"content": ""}, "give content"),
        ({"content": "x", "max_length": "9"}, "greater than or equal to 10"),
        ({"content": "x", "max_length": "many"}, "valid integer"),
        ({"content": "x", "priority": "soon"}, "low"),
        ({"urls": "http://127.0.0.1/", "source": "urls"}, "127.0.0.1"),
        ({"urls": "file:///etc/passwd", "source": "urls"}, "file:"),
        ({"content": "x", "kind": "none.such"}, "no task kind called none.such"),
        ({"content": "x", "title": "t" * 301}, "300"),
    ],
)
def test_a_mistake_keeps_the_input_and_says_what(site: Site, alice: Browser, values: dict[str, str], says: str) -> None:
    page = alice.open("/tasks/new?kind=summary")
    answer = alice.send(page, "#task-form", **{"title": "My title", "content": "", **values})
    assert answer.status_code == 422
    again = checked(answer)
    assert says in again.select_one("#task-form").text.lower()  # type: ignore[union-attr]
    if "title" not in values:
        assert again.select_one("input[name=title]")["value"] == "My title"  # type: ignore[index]
    if values.get("content"):
        assert again.select_one("textarea[name=content]").text.strip() == values["content"]  # type: ignore[union-attr]
    assert site.lab.count("tasks") == 0
    assert site.lab.count("uploads") == 0


def test_a_form_can_be_opened_filled(alice: Browser) -> None:
    page = alice.open("/tasks/new?content=Some+text&title=T")
    assert page.select_one("textarea[name=content]").text.strip() == "Some text"  # type: ignore[union-attr]
    assert page.select_one("input[name=title]")["value"] == "T"  # type: ignore[index]


def test_start_from_a_file(site: Site, alice: Browser) -> None:
    page = alice.open("/tasks/new?kind=summary")
    file = (io.BytesIO(b"Bees make honey. They live in hives."), "bees.txt")
    answer = alice.send(page, "#task-form", source="file", file=file)
    assert answer.status_code == 303
    row = site.lab.row(answer.headers["Location"].rsplit("/", 1)[1])
    assert row.title == "bees.txt"
    site.lab.run_all("interactive")
    assert site.lab.status(row.id) == "completed"


@pytest.mark.parametrize(("name", "says"), [("x.exe", "not read"), ("empty.txt", "empty")])
def test_a_file_we_cannot_read_is_told_beside_the_field(alice: Browser, name: str, says: str) -> None:
    page = alice.open("/tasks/new?kind=summary")
    data = b"" if name.startswith("empty") else b"MZ"
    answer = alice.send(page, "#task-form", source="file", file=(io.BytesIO(data), name))
    assert answer.status_code == 422
    assert says in checked(answer).select_one("#task-form").text  # type: ignore[union-attr]


# -- one task --------------------------------------------------------------------------------------------------------


def test_a_summary_page_cites_its_places(site: Site, alice: Browser) -> None:
    task_id = summary(site)
    page = alice.open(f"/tasks/{task_id}")
    assert "Bees" in page.text
    result = site.lab.row(task_id).result or {}
    for sentence in result["sentences"]:
        assert sentence["text"] in page.get_text(" ", strip=True) or sentence["text"] in page.text
    assert "LexRank" in page.text, "it says by which method"


def test_a_failed_task_says_why_and_offers_another_try(site: Site, alice: Browser) -> None:
    def refuse(run: Any) -> None:
        raise Invalid("the moon was in the way", suggestion="Wait for the morning.")

    scripts["refuse"] = refuse
    task_id = done(site, script="refuse")
    page = alice.open(f"/tasks/{task_id}")
    assert "moon was in the way" in page.text
    assert "Wait for the morning" in page.text
    answer = alice.send(page, f"form[action='/tasks/{task_id}/retry']")
    assert (answer.status_code, site.lab.status(task_id)) == (303, "queued")


@pytest.mark.parametrize("name", ["status", "row"])
def test_fragments_stop_asking_when_it_is_over(site: Site, alice: Browser, name: str) -> None:
    task_id = site.lab.start(site.cast.alice)
    waiting = alice.client.get(f"/tasks/{task_id}/{name}")
    assert waiting.status_code == 200
    fragment = BeautifulSoup(waiting.data, "html.parser")
    assert [tag["id"] for tag in fragment.find_all(True, recursive=False)] == [f"task-{task_id}-{name}"]
    assert fragment.select_one("html, head, body") is None
    page = alice.open(f"/tasks/{task_id}" if name == "status" else "/tasks")
    first = page.find(id=f"task-{task_id}-{name}")
    assert first is not None
    assert first["data-live-seq"] == fragment.find(id=first["id"])["data-live-seq"]  # type: ignore[index]
    site.lab.run()
    over = alice.client.get(f"/tasks/{task_id}/{name}")
    assert over.status_code == 286, "htmx asks no more"
    assert b'data-final="true"' in over.data


def test_cancel_from_the_page_and_by_htmx(site: Site, alice: Browser) -> None:
    for headers, status in (({}, 303), ({"HX-Request": "true"}, 200)):
        task_id = site.lab.start(site.cast.alice)
        page = alice.open(f"/tasks/{task_id}")
        answer = alice.send(page, f"form[action='/tasks/{task_id}/cancel']", headers)
        assert (answer.status_code, site.lab.status(task_id)) == (status, "cancelled")
        if headers:
            assert f'id="task-{task_id}-status"' in answer.text
            assert "toast" in answer.headers["HX-Trigger"]
            assert "<html" not in answer.text


def test_too_late_is_told_as_page_and_as_toast(site: Site, alice: Browser) -> None:
    task_id = done(site)
    token = alice.open("/tasks").select_one("input[name=csrf_token]")["value"]  # type: ignore[index]
    page = alice.client.post(f"/tasks/{task_id}/cancel", data={"csrf_token": token})
    assert page.status_code == 409
    assert "already completed" in checked(page).text
    htmx = alice.client.post(f"/tasks/{task_id}/cancel", headers={"HX-Request": "true", "X-CSRFToken": token})
    assert (htmx.status_code, htmx.data) == (409, b"")
    assert "already completed" in htmx.headers["HX-Trigger"]


def test_delete(site: Site, alice: Browser) -> None:
    task_id = done(site, title="Old")
    page = alice.open(f"/tasks/{task_id}")
    answer = alice.send(page, f"form[action='/tasks/{task_id}/delete']")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/tasks")
    assert "was deleted" in alice.open("/tasks").text
    alice.open(f"/tasks/{task_id}", status=404)


def test_bulk(site: Site, alice: Browser) -> None:
    waiting = [site.lab.start(site.cast.alice, kind="test.crawl") for _ in range(3)]
    over = done(site)
    page = alice.open("/tasks")
    answer = alice.send(page, "#bulk", action_="cancel", ids=[*waiting, over])
    assert answer.status_code == 303
    assert {site.lab.status(task_id) for task_id in waiting} == {"cancelled"}
    told = alice.open("/tasks").text
    assert "3 tasks stopped" in told
    assert "1 left" in told
    alice.send(alice.open("/tasks"), "#bulk", action_="delete", ids=waiting)
    assert site.lab.count("tasks") == 1
    none = alice.send(alice.open("/tasks"), "#bulk", action_="delete")
    assert none.status_code == 303
    assert "Choose at least one" in alice.open("/tasks").text


def test_downloads_are_attachments(site: Site, alice: Browser) -> None:
    task_id = summary(site)
    markdown = alice.client.get(f"/tasks/{task_id}/download.md")
    assert markdown.headers["Content-Disposition"] == f'attachment; filename="task-{task_id}.md"'
    assert markdown.headers["Content-Security-Policy"] == "sandbox"
    assert markdown.headers["X-Content-Type-Options"] == "nosniff"
    assert markdown.text.startswith("# Bees\n")
    assert "[1]" in markdown.text
    raw = alice.client.get(f"/tasks/{task_id}/download.json")
    assert raw.json == site.lab.row(task_id).result
    assert raw.mimetype == "application/json"
    for path in (f"/tasks/{task_id}/download.exe", f"/tasks/{site.lab.start(site.cast.alice)}/download.md"):
        assert alice.client.get(path).status_code == 400


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "xls", "ods"])
def test_nothing_is_handed_out_that_a_spreadsheet_would_run(site: Site, alice: Browser, kind: str) -> None:
    """A22: no download of these is a table of cells. Who adds one has it written by core/spreadsheets.py, as analyses do."""
    from webapp.chat import service as chat

    own = {"task_id": summary(site)}
    with site.lab.as_(site.cast.alice) as ctx:
        own["conversation_id"] = chat.create(ctx, title="=1+1").id
    rules = [rule.rule for rule in site.app.url_map.iter_rules() if "<fmt>" in rule.rule]
    assert len(rules) >= 3
    for rule in rules:
        path = re.sub(r"<(\w+)>", lambda slot: {**own, "fmt": kind}[slot[1]], rule)
        assert alice.client.get(path).status_code == 400, path
    paths = alice.client.get("/openapi.json").json["paths"]
    asked = [one["schema"] for path in paths.values() for verb in path.values() for one in verb.get("parameters", ())
             if one["name"] == "format"]  # fmt: skip
    assert asked
    assert all(kind not in json.dumps(one) for one in asked)


def test_what_people_write_stays_text_everywhere(site: Site, alice: Browser) -> None:
    """A17 without a browser: no element comes out of a title, an error, a source or a message."""

    def refuse(run: Any) -> None:
        run.log(EVIL)
        raise Invalid(EVIL, suggestion=EVIL)

    scripts["evil"] = refuse
    task_id = done(site, script="evil", title=EVIL)
    for path in (
        "/",
        "/tasks",
        f"/tasks?q={EVIL}",
        f"/tasks/{task_id}",
        f"/tasks/new?content={EVIL}&title={EVIL}&urls={EVIL}",
    ):
        page = alice.open(path)
        assert page.select("img[onerror]") == [], path
        assert "49" not in (page.h1.text if page.h1 else ""), path
    for name in ("status", "row"):
        fragment = BeautifulSoup(alice.client.get(f"/tasks/{task_id}/{name}").data, "html.parser")
        assert fragment.select("img[onerror]") == []
    assert "{{7*7}}" in alice.open(f"/tasks/{task_id}").text


# -- logging in ------------------------------------------------------------------------------------------------------


def test_a_stranger_is_sent_to_log_in_and_back(site: Site) -> None:
    answer = site.client.get("/tasks?status=active")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/login?next=/tasks?status%3Dactive"
    htmx = site.client.get("/tasks", headers={"HX-Request": "true"})
    assert htmx.status_code == 401, "a fragment must not become a login page"


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil", "/\t/evil", "javascript:x"])
def test_next_leads_nowhere_else(site: Site, next_: str) -> None:
    """A47."""
    answer = site.browser(site.cast.alice).get("/login", query_string={"next": next_})
    assert answer.headers["Location"] == "/"


def test_the_menu_marks_where_one_is(alice: Browser) -> None:
    page = alice.open("/tasks")
    current = [tag.text.strip() for tag in page.select("nav [aria-current]")]
    assert "Tasks" in current


def test_a_unit_inside_the_unit_of_a_request_is_refused(site: Site) -> None:
    """Ending it would commit what the handler around it has only begun."""
    with (
        site.app.test_request_context("/"),
        request_unit(write=False),
        pytest.raises(RuntimeError, match="is open"),
        request_unit(write=False),
    ):
        pass


def test_a_long_name_breaks_between_its_parts_and_stays_a_text() -> None:
    from webapp.app import breakable

    assert str(breakable("openai:llama-3.1@lab")) == "openai:<wbr>llama-<wbr>3.<wbr>1@<wbr>lab"
    assert str(breakable("a-<b>&x")) == "a-&lt;b&gt;&amp;x"

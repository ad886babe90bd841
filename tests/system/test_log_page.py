"""The log page: the caller's lines only, filters without a script, downloads that nothing can break out of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bs4 import BeautifulSoup

from tests.fakes.site import Site
from webapp.core.context import Actor


@pytest.fixture
def lines(site: Site) -> Site:
    """alice has a task that ended well and one that failed, bob one of his own."""
    from tests.fakes.kinds import scripts

    def failing(run: Any) -> Any:
        raise ValueError("the <b>file</b> is\nempty 100%")

    scripts["fail"] = failing
    for who, script in ((site.cast.alice, "ok"), (site.cast.alice, "fail"), (site.cast.bob, "ok")):
        site.lab.start(who, script)
        site.lab.run_all()
    return site


def show(site: Site, who: Actor, query: str = "") -> BeautifulSoup:
    answer = site.browser(who).get(f"/logs{query}")
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "lxml")


def shown(found: BeautifulSoup) -> list[Any]:
    return found.select("[data-log-lines] > li")


def tasks_of(site: Site, who: Actor) -> list[str]:
    return [row[0] for row in site.lab.sql("SELECT id FROM tasks WHERE owner_id = :id ORDER BY id", id=who.id).rows]


def test_ones_own_lines_oldest_first(lines: Site) -> None:
    mine = shown(show(lines, lines.cast.alice))
    assert {line["data-task"] for line in mine} == set(tasks_of(lines, lines.cast.alice))
    times = [line.time["datetime"] for line in mine]
    assert times == sorted(times)
    assert mine[0].select_one("a")["href"] == f"/tasks/{mine[0]['data-task']}"


def test_nobody_sees_the_lines_of_others(lines: Site) -> None:
    assert shown(show(lines, lines.cast.charlie)) == []
    theirs = tasks_of(lines, lines.cast.alice)[0]
    assert shown(show(lines, lines.cast.bob, f"?task_id={theirs}")) == []
    assert lines.browser(lines.cast.bob).get(f"/logs/download.txt?task_id={theirs}").text == ""


def test_it_needs_a_login(site: Site) -> None:
    assert site.client.get("/logs").status_code in (302, 303, 401)
    assert site.client.get("/logs/download.txt").status_code in (302, 303, 401)


def test_a_message_is_text_and_not_markup(lines: Site) -> None:
    found = show(lines, lines.cast.alice)
    assert not found.select("[data-log-lines] b")
    assert any("<b>file</b>" in line.text for line in shown(found))


def test_filters_work_as_a_plain_form(lines: Site) -> None:
    alice = lines.cast.alice
    errors = shown(show(lines, alice, "?level=error"))
    assert errors
    assert {line["data-level"] for line in errors} == {"error"}
    failed = errors[0]["data-task"]
    assert {line["data-task"] for line in shown(show(lines, alice, f"?task_id={failed}"))} == {failed}
    assert all("100%" in line.text for line in shown(show(lines, alice, "?search=100%25")))
    assert shown(show(lines, alice, "?agent_id=nobody")) == []


def test_a_level_that_does_not_exist_is_no_filter(lines: Site) -> None:
    alice = lines.cast.alice
    assert len(shown(show(lines, alice, "?level=loud"))) == len(shown(show(lines, alice)))


def test_what_was_asked_stands_in_the_form_and_in_the_downloads(lines: Site) -> None:
    found = show(lines, lines.cast.alice, "?search=a%26b&level=warning")
    assert found.select_one("input[name=search]")["value"] == "a&b"  # type: ignore[index]
    assert found.select_one("input[name=level][checked]")["value"] == "warning"  # type: ignore[index]
    links = [link["href"] for link in found.select("[data-log-download]")]
    assert all("search=a%26b" in link and "level=warning" in link for link in links)
    assert "No line fits these filters." in found.text


def test_text_is_one_line_per_entry_whatever_a_message_holds(lines: Site) -> None:
    answer = lines.browser(lines.cast.alice).get("/logs/download.txt")
    assert "attachment" in answer.headers["Content-Disposition"]
    rows = answer.text.splitlines()
    assert len(rows) == len(shown(show(lines, lines.cast.alice)))
    assert all(row[:4].isdigit() and row[10] == "T" for row in rows)
    assert any("the <b>file</b> is empty 100%" in row for row in rows)


def test_json_lines_are_log_entries(lines: Site) -> None:
    answer = lines.browser(lines.cast.alice).get("/logs/download.jsonl?level=error")
    entries = [json.loads(row) for row in answer.text.splitlines()]
    assert entries
    assert all(set(entry) == {"timestamp", "level", "message", "agent_id", "task_id", "source"} for entry in entries)
    assert lines.browser(lines.cast.alice).get("/logs/download.exe").status_code == 400


def test_an_empty_log_says_what_will_be_there(site: Site) -> None:
    found = show(site, site.cast.charlie)
    assert "No lines" in found.select_one("[data-log-empty]").text  # type: ignore[union-attr]
    assert found.select_one("[data-log-empty]").has_attr("hidden") is False  # type: ignore[union-attr]


def test_it_says_without_a_script_that_it_is_not_live(site: Site) -> None:
    assert "only with JavaScript" in show(site, site.cast.alice).select_one(".log-foot .no-js-only").text  # type: ignore[union-attr]


def test_nothing_inline(lines: Site) -> None:
    found = show(lines, lines.cast.alice)
    assert not found.select("[style], [onclick], style")
    assert all(script.get("src") or script.get("nonce") for script in found.select("script"))

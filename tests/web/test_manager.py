"""Pages around the list of tasks: saved views, schedules, comparing, links; and the same by API."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.fakes.site import Site
from tests.web.test_pages import Browser, checked, summary


@pytest.fixture
def alice(site: Site) -> Browser:
    return Browser(site, site.cast.alice)


def schedule(site: Site, **more: Any) -> dict[str, Any]:
    body = {
        "task_type": "summary",
        "task_config": {"content": "Bees make honey."},
        "title": "Bees",
        "cron": "0 9 * * 1",
    }
    answer = site.program(site.cast.alice).post("/api/v1/tasks/schedules", json={**body, **more})
    assert answer.status_code == 201, answer.json
    told: dict[str, Any] = answer.json
    return told


# -- saved views -----------------------------------------------------------------------------------------------------


def test_a_view_from_the_list(alice: Browser) -> None:
    assert alice.open("/tasks").select_one("#task-views") is None, "nothing to keep, nothing kept"
    page = alice.open("/tasks?status=failed&q=bees")
    answer = alice.send(page, ".views-save form", name="Failed bees")
    assert answer.headers["Location"] == "/tasks?q=bees&status=failed"
    page = alice.open("/tasks")
    chip = page.find("a", string="Failed bees")
    assert chip is not None
    shown = alice.open(chip["href"])  # type: ignore[index]
    assert [a.text for a in shown.select(".view-chip[aria-current]")] == ["Failed bees"]
    alice.send(shown, "#task-views form")
    assert alice.open("/tasks").find("a", string="Failed bees") is None


def test_views_by_api(site: Site) -> None:
    client = site.program(site.cast.alice)
    made = client.post(
        "/api/v1/tasks/views", json={"name": "Mine", "filters": {"status": "failed", "from": "2026-01-31"}}
    )
    assert made.status_code == 201
    assert made.json["filters"] == {"status": "failed", "from": "2026-01-31"}
    assert [one["name"] for one in client.get("/api/v1/tasks/views").json] == ["Mine"]
    for wrong in ({"status": "odd"}, {"from": "yesterday"}):
        answer = client.post("/api/v1/tasks/views", json={"name": "x", "filters": wrong})
        assert answer.status_code == 422
        assert answer.json["errors"][0]["loc"][0] == "filters"
    assert client.post("/api/v1/tasks/views", json={"name": "x", "filters": {}}).status_code == 400
    assert client.delete(f"/api/v1/tasks/views/{made.json['id']}").status_code == 204
    assert client.get("/api/v1/tasks/views").json == []


# -- schedules -------------------------------------------------------------------------------------------------------


def test_a_task_is_scheduled_from_its_form_and_changed(site: Site, alice: Browser) -> None:
    assert "Nothing is scheduled" in alice.open("/tasks/schedules").text
    page = alice.open("/tasks/new?kind=summary")
    sent = {"content": "Bees make honey.", "title": "Bees", "when": "cron", "repeat": "monday", "time": "07:30"}
    answer = alice.send(page, "#task-form", **sent)
    assert answer.headers["Location"] == "/tasks/schedules"
    assert site.lab.count("tasks") == 0
    shown = alice.open("/tasks/schedules")
    assert "Every Monday at 07:30 UTC" in shown.text
    form = alice.open(shown.select_one(".key-name")["href"])  # type: ignore[index]
    assert form.select_one("#f-time")["value"] == "07:30"  # type: ignore[index]
    assert form.select_one("#f-repeat option[selected]")["value"] == "monday"  # type: ignore[index]
    assert len(form.select("#when-times li")) == 5
    alice.send(form, "#task-form", **{**sent, "repeat": "cron", "cron": "15 3 * * *"})
    assert "Every day at 03:15 UTC" in alice.open("/tasks/schedules").text
    assert site.lab.count("schedules WHERE owner_id IS NOT NULL") == 1


def test_a_paused_schedule_promises_no_times(site: Site, alice: Browser) -> None:
    sent = {"content": "Bees make honey.", "title": "Bees", "when": "cron", "repeat": "monday", "time": "07:30"}
    alice.send(alice.open("/tasks/new?kind=summary"), "#task-form", **sent)
    shown = alice.open("/tasks/schedules")
    alice.send(shown, "form[action$='/pause']")
    form = alice.open(shown.select_one(".key-name")["href"])  # type: ignore[index]
    assert form.select_one("h1").get_text() == "Bees"  # type: ignore[union-attr]
    assert "This schedule is paused" in form.text
    assert form.select("#when-times li") == []
    alice.send(form, "form[action$='/resume']")
    form = alice.open(shown.select_one(".key-name")["href"])  # type: ignore[index]
    assert len(form.select("#when-times li")) == 5


@pytest.mark.parametrize(("given", "field", "says"), [
    ({"when": "once", "at": ""}, "at", "choose a day"), ({"when": "once", "at": "2020-01-01T00:00"}, "at", "passed"),
    ({"when": "once", "at": "soon"}, "at", "choose a day"), ({"when": "cron", "repeat": "cron", "cron": ""}, "cron", "cron line"),
    ({"when": "cron", "repeat": "cron", "cron": "* * * * *"}, "cron", "every 5 minutes"),
    ({"when": "cron", "repeat": "daily", "time": "25:00"}, "time", "09:30"),
])  # fmt: skip
def test_a_time_that_is_none_is_told_beside_it(
    site: Site, alice: Browser, given: dict[str, str], field: str, says: str
) -> None:
    answer = alice.send(alice.open("/tasks/new?kind=summary"), "#task-form", content="Bees.", **given)
    assert answer.status_code == 422
    assert says in checked(answer).select_one(f"#f-{field}-error").text.lower()  # type: ignore[union-attr]
    assert site.lab.count("schedules WHERE owner_id IS NOT NULL") == 0


def test_the_next_times_are_shown_before_it_is_kept(alice: Browser) -> None:
    shown = alice.client.get("/tasks/schedules/preview?when=cron&repeat=daily&time=10:00").text
    assert len(re.findall(r"10:00 UTC", shown)) >= 5
    assert "09:30" in alice.client.get("/tasks/schedules/preview?when=cron&repeat=daily&time=x").text
    for query in ("", "?when=once&at=x", "?when=odd", "?when=cron&repeat=cron&cron=%00"):
        assert alice.client.get("/tasks/schedules/preview" + query).status_code == 200


def test_the_buttons_of_a_schedule(site: Site, alice: Browser) -> None:
    ident = schedule(site)["id"]
    for verb, says in (("pause", "is paused"), ("pause", "not active"), ("resume", "goes on"), ("run", "put into the queue"),
                       ("delete", "was deleted")):  # fmt: skip
        token = alice.open("/tasks/schedules").select_one("input[name=csrf_token]")["value"]  # type: ignore[index]
        answer = alice.client.post(f"/tasks/schedules/{ident}/{verb}", data={"csrf_token": token})
        assert answer.status_code == 303
        assert says in alice.open("/tasks/schedules").text, verb
    assert site.lab.count("tasks") == 1


def test_schedules_by_api(site: Site) -> None:
    client = site.program(site.cast.alice)
    made = schedule(site)
    path = f"/api/v1/tasks/schedules/{made['id']}"
    assert (made["when"], made["enabled"], made["task_config"]["max_length"]) == (
        "every Monday at 09:00 UTC",
        True,
        500,
    )
    changed = client.patch(path, json={"title": "Other", "task_config": {"content": "New."}}).json
    assert (changed["title"], changed["cron"], changed["task_config"]["content"]) == ("Other", "0 9 * * 1", "New.")
    at = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    assert client.patch(path, json={"at": at}).json["cron"] is None
    assert client.post(path + "/pause").json["enabled"] is False
    kept = client.patch(path, json={"title": "Still paused"}).json
    assert (kept["enabled"], kept["title"]) == (False, "Still paused")
    assert client.post(path + "/resume").json["next_at"] is not None
    started = client.post(path + "/run")
    assert started.status_code == 202
    assert site.lab.row(started.json["task_id"]).title == "Still paused"
    assert [one["id"] for one in client.get("/api/v1/tasks/schedules").json] == [made["id"]]
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(("body", "field"), [
    ({}, "cron"), ({"cron": "0 9 * * 1", "at": "2030-01-01T00:00:00Z"}, "cron"), ({"cron": "x"}, "cron"), ({"cron": " "}, "cron"),
    ({"at": "2020-01-01T00:00:00Z"}, "at"), ({"at": "2030-01-01T00:00:00"}, "at"), ({"cron": "0 9 * * 1", "task_config": {}}, ""),
    ({"cron": "0 9 * * 1", "task_type": "none.such"}, "task_type"), ({"cron": "0 9 * * 1", "priority": "soon"}, "priority"),
])  # fmt: skip
def test_a_wrong_schedule_names_its_field(site: Site, body: dict[str, Any], field: str) -> None:
    base = {"task_type": "summary", "task_config": {"content": "Bees."}}
    answer = site.program(site.cast.alice).post("/api/v1/tasks/schedules", json={**base, **body})
    assert answer.status_code in (400, 422)
    loc = answer.json["errors"][0]["loc"]
    assert (str(loc[0]) if loc else "") == field


def test_the_operator_sees_and_runs_it_as_its_owners(site: Site) -> None:
    schedule(site)
    root = site.program(site.cast.root)
    [row] = [one for one in root.get("/api/v1/operations/schedules").json if one["name"].startswith("bees-")]
    task_id = root.post(f"/api/v1/operations/schedules/{row['name']}/run").json["task_id"]
    assert site.lab.row(task_id).owner_id == site.cast.alice.id


# -- comparing and links ---------------------------------------------------------------------------------------------


def test_two_ticked_tasks_are_compared(site: Site, alice: Browser) -> None:
    a, b = summary(site), summary(site)
    answer = alice.send(alice.open("/tasks"), "#bulk", action_="compare", ids=[b, a])
    assert answer.headers["Location"] == f"/tasks/compare?a={a}&b={b}"
    page = alice.open(answer.headers["Location"])
    assert "Both were started with the same" in page.text
    assert "Nothing differs" in page.text
    chooser = alice.open(f"/tasks/compare?a={a}")
    assert chooser.select_one(f'a[href*="{b}"]') is not None
    alice.send(alice.open("/tasks"), "#bulk", action_="compare", ids=[a])
    assert "Choose two tasks" in alice.open("/tasks").text
    told = site.program(site.cast.alice).get(f"/api/v1/tasks/compare?a={a}&b={b}").json
    assert (told["params"], told["diff"]) == ([], "")


def test_a_shared_result_is_for_reading_only(site: Site, alice: Browser) -> None:
    task_id = summary(site)
    page = alice.open(f"/tasks/{task_id}")
    assert alice.send(page, f"form[action='/tasks/{task_id}/share']").status_code == 303
    page = alice.open(f"/tasks/{task_id}")
    link = page.select_one("#share-link")["value"]  # type: ignore[index]
    path = "/" + str(link).split("/", 3)[3]
    answer = site.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    shown = checked(answer)
    assert "Bees" in shown.text
    assert task_id not in answer.text, "no way to the task itself"
    assert shown.select("form") == [] or all(form.get("method") == "dialog" for form in shown.select("form"))
    alice.send(page, f"form[action='/tasks/{task_id}/unshare']")
    assert site.client.get(path).status_code == 404
    shared = site.program(site.cast.alice).post(f"/api/v1/tasks/{task_id}/share").json
    assert shared["url"].rsplit("/", 1)[1] != path.rsplit("/", 1)[1]
    assert site.program(site.cast.alice).delete(f"/api/v1/tasks/{task_id}/share").status_code == 204


def test_notify_me_is_asked_where_a_task_starts(site: Site, alice: Browser) -> None:
    from webapp.notifications import service as notifications

    page = alice.open("/tasks/new?kind=summary")
    answer = alice.send(page, "#task-form", content="Bees make honey.", notify="1")
    started = answer.headers["Location"].rsplit("/", 1)[1]
    other = alice.send(page, "#task-form", content="Bees make honey.").headers["Location"].rsplit("/", 1)[1]
    later = schedule(site, notify=True)
    ran = site.program(site.cast.alice).post(f"/api/v1/tasks/schedules/{later['id']}/run").json["task_id"]
    with site.lab.as_(site.cast.alice) as ctx:
        assert notifications.wanted(ctx, [started, other, ran]) == {started, ran}

"""The pages of webhooks, of hooks, of notifications and their settings, as a person without scripts uses them."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from tests.fakes.lab import QueryCounter
from tests.fakes.site import Site
from webapp.core.context import Ctx
from webapp.notifications import service as notifications
from webapp.notifications.service import Rule
from webapp.webhooks import inbound, service


class Browser:
    def __init__(self, site: Site, who: Any) -> None:
        self.site, self.client = site, site.browser(who)
        page = self.get("/notifications")
        self.token = re.search(r'name="csrf-token" content="([^"]+)"', page).group(1)  # type: ignore[union-attr]

    def get(self, path: str, expect: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == expect, (path, answer.status_code, answer.text[:300])
        return html.unescape(answer.text)

    def post(self, path: str, expect: int = 303, **data: Any) -> str:
        answer = self.client.post(path, data={"csrf_token": self.token, **data})
        assert answer.status_code == expect, (path, answer.status_code, answer.text[:300])
        return html.unescape(answer.text) if expect != 303 else str(answer.location)


@pytest.fixture
def alice(site: Site) -> Browser:
    return Browser(site, site.cast.alice)


def ctx_of(site: Site, db: Any) -> Ctx:
    return Ctx(site.rt, db, site.cast.alice)


def test_a_webhook_from_the_form_to_its_end(site: Site, alice: Browser) -> None:
    assert "No webhooks yet" in alice.get("/webhooks")
    alice.get("/webhooks/new")
    page = alice.post("/webhooks/new", 201, url="https://example.org/hook", events=["task.completed"],
                      more_events="workflow.completed, agent.*", headers="Authorization: Bearer abc\nX-A: b",
                      description="Ledger")  # fmt: skip
    secret = re.search(r"whsec_[\w+/=]+", page).group(0)  # type: ignore[union-attr]
    with site.rt.unit(write=False) as db:
        (row,) = service.list_(ctx_of(site, db))
        assert service.secrets_of(site.rt, row) == [secret]
        assert service.headers_of(site.rt, row) == {"Authorization": "Bearer abc", "X-A": "b"}
        assert row.events == ["agent.*", "task.completed", "workflow.completed"]
    path = f"/webhooks/{row.id}"
    shown = alice.get(path)
    assert secret not in shown
    assert "Bearer abc" not in shown
    assert "Authorization, X-A" in shown
    assert alice.post(f"{path}/test") == path
    assert "webhook.test" in alice.get(path)
    delivery = site.lab.sql("SELECT id FROM deliveries").scalar()
    alice.post(f"{path}/deliveries/{delivery}/redeliver")
    assert secret not in alice.post(f"{path}/rotate", 200)
    alice.post(path, url="https://example.org/other", events=["task.failed"], description="")
    with site.rt.unit(write=False) as db:
        row = service.get(ctx_of(site, db), row.id)
        assert (row.url, row.events, row.header_names) == (
            "https://example.org/other",
            ["task.failed"],
            ["Authorization", "X-A"],
        )
    alice.post(f"{path}/switch", on="no")
    assert "This webhook is off" in alice.get(path)
    alice.post(f"{path}/remove")
    alice.get(path, 404)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "http://10.0.0.1/x"}, "f-url-error"),
        ({"events": [], "more_events": ""}, "name at least one"),
        ({"more_events": "Task!"}, "is no event"),
        ({"headers": "no colon"}, "write each as Name: value"),
        ({"secret": "short"}, "at least 12 characters"),
    ],
)
def test_mistakes_stand_at_their_fields(alice: Browser, given: dict[str, Any], words: str) -> None:
    page = alice.post(
        "/webhooks/new", 422, **{"url": "https://example.org/hook", "events": ["task.completed"], **given}
    )
    assert words.lower() in page.lower()
    assert "No webhooks yet" in alice.get("/webhooks")


def test_a_hook_from_the_form_to_its_end(site: Site, alice: Browser) -> None:
    assert "No hooks yet" in alice.get("/webhooks/in")
    alice.get("/webhooks/in/new")
    page = alice.post("/webhooks/in/new", 201, name="Desk", kind="summary", fields="content = report.text\n",
                      params='{"max_length": 100}')  # fmt: skip
    assert "whsec_" in page
    assert '{"report": {"text": "..."}}' in page
    with site.rt.unit(write=False) as db:
        (row,) = inbound.list_(ctx_of(site, db))
        assert (row.fields, row.params) == ({"content": "report.text"}, {"max_length": 100})
    path = f"/webhooks/in/{row.id}"
    assert "whsec_AA" not in alice.get(path)
    for fields, params, words in (("content", "{}", "parameter = place"), ("", "[1]", "write an object"),
                                  ("", "{", "no valid JSON"), ("nothing = a", "{}", "no parameter nothing")):  # fmt: skip
        page = alice.post(path, 422, name="Desk", kind="summary", fields=fields, params=params)
        assert words.lower() in page.lower()
    alice.post(path, name="Other", kind="summary", fields="content = text", params="{}")
    alice.post(f"{path}/switch", on="no")
    assert "whsec_" in alice.post(f"{path}/rotate", 200)
    alice.post(f"{path}/remove")
    alice.get(path, 404)


def test_the_centre_and_its_buttons(site: Site, alice: Browser) -> None:
    assert "Nothing to tell yet" in alice.get("/notifications")
    with site.rt.unit() as db:
        for number in range(30):
            notifications.notify(
                db, str(site.cast.alice.id), "failed", f"Task {number} <b> failed", key=str(number), level="bad"
            )
            db.flush()
    page = alice.client.get("/notifications").text
    assert "Task 29 &lt;b&gt; failed" in page
    assert "Task 4 " not in page
    assert "25 notifications on this page" in page
    (first,) = re.findall(r'id="note-([\w-]+)-read"', page)[:1]
    alice.post(f"/notifications/{first}/read", read="yes")
    assert site.program(site.cast.alice).get("/api/v1/notifications/unread").json == {"unread": 29}
    alice.post(f"/notifications/{first}/remove")
    alice.post("/notifications/all", action="read")
    assert "All read" in alice.get("/notifications?show=unread")
    alice.post("/notifications/all", action="remove")
    assert "Nothing to tell yet" in alice.get("/notifications")


def test_the_list_asks_the_same_number_of_questions_however_long(site: Site, alice: Browser) -> None:
    counts = []
    for rows in (1, 25):
        with site.rt.unit() as db:
            for number in range(rows):
                notifications.notify(
                    db, str(site.cast.alice.id), "failed", "x", key=f"{rows}-{number}", task_id=str(number)
                )
        with QueryCounter(site.rt) as asked:
            alice.get("/notifications")
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_rules_by_boxes(site: Site, alice: Browser) -> None:
    page = alice.get("/notifications/settings")
    assert 'value="failed inapp" aria-label="Failed: In the app" checked' in page
    assert "Server alerts" not in page
    alice.post(
        "/notifications/settings", on=["completed inapp", "failed inapp"], kinds=["completed summary"], min_seconds="5"
    )
    with site.rt.unit(write=False) as db:
        assert sorted(notifications.rules(ctx_of(site, db)), key=lambda rule: rule.event) == [
            Rule("completed", "inapp", ("summary",), 5.0), Rule("failed", "inapp"),
        ]  # fmt: skip
    assert "is no channel of yours" in alice.post("/notifications/settings", 422, on=["failed nothing"])
    assert alice.post("/notifications/settings", 422, min_seconds="-1")
    alice.post("/notifications/settings", action="reset")
    with site.rt.unit(write=False) as db:
        assert notifications.rules(ctx_of(site, db)) == list(notifications.DEFAULTS)


def test_a_channel_from_its_form_to_its_end(site: Site, alice: Browser) -> None:
    alice.get("/notifications/channels/new/nothing", 404)
    page = alice.get("/notifications/channels/new/slack")
    assert 'type="password" id="f-url"' in page
    assert "f-url-error" in alice.post("/notifications/channels/new/slack", 422, url="nothing")
    assert alice.post("/notifications/channels/new/slack", url="https://chat.example/hooks/canary", name="Desk")
    page = alice.get("/notifications/settings")
    assert "Desk" in page
    assert "chat.example" in page
    assert "canary" not in page
    channel = site.lab.sql("SELECT id FROM notification_channels").scalar()
    for verb, data in (("test", {}), ("switch", {"on": "no"}), ("switch", {"on": "yes"}), ("remove", {})):
        alice.post(f"/notifications/channels/{channel}/{verb}", **data)
    assert "Desk" not in alice.get("/notifications/settings").replace("Desk is", "").replace("Desk.", "")


def test_notify_me_of_a_task(site: Site, alice: Browser) -> None:
    task_id = site.lab.start(site.cast.alice)
    assert "Notify me" in alice.get(f"/tasks/{task_id}")
    alice.post(f"/tasks/{task_id}/notify", on="yes")
    assert "You will be notified" in alice.get(f"/tasks/{task_id}")
    alice.post(f"/tasks/{task_id}/notify", on="no")
    assert "Notify me" in alice.get(f"/tasks/{task_id}/notify")
    site.lab.run()
    alice.post(f"/tasks/{task_id}/notify", on="yes")
    assert "Notify me" not in alice.get(f"/tasks/{task_id}")


def test_the_form_of_a_task_asks_it_too(site: Site, alice: Browser) -> None:
    where = alice.post(
        "/tasks", kind="summary", content="A sentence of some length that can be summed up.", notify="true"
    )
    task_id = where.rstrip("/").rsplit("/", 1)[-1]
    assert site.lab.sql("SELECT task_id FROM task_watches").scalar() == task_id

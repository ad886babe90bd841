"""The documented calls (002:4911-4929, 5071-5079, 5174) as a page of the same origin sends them, and what the receiver sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.conftest import make_cast
from tests.fakes.post_office import PostOffice
from tests.fakes.receiver import Receiver
from tests.fakes.site import OPEN_LIMITS, Site
from webapp.runtime import Runtime
from webapp.webhooks import service

PATH = "/api/v1/integration/webhooks"
PRINTED = [
    {"events": ["workflow.completed", "workflow.failed"], "headers": {"Authorization": "Bearer token123"}},
    {"events": ["workflow.completed", "workflow.failed"], "secret": "webhook-secret-123"},
    {"events": ["workflow.completed"]},
]


@pytest.fixture
def there(make_rt: Callable[..., Runtime], receiver: Receiver) -> Iterator[Site]:
    rt = make_rt(AUTH_REQUIRED="1", BRAINSTEM_ALLOW_HOSTS=receiver.host, **OPEN_LIMITS)
    made = Site(rt, make_cast(rt))
    yield made
    made.close()


def page(site: Site) -> Any:
    """fetch() of a page that somebody is logged in to: a cookie, and the browser's word that the page is ours."""
    client = site.browser(site.cast.alice)
    client.environ_base |= {"HTTP_ORIGIN": "http://localhost", "HTTP_SEC_FETCH_SITE": "same-origin"}
    return client


@pytest.mark.parametrize("body", PRINTED, ids=["headers", "secret", "plain"])
def test_subscribe_and_receive(
    there: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    answer = page(there).post(f"{PATH}/subscribe", json={"url": receiver.url, **body})
    assert answer.status_code == 201, answer.json
    made = answer.json
    assert made["subscription_id"] == made["id"]
    assert made["events"] == sorted(body["events"])
    office = PostOffice(there.rt, there.cast, monkeypatch)
    with there.rt.unit() as db:
        alice = str(there.cast.alice.id)
        assert service.publish(db, alice, "workflow.completed", {"execution_id": "run-1"}, key="run-1") == 1
        assert service.publish(db, alice, "workflow.started", {"execution_id": "run-1"}, key="run-0") == 0
    office.send()
    (got,) = receiver.got
    assert got.json["event"] == "workflow.completed"
    assert got.json["data"] == {"execution_id": "run-1"}
    assert got.headers.get("authorization") == body.get("headers", {}).get("Authorization")
    secret = body.get("secret")
    Webhook(secret.encode() if secret else made["secret"]).verify(got.body, got.headers)


def test_list_test_deliveries_and_delete(there: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.answer = lambda got: (500 if len(receiver.got) == 1 else 200, {}, b"ok")
    program = there.program(there.cast.alice)
    made = program.post(f"{PATH}/subscribe", json={"url": receiver.url, **PRINTED[0]}).json
    (row,) = program.get(PATH).json["webhooks"]
    assert row["headers"] == ["Authorization"]
    assert row["secret"] is None
    assert "token123" not in str(row)
    placed = program.post(f"{PATH}/{made['id']}/test")
    assert placed.status_code == 202
    office = PostOffice(there.rt, there.cast, monkeypatch)
    office.send()
    office.ahead += 6
    office.send()
    (delivery,) = program.get(f"{PATH}/{made['id']}/deliveries").json["deliveries"]
    assert delivery["delivery_id"] == placed.json["delivery_id"] == receiver.got[0].id
    assert [(one["number"], one["status_code"], one["response"]) for one in delivery["attempts"]] == [
        (1, 500, "ok"),
        (2, 200, "ok"),
    ]
    assert delivery["status"] == "delivered"
    assert delivery["payload"] == receiver.got[1].json
    changed = program.patch(f"{PATH}/{made['id']}", json={"enabled": False, "events": ["task.*"]}).json
    assert (changed["enabled"], changed["events"]) == (False, ["task.*"])
    assert program.post(f"{PATH}/{made['id']}/test").status_code == 409
    assert program.delete(f"{PATH}/{made['id']}").status_code == 204
    assert program.get(f"{PATH}/{made['id']}/deliveries").status_code == 404


def test_rules_and_channels_by_api(there: Site) -> None:
    program, path = there.program(there.cast.alice), "/api/v1/notifications"
    made = program.post(
        f"{path}/channels", json={"channel": "slack", "config": {"url": "https://chat.example/canary"}}
    ).json
    assert made["shown"] == "chat.example"
    assert "canary" not in str(program.get(f"{path}/channels").json)
    rules = [{"event": "failed", "channel": made["id"], "kinds": ["summary"], "min_seconds": 0.0}]
    assert program.put(f"{path}/rules", json={"rules": rules}).json == {"rules": rules}
    assert program.get(f"{path}/rules").json == {"rules": rules}
    assert program.delete(f"{path}/channels/{made['id']}").status_code == 204
    assert program.get(f"{path}/rules").json == {"rules": []}
    assert program.put(f"{path}/rules", json={"rules": [{"event": "nothing", "channel": "inapp"}]}).status_code == 400


def test_no_secret_is_kept_to_be_replayed(there: Site, receiver: Receiver) -> None:
    """What is replayed for an Idempotency-Key is stored, so an answer that shows a secret is not."""
    program = there.program(there.cast.alice)
    made = program.post(
        f"{PATH}/subscribe", json={"url": receiver.url, **PRINTED[2]}, headers={"Idempotency-Key": "two"}
    ).json
    stored = there.lab.sql("SELECT * FROM idempotency_keys").rows
    assert made["secret"] not in str(stored)

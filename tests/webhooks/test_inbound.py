"""A41: signed messages from elsewhere start tasks; everything else is refused, and nothing happens twice."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from tests.fakes import kinds
from tests.fakes.site import Site
from webapp.webhooks import signing

BODY = b'{"article": {"text": "to be"},  "n": 1}'  # with spaces no serialiser would write again


@pytest.fixture
def hook(site: Site) -> dict[str, Any]:
    answer = site.program(site.cast.alice).post(
        "/api/v1/integration/hooks",
        json={"name": "From the desk", "task_type": "test.script", "config": {"script": "ok"}, "fields": {"value": "article"}},
    )  # fmt: skip
    assert answer.status_code == 201, answer.json
    return dict(answer.json)


def signed(secret: str, body: bytes = BODY, *, id: str = "msg_1", at: float | None = None) -> dict[str, str]:
    return signing.signed([secret], id, time.time() if at is None else at, body.decode())


def call(site: Site, hook: dict[str, Any], headers: dict[str, str], body: bytes = BODY) -> Any:
    path = f"/api/v1/integration/hooks/{hook['id']}/receive"
    return site.client.post(path, data=body, headers={"Content-Type": "application/json", **headers})


def test_a41_a_signed_message_starts_the_task(site: Site, hook: dict[str, Any]) -> None:
    answer = call(site, hook, signed(hook["secret"]))
    assert (answer.status_code, answer.json["status"]) == (202, "started")
    row = site.lab.row(answer.json["task_id"])
    assert row.owner_id == site.cast.alice.id
    assert row.title == "From the desk"
    assert row.params == {"script": "ok", "value": {"text": "to be"}}


def changed(header: str) -> str:
    return header[:-3] + ("A" if header[-3] != "A" else "B") + header[-2:]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda h, s: {},
        lambda h, s: {k: v for k, v in h.items() if k != "webhook-signature"},
        lambda h, s: {k: v for k, v in h.items() if k != "webhook-id"},
        lambda h, s: {k: v for k, v in h.items() if k != "webhook-timestamp"},
        lambda h, s: {**h, "webhook-signature": changed(h["webhook-signature"])},
        lambda h, s: {**h, "webhook-signature": h["webhook-signature"][:30]},
        lambda h, s: {**h, "webhook-signature": h["webhook-signature"].removeprefix("v1,")},
        lambda h, s: {**h, "webhook-signature": h["webhook-signature"].replace("v1,", "v2,")},
        lambda h, s: {**h, "webhook-signature": "v1,"},
        lambda h, s: {**h, "webhook-signature": "v1,,,, v1 ," + "=" * 50},
        lambda h, s: {**h, "webhook-signature": "\xff" * 40},
        lambda h, s: {**h, "webhook-id": "another"},
        lambda h, s: {**h, "webhook-timestamp": str(int(time.time()) + 1000)},
        lambda h, s: {**h, "webhook-timestamp": "nan"},
        lambda h, s: {**h, "webhook-timestamp": "1e400"},
        lambda h, s: signed(s, at=time.time() - 360),
        lambda h, s: signed(s, at=time.time() + 360),
        lambda h, s: signed("whsec_" + base64.b64encode(b"z" * 32).decode()),
        lambda h, s: signed(s, json.dumps(json.loads(BODY)).encode()),  # over JSON that was written anew
    ],
)
def test_a41_what_is_not_signed_as_it_should_is_401_and_has_no_effect(
    site: Site, hook: dict[str, Any], spoil: Any
) -> None:
    with site.unchanged():
        answer = call(site, hook, spoil(signed(hook["secret"]), hook["secret"]))
    assert answer.status_code == 401, answer.json
    assert answer.json["detail"] == "the signature is missing, wrong or too old"


def test_a41_a_body_that_was_changed_is_401(site: Site, hook: dict[str, Any]) -> None:
    headers = signed(hook["secret"])
    for body in (BODY + b" ", BODY.replace(b"1", b"2"), b"\xff\xfe", b""):
        assert call(site, hook, headers, body).status_code == 401


def test_a41_an_id_that_was_taken_has_no_effect(site: Site, hook: dict[str, Any]) -> None:
    first = call(site, hook, signed(hook["secret"]))
    with site.unchanged():
        again = call(site, hook, signed(hook["secret"], at=time.time() + 60))
    assert (again.status_code, again.json) == (200, {"task_id": first.json["task_id"], "status": "duplicate"})
    assert call(site, hook, signed(hook["secret"], id="msg_2")).status_code == 202


def test_a41_signatures_of_several_versions_beside_each_other(site: Site, hook: dict[str, Any]) -> None:
    headers = signed(hook["secret"])
    headers["webhook-signature"] = f"v2,abc v1a,xyz junk {headers['webhook-signature']}"
    assert call(site, hook, headers).status_code == 202


def test_a41_five_megabytes_are_413(site: Site, hook: dict[str, Any]) -> None:
    body = b'{"a": "' + b"x" * (5 * 2**20) + b'"}'
    assert call(site, hook, signed(hook["secret"], body), body).status_code == 413


def test_a41_raw_bytes_are_signed(hook: dict[str, Any], site: Site) -> None:
    """By a signature made without our code or the library."""
    key = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    at = str(int(time.time()))
    mac = hmac.new(key, b"raw-1." + at.encode() + b"." + BODY, hashlib.sha256).digest()
    headers = {"webhook-id": "raw-1", "webhook-timestamp": at,
               "webhook-signature": "v1," + base64.b64encode(mac).decode()}  # fmt: skip
    assert call(site, hook, headers).status_code == 202


def test_after_a_change_the_old_secret_is_good_for_a_day(site: Site, hook: dict[str, Any]) -> None:
    fresh = site.program(site.cast.alice).post(f"/api/v1/integration/hooks/{hook['id']}/rotate-secret").json["secret"]
    assert call(site, hook, signed(fresh, id="a")).status_code == 202
    assert call(site, hook, signed(hook["secret"], id="b")).status_code == 202
    site.lab.sql("UPDATE inbound_hooks SET old_secret_until = '2020-01-01 00:00:00.000000'")
    assert call(site, hook, signed(hook["secret"], id="c")).status_code == 401


def test_ids_are_kept_for_a_day(site: Site, hook: dict[str, Any]) -> None:
    from datetime import timedelta

    from webapp.core.db import utcnow
    from webapp.webhooks import inbound
    from webapp.webhooks.models import InboundReceipt

    call(site, hook, signed(hook["secret"]))
    with site.rt.unit() as db:
        assert inbound.forget(db) == 0
        db.query(InboundReceipt).one().at = utcnow() - timedelta(hours=24, seconds=1)
        db.flush()
        assert inbound.forget(db) == 1


def test_a_message_without_what_is_wanted_names_it(site: Site, hook: dict[str, Any]) -> None:
    body = b'{"other": 1}'
    answer = call(site, hook, signed(hook["secret"], body), body)
    assert answer.status_code == 400
    assert answer.json["errors"][0]["loc"] == ["value"]
    for body in (b"[1, 2", b'"text"', b"[]"):
        assert call(site, hook, signed(hook["secret"], body, id=body.hex()), body).status_code == 400


def test_a_value_that_the_kind_does_not_take_is_refused(site: Site) -> None:
    program = site.program(site.cast.alice)
    hook = program.post("/api/v1/integration/hooks", json={
        "name": "Notes", "task_type": "test.script", "config": {"script": "ok"}, "fields": {"note": "note"}}).json  # fmt: skip
    body = json.dumps({"note": "x" * 50}).encode()
    answer = call(site, hook, signed(hook["secret"], body), body)
    assert answer.status_code == 400
    assert "note" in answer.json["detail"]


def test_a_hook_that_is_off_gone_or_of_a_suspended_person_is_404(site: Site, hook: dict[str, Any]) -> None:
    program = site.program(site.cast.alice)
    path = f"/api/v1/integration/hooks/{hook['id']}"
    assert program.patch(path, json={"enabled": False}).json["enabled"] is False
    assert call(site, hook, signed(hook["secret"])).status_code == 404
    program.patch(path, json={"enabled": True})
    site.lab.sql("UPDATE users SET is_active = 0 WHERE username = 'alice'")
    assert call(site, hook, signed(hook["secret"])).status_code == 404
    site.lab.sql("UPDATE users SET is_active = 1 WHERE username = 'alice'")
    assert program.delete(path).status_code == 204
    assert call(site, hook, signed(hook["secret"])).status_code == 401  # nobody knows its secret any more


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("task_type", {"task_type": "no.such"}),
        ("task_type", {"task_type": "maintenance.retention"}),
        ("params", {"config": {"nothing": 1}}),
        ("fields", {"fields": {"nothing": "a.b"}}),
        ("fields", {"fields": {"value": "a..b"}}),
        ("params", {"config": {"note": "x" * 99}, "fields": {}}),
    ],
)
def test_a_hook_that_could_never_work_is_refused(site: Site, field: str, given: dict[str, Any]) -> None:
    body = {"name": "x", "task_type": "test.script", "config": {"script": "ok"}, "fields": {"value": "a"}, **given}
    answer = site.program(site.cast.alice).post("/api/v1/integration/hooks", json=body)
    assert answer.status_code == 400, answer.json
    assert answer.json["errors"][0]["loc"] == [field]


def test_kinds_cannot_be_reached_by_values(site: Site, hook: dict[str, Any]) -> None:
    """A path in a message is only ever looked up."""
    body = b'{"article": "{{7*7}} {0.__class__} ${jndi:x}"}'
    answer = call(site, hook, signed(hook["secret"], body), body)
    assert site.lab.row(answer.json["task_id"]).params["value"] == "{{7*7}} {0.__class__} ${jndi:x}"
    assert kinds.scripts

"""Signed webhooks go out: who gets what, how it is signed, what an answer means. A42 and the cases of F33 apart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.fakes.post_office import PostOffice
from tests.fakes.receiver import Receiver
from webapp.core.errors import BadRequest, Conflict, NotFound
from webapp.core.http import OutboundPolicy
from webapp.deliveries import service as deliveries
from webapp.webhooks import service, signing

Subscribe = Callable[..., tuple[str, str]]


def test_a_finished_task_is_told_as_documented(office: PostOffice, receiver: Receiver, subscribe: Subscribe) -> None:
    _, secret = subscribe(receiver.url, "task.completed", headers={"Authorization": "Bearer token123"})
    task_id = office.finish(office.cast.alice, title="Count")
    office.send()
    (got,) = receiver.got
    assert got.json["event"] == "task.completed"
    assert got.json["data"]["execution_id"] == task_id
    assert got.json["data"]["title"] == "Count"
    assert got.headers["authorization"] == "Bearer token123"
    assert got.headers["content-type"] == "application/json"
    Webhook(secret).verify(got.body, got.headers)
    (row,) = office.deliveries()
    assert (row.status, row.code, got.id) == ("delivered", 204, row.id)


def test_a_secret_of_plain_words_signs_by_its_bytes(
    office: PostOffice, receiver: Receiver, subscribe: Subscribe
) -> None:
    subscribe(receiver.url, secret="webhook-secret-123")
    office.finish(office.cast.alice)
    office.send()
    Webhook(b"webhook-secret-123").verify(receiver.got[0].body, receiver.got[0].headers)


def test_after_a_change_both_secrets_sign_for_a_day(
    office: PostOffice, receiver: Receiver, subscribe: Subscribe
) -> None:
    endpoint, old = subscribe(receiver.url)
    with office.as_(office.cast.alice) as ctx:
        _, fresh = service.rotate(ctx, endpoint)
    office.finish(office.cast.alice)
    office.send()
    for secret in (old, fresh):
        Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)
    office.sql("UPDATE webhook_endpoints SET old_secret_until = '2020-01-01 00:00:00.000000'")
    office.finish(office.cast.alice)
    office.send()
    Webhook(fresh).verify(receiver.got[1].body, receiver.got[1].headers)
    assert receiver.got[1].headers["webhook-signature"].count("v1,") == 1


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["task.failed"], ["task.failed"]),
        (["task.*"], ["task.completed", "task.failed"]),
        (["*"], ["task.completed", "task.failed"]),
        (["task.dead_letter"], ["task.dead_letter"]),
        (["workflow.completed"], []),
    ],
)
def test_events_and_patterns(
    office: PostOffice, receiver: Receiver, subscribe: Subscribe, events: list[str], told: list[str]
) -> None:
    from tests.fakes import kinds

    def broken(run: Any) -> None:
        raise ValueError("no")

    kinds.scripts["broken"] = broken
    subscribe(receiver.url, *events)
    office.finish(office.cast.alice)
    office.finish(office.cast.alice, "broken")
    office.send()
    assert sorted(got.json["event"] for got in receiver.got) == told


def test_kinds_and_owners_are_kept_apart(office: PostOffice, receiver: Receiver, subscribe: Subscribe) -> None:
    subscribe(receiver.url, "*", kinds=["test.jitter"])
    office.finish(office.cast.alice)
    office.finish(office.cast.bob, kind="test.jitter")
    office.send()
    assert receiver.got == []
    office.finish(office.cast.alice, kind="test.jitter")
    office.send()
    assert len(receiver.got) == 1


def test_a_test_and_a_redelivery_carry_ids(office: PostOffice, receiver: Receiver, subscribe: Subscribe) -> None:
    endpoint, _ = subscribe(receiver.url)
    with office.as_(office.cast.alice) as ctx:
        placed = service.test(ctx, endpoint).id
    office.send()
    assert receiver.got[0].json["event"] == "webhook.test"
    assert receiver.got[0].id == placed
    with office.as_(office.cast.alice) as ctx:
        service.redeliver(ctx, endpoint, placed)
    office.send()
    assert [got.id for got in receiver.got] == [placed, placed]
    assert receiver.got[0].body == receiver.got[1].body
    assert [one.number for one in office.attempts(placed)] == [1, 2]


def test_what_is_off_gets_nothing_and_strangers_see_nothing(
    office: PostOffice, receiver: Receiver, subscribe: Subscribe
) -> None:
    endpoint, _ = subscribe(receiver.url)
    with office.as_(office.cast.alice) as ctx:
        service.change(ctx, endpoint, enabled=False)
        with pytest.raises(Conflict):
            service.test(ctx, endpoint)
    office.finish(office.cast.alice)
    office.send()
    assert receiver.got == []
    assert office.deliveries() == []
    with office.as_(office.cast.bob) as ctx:
        for verb in (service.get, service.remove, service.rotate, service.test, service.log):
            with pytest.raises(NotFound):
                verb(ctx, endpoint)


def test_what_waits_for_one_that_is_removed_is_not_sent(
    office: PostOffice, receiver: Receiver, subscribe: Subscribe
) -> None:
    endpoint, _ = subscribe(receiver.url)
    office.finish(office.cast.alice)
    office.look()
    with office.as_(office.cast.alice) as ctx:
        service.remove(ctx, endpoint)
    office.send()
    assert receiver.got == []
    assert office.deliveries()[0].status == "cancelled"


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("url", {"url": "ftp://example.org/"}),
        ("url", {"url": "http://169.254.169.254/latest"}),
        ("url", {"url": "http://10.0.0.7/hook"}),
        ("url", {"url": "https://user:pass@example.org/"}),
        ("events", {"events": ["task..completed"]}),
        ("events", {"events": ["task.completed\r\nX: y"]}),
        ("events", {"events": []}),
        ("headers", {"headers": {"Host": "other"}}),
        ("headers", {"headers": {"webhook-id": "mine"}}),
        ("headers", {"headers": {"X-A": "a\r\nX-B: b"}}),
        ("headers", {"headers": {"Bad Name": "x"}}),
        ("secret", {"secret": "short"}),
        ("secret", {"secret": "whsec_not base64 at all"}),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(office: PostOffice, field: str, given: dict[str, Any]) -> None:
    wanted = {"url": "https://example.org/hook", "events": ["task.completed"], **given}
    with office.as_(office.cast.alice) as ctx, pytest.raises(BadRequest) as refused:
        service.subscribe(ctx, **wanted)
    assert refused.value.details
    assert refused.value.details[0]["loc"] == [field]


def test_nobody_has_more_than_twenty(office: PostOffice, subscribe: Subscribe) -> None:
    for number in range(service.MOST):
        subscribe(f"https://example.org/{number}")
    with pytest.raises(Conflict):
        subscribe("https://example.org/more")


def test_secrets_and_headers_are_sealed(office: PostOffice, receiver: Receiver, subscribe: Subscribe) -> None:
    _, secret = subscribe(receiver.url, headers={"X-Key": "a-canary-value"})
    dump = json.dumps([list(map(str, row)) for row in office.sql("SELECT * FROM webhook_endpoints").rows])
    assert secret not in dump
    assert "a-canary-value" not in dump


# -- A42 -------------------------------------------------------------------------------------------------------------


def test_a42_a_name_that_came_to_mean_an_inner_address_is_refused_at_each_send(
    office: PostOffice, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, _ = subscribe("https://hook.example/in")
    from webapp.deliveries import post

    inner = OutboundPolicy(resolver=lambda host, port: ["10.0.0.9"])
    monkeypatch.setattr(post, "outbound_policy", lambda settings: inner)
    office.finish(office.cast.alice)
    office.send()
    (row,) = office.deliveries()
    assert row.status == "waiting"
    assert row.code is None
    assert "address" in (row.error or "").lower(), row.error
    with office.as_(office.cast.alice) as ctx:
        assert service.get(ctx, endpoint).failures == 1


def test_a42_of_an_endless_answer_64_kb_are_read(office: PostOffice, receiver: Receiver, subscribe: Subscribe) -> None:
    sent = []

    def endless(got: Any) -> Any:
        class Much(bytes):
            pass

        sent.append(1)
        return 200, {"Content-Length": str(10 * 2**30)}, Much(b"x" * (256 * 1024))

    receiver.answer = endless
    subscribe(receiver.url)
    office.finish(office.cast.alice)
    started = time.monotonic()
    office.send()
    (row,) = office.deliveries()
    assert row.status == "delivered"
    assert time.monotonic() - started < 5
    assert len(office.attempts(row.id)[0].answer or "") <= 500


def test_a42_a_redirect_is_not_followed(
    office: PostOffice, receiver: Receiver, other: Receiver, subscribe: Subscribe
) -> None:
    receiver.answer = lambda got: (307, {"Location": other.url}, b"")
    subscribe(receiver.url)
    office.finish(office.cast.alice)
    office.send()
    assert other.got == []
    assert "redirect" in (office.deliveries()[0].error or "")


# -- signing ---------------------------------------------------------------------------------------------------------


def test_the_example_of_the_specification() -> None:
    """The vector printed by Standard Webhooks' own documents."""
    headers = signing.signed(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_numbers_of_what_was_sent(office: PostOffice, receiver: Receiver, subscribe: Subscribe) -> None:
    endpoint, _ = subscribe(receiver.url)
    office.finish(office.cast.alice)
    office.send()
    with office.as_(office.cast.alice) as ctx:
        assert deliveries.numbers(ctx, [endpoint]) == {endpoint: {"delivered": 1}}

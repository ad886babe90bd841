"""One attempt at one webhook: through the outbound gate, which judges the address anew each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from webapp.core.db import utcnow
from webapp.core.sealing import Unreadable
from webapp.core.text import clean
from webapp.deliveries import service as deliveries
from webapp.deliveries.post import post
from webapp.deliveries.service import Answer, Carrier, Letter
from webapp.notifications.service import notify
from webapp.webhooks import service, signing
from webapp.webhooks.models import WebhookEndpoint

if TYPE_CHECKING:
    from webapp.runtime import Runtime


def send(rt: Runtime, letter: Letter, stopped: Callable[[], bool]) -> Answer:
    with rt.unit(write=False) as db:
        row = db.scalar(select(WebhookEndpoint).where(WebhookEndpoint.id == letter.target_id))
    if row is None or not row.enabled:
        return Answer(error="the webhook was removed or turned off", gone=True)
    try:
        secrets, own = service.secrets_of(rt, row), service.headers_of(rt, row)
    except Unreadable:
        return Answer(
            error="its secret cannot be read: the program's SECRET_KEY was changed; set a new one", final=True
        )
    return post(rt, row.url, letter.body, {**own, **signing.signed(secrets, letter.id, deliveries.now(), letter.body)},
                stopped)  # fmt: skip


def told(db: Session, letter: Letter, answer: Answer, over: bool) -> None:
    """What the endpoint's own row says of its health; after a 410 it is turned off and its owner told."""
    row = db.scalar(select(WebhookEndpoint).where(WebhookEndpoint.id == letter.target_id))
    if row is None:
        return
    if not answer.error:
        row.failures, row.last_ok_at, row.last_error = 0, utcnow(), None
        return
    row.failures, row.last_error = row.failures + 1, clean(answer.error)[:300]
    if answer.gone and row.enabled:
        row.enabled, row.disabled_reason = False, "The receiver answered 410 Gone: it wants no more"
        notify(db, row.owner_id, "webhook", "A webhook was turned off", f"{_host(row)} answered 410 Gone.",
               level="warn", key=f"gone:{letter.id}:{letter.attempt}", url=f"/webhooks/{row.id}")  # fmt: skip
    elif over:
        notify(db, row.owner_id, "webhook", "A webhook could not be delivered",
               f"{letter.event} to {_host(row)}: {row.last_error}", level="bad", key=f"over:{letter.id}:{letter.attempt}",
               url=f"/webhooks/{row.id}")  # fmt: skip


def _host(row: WebhookEndpoint) -> str:
    return row.url.split("//", 1)[-1].split("/", 1)[0]


WEBHOOK = Carrier(send, told)

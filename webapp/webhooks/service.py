"""Webhooks out: who subscribed to what, and putting events into their deliveries.

`publish(db, ...)` is how any area tells an event: it writes rows in the caller's transaction, nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from webapp.core import audit
from webapp.core.addresses import precheck_url
from webapp.core.context import Ctx
from webapp.core.db import iso, new_id, utcnow
from webapp.core.errors import AppError, BadRequest, Conflict, Forbidden, NotFound
from webapp.core.http import HARMLESS_HEADERS, OWN_HEADERS
from webapp.core.paging import Page
from webapp.core.sealing import seal, unseal
from webapp.deliveries import service as deliveries
from webapp.deliveries.models import Delivery
from webapp.tasks.service import outbound_policy
from webapp.webhooks import signing
from webapp.webhooks.models import WebhookEndpoint

if TYPE_CHECKING:
    from webapp.runtime import Runtime

PURPOSE, HEADERS = "webhook secrets", "webhook headers"
MOST = 20  # endpoints of one person
MOST_HEADERS, LONGEST_VALUE = 10, 2000
OVERLAP = timedelta(hours=24)  # the old secret signs as well for so long after a change
CARRIER = "webhook"
# What is told today. Subscriptions may name events that come with other parts of the program (workflow.completed).
EVENTS = {
    "task.completed": "A task of yours is done",
    "task.failed": "A task of yours failed for good, or took too long",
    "task.dead_letter": "It was given up: all attempts failed, or its workers were lost",
    "task.cancelled": "A task of yours was cancelled",
    "task.waiting": "A task of yours waits for an answer from you",
}
_EVENT = re.compile(r"\*|[a-z][a-z0-9_]{0,30}(\.[a-z][a-z0-9_]{0,30}){0,2}(\.\*)?")
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e\t]*")


# -- subscriptions ---------------------------------------------------------------------------------------------------


def subscribe(
    ctx: Ctx,
    url: str,
    events: Sequence[str],
    *,
    headers: Mapping[str, str] | None = None,
    secret: str | None = None,
    kinds: Sequence[str] = (),
    description: str = "",
) -> tuple[WebhookEndpoint, str]:
    """The stored endpoint and its secret, which is shown this once. Raises BadRequest with the field named."""
    owner = _owner(ctx)
    if ctx.db.scalar(select(func.count()).where(WebhookEndpoint.owner_id == owner)) >= MOST:  # type: ignore[operator]
        raise Conflict(f"no more than {MOST} webhooks; remove one that is not needed", code="too_many")
    secret = signing.checked(secret) if secret else signing.new_secret()
    row = WebhookEndpoint(id=new_id(), owner_id=owner, secret_sealed=seal(ctx.rt.secret_key, PURPOSE, secret))
    _set(ctx, row, url=url, events=events, headers=headers or {}, kinds=kinds, description=description)
    ctx.db.add(row)
    ctx.db.flush()
    audit.record(ctx, "webhook.added", "webhook", row.id, host=_host(row.url), events=list(row.events))
    return row, secret


def list_(ctx: Ctx) -> list[WebhookEndpoint]:
    """The caller's, newest first; never more than `MOST`."""
    mine = select(WebhookEndpoint).where(WebhookEndpoint.owner_id == ctx.user.id)
    return list(ctx.db.scalars(mine.order_by(WebhookEndpoint.id.desc())))


def get(ctx: Ctx, endpoint_id: str) -> WebhookEndpoint:
    """The caller's endpoint. Raises NotFound for a stranger's, exactly as for none."""
    mine = (WebhookEndpoint.id == endpoint_id[:40]) & (WebhookEndpoint.owner_id == ctx.user.id)
    row = ctx.db.scalar(select(WebhookEndpoint).where(mine))
    if row is None:
        raise NotFound("there is no such webhook")
    return row


def change(ctx: Ctx, endpoint_id: str, **changes: Any) -> WebhookEndpoint:
    """url, events, headers, kinds, description, enabled; what is None stays. Turning it on forgives its failures."""
    row = get(ctx, endpoint_id)
    enabled = changes.pop("enabled", None)
    _set(ctx, row, **{name: value for name, value in changes.items() if value is not None})
    if enabled is not None and enabled != row.enabled:
        row.enabled, row.disabled_reason, row.failures = enabled, "" if enabled else "Turned off by hand", 0
        if not enabled:
            deliveries.cancel_all(ctx.db, row.id)
    ctx.db.flush()
    audit.record(ctx, "webhook.changed", "webhook", row.id, host=_host(row.url), enabled=row.enabled)
    return row


def remove(ctx: Ctx, endpoint_id: str) -> None:
    """Unsubscribe; what still waits for it is not sent."""
    row = get(ctx, endpoint_id)
    deliveries.cancel_all(ctx.db, row.id)
    audit.record(ctx, "webhook.removed", "webhook", row.id, host=_host(row.url))
    ctx.db.delete(row)
    ctx.db.flush()


def rotate(ctx: Ctx, endpoint_id: str, secret: str | None = None) -> tuple[WebhookEndpoint, str]:
    """A new secret, shown this once; for a day messages carry a signature by the old one too."""
    row = get(ctx, endpoint_id)
    fresh = signing.checked(secret) if secret else signing.new_secret()
    row.old_secret_sealed, row.old_secret_until = row.secret_sealed, utcnow() + OVERLAP
    row.secret_sealed = seal(ctx.rt.secret_key, PURPOSE, fresh)
    ctx.db.flush()
    audit.record(ctx, "webhook.secret_changed", "webhook", row.id, host=_host(row.url))
    return row, fresh


def secrets_of(rt: Runtime, row: WebhookEndpoint) -> list[str]:
    """Those that sign now, the present one first. Raises Unreadable when the program's secret was changed."""
    sealed = [row.secret_sealed]
    if row.old_secret_sealed and row.old_secret_until and row.old_secret_until > utcnow():
        sealed.append(row.old_secret_sealed)
    return [unseal(rt.secret_key, PURPOSE, one) for one in sealed]


def headers_of(rt: Runtime, row: WebhookEndpoint) -> dict[str, str]:
    """Raises Unreadable."""
    return dict(json.loads(unseal(rt.secret_key, HEADERS, row.headers_sealed))) if row.headers_sealed else {}


# -- events ----------------------------------------------------------------------------------------------------------


def publish(
    db: Session, owner_id: str, event: str, data: Mapping[str, Any], *, key: str, kind: str = "", also: str = ""
) -> int:
    """Store a delivery for each endpoint of `owner_id` that subscribed to `event`; how many.

    key: names what happened, so that it is told once. kind: of the task, for endpoints that want only some.
    also: the more general event that it is as well. Who named the special one hears that, all others the general one.
    """
    rows = db.scalars(select(WebhookEndpoint).where(WebhookEndpoint.owner_id == owner_id, WebhookEndpoint.enabled))
    count = 0
    for row in rows.all():
        names = (event,) if event in row.events else (also, event)
        name = next((one for one in names if one and wants(row.events, one)), None)
        if name is None or (row.kinds and kind and kind not in row.kinds):
            continue
        deliveries.put(db, owner_id, CARRIER, row.id, name, message(name, data), key)
        count += 1
    return count


def wants(events: Sequence[str], event: str) -> bool:
    return any(one in ("*", event) or (one.endswith(".*") and event.startswith(one[:-1])) for one in events)


def message(event: str, data: Mapping[str, Any]) -> str:
    """The body as it is signed and sent: `{event, timestamp, data}` (002:4923-4926)."""
    return json.dumps({"event": event, "timestamp": iso(utcnow()), "data": dict(data)}, separators=(",", ":"))


def test(ctx: Ctx, endpoint_id: str) -> Delivery:
    """Put out a `webhook.test` event for this endpoint alone. Conflict while it is turned off."""
    row = get(ctx, endpoint_id)
    if not row.enabled:
        raise Conflict("this webhook is turned off; turn it on first", code="disabled")
    nonce = new_id()
    body = message(
        "webhook.test", {"execution_id": nonce, "subscription_id": row.id, "message": "A test from Brainstem"}
    )
    made = deliveries.put(ctx.db, row.owner_id, CARRIER, row.id, "webhook.test", body, f"test:{nonce}")
    ctx.db.flush()
    return deliveries.get(ctx, made)


def log(ctx: Ctx, endpoint_id: str, *, cursor: str | None = None, limit: int = 25) -> Page[Delivery]:
    """What was sent to the caller's endpoint, newest first."""
    return deliveries.of_target(ctx, get(ctx, endpoint_id).id, cursor=cursor, limit=limit)


def redeliver(ctx: Ctx, endpoint_id: str, delivery_id: str) -> Delivery:
    """Send one again, under its own id."""
    row = get(ctx, endpoint_id)
    if not row.enabled:
        raise Conflict("this webhook is turned off; turn it on first", code="disabled")
    if deliveries.get(ctx, delivery_id).target_id != row.id:
        raise NotFound("there is no such delivery")
    return deliveries.send_again(ctx, delivery_id)


# -- small things ----------------------------------------------------------------------------------------------------


def _set(ctx: Ctx, row: WebhookEndpoint, **values: Any) -> None:
    if "url" in values:
        row.url = _checked_url(ctx, values["url"])
    if "events" in values:
        row.events = _checked_events(values["events"])
    if "kinds" in values:
        row.kinds = sorted(set(values["kinds"]))
    if "description" in values:
        row.description = values["description"].strip()
    if "headers" in values:
        headers = _checked_headers(values["headers"])
        row.headers_sealed = seal(ctx.rt.secret_key, HEADERS, json.dumps(headers)) if headers else None
        row.header_names = sorted(headers)


def _checked_url(ctx: Ctx, url: str) -> str:
    """What can be said without asking a name server; each sending judges it anew."""
    try:
        precheck_url(url, outbound_policy(ctx.rt.settings))
    except AppError as exc:
        raise _bad("url", exc.message, exc.suggestion) from None
    if "@" in url.split("//", 1)[1].split("/", 1)[0]:
        raise _bad("url", "credentials belong into a header, not into the address")
    return url


def _checked_events(events: Sequence[str]) -> list[str]:
    for one in events:
        if not _EVENT.fullmatch(one):
            raise _bad("events", f"{one[:60]!r} is no event; write task.completed, task.* or *")
    if not events:
        raise _bad("events", "name at least one, such as task.completed, or * for all")
    return sorted(set(events))


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if len(headers) > MOST_HEADERS:
        raise _bad("headers", f"no more than {MOST_HEADERS}")
    ours = OWN_HEADERS | (HARMLESS_HEADERS & {"content-type", "user-agent"})
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise _bad("headers", f"{name[:60]!r} is no name of a header")
        if name.lower() in ours or name.lower().startswith("webhook-"):
            raise _bad("headers", f"{name} is set by the sender itself")
        if len(value) > LONGEST_VALUE or not _VALUE.fullmatch(value):
            raise _bad("headers", f"the value of {name} is too long or has characters that are not allowed")
    return {name: value.strip() for name, value in headers.items()}


def _bad(field: str, message: str, suggestion: str | None = None) -> BadRequest:
    detail = {"loc": [field], "msg": message, "type": "value_error"}
    return BadRequest(f"{field}: {message}", code="invalid_config", details=[detail], suggestion=suggestion)


def _owner(ctx: Ctx) -> str:
    if ctx.user.id is None:
        raise Forbidden("webhooks belong to an account; the operator's key has none")
    return ctx.user.id


def _host(url: str) -> str:
    """For the audit log: the path of a webhook's address is often a secret."""
    return url.split("//", 1)[-1].split("/", 1)[0][:200]

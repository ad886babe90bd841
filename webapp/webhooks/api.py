"""Endpoints of webhooks.

POST   /api/v1/integration/webhooks/subscribe                 tell this address of these events
GET    /api/v1/integration/webhooks                           what is subscribed
GET    /api/v1/integration/webhooks/<id>                      one of them
PATCH  /api/v1/integration/webhooks/<id>                      change it, turn it on or off
DELETE /api/v1/integration/webhooks/<id>                      unsubscribe
POST   /api/v1/integration/webhooks/<id>/rotate-secret        a new secret; the old one signs along for a day
POST   /api/v1/integration/webhooks/<id>/test                 send a test event
GET    /api/v1/integration/webhooks/<id>/deliveries           what was sent, with each attempt
POST   /api/v1/integration/webhooks/<id>/deliveries/<id>/redeliver
POST   /api/v1/integration/hooks                              an address that starts a task when it is called
GET    /api/v1/integration/hooks, /hooks/<id>                 those there are
PATCH  /api/v1/integration/hooks/<id>, DELETE, POST /rotate-secret
POST   /api/v1/integration/hooks/<id>/receive                 where others call, with a signature
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from flask import request, url_for

from webapp.core.context import Ctx
from webapp.deliveries import service as deliveries
from webapp.deliveries.models import Delivery
from webapp.web.api import PUBLIC, Api
from webapp.webhooks import inbound, service
from webapp.webhooks.models import InboundHook, WebhookEndpoint
from webapp.webhooks.schemas import (
    AttemptOut,
    DeliveryOut,
    DeliveryPage,
    DeliveryQuery,
    EndpointChange,
    EndpointList,
    EndpointOut,
    HookChange,
    HookIn,
    HookList,
    HookOut,
    Placed,
    Received,
    SecretIn,
    SubscribeIn,
)

api = Api("integration_webhooks", "/api/v1/integration/webhooks", tag="Integration")
hooks = Api("integration_hooks", "/api/v1/integration/hooks", tag="Integration")
APIS = (api, hooks)


# -- out -------------------------------------------------------------------------------------------------------------


@api.post("/subscribe", auth="tasks:write", body=SubscribeIn, returns=EndpointOut, status=201, errors=(409,))
def subscribe(ctx: Ctx, body: SubscribeIn) -> Any:
    """Tell an address of events: `task.completed`, `task.*` or `*`. The secret is in this answer and in no other."""
    row, secret = service.subscribe(
        ctx, body.url, body.events, headers=body.headers, secret=body.secret, kinds=body.kinds,
        description=body.description,
    )  # fmt: skip
    return endpoint_out(row, secret)


@api.get("", auth="tasks:read", returns=EndpointList)
def list_(ctx: Ctx) -> Any:
    """Your subscriptions, newest first."""
    rows = [endpoint_out(row) for row in service.list_(ctx)]
    return EndpointList(webhooks=rows, total=len(rows))


@api.get("/<subscription_id>", auth="tasks:read", returns=EndpointOut, errors=(404,))
def get(ctx: Ctx, subscription_id: str) -> Any:
    """One subscription."""
    return endpoint_out(service.get(ctx, subscription_id))


@api.patch("/<subscription_id>", auth="tasks:write", body=EndpointChange, returns=EndpointOut, errors=(404,))
def change(ctx: Ctx, subscription_id: str, body: EndpointChange) -> Any:
    """Change a subscription, or turn it on or off. What waits for one that is turned off is not sent."""
    return endpoint_out(service.change(ctx, subscription_id, **body.model_dump()))


@api.delete("/<subscription_id>", auth="tasks:write", status=204, errors=(404,))
def remove(ctx: Ctx, subscription_id: str) -> Any:
    """Unsubscribe."""
    service.remove(ctx, subscription_id)


@api.post("/<subscription_id>/rotate-secret", auth="tasks:write", body=SecretIn, returns=EndpointOut, errors=(404,))
def rotate(ctx: Ctx, subscription_id: str, body: SecretIn) -> Any:
    """Give it a new secret. For 24 hours messages carry a signature by the old one too, so that nothing is refused."""
    return endpoint_out(*service.rotate(ctx, subscription_id, body.secret))


@api.post("/<subscription_id>/test", auth="tasks:write", returns=Placed, status=202, errors=(404, 409))
def test(ctx: Ctx, subscription_id: str) -> Any:
    """Send a `webhook.test` event. What came of it stands in the deliveries."""
    return placed(service.test(ctx, subscription_id))


@api.get("/<subscription_id>/deliveries", auth="tasks:read", query=DeliveryQuery, returns=DeliveryPage, errors=(404,))
def delivery_log(ctx: Ctx, subscription_id: str, query: DeliveryQuery) -> Any:
    """What was sent, newest first, with every attempt."""
    page = service.log(ctx, subscription_id, cursor=query.cursor, limit=query.limit)
    tried = deliveries.attempts(ctx, [row.id for row in page.items])
    rows = [delivery_out(row, tried[row.id]) for row in page.items]
    return DeliveryPage(deliveries=rows, next_cursor=page.next_cursor, prev_cursor=page.prev_cursor)


@api.post("/<subscription_id>/deliveries/<delivery_id>/redeliver", auth="tasks:write", returns=Placed, status=202,
          errors=(404, 409))  # fmt: skip
def redeliver(ctx: Ctx, subscription_id: str, delivery_id: str) -> Any:
    """Send one again, under the same id."""
    return placed(service.redeliver(ctx, subscription_id, delivery_id))


def endpoint_out(row: WebhookEndpoint, secret: str | None = None) -> EndpointOut:
    return EndpointOut(
        id=row.id, subscription_id=row.id, url=row.url, events=row.events, kinds=row.kinds, description=row.description,
        headers=row.header_names, enabled=row.enabled, disabled_reason=row.disabled_reason, failures=row.failures,
        last_ok_at=row.last_ok_at, last_error=row.last_error, secret_overlap_until=row.old_secret_until,
        created_at=row.created_at, secret=secret,
    )  # fmt: skip


def delivery_out(row: Delivery, tried: list[Any]) -> DeliveryOut:
    return DeliveryOut(
        id=row.id, delivery_id=row.id, subscription_id=row.target_id, event=row.event, status=row.status,
        attempts=[
            AttemptOut(number=one.number, at=one.at, duration_ms=one.ms, status_code=one.code, error=one.error,
                       response=one.answer)
            for one in tried
        ],
        attempt_count=row.attempts, status_code=row.code, error=row.error, payload=json.loads(row.body),
        created_at=row.created_at, finished_at=row.finished_at,
        next_attempt_at=datetime.fromtimestamp(row.due_at, UTC) if row.status == "waiting" else None,
    )  # fmt: skip


def placed(row: Delivery) -> Placed:
    return Placed(delivery_id=row.id, status=row.status, event=row.event)


# -- in --------------------------------------------------------------------------------------------------------------


@hooks.post("", auth="tasks:write", body=HookIn, returns=HookOut, status=201, errors=(409,))
def create_hook(ctx: Ctx, body: HookIn) -> Any:
    """An address that starts a task when it is called with a signature. The secret is in this answer and in no other."""
    return hook_out(*inbound.create(ctx, body.name, body.task_type, body.config, body.fields, body.secret))


@hooks.get("", auth="tasks:read", returns=HookList)
def list_hooks(ctx: Ctx) -> Any:
    """Your hooks, newest first."""
    rows = [hook_out(row) for row in inbound.list_(ctx)]
    return HookList(hooks=rows, total=len(rows))


@hooks.get("/<hook_id>", auth="tasks:read", returns=HookOut, errors=(404,))
def get_hook(ctx: Ctx, hook_id: str) -> Any:
    """One hook."""
    return hook_out(inbound.get(ctx, hook_id))


@hooks.patch("/<hook_id>", auth="tasks:write", body=HookChange, returns=HookOut, errors=(404,))
def change_hook(ctx: Ctx, hook_id: str, body: HookChange) -> Any:
    """Change a hook, or turn it on or off."""
    row = inbound.change(ctx, hook_id, name=body.name, params=body.config, fields=body.fields, enabled=body.enabled)
    return hook_out(row)


@hooks.delete("/<hook_id>", auth="tasks:write", status=204, errors=(404,))
def remove_hook(ctx: Ctx, hook_id: str) -> Any:
    """Take a hook away; its tasks stay."""
    inbound.remove(ctx, hook_id)


@hooks.post("/<hook_id>/rotate-secret", auth="tasks:write", returns=HookOut, errors=(404,))
def rotate_hook(ctx: Ctx, hook_id: str) -> Any:
    """Give it a new secret; the old one is good for another 24 hours."""
    return hook_out(*inbound.rotate(ctx, hook_id))


@hooks.post("/<hook_id>/receive", auth=PUBLIC, returns=Received, status=202, limit="120/minute",
            errors=(401, 404, 409, 413))  # fmt: skip
def receive(ctx: Ctx, hook_id: str) -> Any:
    """Start the hook's task.

    The JSON body is signed as Standard Webhooks says: headers `webhook-id`, `webhook-timestamp` (seconds, within five
    minutes) and `webhook-signature`. An id that was taken before has no effect.
    """
    body = request.get_data(cache=True)
    task_id, started = inbound.receive(ctx, hook_id, dict(request.headers), body)
    return Received(task_id=task_id, status="started" if started else "duplicate"), 202 if started else 200


def hook_out(row: InboundHook, secret: str | None = None) -> HookOut:
    return HookOut(
        id=row.id, url=address_of(row), name=row.name, task_type=row.kind, config=row.params, fields=row.fields,
        enabled=row.enabled, received=row.received, last_at=row.last_at, last_task_id=row.last_task_id,
        created_at=row.created_at, secret=secret,
    )  # fmt: skip


def address_of(row: InboundHook) -> str:
    return url_for("integration_hooks_api.receive", hook_id=row.id, _external=True)

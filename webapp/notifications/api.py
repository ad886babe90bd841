"""Endpoints of notifications.

GET    /api/v1/notifications                  yours, newest first, with how many are unread
GET    /api/v1/notifications/unread           only how many
POST   /api/v1/notifications/read-all
POST   /api/v1/notifications/<id>/read        {"read": false} takes it back
DELETE /api/v1/notifications/<id>
GET    /api/v1/notifications/rules, PUT       of what you are told, and where
GET    /api/v1/notifications/channels, POST, DELETE /<id>, POST /<id>/test
POST   /api/v1/notifications/tasks/<id>       tell me of this task's end; DELETE takes it back
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.notifications import service
from webapp.notifications.models import Notification
from webapp.notifications.schemas import (
    ChannelIn,
    ChannelList,
    ChannelOut,
    Count,
    NotificationOut,
    NotificationPage,
    NotificationQuery,
    ReadIn,
    RuleIO,
    Rules,
    Sent,
)
from webapp.web.api import Api

api = Api("notifications", "/api/v1/notifications", tag="Notifications")


@api.get("", auth="tasks:read", query=NotificationQuery, returns=NotificationPage)
def list_(ctx: Ctx, query: NotificationQuery) -> Any:
    """Your notifications, newest first."""
    page = service.list_(ctx, unread=query.unread, cursor=query.cursor, limit=query.limit)
    return NotificationPage(notifications=[out(row) for row in page.items], unread=service.unread(ctx),
                            next_cursor=page.next_cursor, prev_cursor=page.prev_cursor)  # fmt: skip


@api.get("/unread", auth="tasks:read", returns=Count)
def unread(ctx: Ctx) -> Any:
    """How many you have not read, counted to 100."""
    return Count(unread=service.unread(ctx))


@api.post("/read-all", auth="tasks:write", returns=Count)
def read_all(ctx: Ctx) -> Any:
    """Mark all as read."""
    service.mark_all(ctx)
    return Count(unread=0)


@api.post("/<notification_id>/read", auth="tasks:write", body=ReadIn, returns=NotificationOut, errors=(404,))
def read(ctx: Ctx, notification_id: str, body: ReadIn) -> Any:
    """Mark one as read, or as unread."""
    return out(service.mark_read(ctx, notification_id, body.read))


@api.delete("/<notification_id>", auth="tasks:write", status=204, errors=(404,))
def remove(ctx: Ctx, notification_id: str) -> Any:
    """Throw one away."""
    service.remove(ctx, notification_id)


@api.get("/rules", auth="tasks:read", returns=Rules)
def rules(ctx: Ctx) -> Any:
    """Of what you are told, and where."""
    return Rules(rules=[RuleIO.model_validate(rule) for rule in service.rules(ctx)])


@api.put("/rules", auth="tasks:write", body=Rules, returns=Rules)
def save_rules(ctx: Ctx, body: Rules) -> Any:
    """Replace your rules. An empty list means that you are told nothing."""
    wanted = [service.Rule(one.event, one.channel, tuple(one.kinds), one.min_seconds) for one in body.rules]
    return Rules(rules=[RuleIO.model_validate(rule) for rule in service.save_rules(ctx, wanted)])


@api.get("/channels", auth="tasks:read", returns=ChannelList)
def list_channels(ctx: Ctx) -> Any:
    """The channels you set up."""
    rows = [channel_out(row) for row in service.list_channels(ctx)]
    return ChannelList(channels=rows, total=len(rows))


@api.post("/channels", auth="tasks:write", body=ChannelIn, returns=ChannelOut, status=201, errors=(404, 409))
def add_channel(ctx: Ctx, body: ChannelIn) -> Any:
    """Set up a channel, such as a Slack-compatible webhook. A rule decides what it tells."""
    return channel_out(service.add_channel(ctx, body.channel, body.name, body.config))


@api.delete("/channels/<channel_id>", auth="tasks:write", status=204, errors=(404,))
def remove_channel(ctx: Ctx, channel_id: str) -> Any:
    """Take a channel away, with the rules that name it."""
    service.remove_channel(ctx, channel_id)


@api.post("/channels/<channel_id>/test", auth="tasks:write", returns=Sent, status=202, errors=(404, 409))
def test_channel(ctx: Ctx, channel_id: str) -> Any:
    """Send a test message; `email` is the address of your account."""
    return Sent(delivery_id=service.test_channel(ctx, channel_id))


@api.post("/tasks/<task_id>", auth="tasks:write", status=204, errors=(404, 409))
def want(ctx: Ctx, task_id: str) -> Any:
    """Tell me of the end of this one task, by every channel I have."""
    service.want(ctx, task_id)


@api.delete("/tasks/<task_id>", auth="tasks:write", status=204, errors=(404,))
def unwant(ctx: Ctx, task_id: str) -> Any:
    """Take that back."""
    service.unwant(ctx, task_id)


def out(row: Notification) -> NotificationOut:
    return NotificationOut(id=row.id, event=row.event, level=row.level, title=row.title, text=row.text, url=row.url,
                           task_id=row.task_id, is_read=row.read_at is not None, created_at=row.created_at)  # fmt: skip


def channel_out(row: Any) -> ChannelOut:
    return ChannelOut(id=row.id, channel=row.plugin, name=row.name, shown=row.shown, enabled=row.enabled,
                      last_ok_at=row.last_ok_at, last_error=row.last_error, created_at=row.created_at)  # fmt: skip

"""Rows of what people are told: the notification, the rules, the channels, and single tasks they asked about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Double, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow


class Notification(Base):
    """One line in somebody's notification centre. `key` names what happened, so that it is told once."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("user_id", "key", name="uq_notifications_user_id_key"),
        Index("ix_notifications_user_id_id", "user_id", "id"),
        Index("ix_notifications_unread", "user_id", "id", sqlite_where=text("read_at IS NULL"),
              postgresql_where=text("read_at IS NULL")),
        Index("ix_notifications_created_at", "created_at"),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(String(120))
    event: Mapped[str] = mapped_column(String(32))
    level: Mapped[str] = mapped_column(String(8), default="info")  # ok | info | warn | bad
    title: Mapped[str] = mapped_column(String(300))
    text: Mapped[str] = mapped_column(String(1000), default="")
    url: Mapped[str] = mapped_column(String(300), default="")  # a path of ours
    task_id: Mapped[str | None] = mapped_column(Id)  # no reference: what was told stays told
    read_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class NotificationChannel(Base):
    """A channel as somebody set it up. Its configuration is sealed: most of them hold a secret."""

    __tablename__ = "notification_channels"
    __table_args__ = (Index("ix_notification_channels_user_id", "user_id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    plugin: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(100))
    config_sealed: Mapped[str] = mapped_column(Text)
    shown: Mapped[str] = mapped_column(String(200), default="")  # where to, without secrets
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    last_ok_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class NotificationRule(Base):
    """Tell me of this event here. channel: `inapp`, `email` (the account's address), or a channel's id.

    A person without any rule has the default ones; `none` is the rule of somebody who wants nothing.
    """

    __tablename__ = "notification_rules"

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    event: Mapped[str] = mapped_column(String(32), primary_key=True)
    channel: Mapped[str] = mapped_column(Id, primary_key=True)
    kinds: Mapped[list[Any]] = mapped_column(JsonType, default=list)  # of tasks; none means all
    min_seconds: Mapped[float] = mapped_column(Double, default=0.0)  # completed: only what took at least as long


class TaskWatch(Base):
    """Somebody asked to be told of the end of this one task, whatever their rules say."""

    __tablename__ = "task_watches"

    task_id: Mapped[str] = mapped_column(Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)

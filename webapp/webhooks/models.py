"""Rows of webhooks: where to, and where from. Secrets and headers are sealed (`core/sealing.py`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow


class WebhookEndpoint(Base):
    """Who is told of which events. While a secret is being changed, messages carry a signature by the old one too."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index("ix_webhook_endpoints_owner_id_id", "owner_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(String(2048))
    description: Mapped[str] = mapped_column(String(200), default="")
    events: Mapped[list[str]] = mapped_column(JsonType, default=list)  # task.completed, task.*, *
    kinds: Mapped[list[str]] = mapped_column(JsonType, default=list)  # of tasks; none means all
    headers_sealed: Mapped[str | None] = mapped_column(Text)
    header_names: Mapped[list[str]] = mapped_column(JsonType, default=list)
    secret_sealed: Mapped[str] = mapped_column(Text)
    old_secret_sealed: Mapped[str | None] = mapped_column(Text)
    old_secret_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    disabled_reason: Mapped[str] = mapped_column(String(300), default="")
    failures: Mapped[int] = mapped_column(Integer, default=0)  # attempts since the last success
    last_ok_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class InboundHook(Base):
    """A signed message from elsewhere starts a task of this kind, with these parameters.

    fields: parameter -> dotted path in the message, such as {"content": "article.text"}.
    """

    __tablename__ = "inbound_hooks"
    __table_args__ = (Index("ix_inbound_hooks_owner_id_id", "owner_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(64))
    params: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    fields: Mapped[dict[str, str]] = mapped_column(JsonType, default=dict)
    secret_sealed: Mapped[str] = mapped_column(Text)
    old_secret_sealed: Mapped[str | None] = mapped_column(Text)
    old_secret_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    received: Mapped[int] = mapped_column(Integer, default=0)
    last_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_task_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class InboundReceipt(Base):
    """Which message was taken already. Kept for a day: far longer than a signature is good for."""

    __tablename__ = "inbound_receipts"
    __table_args__ = (Index("ix_inbound_receipts_at", "at"),)

    hook_id: Mapped[str] = mapped_column(Id, ForeignKey("inbound_hooks.id", ondelete="CASCADE"), primary_key=True)
    message_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    task_id: Mapped[str] = mapped_column(Id)
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

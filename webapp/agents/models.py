"""Rows of agents: a role with its instructions, its model and what it may do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow


class Agent(Base):
    """One agent. Those that come with the program have no owner and are known by `key`; everybody may use them.

    prompt: the system instruction. model_name: an engine's id, "" for the default. config: temperature, max_tokens and
    what the agent's way of working reads.
    """

    __tablename__ = "agents"
    __table_args__ = (
        UniqueConstraint("key", name="uq_agents_key"),
        Index("ix_agents_owner_id_id", "owner_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    key: Mapped[str | None] = mapped_column(String(40))  # research | analysis | qa | general | tinyllama, else None
    name: Mapped[str] = mapped_column(String(120))
    description: Mapped[str] = mapped_column(Text, default="")
    prompt: Mapped[str] = mapped_column(Text, default="")
    model_name: Mapped[str] = mapped_column(String(200), default="")
    config: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

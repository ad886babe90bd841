"""Rows of templates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow


class TaskTemplate(Base):
    """One template. Those that come with the program have no owner and are known by `key`: all see them, nobody changes them.

    default_config: what a task made from it begins with. config_schema: JSON Schema of the whole, {} for the kind's own
    rules alone. usage_count: tasks made from it, by whomever.
    """

    __tablename__ = "task_templates"
    __table_args__ = (
        UniqueConstraint("key", name="uq_task_templates_key"),
        Index("ix_task_templates_owner_id_id", "owner_id", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    key: Mapped[str | None] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    task_type: Mapped[str] = mapped_column(String(64))
    default_config: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    config_schema: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    usage_count: Mapped[int] = mapped_column(Integer, default=0)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

    @property
    def is_shipped(self) -> bool:
        return self.key is not None

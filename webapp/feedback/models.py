"""Rows of feedback."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow


class Feedback(Base):
    """What one person says about one thing. `content_id` names it; for an answer it is the message's id, rated once."""

    __tablename__ = "feedback"
    __table_args__ = (
        UniqueConstraint("owner_id", "message_id", name="uq_feedback_owner_id_message_id"),
        Index("ix_feedback_owner_id_id", "owner_id", "id"),
        Index("ix_feedback_content_id", "content_id"),
        Index("ix_feedback_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    content_id: Mapped[str] = mapped_column(String(200))
    message_id: Mapped[str | None] = mapped_column(Id, ForeignKey("messages.id", ondelete="CASCADE"))
    feedback_type: Mapped[str] = mapped_column(String(40))  # thumbs | correction | rating | ...
    rating: Mapped[int | None] = mapped_column(Integer)  # +1 or -1
    reason: Mapped[str | None] = mapped_column(String(500))
    original_prediction: Mapped[Any | None] = mapped_column(JsonType)
    user_correction: Mapped[Any | None] = mapped_column(JsonType)
    confidence_rating: Mapped[float | None] = mapped_column(Double)  # 0..1
    additional_context: Mapped[Any | None] = mapped_column(JsonType)
    comment: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

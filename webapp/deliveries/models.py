"""Rows of what is sent to others: the delivery, and each attempt at it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Double, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, UTCDateTime, new_id, utcnow

OPEN = ("waiting", "sending")


class Delivery(Base):
    """One thing to tell one receiver. Its id stays the same over all attempts, so that the receiver can tell repeats.

    target_id names the receiver among those of its carrier; key what is told, once per receiver. Times that decide
    (`due_at`, `lease_until`) are seconds since 1970.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("target_id", "key", name="uq_deliveries_target_id_key"),
        Index("ix_deliveries_open", "due_at", sqlite_where=text("status IN ('waiting', 'sending')"),
              postgresql_where=text("status IN ('waiting', 'sending')")),
        Index("ix_deliveries_target_id_id", "target_id", "id"),
        Index("ix_deliveries_owner_id", "owner_id"),
        Index("ix_deliveries_created_at", "created_at"),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    carrier: Mapped[str] = mapped_column(String(32))
    target_id: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(120))
    event: Mapped[str] = mapped_column(String(80))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default="waiting")  # waiting sending delivered failed cancelled
    attempts: Mapped[int] = mapped_column(Integer, default=0)  # ever made; numbers the log
    tries: Mapped[int] = mapped_column(Integer, default=0)  # since it was last put out; choose the next pause
    due_at: Mapped[float] = mapped_column(Double)
    lease_until: Mapped[float | None] = mapped_column(Double)
    code: Mapped[int | None] = mapped_column(Integer)  # what the receiver answered last
    error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class DeliveryAttempt(Base):
    """One try: when, how long, what came back."""

    __tablename__ = "delivery_attempts"

    delivery_id: Mapped[str] = mapped_column(Id, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    ms: Mapped[int] = mapped_column(Integer)
    code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(String(500))
    answer: Mapped[str | None] = mapped_column(String(500))  # the beginning of what was answered

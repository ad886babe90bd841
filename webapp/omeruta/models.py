"""What this dialect must remember of a task beyond the task itself."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, UTCDateTime, utcnow


class OmerutaChat(Base):
    """A chat somebody started in this dialect. `name` is what the client calls its conversation.

    routed, told: of one started on the socket, whether the reader has the choice of agent and the end. What it does not
    have is sent again to the next connection.
    """

    __tablename__ = "omeruta_chats"
    __table_args__ = (
        Index("ix_omeruta_chats_owner_id_untold", "owner_id", sqlite_where=text("NOT told"),
              postgresql_where=text("NOT told")),
    )  # fmt: skip

    task_id: Mapped[str] = mapped_column(Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str | None] = mapped_column(String(200))
    include_quality: Mapped[bool] = mapped_column(Boolean, default=False)
    routed: Mapped[bool] = mapped_column(Boolean, default=True)
    told: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

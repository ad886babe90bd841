"""Rows of conversations. Messages form a tree: editing or regenerating adds a branch and loses nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow

ROLES = ("user", "assistant", "system")
# Of an answer; what people write is always `done`. `declined`: an honest "I do not know".
STATES = ("waiting", "writing", "done", "declined", "cancelled", "failed")


class Conversation(Base):
    """One conversation of one owner. `external_id` is the name a client invented for it (C40).

    head_id: the last message of the branch that is shown. config: engine, agent, collections, use_context, and what a
    session type of the Agentic API adds.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        UniqueConstraint("owner_id", "external_id", name="uq_conversations_owner_id_external_id"),
        UniqueConstraint("share_token", name="uq_conversations_share_token"),
        Index("ix_conversations_owner_list", "owner_id", "pinned", "last_message_at", "id",
              sqlite_where=text("removed_at IS NULL"), postgresql_where=text("removed_at IS NULL")),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    external_id: Mapped[str | None] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(16), default="chat")  # chat | omeruta | wizard | crew
    session_type: Mapped[str] = mapped_column(String(40), default="general")
    title: Mapped[str] = mapped_column(String(200), default="")
    titled: Mapped[bool] = mapped_column(Boolean, default=False)  # somebody chose the title; it is not made anew
    status: Mapped[str] = mapped_column(String(16), default="active")  # active | paused | completed | archived
    model_name: Mapped[str] = mapped_column(String(200), default="")
    config: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    agent_id: Mapped[str | None] = mapped_column(Id, ForeignKey("agents.id", ondelete="SET NULL"))
    attachments_id: Mapped[str | None] = mapped_column(Id, ForeignKey("collections.id", ondelete="SET NULL"))

    head_id: Mapped[str | None] = mapped_column(Id)
    last_seq: Mapped[int] = mapped_column(Integer, default=0)
    last_message_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    pinned: Mapped[bool] = mapped_column(Boolean, default=False)
    share_token: Mapped[str | None] = mapped_column(String(64))
    share_head_id: Mapped[str | None] = mapped_column(Id)  # what was said after it is not shared
    shared_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    removed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)  # can be taken back for a while


class Message(Base):
    """One message. `seq` counts within the conversation, `parent_id` is what it answers or follows.

    An answer is written by the task `task_id`. sources: the numbered citations it may name ({number, citation_id,
    document_id, version_id, start, end, quote, title, url, verdict, score}); checks: what the citation checker said of
    each sentence; route: the receipt of the orchestrator; metrics: what the run measured.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "seq", name="uq_messages_conversation_id_seq"),
        Index("ix_messages_parent_id", "parent_id"),
        Index("ix_messages_task_id", "task_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    conversation_id: Mapped[str] = mapped_column(Id, ForeignKey("conversations.id", ondelete="CASCADE"))
    seq: Mapped[int] = mapped_column(Integer)
    parent_id: Mapped[str | None] = mapped_column(Id, ForeignKey("messages.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(String(16))
    agent: Mapped[str | None] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(16), default="done")
    task_id: Mapped[str | None] = mapped_column(Id)  # no foreign key: it outlives the task
    sources: Mapped[list[dict[str, Any]]] = mapped_column(JsonType, default=list)
    checks: Mapped[list[dict[str, Any]]] = mapped_column(JsonType, default=list)
    route: Mapped[dict[str, Any] | None] = mapped_column(JsonType)
    metrics: Mapped[dict[str, Any] | None] = mapped_column(JsonType)
    meta: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    error: Mapped[str | None] = mapped_column(Text)
    is_deleted: Mapped[bool] = mapped_column(Boolean, default=False)
    edited_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

"""Rows of language models: servers added by an operator, defaults by kind of work, and every call with what it took."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Double, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow


class ModelServer(Base):
    """A server that speaks the OpenAI protocol, added on the page. Its address was approved by an operator."""

    __tablename__ = "model_servers"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    url: Mapped[str] = mapped_column(Text)
    key_sealed: Mapped[str | None] = mapped_column(Text)  # its API key, encrypted with the program's secret
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    # Whether it was on a private network when it was added: only then may its name lead into one later.
    is_private: Mapped[bool] = mapped_column(Boolean, default=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class ModelDefault(Base):
    """Which engine a kind of work uses when nobody names one. `task_type` "" is for all that have none."""

    __tablename__ = "model_defaults"

    task_type: Mapped[str] = mapped_column(String(40), primary_key=True)
    model: Mapped[str] = mapped_column(String(200))
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class ModelCall(Base):
    """One call of a model, measured. What nobody measured is None."""

    __tablename__ = "model_calls"
    __table_args__ = (
        Index("ix_model_calls_model_at", "model", "at"),
        Index("ix_model_calls_owner_id_at", "owner_id", "at"),
        Index("ix_model_calls_task_id", "task_id"),
        Index("ix_model_calls_at", "at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    model: Mapped[str] = mapped_column(String(200))
    family: Mapped[str] = mapped_column(String(16))  # ggml | openai | extractive
    task_type: Mapped[str] = mapped_column(String(40), default="")  # chat | research | summary | ...
    ok: Mapped[bool] = mapped_column(Boolean)
    finish: Mapped[str] = mapped_column(String(16), default="")  # stop | length | cancelled | an error's code
    prompt_tokens: Mapped[int | None] = mapped_column(Integer)
    completion_tokens: Mapped[int | None] = mapped_column(Integer)
    seconds: Mapped[float] = mapped_column(Double)
    load_seconds: Mapped[float | None] = mapped_column(Double)
    first_token_seconds: Mapped[float | None] = mapped_column(Double)
    prompt_seconds: Mapped[float | None] = mapped_column(Double)
    generate_seconds: Mapped[float | None] = mapped_column(Double)
    details: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    task_id: Mapped[str | None] = mapped_column(Id)  # no foreign key: it outlives the task
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

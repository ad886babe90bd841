"""Rows of long work: the task, its events, its dead letters, workers, schedules, leases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.core.db import Base, Id, JsonType, UTCDateTime, new_id, utcnow

FINAL = ("completed", "failed", "cancelled", "timed_out")
ACTIVE = ("queued", "running", "retrying", "waiting_input", "paused")  # few rows: ask for these, not for all but FINAL
STATUSES = (*ACTIVE, *FINAL)
PRIORITIES = ("urgent", "high", "normal", "low")  # rank 0..3: the smaller goes first


class Task(Base):
    """One piece of long work. `fence` grows with every claim; a worker's write carries the one it got."""

    __tablename__ = "tasks"
    __table_args__ = (
        # Whose turn it is, and their oldest task, in one look.
        Index("ix_tasks_ready", "queue", "rank", "owner_id", "id", sqlite_where=text("status = 'queued'"),
              postgresql_where=text("status = 'queued'")),
        Index("ix_tasks_leases", "lease_until", sqlite_where=text("status = 'running'"),
              postgresql_where=text("status = 'running'")),
        Index("ix_tasks_due", "due_at", sqlite_where=text("status = 'retrying'"),
              postgresql_where=text("status = 'retrying'")),
        Index("ix_tasks_owner_id_id", "owner_id", "id"),
        # With what lists leave out, so that the numbers above a long list are counted without reading its rows.
        Index("ix_tasks_owner_lists", "owner_id", "status", "id", "kind", "parent_id"),
        Index("ix_tasks_status_id", "status", "id"),
        Index("ix_tasks_kind_id", "kind", "id"),
        Index("ix_tasks_created_at", "created_at"),
        # Only rows that are listed there pay for these: rates and statistics, which read nothing else of a task, and
        # starts at a later time.
        Index("ix_tasks_finished", "finished_at", "queue", "status", "kind", "owner_id", "parent_id", "agent_id",
              "created_at", "started_at", sqlite_where=text("finished_at IS NOT NULL"),
              postgresql_where=text("finished_at IS NOT NULL")),
        Index("ix_tasks_agents_now", "agent_id", "status", "owner_id", "kind", "parent_id", "finished_at",
              sqlite_where=text("agent_id IS NOT NULL AND finished_at IS NULL"),
              postgresql_where=text("agent_id IS NOT NULL AND finished_at IS NULL")),
        Index("ix_tasks_scheduled", "due_at", sqlite_where=text("status = 'queued' AND due_at IS NOT NULL"),
              postgresql_where=text("status = 'queued' AND due_at IS NOT NULL")),
        UniqueConstraint("parent_id", "step", name="uq_tasks_parent_id_step"),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(300))
    status: Mapped[str] = mapped_column(String(16), default="queued")
    queue: Mapped[str] = mapped_column(String(32))
    rank: Mapped[int] = mapped_column(Integer, default=2)
    progress: Mapped[int] = mapped_column(Integer, default=0)
    message: Mapped[str] = mapped_column(String(500), default="")
    seq: Mapped[int] = mapped_column(BigInteger, default=0)

    params: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    result: Mapped[dict[str, Any] | None] = mapped_column(JsonType)
    checkpoint: Mapped[dict[str, Any] | None] = mapped_column(JsonType)
    error: Mapped[str | None] = mapped_column(Text)
    error_code: Mapped[str | None] = mapped_column(String(64))

    attempt: Mapped[int] = mapped_column(Integer, default=0)
    max_attempts: Mapped[int] = mapped_column(Integer, default=5)
    crashes: Mapped[int] = mapped_column(Integer, default=0)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    worker_id: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float | None] = mapped_column(Double)
    due_at: Mapped[float | None] = mapped_column(Double)
    time_limit: Mapped[float] = mapped_column(Double, default=7200.0)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)

    parent_id: Mapped[str | None] = mapped_column(Id, ForeignKey("tasks.id", ondelete="CASCADE"))
    step: Mapped[str | None] = mapped_column(String(100))
    request_id: Mapped[str | None] = mapped_column(String(64))
    agent_id: Mapped[str | None] = mapped_column(String(64))  # the agent it was given to, by id or key

    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def priority(self) -> str:
        return PRIORITIES[self.rank]

    @property
    def can_cancel(self) -> bool:
        return not self.is_final and not self.cancel_requested

    @property
    def can_retry(self) -> bool:
        return self.status in ("failed", "cancelled", "timed_out")

    @property
    def can_delete(self) -> bool:
        return self.is_final


class TaskEvent(Base):
    """What happened, in order. `seq` is taken under the task row's lock, so it has no gap and no repeat."""

    __tablename__ = "task_events"
    __table_args__ = (Index("ix_task_events_at", "at"),)

    task_id: Mapped[str] = mapped_column(Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    type: Mapped[str] = mapped_column(String(16))  # status | progress | result | error | info
    level: Mapped[str] = mapped_column(String(8), default="info")
    status: Mapped[str] = mapped_column(String(16))
    progress: Mapped[int] = mapped_column(Integer, default=0)
    message: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[dict[str, Any] | None] = mapped_column(JsonType)
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class DeadLetter(Base):
    """A task that failed for good, with everything needed to understand it and to try again."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index("ix_dead_letters_task_id", "task_id"),
        Index("ix_dead_letters_open", "id", sqlite_where=text("requeued_at IS NULL"),
              postgresql_where=text("requeued_at IS NULL")),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    task_id: Mapped[str] = mapped_column(Id, ForeignKey("tasks.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(64))
    queue: Mapped[str] = mapped_column(String(32))
    reason: Mapped[str] = mapped_column(String(64))  # attempts | permanent | crash | time_limit
    error: Mapped[str] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer)
    failed_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    requeued_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class TaskNotice(Base):
    """That a person's task ended, or waits for its owner: written with the change itself, gone once it was told on.

    It refers to no row, so that it can still be told when the task was deleted at once.
    """

    __tablename__ = "task_notices"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    task_id: Mapped[str] = mapped_column(Id)
    owner_id: Mapped[str] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(64))
    title: Mapped[str] = mapped_column(String(300))
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(64), default="")  # why it became a dead letter, if it did
    message: Mapped[str] = mapped_column(String(500), default="")
    at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class Worker(Base):
    """A process that runs tasks, as it last said of itself. `beat_at` is the database's clock."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(64))
    queues: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int] = mapped_column(Integer)
    threads: Mapped[int] = mapped_column(Integer)
    rss_mb: Mapped[float] = mapped_column(Double, default=0.0)
    running: Mapped[list[str]] = mapped_column(JsonType, default=list)
    done: Mapped[int] = mapped_column(Integer, default=0)
    started_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)
    beat_at: Mapped[float] = mapped_column(Double)


class Schedule(Base):
    """A task started by the clock: cron (UTC), every so many seconds, or (with neither) once at `next_at`.

    Without an owner it is one of ours. `error`: why its last time started nothing.
    """

    __tablename__ = "schedules"
    __table_args__ = (Index("ix_schedules_next_at", "next_at"), Index("ix_schedules_owner_id", "owner_id", "id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100), unique=True)
    kind: Mapped[str] = mapped_column(String(64))
    params: Mapped[dict[str, Any]] = mapped_column(JsonType, default=dict)
    cron: Mapped[str | None] = mapped_column(String(100))
    interval: Mapped[float | None] = mapped_column(Double)
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    next_at: Mapped[float | None] = mapped_column(Double)
    last_at: Mapped[float | None] = mapped_column(Double)
    last_task_id: Mapped[str | None] = mapped_column(Id)
    title: Mapped[str] = mapped_column(String(300), default="")
    rank: Mapped[int] = mapped_column(Integer, default=2)
    notify: Mapped[bool] = mapped_column(Boolean, default=False)
    error: Mapped[str | None] = mapped_column(String(500))


class SavedView(Base):
    """A set of filters of the list that somebody gave a name."""

    __tablename__ = "saved_views"
    __table_args__ = (UniqueConstraint("owner_id", "name", name="uq_saved_views_owner_id_name"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(60))
    filters: Mapped[dict[str, str]] = mapped_column(JsonType, default=dict)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class TaskShare(Base):
    """A link by which whoever has it reads the result of a task."""

    __tablename__ = "task_shares"
    __table_args__ = (UniqueConstraint("token", name="uq_task_shares_token"),)

    task_id: Mapped[str] = mapped_column(Id, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[str] = mapped_column(String(64))
    shared_at: Mapped[datetime] = mapped_column(UTCDateTime, default=utcnow)


class Lease(Base):
    """Who leads: the holder of a row until a time by the database's clock."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[float] = mapped_column(Double)

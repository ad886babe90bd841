"""Rows past their time: counted before somebody decides how long to keep them, deleted every night."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from webapp.core.db import utcnow


def count_older(db: Session, at: InstrumentedAttribute[datetime], days: int, *also: ColumnElement[bool]) -> int:
    """How many rows `forget_older` would delete now; 0 days keep all."""
    if not days:
        return 0
    past = select(func.count()).select_from(at.class_).where(at < utcnow() - timedelta(days=days), *also)
    return int(db.scalar(past) or 0)


def forget_older(db: Session, at: InstrumentedAttribute[datetime], days: int, *also: ColumnElement[bool]) -> int:
    """Delete the rows whose `at` is more than so many days ago; returns how many. 0 days keep all."""
    if not days:
        return 0
    past = delete(at.class_).where(at < utcnow() - timedelta(days=days), *also)
    return int(db.execute(past).rowcount)  # type: ignore[attr-defined]

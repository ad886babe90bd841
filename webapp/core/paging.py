"""Keyset paging (cursor) for our own lists, offset paging where the contract says so."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from webapp.core.errors import BadRequest

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Newest first. Cursors are opaque; None where there is nothing further."""

    items: list[T]
    next_cursor: str | None
    prev_cursor: str | None


def keyset(
    db: Session, stmt: Select[Any], key: InstrumentedAttribute[Any], *, cursor: str | None, limit: int
) -> Page[Any]:
    """A page of `stmt` ordered by `key` descending (a unique, sortable column such as a version 7 id)."""
    direction, value = _decode(cursor)
    if direction == "prev":
        rows: Sequence[Any] = db.scalars(stmt.where(key > value).order_by(key.asc()).limit(limit + 1)).all()
        more, rows = len(rows) > limit, list(reversed(rows[:limit]))
        return Page(list(rows), _encode("next", rows, key, -1), _encode("prev", rows, key, 0) if more else None)
    if value is not None:
        stmt = stmt.where(key < value)
    rows = db.scalars(stmt.order_by(key.desc()).limit(limit + 1)).all()
    more, rows = len(rows) > limit, rows[:limit]
    return Page(
        list(rows),
        _encode("next", rows, key, -1) if more else None,
        _encode("prev", rows, key, 0) if value is not None else None,
    )


def _encode(direction: str, rows: Sequence[Any], key: InstrumentedAttribute[Any], index: int) -> str | None:
    if not rows:
        return None
    return base64.urlsafe_b64encode(f"{direction}:{getattr(rows[index], key.key)}".encode()).decode().rstrip("=")


def _decode(cursor: str | None) -> tuple[str, str | None]:
    if not cursor:
        return "next", None
    try:
        text = base64.urlsafe_b64decode(cursor[:400] + "=" * (-len(cursor[:400]) % 4)).decode()
        direction, value = text.split(":", 1)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise BadRequest("this page cursor is not one of ours", code="bad_cursor") from None
    if direction not in ("next", "prev") or not value or len(value) > 64 or "\0" in value:
        raise BadRequest("this page cursor is not one of ours", code="bad_cursor")
    return direction, value

"""What a search may find, as a condition on documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from webapp.core.errors import BadRequest
from webapp.knowledge.models import Document


@dataclass(frozen=True)
class Filters:
    """What may be found. Dates are ISO days of publication, or of reading where that is not known."""

    sources: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    types: tuple[str, ...] = ()  # content types, or their first half ("text/")
    since: str | None = None
    until: str | None = None
    min_quality: float | None = None

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value not in ((), None)}

    def where(self) -> ColumnElement[bool] | None:
        """None when everything may be found. Raises BadRequest for a day that is none."""
        wanted: list[ColumnElement[bool]] = []
        if self.sources:
            wanted.append(Document.source_id.in_(self.sources))
        if self.documents:
            wanted.append(Document.id.in_(self.documents))
        if self.languages:
            wanted.append(Document.language.in_([one.lower()[:8] for one in self.languages]))
        if self.types:
            wanted.append(or_(*(Document.content_type.startswith(one, autoescape=True) for one in self.types)))
        if self.min_quality is not None:
            wanted.append(Document.quality >= self.min_quality)
        if self.since:
            day = _day("since", self.since)
            wanted.append(_dated(Document.published >= day.date().isoformat(), Document.fetched_at >= day))
        if self.until:
            day = _day("until", self.until)
            after = day + timedelta(days=1)
            wanted.append(_dated(Document.published <= day.date().isoformat(), Document.fetched_at < after))
        return and_(*wanted) if wanted else None


def _dated(published: ColumnElement[bool], fetched: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(published, and_(Document.published.is_(None), fetched))


def _day(name: str, text: str) -> datetime:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        day + timedelta(days=1)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name}: dates are written as 2026-01-31") from None
    return day

"""What a search may find, as a condition on documents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import ColumnElement, and_, or_

from webapp.core.errors import BadRequest
from webapp.knowledge.models import Document

Id = Annotated[str, Field(min_length=1, max_length=40)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", examples=["2026-01-31"])]


@dataclass(frozen=True)
class Filters:
    """What may be found; left out: everything. The API takes it as it is."""

    source_ids: Annotated[tuple[Id, ...], Field(max_length=100)] = ()
    document_ids: Annotated[tuple[Id, ...], Field(max_length=500)] = ()
    languages: Annotated[tuple[Annotated[str, Field(max_length=8)], ...], Field(max_length=50)] = ()
    # whole ones, or how they begin ("text/")
    content_types: Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=50)] = ()
    since: Annotated[
        Day | None, Field(description="Published (or read, if that is not known) on this day or later.")
    ] = None
    until: Day | None = None
    min_quality: Annotated[float | None, Field(ge=0, le=1)] = None

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value not in ((), None)}

    def where(self) -> ColumnElement[bool] | None:
        """None when everything may be found. Raises BadRequest for a day that is none."""
        wanted: list[ColumnElement[bool]] = []
        if self.source_ids:
            wanted.append(Document.source_id.in_(self.source_ids))
        if self.document_ids:
            wanted.append(Document.id.in_(self.document_ids))
        if self.languages:
            wanted.append(Document.language.in_([one.lower()[:8] for one in self.languages]))
        if self.content_types:
            wanted.append(or_(*(Document.content_type.startswith(one, autoescape=True) for one in self.content_types)))
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

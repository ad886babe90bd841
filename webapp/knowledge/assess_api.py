"""Endpoints of quality and freshness.

Omeruta:  /api/knowledge-base/quality/, /api/knowledge-base/freshness/
Agentic:  /api/v1/semantic/quality/{id}
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from webapp.core.context import Ctx
from webapp.core.db import iso, utcnow
from webapp.knowledge.models import Document
from webapp.knowledge.service import assessing
from webapp.web.api import Api, ApiModel

READ = "tasks:read"

base = Api("knowledge_assessed", "/api/knowledge-base", tag="Knowledge base (Omeruta)", dialect="omeruta")
semantic = Api("semantic_quality", "/api/v1/semantic", tag="Semantic")
APIS = (base, semantic)


class SignalOut(ApiModel):
    name: str
    label: str
    score: float
    weight: float
    value: float | int | str | None = None
    note: str


class AssessmentOut(ApiModel):
    page_id: str
    title: str
    url: str | None = None
    quality_score: float
    assessed_at: str | None = None


class QualityQuery(ApiModel):
    below: float | None = Field(None, ge=0, le=1, description="Only documents with a lower score.")
    cursor: str | None = Field(None, max_length=200)
    limit: int = Field(50, ge=1, le=200)


class QualityPage(ApiModel):
    """distribution: how many documents score 0-0.2, 0.2-0.4 ... 0.8-1."""

    documents: int
    assessed_count: int
    average: float | None = None
    distribution: list[int]
    results: list[AssessmentOut]
    next: str | None = None


class FreshnessQuery(ApiModel):
    days: float = Field(30, ge=0, le=3650, description="Not compared with the live page for so many days.")
    limit: int = Field(50, ge=1, le=200)


class FreshOut(ApiModel):
    page_id: str
    title: str
    url: str | None = None
    freshness_score: float
    age_days: float
    half_life_days: float
    changes: int
    is_stale: bool
    checked_at: str | None = None
    note: str


class FreshnessPage(ApiModel):
    stale_count: int
    older_than_days: float
    results: list[FreshOut]


class QualityOut(ApiModel):
    id: str
    title: str
    content_type: str
    quality_score: float
    family: str
    signals: list[SignalOut]
    freshness: FreshOut | None = None
    assessed_at: str | None = None


@base.get("/quality/", auth=READ, query=QualityQuery, returns=QualityPage)
def list_quality(ctx: Ctx, query: QualityQuery) -> Any:
    """Quality assessments of the pages and documents you may read, newest first."""
    found = assessing.overview(ctx)
    page = assessing.assessments(ctx, below=query.below, cursor=query.cursor, limit=query.limit)
    rows = [{"page_id": row.id, "title": row.title, "url": row.url, "quality_score": row.quality,
             "assessed_at": iso(row.assessed_at)} for row in page.items]  # fmt: skip
    return {"documents": found.documents, "assessed_count": found.assessed, "average": found.average,
            "distribution": found.classes, "results": rows, "next": page.next_cursor}  # fmt: skip


@base.get("/freshness/", auth=READ, query=FreshnessQuery, returns=FreshnessPage)
def list_stale(ctx: Ctx, query: FreshnessQuery) -> Any:
    """Pages whose stored copy is old, those not compared for longest first, each with its freshness score."""
    now = utcnow()
    rows = [_fresh(row, now) for row in assessing.stale(ctx, days=query.days, limit=query.limit)]
    return {"stale_count": assessing.stale_count(ctx, query.days), "older_than_days": query.days, "results": rows}


@semantic.get("/quality/<id>", auth=READ, returns=QualityOut, errors=(404,))
def get_quality(ctx: Ctx, id: str) -> Any:
    """Content quality score of one document, with the signals it was made from."""
    row, found = assessing.quality_of(ctx, id)
    return {"id": row.id, "title": row.title, "content_type": row.content_type, "quality_score": found["score"],
            "family": found["family"], "signals": found["signals"], "assessed_at": iso(row.assessed_at),
            "freshness": _fresh(row, utcnow()) if row.url else None}  # fmt: skip


def _fresh(row: Document, now: Any) -> dict[str, Any]:
    found = assessing.freshness_of(row, now)
    return {"page_id": row.id, "title": row.title, "url": row.url, "freshness_score": found.score,
            "age_days": found.age, "half_life_days": found.half_life, "changes": found.changes,
            "is_stale": found.stale, "checked_at": iso(row.checked_at), "note": found.note}  # fmt: skip

"""Endpoints of feedback.

POST /api/v1/feedback/submit   what somebody says about an answer, or about anything a program names
GET  /api/v1/feedback/stats    how often what was said
"""

from __future__ import annotations

from typing import Any

from webapp.core.context import Ctx
from webapp.feedback import service
from webapp.feedback.schemas import FeedbackIn, FeedbackOut, FeedbackQuery, FeedbackStats
from webapp.web.api import Api

api = Api("feedback", "/api/v1/feedback", tag="Feedback")


@api.post("/submit", auth="tasks:write", body=FeedbackIn, returns=FeedbackOut, status=201, idempotent=True)
def submit(ctx: Ctx, body: FeedbackIn) -> Any:
    """Say what you think of an answer: a rating, a reason, a correction. An answer of yours is rated once."""
    row, replaced = service.submit(ctx, **body.model_dump())
    told = {"feedback_id": row.id, "status": "updated" if replaced else "stored", "content_id": row.content_id,
            "message_id": row.message_id}  # fmt: skip
    return told, 200 if replaced else 201


@api.get("/stats", auth="tasks:read", query=FeedbackQuery, returns=FeedbackStats, errors=(403,))
def stats(ctx: Ctx, query: FeedbackQuery) -> Any:
    """Counts of your feedback by kind, thumbs, reason and agent."""
    return FeedbackStats.model_validate(service.stats(ctx, everyone=query.everyone))

"""Shapes of feedback on the wire (002:3728-3735) and of its form."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import to_json

from webapp.web.api import ApiModel

MOST = 20_000  # characters of one member, as JSON


def _small(value: Any) -> Any:
    if value is not None and len(to_json(value)) > MOST:
        raise ValueError(f"no more than {MOST:,} characters")
    return value


Anything = Annotated[Any, AfterValidator(_small)]


class FeedbackIn(ApiModel):
    """`content_id` names what it is about: an answer's message id, or anything of the caller's own program."""

    content_id: str = Field(min_length=1, max_length=200)
    feedback_type: str = Field("rating", min_length=1, max_length=40, pattern=r"^[A-Za-z0-9_.-]+$")
    original_prediction: Anything = None
    user_correction: Anything = None
    confidence_rating: float | None = Field(None, ge=0, le=1)
    additional_context: Anything = None
    rating: Literal[1, -1] | None = Field(None, description="Thumbs up or down.")
    reason: str | None = Field(None, max_length=500)
    comment: str | None = Field(None, max_length=MOST)


class FeedbackOut(ApiModel):
    feedback_id: str
    status: Literal["stored", "updated"]
    content_id: str
    message_id: str | None


class FeedbackQuery(ApiModel):
    everyone: bool = Field(False, description="Of all people; for administrators.")


class AgentThumbs(ApiModel):
    agent: str
    up: int
    down: int


class ReasonCount(ApiModel):
    reason: str
    count: int


class FeedbackStats(ApiModel):
    total_feedback: int
    by_type: dict[str, int]
    ratings: dict[str, int]
    satisfaction: float | None
    reasons: list[ReasonCount]
    agents: list[AgentThumbs]
    corrections: int
    average_confidence: float | None
    last_7_days: int
    last_30_days: int
    last_at: datetime | None


class RateForm(ApiModel):
    rating: Literal["up", "down", "none"] = "none"
    reason: str = Field("", max_length=500)
    correction: str = Field("", max_length=MOST)
    next: str = Field("", max_length=2000)

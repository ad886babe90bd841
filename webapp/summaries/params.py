"""What a summary is asked for."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_TEXT = 2_000_000  # characters of pasted text
MAX_SOURCES = 20


class SummaryParams(BaseModel):
    """task_config of a summary (001:124-126); `upload_ids`, `per_source`, `focus` and `engine` are ours."""

    model_config = ConfigDict(extra="forbid", str_max_length=MAX_TEXT)

    content: str | None = Field(
        None, title="Text", description="Plain text or Markdown.", examples=["The harbour board met on Monday …"],
        json_schema_extra={"widget": "textarea"},
    )  # fmt: skip
    urls: list[str] | None = Field(
        None, title="Links", max_length=MAX_SOURCES, description="Pages that this server fetches.",
        examples=[["https://example.org/article1", "https://example.org/article2"]],
        json_schema_extra={"widget": "url-list"},
    )  # fmt: skip
    upload_ids: list[str] | None = Field(
        None, title="Files", max_length=MAX_SOURCES, description="PDF, Word, HTML, Markdown, plain text and more.",
        json_schema_extra={"widget": "upload"},
    )  # fmt: skip
    max_length: int = Field(
        500, ge=10, le=5000, title="Maximum length, in words", examples=[200],
        description="Neither the whole summary nor that of a single source is ever longer.",
    )  # fmt: skip
    per_source: bool = Field(
        True, title="Summarise each source too", description="Where there are several sources."
    )  # fmt: skip
    focus: str = Field(
        "", max_length=300, title="What matters to you", examples=["What it costs"],
        description="Leave empty for the main points.",
    )  # fmt: skip
    engine: str = Field(
        "", max_length=200, title="Model", examples=["extractive"],
        description="Empty: the default model if there is one. extractive: sentences of the sources, word for word.",
    )  # fmt: skip

    @field_validator("urls")
    @classmethod
    def _plain_urls(cls, urls: list[str] | None) -> list[str] | None:
        return list(dict.fromkeys(url.strip() for url in urls if url.strip())) if urls else None

    @field_validator("focus", "engine")
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(text.replace("\0", " ").split())

    @model_validator(mode="after")
    def _something(self) -> SummaryParams:
        if not ((self.content and self.content.strip()) or self.urls or self.upload_ids):
            raise ValueError("give content, urls or upload_ids")
        return self


def each_length(params: dict[str, Any], sources: int) -> int:
    """Words of the summary of one source among several: a fair share, but enough to say something."""
    longest: int = params["max_length"]
    return min(longest, max(60, longest // max(1, sources)))

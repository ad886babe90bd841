"""Shapes of search and chunking on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from webapp.knowledge.service.filters import Filters, Id
from webapp.knowledge.service.search import LONGEST_QUERY, MOST, Mode
from webapp.web.api import ApiModel

LONGEST_TEXT = 1_000_000


class QueryIn(ApiModel):
    """What every search is asked."""

    query: str = Field(min_length=1, max_length=LONGEST_QUERY)


class ScopedIn(QueryIn):
    collection_ids: list[Id] | None = Field(None, max_length=200, description="Left out: all you may read.")


class SearchIn(ScopedIn):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"query": "when did the oil embargo begin", "k": 5, "mode": "hybrid"}]}
    )
    k: int = Field(10, ge=1, le=MOST)
    mode: Mode = "hybrid"
    filters: Filters = Field(default_factory=Filters)
    per_document: int = Field(
        1, ge=0, le=MOST, description="Passages of one document before the others had their turn; 0: no limit."
    )


class CitationRef(ApiModel):
    """Where the words stand. Post it to /api/v1/knowledge/citations to keep it."""

    document_id: str
    version_id: str
    start: int
    end: int
    quote: str
    title: str
    url: str | None
    fetched_at: str | None


class HitOut(ApiModel):
    """A passage. score orders, 0..1; keyword: BM25, vector: cosine, null where that side did not find it."""

    id: str
    document_id: str
    chunk_id: int
    version_id: str
    collection_id: str
    title: str
    url: str | None
    heading: str
    text: str
    start: int
    end: int
    score: float
    keyword: float | None
    vector: float | None
    fused: float
    snippet: str
    marks: list[tuple[int, int]] = Field(description="Start and end, in the snippet, of words of the query.")
    more: int = Field(description="Further passages of the same document among the candidates.")
    language: str | None
    content_type: str
    published: str | None
    fetched_at: str | None
    quality: float | None
    source_id: str | None
    citation: CitationRef


class NoticeOut(ApiModel):
    """Why results may be less than they could be. code: no_index, no_model, pending, no_collections."""

    code: str
    message: str
    suggestion: str


class SearchOut(ApiModel):
    query: str
    mode: Mode
    count: int
    results: list[HitOut]
    notice: NoticeOut | None
    took_ms: float
    timings: dict[str, float] = Field(description="Milliseconds of embed, vector, keyword (side by side) and rows.")
    search_id: str | None


class SemanticIn(ScopedIn):
    """shapes.md 6.5: `{query, limit, threshold, metric}`; the rest is ours."""

    limit: int = Field(10, ge=1, le=MOST)
    threshold: float | None = Field(None, ge=-1, le=1, description="Lowest similarity (cosine) of a result.")
    metric: Literal["cosine", "euclidean", "dot", "manhattan"] = "cosine"
    mode: Mode = Field("hybrid", description="Another metric than cosine, or a threshold, looks at vectors only.")


class SemanticHit(ApiModel):
    id: str
    score: float
    text: str
    title: str
    document_id: str
    chunk_id: int
    distance: float | None = Field(description="By `metric`; null where the passage was found by words only.")
    keyword: float | None
    vector: float | None
    fused: float
    citation: CitationRef
    metadata: dict[str, Any]


class SemanticOut(ApiModel):
    search_id: str | None
    query: str
    mode: Mode
    metric: str
    results: list[SemanticHit]
    notice: NoticeOut | None
    processing_time_ms: float


class BaseSearchIn(QueryIn):
    """Omeruta: `query` with `limit` or `top_k`."""

    limit: int | None = Field(None, ge=1, le=MOST)
    top_k: int | None = Field(None, ge=1, le=MOST)


class BaseSearchOut(ApiModel):
    query: str
    count: int
    results: list[HitOut]
    notice: NoticeOut | None
    processing_time: float = Field(description="Seconds.")


class ChunkIn(ApiModel):
    """shapes.md 6.5: `{text, strategy, chunk_size, overlap}`."""

    text: str = Field(min_length=1, max_length=LONGEST_TEXT)
    strategy: Literal["fixed", "sentence", "semantic", "markdown"] = "sentence"
    chunk_size: int = Field(1000, ge=16, le=20_000, description="Of a chunk at most, in `unit`.")
    overlap: int = Field(0, ge=0, le=10_000, description="fixed and sentence: what neighbours share.")
    unit: Literal["characters", "tokens"] = Field("characters", description="markdown counts tokens always.")
    embedder: str | None = Field(None, max_length=300, description="Whose tokens and vectors; left out: the default.")

    @model_validator(mode="after")
    def _overlap_is_less(self) -> ChunkIn:
        if self.overlap >= self.chunk_size:
            raise ValueError("overlap must be less than chunk_size")
        return self


class ChunkPart(ApiModel):
    index: int
    text: str
    start: int
    end: int
    tokens: int | None = Field(description="null where characters were counted.")
    heading: str


class ChunksOut(ApiModel):
    strategy: str
    unit: str
    count: int
    chunks: list[ChunkPart]
    processing_time_ms: float
